"""Thresholds of a score, from the share of known inputs that may be called unknown."""

import bisect
import math

import torch
from torch import Tensor

from mygo.errors import InputError

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""False-alarm rates for which a threshold is kept; between them it is interpolated."""


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


def check_rate(rate: float, name: str = "The share of known inputs that may be called unknown") -> None:
    """Make sure that there are thresholds for a false-alarm ``rate``, which messages call ``name``.

    Raises:
        InputError: there are none.
    """
    if not RATES[0] <= rate <= RATES[-1]:
        raise InputError(f"{name} must be from {RATES[0]} to {RATES[-1]}, not {rate}.")
