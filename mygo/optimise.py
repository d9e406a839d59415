"""Adam, as every phase uses it, and learning rates as functions of the step, so that training can go on from any."""

import math
from typing import Any

import torch
from torch import Tensor, nn


def adam(module: nn.Module, **settings: Any) -> torch.optim.Adam:
    """Return Adam for what ``module`` trains, such that a step of it can be recorded where ``module`` is on a GPU."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.optim.Adam(trained, fused=True, capturable=trained[0].is_cuda, **settings)


def set_rate(optimiser: torch.optim.Optimizer, lr: float | Tensor) -> None:
    """Give ``optimiser`` the learning rate ``lr``; a tensor without dimensions is read at every step."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def cosine(step: int, steps: int) -> float:
    """Return the factor of the learning rate at ``step``: from 1 to 0 along half a cosine.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    return (1 + math.cos(math.pi * step / steps)) / 2
