"""The stream of tasks: which classes come when, and each task's data, handed out once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from mygo.data.examples import Examples, LabelledDataset
from mygo.errors import DataGoneError, InputError


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

    Training data can be had once, with `take_training_data`, and the stream keeps no reference to what it gave. Test
    data is held out from training and stays.
    """

    def __init__(self, dataset: LabelledDataset, tasks: Sequence[Task]) -> None:
        self.tasks = [replace(task, names=tuple(dataset.class_names[c] for c in task.classes)) for task in tasks]
        self.input_shape = dataset.input_shape
        self.class_names = dataset.class_names
        self.test = [_examples_of(dataset.test, task) for task in tasks]
        self._waiting = {task.index: _examples_of(dataset.train, task) for task in self.tasks}

    def skip(self, count: int) -> list[Task]:
        """Throw away the data of the first ``count`` tasks, which a resumed life has learned; returns the others."""
        for task in self.tasks[:count]:
            self._waiting.pop(task.index, None)
        return self.tasks[count:]

    def take_training_data(self, task: Task) -> Examples:
        """Give away the training data of ``task``.

        Raises:
            DataGoneError: it was handed out before.
        """
        if task.index not in self._waiting:
            raise DataGoneError(f"The data of {task} was handed out before and is gone.")
        return self._waiting.pop(task.index)


def _examples_of(data: Examples, task: Task) -> Examples:
    rows = [(data.labels == c).nonzero().squeeze(1) for c in task.classes]
    labels = torch.cat([torch.full((len(own),), position) for position, own in enumerate(rows)])
    return Examples(data.take(torch.cat(rows)).inputs, labels)
