"""A life's network as one file for other programs: uint8 images in, the logits of all classes side by side out."""

import importlib.util
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.export import Dim, ExportedProgram

from mygo.errors import InputError
from mygo.files import write_atomically
from mygo.learner.learner import Learner
from mygo.learner.predict import Classifier

CLASS_NAMES = "class_names"
"""Under this name a file carries the names of its classes, as a JSON list in the order of the logits."""

SHAPES = ({0: Dim("N", min=1)},)
"""What may vary in the shapes of the inputs: how many images there are."""

ADVICE = "what was there is whole; make room or export to another folder"
"""What to do when the file cannot be written."""


def export_onnx(life: Learner, path: Path, class_names: Sequence[str] = ()) -> Path:
    """Write ``life`` as an ONNX model to ``path``, which is replaced once all of it is written, and return ``path``.

    Its input ``images`` is uint8 [N, C, H, W] of the life's image shape, for any N from 1; its output ``logits`` is
    float32 [N, K]. ``class_names`` [K] are kept in the model's metadata as the JSON list ``class_names``.

    Other runtimes give the life's logits to 1e-4, except behind a frozen front: its feature maps are rounded to bytes,
    and where the last bit of a sum decides which way, logits differ by about 1e-3.

    Raises:
        InputError: a package is missing, the life has learned no class, or ``class_names`` are not as many as classes.
        StorageError: the file cannot be written.
    """
    if missing := [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]:
        raise InputError(f"ONNX needs the package {missing[0]}, which is not installed: pip install 'mygo[export]'.")
    graph = _traced(life, class_names)
    names: dict[str, Any] = {"input_names": ["images"], "output_names": ["logits"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's, about torch
        program: Any = torch.onnx.export(graph, **names, dynamic_shapes=SHAPES, dynamo=True, verbose=False)
    if class_names:
        program.model.metadata_props[CLASS_NAMES] = json.dumps(list(class_names))
    write_atomically(path, program.model_proto.SerializeToString(), ADVICE)
    return path


def export_program(life: Learner, path: Path, class_names: Sequence[str] = ()) -> Path:
    """Write ``life`` for `torch.export.load` to ``path``, which is replaced once all of it is written, and return it.

    The program takes and returns what that of `export_onnx` does. ``class_names`` [K] are kept in the extra file
    ``class_names``, as a JSON list.

    Raises:
        InputError: the life has learned no class, or ``class_names`` are not as many as its classes.
        StorageError: the file cannot be written.
    """
    buffer = io.BytesIO()
    names = {CLASS_NAMES: json.dumps(list(class_names))} if class_names else {}
    torch.export.save(_traced(life, class_names), buffer, extra_files=names)
    write_atomically(path, buffer.getvalue(), ADVICE)
    return path


def _traced(life: Learner, class_names: Sequence[str]) -> ExportedProgram:
    """Return the `Classifier` of ``life`` as a graph for batches of any size from 1."""
    classifier = Classifier(life)
    if class_names and len(class_names) != (classes := sum(life.neocortex.head_sizes)):
        raise InputError(f"{len(class_names)} class names were given for {classes} classes: name every class once.")
    example = torch.zeros(2, *life.input_shape, dtype=torch.uint8)
    with torch.no_grad():
        return torch.export.export(classifier, (example,), dynamic_shapes=SHAPES)
