"""What a life sees its data through: which encoder, and the data as it comes out of it."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mygo.adapting.front import PREFIX as FRONT
from mygo.adapting.late import scale_of, size_of
from mygo.config.learner import Adapt, AnyAdapt, LifeConfig, Precision
from mygo.config.presets import behind_encoder
from mygo.config.ranges import LARGEST
from mygo.data.examples import InputShape
from mygo.data.readers.pairs import DatasetReader
from mygo.data.readers.reader import PLURAL, Kind
from mygo.data.sources import Source
from mygo.data.survey import Survey, survey
from mygo.encoders.efficientnet_lite import SCALES
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.protocol import Encoder
from mygo.encoders.registry import encoder_named, refuse_encoder_in
from mygo.errors import InputError
from mygo.events import Notice, Place
from mygo.jobs.encoding import FEATURES, check_kind, encode_inputs, encoded
from mygo.learner.learner import Learner
from mygo.networks.neocortex import LATE
from mygo.phase import PhaseContext
from mygo.training.precision import agreed, resolved

EMBEDDED: dict[Kind, str] = {"image": "efficientnet-lite0", "text": "minilm", "vector": "none"}
"""The encoder that ``auto`` stands for, by what is encoded."""
CPU = torch.device("cpu")
LISTED = 10
"""Unreadable items that are listed."""


def resolve_encoder(wanted: str, kind: Kind, side: Callable[[], int] = lambda: 0) -> str:
    """Return the name of the encoder for data of a ``kind``; of images, ``side`` returns the longest in pixels.

    Raises:
        InputError: there is none where one is needed, or one that is not.
    """
    if wanted == "auto":
        return "none" if kind == "image" and side() <= LARGEST else EMBEDDED[kind]
    if wanted == "none" and kind == "text":
        raise InputError("--encoder none cannot read texts: leave it out, or name an encoder of texts.")
    if wanted != "none" and kind == "vector":
        raise InputError(f"--encoder {wanted} is not needed for vectors, which are features already: leave it out.")
    return wanted


@functools.cache
def survey_of(data: str) -> Survey:
    """Return what the ``data`` of a stream holds; it is looked for once.

    Raises:
        InputError: as `mygo.data.survey.survey`.
    """
    return survey(data, least=2)


def encoder_for(wanted: str, found: Survey) -> str:
    """Return the name of the encoder for what was ``found``.

    Raises:
        InputError: as `resolve_encoder`.
    """
    return resolve_encoder(wanted, found.kind, lambda: found.largest_side)


def sees_pixels(encoder: str, kind: Kind) -> bool:
    """Return whether a life with this ``encoder``, resolved, learns small images as they are."""
    return encoder == "none" and kind == "image"


def settings_for(encoder: str, kind: Kind, adapt: Adapt = "none") -> LifeConfig:
    """Return the default settings of a life that sees through ``encoder``, resolved, and is to ``adapt`` it so."""
    settings = LifeConfig(adapt=adapt) if sees_pixels(encoder, kind) else behind_encoder(adapt)
    return replace(settings, encoder=encoder)


def default_settings(found: Survey, encoder: str, adapt: AnyAdapt) -> LifeConfig:
    """Return the default settings of a life for what was ``found``; ``encoder`` and ``adapt`` may be auto.

    Raises:
        InputError: as `resolve_encoder`.
    """
    name = encoder_for(encoder, found)
    return settings_for(name, found.kind, adapt_for(adapt, name, lambda: found.largest_side))


def adapt_for(wanted: AnyAdapt, encoder: str, side: Callable[[], float]) -> Adapt:
    """Return what sleep trains of ``encoder``, resolved; ``side`` returns the longest side of its pictures in pixels.

    Where auto is ``wanted``, that is what was found to pay (docs/results.md): its late blocks, if pictures, or what it
    is asked to see of them, have sides at most half as long as what it was made for.
    """
    if wanted != "auto":
        return wanted
    if encoder.startswith(FRONT):
        return "late"
    scale = SCALES.get(encoder.partition("@")[0])
    sees_less = scale is not None and 2 * min(size_of(encoder), side()) <= scale.size
    return "late" if sees_less else "none"


def seeing_through(config: LifeConfig, encoder: str, side: Callable[[], float] = lambda: math.inf) -> LifeConfig:
    """Return ``config`` of a life that sees through ``encoder``, resolved, or through its front if it is adapted.

    Whether it is may depend on the longest ``side`` of its pictures, as `adapt_for` has it.

    Raises:
        InputError: that encoder cannot be adapted, or is to stay as it is but is named as one that is adapted.
    """
    config = replace(config, adapt=adapt_for(config.adapt, encoder, side))
    name = encoder.removeprefix(FRONT)
    if config.adapt == "none":
        if name != encoder:
            raise InputError(f"--encoder {encoder} is for lives that adapt it: name {name}, or add --adapt late.")
        return replace(config, encoder=encoder)
    scale_of(name)
    if config.backbone not in ("linear", LATE + name):
        raise InputError(f"--adapt late trains the late blocks of {name}: leave --backbone {config.backbone} out.")
    return replace(config, encoder=FRONT + name, backbone=LATE + name)


def open_encoder(name: str, weights: Path | None) -> Encoder | None:
    """Return the encoder of that ``name``; none is for ``none``.

    Raises:
        InputError: there is no such encoder, or its ``weights`` cannot be read.
    """
    if name == "none":
        if weights is not None:
            raise InputError("--encoder-weights needs an --encoder that they are for.")
        return None
    return encoder_named(name, weights)


def input_shape_of(found: Survey, encoder: Encoder | None) -> InputShape:
    """Return the shape of the vectors that what was ``found`` becomes.

    Raises:
        InputError: the encoder takes other items, or the first vector cannot be read.
    """
    check_kind(found, encoder)
    if encoder is not None:
        return (encoder.feature_dim,)
    part = found.parts[0]
    for index in part.indices.tolist():
        with suppress(OSError, ValueError, TypeError):  # it will be listed when all are read
            return (part.reader.size(index)[1],)
    raise InputError(f"{found.source} holds no {PLURAL[found.kind]} that can be read: name another source.")


@contextmanager
def perceived(
    found: Source | Survey, life: Learner, encoder: Encoder | None, context: PhaseContext
) -> Iterator[Source]:
    """Yield what was ``found`` as ``life`` sees it, for as long as the block lasts.

    Images that were read already are yielded as they are; what was only found is encoded by all workers together.

    Raises:
        InputError, StorageError, StoppedError: as `mygo.jobs.encoding.encoded`; or the vectors have another length.
    """
    if isinstance(found, Source):
        yield found
        return
    task = life.tasks_learned if life.current is None else life.current
    place = Place(life.strategy, task, "encode")
    folder = None if life.folder is None else life.folder / FEATURES
    life.encoder_precision = agreed(life.encoder_precision, context.group)
    ready(encoder, life.encoder_precision, context.group.device)
    with encoded(
        found, encoder, context.group, folder, place=place, on_event=context.on_event, stop=context.stop
    ) as source:
        check_length(found, source.dataset.input_shape, life)
        yield source


@contextmanager
def stream_encoded(
    found: Survey, name: str, weights: Path | None, folder: Path | None, context: PhaseContext
) -> Iterator[Source]:
    """Yield all data of a stream of tasks as it is seen through the encoder of that ``name``, for as long as the block.

    Raises:
        InputError, StorageError, StoppedError: as `mygo.jobs.encoding.encoded`; or there is no such encoder.
    """
    encoder = open_encoder(name, weights)
    ready(encoder, agreed("auto", context.group), context.group.device)
    place = Place("stream", 0, "encode")
    with encoded(
        found, encoder, context.group, folder, place=place, on_event=context.on_event, stop=context.stop
    ) as source:
        if encoder is not None:
            encoder.to(CPU)  # lives need the room on the GPU
        for text in (*source.notes, *listed(source.unreadable)):
            context.emit(Notice(text))
        yield source if encoder is None else replace(source, encoder_checksum=encoder.checksum)


def listed(unreadable: Sequence[str]) -> Iterator[str]:
    """Yield in sentences what could not be read, not more than can be read by a person."""
    yield from (f"Not read: {entry}" for entry in unreadable[:LISTED])
    if len(unreadable) > LISTED:
        yield f"{len(unreadable) - LISTED} more could not be read."


def check_length(found: Survey, shape: InputShape, life: Learner) -> None:
    """Check that the vectors of what was ``found``, of this ``shape`` (D,), are as long as those that ``life`` sees.

    Raises:
        InputError: they are not.
    """
    if shape != life.input_shape:
        (length,), (known,) = shape, life.input_shape
        raise InputError(f"{found.source} has vectors of {length} values, but this life sees {known}: name others.")


def check_encoder(life: Learner, encoder: Encoder | None) -> None:
    """Check that ``encoder`` is the one that ``life`` was begun with.

    Raises:
        InputError: its weights, or what it does with an input, are others.
    """
    if encoder is not None and encoder.checksum != life.encoder_checksum:
        raise InputError(
            f"The encoder {encoder.name} is not the one that this life was begun with (its checksum is "
            f"{encoder.checksum[:12]}, not {life.encoder_checksum[:12]}): install the version that it was, or pass its "
            "--encoder-weights."
        )


def encoder_of(life: Learner, weights: Path | None = None) -> Encoder | None:
    """Return the encoder that ``life`` sees through, once it is known to be the same as ever; it is read once.

    Raises:
        InputError: it cannot be read, or is another.
    """
    if life.encoder is None and life.config.encoder not in ("none", "auto"):
        if life.folder is not None:
            refuse_encoder_in(life.folder, life.config.encoder)
        encoder = open_encoder(life.config.encoder, weights)
        if life.saved or life.encoder_checksum:
            check_encoder(life, encoder)
        if encoder is not None:
            life.see_through(encoder)
        ready(encoder, resolved(life.encoder_precision, CPU), CPU)
    return life.encoder


def ready(encoder: Encoder | None, precision: Precision, device: torch.device) -> None:
    """Let ``encoder`` multiply in ``precision`` on ``device``; one of a person's own multiplies as it does."""
    if encoder is not None:
        encoder.to(device)
    if isinstance(encoder, FrozenEncoder):
        encoder.precision = precision


