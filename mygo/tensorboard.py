"""TensorBoard: one run folder per strategy, so that the strategies' curves overlay."""

import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from mygo.journal import Dreamt, Evaluated, Event, Notice, PhaseEnded, Place, Progress

CELL = 32
"""Pixels of the side of one cell of an accuracy matrix's picture."""


class TensorBoardJournal:
    """Writes what a life tells to ``folder/<strategy>``; call it with each event and close it at the end.

    Steps of losses count over all tasks, so that a phase is one curve over the whole life. With a ``run`` everything
    goes to that run folder instead.
    """

    def __init__(self, folder: Path, run: str | None = None) -> None:
        self.folder = folder
        self.run = run
        self._writers: dict[str, SummaryWriter] = {}
        self._phase: tuple[Place, float] | None = None

    def close(self) -> None:
        """Write out what is buffered."""
        for writer in self._writers.values():
            writer.close()

    def __call__(self, event: Event) -> None:
        """Write ``event``."""
        match event:
            case Progress():
                self._progress(event)
            case PhaseEnded(place, seconds):
                self._writer(place.strategy).add_scalar(f"seconds/{place.phase}", seconds, place.task + 1)
            case Dreamt(place, images, num_classes, quality):
                writer = self._writer(place.strategy)
                writer.add_image(f"dreams/task_{place.task + 1}", tile(images, num_classes), place.task + 1)
                for name, value in quality.items():
                    writer.add_scalar(f"memory/{name}", value, place.task + 1)
            case Evaluated():
                self._evaluated(event)
            case Notice(text):
                for writer in self._writers.values():
                    writer.add_text("notices", text)

    def _writer(self, strategy: str) -> SummaryWriter:
        if strategy not in self._writers:
            self._writers[strategy] = SummaryWriter(str(self.folder / (self.run or strategy)))
        return self._writers[strategy]

    def _progress(self, event: Progress) -> None:
        place, now = event.place, time.monotonic()
        writer = self._writer(place.strategy)
        step = place.task * event.steps + event.step
        for name, value in event.scalars.items():
            writer.add_scalar(f"{place.phase}/{name}", value, step)
        if self._phase is None or self._phase[0] != place or event.step == 0:
            self._phase = (place, now)
        elif now > self._phase[1]:
            writer.add_scalar(f"{place.phase}/steps_per_second", event.step / (now - self._phase[1]), step)

    def _evaluated(self, event: Evaluated) -> None:
        writer = self._writer(event.strategy)
        for kind, matrix in (("task_il", event.task_il), ("class_il", event.class_il)):
            row = matrix[-1]
            writer.add_scalar(f"accuracy/{kind}", sum(row) / len(row), event.task + 1)
            for task, accuracy in enumerate(row):
                writer.add_scalar(f"accuracy_{kind}/task_{task + 1}", accuracy, event.task + 1)
            writer.add_image(f"accuracy_matrix/{kind}", matrix_picture(matrix), event.task + 1)


def tile(images: Tensor, rows: int) -> Tensor:
    """Return uint8 ``images`` [N, C, H, W] as one picture [C, rows * H, N / rows * W]."""
    count, channels, height, width = images.shape
    grid = images.view(rows, count // rows, channels, height, width)
    return grid.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, -1)


def matrix_picture(matrix: list[list[float]]) -> Tensor:
    """Return a lower-triangular accuracy matrix as a grey picture uint8 [1, H, W]: white is 1, black 0 or not there."""
    size = len(matrix)
    cells = torch.zeros(1, 1, size, size)
    for i, row in enumerate(matrix):
        cells[0, 0, i, : len(row)] = torch.tensor(row)
    return F.interpolate(cells, scale_factor=CELL).mul(255).round().to(torch.uint8)[0]
