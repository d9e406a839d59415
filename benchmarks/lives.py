"""Parts of lives to put a clock on: random images, lives with untrained memories, one phase at a time.

How long they take does not depend on what weights and pixels are.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TypeVar

import torch

from mygo import sleep, wake
from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.data.examples import Examples
from mygo.data.tasks import Task
from mygo.jobs.life import Life
from mygo.memory.gan import train_gan
from mygo.memory.quality import Quality
from mygo.networks.generator import build_generator
from mygo.phase import PhaseContext
from mygo.replay.schedule import Dreams
from mygo.replay.source import LocalReplay
from mygo.replay.spec import ReplaySpec, replay_of
from mygo.training.allocation import keep_freed_memory
from mygo.training.checkpoint import Parts
from mygo.training.graphs import WARM_UP
from mygo.training.precision import resolved
from mygo.training.process_group import ProcessGroup, SingleProcess, share

Name = TypeVar("Name")
CPU = torch.device("cpu")
SHAPE = tuple[int, int, int]
SHAPES: dict[str, SHAPE] = {"digits": (1, 8, 8), "fashion-mnist": (1, 28, 28)}
PHASES = {"head": "wake.head_steps", "fit": "wake.adapt_steps", "gan": "memory.gan.steps", "sleep": "sleep.steps"}
"""The phases that train, each with the setting that says for how many steps."""
BATCHES = {phase: f"{steps.rpartition('.')[0]}.batch_size" for phase, steps in PHASES.items()}
"""The same phases, each with the setting that says how large its batches are."""
NO_FLOORS = {"memory.fidelity_floor": 0.0, "memory.diversity_floor": 0.0}
"""Settings with which a memory is good enough however bad it is."""
FLOORS = [word for name in NO_FLOORS for word in (f"--{name.replace('_', '-')}", "0")]
"""The same as flags."""
SHORT_LIFE = ["--num-tasks", "2", "--memory.gan.steps", "100", *FLOORS]
"""Flags of a life whose memories are bad, which changes nothing about how long its steps take."""


# -- clocks -----------------------------------------------------------------------------------------------------------


def now(device: torch.device) -> float:
    """Return the time in seconds, once ``device`` has done what it was asked to.

    On one thread of a CPU it is the process's own time, to which whatever else runs on the machine adds little.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def moment(device: torch.device) -> "float | torch.cuda.Event":
    """Return the present, as `now` tells it or, on a GPU, which is not waited for, as what it will note itself."""
    if device.type != "cuda":
        return now(device)
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds_between(first: "float | torch.cuda.Event", last: "float | torch.cuda.Event") -> float:
    """Return the seconds between two of `moment`."""
    if isinstance(first, float) or isinstance(last, float):
        return last - first  # type: ignore[operator]
    last.synchronize()
    return first.elapsed_time(last) / 1e3


def warm_steps(device: torch.device) -> int:
    """Return how many of a phase's steps come before those that count: on a GPU, until they are recorded."""
    return WARM_UP + 2 if device.type == "cuda" else 3


