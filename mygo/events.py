"""The events of a life while it runs, and the event handlers (callbacks, loggers) that get them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


ENCODE = "encode"
"""The phase in which a lesson's examples are encoded; its steps are examples."""


@dataclass(frozen=True)
class Place:
    """Where in which life something happens."""

    strategy: str
    task: int
    phase: str

    def __str__(self) -> str:
        return f"{self.strategy}, task {self.task + 1}, {self.phase}"


@dataclass(frozen=True)
class Progress:
    """A phase finished step number ``step`` (from 0) of ``steps``; ``scalars`` are means over the global batch.

    ``when`` is in seconds since the epoch: events may arrive together that happened one after another.
    """

    place: Place
    step: int
    steps: int
    scalars: Mapping[str, float]
    when: float = field(default_factory=time.time, compare=False)


@dataclass(frozen=True)
class PhaseEnded:
    """A phase took ``seconds``, and the life was saved after it."""

    place: Place
    seconds: float


@dataclass(frozen=True)
class Dreamt:
    """A memory was trained: how good its dreams are and, over pixels, some uint8 [N, C, H, W], as many per class.

    ``quality`` has the fields of `mygo.memory.quality.Quality`.
    """

    place: Place
    images: "Tensor | None"
    num_classes: int
    quality: Mapping[str, float]


@dataclass(frozen=True)
class Evaluated:
    """Test accuracies, as fractions, on the tasks so far, and the whole matrices up to this row.

    ``confusion`` is class-IL's confusion matrix after this task, as `mygo.evaluate.accuracy_rows` returns it;
    ``calibration_error``, its expected calibration error after each task that it was measured after.
    """

    strategy: str
    task: int
    task_il: list[list[float]]
    class_il: list[list[float]]
    confusion: list[list[int]]
    calibration_error: list[float] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Mapped:
    """Where the classes lie that a life behind an encoder remembers, in the plane in which they lie apart best.

    ``means`` [K, 2] are those of the classes; ``dreams`` [N, 2] and ``held_out`` [M, 2] are points of the classes
    ``dream_labels`` [N] and ``held_out_labels`` [M], which index ``classes`` and ``class_names``.
    """

    strategy: str
    task: int
    classes: Sequence[int]
    """Counted over all heads side by side."""
    class_names: Sequence[str]
    means: "Tensor"
    dreams: "Tensor"
    dream_labels: "Tensor"
    held_out: "Tensor"
    held_out_labels: "Tensor"


@dataclass(frozen=True)
class Notice:
    """A sentence that a person should see."""

    text: str


@dataclass(frozen=True)
class Restarted(Notice):
    """Processes were lost, or there is room for more of them, and ``who`` starts again."""

    who: str


Event = Progress | PhaseEnded | Dreamt | Evaluated | Mapped | Notice
EventHandler = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""


def tee(*handlers: EventHandler) -> EventHandler:
    """Return a handler that passes every event on to each of ``handlers``."""

    def handle(event: Event) -> None:
        for on_event in handlers:
            on_event(event)

    return handle


class Pace:
    """How fast lives go, computed from the `Progress` events of each in their order."""

    def __init__(self) -> None:
        self._first: dict[str, Progress] = {}
        self._last: dict[str, Progress] = {}

    def follow(self, event: Progress) -> tuple[int, float]:
        """Return the steps since the last event of this life, and the mean steps per second since the phase began.

        At the first event of a phase, or of its part since it began again, these are 1 and 0.
        """
        life = event.place.strategy
        last, self._last[life] = self._last.get(life), event
        if last is None or last.place != event.place or event.step <= last.step:
            self._first[life] = event
            return 1, 0.0
        first = self._first[life]
        seconds = event.when - first.when
        return event.step - last.step, (event.step - first.step) / seconds if seconds > 0 else 0.0
