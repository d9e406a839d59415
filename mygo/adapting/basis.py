"""The basis in which maps at a cut are kept: made once from made-up pictures, so it is the same for all lives."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mygo.memory.gaussian import fill_rows


class Basis(nn.Module):
    """R directions in the space of maps [C, H, W], in 8 bits: maps become vectors [R], and vectors maps again.

    Buffers: ``centre`` [C, H, W]; ``directions`` int8 [R, C · H · W], which times ``scales`` [R] are orthonormal, to
    rounding.
    """

    centre: Tensor
    directions: Tensor
    scales: Tensor

    def __init__(self, shape: Sequence[int], dim: int) -> None:
        """Make a basis of ``dim`` directions that is all zeros, for maps of ``shape`` (C, H, W)."""
        super().__init__()
        self.register_buffer("centre", torch.zeros(*shape))
        self.register_buffer("directions", torch.zeros(dim, self.centre.numel(), dtype=torch.int8))
        self.register_buffer("scales", torch.zeros(dim))

    @property
    def axes(self) -> Tensor:
        """The directions, float32 [R, C · H · W]."""
        return self.directions * self.scales[:, None]

    def project(self, maps: Tensor) -> Tensor:
        """Return vectors [N, R] for ``maps`` [N, C, H, W]."""
        return (maps - self.centre).flatten(1) @ self.axes.T

    def expand(self, vectors: Tensor) -> Tensor:
        """Return the maps [N, C, H, W] that ``vectors`` [N, R] stand for."""
        return (vectors @ self.axes).view(-1, *self.centre.shape) + self.centre


@torch.no_grad()
def fit_basis(maps: Tensor, dim: int) -> Basis:
    """Return the main directions of ``maps`` [N, C, H, W] and of their mirror images, as far as these have some.

    Principal components (Pearson 1901), found in whichever is smaller, the space of examples or that of pixels.
    """
    basis = Basis(maps.shape[1:], dim)
    both = torch.cat([maps, maps.flip(3)])
    basis.centre = both.mean(0)
    deviations = (both - basis.centre).flatten(1).double()
    if len(deviations) < deviations.shape[1]:
        _, vectors = torch.linalg.eigh(deviations @ deviations.T)
        axes = vectors.flip(1)[:, :dim].T @ deviations
    else:
        _, vectors = torch.linalg.eigh(deviations.T @ deviations)
        axes = vectors.flip(1)[:, :dim].T
    fill_rows(basis.directions, basis.scales, nn.functional.normalize(axes, dim=1).float())
    return basis
