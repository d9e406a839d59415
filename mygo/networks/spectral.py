"""Spectral normalisation (Miyato et al. 2018) of all layers of a network at once.

Its operations are tiny and many, and do not get fewer with the images of a worker: PyTorch's `spectral_norm`, which
normalises one layer whenever its weight is read, takes nearly twice as long. It still makes and names the vectors.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

EPSILON = 1e-12
"""The least length by which a vector is divided, that of PyTorch."""


def normalised(layers: Sequence[nn.Module], *, fixed: bool = False) -> tuple[Tensor, ...]:
    """Return the weights of ``layers``, which all went through `spectral_norm`, divided by their spectral norms.

    It makes the usual power iteration first, unless ``fixed``; then the weights are constants, too. What is computed
    from the weights must have gone backward before the next iteration.
    """
    norms: list[Any] = [layer.parametrizations.weight for layer in layers]  # type: ignore[union-attr]
    weights = [norm.original.detach() if fixed else norm.original for norm in norms]
    left = [norm[0]._u for norm in norms]
    kept = [norm[0]._v.view(1, *weight.shape[1:]) for norm, weight in zip(norms, weights, strict=True)]
    right = [as_matrix(row).flatten() for row in kept]
    with torch.autocast(weights[0].device.type, enabled=False):  # which on a GPU would multiply in bfloat16
        if not fixed:
            iterate([as_matrix(weight.detach()) for weight in weights], left, right)
            for row, vector in zip(kept, right, strict=True):
                row.copy_(as_weight(vector, row.shape))
        divided: tuple[Tensor, ...] = Divided.apply(left, right, *weights)  # type: ignore[no-untyped-call]
    return divided


def as_matrix(weight: Tensor) -> Tensor:
    """Return ``weight`` with its first dimension as rows; it is a view of a convolution's weight in channels_last."""
    return (weight.permute(0, 2, 3, 1) if weight.dim() == 4 else weight).flatten(1)


def as_weight(matrix: Tensor, shape: torch.Size) -> Tensor:
    """Return what `as_matrix` made into ``matrix``, of ``shape``."""
    if len(shape) < 4:
        return matrix.view(shape)
    return matrix.view(shape[0], *shape[2:], shape[1]).permute(0, 3, 1, 2)


def iterate(matrices: list[Tensor], left: list[Tensor], right: list[Tensor]) -> None:
    """Bring unit vectors ``left`` [H] and ``right`` [W] nearer to the first singular ones of ``matrices`` [H, W]."""
    for matrix, u, v in zip(matrices, left, right, strict=True):
        torch.mv(matrix, v, out=u)
    to_unit_length(left)
    for matrix, u, v in zip(matrices, left, right, strict=True):
        torch.mv(matrix.t(), u, out=v)
    to_unit_length(right)


def to_unit_length(vectors: list[Tensor]) -> None:
    """Divide ``vectors`` by their lengths, in place."""
    lengths = torch._foreach_norm(vectors)
    torch._foreach_clamp_min_(lengths, EPSILON)
    torch._foreach_div_(vectors, lengths)


class Divided(torch.autograd.Function):
    """Weights divided by their spectral norms u·Wv.

    The vectors are constants, so the gradient of a norm is u vᵀ; autograd takes twice as many passes over the weights.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, left: list[Tensor], right: list[Tensor], *weights: Tensor) -> Any:
        """Return the divided ``weights``, given the vectors u and v of each."""
        norms = [torch.dot(u, torch.mv(as_matrix(w), v)) for w, u, v in zip(weights, left, right, strict=True)]
        divided = torch._foreach_div(weights, norms)
        ctx.save_for_backward(*divided, *norms, *left, *right)
        return tuple(divided)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        """Return the gradients of the weights."""
        count = len(gradients)
        divided, norms, left, right = (ctx.saved_tensors[count * part : count * (part + 1)] for part in range(4))
        matrices = [as_matrix(gradient) for gradient in gradients]
        along = [
            torch.dot(matrix.flatten(), as_matrix(weight).flatten())
            for matrix, weight in zip(matrices, divided, strict=True)
        ]
        scaled = torch._foreach_div(matrices, norms)
        rows = torch._foreach_mul(right, torch._foreach_div(along, norms))
        for matrix, u, row in zip(scaled, left, rows, strict=True):
            matrix.addr_(u, row, alpha=-1)
        return None, None, *(as_weight(matrix, weight.shape) for matrix, weight in zip(scaled, divided, strict=True))
