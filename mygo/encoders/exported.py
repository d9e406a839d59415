"""Networks in files: programs of ``torch.export`` and ONNX models, each with its preprocessing as JSON beside it."""

import hashlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import (
    INTERPOLATIONS,
    ImagePreprocessing,
    Preprocessing,
    TextPreprocessing,
    VectorPreprocessing,
)
from mygo.encoders.programs import read_program
from mygo.encoders.protocol import INPUT_KINDS, EncoderRequest
from mygo.encoders.weights import needs
from mygo.errors import InputError
from mygo.files import read_json

INPUT = "input"
LARGEST_SIDE, LONGEST_TEXT = 4096, 8192


class Program(nn.Module):
    """A program of `torch.export`, which names its device in many places."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.exported = read_program(path)
        self.module = self.exported.module()

    def _apply(self, fn: Any, recurse: bool = True) -> "Program":
        # What .to(device) calls: the device is in the program's graph, too, as in arange(…, device="cpu").
        device = fn(torch.zeros(())).device
        self.exported = move_to_device_pass(self.exported, device)
        self.module = self.exported.module()
        return self

    def train(self, mode: bool = True) -> "Program":
        """Stay in the mode in which the program was exported; it has no other."""
        return self

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return what the program does."""
        features: Tensor = self.module(*inputs)
        return features


class OnnxModel(nn.Module):
    """An ONNX model, which onnxruntime runs on the CPU wherever its encoder is."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own, which have no common base
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{path} is not an ONNX model that onnxruntime runs ({reason}): export it again."
            ) from error
        self.names = [each.name for each in self.session.get_inputs()]

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the model's first output."""
        arrays = [each.cpu().contiguous().numpy() for each in inputs]
        if len(arrays) != len(self.names):
            raise ValueError(f"the model takes {len(self.names)} inputs and is given {len(arrays)}")
        return torch.from_numpy(self.session.run(None, dict(zip(self.names, arrays, strict=True)))[0])


def exported(request: EncoderRequest) -> FrozenEncoder:
    """Return ``file:PATH``: the network in PATH (.pt2 or .onnx) behind the preprocessing in its .json beside it.

    Raises:
        InputError: one of the two is missing, damaged or unfit, or the network does not return features [N, D].
    """
    path = Path(request.rest).expanduser()
    if request.weights is not None:
        raise InputError(f"--encoder {request.name} has its weights inside: leave --encoder-weights out.")
    if path.suffix not in (".pt2", ".onnx"):
        raise InputError(f"--encoder {request.name}: the file must end in .pt2 (torch.export) or .onnx.")
    if not path.is_file():
        raise InputError(f"--encoder {request.name}: there is no file {path}.")
    preprocessing = read_preprocessing(path.with_suffix(".json"))
    network: nn.Module
    if path.suffix == ".onnx":
        needs(request.name, "onnxruntime", "export")
        network = OnnxModel(path)
    else:
        network = Program(path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return FrozenEncoder(request.name, network, preprocessing, precision=request.precision, checksum=checksum)


def read_preprocessing(path: Path) -> Preprocessing:
    """Read the settings of a preprocessing; docs/encoders.md describes them.

    Raises:
        InputError: they are missing or are none.
    """
    settings = read_json(path)
    kind = settings.pop(INPUT, None)
    if kind not in INPUT_KINDS:
        raise InputError(f'{path}: "{INPUT}" must be one of {", ".join(INPUT_KINDS)}, not {kind!r}.')
    if kind == "image":
        return ImagePreprocessing(**_checked(path, settings, ImagePreprocessing))
    if kind == "vector":
        return VectorPreprocessing(**_checked(path, settings, VectorPreprocessing))
    text = _checked(path, settings, TextPreprocessing)
    tokenizer = path.parent / text["tokenizer"]
    needs(f"of {path}", "tokenizers", "text")
    if not tokenizer.is_file():
        raise InputError(f'{path}: "tokenizer" names {tokenizer}, which is not there.')
    return TextPreprocessing(tokenizer=tokenizer, max_length=text["max_length"])


def _is_whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_rgb(value: object, least: float) -> bool:
    numbers = isinstance(value, list) and len(value) == 3 and all(isinstance(each, int | float) for each in value)
    return numbers and all(least <= each <= 10 for each in value)  # type: ignore[attr-defined]


CHECKS: Mapping[str, tuple[Any, str]] = {
    "size": (lambda value: _is_whole(value, LARGEST_SIDE), f"a whole number from 1 to {LARGEST_SIDE}"),
    "crop": (lambda value: isinstance(value, int | float) and 0 < value <= 1, "a number above 0, at most 1"),
    "squash": (lambda value: isinstance(value, bool), "true or false"),
    "interpolation": (lambda value: value in INTERPOLATIONS, f"one of {', '.join(INTERPOLATIONS)}"),
    "mean": (lambda value: _is_rgb(value, -10), "three numbers, where black is 0 and white is 1"),
    "std": (lambda value: _is_rgb(value, 1e-6), "three numbers above 0, where black is 0 and white is 1"),
    "tokenizer": (lambda value: isinstance(value, str), "the path of a tokenizer.json"),
    "max_length": (lambda value: _is_whole(value, LONGEST_TEXT), f"a whole number from 1 to {LONGEST_TEXT}"),
}
"""What a setting must be: how that is found out, and what is said."""


def _checked(path: Path, settings: dict[str, Any], into: type[Any]) -> dict[str, Any]:
    """Return ``settings`` for the fields of ``into``.

    All are requested, so that none is forgotten: with another mean, crop or interpolation features are worse, and no
    error says.
    """
    names = [field.name for field in fields(into)]
    if odd := settings.keys() ^ names:
        how = "unknown" if (name := sorted(odd)[0]) in settings else "missing"
        raise InputError(f'{path}: the setting "{name}" is {how}: give {", ".join([INPUT, *names])}.')
    for name, value in settings.items():
        is_right, wanted = CHECKS[name]
        if not is_right(value):
            raise InputError(f'{path}: "{name}" must be {wanted}, not {value!r}.')
    return {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
