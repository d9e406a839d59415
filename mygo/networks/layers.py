"""Layers that more than one network uses."""

from torch import nn


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalise within each example, so that no result depends on a batch or on a rank's share of it."""
    return nn.GroupNorm(next(groups for groups in (8, 4, 2, 1) if channels % groups == 0), channels)
