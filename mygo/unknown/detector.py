"""What a life knows of its limits after a sleep: a score of inputs, its thresholds, and a temperature."""

import functools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mygo.networks.weights import fill
from mygo.unknown.calibration import fit_temperature
from mygo.unknown.rates import RATES
from mygo.unknown.relative import RelativeMahalanobis, likelihood_ratio
from mygo.unknown.threshold import thresholds_of

ENERGY_SHARE = 0.6
"""How much the energy of the network's answers weighs in the score; the relative Mahalanobis distance has the rest."""
LEAST_SPREAD = 1e-6
"""What a part of the score is divided by where it is the same for all dreams."""


class UnknownDetector(nn.Module):
    """The out-of-distribution score of inputs, from how far they are from all classes and how sure the network is.

    Both are measured in standard deviations from their means over dreams: the relative Mahalanobis distance, and the
    energy −log Σ exp(logits) (Liu et al. 2020, Energy-based Out-of-distribution Detection, arXiv:2010.03759).

    Buffers: those of ``relative``; ``scales`` [2, 2], mean and deviation of the distance and of the energy;
    ``thresholds`` [R], the scores that the shares `RATES` of known inputs exceed; ``temperature`` [], at which the
    network's probabilities are calibrated.
    """

    scales: Tensor
    thresholds: Tensor
    temperature: Tensor

    def __init__(self, relative: RelativeMahalanobis) -> None:
        super().__init__()
        self.relative = relative
        self.register_buffer("scales", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        self.register_buffer("thresholds", torch.zeros(len(RATES)))
        self.register_buffer("temperature", torch.tensor(1.0))

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor], num_classes: int, feature_dim: int) -> "UnknownDetector":
        """Return the one of so many classes, for vectors [N, ``feature_dim``], whose state was saved as ``tensors``.

        Raises:
            LookupError, ValueError: they are not those of one.
        """
        blank = functools.partial(cls, RelativeMahalanobis(num_classes, feature_dim))
        return fill(blank, dict(tensors)).requires_grad_(False)

    @property
    def feature_dim(self) -> int:
        """The values of a vector that it takes."""
        return self.relative.weights.shape[1]

    @torch.no_grad()
    def fit(self, vectors: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Fit scales, thresholds and temperature to known inputs of the classes ``labels`` [N].

        Args:
            vectors: [N, D], as `forward` takes them.
            logits: [N, K], what the network says of them.
            labels: int64 [N].
        """
        for row, part in zip(self.scales, self._parts(vectors, logits), strict=True):
            row.copy_(torch.stack([part.mean(), part.std().clamp_min(LEAST_SPREAD)]))
        self.thresholds.copy_(thresholds_of(self(vectors, logits)))
        self.temperature.fill_(fit_temperature(logits, labels))

    def forward(self, vectors: Tensor, logits: Tensor) -> Tensor:
        """Return the out-of-distribution score [N] of ``vectors`` [N, D] with ``logits`` [N, K]; high is unknown."""
        shares = 1 - ENERGY_SHARE, ENERGY_SHARE
        parts = zip(shares, self._parts(vectors, logits), self.scales.unbind(), strict=True)
        standardised = [share * (part - scale[0]) / scale[1] for share, part, scale in parts]
        return standardised[0] + standardised[1]

    def _parts(self, vectors: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        return likelihood_ratio(self.relative(vectors)), -torch.logsumexp(logits, 1)
