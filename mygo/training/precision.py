"""In which numbers networks multiply while they train and dream; weights, losses and all evaluation are float32."""

from typing import TypeVar

import torch
from torch import nn

from mygo.config.learner import AnyPrecision, Precision
from mygo.training.process_group import ProcessGroup

M = TypeVar("M", bound=nn.Module)


def native_precision() -> Precision:
    """Return bfloat16 where this processor multiplies such numbers as they are, about twice as fast, else float32."""
    has_it = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if has_it else "float32"


def resolved(precision: AnyPrecision, device: torch.device) -> Precision:
    """Return ``precision`` or, if it is auto, what ``device`` of this process is fastest in."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return native_precision()


def agreed(precision: AnyPrecision, group: ProcessGroup) -> Precision:
    """Return ``precision`` or, if it is auto, bfloat16 where all workers of ``group`` are fastest in it, else float32.

    All ranks must call this, and get the same answer.
    """
    if precision != "auto":
        return precision
    fast = group.sum(torch.tensor([float(resolved("auto", group.device) == "bfloat16")]))
    return "bfloat16" if float(fast) == group.size else "float32"


def multiplying(precision: Precision, device: torch.device) -> torch.autocast:
    """Return a context in which what is computed forward on ``device`` multiplies in ``precision``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def with_weights_in(precision: Precision, module: M) -> M:
    """Round the weights that ``module`` multiplies by as `multiplying` would at every call, in place, and return it."""
    if precision == "bfloat16":
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.to(torch.bfloat16)
    return module
