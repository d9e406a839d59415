"""Tables in CSV, TSV, JSONL or Parquet files: a column of images' paths or of texts, and one of labels."""

import csv
import json
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mygo.data.folders import TEST, TRAIN, VALID, part_named
from mygo.data.images import Size, open_picture, reason, size_of
from mygo.data.readers.reader import Item, Kind, named
from mygo.errors import InputError
from mygo.extras import how_to_install

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
"""Files that are tables."""
KINDS: dict[str, Kind] = {"image": "image", "text": "text"}
"""The columns that hold items, and of what kind."""
LABEL, SPLIT = "label", "split"
SUGGESTION = "suggestion"
"""The column of a table that ``suggest`` wrote, of which a person labels what they know."""
COLUMNS = (*KINDS, LABEL, SPLIT, SUGGESTION)
"""The columns that count."""
AT_ONCE = 4096
"""Rows of a Parquet file that are read together."""

Row = tuple[str, Mapping[str, Any]]
"""What a row is called in messages, and its cells by the names of their columns."""


@dataclass(frozen=True)
class Table:
    """Rows of a table: the paths of images or the texts, and the names of their classes."""

    kind: Kind
    file: Path
    rows: tuple[str, ...]
    """What each row is called in messages."""
    items: tuple[str, ...]
    classes: tuple[str, ...]
    suggested: bool = False
    """Whether it is a table of suggestions, whose rows may be of classes that are known or shown too seldom."""
    concurrent = True

    @cached_property
    def names(self) -> Collection[str]:
        """The classes that there are rows of."""
        return set(self.classes)

    def __len__(self) -> int:
        return len(self.items)

    def where(self, index: int) -> str:
        """Return the row, and the image in it."""
        row = f"{self.file}, {self.rows[index]}"
        return f"{row}: {self.items[index]}" if self.kind == "image" else row

    def label(self, index: int) -> str:
        """Return what is in the column of labels."""
        return self.classes[index]

    def size(self, index: int) -> Size:
        """Return the size that stands at the beginning of the image's file."""
        return size_of(self.file.parent / self.items[index]) if self.kind == "image" else (1, len(self.items[index]))

    def read(self, index: int, at_least: Size | None = None) -> tuple[Item, str]:
        """Open the image, or return the text."""
        item = self.items[index]
        name = self.classes[index]
        return (open_picture(self.file.parent / item, at_least) if self.kind == "image" else item), name


def table_readers(path: Path) -> tuple[list[Table], tuple[str, ...]]:
    """Return the rows of the table in ``path`` as one reader or, where it has a column ``split``, as two; and notes.

    The columns ``image`` or ``text``, ``label`` and ``split`` count, in letters of any size, and no others. An image's
    path is relative to the table, and may not lead out of its folder, since a table may come from anybody. A split has
    the names that folders of a split have (see `mygo.data.folders.PARTS`), and its parts serve as there.

    Raises:
        InputError: the table is damaged or not encoded in UTF-8, columns are missing or there twice, or a row cannot be
            used.
    """
    rows = list(rows_of(path))
    kind = kind_of(path, columns_of(rows), LABEL)
    if any(SUGGESTION in cells for _, cells in rows):
        return suggested(path, kind, rows)
    if not any(SPLIT in cells for _, cells in rows):
        return [table_of(path, kind, rows)], ()
    parts: dict[str, list[Row]] = {TRAIN: [], VALID: [], TEST: []}
    for where, cells in rows:
        value = cells.get(SPLIT)
        part = part_named(value.strip()) if isinstance(value, str) else None
        if part is None:
            raise InputError(f"{path}, {where}: its split is {value!r}: write train, validation or test.")
        parts[part].append((where, cells))
    train, test, notes = chosen(path, parts)
    return [table_of(path, kind, train), table_of(path, kind, test)], notes


def suggested(path: Path, kind: Kind, rows: Sequence[Row]) -> tuple[list[Table], tuple[str, ...]]:
    """Return the labelled ``rows`` of a table of suggestions, and a note on the others.

    Raises:
        InputError: none is labelled.
    """
    labelled = [
        (where, cells) for where, cells in rows if cells.get(LABEL) not in (None, "") and str(cells[LABEL]).strip()
    ]
    if not labelled:
        raise InputError(f"{path} has no label yet: write the class of each input that you know into its column label.")
    left = len(rows) - len(labelled)
    notes = (f"{left} of {len(rows)} suggestions have no label and are left out.",) if left else ()
    return [replace(table_of(path, kind, labelled), suggested=True)], notes


