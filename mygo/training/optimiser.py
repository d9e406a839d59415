"""Adam, as every phase uses it, and learning rates as functions of the step, so that training can go on from any."""

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn


class Adam(torch.optim.Adam):
    """PyTorch's, fused, without what surrounds its methods for a compiler that nothing here uses.

    Its first call would import that compiler, which takes over 2 s, and every other one goes through it.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    _step = inspect.unwrap(torch.optim.Adam.step)

    def __init__(self, module: nn.Module, **settings: Any) -> None:
        """Train what ``module`` trains, such that a step can be recorded where that is on a GPU."""
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        super().__init__(trained, fused=True, capturable=trained[0].is_cuda, **settings)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make one step."""
        return self._step(closure)


def set_rate(optimiser: torch.optim.Optimizer, lr: float | Tensor) -> None:
    """Give ``optimiser`` the learning rate ``lr``; a tensor without dimensions is read at every step."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def cosine(step: int, steps: int) -> float:
    """Return the factor of the learning rate at ``step``: from 1 to 0 along half a cosine.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    return (1 + math.cos(math.pi * step / steps)) / 2
