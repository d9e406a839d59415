import pytest
import torch

from mygo.errors import InputError
from mygo.unknown.rates import RATES
from mygo.unknown.threshold import threshold_at, thresholds_of


def test_the_wanted_share_of_what_it_was_fitted_to_is_above_a_threshold() -> None:
    scores = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    thresholds = thresholds_of(scores)
    for rate in RATES:
        assert float((scores > threshold_at(thresholds, rate)).double().mean()) == pytest.approx(rate, abs=2e-4)


def test_between_two_rates_it_is_linear_in_the_logarithm() -> None:
    thresholds = torch.arange(len(RATES), 0, -1).float()
    place = RATES.index(0.05)
    assert threshold_at(thresholds, 0.05) == thresholds[place]
    assert threshold_at(thresholds, 0.05 * 2**0.5) == pytest.approx(float(thresholds[place]) - 0.5)
    assert threshold_at(thresholds, RATES[0]) == thresholds[0]
    assert threshold_at(thresholds, RATES[-1]) == thresholds[-1]


def test_between_two_rates_the_share_is_between_too() -> None:
    scores = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    for rate in (0.007, 0.03, 0.07, 0.3):
        assert float((scores > threshold_at(thresholds_of(scores), rate)).double().mean()) == pytest.approx(
            rate, rel=0.15
        )


@pytest.mark.parametrize("rate", [0.0, -1.0, 0.0009, 0.51, float("nan")])
def test_a_share_without_a_threshold_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match=r"must be from 0\.001 to 0\.5, not"):
        threshold_at(torch.zeros(len(RATES)), rate)
