"""Learning rates as functions of the step, so that training can go on from any step."""

import math

import torch


def set_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give ``optimiser`` the learning rate ``lr``."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def cosine(step: int, steps: int) -> float:
    """Return the factor of the learning rate at ``step``: from 1 to 0 along half a cosine.

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5, without restarts.
    """
    return (1 + math.cos(math.pi * step / steps)) / 2
