"""What a person can do with a life, one small class per command; torch is imported once a command runs."""

import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import tyro
from rich import filesize
from rich.console import Console
from rich.table import Table

from mygo.cli.flags import OptionalText
from mygo.config.ranges import LARGEST_SEED, check_ranges
from mygo.errors import InputError
from mygo.reporting.console import new_table, plain
from mygo.reporting.terminal import printable

if TYPE_CHECKING:
    from torch import Tensor

    from mygo.jobs.life import Life
    from mygo.learner.predict import Predictions
    from mygo.learner.saved import SavedLife

UNKNOWN = "unknown"
"""What an image is called whose class the life is not sure enough of."""
MOST_DREAMS = 10_000

LifeFolder = Annotated[
    Path, tyro.conf.arg(metavar="DIR", help="The folder of a life, or the --out of a run with a life of mygo.")
]
AsJson = Annotated[bool, tyro.conf.arg(name="json", help="Print JSON instead of a table.")]


class Command(Protocol):
    """One thing to do."""

    def run(self, console: Console) -> None:
        """Do it, and print what came of it.

        Raises:
            MygoError: it cannot be done.
        """


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Tell which class each image shows, and how sure the life is of it."""

    images: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE|FOLDER …", help_behavior_hint="(required)")
    ]
    """Image files, and folders of which all images at any depth are taken, in sorted order."""
    life: LifeFolder
    task: Annotated[OptionalText, tyro.conf.arg(metavar="NAME")] = None
    """Choose among the classes of this task alone (`show` names the tasks); by default among all."""
    as_json: AsJson = False
    unknown_below: Annotated[float, tyro.conf.arg(metavar="P")] = 0.0
    """Call an image unknown if its class has less than this probability, from 0 to 1."""

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError("predict needs images: name image files, or a folder of them.")
        if not 0 <= self.unknown_below <= 1:
            raise InputError(f"--unknown-below must be from 0 to 1, not {self.unknown_below}.")

    def run(self, console: Console) -> None:
        """Print for each image that can be read its class and confidence."""
        from mygo.data.sources import read_pictures

        life = open_life(self.life)
        pictures = read_pictures(self.images, life.image_shape)
        predictions = life.predict(pictures.images, self.task)
        for entry in pictures.unreadable:
            tell(f"Left out, since it cannot be read: {entry}")
        for note in pictures.notes:
            tell(note)
        answers = answers_on(pictures.files, predictions, self.unknown_below)
        if self.as_json:
            print_json(console, [answer.as_json for answer in answers])
        else:
            console.print(answers_table(answers))


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show what a life has learned, how well, and what it keeps to remember with."""

    life: LifeFolder
    as_json: AsJson = False

    def run(self, console: Console) -> None:
        """Print the tasks of the life and what it is as a whole."""
        from mygo.learner.saved import SavedLife

        facts = facts_of(SavedLife.open(life_folder(self.life), tell))
        if self.as_json:
            print_json(console, asdict(facts))
            return
        if facts.tasks:
            console.print(tasks_table(facts.tasks))
        for sentence in facts.sentences:
            console.print(plain(sentence), soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Dream:
    """Dream of a class, and put the dreams into one picture."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.png")]
    """The picture: a square grid of dreams."""
    life: LifeFolder
    class_name: Annotated[str, tyro.conf.arg(name="class", metavar="NAME")]
    """What to dream of."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many dreams."""
    seed: int = 0
    """Other dreams for another seed."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_DREAMS:
            raise InputError(f"-n must be from 1 to {MOST_DREAMS} dreams, not {self.count}.")
        check_ranges(self, "", seed=(0, LARGEST_SEED))

    def run(self, console: Console) -> None:
        """Write the picture."""
        from mygo.files import check_target, write_atomically

        check_target(self.out, ".png")
        dreams = open_life(self.life).dream(self.class_name, self.count, self.seed)
        write_atomically(self.out, grid_png(dreams), "what was there is whole; make room or name another file")
        console.print(plain(f"Dreams of {self.class_name}: {self.out}"), soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a life as one file for other programs, with the names of its classes."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.onnx|OUT.pt2")]
    """An ONNX model, or a program for torch.export.load."""
    life: LifeFolder

    def run(self, console: Console) -> None:
        """Write the file."""
        from mygo.files import check_target
        from mygo.learner.export import export_onnx, export_program

        check_target(self.out, ".onnx", ".pt2")
        life = open_life(self.life)
        export = export_onnx if self.out.suffix.lower() == ".onnx" else export_program
        export(life, self.out, life.class_names)
        console.print(plain(f"Model of {len(life.class_names)} classes: {self.out}"), soft_wrap=True)


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Forget a class for good: its outputs and the memory that dreams it go, and a sleep follows.

    The classes that were learned together with it get a new memory, which takes as long as learning one.
    """

    life: LifeFolder
    class_name: Annotated[str, tyro.conf.arg(name="class", metavar="NAME")]
    """What to forget."""

    def run(self, console: Console) -> None:
        """Let the life forget, and show what it knows then."""
        from mygo.files import check_writable
        from mygo.jobs.forget import forget
        from mygo.jobs.life import Life
        from mygo.reporting.console import ConsoleLogger

        folder = life_folder(self.life)
        check_writable(folder, "allow writing to it")
        with ConsoleLogger(console) as bars:
            forget(Life.open(folder, tell), self.class_name, bars)
        Show(life=folder).run(console)


@dataclass(frozen=True, kw_only=True)
class Report:
    """Write report.html and its pictures into the folder of a life, or of a run with all of its strategies."""

    life: LifeFolder

    def run(self, console: Console) -> None:
        """Write the report."""
        from mygo.files import check_writable
        from mygo.reporting.report import write_report

        folder = run_or_life(self.life)
        check_writable(folder, "allow writing to it, or copy it to where you may write")
        console.print(plain(f"Report: {write_report(folder)}"), soft_wrap=True)


# -- folders and files ------------------------------------------------------------------------------------------------


def life_folder(folder: Path) -> Path:
    """Return the folder of the life that is meant by ``folder``: itself or, of a run's ``--out``, its life of mygo.

    Raises:
        InputError: it is neither; the message names the lives that there are to choose from.
    """
    from mygo.jobs.life import Life

    try:
        for meant in (folder, folder / "life" / "mygo"):
            if Life.exists(meant):
                return meant
        lives = sorted(path for pattern in ("*", "life/*") for path in folder.glob(pattern) if Life.exists(path))
        there = folder.exists()
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): name the folder of a life.") from error
    if lives:
        raise InputError(f"{folder} is not one life, but holds some: choose from {', '.join(map(str, lives))}.")
    found = "holds no life" if there else "is not there"
    raise InputError(f"{folder} {found}: name the folder of a life, or the --out of a run.")


