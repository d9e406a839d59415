"""What a reader is: the examples of one part of a source, before they are decoded."""

import operator
from collections.abc import Collection
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mygo.data.images import Size
from mygo.data.spelling import composed
from mygo.errors import InputError

Kind: TypeAlias = Literal["image", "text", "vector"]
Vector: TypeAlias = npt.NDArray[np.float32]
Item: TypeAlias = Image.Image | str | Vector
"""A picture, a text, or a feature vector float32 [D], by the kind of its reader."""

PLURAL: dict[Kind, str] = {"image": "images", "text": "texts", "vector": "vectors"}
"""What messages call several items of a kind."""


class Reader(Protocol):
    """The examples of one part of a source, training or test, before they are decoded."""

    @property
    def kind(self) -> Kind:
        """What all items are."""

    @property
    def concurrent(self) -> bool:
        """Whether several threads may read at once."""

    @property
    def names(self) -> Collection[str]:
        """The classes, as far as they are known before the items are read."""

    def __len__(self) -> int: ...

    def where(self, index: int) -> str:
        """Return what an item is called in messages."""

    def label(self, index: int) -> str:
        """Return the name of an item's class, without decoding the item where that can be; raises what `read` raises.

        It is "" of items without a class, as predictions are made of.
        """

    def size(self, index: int) -> Size:
        """Return the size of an image, or (1, the length) of a text or vector; raises what `read` raises."""

    def read(self, index: int, at_least: Size | None = None) -> tuple[Item, str]:
        """Return an item and the name of its class.

        A photo may come smaller than it is, but not smaller than ``at_least``.

        Raises:
            InputError: the source cannot be used; any other Exception: this item cannot be read.
        """


def named(label: object, names: tuple[str, ...] | None, source: str) -> str:
    """Return the name of the class with ``label``: of ``names``, or the label as text.

    Raises:
        InputError: the label is neither an integer nor text, or there is no name for it.
    """
    if isinstance(label, str):
        return composed(label)
    try:
        index = operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{source} has the label {label!r}: labels must be integers or class names.") from None
    if names is None:
        return str(index)
    if not 0 <= index < len(names):
        raise InputError(f"{source} has the label {index} but {len(names)} class names: name every class.")
    return names[index]


def each_once(source: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return ``names``.

    Raises:
        InputError: two are the same.
    """
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{source} names two classes {repeated[0]}: give each its own name.")
    return names
