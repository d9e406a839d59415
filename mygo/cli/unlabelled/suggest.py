"""``suggest``: which inputs a person should label next, and which labels of a lesson are suspicious."""

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from mygo.cli.flags import OptionalPath, OptionalText
from mygo.cli.folders import LifeFolder, open_life
from mygo.errors import InputError
from mygo.reporting.console import plain

if TYPE_CHECKING:
    from mygo.cli.unlabelled.inputs import Looked
    from mygo.jobs.life import Life
    from mygo.unlabelled.ranking import Suggestion

MOST = 10_000
"""Inputs that can be suggested at once."""
TABLE, VECTORS = "suggestions.csv", "suggestions.npz"
SHEET = "sheet.jpg"
LABELS = "labels.csv"
ITEMS = "images"
"""The folder with copies of the images that are suggested, beside the table."""
ON_SHEET = 200
"""Pictures on a contact sheet at most."""
SAFE = "what was there is whole; make room or name another folder"


@dataclass(frozen=True, kw_only=True)
class Suggest:
    """Choose inputs to label next: groups that look like nothing known first, then what lies between two classes.

    What is written is a contact sheet and a table, which `learn --data` takes once you have filled in its column label,
    as far as you know. With --labels, sort the examples of a lesson by how suspicious their labels are.
    """

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT …")] = ()
    """As for predict: inputs of today, without labels."""
    life: LifeFolder
    labels: OptionalText = None
    """Examples with labels, as for learn --data, in place of inputs."""
    count: Annotated[int, tyro.conf.arg(aliases=("-n",), metavar="N")] = 50
    """How many to suggest."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("suggestions")
    """The folder to write to, which is made."""
    without: Annotated[list[Path], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="CSV")] = field(
        default_factory=list
    )
    """A table that was written before: its inputs are not suggested again. Those that you labelled with a class which
    the life has not learned yet, since they were too few, are in the new table with their labels. May be repeated."""
    encoder_weights: OptionalPath = None
    """File with the weights of the life's encoder, where it does not find them itself."""

    def __post_init__(self) -> None:
        if not self.inputs and self.labels is None:
            raise InputError(
                "suggest needs inputs: name files, or a folder of images; or labels to check with --labels."
            )
        if self.inputs and self.labels is not None:
            raise InputError("suggest looks at inputs, or at --labels: leave one of them out.")
        if not 1 <= self.count <= MOST:
            raise InputError(f"-n must be from 1 to {MOST} inputs, not {self.count}.")

    def run(self, console: Console) -> None:
        """Write what is suggested."""
        from mygo.files import check_writable

        life = open_life(self.life)
        check_writable(self.out, "choose another --out")
        if self.labels is not None:
            self._check_labels(life, self.labels, console)
        else:
            self._suggest(life, console)

    def _check_labels(self, life: "Life", data: str, console: Console) -> None:
        from mygo.cli.unlabelled.checking import check_labels

        checked = check_labels(life, data, self.encoder_weights)
        write_table(self.out / LABELS, checked.table())
        if checked.kind == "image":
            write_sheet(self.out / SHEET, checked.cells(min(self.count, ON_SHEET)))
        for line in checked.sentences(self.count):
            console.print(plain(line), soft_wrap=True)
        console.print(
            plain(f"All {len(checked)} labels, the most suspicious first: {self.out / LABELS}"), soft_wrap=True
        )

    def _suggest(self, life: "Life", console: Console) -> None:
        from mygo.cli.unlabelled.inputs import look_at
        from mygo.unlabelled.ranking import suggest

        before = [row for table in self.without for row in rows_of(table)]
        looked = look_at(life, self.inputs, self.encoder_weights)
        known = {row["source"] for row in before}
        fresh = [row for row in range(len(looked.names)) if not known or looked.source(row) not in known]
        if not fresh:
            raise InputError("All inputs were suggested before: name others, or leave out --without.")
        found = suggest(life, looked.seen[fresh], self.count)
        carried = [row for row in before if row["label"].strip() and row["label"].strip() not in life.class_names]
        rows = [(fresh[each.row], each) for each in found.chosen]
        write = write_vectors if looked.kind == "vector" else write_inputs
        target = write(self.out, looked, rows, carried)
        sizes = ", ".join(map(str, found.group_sizes)) or "none"
        new = sum(each.group is not None for each in found.chosen)
        told = (
            f"{len(rows)} of {len(fresh)} inputs: {new} of groups that look new (of sizes {sizes}), the others between"
        )
        console.print(plain(f"{told} two classes."), soft_wrap=True)
        if looked.kind == "image":
            write_sheet(self.out / SHEET, cells_of(looked, rows[:ON_SHEET]))
            console.print(plain(f"Contact sheet: {self.out / SHEET}"), soft_wrap=True)
        what = (
            "Add labels and class_names, and teach"
            if looked.kind == "vector"
            else "Fill in its column label, and teach"
        )
        console.print(plain(f"{what} it with learn --data {target}"), soft_wrap=True)


