"""What benchmarks of several orders of classes have in common."""

import ast
import hashlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def class_order(num_classes: int, order: int) -> tuple[int, ...] | None:
    """Return the class order of that number; the first, None, is by name."""
    rng = torch.Generator().manual_seed(order)
    return tuple(torch.randperm(num_classes, generator=rng).tolist()) if order else None


def settings_to_try(changes: Iterable[str]) -> dict[str, Any]:
    """Return what --change says, each as a flag and its value: sleep.steps=400."""
    pairs = (change.split("=") for change in changes)
    return {path.replace("-", "_"): ast.literal_eval(value) for path, value in pairs}


def spread(values: Sequence[float]) -> str:
    """Return a mean, and the standard deviation if there are several values."""
    return f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else "")


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Return a hash of what a cell was measured with."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def kept_cells(table: Path, files: Iterable[Path]) -> dict[str, Any]:
    """Return all cells that were measured, by name: those that ``table`` holds, and newer ones, in ``files``."""
    kept: dict[str, Any] = json.loads(table.read_text()) if table.exists() else {}
    return kept | {file.stem: json.loads(file.read_text()) for file in files}


def cell_with(kept: Mapping[str, Any], name: str, settings: str) -> dict[str, Any] | None:
    """Return the cell called ``name`` if it was measured with these ``settings``, as `fingerprint` hashes them."""
    cell: dict[str, Any] = kept.get(name, {})
    return cell if cell.get("settings") == settings else None


def keep_cells(table: Path, kept: dict[str, Any]) -> None:
    """Let ``table`` hold the cells that are ``kept``, so that another machine need not measure them again."""
    table.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
