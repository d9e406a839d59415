"""``predict``: which class each image shows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from mygo.cli.flags import AsJson, OptionalPath, OptionalText
from mygo.cli.folders import open_life
from mygo.cli.remote import MOST_CLASSES, RemoteLife, RemotePrediction, check_url, token_from
from mygo.errors import InputError
from mygo.reporting.console import new_table, plain, print_json
from mygo.reporting.terminal import print_notice

if TYPE_CHECKING:
    from torch import Tensor

    from mygo.jobs.life import Life
    from mygo.learner import predict

UNKNOWN = "unknown"
"""What an image is called whose class the life is not sure enough of."""


@dataclass(frozen=True, kw_only=True)
class Predict:
    """Predict the class of each input, and how sure the life is of it."""

    inputs: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT …", help_behavior_hint="(required)")
    ]
    """Of images, files, and folders of which all images at any depth are taken, in sorted order; of texts, the texts
    themselves, or .txt files with one in each line; of vectors, .npy or .npz files. Or tables with a column image or
    text."""
    life: Annotated[OptionalPath, tyro.conf.arg(metavar="DIR")] = None
    """The folder of a life, or the --out of a run with a life of mygo."""
    url: Annotated[OptionalText, tyro.conf.arg(metavar="URL")] = None
    """Instead of --life, the address of a life in service, such as http://127.0.0.1:8000. Its token, if it wants one,
    is in the environment as MYGO_TOKEN, or in --token-file."""
    token_file: OptionalPath = None
    """File with the token of the service at --url."""
    task: Annotated[OptionalText, tyro.conf.arg(metavar="NAME")] = None
    """Choose among the classes of this task alone (`show` names the tasks); by default among all."""
    as_json: AsJson = False
    encoder_weights: OptionalPath = None
    """File with the weights of the life's encoder, where it does not find them itself."""
    unknown: Annotated[float | None, tyro.conf.arg(metavar="SHARE")] = None
    """Call an input unknown that looks like no class of the life. SHARE, from 0.001 to 0.5, such as 0.05, is how many
    of the inputs of known classes may be called so by mistake."""
    unknown_below: Annotated[float, tyro.conf.arg(metavar="P")] = 0.0
    """Call an input unknown if its class has less than this probability, from 0 to 1."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InputError("predict needs inputs: name files, or a folder of images.")
        if not 0 <= self.unknown_below <= 1:
            raise InputError(f"--unknown-below must be from 0 to 1, not {self.unknown_below}.")
        if self.unknown is not None:
            from mygo.unknown.rates import check_rate

            check_rate(self.unknown, "--unknown")
            if self.unknown_below:
                raise InputError("--unknown and --unknown-below both say what is unknown: leave one of them out.")
        if (self.life is None) == (self.url is None):
            raise InputError("predict asks one life: name its folder with --life, or its address with --url.")
        if self.url is None and self.token_file is not None:
            raise InputError("--token-file is the token of a service: name its --url, too.")
        if self.url is not None:
            check_url(self.url)
            for flag, value in (("--task", self.task), ("--encoder-weights", self.encoder_weights)):
                if value is not None:
                    raise InputError(f"{flag} goes with --life: a service has its encoder and tells all classes apart.")
            if self.unknown is not None:
                raise InputError(
                    "--unknown goes with --life: a service has a share of its own, and says what is unknown."
                )

    def run(self, console: Console) -> None:
        """Print for each input that can be read its class and confidence."""
        if self.url is not None:
            answers = self._of_service(self.url)
        else:
            assert self.life is not None  # one of the two is there
            answers = self._of_life(self.life)
        if self.as_json:
            print_json(console, [answer.as_json for answer in answers])
        else:
            console.print(answers_table(answers))

    def _of_service(self, url: str) -> "list[Answer]":
        from mygo.cli.remote_inputs import predictions_of

        life = RemoteLife(check_url(url), token_from(self.token_file))
        unreadable: list[str] = []
        notes: list[str] = []
        top = MOST_CLASSES if self.as_json else 1
        answers = [
            answer_of(name, prediction, self.unknown_below)
            for name, prediction in predictions_of(life, self.inputs, unreadable, notes, top=top)
        ]
        if not answers:
            raise nothing_readable(unreadable, len(unreadable))
        report_unreadable(unreadable, notes)
        return answers

    def _of_life(self, folder: Path) -> "list[Answer]":
        life = open_life(folder)
        return self._on_features(life) if life.on_features else self._on_pixels(life)

    def _on_pixels(self, life: "Life") -> "list[Answer]":
        from mygo.data.sources import read_pictures

        pictures = read_pictures([Path(each) for each in self.inputs], life.image_shape)
        predictions = life.predict(pictures.images, self.task)
        report_unreadable(pictures.unreadable, pictures.notes)
        return self._answers_on(pictures.files, predictions)

    def _on_features(self, life: "Life") -> "list[Answer]":
        from mygo.learner.predict import classify

        answers = []
        for names, vectors in seen_through_encoder(life, self.inputs, self.encoder_weights):
            answers += self._answers_on(names, classify(life, vectors, self.task))
        return answers

    def _answers_on(self, files: Sequence[str], predictions: "predict.Predictions") -> "list[Answer]":
        return answers_on(files, predictions, self._unknown_in(predictions))

    def _unknown_in(self, predictions: "predict.Predictions") -> "list[bool]":
        """Return which of ``predictions`` name no class.

        Raises:
            InputError: the life has no score that says so.
        """
        if self.unknown is not None:
            return predictions.unknown(self.unknown).tolist()
        return (predictions.confidences < self.unknown_below).tolist()


def seen_through_encoder(
    life: "Life", inputs: Sequence[str], weights: Path | None
) -> "Iterator[tuple[Sequence[str], Tensor]]":
    """Yield the names and the vectors of ``inputs``, some at a time; stderr says what cannot be read.

    Raises:
        InputError: there is no input that can be read, or the encoder of ``life`` cannot be had.
    """
    from mygo.data.readers.inputs import inputs_of
    from mygo.jobs.encoding import encode_inputs
    from mygo.jobs.perception import encoder_of

    encoder = encoder_of(life, weights)
    reader, notes = inputs_of(inputs, "vector" if encoder is None else encoder.input_kind)
    unreadable: list[str] = []
    count = 0
    for part in encode_inputs(reader, encoder, unreadable):
        count += len(part.names)
        yield part.names, part.vectors
    if not count:
        raise nothing_readable(unreadable, len(reader))
    report_unreadable(unreadable, notes)


def nothing_readable(unreadable: Sequence[str], count: int) -> InputError:
    """Return the error of ``count`` inputs, all of which are ``unreadable``."""
    return InputError(f"No input can be read, the first of {count} being {unreadable[0]}: name others.")


def report_unreadable(unreadable: Sequence[str], notes: Sequence[str]) -> None:
    """Say on stderr what was left out, and the ``notes`` on the rest."""
    for entry in unreadable:
        print_notice(f"Left out, since it cannot be read: {entry}")
    for note in notes:
        print_notice(note)


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
    unknown: bool
    """Whether it is called unknown."""
    out_of_distribution: float | None
    """How little it looks like anything that the life knows, as a score; None where the life has none."""

    @property
    def as_json(self) -> dict[str, Any]:
        """What ``predict --json`` prints of it."""
        values = asdict(self)
        return {"file": values.pop("file"), "class": values.pop("class_name"), **values}


def answers_on(files: Sequence[str], predictions: "predict.Predictions", unknown: Sequence[bool]) -> list[Answer]:
    """Return the answer for each of ``files``; the class of one that is ``unknown`` is not named."""
    columns = predictions.names, predictions.confidences.tolist(), predictions.probabilities.tolist()
    found = predictions.out_of_distribution
    scores = [None] * len(files) if found is None else found.tolist()
    return [
        Answer(
            file=file,
            class_name=UNKNOWN if is_unknown else name,
            confidence=confidence,
            probabilities=dict(zip(predictions.class_names, probabilities, strict=True)),
            unknown=is_unknown,
            out_of_distribution=score,
        )
        for file, name, confidence, probabilities, is_unknown, score in zip(
            files, *columns, unknown, scores, strict=True
        )
    ]


def answer_of(name: str, prediction: RemotePrediction, unknown_below: float) -> Answer:
    """Return the answer for an input of this ``name``, as `answers_on` does."""
    surest = prediction.class_name if prediction.confidence >= unknown_below else None
    return Answer(
        file=name,
        class_name=UNKNOWN if surest is None else surest,
        confidence=prediction.confidence,
        probabilities=prediction.probabilities,
        unknown=surest is None,
        out_of_distribution=prediction.out_of_distribution,
    )


def answers_table(answers: Sequence[Answer]) -> Table:
    """Return ``answers`` as a table."""
    table = new_table(("file", "class"), ("confidence",))
    for answer in answers:
        table.add_row(plain(answer.file), plain(answer.class_name), f"{answer.confidence:.3f}")
    return table