def for_lesson(table: Table, known: Collection[str], least: int) -> tuple[Table, tuple[str, ...]]:
    """Return what of a ``table`` of suggestions can be taught, and notes on the rest.

    Left out are rows of classes that are ``known``, and those of classes that have fewer than ``least``.

    Raises:
        InputError: nothing is left.
    """
    counts = Counter(table.classes)
    few = {name: count for name, count in counts.items() if count < least and name not in known}
    notes = []
    if again := sorted(set(counts) & set(known)):
        total = sum(counts[name] for name in again)
        notes.append(f"{total} suggestions are of classes that are known ({', '.join(again)}) and are left out.")
    if few:
        told = ", ".join(f"{name} {count}" for name, count in sorted(few.items()))
        notes.append(f"Left out are classes with fewer than {least} examples so far: {told}.")
    kept = [place for place, name in enumerate(table.classes) if name not in known and name not in few]
    if not kept:
        seen = ", ".join(f"{name} {count}" for name, count in sorted(few.items())) or "none of a new one"
        raise InputError(
            f"{table.file} shows no new class by {least} examples yet ({seen}): label more, and keep these with "
            "suggest --without."
        )
    rows, items, classes = (
        tuple(column[place] for place in kept) for column in (table.rows, table.items, table.classes)
    )
    return replace(table, rows=rows, items=items, classes=classes), tuple(notes)


def unlabelled(path: Path, kind: Kind) -> Table:
    """Return the items of a ``kind`` in the table at ``path``, which needs no labels.

    Raises:
        InputError: as `table_readers`, or the items are of another kind.
    """
    rows = list(rows_of(path))
    found = kind_of(path, columns_of(rows))
    if found != kind:
        raise InputError(f"{path} has a column {found}, and none is called {kind}: name a table that has one.")
    return table_of(path, kind, rows, labelled=False)


def chosen(path: Path, parts: Mapping[str, list[Row]]) -> tuple[list[Row], list[Row], tuple[str, ...]]:
    """Return which rows of a split are for training and for testing, and notes on the choice.

    Raises:
        InputError: there are none for one of them.
    """
    if not parts[TRAIN]:
        raise InputError(f"{path} has a column split but no row of train: add some, or leave the column out.")
    if parts[TEST]:
        left = f"{len(parts[VALID])} rows of validation are left out: accuracy is measured on those of test."
        return parts[TRAIN], parts[TEST], (left,) if parts[VALID] else ()
    if parts[VALID]:
        return parts[TRAIN], parts[VALID], ("Accuracy is measured on the rows of validation.",)
    raise InputError(
        f"{path} has a column split but no row of test: add some, or leave the column out to have some rows held out."
    )


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the names of the columns that there are in any row, in order."""
    return list(dict.fromkeys(name for _, cells in rows for name in cells))


def kind_of(path: Path, columns: Sequence[str], *needed: str) -> Kind:
    """Return what the table at ``path`` holds, by its ``columns``, of which some others are ``needed``.

    Raises:
        InputError: one is not there, or there are columns of two kinds.
    """
    if not columns:
        raise InputError(f"{path} has no rows: name a table with columns {' or '.join(KINDS)}, and label.")
    if missing := [name for name in needed if name not in columns]:
        raise InputError(f"{path} has no column {missing[0]}, but {', '.join(columns)}: rename one, or add it.")
    kinds = [name for name in KINDS if name in columns]
    if not kinds:
        raise InputError(
            f"{path} has no column {' or '.join(KINDS)}, but {', '.join(columns)}: rename the one with paths of images "
            "or with texts."
        )
    if len(kinds) > 1:
        raise InputError(f"{path} has columns {' and '.join(kinds)}: leave one of them out.")
    return KINDS[kinds[0]]


def table_of(path: Path, kind: Kind, rows: Sequence[Row], *, labelled: bool = True) -> Table:
    """Return ``rows`` as a reader of items of a ``kind``, whose classes are "" if they are not ``labelled``.

    Raises:
        InputError: one has an empty item or label, one of another type, or an image's path that leads elsewhere.
    """
    items, classes = [], []
    for where, cells in rows:
        at = f"{path}, {where}"
        item = cells.get(kind)
        if not isinstance(item, str) or not item.strip():
            raise InputError(f"{at}: its {kind} is {shown(item)}: put it right, or leave the row out.")
        items.append(inside(path, item, at) if kind == "image" else item)
        classes.append(class_of(cells.get(LABEL), at) if labelled else "")
    return Table(kind, path, tuple(where for where, _ in rows), tuple(items), tuple(classes))


def class_of(label: object, where: str) -> str:
    """Return the name of the class with ``label``, text or a whole number.

    Raises:
        InputError: it is something else, or empty.
    """
    if isinstance(label, bool) or not isinstance(label, str | int) or not str(label).strip():
        raise InputError(f"{where}: its label is {shown(label)}: name a class, or leave the row out.")
    return named(str(label).strip(), None, where)


def shown(value: object) -> str:
    """Return ``value`` for a message: "empty" where there is none."""
    return "empty" if value is None or (isinstance(value, str) and not value.strip()) else repr(value)[:80]


def inside(path: Path, item: str, where: str) -> str:
    """Return the path of an image, relative to the folder of the table at ``path``.

    Raises:
        InputError: it leads out of that folder.
    """
    folder = os.path.abspath(path.parent)  # noqa: PTH100  # links are followed, as in folders, and so not resolved
    inner = os.path.relpath(os.path.join(folder, item), folder)  # noqa: PTH118
    if os.pardir in Path(inner).parts or "\0" in item:
        raise InputError(
            f"{where}: the image {item} is outside the table's folder: put the table above its images, and write paths "
            "relative to it."
        )
    return inner


# -- formats ----------------------------------------------------------------------------------------------------------


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of the table at ``path``, with the names of columns in small letters.

    Raises:
        InputError: it cannot be read, or its columns or rows do not fit together.
    """
    read = {".csv": _csv, ".tsv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}[path.suffix.lower()]
    try:
        yield from read(path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not encoded in UTF-8 (byte {error.start}): save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason(error)}): put it right or name another.") from error


