"""What a life in service answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mygo.data.readers.reader import Kind
from mygo.encoders.protocol import Encoder
from mygo.service.config import ServiceConfig


@dataclass(frozen=True)
class Answer:
    """What a life says of one input, or why it cannot say anything of it."""

    class_name: str | None
    """The most probable class; None if it is `unknown` or there is an `error`."""
    confidence: float
    """The probability of the most probable class; 0 with an error."""
    probabilities: Mapping[str, float]
    """Of the most probable classes, highest first; of all of them they sum to 1."""
    unknown: bool = False
    error: str | None = None
    """Why the input cannot be seen, in one sentence."""


class Predictor:
    """One version of a life, ready to answer on the CPU; several threads may ask."""

    version: int | None
    """Number of the version; None of a life that was never in service."""
    kind: Kind
    """What it takes."""
    class_names: tuple[str, ...]
    checksum: str
    """Of the manifest of its state."""
    encoder: Encoder | None

    @classmethod
    def open(cls, folder: Path, config: ServiceConfig = ServiceConfig(), encoder: Encoder | None = None) -> "Predictor":
        """Read the life in ``folder``; ``encoder`` is used again if it is the one that the life sees through.

        Raises:
            ConflictError: it has learned nothing yet.
            InputError: it is damaged, or its encoder cannot be had.
        """
        raise NotImplementedError

    def answer(
        self, inputs: "Sequence[bytes] | Sequence[str] | Sequence[npt.NDArray[np.float32]]", top: int | None = None
    ) -> list[Answer]:
        """Return an answer for each input: images as the bytes of their files, texts, or vectors (arrays or lists).

        ``top`` is how many probabilities are listed, by default all. What cannot be seen has an error of its own.
        """
        raise NotImplementedError


class CurrentPredictor:
    """The `Predictor` of the current version, which is looked for at every call."""

    def __init__(
        self, life_folder: Path, config: ServiceConfig = ServiceConfig(), on_notice: Callable[[str], None] | None = None
    ) -> None:
        """Look at the life in ``life_folder``, which need not be there yet; ``on_notice`` gets what a person must know.

        By default that is logged as a warning.
        """

    def get(self) -> Predictor:
        """Return the predictor of the current version; one version answers a whole batch with it.

        It costs a look at one file, unless the version is new. Where that cannot be opened, the one before goes on
        answering, and it is said so.

        Raises:
            ConflictError: nothing was learned yet.
            InputError: the life cannot be opened, and no version before could.
        """
        raise NotImplementedError
