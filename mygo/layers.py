"""Layers that more than one network uses."""

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
        ctx.padded, ctx.windows = padded.shape, windows.shape
        ctx.stride, ctx.padding = stride, padding
        return windows.flatten(3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Return the gradient of the maps: that of each patch, added where it came from."""
        _, rows, columns, kernel, _, _ = ctx.windows
        windows, stride, inside = gradient.view(ctx.windows), ctx.stride, slice(ctx.padding, -ctx.padding or None)
        padded = gradient.new_zeros(ctx.padded)
        for row in range(kernel):
            for column in range(kernel):
                seen = padded[:, row : row + stride * rows : stride, column : column + stride * columns : stride]
                seen += windows[:, :, :, row, column]
        return padded[:, inside, inside].permute(0, 3, 1, 2), None, None, None
