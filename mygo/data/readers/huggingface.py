"""Data sets of Hugging Face's ``datasets``: by name from its hub or cache, or a folder made by ``save_to_disk``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from mygo.data.folders import PARTS, TEST, TRAIN, VALID
from mygo.data.images import Size, as_picture, reason
from mygo.data.readers.reader import Item, Kind, each_once, named
from mygo.data.spelling import composed
from mygo.errors import InputError
from mygo.extras import how_to_install

PREFIX = "hf:"
"""What the name of a data set on the hub begins with: ``hf:NAME``, or ``hf:NAME:CONFIGURATION``."""
SAVED = ("dataset_info.json", "dataset_dict.json")
"""One of these files makes a folder one of ``save_to_disk``."""


@dataclass(frozen=True)
class HubReader:
    """The rows of a `datasets.Dataset`: its column of images or texts, and its column of labels."""

    source: str
    dataset: Any
    kind: Kind
    column: str
    labels: Sequence[object]
    classes: tuple[str, ...] | None
    """The names of the labels, if they are integers with names."""
    concurrent = True

    @cached_property
    def names(self) -> set[str]:
        """The classes that there are rows of."""
        return {named(label, self.classes, self.source) for label in set(self.labels)}

    def __len__(self) -> int:
        return len(self.labels)

    def where(self, index: int) -> str:
        """Return the number of the row."""
        return f"{self.source}, row {index}"

    def label(self, index: int) -> str:
        """Return what is in the column of labels."""
        return named(self.labels[index], self.classes, self.source)

    def size(self, index: int) -> Size:
        """Read the item for its size."""
        item, _ = self.read(index)
        return (item.height, item.width) if isinstance(item, Image.Image) else (1, len(item))

    def read(self, index: int, at_least: Size | None = None) -> tuple[Item, str]:
        """Ask for the row."""
        item = self.dataset[index][self.column]
        if self.kind == "text" and not isinstance(item, str):
            raise TypeError(f"it is of type {type(item).__name__}, not text")
        return item if self.kind == "text" else as_picture(item), self.label(index)


def by_name(source: str) -> tuple[str, list[HubReader], tuple[str, ...]]:
    """Return the name of the data set ``hf:NAME``, its training rows, its test rows if it has them apart, and notes.

    Raises:
        InputError: it is not in the cache and cannot be downloaded, or its columns are not as `reader_of` takes them.
    """
    datasets = library(source)
    name, _, configuration = source.removeprefix(PREFIX).partition(":")
    try:
        found = datasets.load_dataset(name, configuration or None)
    except Exception as error:  # whatever the hub, the network or a file in the cache makes it raise
        raise InputError(
            f"{source} cannot be loaded ({reason(error)}): check the name and the network, or name a folder made by "
            "save_to_disk."
        ) from error
    return name.rpartition("/")[2], *readers(source, found)


def is_saved(folder: Path) -> bool:
    """Return whether ``folder`` was made by ``save_to_disk``."""
    return any((folder / name).is_file() for name in SAVED)


def saved(folder: Path) -> tuple[list[HubReader], tuple[str, ...]]:
    """Return the rows of a data set in a ``folder`` made by ``save_to_disk``, as one reader or two; and notes.

    Raises:
        InputError: it is damaged, or its columns are not as `reader_of` takes them.
    """
    datasets = library(str(folder))
    try:
        found = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever a damaged file makes it raise
        raise InputError(f"{folder} cannot be read ({reason(error)}): save it again with save_to_disk.") from error
    return readers(str(folder), found)


def library(source: str) -> ModuleType:
    """Return the package ``datasets``, which since version 4 runs no code that comes with data.

    Raises:
        InputError: it is not installed.
    """
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"{source} needs the package datasets: {how_to_install('hf')}.") from error
    module: ModuleType = datasets
    return module


def readers(source: str, found: Any) -> tuple[list[HubReader], tuple[str, ...]]:
    """Return the training rows and, if there are, the test rows of what ``datasets`` ``found``; and notes.

    Raises:
        InputError: of its parts none is for training, or columns are not as `reader_of` takes them.
    """
    if not isinstance(found, Mapping):
        return [reader_of(source, found)], ()
    parts = {PARTS[name.lower()]: name for name in found if name.lower() in PARTS}
    if TRAIN not in parts:
        raise InputError(f"{source} has the parts {', '.join(found)} but none called train: name another data set.")
    train = reader_of(source, found[parts[TRAIN]])
    test = parts.get(TEST, parts.get(VALID))
    if test is None:
        return [train], ()
    notes = [f"Accuracy is measured on the rows of {test}."] if TEST not in parts else []
    left = [name for name in found if name not in (parts[TRAIN], test)]
    notes += [f"The rows of {' and '.join(left)} are left out."] if left else []
    return [train, reader_of(source, found[test])], tuple(notes)


def reader_of(source: str, rows: Any) -> HubReader:
    """Return ``rows`` as a reader: their only column of images, or ``text``; and ``label``, or their only class label.

    Raises:
        InputError: there are no such columns, or several.
    """
    features = rows.features
    columns = f"{source} has the columns {', '.join(features)}"
    images = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    if len(images) > 1 or (images and "text" in features):
        raise InputError(f"{columns}, several of which hold images or text: save it with one of them.")
    if not images and "text" not in features:
        raise InputError(f"{columns}, but none of images and none called text: rename one, and use save_to_disk.")
    classed = [name for name, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    if "label" not in features and len(classed) != 1:
        raise InputError(f"{columns}, but none called label: rename one, and use save_to_disk.")
    label = "label" if "label" in features else classed[0]
    names = getattr(features[label], "names", None)
    classes = None if names is None else each_once(source, tuple(composed(name) for name in names))
    column, kind = (images[0], "image") if images else ("text", "text")
    return HubReader(source, rows, kind, column, list(rows[label]), classes)  # type: ignore[arg-type]
