"""How much sooner two are done than one: workers that train, and dreamers.

python benchmarks/scaling.py            Fashion-MNIST, nine rounds; half an hour, writes results/scaling.md
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
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import Literal

import ray
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.lives import (  # noqa: E402
    BATCHES,
    SHAPE,
    SHAPES,
    SHORT_LIFE,
    Stopwatch,
    interleaved,
    life_of,
    prepare_process,
    ratio,
    ratios,
    run_phase,
    with_steps,
)
from benchmarks.processes import seconds_of_life  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402
from distributed.cluster.capacity import Reservation  # noqa: E402
from distributed.cluster.placement import place  # noqa: E402
from distributed.cluster.session import ray_session  # noqa: E402
from distributed.replay.block import BlockRequest  # noqa: E402
from distributed.replay.dreamers import start_dreamers  # noqa: E402
from mygo.config.learner import LifeConfig  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.replay.spec import ReplaySpec, replay_of  # noqa: E402
from mygo.training.loop import WAITS  # noqa: E402
from mygo.training.precision import resolved  # noqa: E402
from mygo.training.process_group import SingleProcess, TorchProcessGroup  # noqa: E402

WARM = 5
"""Steps that do not count."""
TOLD = {"gan": "memorise (GAN)", "fit": "adapt", "sleep": "consolidate, its dreams apart"}
"""The phases that are shared among workers, and what they are called in the table."""
Way = Literal["one", "two", "apart"]
"""How the batches of a phase are trained on: by one worker; shared by two; or by two that each train a network of its
own on batches of half the size, at the same time, which is what two could do if they had nothing to exchange."""
WAYS: tuple[Way, ...] = "one", "two", "apart"


@dataclass(frozen=True)
class Measured:
    """What a step of a phase takes, in seconds, and of these the exchange of gradients with the other worker."""

    step: float
    exchange: float

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(self.step + other.step, self.exchange + other.exchange)

    def times(self, count: float) -> "Measured":
        """Return what ``count`` such steps take."""
        return Measured(count * self.step, count * self.exchange)


NOTHING = Measured(0.0, 0.0)


def train_as(rank: int, way: Way, port: int, phase: str, config: LifeConfig, shape: SHAPE, out: str) -> None:
    """Run ``phase`` as one of the workers of ``way``, and write what its steps took to ``out`` and its rank."""
    prepare_process()
    if way != "apart":
        size = 2 if way == "two" else 1
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    group = SingleProcess() if way == "apart" else TorchProcessGroup()
    context = Stopwatch(group, clock=lambda _: time.perf_counter())  # in which the other is awaited too
    run_phase(phase, config, shape, context)
    measured = Measured(context.seconds_a_step(WARM), context.waits["exchange"] / len(context.moments))
    Path(f"{out}{rank}").write_text(json.dumps(asdict(measured)))
    if way != "apart":
        dist.destroy_process_group()


def measure_phase(phase: str, way: Way, config: LifeConfig, shape: SHAPE) -> Measured:
    """Return what a step of ``phase`` takes when trained in this ``way``: the mean of its workers."""
    if way == "apart":
        config = change(config, {BATCHES[phase]: attrgetter(BATCHES[phase])(config) // 2})
    workers = 1 if way == "one" else 2
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        out = str(Path(folder) / "measured")
        mp.spawn(train_as, (way, port, phase, config, shape, out), nprocs=workers)
        found = [Measured(**json.loads(Path(f"{out}{rank}").read_text())) for rank in range(workers)]
    return sum(found, NOTHING).times(1 / workers)


def dreams_per_second(dreamers: Sequence[object], spec: ReplaySpec, blocks: int, dreams: int) -> float:
    """Return how many dreams a second all of ``dreamers`` make together, asked for ``blocks`` blocks in turn."""
    stored = ray.put(spec.on_cpu())

    def ask() -> None:
        requests = [
            dreamers[block % len(dreamers)].dream.remote(BlockRequest(spec.sleep, block, 0, 1), [stored])  # type: ignore[attr-defined]
            for block in range(blocks)
        ]
        ray.get(requests)

    ask()  # they fetch the memories first
    began = time.perf_counter()
    ask()
    return dreams / (time.perf_counter() - began)


def measure_dreamers(config: LifeConfig, shape: SHAPE, repeats: int, blocks: int) -> dict[int, list[float]]:
    """Return dreams per second with one and with two dreamers, which take turns."""
    with tempfile.TemporaryDirectory() as folder, ray_session(num_cpus=2):
        life = life_of(config, 5, 2, shape, Path(folder) / "life")
        spec = replay_of(life)
        schedule = spec.schedule
        dreams = sum(schedule.steps_in(block) for block in range(blocks)) * schedule.batch_size
        assert blocks <= schedule.blocks
        two = start_dreamers(Reservation(place({"CPU": 3}, 1, 2)))
        measures = {count: lambda count=count: dreams_per_second(two[:count], spec, blocks, dreams) for count in (1, 2)}
        return interleaved(measures, repeats)


def training_rows(short: LifeConfig, whole: LifeConfig, shape: SHAPE, repeats: int) -> list[list[str]]:
    """Return a line for each phase, measured with the steps and numbers of ``short``, and one for ``whole`` tasks."""
    found: dict[str, dict[Way, list[Measured]]] = {phase: {way: [] for way in WAYS} for phase in TOLD}
    for _ in range(repeats):
        for phase, by_way in found.items():
            for way, measured in by_way.items():
                measured.append(measure_phase(phase, way, short, shape))
    counts = {"gan": whole.memory.gan.steps, "fit": whole.wake.adapt_steps, "sleep": whole.sleep.steps}
    task: dict[Way, list[Measured]] = {
        way: [
            sum((found[phase][way][turn].times(count) for phase, count in counts.items()), NOTHING)
            for turn in range(repeats)
        ]
        for way in WAYS
    }
    lines = {TOLD[phase]: by_way for phase, by_way in found.items()} | {"a task's wake and sleep": task}
    rows = []
    for name, by_way in lines.items():
        one, two, apart = ([1e3 * each.step for each in by_way[way]] for way in WAYS)
        lost = median(each.exchange / each.step for each in by_way["two"])
        rounds = ratios(one, two)
        times = [f"{median(one):,.1f}", f"{median(two):,.1f}"]
        speed_ups = [f"{median(rounds):.2f}", f"{min(rounds):.2f} to {max(rounds):.2f}", f"{ratio(one, apart):.2f}"]
        rows.append([name, short.precision, *times, *speed_ups, f"{lost:.0%}"])
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
    dataset, steps, repeats = ("digits", 30, 2) if quick else ("fashion-mnist", 120, 9)
    config, shape = preset(dataset), SHAPES[dataset]  # type: ignore[arg-type]
    rows = []
    for precision in sorted({"float32", resolved(config.precision, torch.device("cpu"))}):
        short = change(with_steps(config, steps), {"precision": precision})
        rows += training_rows(short, config, shape, repeats)
    rates = measure_dreamers(config, shape, repeats, blocks=8 if quick else 64)
    alone, share = breakdown(1, dataset)
    together, _ = breakdown(2, dataset)
    dreams = ["dreams a second", *(f"{median(rates[count]):,.0f}" for count in (1, 2))]
    parts = [
        table(["ms", "numbers", "1 worker", "2 workers", "speed-up", "its rounds", "apart", "of 2's: exchange"], rows),
        "Apart: the speed-up of two workers that exchange nothing, each with a network of its own and half the batch. "
        "It is below 2 by what a step takes however small the batch is, and by what two processes cost each other. To "
        "exchange is to copy and add, and to wait for whoever is slower at the moment.",
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
