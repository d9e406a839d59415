"""Examples and inputs as they are sent to a life in service: bytes of image files, texts, and vectors."""

import io
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from mygo.data.images import Size, open_picture, pixels_of, reason, size_of
from mygo.data.readers.reader import PLURAL, Item, Kind, Vector
from mygo.errors import InputError
from mygo.service.config import ExampleLimits

Sent: TypeAlias = "Sequence[bytes] | Sequence[str] | Sequence[Sequence[float]] | npt.NDArray[np.floating]"
"""Several of one kind: the bytes of image files, texts, or vectors (an array [N, D], or arrays or lists [D])."""

CHECKED_AT: Size = (64, 64)
"""The size at which a JPEG is decoded at the least to find out whether it is whole, which takes a fraction of time."""


@dataclass(frozen=True)
class Inputs:
    """What was sent, as a `mygo.data.readers.reader.Reader` of items without classes."""

    kind: Kind
    items: Sent
    limits: ExampleLimits
    length: int | None = None
    """How long vectors must be."""
    numbers: Sequence[int] | None = None
    """What they are called by in messages; by default they are counted from 1."""
    names: Collection[str] = ()
    concurrent = True

    def __len__(self) -> int:
        return len(self.items)

    def where(self, index: int) -> str:
        """Return what an input is called in messages."""
        return f"{self.kind} {index + 1 if self.numbers is None else self.numbers[index]}"

    def label(self, index: int) -> str:
        """Return "": it has none."""
        return ""

    def size(self, index: int) -> Size:
        """Return the size of an image, or (1, the length) of a text or vector; raises what `read` raises."""
        item = self.items[index]
        return size_of(io.BytesIO(cast(bytes, item))) if self.kind == "image" else (1, len(item))

    def read(self, index: int, at_least: Size | None = None) -> tuple[Item, str]:
        """Return an input, an image decoded; raises anything where it cannot be used."""
        item = self.items[index]
        if self.kind == "vector":
            return self._vector(item), ""
        if not isinstance(item, str if self.kind == "text" else bytes):
            raise TypeError(f"it is of type {type(item).__name__}, which no {self.kind} is")
        return self._text(item) if isinstance(item, str) else self._picture(item, at_least), ""

    def _picture(self, content: bytes, at_least: Size | None) -> Item:
        pixels = pixels_of(io.BytesIO(content))
        if pixels > self.limits.max_pixels:
            raise ValueError(f"it has {pixels} pixels, more than {self.limits.max_pixels}")
        return open_picture(io.BytesIO(content), at_least)

    def _text(self, text: str) -> str:
        size = len(text.encode())
        if size > self.limits.max_text_bytes:
            raise ValueError(f"it has {size} bytes, more than {self.limits.max_text_bytes}")
        if not text.strip():
            raise ValueError("it is empty")
        return text

    def _vector(self, item: object) -> Vector:
        with np.errstate(over="ignore"):  # what is too large becomes infinite
            vector: Vector = np.asarray(item, np.float32)
        if vector.ndim != 1 or not len(vector):
            raise ValueError(f"it has the shape {list(vector.shape)}, which is not that of a vector")
        if self.length not in (None, len(vector)):
            raise ValueError(f"it has {len(vector)} values, but this life sees vectors of {self.length}")
        if not np.isfinite(vector).all():
            raise ValueError("it is not finite")
        if not vector.any():
            raise ValueError("it is zero")
        return vector


def cannot_be_seen(where: str, why: str) -> str:
    """Return the sentence about an input that cannot be seen."""
    return f"{where[0].upper()}{where[1:]} cannot be seen ({why}): convert it or leave it out."


def another_kind(seen: Kind, sent: Kind) -> InputError:
    """Return the refusal of what was ``sent`` to a life that sees another kind."""
    return InputError(f"This life sees {PLURAL[seen]}, not {PLURAL[sent]}: send {PLURAL[seen]}.")


def check_size(inputs: Inputs) -> None:
    """Look up how large images are, without decoding any.

    Raises:
        InputError: all ``inputs`` together have more pixels than they may.
    """
    pixels, most = 0, inputs.limits.max_pixels_together
    if inputs.kind != "image" or len(inputs) * inputs.limits.max_pixels <= most:
        return  # so few cannot be: none is decoded that is too large by itself
    for item in inputs.items:
        with suppress(Exception):  # of one that cannot be read it is said when it is
            pixels += pixels_of(io.BytesIO(cast(bytes, item)))
    if pixels > most:
        raise InputError(f"The images have {pixels:,} pixels together, more than {most:,}: send fewer at once.")


def check_readable(inputs: Inputs) -> list[Item]:
    """Decode all ``inputs`` once, images as small as they may be, and return the texts and vectors, but no images.

    Raises:
        InputError: one cannot be seen, they are too large together, or vectors are of several lengths.
    """
    check_size(inputs)
    kept: list[Item] = []
    for index in range(len(inputs)):
        try:
            item, _ = inputs.read(index, CHECKED_AT)
        except Exception as error:  # whatever a damaged image makes PIL raise
            raise InputError(cannot_be_seen(inputs.where(index), reason(error))) from error
        if inputs.kind != "image":
            kept.append(item)
    if inputs.kind == "vector" and len(lengths := {len(cast(Vector, each)) for each in kept}) > 1:
        raise InputError(f"There are vectors of {' and of '.join(map(str, sorted(lengths)))} values: send one length.")
    return kept
