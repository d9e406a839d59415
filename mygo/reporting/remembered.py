"""What lives behind an encoder remember, to be seen without anything that was real: a map, and what is confused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mygo.evaluate import accuracy_rows, recall_all_vectors
from mygo.events import Mapped
from mygo.learner.learner import Learner
from mygo.learner.map import map_of
from mygo.reporting.results import RunResults
from mygo.training.process_group import SingleProcess

MOST_CONFUSED = 10
"""Pairs of classes that are named as confused most."""
Confusion = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Confused:
    """How often inputs of one class were taken for another."""

    true: int
    taken: int
    """Both counted in learning order."""
    count: int
    share: float
    """Of all inputs of the true class."""


@dataclass(frozen=True)
class Remembered:
    """What a life behind an encoder remembers."""

    shown: Mapped
    confusion: Confusion
    """Of its dreams, where it was not measured on held-out inputs; else empty."""


def remembered_in(run: RunResults) -> Mapping[str, Remembered]:
    """Return what the lives behind an encoder in ``run`` remember, by strategy."""
    return {
        name: remembered(life, run.strategies[name].confusion) for name, life in run.lives.items() if life.gaussians
    }


def remembered(life: Learner, measured: Confusion) -> Remembered:
    """Return what ``life`` remembers; its confusion matrix is ``measured`` on held-out inputs, or empty."""
    confusion: Confusion = []
    if not measured and len(life.gaussians) == len(life.lessons):
        _, _, confusion = accuracy_rows(life.neocortex, recall_all_vectors(life), SingleProcess())
    pairs = confused_most(measured or confusion)
    known = sum(memory.num_classes for memory in life.gaussians)
    foremost = dict.fromkeys(label for pair in pairs for label in (pair.true, pair.taken) if label < known)
    return Remembered(map_of(life, list(foremost) or [0]), confusion)


def confused_most(confusion: Confusion) -> list[Confused]:
    """Return the pairs of classes that are confused most often, the first most."""
    pairs = [
        Confused(true, taken, count, count / sum(row))
        for true, row in enumerate(confusion)
        for taken, count in enumerate(row)
        if count and taken != true
    ]
    return sorted(pairs, key=lambda pair: -pair.count)[:MOST_CONFUSED]
