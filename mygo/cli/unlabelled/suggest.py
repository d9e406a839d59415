"""``suggest``: which inputs a person should label next, and which labels of a lesson are suspicious."""

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from mygo.cli.flags import OptionalPath, OptionalText
from mygo.cli.folders import LifeFolder, open_life
from mygo.cli.unlabelled.earlier import (
    FIELDS,
    ITEMS,
    LABELS,
    NO_LABEL,
    TABLE,
    VECTOR,
    VECTORS,
    Earlier,
    inputs_before,
    refuse_to_overwrite,
)
from mygo.errors import InputError
from mygo.reporting.console import plain

if TYPE_CHECKING:
    from mygo.cli.unlabelled.inputs import Looked
    from mygo.jobs.life import Life
    from mygo.unlabelled.ranking import Suggestion

MOST = 10_000
"""Inputs that can be suggested at once."""
SHEET = "sheet.jpg"
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
    """The folder to write to, which is made. Each round needs another: tables that are there are not overwritten."""
    without: Annotated[list[Path], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="CSV")] = field(
        default_factory=list
    )
    """A table of an earlier round: its inputs are not suggested again. Those that you labelled with a class which the
    life has not learned yet, since they were too few, are in the new table with their labels. Repeat it for each
    round; of an input in several tables the label in the last one counts."""
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

        refuse_to_overwrite(self.out)
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

        before = inputs_before(self.without)
        looked = look_at(life, self.inputs, self.encoder_weights)
        fresh = [row for row in range(len(looked.names)) if not before or looked.source(row) not in before]
        if not fresh:
            raise InputError("All inputs were suggested before: name others, or leave out --without.")
        found = suggest(life, looked.seen[fresh], self.count)
        carried = [each for each in before.values() if each.label and each.label not in life.class_names]
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
            f"Fill in its labels, now {NO_LABEL}, and class_names, and teach"
            if looked.kind == "vector"
            else "Fill in its column label, and teach"
        )
        console.print(plain(f"{what} it with learn --data {target}"), soft_wrap=True)


Rows = Sequence[tuple[int, "Suggestion"]]
"""Which of the inputs, and what is said of it."""


def write_inputs(out: Path, looked: "Looked", rows: Rows, carried: Sequence[Earlier]) -> Path:
    """Write the table of suggestions, with copies of images beside it, and return its path.

    Rows that were ``carried`` from earlier tables come first.

    Raises:
        InputError, StorageError: an image cannot be copied, or the table cannot be written.
    """
    kind = looked.kind
    items: list[Any] = []
    for number, each in enumerate(carried, start=1):
        source = each.fields["source"]
        items.append(copied(Path(source), out, f"labelled-{number}") if kind == "image" else source)
    for number, (place, _) in enumerate(rows, start=1):
        items.append(copied(looked.file(place), out, f"{number:04}") if kind == "image" else looked.item(place))
    return write_suggestions(out, kind, items, looked, rows, carried)


def write_vectors(out: Path, looked: "Looked", rows: Rows, carried: Sequence[Earlier]) -> Path:
    """Write the vectors that are suggested, and a table that says which they are; return the path of the vectors.

    Those that were ``carried`` from earlier rounds come first, with their labels; the others have `NO_LABEL`.

    Raises:
        InputError, StorageError: carried vectors are of another length, or a file cannot be written.
    """
    import numpy as np

    from mygo.files import write_atomically

    features = looked.seen[[place for place, _ in rows]].numpy()
    vectors = [each.vector for each in carried if each.vector is not None and len(each.vector) == features.shape[1]]
    if len(vectors) < len(carried):
        raise InputError(f"A table of --without is not of vectors of {features.shape[1]} values: name those that are.")
    names = sorted({each.label for each in carried})
    labels = [*(names.index(each.label) for each in carried), *[NO_LABEL] * len(rows)]
    content = io.BytesIO()
    np.savez(
        content,
        features=np.stack([*vectors, *features]).astype(np.float32),
        labels=np.array(labels),
        class_names=np.array(names, dtype=str),
    )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / VECTORS, content.getvalue(), SAFE)
    write_suggestions(out, VECTOR, range(len(labels)), looked, rows, carried)
    return out / VECTORS


def write_suggestions(
    out: Path, column: str, items: Sequence[Any], looked: "Looked", rows: Rows, carried: Sequence[Earlier]
) -> Path:
    """Write the table of ``items``, those that were ``carried`` and then the others, and return its path."""
    said = [[each.fields[name] for name in FIELDS] for each in carried]
    said += [["", each.reason, each.taken_for, f"{each.confidence:.3f}", looked.source(place)] for place, each in rows]
    write_table(out / TABLE, [[column, *FIELDS], *([item, *cells] for item, cells in zip(items, said, strict=True))])
    return out / TABLE


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
