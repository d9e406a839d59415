"""Layers that more than one network uses."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

FEW = 4
"""Positions of a kernel up to which a convolution is quicker as a matrix product; with 16 it is slower."""


def group_norm(channels: int) -> nn.GroupNorm:
    """Normalise within each example, so that no result depends on a batch or on a rank's share of it."""
    return nn.GroupNorm(next(groups for groups in (8, 4, 2, 1) if channels % groups == 0), channels)


def convolved(maps: Tensor, layer: nn.Conv2d, weight: Tensor, bias: Tensor) -> Tensor:
    """Return what ``layer``, with another ``weight`` and ``bias``, makes of ``maps``, all in the layout channels_last.

    Where the kernel has few positions it is a matrix product: oneDNN takes twice as long for those gradients.
    """
    kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
    rows, columns = ((size + 2 * padding - kernel) // stride + 1 for size in maps.shape[2:])
    if maps.is_cuda or rows * columns > FEW:
        return F.conv2d(maps, weight, bias, stride, padding)
    patches = Patches.apply(maps, kernel, stride, padding)  # type: ignore[no-untyped-call]
    return F.linear(patches, weight.permute(0, 2, 3, 1).flatten(1), bias).permute(0, 3, 1, 2)


class Patches(torch.autograd.Function):
    """What a square kernel sees of maps at each of its positions."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
        """Return patches [N, H', W', kernel * kernel * C] of ``maps`` [N, C, H, W] padded with zeros."""
        padded = F.pad(maps.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()
        windows = padded.unfold(1, kernel, stride).unfold(2, kernel, stride).permute(0, 1, 2, 4, 5, 3)
        ctx.padded, ctx.kernel, ctx.stride, ctx.padding = padded.shape, kernel, stride, padding
        return windows.flatten(3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradient of the maps: that of each patch, added where it came from."""
        count, height, width, channels = ctx.padded
        padded = gradient.new_zeros(count, height * width, channels)
        padded.index_add_(1, seen(height, width, ctx.kernel, ctx.stride), gradient.reshape(count, -1, channels))
        inside = slice(ctx.padding, -ctx.padding or None)
        return padded.view(ctx.padded)[:, inside, inside].permute(0, 3, 1, 2), None, None, None


@lru_cache
def seen(height: int, width: int, kernel: int, stride: int) -> Tensor:
    """Return which pixel of a map of ``height`` times ``width`` each pixel of each patch is, patch after patch."""
    pixels = torch.arange(height * width).view(height, width)
    return pixels.unfold(0, kernel, stride).unfold(1, kernel, stride).flatten()