def seconds_of(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median seconds of ``work``, after a first call that does not count."""
    work()
    return median(timed(work) for _ in range(repeats))


def timed(work: Callable[[], object], device: torch.device = CPU) -> float:
    """Return the seconds of one call of ``work`` on ``device``."""
    began = now(device)
    work()
    return now(device) - began


def interleaved(measures: Mapping[Name, Callable[[], float]], repeats: int) -> dict[Name, list[float]]:
    """Return what each of ``measures`` gives in each of ``repeats`` rounds, after a round that does not count."""
    found: dict[Name, list[float]] = {name: [] for name in measures}
    for measured in range(-1, repeats):
        for name, measure in measures.items():
            value = measure()
            if measured >= 0:
                found[name].append(value)
    return found


def ratio(some: Sequence[float], others: Sequence[float]) -> float:
    """Return the median over rounds of ``some`` divided by ``others``: what disturbs a round disturbs both."""
    return median(ratios(some, others))


def ratios(some: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return ``some`` divided by ``others``, round by round."""
    return [one / other for one, other in zip(some, others, strict=True)]


@dataclass(frozen=True)
class Stopwatch(PhaseContext):
    """A context that notes when each training step ends."""

    around: Callable[[int], AbstractContextManager[object]] = lambda step: nullcontext()
    """What a step, given its number, is made in."""
    clock: Callable[[torch.device], "float | torch.cuda.Event"] = moment
    moments: list["float | torch.cuda.Event"] = field(default_factory=list)

    def steps(self, steps: int, parts: Parts) -> Iterator[int]:
        """Yield the numbers of the steps, as any context does."""
        for step in super().steps(steps, parts):
            with self.around(step):
                yield step
            self.moments.append(self.clock(self.group.device))

    def seconds_a_step(self, warm: int) -> float:
        """Return the mean seconds of the steps after the first ``warm`` ones."""
        return seconds_between(self.moments[warm - 1], self.moments[-1]) / (len(self.moments) - warm)


def prepare_process(threads: int = 1) -> None:
    """Let this process have so many threads, and keep the memory that it frees, as every life has it do."""
    torch.set_num_threads(threads)
    keep_freed_memory()


# -- what is timed ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SameDreams:
    """A source that yields the same dreams at every step, at once: to each rank its share."""

    batch: Dreams

    def dreams(self, spec: ReplaySpec, group: ProcessGroup, first_step: int = 0) -> Iterator[Dreams]:
        """Yield them."""
        mine = self.batch[share(len(self.batch), group.rank, group.size)]
        while True:
            yield mine


def data_of(count: int, classes: int, shape: SHAPE) -> Examples:
    """Return ``count`` random images."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=rng)
    return Examples(images, torch.arange(count) % classes)


def life_of(config: LifeConfig, memories: int, classes: int, shape: SHAPE, folder: Path | None = None) -> Life:
    """Return a life between waking and sleeping, with that many memories."""
    life = Life("mygo", config, shape, folder)
    for index in range(memories):
        life.begin(Task(index, tuple(range(index * classes, (index + 1) * classes))))
        life.keep_memory(index, build_generator(config.memory.gan, classes, shape), Quality(1.0, 1.0))
    life.fast_learner = Life("mygo", config, shape).neocortex
    for _ in range(memories):
        life.fast_learner.add_task_head(classes)
    life.tasks_learned = life.cycles = memories - 1
    return life


def with_steps(config: LifeConfig, steps: int) -> LifeConfig:
    """Return ``config`` with the same number of steps in every phase."""
    return change(config, dict.fromkeys(PHASES.values(), steps))


def with_batch(config: LifeConfig, batch: int, steps: int) -> LifeConfig:
    """Return ``config`` with the same number of steps and the same batch in every phase."""
    return change(with_steps(config, steps), dict.fromkeys(BATCHES.values(), batch))


def dreams_of_a_step(life: Life) -> Dreams:
    """Return what one step of the newest task's sleep learns from."""
    spec = replay_of(life)
    one_at_a_time = replace(spec, schedule=replace(spec.schedule, steps_per_block=1))
    return next(LocalReplay().dreams(one_at_a_time, SingleProcess()))


def run_phase(name: str, config: LifeConfig, shape: SHAPE, context: PhaseContext | None = None) -> None:
    """Run one of `PHASES` of ``config`` as the second task of a life does, on random images."""
    context = context or PhaseContext(SingleProcess())
    context = replace(context, precision=resolved(config.precision, context.group.device))
    life = life_of(config, 2, 2, shape)
    data = data_of(2048, 2, shape)
    if name == "head":
        life.to(context.group.device)
        wake.learn(life, Task(1, (2, 3)), data, context)
    elif name == "fit":
        life.to(context.group.device)
        wake.adapt(life, Task(1, (2, 3)), data, context)
    elif name == "gan":
        train_gan(data, 2, config.memory.gan, (0, "benchmark"), context)
    else:
        dreams = SameDreams(dreams_of_a_step(life))
        life.to(context.group.device)
        sleep.consolidate(life, Task(1, (2, 3)), replace(context, dreams=dreams))
