"""A plane in which the classes that memories hold lie apart: a map of vectors for the eye."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mygo.memory.gaussian import LEAST_VARIANCE, SHRINKAGE, ClassGaussians, eigen


@dataclass(frozen=True)
class Plane:
    """Two directions through the middle of all class means."""

    centre: Tensor
    """[D]"""
    axes: Tensor
    """[D, 2]"""

    def of(self, vectors: Tensor) -> Tensor:
        """Return where ``vectors`` [N, D] lie, [N, 2]."""
        return (vectors - self.centre) @ self.axes


@torch.no_grad()
def discriminant_plane(gaussians: ClassGaussians) -> Plane:
    """Return the plane in which the means of all classes lie apart best, against the covariance that they share.

    Source: Fisher's discriminants for several classes (Rao 1948), whose first two are taken. Within a class the
    deviation along each is about 1. Two classes have one such direction, and one class has none; the main directions of
    the shared covariance stand in. Nothing is drawn at random, and signs are set, so the same memories give the same
    plane.
    """
    covariance = gaussians.shared_covariance().double()
    added = SHRINKAGE * covariance.diagonal().mean().clamp_min(LEAST_VARIANCE)
    root = torch.linalg.cholesky(covariance + added * torch.eye(len(covariance), dtype=covariance.dtype))
    centre = gaussians.means.double().mean(0)
    apart = torch.linalg.solve_triangular(root, (gaussians.means.double() - centre).T, upper=False)
    directions = torch.linalg.svd(apart, full_matrices=False)[0][:, : min(2, gaussians.num_classes - 1)]
    if directions.shape[1] < 2:
        main = eigen(covariance)[1][:, -2:].flip(1)
        stand_in = torch.linalg.solve_triangular(root, main, upper=False)
        directions = torch.linalg.qr(torch.cat([directions, stand_in], 1))[0][:, :2]
    axes = torch.linalg.solve_triangular(root.T, directions, upper=True)
    largest = axes.abs().argmax(0)
    axes = axes * axes[largest, torch.arange(2)].sign()
    return Plane(centre.float(), axes.float())