def run_or_life(folder: Path) -> Path:
    """Return ``folder`` if it holds the results of a run, else the `life_folder` that is meant by it."""
    with suppress(OSError):  # it will come up again when a life is looked for
        if (folder / "results.json").exists():
            return folder
    return life_folder(folder)


def open_life(folder: Path) -> "Life":
    """Return the life that `life_folder` finds; where its newest state is damaged, stderr says so.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    from mygo.jobs.life import Life

    return Life.open(life_folder(folder), tell)


# -- predict ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What a life says of an image."""

    file: str
    class_name: str
    """The most probable class, or `UNKNOWN`."""
    confidence: float
    """The probability of the most probable class."""
    probabilities: Mapping[str, float]
    """Of all classes by name; they sum to 1."""

    @property
    def as_json(self) -> dict[str, Any]:
        """What ``predict --json`` prints of it."""
        values = asdict(self)
        return {"file": values.pop("file"), "class": values.pop("class_name"), **values}


def answers_on(files: Sequence[str], predictions: "Predictions", unknown_below: float) -> list[Answer]:
    """Return the answer for each of ``files``; a class with less confidence than ``unknown_below`` is not named."""
    columns = predictions.names, predictions.confidences.tolist(), predictions.probabilities.tolist()
    return [
        Answer(
            file=file,
            class_name=name if confidence >= unknown_below else UNKNOWN,
            confidence=confidence,
            probabilities=dict(zip(predictions.class_names, probabilities, strict=True)),
        )
        for file, name, confidence, probabilities in zip(files, *columns, strict=True)
    ]


def answers_table(answers: Sequence[Answer]) -> Table:
    """Return ``answers`` as a table."""
    table = new_table(("file", "class"), ("confidence",))
    for answer in answers:
        table.add_row(plain(answer.file), plain(answer.class_name), f"{answer.confidence:.3f}")
    return table


# -- show -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TaskFacts:
    """A task that was learned, or is being learned."""

    name: str
    classes: tuple[str, ...]
    images: int
    """Training images that it was learned from."""
    learned: str | None
    """When, UTC, as ISO 8601."""
    class_il: float | None
    """Share of its held-out images recognised among all classes, when that was measured last."""
    task_il: float | None
    """The same among its own classes."""
    recall: float | None
    """Share of its dreams recognised among all classes, when that was measured last."""
    memory_bytes: int
    """Bytes kept to remember it with."""


