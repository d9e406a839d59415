"""A life as one file for other programs: images or features in, the logits of all classes side by side out.

Where a life knows its limits, the out-of-distribution score of each input comes out, too.
"""

import importlib.util
import io
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mygo.encoders.exported import OnnxModel
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ImagePreprocessing
from mygo.encoders.protocol import Encoder
from mygo.errors import InputError
from mygo.extras import how_to_install
from mygo.files import write_atomically
from mygo.learner.learner import Learner
from mygo.learner.limits import detector_of
from mygo.learner.predict import Answers, Classifier
from mygo.memory.gaussian import to_length
from mygo.unknown.rates import RATES

CLASS_NAMES = "class_names"
"""Under this name a file carries the names of its classes, as a JSON list in the order of the logits."""
PREPROCESSING = "preprocessing"
"""Under this name one with an image encoder inside says, as a JSON object, what its images must have been through."""
ENCODER = "encoder"
"""Under this name one of a life behind an encoder says which, as a JSON object of name and checksum."""
LIMITS = "limits"
"""Under this name a file says, as a JSON object, the ``temperature`` by which logits are divided for probabilities that
are calibrated, and ``thresholds``: for each share of known inputs that may be called unknown, the score that it is
above."""
OUTPUTS = ("logits", "out_of_distribution")

SHAPES = ({0: Dim("N", min=1)},)
"""What may vary in the shapes of the inputs: how many there are."""

ADVICE = "what was there is whole; make room or export to another folder"
"""What to do when the file cannot be written."""


class HeadOfLength(nn.Module):
    """A life behind an encoder, from features [N, D] of any length to what `Classifier` returns."""

    def __init__(self, life: Learner) -> None:
        """Copy the network of ``life`` to the CPU.

        Raises:
            InputError: the life has learned no class.
        """
        super().__init__()
        self.classifier = Classifier(life)

    def forward(self, features: Tensor) -> Answers:
        """Return logits [N, K], and scores [N] if there are some, for ``features`` float32 [N, D].

        These are scaled to the length √D first.
        """
        found: Answers = self.classifier(to_length(features))
        return found


class SeeingClassifier(nn.Module):
    """A life together with its image encoder, from uint8 pixels to what `Classifier` returns."""

    def __init__(self, encoder: FrozenEncoder, life: Learner) -> None:
        """Take what ``encoder`` computes with, and copy the network of ``life``.

        Raises:
            InputError: the life has learned no class.
        """
        super().__init__()
        self.encoder = FrozenEncoder(
            encoder.name,
            encoder.fused,  # alone: what it was made from is as large and not needed
            encoder.preprocessing,
            feature_dim=encoder.feature_dim,
            checksum=encoder.checksum,
            square_roots=encoder.square_roots,
        )
        self.head = HeadOfLength(life)

    def forward(self, images: Tensor) -> Answers:
        """Return logits [N, K], and scores [N] if there are some, for ``images`` uint8 [N, 3, S, S].

        These are cropped and resized as the encoder's.
        """
        found: Answers = self.head(self.encoder(images).float())
        return found


@dataclass(frozen=True)
class Model:
    """What is written, in a form that both formats take."""

    module: nn.Module
    input_name: str
    """``images`` or ``features``."""
    example: Tensor
    metadata: dict[str, str]
    encoder: str = ""
    """The name of the encoder that is a part of it."""

    @property
    def output_names(self) -> list[str]:
        """What comes out."""
        return list(OUTPUTS if LIMITS in self.metadata else OUTPUTS[:1])

    def traced(self) -> ExportedProgram:
        """Return the graph for batches of any size from 1."""
        with torch.no_grad():
            return torch.export.export(self.module, (self.example,), dynamic_shapes=SHAPES)


@contextmanager
def naming_the_encoder(model: Model) -> Iterator[None]:
    """Say that it is the encoder within ``model``, somebody's own network, which cannot be exported.

    Raises:
        InputError: it cannot.
    """
    try:
        yield
    except Exception as error:  # whatever torch raises over what it cannot trace
        if not model.encoder:
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(
            f"The encoder {model.encoder} cannot be exported ({reason}): export the head alone, with --head-alone."
        ) from error


def why_not_inside(encoder: Encoder) -> str:
    """Return in words why ``encoder`` cannot be a part of the exported model; nothing where it can."""
    if encoder.input_kind == "text":
        return "its tokenizer is no network"
    if not isinstance(encoder, FrozenEncoder):
        return "it is not a mygo.FrozenEncoder"
    if isinstance(encoder.network, OnnxModel):
        return "it is an ONNX model itself"
    return "" if isinstance(encoder.preprocessing, ImagePreprocessing) else "it does not see images"


