"""What an encoder is, and what one is requested by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from mygo.config.learner import Precision

InputKind = Literal["image", "text", "vector"]
INPUT_KINDS: tuple[InputKind, ...] = ("image", "text", "vector")


@runtime_checkable
class Encoder(Protocol):
    """A frozen network that turns inputs of one kind into feature vectors, with the preprocessing that belongs to it.

    `preprocess` and `collate` are for the workers that load data: they are cheap to pickle and do without the network.
    """

    name: str
    """As ``--encoder`` names it."""

    @property
    def input_kind(self) -> InputKind:
        """What `preprocess` takes: a PIL picture, a str, or a vector [D] as a tensor, an array or a list."""

    @property
    def feature_dim(self) -> int:
        """Length of a feature vector."""

    @property
    def checksum(self) -> str:
        """SHA-256, in hex, of the weights and of the settings of the preprocessing."""

    @property
    def at_least(self) -> tuple[int, int] | None:
        """The size (height, width) of which a picture must be for `preprocess` to lose nothing; None is its own."""

    @property
    def preprocess(self) -> Callable[[Any], Tensor]:
        """Turns one input into a CPU tensor: uint8 [3, S, S], token ids int64 [L], or float32 [D]."""

    @property
    def collate(self) -> Callable[[Sequence[Tensor]], Tensor]:
        """Makes one batch of what `preprocess` returned: uint8 [N, 3, S, S], ids int64 [N, L], or float32 [N, D]."""

    def encode(self, batch: Tensor) -> Tensor:
        """Return float32 features [N, feature_dim] of a ``batch``, on the encoder's device and without gradient.

        An example's features depend on what else is in its batch by no more than rounding.
        """

    def to(self, device: torch.device) -> "Encoder":
        """Move the encoder to ``device``, and return it."""


@dataclass(frozen=True)
class EncoderRequest:
    """What ``--encoder`` and the flags beside it ask a family of encoders for."""

    name: str
    """The whole name, without ``@SIZE``."""
    rest: str
    """What follows the prefix of the family in it, such as resnet18; empty where the family has one name."""
    size: int | None = None
    """Side in pixels that was requested with ``@SIZE``."""
    weights: Path | None = None
    """The file of ``--encoder-weights``."""
    precision: Precision = "float32"
    """In which numbers `Encoder.encode` multiplies."""

    def titled(self, size: int | None = None) -> str:
        """Return the name that an encoder keeps: ``size`` is noted unless it is None."""
        return self.name if size is None else f"{self.name}@{size}"
