"""Which reader a source has, by its form."""

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mygo.data.folders import folder_readers
from mygo.data.readers import huggingface, tables
from mygo.data.readers.arrays import arrays
from mygo.data.readers.pairs import pairs, pairs_of
from mygo.data.readers.reader import Reader
from mygo.errors import InputError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    Data: TypeAlias = str | os.PathLike[str] | Dataset[Any]

FORMS = (
    "a folder with one sub-folder per class, a table (.csv, .tsv, .jsonl, .parquet), an .npz or .npy file, "
    "hf:NAME or module:function"
)
"""What a source can be."""

_FUNCTION = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<function>\w+(\.\w+)*)")


def lesson_of(source: "Data", known: Collection[str], least: int) -> tuple[str, Sequence[Reader], tuple[str, ...]]:
    """Return what `readers_of` does; of a table of suggestions, only what can be taught.

    Raises:
        InputError: as `readers_of`.
    """
    name, readers, notes = readers_of(source)
    found: list[Reader] = []
    for reader in readers:
        if isinstance(reader, tables.Table) and reader.suggested:
            reader, more = tables.for_lesson(reader, known, least)
            notes = (*notes, *more)
        found.append(reader)
    return name, found, notes


def readers_of(source: "Data") -> tuple[str, Sequence[Reader], tuple[str, ...]]:
    """Return the name of ``source``, its training items and, if it has them apart, its test items, and notes on it.

    Raises:
        InputError: there is no such source, or it has another form than those of `FORMS`.
    """
    if not isinstance(source, str | os.PathLike):
        return title_of(source), [pairs_of(source, title_of(source))], ()
    path = Path(os.fsdecode(source))
    if isinstance(source, str) and source.startswith(huggingface.PREFIX):
        return huggingface.by_name(source)
    match = _FUNCTION.fullmatch(source) if isinstance(source, str) else None
    if path.is_dir():
        read = huggingface.saved if huggingface.is_saved(path) else folder_readers
        return path.resolve().name, *read(path)
    if path.is_file() and path.suffix.lower() in (".npz", ".npy"):
        return path.stem, arrays(path), ()
    if path.is_file() and path.suffix.lower() in tables.SUFFIXES:
        return path.stem, *tables.table_readers(path)
    if path.exists():
        raise InputError(f"{source} is not what images can be read from: name {FORMS}.")
    if match is None:
        raise InputError(f"{source} is not there: name {FORMS}.")
    return match["function"], [pairs(match["module"], match["function"])], ()


def title_of(source: "Data") -> str:
    """Return what ``source`` is called in messages."""
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else type(source).__name__
