"""The stream of tasks: which classes come when, and each task's data, handed out once."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mygo import seeding
from mygo.data.examples import ImageDataset, LabelledImages
from mygo.errors import DataGoneError, InputError
from mygo.training.process_group import Team, share


@dataclass(frozen=True)
class Task:
    """One step of the stream: ``classes`` are labels of the data set, in the head's order, and ``names`` theirs."""

    index: int
    classes: tuple[int, ...]
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"task {self.index + 1}"


def deal_classes(num_classes: int, num_tasks: int, class_order: Sequence[int] | None = None) -> list[Task]:
    """Deal ``num_classes`` classes, in label order or in ``class_order``, into ``num_tasks`` consecutive tasks.

    Where the classes do not divide evenly, earlier tasks get one class more.

    Raises:
        InputError: more tasks than classes, or an order that does not name every class exactly once.
    """
    order = list(range(num_classes)) if class_order is None else list(class_order)
    known = f"the classes are 0 to {num_classes - 1}, each named once"
    if unknown := sorted(set(order) - set(range(num_classes))):
        raise InputError(f"--class-order names class {unknown[0]}, which the data set does not have: {known}.")
    if repeated := sorted(c for c, times in Counter(order).items() if times > 1):
        raise InputError(f"--class-order names class {repeated[0]} more than once: {known}.")
    if missing := sorted(set(range(num_classes)) - set(order)):
        raise InputError(f"--class-order leaves out class {missing[0]}: {known}.")
    if not 1 <= num_tasks <= num_classes:
        raise InputError(f"--num-tasks must be from 1 to {num_classes}, the number of classes, not {num_tasks}.")
    bounds = [-(-num_classes * t // num_tasks) for t in range(num_tasks + 1)]
    return [Task(t, tuple(order[bounds[t] : bounds[t + 1]])) for t in range(num_tasks)]


class TaskStream:
    """Deals a data set's examples to tasks; labels become positions within the task's own classes.

    Training data can be had once, with `hand_out`, and the stream keeps no reference to what it gave. Test data is held
    out from training and stays.
    """

    def __init__(self, dataset: ImageDataset, tasks: Sequence[Task]) -> None:
        self.tasks = [replace(task, names=tuple(dataset.class_names[c] for c in task.classes)) for task in tasks]
        self.image_shape = dataset.image_shape
        self.class_names = dataset.class_names
        self.test = [_examples_of(dataset.test, task) for task in tasks]
        self._waiting = {task.index: _examples_of(dataset.train, task) for task in self.tasks}

    def skip(self, count: int) -> list[Task]:
        """Throw away the data of the first ``count`` tasks, which a resumed life has learned; returns the others."""
        for task in self.tasks[:count]:
            self._waiting.pop(task.index, None)
        return self.tasks[count:]

    def hand_out(self, task: Task) -> LabelledImages:
        """Give away the training data of ``task``.

        Raises:
            DataGoneError: it was handed out before.
        """
        if task.index not in self._waiting:
            raise DataGoneError(f"The data of {task} was handed out before and is gone.")
        return self._waiting.pop(task.index)


def _examples_of(data: LabelledImages, task: Task) -> LabelledImages:
    parts = [data[data.labels == c] for c in task.classes]
    labels = torch.cat([torch.full((len(part),), position) for position, part in enumerate(parts)])
    return LabelledImages(torch.cat([part.images for part in parts]), labels)


class EpochBatches:
    """Indices of shuffled batches, as a pure function of the step: epoch after epoch, each in its own order."""

    def __init__(self, size: int, batch_size: int, key: seeding.Key, rows: Tensor | None = None) -> None:
        """Prepare batches of ``batch_size`` out of ``size`` examples (repeating some within a batch when too few).

        Which examples those are is said by ``rows`` [size], where it is not the first ``size``.
        """
        self.size = size
        self.batch_size = batch_size
        self.key = key
        self._rows = rows
        self.per_epoch = max(1, size // batch_size)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    @classmethod
    def of(cls, labels: Tensor, batch_size: int, key: seeding.Key, *, balanced: bool) -> "EpochBatches":
        """Prepare batches out of examples with ``labels`` [N]; ``balanced``, those of rare classes come more often."""
        if not balanced:
            return cls(len(labels), batch_size, key)
        rows = torch.arange(len(labels)).repeat_interleave(repeats_of(labels.cpu()))
        return cls(len(rows), batch_size, key, rows)

    def indices(self, step: int) -> Tensor:
        """Return the global batch's indices [batch_size] at ``step``."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            rng = seeding.stream(*self.key, "epoch", epoch)
            repeats = -(-self.batch_size // self.size) if self.size < self.batch_size else 1
            order = torch.cat([torch.randperm(self.size, generator=rng) for _ in range(repeats)])
            self._order = order if self._rows is None else self._rows[order]
            self._epoch = epoch
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]

    def shares_of(self, team: Team) -> Callable[[int], tuple[Tensor]]:
        """Return what gives, for a step, the indices of this rank's share of the global batch."""
        mine = share(self.batch_size, team.rank, team.size)
        return lambda step: (self.indices(step)[mine],)


def repeats_of(labels: Tensor) -> Tensor:
    """Return how often each example with ``labels`` [N] is to be drawn, [N], so that classes are drawn about evenly.

    That is as often as its class fits into the largest one: once in classes that have more than half as many examples,
    so that draws from balanced data stay as they are. No class is then drawn less than half as often as another.
    """
    counts = labels.bincount()
    return (counts.max() // counts.clamp_min(1))[labels]
