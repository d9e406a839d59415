"""What a sleep costs as memories grow in number: seconds and bytes with 5, 20 and 50, for the same replay budget.

python benchmarks/growth.py                     minutes; writes benchmarks/results/growth-fashion-mnist.md
python benchmarks/growth.py --dataset digits    writes benchmarks/results/growth-digits.md
python benchmarks/growth.py --quick             fewer and shorter rounds, and writes nothing

The lives are made up: untrained memories of two classes each, a head for each. In plain mygo, one process with one
thread, as many dreams per step and as many steps however much is remembered.
"""

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.lives import (  # noqa: E402
    SHAPE,
    SHAPES,
    SameDreams,
    Stopwatch,
    data_of,
    dreams_of_a_step,
    interleaved,
    life_of,
    prepare_process,
    ratio,
    timed,
    with_steps,
)
from benchmarks.report import table, write_report  # noqa: E402
from mygo.baselines.registry import STRATEGIES  # noqa: E402
from mygo.config.learner import LifeConfig  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.cycle import settled, sleep  # noqa: E402
from mygo.data.tasks import Task  # noqa: E402
from mygo.evaluate import accuracy_rows  # noqa: E402
from mygo.jobs.life import Life  # noqa: E402
from mygo.phase import PhaseContext  # noqa: E402
from mygo.replay.spec import replay_of  # noqa: E402
from mygo.sleep import consolidate  # noqa: E402
from mygo.training.process_group import SingleProcess  # noqa: E402

COUNTS = (5, 20, 50)
"""Memories that are stored; everything is held against the first."""
CLASSES = 2
TEST_IMAGES = 100
"""Of each task."""
WARM = 2
"""Steps of a sleep before those that count."""


@dataclass(frozen=True)
class Saved:
    """A life between waking and sleeping, saved in ``folder``."""

    memories: int
    config: LifeConfig
    shape: SHAPE
    folder: Path

    def make(self) -> Life:
        """Return it anew, and save it."""
        life = life_of(self.config, self.memories, CLASSES, self.shape, self.folder)
        life.save()
        return life

    @property
    def task(self) -> Task:
        """The newest task, whose sleep it is."""
        return Task(self.memories - 1, tuple(range((self.memories - 1) * CLASSES, self.memories * CLASSES)))


# -- seconds ----------------------------------------------------------------------------------------------------------


def seconds_of_parts(saved: Saved) -> dict[str, Callable[[], float]]:
    """Return what measures each part of a sleep, by its name with its unit."""
    life, task = saved.make(), saved.task
    context = settled(life, PhaseContext(SingleProcess()))
    spec = replay_of(life)
    dreamer, schedule = spec.dreamer(torch.device("cpu")), spec.schedule
    dreams = SameDreams(dreams_of_a_step(life))
    tests = [data_of(TEST_IMAGES, CLASSES, saved.shape)] * saved.memories

    def dreaming() -> float:
        blocks = range(schedule.blocks)
        seconds = timed(lambda: [dreamer.dream(schedule.request(block)) for block in blocks])
        return seconds / schedule.steps / schedule.batch_size

    def learning() -> float:
        watch = Stopwatch(SingleProcess(), dreams=dreams, precision=context.precision)
        consolidate(life, task, watch)
        return watch.seconds_a_step(WARM)

    def sleeping() -> float:
        life.phases_done = list(STRATEGIES["mygo"].wake)
        return timed(lambda: sleep(life, STRATEGIES["mygo"], task, context))

    def evaluating() -> float:
        return timed(lambda: accuracy_rows(life.neocortex, tests, SingleProcess())) / saved.memories / TEST_IMAGES

    return {
        "a dream, µs": lambda: 1e6 * dreaming(),
        "a step of sleep, its dreams apart, ms": lambda: 1e3 * learning(),
        f"a whole sleep of {schedule.steps} steps, with its dreamer and its save, s": sleeping,
        "evaluation of a test image, µs": lambda: 1e6 * evaluating(),
    }


# -- bytes ------------------------------------------------------------------------------------------------------------


