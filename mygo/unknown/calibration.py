"""Calibration: a temperature that makes confidence mean what it says, and how far it is from that."""

import torch
from torch import Tensor

from mygo.training.process_group import ProcessGroup

BINS = 15
"""Bins of confidence, as Guo et al. 2017 have them."""
HOTTEST = 100.0
"""The largest temperature, and one over the smallest."""
CLOSE = 1e-6
"""The relative change of an inverse temperature at which the search ends."""
MOST_ITERATIONS = 200


@torch.no_grad()
def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature T at which softmax(logits / T) has the least cross-entropy with ``labels``.

    Source: Guo et al. 2017, On Calibration of Modern Neural Networks, arXiv:1706.04599. The cross-entropy is convex in
    1 / T, so that Newton's method within a bracket finds the least.

    Args:
        logits: [N, K].
        labels: int64 [N].
    """
    exact = logits.double()
    own = exact.gather(1, labels[:, None]).mean()
    low, inverse, high = 1 / HOTTEST, 1.0, HOTTEST
    for _ in range(MOST_ITERATIONS):
        probabilities = (inverse * exact).softmax(1)
        means = (probabilities * exact).sum(1)
        slope = float(means.mean() - own)
        curvature = float(((probabilities * exact.square()).sum(1) - means.square()).mean())
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        best = inverse - slope / curvature if curvature > 0 else high
        found = best if low < best < high else (low + high) / 2
        if abs(found - inverse) < CLOSE * inverse:
            break
        inverse = found
    return 1 / inverse


class Reliability:
    """How often predictions are right, by how sure they are: counted as inputs are evaluated, some at a time."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature
        """Of the probabilities."""
        self.bins = torch.zeros(BINS, 3, dtype=torch.float64)
        """For each bin of confidence, from low to high: predictions, right ones, and the sum of their confidence."""

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count the most probable class for ``logits`` [N, K], where ``labels`` [N] are true."""
        confidence, taken = (logits.double() / self.temperature).softmax(1).max(1)
        # A bin has its upper bound, not its lower one.
        place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
        rows = torch.stack([torch.ones_like(confidence), (taken == labels).double(), confidence], 1)
        self.bins.index_add_(0, place, rows)

    def error(self, group: ProcessGroup) -> float:
        """Return the expected calibration error of what all ranks of ``group`` counted; 0 of nothing."""
        return expected_calibration_error(group.sum(self.bins))


def expected_calibration_error(bins: Tensor) -> float:
    """Return the mean over all predictions of how far their bin's accuracy is from its mean confidence.

    Source: Naeini et al. 2015, Obtaining Well Calibrated Probabilities Using Bayesian Binning.

    Args:
        bins: [B, 3], as `Reliability` has them.
    """
    counts, right, confidence = bins.unbind(1)
    return float((right - confidence).abs().sum() / counts.sum().clamp_min(1))
