"""Programs of ``torch.export`` read without running what a file brings along.

``torch.export.load`` unpickles what a file says is a pickle, evaluates its formulas as Python, and looks functions up
by the names in it. So what is in the file is made sure of first: tensors as plain bytes, arithmetic over sizes, and
operators of ATen.
"""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from mygo.errors import InputError

MEMBERS = re.compile(
    r"[^/]*/(models/\w+\.json|data/(weights|constants)/((weight|tensor)_\d+|\w+_config\.json)|data/sample_inputs/\w+\.pt"
    r"|extra/.*|archive_format|archive_version|byteorder|\.data/\w+|\.format_version|\.storage_alignment)"
)
"""The files in an archive that hold a program and no compiled code."""
ARITHMETIC = (
    *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos", "abs", "getitem"),
    *("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_"),
)
TARGETS = re.compile(
    rf"torch\.ops\.(aten|prims|higher_order)\.\w+(\.\w+)?|torch\.sym_\w+|math\.\w+|_operator\.({'|'.join(ARITHMETIC)})"
)
"""The operators that a program may call."""
FORMULA_NAMES = re.compile(
    r"[suz]\d+|True|False|Symbol|positive|nonnegative|integer|Integer|Add|Mul|Pow|Max|Min|Mod|Abs|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not"
    r"|oo|int_oo|FloorDiv|CleanDiv|CeilDiv|PythonMod|ModularIndexing|Where|IntTrueDiv|FloatTrueDiv|PowByNatural|CeilToInt"
    r"|FloorToInt|TruncToInt|ToFloat|RoundToInt"
)
"""Words of a formula over sizes, such as ``Max(1, s77//2)``."""


def read_program(path: Path) -> ExportedProgram:
    """Read the program that ``torch.export.save`` wrote to ``path``.

    Raises:
        InputError: it is not such a file, or holds what could run as code.
    """
    try:
        _check(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not a program that torch.export.save wrote, or has more in it than tensors and operators of "
            f"ATen ({error}): export it again, on the CPU and with this version of torch."
        ) from error
    try:
        return torch.export.load(path)
    except Exception as error:  # whatever a damaged file makes it raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{path} cannot be read as a program ({reason}): export it again.") from error


def _check(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if odd := [name for name in names if not MEMBERS.fullmatch(name)] or len(set(names)) < len(names):
            raise ValueError(f"it holds {odd[0] if isinstance(odd, list) else 'two files of one name'}")
        if not any("/models/" in name for name in names):
            raise ValueError("it holds no model")
        for name in names:
            if name.endswith(".json") and "/extra/" not in name:
                _check_values(json.loads(archive.read(name)))
            elif name.endswith(".pt") and "/extra/" not in name:
                try:
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
                except Exception as error:  # of a pickle with code in it, or of a damaged one
                    raise ValueError(f"{name} is more than tensors") from error


def _check_values(content: Any) -> None:
    for key, value in _entries(content):
        if key == "use_pickle" and value is not False:
            raise ValueError("it holds pickles")
        if key == "target" and not TARGETS.fullmatch(str(value)):
            raise ValueError(f"it calls {value}")
        if key == "expr_str":
            _check_formula(str(value))
        if key == "range_constraints":
            for formula in value:
                _check_formula(formula)


def _entries(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):
        yield from content.items()
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _entries(part)


def _check_formula(formula: str) -> None:
    words = re.findall(r"[^\W\d]\w*", formula)
    if not re.fullmatch(r"[\w\s+\-*/%(),=<>&|']*", formula) or not all(map(FORMULA_NAMES.fullmatch, words)):
        raise ValueError(f"it has the formula {formula}")
