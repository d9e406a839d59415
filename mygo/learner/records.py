"""What a learner was taught, and what was measured of it."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mygo.data.spelling import composed


@dataclass
class TaskRecord:
    """What was taught in one cycle."""

    name: str
    classes: tuple[str, ...]
    """Names of the classes, in the order of the head's outputs."""
    images: tuple[int, ...] = ()
    """How many training images of each class were handed out."""
    learned: str = ""
    """When the last cycle that taught it ended, UTC, as ISO 8601; empty before."""
    class_il: float | None = None
    task_il: float | None = None
    """Accuracy on held-out images when it was measured last: among all classes, and among its own. None: never."""
    recall: float | None = None
    """Share of its dreams that were given their class, among all classes, when it was measured last."""
    calibration_error: float | None = None
    """Expected calibration error on held-out images, among all classes, when it was measured last. None: never."""
    origins: tuple[str, ...] = ()
    """Of a life that was merged, the names of the lives that each class came from; else empty."""
    held_out: tuple[tuple[float, float, float], ...] = ()
    """Of each class how many examples were held out, and the mean and variance of how strange they looked (see
    `mygo.unlabelled.drift`); empty where that was not measured."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "TaskRecord":
        """Return the lesson that was written as ``values``.

        Raises:
            TypeError, ValueError: they are not those of a lesson.
        """
        lists = {name: tuple(values.get(name, ())) for name in ("classes", "images", "origins")}
        held_out = tuple(
            (float(count), float(mean), float(variance)) for count, mean, variance in values.get("held_out", ())
        )
        lesson = cls(**{**values, **lists, "held_out": held_out})
        measured = [share for share in lesson.shares if share is not None]
        if (
            not all(isinstance(text, str) for text in (lesson.name, lesson.learned, *lesson.classes, *lesson.origins))
            or not all(isinstance(count, int) for count in lesson.images)
            or not all(isinstance(share, int | float) and 0 <= share <= 1 for share in measured)
            or not all(map(math.isfinite, itertools.chain(*held_out)))
        ):
            raise ValueError("one of its lessons holds something else than texts, counts and shares")
        lesson.name, lesson.classes = composed(lesson.name), tuple(map(composed, lesson.classes))
        return lesson

    @property
    def shares(self) -> tuple[float | None, ...]:
        """What was measured of it, each from 0 to 1: accuracies, recall and calibration error."""
        return self.class_il, self.task_il, self.recall, self.calibration_error


@dataclass
class Record:
    """What was measured in a life so far; accuracies are fractions of held-out test data."""

    task_il: list[list[float]] = field(default_factory=list)
    class_il: list[list[float]] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    """Class-IL at the newest evaluation: images of each true class (row) taken for each class (column), in the order
    in which classes were learned."""
    calibration_error: list[float] = field(default_factory=list)
    """Expected calibration error of class-IL at each evaluation, over the test data of all tasks so far; there are
    fewer in a life that an earlier version began."""
    computed: dict[str, str | int] = field(default_factory=dict)
    """How it is computed since it was interrupted last: precision, eager, device, workers, threads of the first worker
    and torch's version. None of it is what a life is."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds per phase name, over all tasks."""
    waits: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per phase name, the part of its seconds that the first worker waited, by reason (`mygo.training.loop.WAITS`),
    since it was interrupted last; in the rest it worked."""
    label_fidelity: list[float] = field(default_factory=list)
    diversity: list[float] = field(default_factory=list)
    frechet_distance: list[float] = field(default_factory=list)
    nearest_neighbour_ratio: list[float] = field(default_factory=list)
    label_fidelity_per_class: list[list[float]] = field(default_factory=list)
    diversity_per_class: list[list[float]] = field(default_factory=list)
    """Of each memory the measure of each of its classes; empty for one of a life that an earlier version wrote."""
    replaced_data_bytes: int = 0
    """Bytes of the raw training images that were handed out and are gone."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Record":
        """Return the record that was written as ``values``.

        Raises:
            TypeError, ValueError: they are not those of a record.
        """
        record = cls(**values)
        matrices: tuple[Iterable[float], ...] = (
            *record.task_il,
            *record.class_il,
            *record.confusion,
            record.calibration_error,
        )
        per_task = (record.label_fidelity, record.diversity, record.frechet_distance, record.nearest_neighbour_ratio)
        per_class = (record.label_fidelity_per_class, record.diversity_per_class)
        for of_memories in per_class:
            of_memories += [[]] * (len(record.label_fidelity) - len(of_memories))
        waits = [waited for phase in record.waits.values() for waited in phase.values()]
        measured = itertools.chain(*matrices, *per_task, *itertools.chain(*per_class))
        numbers = (record.replaced_data_bytes, *record.seconds.values(), *waits, *measured)
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
            raise ValueError("its record holds something that is not a number")
        if not all(isinstance(value, str | int) for value in record.computed.values()):
            raise ValueError("its record does not say how it was computed")
        return record
