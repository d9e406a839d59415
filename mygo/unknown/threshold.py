"""Thresholds of a score, from the share of known inputs that may be called unknown."""

import bisect
import math

import torch
from torch import Tensor

from mygo.unknown.rates import RATES, check_rate


def thresholds_of(scores: Tensor) -> Tensor:
    """Return for each of `RATES` the score, float32 [R], that this share of the ``scores`` [N] of known inputs exceeds.

    The higher a score, the less an input looks like what is known.
    """
    return scores.double().quantile(1 - torch.tensor(RATES, dtype=torch.float64, device=scores.device)).float()


def threshold_at(thresholds: Tensor, rate: float) -> float:
    """Return the threshold for a false-alarm ``rate``, from those that `thresholds_of` returned.

    Between two of `RATES` it is linear in the logarithm of the rate.

    Raises:
        InputError: the rate lies outside of `RATES`.
    """
    check_rate(rate)
    above = max(1, bisect.bisect_left(RATES, rate))
    share = math.log(rate / RATES[above - 1]) / math.log(RATES[above] / RATES[above - 1])
    low, high = (float(each) for each in thresholds[above - 1 : above + 1])
    return low + share * (high - low)
