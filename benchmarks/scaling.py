"""How much sooner two are done than one: workers that train, and dreamers.

python benchmarks/scaling.py            Fashion-MNIST, five rounds; a quarter of an hour, writes results/scaling.md
python benchmarks/scaling.py --quick    digits, two short rounds

Strong scaling: the same global batch, shared. Every process has one thread.
"""

import argparse
import json
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from statistics import median, quantiles

import ray
import torch.distributed as dist
import torch.multiprocessing as mp

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.lives import (  # noqa: E402
    SHAPE,
    SHAPES,
    SHORT_LIFE,
    Stopwatch,
    interleaved,
    life_of,
    prepare_process,
    ratio,
    run_phase,
    with_steps,
)
from benchmarks.processes import seconds_of_life  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402
from distributed.dreamers import BlockRequest, start_dreamers  # noqa: E402
from distributed.placement import place  # noqa: E402
from distributed.session import ray_session  # noqa: E402
from mygo.crew import WAITS  # noqa: E402
from mygo.dreams import OwnDreams  # noqa: E402
from mygo.life import LifeConfig  # noqa: E402
from mygo.presets import preset  # noqa: E402
from mygo.settings import change  # noqa: E402
from mygo.team import Ranks  # noqa: E402

WARM = 5
"""Steps that do not count."""
TOLD = {"gan": "memorise (GAN)", "fit": "adapt", "sleep": "consolidate, its dreams apart"}
"""The phases that are shared among workers, and what they are called in the table."""


@dataclass(frozen=True)
class Measured:
    """What a step of a phase took, in seconds."""

    step: float
    """The mean."""
    least_disturbed: float
    """The 20th percentile: whatever else wants a core lengthens a step, and with two workers a step of both."""
    exchange: float
    """Seconds of the mean in which the other worker's gradients were waited for."""

    def __add__(self, other: "Measured") -> "Measured":
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Measured(*(one + another for one, another in pairs))

    def times(self, count: int) -> "Measured":
        """Return what ``count`` such steps take."""
        return Measured(*(count * seconds for seconds in astuple(self)))


def train_as(rank: int, size: int, port: int, phase: str, config: LifeConfig, shape: SHAPE, out: str) -> None:
    """Run ``phase`` as one of ``size`` ranks; the first one writes what its steps took to ``out``."""
    prepare_process()
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    crew = Stopwatch(Ranks(), OwnDreams(), clock=lambda _: time.perf_counter())  # in which the other is awaited too
    run_phase(phase, config, shape, crew)
    if rank == 0:
        least_disturbed = quantiles(crew.seconds_of_steps(WARM), n=5)[0]
        exchange = crew.waits["exchange"] / len(crew.moments)
        measured = Measured(crew.seconds_a_step(WARM), least_disturbed, exchange)
        Path(out).write_text(json.dumps(asdict(measured)))
    dist.destroy_process_group()


