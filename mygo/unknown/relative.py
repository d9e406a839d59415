"""The relative Mahalanobis distance, from the means and the covariance that classes share."""

import torch
from torch import Tensor, nn

from mygo.memory.gaussian import LEAST_VARIANCE


class RelativeMahalanobis(nn.Module):
    """How much farther an input is from each of K classes than from all of them taken as one Gaussian.

    Source: Ren et al. 2021, A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection, arXiv:2106.09022.
    Classes have means μₖ and share the covariance S; together they have the mean μ and the covariance S + B, where B is
    that of the means. What is left of the difference of both squared distances lies in the directions in which classes
    differ (Woodbury's identity), so that the K numbers gₖ = (μₖ − μ)ᵀ S⁻¹ (x − μ) say all of it:

        dₖ(x) = gᵀ (K I + A)⁻¹ g − 2 gₖ + Aₖₖ,  with A = M S⁻¹ Mᵀ, and the rows μₖ − μ in M.

    Buffers: ``weights`` [K, D] and ``biases`` [K], which give g; ``inner`` [K, K], (K I + A)⁻¹; ``offsets`` [K], Aₖₖ.
    """

    weights: Tensor
    biases: Tensor
    inner: Tensor
    offsets: Tensor

    def __init__(self, num_classes: int, feature_dim: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(num_classes, feature_dim))
        self.register_buffer("biases", torch.zeros(num_classes))
        self.register_buffer("inner", torch.zeros(num_classes, num_classes))
        self.register_buffer("offsets", torch.zeros(num_classes))

    @classmethod
    @torch.no_grad()
    def of(cls, means: Tensor, covariance: Tensor, shrinkage: float) -> "RelativeMahalanobis":
        """Return the distance for classes with ``means`` [K, D] that share a ``covariance`` [D, D].

        By ``shrinkage``, from 0 to 1, the covariance is moved to that of dimensions which vary alike and apart.
        """
        found = cls(*means.shape)
        mean, dim = means.mean(0), means.shape[1]
        alike = covariance.diagonal().mean().clamp_min(LEAST_VARIANCE) * torch.eye(dim)
        centred = means - mean
        weights = torch.linalg.solve(torch.lerp(covariance, alike, shrinkage), centred.T).T
        between = centred @ weights.T
        found.weights.copy_(weights)
        found.biases.copy_(-(weights @ mean))
        found.inner.copy_(torch.linalg.inv(len(means) * torch.eye(len(means)) + between))
        found.offsets.copy_(between.diagonal())
        return found

    def forward(self, vectors: Tensor) -> Tensor:
        """Return dₖ [N, K] of ``vectors`` [N, D]."""
        along = vectors @ self.weights.T + self.biases
        distances: Tensor = ((along @ self.inner) * along).sum(1, keepdim=True) - 2 * along + self.offsets
        return distances


def likelihood_ratio(distances: Tensor) -> Tensor:
    """Return what `RelativeMahalanobis` says of each class, [N, K], as one number, [N]: high is far from all classes.

    It is −2 times the logarithm of how much likelier an input is under the mixture of the classes than under the one
    Gaussian, but for a constant. Where one class is much the nearest, it is the distance to that.
    """
    return -2 * torch.logsumexp(-distances / 2, 1)