def header_of(path: Path, names: Sequence[str]) -> list[str]:
    """Return the ``names`` of columns in small letters.

    Raises:
        InputError: two are the same.
    """
    header = [name.strip().casefold() for name in names]
    if twice := [name for name, count in Counter(header).items() if count > 1 and name]:
        raise InputError(f"{path} has two columns {twice[0]}: rename or leave out one.")
    return header


def _csv(path: Path) -> Iterator[Row]:
    """Yield the rows of a table with commas, tabs, or semicolons, as some languages' spreadsheets write them."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ";" if ";" in first and "," not in first else ","
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        header: list[str] = []
        try:
            for fields in lines:
                where = f"line {lines.line_num}"
                if not header:
                    header = header_of(path, fields)
                elif fields and len(fields) != len(header):
                    raise InputError(
                        f"{path}, {where} has {len(fields)} fields, not {len(header)} as the first line: put texts "
                        "that hold the separator into quotes."
                    )
                elif fields:
                    yield where, dict(zip(header, fields, strict=True))
        except csv.Error as error:
            raise InputError(f"{path}, line {lines.line_num} cannot be read ({error}): check its quotes.") from error


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                pairs = json.loads(line, object_pairs_hook=tuple)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}, line {number} is not JSON ({error}): put it right.") from error
            if not isinstance(pairs, tuple):
                raise InputError(f"{path}, line {number} is not a JSON object: write one, with a key for each column.")
            header = header_of(path, [name for name, _ in pairs])
            yield f"line {number}", dict(zip(header, (value for _, value in pairs), strict=True))


def _parquet(path: Path) -> Iterator[Row]:
    try:
        from pyarrow.lib import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise InputError(f"{path} needs pyarrow: {how_to_install('parquet')}, or save the table as CSV.") from error
    try:
        with ParquetFile(path) as file:
            header = header_of(path, file.schema_arrow.names)
            wanted = [name for name, known in zip(file.schema_arrow.names, header, strict=True) if known in COLUMNS]
            others = dict.fromkeys(name for name in header if name not in COLUMNS)
            number = 0
            for batch in file.iter_batches(AT_ONCE, columns=wanted):
                for cells in batch.to_pylist():
                    yield f"row {number}", {**others, **{name.strip().casefold(): each for name, each in cells.items()}}
                    number += 1
    except ArrowException as error:
        raise InputError(f"{path} cannot be read ({reason(error)}): save it again as Parquet.") from error
