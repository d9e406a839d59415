"""What a life tells about itself while it runs: events, and who listens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


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
    """A phase finished step number ``step`` (from 0) of ``steps``; ``scalars`` are means over the global batch."""

    place: Place
    step: int
    steps: int
    scalars: Mapping[str, float]


@dataclass(frozen=True)
class PhaseEnded:
    """A phase took ``seconds``, and the life was saved after it."""

    place: Place
    seconds: float


@dataclass(frozen=True)
class Dreamt:
    """A memory was trained: sample dreams uint8 [N, C, H, W], as many per class, and how good they are.

    ``quality`` has the fields of `mygo.memory.Quality`.
    """

    place: Place
    images: "Tensor"
    num_classes: int
    quality: Mapping[str, float]


@dataclass(frozen=True)
class Evaluated:
    """Test accuracies, as fractions, on the tasks so far, and the whole matrices up to this row."""

    strategy: str
    task: int
    task_il: list[list[float]]
    class_il: list[list[float]]


@dataclass(frozen=True)
class Notice:
    """A sentence that a person should see."""

    text: str


Event = Progress | PhaseEnded | Dreamt | Evaluated | Notice
Journal = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""


def tee(*journals: Journal) -> Journal:
    """Return a journal that passes every event on to each of ``journals``."""

    def tell(event: Event) -> None:
        for journal in journals:
            journal(event)

    return tell
