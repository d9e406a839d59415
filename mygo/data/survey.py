"""What a source holds, before anything of it is decoded."""

from collections import Counter
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mygo.config.ranges import check_share
from mygo.data.checks import LEAST_EXAMPLES, check_classes, check_readable, refuse_known
from mygo.data.examples import Examples, LabelledDataset
from mygo.data.images import reason
from mygo.data.readers.find import lesson_of, title_of
from mygo.data.readers.pairs import DatasetReader
from mygo.data.readers.reader import Kind, Reader
from mygo.data.spelling import composed
from mygo.errors import InputError

if TYPE_CHECKING:
    from mygo.data.readers.find import Data

PEEKED = 64
"""Images whose sizes are looked at."""


@dataclass(frozen=True)
class Part:
    """The training or the test items of a source, class after class."""

    reader: Reader
    indices: Tensor
    """int64 [N], where the reader has them."""
    labels: Tensor
    """int64 [N], positions in the sorted names of the classes."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Survey:
    """What a source holds."""

    source: str
    """What messages call it."""
    name: str
    kind: Kind
    class_names: tuple[str, ...]
    parts: tuple[Part, ...]
    """The training items and, if the source has them apart, the test items."""
    held_out: float
    """Share of each class's training items that take the place of test items where the source has none. They are drawn
    among those that can be read, once these are known, as `mygo.data.sources.read_source` draws them."""
    least: int
    """Readable training items that a class must have."""
    unreadable: tuple[str, ...]
    """The items whose class is not known, each with the reason."""
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @cached_property
    def largest_side(self) -> int:
        """The longest side in pixels of some images, at most `PEEKED`, from all over the training items.

        Raises:
            InputError: the size of none is known.
        """
        part = self.parts[0]
        largest = 0
        for place in range(0, len(part), max(1, len(part) // PEEKED))[:PEEKED]:
            with suppress(Exception):  # it will come up again when the image is read
                largest = max(largest, *part.reader.size(int(part.indices[place])))
        if not largest:
            raise InputError(f"{self.source} holds no image that can be read: put some there or name another source.")
        return largest


def survey(data: "Data", *, known: Collection[str] = (), held_out: float = 0.1, least: int = LEAST_EXAMPLES) -> Survey:
    """Return what ``data`` holds, in any of the forms of `mygo.data.readers.find.FORMS`; the items are not decoded.

    Pairs are read of a data set of torch's alone, unless it is one of torchvision's, which have their labels apart.

    Raises:
        InputError: there is no such source or it is of another form, a class is ``known`` or has fewer than ``least``
            training items, or the classes of too many items are not known.
    """
    check_share(held_out, "held-out")
    source = title_of(data)
    try:
        name, readers, notes = lesson_of(data, known, least)
        refuse_known(known, *(reader.names for reader in readers))
        unreadable: list[str] = []
        classes = [classes_in(reader, unreadable) for reader in readers]
    except OSError as error:
        raise InputError(f"{source} cannot be read ({reason(error)}): put it right or name another.") from error
    kind = readers[0].kind
    refuse_known(known, *(each.values() for each in classes))
    check_readable(source, sum(map(len, readers)), unreadable, kind)
    counts = [
        {**dict.fromkeys(reader.names, 0), **Counter(each.values())}
        for reader, each in zip(readers, classes, strict=True)
    ]
    names = check_classes(source, counts, least, kind)
    parts = tuple(part_of(reader, each, names) for reader, each in zip(readers, classes, strict=True))
    return Survey(source, composed(name), kind, names, parts, held_out, least, tuple(unreadable), notes)


def classes_in(reader: Reader, unreadable: list[str]) -> dict[int, str]:
    """Return the classes of all items of ``reader``, and add to ``unreadable`` those that have none."""
    classes = {}
    for index in range(len(reader)):
        try:
            name = reader.label(index)
        except InputError:
            raise
        except Exception as error:  # whatever a damaged item makes a person's code raise
            unreadable.append(f"{reader.where(index)}: {reason(error)}")
            continue
        classes[index] = name
    return classes


def part_of(reader: Reader, classes: dict[int, str], names: tuple[str, ...]) -> Part:
    """Return the items of ``reader`` class after class, in the order of ``names``."""
    place = {name: label for label, name in enumerate(names)}
    indices = torch.tensor(list(classes), dtype=torch.int64)
    labels = torch.tensor([place[name] for name in classes.values()], dtype=torch.int64)
    order = labels.argsort(stable=True)
    return Part(reader, indices[order], labels[order])


@dataclass(frozen=True)
class Pairs:
    """Examples as a torch data set has them."""

    examples: Examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.examples.inputs[index], int(self.examples.labels[index])


def survey_of_dataset(dataset: LabelledDataset) -> Survey:
    """Return what ``dataset`` holds, which is read already."""
    names = dataset.class_names
    parts = tuple(
        Part(
            DatasetReader(dataset.name, Pairs(examples), names, labels=examples.labels.tolist()),
            torch.arange(len(examples)),
            examples.labels,
        )
        for examples in (dataset.train, dataset.test)
    )
    return Survey(dataset.name, dataset.name, parts[0].reader.kind, names, parts, 0.0, 1, (), ())
