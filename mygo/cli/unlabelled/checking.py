"""Labels of a lesson that look wrong, by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mygo.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from mygo.data.readers.reader import Kind, Reader
    from mygo.learner.learner import Learner
    from mygo.unlabelled.sheet import Cell
    from mygo.unlabelled.suspicious import Judged


@dataclass(frozen=True)
class Checked:
    """The labels of N training examples, and what is said of each."""

    reader: "Reader"
    indices: tuple[int, ...]
    """Where the reader has each."""
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    judged: "Judged"

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def kind(self) -> "Kind":
        """What the examples are."""
        return self.reader.kind

    @property
    def suspicious(self) -> list[int]:
        """The examples that look more like another class, the most suspicious first."""
        return [row for row in self.judged.order.tolist() if self.judged.suspicion[row] > 0]

    def name(self, row: int) -> str:
        """Return what an example is called; of a text, the text itself."""
        index = self.indices[row]
        return str(self.reader.read(index)[0]) if self.kind == "text" else self.reader.where(index)

    def looks_like(self, row: int) -> str:
        """Return the class that an example looks like, but for its own."""
        return self.class_names[int(self.judged.nearest[row])]

    def table(self) -> list[list[Any]]:
        """Return the lines of a table of all examples, the most suspicious first."""
        lines: list[list[Any]] = [[self.kind, "label", "looks like", "suspicion"]]
        for row in self.judged.order.tolist():
            suspicion = f"{float(self.judged.suspicion[row]):.2f}"
            lines.append([self.name(row), self.class_names[self.labels[row]], self.looks_like(row), suspicion])
        return lines

    def sentences(self, count: int) -> Iterator[str]:
        """Yield what to say of the ``count`` most suspicious labels."""
        for row in self.suspicious[:count]:
            label = self.class_names[self.labels[row]]
            yield f"{self.name(row)} is called {label}, and looks more like {self.looks_like(row)}."

    def cells(self, count: int) -> "list[Cell]":
        """Return the cells of a contact sheet of the most suspicious."""
        from PIL import Image

        from mygo.unlabelled.sheet import Cell

        return [
            Cell(picture, (f"called {self.class_names[self.labels[row]]}", f"like {self.looks_like(row)}"))
            for row in self.judged.order[:count].tolist()
            if isinstance(picture := self.reader.read(self.indices[row])[0], Image.Image)
        ]


def check_labels(life: "Learner", data: str, weights: Path | None) -> Checked:
    """Return how suspicious the labels of the training examples in ``data`` are, as ``life`` sees these.

    Raises:
        InputError: they cannot be read as ``life`` sees, or have a single class.
    """
    import torch

    from mygo.data.survey import survey
    from mygo.unlabelled.knowledge import features_of
    from mygo.unlabelled.suspicious import judge_labels

    found = survey(data, least=1)
    part = found.parts[0]
    if len(found.class_names) < 2:
        raise InputError(f"{data} has a single class: labels are suspicious beside those of another.")
    label_of = dict(zip(part.indices.tolist(), part.labels.tolist(), strict=True))
    indices, seen = seen_of(life, part.reader, sorted(label_of), weights)
    labels = torch.tensor([label_of[index] for index in indices])
    features = features_of(life, seen) if life.on_features or life.lessons else seen.flatten(1).float() / 127.5 - 1
    judged = judge_labels(features, labels, len(found.class_names), ("check", found.name))
    return Checked(part.reader, tuple(indices), tuple(labels.tolist()), found.class_names, judged)


def seen_of(life: "Learner", reader: "Reader", indices: list[int], weights: Path | None) -> "tuple[list[int], Tensor]":
    """Return which of the items at ``indices`` of ``reader`` can be read, and what ``life`` sees of them.

    Raises:
        InputError: it sees other items, or none can be read.
    """
    import torch

    from mygo.cli.commands.predict import report_unreadable
    from mygo.data.images import reason
    from mygo.jobs.features import batches_of, encoded_batches
    from mygo.jobs.perception import encoder_of
    from mygo.learner.predict import as_seen

    unreadable: dict[int, str] = {}
    seen: dict[int, Tensor] = {}
    if life.on_features:
        encoder = encoder_of(life, weights)
        takes = "vector" if encoder is None else encoder.input_kind
        if takes != reader.kind:
            raise InputError(f"This life sees each input as a {takes}, and the data holds another kind: {reader.kind}.")
        for batch in encoded_batches(reader, batches_of(reader, indices), encoder):
            unreadable |= batch.unreadable
            seen |= dict(zip(batch.indices, batch.vectors, strict=True))
    elif reader.kind != "image":
        raise InputError(f"This life sees images, and the data holds another kind: {reader.kind}.")
    else:
        for index in indices:
            try:
                seen[index] = as_seen([reader.read(index)[0]], life.image_shape)[0]  # type: ignore[list-item]
            except Exception as error:  # noqa: PERF203  # whatever a damaged image makes its reader raise
                unreadable[index] = f"{reader.where(index)}: {reason(error)}"
    report_unreadable([unreadable[index] for index in sorted(unreadable)], ())
    if not seen:
        raise InputError("None of the examples can be read: convert or name others.")
    kept = sorted(seen)
    return kept, torch.stack([seen[index] for index in kept])
