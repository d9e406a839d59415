"""Data sets of torch, or like them: pairs of an image, a text or a vector, and a label."""

import importlib
import operator
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset

from mygo.data.images import Size, as_picture, reason
from mygo.data.readers.reader import Item, Kind, Vector, each_once, named
from mygo.data.spelling import composed
from mygo.errors import InputError

TRIED = 10
"""Items that are requested, one after another, until one shows of what kind they are."""


@dataclass(frozen=True)
class DatasetReader:
    """A data set of (image, label), (text, label) or (vector, label) pairs."""

    source: str
    dataset: Any
    classes: tuple[str, ...] | None
    """The names of the labels, if the data set has them."""
    names: tuple[str, ...] = ()
    labels: Any = None
    """The label of each item, if the data set has them apart from the items."""
    concurrent = False
    _kinds: list[Kind] = field(default_factory=list)
    """The kind, once it was requested."""

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def kind(self) -> Kind:
        """The kind of the first item that can be read; "image" if there is none."""
        if not self._kinds:
            found: Kind = "image"
            for index in range(min(len(self), TRIED)):
                try:
                    found = kind_of(self._pair(index)[0])
                except InputError:
                    raise
                except Exception:  # whatever a damaged item makes a person's code raise; it will come up again
                    continue
                break
            self._kinds.append(found)
        return self._kinds[0]

    def where(self, index: int) -> str:
        """Return the position in the data set."""
        return f"{self.source}, item {index}"

    def label(self, index: int) -> str:
        """Read the pair, unless the data set has its labels apart."""
        label = self._pair(index)[1] if self.labels is None else self.labels[index]
        return named(label, self.classes, self.source)

    def size(self, index: int) -> Size:
        """Read the item for its size."""
        item, _ = self.read(index)
        return (item.height, item.width) if isinstance(item, Image.Image) else (1, len(item))

    def read(self, index: int, at_least: Size | None = None) -> tuple[Item, str]:
        """Ask for the pair."""
        item, label = self._pair(index)
        kind = kind_of(item)
        seen = as_picture(item) if kind == "image" else item if isinstance(item, str) else as_vector(item)
        return seen, named(label, self.classes, self.source)

    def _pair(self, index: int) -> tuple[object, object]:
        with importable_here():
            pair = self.dataset[index]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(
                f"{self.where(index)} is not an (image, label) pair, nor one of a text or vector and a label: return "
                "such pairs."
            )
        return pair[0], pair[1]


def kind_of(item: object) -> Kind:
    """Return what ``item`` is: text, a vector (floating-point, of one dimension), or else meant as an image."""
    if isinstance(item, str):
        return "text"
    if isinstance(item, Tensor):
        return "vector" if item.dim() == 1 and item.is_floating_point() else "image"
    return "vector" if isinstance(item, np.ndarray) and item.ndim == 1 and item.dtype.kind == "f" else "image"


def as_vector(item: Any) -> Vector:
    """Return a tensor or array [D] as a vector."""
    values = item.detach().cpu().float().numpy() if isinstance(item, Tensor) else item
    vector: Vector = np.asarray(values, np.float32)
    return vector


def pairs(module: str, function: str) -> DatasetReader:
    """Import ``function`` from ``module``, call it, and return a reader of its data set.

    Raises:
        InputError: one of these steps fails.
    """
    source = f"{module}:{function}"
    importlib.invalidate_caches()
    try:
        with importable_here():
            made = operator.attrgetter(function)(importlib.import_module(module))
    except (Exception, SystemExit) as error:  # whatever a person's module does
        raise InputError(f"{source} cannot be imported ({reason(error)}): put it right or name another.") from error
    if not callable(made):
        raise InputError(f"{source} is not a function: name one that returns a data set.")
    try:
        with importable_here():
            dataset = made()
    except (Exception, SystemExit) as error:
        raise InputError(f"{source} does not return a data set ({reason(error)}): put it right.") from error
    return pairs_of(dataset, source)


def pairs_of(dataset: Any, source: str) -> DatasetReader:
    """Return ``dataset``, which messages call ``source``, as a reader.

    Raises:
        InputError: it has no length, or its ``classes`` are not names.
    """
    try:
        with importable_here():
            len(dataset)
            names = classes_of(dataset, source)
            labels = labels_of(dataset)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{source} is not a data set of known length ({reason(error)}): put it right.") from error
    return DatasetReader(source, dataset, None if names is None else each_once(source, names), labels=labels)


def classes_of(dataset: Any, source: str, outer: tuple[int, ...] = ()) -> tuple[str, ...] | None:
    """Return the names of the labels of ``dataset``, if it has them in ``classes`` or a data set within it has.

    Those within are what torch's Subset has as ``dataset`` and its ConcatDataset as ``datasets``, and so wrappers like
    them; ``outer`` are the identities of those that were looked through.

    Raises:
        InputError: it joins data sets that have different classes.
    """
    if (classes := getattr(dataset, "classes", None)) is not None:
        return tuple(composed(str(name)) for name in classes)
    if id(dataset) in outer:
        return None
    joined = getattr(dataset, "datasets", None)
    inner = list(joined) if isinstance(joined, list | tuple) else [getattr(dataset, "dataset", None)]
    found = {classes_of(each, source, (*outer, id(dataset))) for each in inner if each is not None}
    if len(found) > 1:
        raise InputError(f"{source} joins data sets with different classes: learn them one after another.")
    return next(iter(found), None)


def labels_of(dataset: Any) -> Sequence[object] | None:
    """Return the labels of a data set of torchvision's, or of torch's Subset of one, where it has them in a list."""
    if type(dataset) is Subset:
        labels = labels_of(dataset.dataset)
        return None if labels is None else [labels[index] for index in dataset.indices]
    targets = getattr(dataset, "targets", None)
    own_form = type(dataset).__module__.startswith("torchvision.datasets.") and not getattr(
        dataset, "target_transform", 0
    )
    if not own_form or not isinstance(targets, list | Tensor) or len(targets) != len(dataset):
        return None
    return targets.tolist() if isinstance(targets, Tensor) else targets


@contextmanager
def importable_here() -> Iterator[None]:
    """Let a person's code import modules from the current folder, as ``python -m`` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)
