"""Inputs of which a life predicts the classes: image files and folders, texts, vectors, or tables of these."""

import bisect
import itertools
import textwrap
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mygo.data.folders import Folder, picture_files
from mygo.data.images import Size, reason
from mygo.data.readers import arrays, tables
from mygo.data.readers.reader import PLURAL, Item, Kind, Reader
from mygo.errors import InputError

LINES = ".txt"
"""A file with a text in each line."""
ARRAYS = (".npz", ".npy")


@dataclass(frozen=True)
class Texts:
    """Texts, and what each is called in messages."""

    items: tuple[str, ...]
    titles: tuple[str, ...]
    kind: Kind = "text"
    names: tuple[str, ...] = ()
    concurrent = True

    def __len__(self) -> int:
        return len(self.items)

    def where(self, index: int) -> str:
        """Return what the text is called."""
        return self.titles[index]

    def label(self, index: int) -> str:
        """Return "": it has none."""
        return ""

    def size(self, index: int) -> Size:
        """Return (1, how long the text is)."""
        return 1, len(self.items[index])

    def read(self, index: int, at_least: Size | None = None) -> tuple[Item, str]:
        """Return the text."""
        return self.items[index], ""


@dataclass(frozen=True)
class Joined:
    """The items of several readers of one kind, one after another."""

    kind: Kind
    readers: tuple[Reader, ...]
    names: Collection[str] = ()

    @property
    def concurrent(self) -> bool:
        """Whether several threads may read of all of them."""
        return all(reader.concurrent for reader in self.readers)

    @cached_property
    def _ends(self) -> list[int]:
        return list(itertools.accumulate(map(len, self.readers)))

    def __len__(self) -> int:
        return sum(map(len, self.readers))

    def found_at(self, index: int) -> tuple[Reader, int]:
        """Return the reader that has an item, and its place there."""
        number = bisect.bisect_right(self._ends, index)
        reader = self.readers[number]
        return reader, index - self._ends[number] + len(reader)

    def where(self, index: int) -> str:
        """Return what its reader calls it."""
        reader, inner = self.found_at(index)
        return reader.where(inner)

    def label(self, index: int) -> str:
        """Return what its reader returns."""
        reader, inner = self.found_at(index)
        return reader.label(inner)

    def size(self, index: int) -> Size:
        """Return what its reader returns."""
        reader, inner = self.found_at(index)
        return reader.size(inner)

    def read(self, index: int, at_least: Size | None = None) -> tuple[Item, str]:
        """Let its reader read it."""
        reader, inner = self.found_at(index)
        return reader.read(inner, at_least)


def inputs_of(given: Sequence[str | Path], kind: Kind) -> tuple[Reader, tuple[str, ...]]:
    """Return a reader of the items of a ``kind`` that are ``given``, in their order, and notes on what is left out.

    - Images: files, folders whose images at any depth are meant, and tables with a column ``image``.
    - Texts: the texts themselves, ``.txt`` files with one in each line, and tables with a column ``text``. What ends as
      the name of such a file is taken for one.
    - Vectors: ``.npz`` files with ``features`` [N, D], and ``.npy`` files [N, D].

    Raises:
        InputError: something is not there, cannot be read or holds items of another kind; or there are none.
    """
    readers: list[Reader] = []
    notes: tuple[str, ...] = ()
    try:
        if kind == "image":
            readers, notes = _images([Path(each) for each in given])
        else:
            readers = [_text(each) if kind == "text" else _vectors(Path(each)) for each in given]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}): name others.") from error
    joined = readers[0] if len(readers) == 1 else Joined(kind, tuple(readers))
    if not len(joined):
        raise InputError(f"There are no {PLURAL[kind]} in {', '.join(map(str, given))}: name others.")
    return joined, notes


def _images(given: Sequence[Path]) -> tuple[list[Reader], tuple[str, ...]]:
    readers: list[Reader] = []
    notes: tuple[str, ...] = ()
    for are_tables, paths in itertools.groupby(given, lambda path: path.suffix.lower() in tables.SUFFIXES):
        if are_tables:
            readers += [tables.unlabelled(path, "image") for path in paths]
        else:
            files, left_out = picture_files(list(paths))
            readers.append(Folder((), tuple((file, "") for file in files)))
            notes += left_out
    return readers, notes


def _text(given: str | Path) -> Reader:
    path = Path(given)
    suffix = path.suffix.lower()
    if suffix in tables.SUFFIXES:
        return tables.unlabelled(path, "text")
    if suffix == LINES:
        return _lines(path)
    if isinstance(given, Path):
        raise InputError(f"{given} holds no texts: name a table or a {LINES} file, or give the text itself.")
    return Texts((given,), (textwrap.shorten(given, 60, placeholder=" …"),))


def _lines(path: Path) -> Texts:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not encoded in UTF-8 (byte {error.start}): save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)}): put it right or name another.") from error
    kept = {number: line.strip() for number, line in enumerate(lines, start=1) if line.strip()}
    return Texts(tuple(kept.values()), tuple(f"{path}, line {number}" for number in kept))


def _vectors(path: Path) -> Reader:
    if path.suffix.lower() not in ARRAYS:
        raise InputError(f"{path} holds no vectors: name an {' or '.join(ARRAYS)} file.")
    return arrays.unlabelled(path)