@dataclass(frozen=True)
class Unlabelled:
    """Inputs as a torch data set without labels has them."""

    inputs: Any

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Any, str]:
        return self.inputs[index], ""


def vectors_of(inputs: object, encoder: Encoder | None, life: Learner) -> Tensor:
    """Return ``inputs`` as ``life`` sees them, float32 [N, D]: images or texts through its ``encoder``, or vectors.

    Images are whatever `mygo.data.images.as_picture` takes.

    Raises:
        InputError: they are of another form, or one cannot be seen.
    """
    if isinstance(inputs, str | bytes | Image.Image) or not hasattr(inputs, "__len__"):
        raise InputError(
            f"This life is asked about several inputs at once: put the {type(inputs).__name__} into a list."
        )
    kind = "vector" if encoder is None else encoder.input_kind
    reader = DatasetReader(PLURAL[kind], Unlabelled(inputs), None)
    unreadable: list[str] = []
    parts = [part.vectors for part in encode_inputs(reader, encoder, unreadable)]
    if unreadable:
        raise InputError(f"{unreadable[0]}: convert it or leave it out.")
    vectors = torch.cat(parts) if parts else torch.empty(0, *life.input_shape)
    if vectors.shape[1:] != life.input_shape:
        raise InputError(f"This life sees vectors of {life.input_shape[0]} values, not {vectors.shape[1]}.")
    return vectors
