"""The encoders by name."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mygo.adapting.front import PREFIX, front
from mygo.config.learner import Precision
from mygo.encoders.efficientnet_lite import SCALES, efficientnet_lite
from mygo.encoders.exported import exported
from mygo.encoders.image_libraries import timm_model, torchvision_model
from mygo.encoders.minilm import minilm
from mygo.encoders.protocol import INPUT_KINDS, Encoder, EncoderRequest, InputKind
from mygo.encoders.sentences import sentence_model
from mygo.errors import InputError
from mygo.networks import names

SIZES = range(32, 1025)
"""Sides in pixels that a name may ask for after ``@``."""

_SIZED = re.compile(r"(?P<name>.+)@(?P<size>\d{1,6})")


@dataclass(frozen=True)
class Family:
    """Encoders that are made by one function."""

    build: Callable[[EncoderRequest], Encoder]
    usage: str
    """How their names are spelled, for people."""
    is_sized: bool = False
    """They see images, and of another size where ``@SIZE`` follows the name."""
    input_kind: InputKind | None = None
    """What all of them take; None if that is known only once one was made."""


ENCODERS: dict[str, Family] = {
    **{name: Family(efficientnet_lite, name, is_sized=True, input_kind="image") for name in SCALES},
    PREFIX: Family(front, f"{PREFIX}NAME of those, for --adapt late", is_sized=True, input_kind="image"),
    "timm/": Family(timm_model, "timm/NAME", is_sized=True, input_kind="image"),
    "torchvision/": Family(torchvision_model, "torchvision/NAME", is_sized=True, input_kind="image"),
    "minilm": Family(minilm, "minilm", input_kind="text"),
    "sentence-transformers/": Family(sentence_model, "sentence-transformers/NAME", input_kind="text"),
    "file:": Family(exported, "file:PATH"),
}
"""By name, or by the prefix of names, which ends in / or :."""


def use_encoder(name: str, build: Callable[[], Encoder]) -> None:
    """Let ``--encoder`` name an encoder of one's own, which ``build`` returns.

    `mygo.encoders.frozen.FrozenEncoder` makes one of a network and a preprocessing; anything of the form of
    `mygo.encoders.protocol.Encoder` will do. On Ray the workers know what was known when they were started. What lies
    in a file of its own needs no such call: ``--encoder`` can name it as ``module:attribute`` (see
    `mygo.networks.names`).
    """
    ENCODERS[name] = Family(lambda request: _own(request, build), name)


def encoder_named(name: str, weights: Path | None = None, precision: Precision = "float32") -> Encoder:
    """Return the encoder that ``name`` stands for, on the CPU; ``module:attribute`` is imported and then known.

    Args:
        name: as ``--encoder`` has it, ``auto`` and ``none`` apart.
        weights: the file of ``--encoder-weights``, in place of an encoder's usual weights.
        precision: bfloat16 lets it multiply in that; see `mygo.training.precision.agreed` for where it pays.

    Raises:
        InputError: there is none, or its weights are missing, damaged or another's; it says what to do.
    """
    plain_name, size = name, None
    match = _SIZED.fullmatch(name)
    if match is not None and (family := family_of(match["name"])) is not None and family.is_sized:
        plain_name, size = match["name"], int(match["size"])
        if size not in SIZES:
            raise InputError(f"--encoder {name}: the size must be from {SIZES[0]} to {SIZES[-1]} pixels, not {size}.")
    family = family_of(plain_name)
    if family is None and names.is_import(plain_name):
        use_encoder(plain_name, names.imported(plain_name, "--encoder", "mygo.use_encoder"))
        family = ENCODERS[plain_name]
    if family is None:
        raise names.unknown("--encoder", name, [each.usage for each in ENCODERS.values()], "mygo.use_encoder")
    prefix = next(key for key, each in ENCODERS.items() if each is family and plain_name.startswith(key))
    return family.build(EncoderRequest(plain_name, plain_name.removeprefix(prefix), size, weights, precision))


def family_of(name: str) -> Family | None:
    """Return the family that ``name`` belongs to, None if there is none."""
    if name in ENCODERS:
        return ENCODERS[name]
    return next(
        (each for key, each in ENCODERS.items() if key[-1] in "/:" and name.startswith(key) and name != key), None
    )


def kind_taken_by(name: str) -> InputKind | None:
    """Return what the encoder ``name`` takes, as far as that is known without reading it."""
    match = _SIZED.fullmatch(name)
    family = family_of(name) or (None if match is None else family_of(match["name"]))
    return None if family is None else family.input_kind


def refuse_encoder_in(folder: Path, name: str) -> None:
    """Check that the encoder ``name``, which a life in ``folder`` names, does not lie in that folder itself.

    Raises:
        InputError: it does.
    """
    if family_of(name) is None:
        names.refuse_code_in(folder, name)
    _, _, rest = name.partition("/" if name.startswith("sentence-transformers/") else "file:")
    if rest and folder.resolve() in Path(rest).expanduser().resolve().parents:
        raise InputError(f"{folder} names an encoder that lies in it ({name}), which is not opened: keep it elsewhere.")


def _own(request: EncoderRequest, build: Callable[[], Any]) -> Encoder:
    if request.weights is not None:
        raise InputError(
            f"--encoder {request.name} is one of your own: leave --encoder-weights out, and read them there."
        )
    try:
        encoder = build()
    except InputError:
        raise
    except Exception as error:  # whatever a person's function does
        reason = f"{type(error).__name__}: {error}".rstrip(".:")
        raise InputError(f"--encoder {request.name} cannot be made ({reason}): put it right.") from error
    if not isinstance(encoder, Encoder) or encoder.input_kind not in INPUT_KINDS:
        raise InputError(
            f"--encoder {request.name} must return an encoder, such as mygo.encoders.frozen.FrozenEncoder, not "
            f"{type(encoder).__name__}."
        )
    encoder.name = request.name
    return encoder
