"""``show``: what a life has learned, and what it keeps."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from rich import filesize
from rich.console import Console
from rich.table import Table

from mygo.cli.flags import AsJson
from mygo.cli.folders import LifeFolder, life_folder
from mygo.config.ranges import MOST_STEPS, check_ranges
from mygo.reporting.console import new_table, plain, print_json
from mygo.reporting.terminal import print_notice

if TYPE_CHECKING:
    from mygo.learner.saved import SavedLife


NEWEST = 20
"""Tasks that are shown after a lesson, of which each takes a line."""


@dataclass(frozen=True, kw_only=True)
class Show:
    """Show what a life has learned, how well, and what it keeps to remember with."""

    life: LifeFolder
    newest: int | None = None
    """Show only so many tasks, those that were begun last; by default all."""
    as_json: AsJson = False

    def __post_init__(self) -> None:
        check_ranges(self, "", newest=(1, MOST_STEPS))

    def run(self, console: Console) -> None:
        """Print the tasks of the life and what it is as a whole."""
        from mygo.learner.saved import SavedLife

        facts = facts_of(SavedLife.open(life_folder(self.life), print_notice))
        hidden = 0 if self.newest is None else max(0, len(facts.tasks) - self.newest)
        facts = replace(facts, tasks=facts.tasks[hidden:])
        if self.as_json:
            print_json(console, asdict(facts))
            return
        if facts.tasks:
            console.print(tasks_table(facts.tasks))
        if hidden:
            how = f"{hidden} more, begun before, are shown by: python -m mygo show --life {self.life}"
            console.print(plain(how), style="dim", soft_wrap=True)
        for sentence in facts.sentences:
            console.print(plain(sentence), soft_wrap=True)


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
    calibration_error: float | None
    """Expected calibration error on its held-out images, when that was measured last."""
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
    image_shape: tuple[int, ...] | None
    """(C, H, W); None where it sees vectors."""
    encoder: str | None
    """What it sees through; None over pixels, and where its data are vectors as they are."""
    input_shape: tuple[int, ...]
    """What its network takes: (C, H, W), or (D,) of vectors."""
    backbone: str
    tasks: tuple[TaskFacts, ...]
    unfinished: Unfinished | None
    memory_bytes: int
    """Bytes kept to remember with, over all tasks."""
    replaced_data_bytes: int
    """Bytes of the training images or vectors that it saw, which are gone."""
    memory_bytes_per_class: int | None
    """Bytes kept for each class that is remembered, rounded; None where nothing is."""

    @property
    def sight(self) -> str:
        """What it sees."""
        if self.image_shape is not None:
            channels, height, width = self.image_shape
            return f"sees images of {width} × {height} pixels in {'grey' if channels == 1 else 'colour'}"
        if self.encoder is None:
            return f"sees vectors of {self.input_shape[0]:,} values"
        return f"sees through the encoder {self.encoder}, which gives {self.input_shape[0]:,} features"

    @property
    def sentences(self) -> list[str]:
        """What is not about a single task."""
        raw = "images" if self.image_shape is not None else "vectors" if self.encoder is None else "features"
        each = "" if self.memory_bytes_per_class is None else f" ({self.memory_bytes_per_class:,} a class)"
        sentences = [
            f"{self.folder}: a life of {self.strategy} with the backbone {self.backbone}, which {self.sight}.",
            f"It keeps {self.memory_bytes:,} bytes to remember with{each}, in place of {self.replaced_data_bytes:,} "
            f"bytes of training {raw}.",
        ]
        if self.unfinished is not None:
            sentences.append(f"It is {self.unfinished}.")
        elif not self.tasks:
            sentences.append("It has learned nothing yet.")
        return sentences


def facts_of(life: "SavedLife") -> LifeFacts:
    """Return what there is to show of ``life``."""
    on_vectors = len(life.input_shape) == 1
    remembered = sum(size for size, kept in zip(life.head_sizes, life.bytes_kept, strict=False) if kept)
    return LifeFacts(
        folder=str(life.folder),
        strategy=life.strategy,
        stream=life.stream,
        image_shape=None if on_vectors else life.input_shape,
        encoder=life.config.encoder if on_vectors and life.config.encoder != "none" else None,
        input_shape=life.input_shape,
        backbone=life.config.backbone,
        tasks=tuple(task_facts(life, index) for index in range(len(life.lessons))),
        unfinished=unfinished(life),
        memory_bytes=life.memory_bytes,
        replaced_data_bytes=life.record.replaced_data_bytes,
        memory_bytes_per_class=round(life.memory_bytes / remembered) if remembered else None,
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
        calibration_error=lesson.calibration_error,
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
    table = new_table(("task", "classes"), ("images", "learned", "class-IL", "task-IL", "recall", "ECE", "kept"))
    for task in tasks:
        shares = task.class_il, task.task_il, task.recall, task.calibration_error
        table.add_row(
            plain(task.name),
            plain(", ".join(task.classes)),
            f"{task.images:,}",
            plain((task.learned or "not yet")[:10]),  # the date; --json has the time
            *("" if share is None else f"{share:.3f}" for share in shares),
            filesize.decimal(task.memory_bytes),
        )
    return table