def export_onnx(life: Learner, path: Path, class_names: Sequence[str] = (), encoder: Encoder | None = None) -> Path:
    """Write ``life`` as an ONNX model to ``path``, which is replaced once all of it is written, and return ``path``.

    Over pixels its input ``images`` is uint8 [N, C, H, W] of the life's image shape; over vectors its input
    ``features`` is float32 [N, D], of any length. With the ``encoder`` of the life its input ``images`` is uint8
    [N, 3, S, S], as the encoder's preprocessing makes them; the metadata's ``preprocessing`` says how. N is any from 1.
    The output ``logits`` is float32 [N, K]; ``class_names`` [K] are kept in the metadata as the JSON list
    ``class_names``. Of a life that knows its limits, the output ``out_of_distribution`` is float32 [N], and the
    metadata's ``limits`` has its thresholds and the temperature of the logits.

    Other runtimes give the life's logits to 1e-4, where its encoder multiplies in float32, too.

    Raises:
        InputError: a package is missing, the life has learned no class, ``class_names`` are not as many as classes, or
            the encoder cannot be inside.
        StorageError: the file cannot be written.
    """
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        raise InputError(f"ONNX needs the package {missing[0]}, which is not installed: {how_to_install('export')}.")
    model = _model(life, class_names, encoder)
    names: dict[str, Any] = {"input_names": [model.input_name], "output_names": model.output_names}
    with warnings.catch_warnings(), naming_the_encoder(model):
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about torch
        # Before 2.10, torch writes it as SpaceToDepth, which has the channels in another order.
        graph = model.traced().run_decompositions({torch.ops.aten.pixel_unshuffle.default: _unshuffled})
        program: Any = torch.onnx.export(graph, **names, dynamic_shapes=SHAPES, dynamo=True, verbose=False)
    program.model.metadata_props.update(model.metadata)
    write_atomically(path, program.model_proto.SerializeToString(), ADVICE)
    return path


def export_program(life: Learner, path: Path, class_names: Sequence[str] = (), encoder: Encoder | None = None) -> Path:
    """Write ``life`` for `torch.export.load` to ``path``, which is replaced once all of it is written, and return it.

    The program takes and returns what that of `export_onnx` does. What is metadata there are extra files here.

    Raises:
        InputError: the life has learned no class, ``class_names`` are not as many as its classes, or the encoder cannot
            be inside.
        StorageError: the file cannot be written.
    """
    model = _model(life, class_names, encoder)
    buffer = io.BytesIO()
    with naming_the_encoder(model):
        torch.export.save(model.traced(), buffer, extra_files=model.metadata)
    write_atomically(path, buffer.getvalue(), ADVICE)
    return path


def limits_of(life: Learner) -> dict[str, Any]:
    """Return what a model says of the limits of ``life``, if it knows them; see `LIMITS`."""
    detector = detector_of(life)
    if detector is None:
        return {}
    thresholds = dict(zip(map(str, RATES), detector.thresholds.tolist(), strict=True))
    return {"temperature": life.temperature, "thresholds": thresholds}


def _unshuffled(maps: Tensor, factor: int) -> Tensor:
    """Return what `torch.nn.functional.pixel_unshuffle` makes of ``maps`` [N, C, H, W], by its definition."""
    count, channels, height, width = maps.shape
    blocks = maps.reshape(count, channels, height // factor, factor, width // factor, factor)
    return blocks.permute(0, 1, 3, 5, 2, 4).reshape(count, -1, height // factor, width // factor)


def _model(life: Learner, class_names: Sequence[str], encoder: Encoder | None) -> Model:
    """Return what to write of ``life``, behind its ``encoder`` if that is given."""
    if class_names and len(class_names) != (classes := sum(life.neocortex.head_sizes)):
        raise InputError(f"{len(class_names)} class names were given for {classes} classes: name every class once.")
    metadata = {CLASS_NAMES: json.dumps(list(class_names))} if class_names else {}
    if limits := limits_of(life):
        metadata[LIMITS] = json.dumps(limits)
    if not life.on_features:
        return Model(Classifier(life).eval(), "images", torch.zeros(2, *life.input_shape, dtype=torch.uint8), metadata)
    if life.config.encoder != "none":
        metadata[ENCODER] = json.dumps({"name": life.config.encoder, "checksum": life.encoder_checksum})
    if encoder is None:
        return Model(HeadOfLength(life).eval(), "features", torch.ones(2, *life.input_shape), metadata)
    why = why_not_inside(encoder)
    if why or not isinstance(encoder, FrozenEncoder):
        raise InputError(f"The encoder {encoder.name} cannot be a part of the model, as {why}: leave it out.")
    encoder.to(torch.device("cpu"))
    settings = encoder.preprocessing.settings()
    inside = ("mean", "std")  # normalisation is a part of the model
    kept = {"input": encoder.input_kind, **{name: value for name, value in settings.items() if name not in inside}}
    metadata[PREPROCESSING] = json.dumps(kept)
    module = SeeingClassifier(encoder, life).eval()
    return Model(module, "images", encoder.preprocessing.probe(2), metadata, encoder.name)