def peak_of_a_sleep(saved: Saved) -> float:
    """Return the most megabytes that this process has held, after it read the life and slept."""
    prepare_process()
    life = Life.open(saved.folder)
    life.phases_done = list(STRATEGIES["mygo"].wake)
    life.folder = None
    sleep(life, STRATEGIES["mygo"], saved.task, settled(life, PhaseContext(SingleProcess())))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def in_a_process(saved: Saved) -> float:
    """Return `peak_of_a_sleep` of a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(peak_of_a_sleep, saved).result()


def bytes_of_parts(saved: Saved) -> dict[str, Callable[[], float]]:
    """Return what measures the bytes of a sleep, by their name with their unit."""
    life = saved.make()
    dreams = dreams_of_a_step(life)

    def held() -> float:
        dreamer = replay_of(life).dreamer(torch.device("cpu"))
        modules = [module for value in vars(dreamer).values() for module in modules_in(value)]
        return sum(tensor.nbytes for module in modules for tensor in module.state_dict().values()) / 1e6

    def of_a_dream() -> float:
        return sum(value.nbytes for value in vars(dreams).values()) / len(dreams)

    return {
        "a dream with what its teacher answered, bytes": of_a_dream,
        "weights that a dreamer holds, MB": held,
        "peak memory of a process that sleeps, MB": lambda: in_a_process(saved),
        "kept for each task, kB": lambda: life.memory_bytes / saved.memories / 1e3,
    }


def modules_in(value: object) -> list[torch.nn.Module]:
    """Return ``value``, or what it lists, as far as it is networks."""
    values = value if isinstance(value, list | tuple) else [value]
    return [each for each in values if isinstance(each, torch.nn.Module)]


# -- the report -------------------------------------------------------------------------------------------------------


def rows_of(config: LifeConfig, shape: SHAPE, counts: Sequence[int], repeats: int, folder: Path) -> list[list[str]]:
    """Return a row for each thing that was measured: its value for each number of memories, and the ratios."""
    lives = {count: Saved(count, config, shape, folder / str(count)) for count in counts}
    first, *others = counts
    rows = []

    def add(name: str, found: dict[int, list[float]]) -> None:
        values = [f"{median(found[count]):,.4g}" for count in counts]
        rows.append([name, *values, *(f"{ratio(found[count], found[first]):.2f}" for count in others)])

    seconds = {count: seconds_of_parts(life) for count, life in lives.items()}
    for name in seconds[first]:
        add(name, interleaved({count: seconds[count][name] for count in counts}, repeats))
    held = {count: bytes_of_parts(life) for count, life in lives.items()}
    for name in held[first]:
        add(name, {count: [held[count][name]()] for count in counts})
    return rows


LEGEND = """Seconds are medians of {repeats} rounds in which the lives take turns, in one process with one thread, and
their ratios medians of each round's; bytes are counted once. Batches of {batch} dreams, sleeps of {steps} steps. Ratios
must be at most 1.15; the aim is 1.05."""


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion-mnist", choices=SHAPES)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=200, help="of a sleep")
    parser.add_argument("--quick", action="store_true")
    flags = parser.parse_args()
    prepare_process()
    repeats, steps = (2, 8) if flags.quick else (flags.repeats, flags.steps)
    config = with_steps(preset(flags.dataset), steps)
    with tempfile.TemporaryDirectory(prefix="mygo-growth-") as folder:
        rows = rows_of(config, SHAPES[flags.dataset], COUNTS, repeats, Path(folder))
    first, *others = COUNTS
    header = ["", *(f"{count} memories" for count in COUNTS), *(f"{count} / {first}" for count in others)]
    legend = LEGEND.format(repeats=repeats, batch=config.sleep.batch_size, steps=steps)
    text = f"{table(header, rows)}\n\n{legend}"
    print(text)
    if not flags.quick:
        command = f"python benchmarks/growth.py --dataset {flags.dataset}"
        write_report(f"growth-{flags.dataset}", "What a sleep costs as memories grow in number", command, text)


if __name__ == "__main__":
    main()
