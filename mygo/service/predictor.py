"""What a life in service answers."""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mygo.data.images import as_picture, as_pixels, reason, with_channels
from mygo.data.readers.reader import Kind
from mygo.encoders.protocol import Encoder
from mygo.errors import ConflictError, InputError
from mygo.files import MANIFEST
from mygo.jobs.features import batches_of, encoded_batches
from mygo.jobs.perception import CPU, encoder_of, ready
from mygo.learner.learner import Learner
from mygo.learner.predict import Classifier, Predictions, predictions_of
from mygo.learner.state import NOTHING_LEARNED
from mygo.service.config import DEFAULTS, ServiceConfig
from mygo.service.disk import classes_of, state_in
from mygo.service.examples import Inputs, Sent, another_kind, cannot_be_seen, check_size
from mygo.service.versions import number_of
from mygo.training.precision import resolved
from mygo.unlabelled.drift import Drift
from mygo.unlabelled.watch import DriftWatch

RETRY_SECONDS = 2.0
"""How long a version that could not be opened is not tried again."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a life says of one input, or why it cannot say anything of it."""

    class_name: str | None
    """The most probable class; None if it is `unknown` or there is an `error`."""
    confidence: float
    """The probability of the most probable class; 0 with an error."""
    probabilities: Mapping[str, float]
    """Of the most probable classes, highest first; of all of them they sum to 1."""
    unknown: bool = False
    out_of_distribution: float | None = None
    """How little it looks like anything that the life knows, as a score; None where the life has none."""
    error: str | None = None
    """Why the input cannot be seen, in one sentence."""


class Predictor:
    """One version of a life, ready to answer on the CPU; several threads may ask."""

    def __init__(self, life: Learner, version: int | None, config: ServiceConfig) -> None:
        """Copy what ``life``, whose encoder was read, answers with.

        Raises:
            ConflictError: it has learned nothing yet.
        """
        if not life.class_names:
            raise ConflictError(NOTHING_LEARNED)
        self.version = version
        """Number of the version; None of a life that was never in service."""
        self.checksum = life.saved_checksum
        """Of the manifest of its state."""
        self.class_names = tuple(life.class_names)
        self.encoder: Encoder | None = life.encoder
        self.kind: Kind = (
            "image" if not life.on_features else "vector" if life.encoder is None else life.encoder.input_kind
        )
        """What it takes."""
        self._classifier = Classifier(life)
        can_tell = self._classifier.detector is not None
        self._watch = DriftWatch(life, config.drift_after) if config.drift_after and can_tell else None
        self._input_shape = life.input_shape
        self._config = config

    @classmethod
    def open(
        cls,
        folder: Path,
        config: ServiceConfig = DEFAULTS,
        encoder: Encoder | None = None,
        on_notice: Callable[[str], None] = log.warning,
    ) -> "Predictor":
        """Read the life in ``folder``; ``encoder`` is used again if it is the one that the life sees through.

        ``on_notice`` gets a sentence where the newest state is damaged and the one before is read.

        Raises:
            ConflictError: there is no life yet, or it has learned nothing.
            InputError: it is damaged, or its encoder cannot be had.
        """
        if not Learner.exists(folder):
            raise ConflictError(NOTHING_LEARNED)
        life = Learner.open(folder, on_notice)
        if encoder is not None and encoder.checksum == life.encoder_checksum:
            life.see_through(encoder)
            ready(encoder, resolved(life.encoder_precision, CPU), CPU)
        elif life.on_features:
            encoder_of(life, config.encoder_weights)
        return cls(life, number_of(folder, life.saved_checksum), config)

    def answer(self, inputs: Sent, top: int | None = None, numbers: Sequence[int] | None = None) -> list[Answer]:
        """Return an answer for each of ``inputs``, which are of this `kind`.

        ``top`` is how many probabilities are listed, by default all. What cannot be seen has an error of its own, which
        calls it by its number in ``numbers``, by default counted from 1. The probabilities are those of
        `mygo.jobs.life.Life.predict`.
        """
        length = self._input_shape[0] if self.kind == "vector" and self.encoder is None else None
        reader = Inputs(self.kind, inputs, self._config.examples, length, numbers)
        see = self._vectors if len(self._input_shape) == 1 else self._pixels
        seen, errors = see(reader)
        answers = {
            index: Answer(None, 0.0, {}, error=cannot_be_seen(reader.where(index), why))
            for index, why in errors.items()
        }
        if seen:
            inputs_seen = torch.stack(list(seen.values()))
            shown = predictions_of(self._classifier, inputs_seen, self.class_names)
            if self._watch is not None:
                self._watch.see(inputs_seen, shown)
            answers |= zip(seen, self._answers(shown, top), strict=True)
        return [answers[index] for index in range(len(reader))]

    def refusal_of(self, kind: Kind, inputs: Sent) -> InputError | None:
        """Return why ``inputs`` of a ``kind`` are not looked at, if so: it is another kind, or they are too large."""
        if kind != self.kind:
            return another_kind(self.kind, kind)
        try:
            check_size(Inputs(kind, inputs, self._config.examples))
        except InputError as error:
            return error
        return None

    def drift(self) -> Drift | None:
        """Return what a test says of the last inputs that were answered; None if none has ended since the last call."""
        return None if self._watch is None else self._watch.take()

    def _answers(self, shown: Predictions, top: int | None) -> list[Answer]:
        """Return the answers that predictions of N inputs are."""
        values, order = shown.probabilities.sort(dim=1, descending=True, stable=True)
        count = len(self.class_names) if top is None else max(1, top)
        found = shown.out_of_distribution
        scores = [None] * len(values) if found is None else found.tolist()
        answers = []
        for row, columns, unknown, score in zip(
            values[:, :count].tolist(), order[:, :count].tolist(), self._unknown_in(shown), scores, strict=True
        ):
            names = [self.class_names[column] for column in columns]
            likely = dict(zip(names, row, strict=True))
            answers.append(Answer(None if unknown else names[0], row[0], likely, unknown, score))
        return answers

    def _unknown_in(self, shown: Predictions) -> list[bool]:
        """Return which inputs are called unknown; a life that has no score goes by confidence alone."""
        unknown = shown.confidences < self._config.unknown_below
        if self._config.unknown and shown.out_of_distribution is not None:
            unknown |= shown.unknown(self._config.unknown)
        found: list[bool] = unknown.tolist()
        return found

    def _pixels(self, reader: Inputs) -> tuple[dict[int, Tensor], dict[int, str]]:
        """Return the images as the life sees them, uint8 [C, H, W], and why the others cannot be seen, by index."""
        channels, *size = self._input_shape
        seen, errors = dict[int, Tensor](), dict[int, str]()
        for index in range(len(reader)):
            try:
                picture, _ = reader.read(index)
                pixels = with_channels(as_pixels(as_picture(picture), (size[0], size[1])), channels)
            except Exception as error:  # whatever a damaged image makes PIL raise
                errors[index] = reason(error)
                continue
            seen[index] = torch.from_numpy(np.array(pixels))
        return seen, errors

    def _vectors(self, reader: Inputs) -> tuple[dict[int, Tensor], dict[int, str]]:
        """Return what the encoder makes of the inputs, float32 [D], and why the others cannot be seen, by index."""
        try:
            return self._encoded(reader, range(len(reader)))
        except Exception as error:  # an encoder of one's own may raise anything over one of them
            log.debug("a batch is encoded one by one", exc_info=error)
        seen, errors = dict[int, Tensor](), dict[int, str]()
        for index in range(len(reader)):
            try:
                vectors, unreadable = self._encoded(reader, [index])
            except Exception as error:  # as above
                vectors, unreadable = {}, {index: reason(error)}
            seen |= vectors
            errors |= unreadable
        return seen, errors

    def _encoded(self, reader: Inputs, indices: "range | list[int]") -> tuple[dict[int, Tensor], dict[int, str]]:
        seen, errors = dict[int, Tensor](), dict[int, str]()
        for batch in encoded_batches(reader, batches_of(reader, indices), self.encoder):
            seen |= zip(batch.indices, batch.vectors, strict=True)
            errors |= {index: why.removeprefix(f"{reader.where(index)}: ") for index, why in batch.unreadable.items()}
        return dict(sorted(seen.items())), errors