def measure_phase(phase: str, size: int, config: LifeConfig, shape: SHAPE) -> Measured:
    """Return what a step of ``phase`` takes ``size`` workers."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        out = str(Path(folder) / "measured.json")
        mp.spawn(train_as, (size, port, phase, config, shape, out), nprocs=size)
        return Measured(**json.loads(Path(out).read_text()))


def dreams_per_second(dreamers: Sequence[object], folder: Path, blocks: int, cycles: int, dreams: int) -> float:
    """Return how many dreams a second all of ``dreamers`` make together, asked for ``blocks`` blocks in turn."""

    def ask() -> None:
        requests = [
            dreamers[block % len(dreamers)].dream.remote(BlockRequest(folder, cycles, block, 0, 1))  # type: ignore[attr-defined]
            for block in range(blocks)
        ]
        ray.get(requests)

    ask()  # they read the life first
    began = time.perf_counter()
    ask()
    return dreams / (time.perf_counter() - began)


def measure_dreamers(config: LifeConfig, shape: SHAPE, repeats: int, blocks: int) -> dict[int, list[float]]:
    """Return dreams per second with one and with two dreamers, which take turns."""
    with tempfile.TemporaryDirectory() as folder, ray_session(num_cpus=2):
        life = life_of(config, 5, 2, shape, Path(folder) / "life")
        life.save()
        night = life.night()
        dreams = sum(night.steps_in(block) for block in range(blocks)) * night.batch_size
        assert blocks <= night.blocks
        assert life.folder is not None
        two = start_dreamers(place({"CPU": 3}, 1, 2))
        measures = {
            count: lambda count=count: dreams_per_second(two[:count], life.folder, blocks, life.cycles, dreams)
            for count in (1, 2)
        }
        return interleaved(measures, repeats)


def training_rows(short: LifeConfig, whole: LifeConfig, shape: SHAPE, repeats: int) -> list[list[str]]:
    """Return a line for each phase, measured with the steps and numbers of ``short``, and one for ``whole`` tasks."""
    found: dict[str, dict[int, list[Measured]]] = {phase: {1: [], 2: []} for phase in TOLD}
    for _ in range(repeats):
        for phase, by_size in found.items():
            for size, measured in by_size.items():
                measured.append(measure_phase(phase, size, short, shape))
    counts = {"gan": whole.memory.gan.steps, "fit": whole.wake.adapt_steps, "sleep": whole.sleep.steps}
    task = {
        size: [
            sum((found[phase][size][turn].times(count) for phase, count in counts.items()), Measured(0.0, 0.0, 0.0))
            for turn in range(repeats)
        ]
        for size in (1, 2)
    }
    lines = {TOLD[phase]: by_size for phase, by_size in found.items()} | {"a task's wake and sleep": task}
    rows = []
    for name, by_size in lines.items():
        one, two = ([1e3 * each.step for each in by_size[size]] for size in (1, 2))
        lost = median(each.exchange / each.step for each in by_size[2])
        speed_up = ratio(*([each.least_disturbed for each in by_size[size]] for size in (1, 2)))
        times = [f"{median(one):,.1f}", f"{median(two):,.1f}", f"{ratio(one, two):.2f}"]
        rows.append([name, short.precision, *times, f"{lost:.0%}", f"{speed_up:.2f}"])
    return rows


def breakdown(workers: int, dataset: str) -> tuple[str, float]:
    """Return where the seconds of a short life of ``workers`` and a dreamer went, and what share of sleep is waits."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "distributed/run.py", "--num-workers", str(workers), "--num-dreamers", "1"]
        settings = ["--dataset", dataset, "--strategies", "mygo", *SHORT_LIFE]
        seconds = seconds_of_life(command, settings, Path(folder) / "out")
    rows = []
    for phase, taken in seconds["phases"].items():
        waits = [seconds["waits"][phase][what] / taken for what in WAITS]
        rows.append([phase, f"{taken:.1f}", *(f"{share:.1%}" for share in (1 - sum(waits), *waits))])
    text = table([f"{workers} worker(s), 1 dreamer", "seconds", "at work", *WAITS], rows)
    return text, seconds["waits"]["consolidate"]["dreams"] / seconds["phases"]["consolidate"]


def main() -> None:
    """Measure workers and dreamers, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    dataset, steps, repeats = ("digits", 30, 2) if quick else ("fashion-mnist", 120, 5)
    config, shape = preset(dataset), SHAPES[dataset]  # type: ignore[arg-type]
    rows = []
    for precision in sorted({"float32", config.precision}):
        short = change(with_steps(config, steps), {"precision": precision})
        rows += training_rows(short, config, shape, repeats)
    rates = measure_dreamers(config, shape, repeats, blocks=8 if quick else 64)
    alone, share = breakdown(1, dataset)
    together, _ = breakdown(2, dataset)
    dreams = ["dreams a second", *(f"{median(rates[count]):,.0f}" for count in (1, 2))]
    parts = [
        table(["ms", "numbers", "1 worker", "2 workers", "speed-up", "of 2's: exchange", "20th percentiles"], rows),
        "In the last column the speed-up of steps of the 20th percentile: those that whatever else runs on the "
        "machine disturbs least. Two workers wait for each other twice in a step of the GAN, so what disturbs one "
        "costs both.",
        table(["", "1 dreamer", "2 dreamers", "speed-up"], [[*dreams, f"{ratio(rates[2], rates[1]):.2f}"]]),
        "Where the seconds of a short life go, two tasks with few steps of the GAN, as its results.json says: at work, "
        "or waiting for dreams, for the gradients of the other worker, or for a checkpoint to be written.",
        alone,
        together,
        f"A worker whose dreamer has the other core waits for dreams in {share:.1%} of its sleep.",
        f"{dataset}, medians of {repeats} rounds in which one and two take turns; a task's wake and sleep are its "
        "steps of the three phases above it. Asked: workers at least 1.6 (aim 1.85), dreamers 1.7 (aim 1.9), waits of "
        "5 % at most (aim 1 %).",
    ]
    text = "\n\n".join(parts)
    print(text)
    if not quick:
        write_report("scaling", "One and two", "python benchmarks/scaling.py", text)


if __name__ == "__main__":
    main()
