"""TensorBoard: one run folder per strategy, so that the strategies' curves overlay, and a row of HPARAMS for each."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, TENSORS, EventAccumulator
from torch import Tensor
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from mygo.baselines.registry import STRATEGIES
from mygo.config.settings import flat
from mygo.evaluate import Matrix, average_accuracy
from mygo.events import Dreamt, Evaluated, Event, Mapped, Notice, Pace, PhaseEnded, Progress
from mygo.reporting.results import KINDS, QUALITIES
from mygo.reporting.terminal import printable

CELL, SIDE = 32, 640
"""Pixels of the side of one cell of a matrix's picture, and of a whole one that has many."""
TASK = 1000
"""What a task takes on the axis of losses, however many steps a phase has: so the curves of phases, strategies and runs
align, and a life that goes on after an interruption draws at the right place."""
FLUSH_SECONDS = 10
"""How old a point is at most when TensorBoard sees it."""
NOT_SETTINGS = ("strategies", "data_root")
"""What is no setting of a strategy in a run's configuration."""


def lines(*tags: str) -> list[Any]:
    """Return a chart of all scalars, of all runs, whose tags begin as one of the regular expressions."""
    return ["Multiline", list(tags)]


LAYOUT: dict[str, dict[str, list[Any]]] = {
    "Accuracy": {
        **{f"average {title}, MyGO and baselines": lines(f"accuracy/{kind}$") for kind, title in KINDS.items()},
        **{f"{title} of each task": lines(f"accuracy_{kind}/") for kind, title in KINDS.items()},
    },
    "Calibration": {"expected calibration error": lines("calibration/")},
    "Losses": {
        **{phase: lines(f"{phase}/") for phase in (*STRATEGIES["mygo"].wake, "teach", *STRATEGIES["mygo"].sleep)},
        "baselines": lines(*(f"{name}/" for name in STRATEGIES if not name.startswith("mygo"))),
    },
    "Memories": {title: lines(f"memory/{measure}$") for measure, title in QUALITIES.items()},
    "Speed": {"steps per second": lines("steps_per_second/"), "seconds of each phase": lines("seconds/")},
}
"""The charts of TensorBoard's CUSTOM SCALARS tab, by category and title."""


class TensorBoardLogger:
    """Logs a life's events to ``folder/<strategy>``; call it with each event and close it at the end.

    Losses and rates are drawn over tasks, each `TASK` steps long; what is measured once per task has the task's number
    as its step. With a ``run`` everything goes to that run folder instead.
    """

    def __init__(self, folder: Path, run: str | None = None) -> None:
        self.folder = folder
        self.run = run
        self._runs: dict[str, Run] = {}
        self._pace = Pace()

    def close(self) -> None:
        """Write out what is buffered."""
        for run in self._runs.values():
            run.writer.close()

    def __call__(self, event: Event) -> None:
        """Write ``event``."""
        match event:
            case Progress():
                self._progress(event)
            case PhaseEnded(place, seconds):
                self._run(place.strategy).scalar(f"seconds/{place.phase}", seconds, place.task + 1)
            case Dreamt():
                self._dreamt(event)
            case Evaluated(strategy, _, task_il, class_il, confusion, calibration):
                run = self._run(strategy)
                self._accuracies(run, {"class_il": class_il, "task_il": task_il}, confusion)
                run.calibration(calibration, len(class_il))
            case Mapped(strategy, task):
                self._run(strategy).image("map", map_picture(event), task + 1)
            case Notice(text):
                for run in self._runs.values():
                    run.writer.add_text("notices", printable(text))

    def finish(self, results: Mapping[str, Any]) -> None:
        """Write a row of HPARAMS for each strategy of ``results`` (the content of ``results.json``).

        Accuracies that an interruption kept from being logged are written too.
        """
        settings = {name.removeprefix("life."): value for name, value in flat(results["config"])}
        for name in NOT_SETTINGS:
            del settings[name]
        for strategy, entry in results["strategies"].items():
            run, matrices = self._run(strategy), entry["accuracy_matrix"]
            self._accuracies(run, matrices, entry["confusion_matrix"])
            errors, tasks = entry["expected_calibration_error"], len(matrices["class_il"])
            run.calibration(errors, tasks)
            figures = {
                **entry["average_accuracy"],
                "forgetting": entry["forgetting"]["class_il"],
                **({"expected_calibration_error": errors[-1]} if errors else {}),
                "memory_bytes": entry["memory_bytes"],
                "seconds": entry["seconds"]["total"],
            }
            if run.is_new("hparam/class_il", tasks):
                add_row(run.writer, {"strategy": strategy, **settings}, figures, tasks)

    def _run(self, strategy: str) -> "Run":
        if strategy not in self._runs:
            self._runs[strategy] = Run(self.folder / (self.run or strategy))
        return self._runs[strategy]

    def _progress(self, event: Progress) -> None:
        if not event.scalars:  # nothing is trained yet, and data that is refused shall leave no file behind
            return
        place = event.place
        run = self._run(place.strategy)
        step = round(TASK * (place.task + event.step / event.steps))
        for name, value in event.scalars.items():
            run.scalar(f"{place.phase}/{name}", value, step)
        _, per_second = self._pace.follow(event)
        if per_second:
            run.scalar(f"steps_per_second/{place.phase}", per_second, step)

    def _dreamt(self, event: Dreamt) -> None:
        place, step = event.place, event.place.task + 1
        run = self._run(place.strategy)
        # Always written: a memory below the floor is trained again, and then dreams again.
        if event.images is not None:
            run.writer.add_image("dreams", tile(event.images, event.num_classes), step)
        for name, value in event.quality.items():
            run.writer.add_scalar(f"memory/{name}", value, step)
        run.begin_again(place.phase)

    def _accuracies(self, run: "Run", matrices: Mapping[str, Matrix], confusion: Sequence[Sequence[int]]) -> None:
        for kind, matrix in matrices.items():
            for step, row in enumerate(matrix, start=1):
                run.scalar(f"accuracy/{kind}", average_accuracy([row]), step)
                for task, accuracy in enumerate(row, start=1):
                    run.scalar(f"accuracy_{kind}/task_{task}", accuracy, step)
                run.image(f"accuracy_matrix/{kind}", matrix_picture(matrix[:step]), step)
        shares = [[count / max(1, sum(row)) for count in row] for row in confusion]
        run.image("confusion_matrix", matrix_picture(shares), len(matrices["class_il"]))