class CurrentPredictor:
    """The `Predictor` of the current version, which is looked for at every call; any thread may ask for it."""

    def __init__(
        self, life_folder: Path, config: ServiceConfig = DEFAULTS, on_notice: Callable[[str], None] = log.warning
    ) -> None:
        """Answer for the life in ``life_folder``, which need not be there yet.

        ``on_notice`` gets what a person must know.
        """
        self._folder = life_folder
        self._config = config
        self._on_notice = on_notice
        self._lock = threading.Lock()
        self._predictor: Predictor | None = None
        self._stamp: tuple[int, ...] = ()
        """What the manifest was like that the predictor was read with."""
        self._retry_at = 0.0

    def get(self) -> Predictor:
        """Return the predictor of the current version; one of them answers a whole batch.

        It costs a look at one file, unless the version is new. Where that cannot be opened, the one before goes on
        answering, and it is said so; but not if it knows a class that is not there any more.

        Raises:
            ConflictError: nothing was learned yet.
            InputError: the life cannot be opened, and there is none before that may answer.
        """
        found, stamp = self._predictor, self._stamp_now()
        if found is not None and stamp == self._stamp and found.version is not None:
            return found
        with self._lock:
            if self._predictor is None:
                self._predictor, self._stamp = Predictor.open(self._folder, self._config, None, self._on_notice), stamp
            elif stamp != self._stamp and time.monotonic() >= self._retry_at:
                self._renew(self._predictor, stamp)
            elif self._predictor.version is None:  # it may have come into service since
                self._predictor.version = number_of(self._folder, self._predictor.checksum)
            return self._predictor

    def _renew(self, before: Predictor, stamp: tuple[int, ...]) -> None:
        """Read the version that is new, or go on with the one ``before`` and say why.

        Raises:
            InputError: it cannot be read, and the one before knows a class that was forgotten.
        """
        try:
            self._predictor = Predictor.open(self._folder, self._config, before.encoder, self._on_notice)
        except Exception as error:  # whatever is wrong with it, answers go on
            why = str(error) if isinstance(error, InputError) else reason(error)
            if self._are_gone(before.class_names):
                self._predictor = None
                raise InputError(f"The version without a class that was forgotten cannot be opened: {why}") from error
            self._on_notice(f"A new version cannot be opened, and the one before goes on answering: {why}")
            self._retry_at = time.monotonic() + RETRY_SECONDS
            return
        self._stamp = stamp

    def _are_gone(self, class_names: Sequence[str]) -> bool:
        """Return whether the current version says of itself that it does not know all of ``class_names``."""
        try:
            state = state_in(self._folder)
        except InputError:
            return False
        return state is not None and not set(class_names) <= classes_of(state)

    def _stamp_now(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._folder / MANIFEST)  # noqa: PTH116  # at every request
        except FileNotFoundError:
            return ()
        return found.st_mtime_ns, found.st_ino, found.st_size
