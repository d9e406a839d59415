"""``predict``: which class each image shows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from mygo.cli.flags import AsJson, OptionalText
from mygo.cli.folders import LifeFolder, open_life
from mygo.errors import InputError
from mygo.reporting.console import new_table, plain, print_json
from mygo.reporting.terminal import print_notice

if TYPE_CHECKING:
    from mygo.learner.predict import Predictions

UNKNOWN = "unknown"
"""What an image is called whose class the life is not sure enough of."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Tell which class each image shows, and how sure the life is of it."""

    images: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE|FOLDER …", help_behavior_hint="(required)")
    ]
    """Image files, and folders of which all images at any depth are taken, in sorted order."""
    life: LifeFolder
    task: Annotated[OptionalText, tyro.conf.arg(metavar="NAME")] = None
    """Choose among the classes of this task alone (`show` names the tasks); by default among all."""
    as_json: AsJson = False
    unknown_below: Annotated[float, tyro.conf.arg(metavar="P")] = 0.0
    """Call an image unknown if its class has less than this probability, from 0 to 1."""

    def __post_init__(self) -> None:
        if not self.images:
            raise InputError("predict needs images: name image files, or a folder of them.")
        if not 0 <= self.unknown_below <= 1:
            raise InputError(f"--unknown-below must be from 0 to 1, not {self.unknown_below}.")

    def run(self, console: Console) -> None:
        """Print for each image that can be read its class and confidence."""
        from mygo.data.sources import read_pictures

        life = open_life(self.life)
        pictures = read_pictures(self.images, life.image_shape)
        predictions = life.predict(pictures.images, self.task)
        for entry in pictures.unreadable:
            print_notice(f"Left out, since it cannot be read: {entry}")
        for note in pictures.notes:
            print_notice(note)
        answers = answers_on(pictures.files, predictions, self.unknown_below)
        if self.as_json:
            print_json(console, [answer.as_json for answer in answers])
        else:
            console.print(answers_table(answers))


@dataclass(frozen=True)
class Answer:
    """What a life says of an image."""

    file: str
    class_name: str
    """The most probable class, or `UNKNOWN`."""
    confidence: float
    """The probability of the most probable class."""
    probabilities: Mapping[str, float]
    """Of all classes by name; they sum to 1."""

    @property
    def as_json(self) -> dict[str, Any]:
        """What ``predict --json`` prints of it."""
        values = asdict(self)
        return {"file": values.pop("file"), "class": values.pop("class_name"), **values}


def answers_on(files: Sequence[str], predictions: "Predictions", unknown_below: float) -> list[Answer]:
    """Return the answer for each of ``files``; a class with less confidence than ``unknown_below`` is not named."""
    columns = predictions.names, predictions.confidences.tolist(), predictions.probabilities.tolist()
    return [
        Answer(
            file=file,
            class_name=name if confidence >= unknown_below else UNKNOWN,
            confidence=confidence,
            probabilities=dict(zip(predictions.class_names, probabilities, strict=True)),
        )
        for file, name, confidence, probabilities in zip(files, *columns, strict=True)
    ]


def answers_table(answers: Sequence[Answer]) -> Table:
    """Return ``answers`` as a table."""
    table = new_table(("file", "class"), ("confidence",))
    for answer in answers:
        table.add_row(plain(answer.file), plain(answer.class_name), f"{answer.confidence:.3f}")
    return table