class Run:
    """A run folder in which each curve goes on where an earlier process left it: no step is written twice.

    What is done again after an interruption, up to the place where it was interrupted, is so drawn once.
    """

    def __init__(self, folder: Path) -> None:
        self._reached = steps_reached(folder)
        self.writer = SummaryWriter(str(folder), flush_secs=FLUSH_SECONDS)
        if self.is_new("custom_scalars__config__", 0):
            self.writer.add_custom_scalars(LAYOUT)

    def is_new(self, tag: str, step: int) -> bool:
        """Return whether ``tag`` has nothing at ``step`` or beyond; from now on it has."""
        if step <= self._reached.get(tag, -1):
            return False
        self._reached[tag] = step
        return True

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Add a point to a curve, unless it is there."""
        if self.is_new(tag, step):
            self.writer.add_scalar(tag, value, step)

    def calibration(self, errors: Sequence[float], tasks: int) -> None:
        """Draw the calibration errors that were measured after the last of so many ``tasks``."""
        for step, error in enumerate(errors, start=tasks - len(errors) + 1):
            self.scalar("calibration/expected_calibration_error", error, step)

    def image(self, tag: str, picture: Tensor, step: int) -> None:
        """Add a picture, uint8 [C, H, W], unless it is there."""
        if self.is_new(tag, step):
            self.writer.add_image(tag, picture, step)

    def begin_again(self, phase: str) -> None:
        """Let the curves of ``phase`` be drawn a second time over what there is."""
        self._reached = {tag: step for tag, step in self._reached.items() if phase not in tag.split("/")}


def steps_reached(folder: Path) -> dict[str, int]:
    """Return the last step of every tag that the event files in the run ``folder`` hold."""
    if not folder.is_dir():
        return {}
    events = EventAccumulator(str(folder), size_guidance=dict.fromkeys((SCALARS, IMAGES, TENSORS), 1)).Reload()
    tags = events.Tags()
    read = {SCALARS: events.Scalars, IMAGES: events.Images, TENSORS: events.Tensors}
    return {tag: last_of(tag)[-1].step for kind, last_of in read.items() for tag in tags[kind]}


def add_row(writer: SummaryWriter, settings: Mapping[str, Any], figures: Mapping[str, float], step: int) -> None:
    """Make the run of ``writer`` a row of TensorBoard's HPARAMS: ``settings``, and ``figures`` to compare runs by.

    Torch's own ``add_hparams`` would make a run of its own for it.
    """
    shown = {name: value if isinstance(value, int | float | str) else str(value) for name, value in settings.items()}
    scalars = {f"hparam/{name}": value for name, value in figures.items()}
    for summary in hparams(shown, scalars):
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]
    for name, value in scalars.items():
        writer.add_scalar(name, value, step)


def tile(images: Tensor, rows: int) -> Tensor:
    """Return uint8 ``images`` [N, C, H, W] as one picture [C, rows * H, N / rows * W]."""
    count, channels, height, width = images.shape
    grid = images.view(rows, count // rows, channels, height, width)
    return grid.permute(2, 0, 3, 1, 4).reshape(channels, rows * height, -1)


def matrix_picture(matrix: Matrix) -> Tensor:
    """Return a matrix of fractions as a grey picture uint8 [1, H, W]: white is 1, black 0 or not there."""
    size = len(matrix)
    cells = torch.zeros(1, 1, size, size)
    for i, row in enumerate(matrix):
        cells[0, 0, i, : len(row)] = torch.tensor(row)
    cell = max(1, min(CELL, SIDE // size))
    return F.interpolate(cells, scale_factor=cell).mul(255).round().to(torch.uint8)[0]


def map_picture(shown: Mapped) -> Tensor:
    """Return a map as a picture uint8 [3, H, W]."""
    from mygo.reporting.maps import map_png  # matplotlib takes a second to import

    with Image.open(io.BytesIO(map_png(shown))) as picture:
        return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
