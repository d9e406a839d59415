"""Tables that ``suggest`` wrote in earlier rounds, and what a person wrote into them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mygo.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FIELDS = ("label", "suggestion", "taken for", "confidence", "source")
"""The columns of a table of suggestions, beside that of inputs."""
VECTOR = "vector"
"""The column of inputs where these are vectors: the row of each in the file with `VECTORS`."""
TABLE, VECTORS = "suggestions.csv", "suggestions.npz"
LABELS = "labels.csv"
"""The table of `--labels`."""
ITEMS = "images"
"""The folder with copies of the images that are suggested, beside the table."""
NO_LABEL = -1
"""The label, in the file with `VECTORS`, of one that has none yet."""


@dataclass(frozen=True)
class Earlier:
    """An input that was suggested before."""

    fields: dict[str, str]
    """What its row says, by the names of `FIELDS`."""
    vector: "npt.NDArray[np.float32] | None" = None
    """The input itself, [D], where it is one; images and texts are found by their source."""

    @property
    def label(self) -> str:
        """The class that a person wrote down, or ""."""
        return self.fields["label"]


@dataclass(frozen=True)
class Vectors:
    """The vectors [N, D] of a round, and the label of each, "" where it has none."""

    file: Path
    features: "npt.NDArray[np.float32]"
    labels: tuple[str, ...]

    def of_row(self, fields: dict[str, str], row: str) -> Earlier:
        """Return the vector in a ``row``, whose label may be in the table or in the file.

        Raises:
            InputError: there is no such row, or the two have different labels.
        """
        if not row.isdecimal() or int(row) >= len(self.features):
            raise InputError(
                f"{self.file} has no row {row!r}: name a table beside the vectors that it was written with."
            )
        label, other = fields["label"], self.labels[int(row)]
        if label and other and label != other:
            raise InputError(
                f"Row {row} of {self.file} is labelled {other}, and {label} in {TABLE}: write the same label into both."
            )
        return Earlier({**fields, "label": label or other}, self.features[int(row)])


def refuse_to_overwrite(out: Path) -> None:
    """Make sure that the folder ``out`` holds no table, which may be filled in by hand, and nothing that one points to.

    Raises:
        InputError: it does.
    """
    for name in (TABLE, VECTORS, LABELS, ITEMS):
        if (out / name).exists():
            raise InputError(
                f"{out / name} is there already, and what you may have labelled is not overwritten: name another "
                f"--out, and pass each {TABLE} that you have with --without."
            )


def inputs_before(tables: Iterable[Path]) -> dict[str, Earlier]:
    """Return all inputs in ``tables`` of suggestions, by their sources; the last table that has one counts.

    Raises:
        InputError: a table, or the vectors beside it, cannot be read or is another, or labels contradict each other.
    """
    return {each.fields["source"]: each for table in tables for each in rows_of(table)}


def rows_of(table: Path) -> Iterator[Earlier]:
    """Yield the rows of a ``table`` of suggestions.

    Raises:
        InputError: as `inputs_before`.
    """
    from mygo.data.readers.tables import SUFFIXES
    from mygo.data.readers.tables import rows_of as rows_in

    if table.suffix.lower() not in SUFFIXES:
        raise InputError(f"{table} is no table: name one that suggest wrote.")
    vectors = None
    for _, cells in rows_in(table):
        if not set(FIELDS) <= set(cells):
            raise InputError(f"{table} is not one that suggest wrote: it needs the columns {', '.join(FIELDS)}.")
        fields = {name: str(cells[name] or "") for name in FIELDS} | {"label": str(cells["label"] or "").strip()}
        if VECTOR not in cells:
            yield Earlier(fields)
            continue
        vectors = vectors or vectors_in(table.parent / VECTORS)
        yield vectors.of_row(fields, str(cells[VECTOR]))


def vectors_in(file: Path) -> Vectors:
    """Return the vectors of a round, with the labels that a person has given them.

    Raises:
        InputError: they cannot be read, or there are not as many labels.
    """
    import numpy as np

    from mygo.data.readers.arrays import unlabelled
    from mygo.data.readers.reader import named

    features = unlabelled(file).items
    with np.load(file, allow_pickle=False) as content:  # which was read just now, so that it can be
        labels = content["labels"].tolist() if "labels" in content else [NO_LABEL] * len(features)
        names = tuple(content["class_names"].tolist()) if "class_names" in content else None
    if len(labels) != len(features):
        raise InputError(f"{file} comes with {len(features)} vectors but {len(labels)} labels: save one per vector.")
    return Vectors(
        file, features, tuple("" if label == NO_LABEL else named(label, names, str(file)) for label in labels)
    )
