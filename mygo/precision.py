"""In which numbers networks multiply while they train and dream; weights, losses and all evaluation are float32."""

from typing import Literal, TypeVar

import torch
from torch import nn

Precision = Literal["float32", "bfloat16"]

M = TypeVar("M", bound=nn.Module)


def native_precision() -> Precision:
    """Return bfloat16 where this machine multiplies such numbers as they are, about twice as fast, else float32."""
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    of_the_processor = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if of_the_processor else "float32"


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