@dataclass(frozen=True)
class Unfinished:
    """How far a cycle came that has not ended."""

    task: str
    phases_done: tuple[str, ...]
    interrupted: str | None
    """The phase that goes on from a point within it, if there is one."""
    steps_done: int | None
    """Its steps up to that point."""

    def __str__(self) -> str:
        parts = [f"{phase} done" for phase in self.phases_done]
        if self.interrupted is not None:
            parts.append(f"{self.interrupted} interrupted after {self.steps_done} steps")
        return f"in the middle of {', '.join([self.task, *parts])}"


@dataclass(frozen=True)
class LifeFacts:
    """What a life is; its fields are those of ``show --json``."""

    folder: str
    strategy: str
    stream: str
    image_shape: tuple[int, ...]
    """(C, H, W)."""
    backbone: str
    tasks: tuple[TaskFacts, ...]
    unfinished: Unfinished | None
    memory_bytes: int
    """Bytes kept to remember with, over all tasks."""
    replaced_data_bytes: int
    """Bytes of the raw training images, which are gone."""

    @property
    def sentences(self) -> list[str]:
        """What is not about a single task."""
        channels, height, width = self.image_shape
        sees = "grey" if channels == 1 else "colour"
        sentences = [
            f"{self.folder}: a life of {self.strategy} with the backbone {self.backbone}, which sees images of "
            f"{width} × {height} pixels in {sees}.",
            f"It keeps {self.memory_bytes:,} bytes to remember with, in place of {self.replaced_data_bytes:,} bytes of "
            "training images.",
        ]
        if self.unfinished is not None:
            sentences.append(f"It is {self.unfinished}.")
        elif not self.tasks:
            sentences.append("It has learned nothing yet.")
        return sentences


def facts_of(life: "SavedLife") -> LifeFacts:
    """Return what there is to show of ``life``."""
    return LifeFacts(
        folder=str(life.folder),
        strategy=life.strategy,
        stream=life.stream,
        image_shape=life.input_shape,
        backbone=life.config.backbone,
        tasks=tuple(task_facts(life, index) for index in range(len(life.lessons))),
        unfinished=unfinished(life),
        memory_bytes=life.memory_bytes,
        replaced_data_bytes=life.record.replaced_data_bytes,
    )


def task_facts(life: "SavedLife", index: int) -> TaskFacts:
    """Return what there is to show of the task with this ``index``."""
    lesson = life.lessons[index]
    return TaskFacts(
        name=lesson.name,
        classes=lesson.classes,
        images=sum(lesson.images),
        learned=lesson.learned or None,
        class_il=lesson.class_il,
        task_il=lesson.task_il,
        recall=lesson.recall,
        memory_bytes=life.memory_bytes_for(index),
    )


def unfinished(life: "SavedLife") -> Unfinished | None:
    """Return how far the cycle came that ``life`` is in the middle of; None between two cycles."""
    point = life.checkpoint
    if not life.phases_done and point is None and life.current is None:
        return None
    # A task is noted with its first finished phase.
    task = f"task {life.tasks_learned + 1}" if life.current is None else life.lessons[life.current].name
    return Unfinished(
        task=task,
        phases_done=tuple(life.phases_done),
        interrupted=None if point is None else point.phase,
        steps_done=None if point is None else point.steps,
    )


def tasks_table(tasks: Sequence[TaskFacts]) -> Table:
    """Return ``tasks`` as a table."""
    table = new_table(("task", "classes"), ("images", "learned", "class-IL", "task-IL", "recall", "kept"))
    for task in tasks:
        table.add_row(
            plain(task.name),
            plain(", ".join(task.classes)),
            f"{task.images:,}",
            plain((task.learned or "not yet")[:10]),  # the date; --json has the time
            *("" if share is None else f"{share:.3f}" for share in (task.class_il, task.task_il, task.recall)),
            filesize.decimal(task.memory_bytes),
        )
    return table


# -- dream ------------------------------------------------------------------------------------------------------------


def grid_png(images: "Tensor") -> bytes:
    """Return uint8 ``images`` [N, C, H, W] as a PNG file of as many columns as rows, the last of which may be empty."""
    from PIL import Image

    from mygo.data.torchvision_shim import torchvision

    columns = math.isqrt(len(images) - 1) + 1
    grid = torchvision.utils.make_grid(images, nrow=columns, padding=1, pad_value=255)
    buffer = io.BytesIO()
    Image.fromarray(grid.permute(1, 2, 0).numpy()).save(buffer, format="PNG")
    return buffer.getvalue()


# -- what is printed --------------------------------------------------------------------------------------------------


def tell(text: str) -> None:
    """Print a line to stderr."""
    print(f"mygo: {printable(text)}", file=sys.stderr)


def print_json(console: Console, content: object) -> None:
    """Print ``content`` as JSON, in ASCII and without a line's end in its lines, wherever it goes."""
    console.file.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
