"""What benchmarks of several orders of classes have in common."""

import ast
import statistics
from collections.abc import Iterable, Sequence
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