Rows = Sequence[tuple[int, "Suggestion"]]
"""Which of the inputs, and what is said of it."""


def write_inputs(out: Path, looked: "Looked", rows: Rows, carried: Sequence[dict[str, str]]) -> Path:
    """Write the table of suggestions, with copies of images beside it, and return its path.

    Rows that were ``carried`` from earlier tables come first.

    Raises:
        InputError, StorageError: an image cannot be copied, or the table cannot be written.
    """
    kind = looked.kind
    lines: list[dict[str, Any]] = []
    for number, row in enumerate(carried, start=1):
        again = copied(Path(row["source"]), out, f"labelled-{number}") if kind == "image" else row["source"]
        lines.append({kind: again, **{name: row[name] for name in FIELDS}})
    for number, (place, each) in enumerate(rows, start=1):
        item = copied(looked.file(place), out, f"{number:04}") if kind == "image" else looked.item(place)
        values = ("", each.reason, each.taken_for, f"{each.confidence:.3f}", looked.source(place))
        lines.append({kind: item, **dict(zip(FIELDS, values, strict=True))})
    write_table(out / TABLE, [[kind, *FIELDS], *([line[name] for name in (kind, *FIELDS)] for line in lines)])
    return out / TABLE


FIELDS = ("label", "suggestion", "taken for", "confidence", "source")
"""The columns of a table of suggestions, beside that of inputs."""


def write_vectors(out: Path, looked: "Looked", rows: Rows, carried: Sequence[dict[str, str]]) -> Path:
    """Write the vectors that are suggested, and a table that says which they are; return the path of the vectors."""
    import numpy as np

    from mygo.files import write_atomically

    lines = [["vector", *FIELDS]]
    for place, each in rows:
        lines.append(
            [looked.names[place], "", each.reason, each.taken_for, f"{each.confidence:.3f}", looked.names[place]]
        )
    write_table(out / TABLE, lines)
    content = io.BytesIO()
    np.savez(content, features=looked.seen[[place for place, _ in rows]].numpy())
    write_atomically(out / VECTORS, content.getvalue(), SAFE)
    return out / VECTORS


def copied(file: Path, out: Path, name: str) -> str:
    """Copy an image to the folder of `ITEMS` under another ``name``, and return its path from ``out``.

    Raises:
        InputError: it cannot be copied.
    """
    target = out / ITEMS / f"{name}{file.suffix.lower()}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    except OSError as error:
        raise InputError(
            f"{file} cannot be copied to {target} ({error.strerror}): make room, or put it back."
        ) from error
    return str(target.relative_to(out))


def rows_of(table: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of a ``table`` of suggestions.

    Raises:
        InputError: it cannot be read, or is another table.
    """
    from mygo.data.readers.tables import SUFFIXES
    from mygo.data.readers.tables import rows_of as rows_in

    if table.suffix.lower() not in SUFFIXES:
        raise InputError(f"{table} is no table: name one that suggest wrote.")
    for _, cells in rows_in(table):
        if not set(FIELDS) <= set(cells):
            raise InputError(f"{table} is not one that suggest wrote: it needs the columns {', '.join(FIELDS)}.")
        yield {name: str(cells[name] or "") for name in FIELDS}


def write_table(path: Path, lines: Sequence[Sequence[Any]]) -> None:
    """Write a table in CSV."""
    from mygo.files import write_atomically

    content = io.StringIO(newline="")
    csv.writer(content).writerows(lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content.getvalue().encode(), SAFE)


def write_sheet(path: Path, cells: Sequence[Any]) -> None:
    """Write a contact sheet."""
    from mygo.files import write_atomically
    from mygo.unlabelled.sheet import contact_sheet

    write_atomically(path, contact_sheet(cells), SAFE)


def cells_of(looked: "Looked", rows: Rows) -> list[Any]:
    """Return the cells of a contact sheet, numbered as in the table, group after group."""
    from PIL import Image

    from mygo.unlabelled.sheet import Cell

    return [
        Cell(picture, (f"{number}: {each.reason}", f"like {each.taken_for}, {each.confidence:.2f}"))
        for number, (place, each) in sorted(enumerate(rows, start=1), key=lambda row: row[1][1].group or len(rows))
        if isinstance(picture := looked.item(place), Image.Image)
    ]
