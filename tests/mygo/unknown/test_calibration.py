import pytest
import torch
from torch.nn import functional as F

from mygo.training.process_group import SingleProcess
from mygo.unknown.calibration import BINS, Reliability, expected_calibration_error, fit_temperature


def test_the_error_of_a_case_counted_by_hand() -> None:
    # Two bins: three predictions at 0.9 of which two are right, and one at 0.6 that is right.
    probabilities = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.4, 0.6]])
    counted = Reliability()
    counted.add(probabilities.log(), torch.tensor([0, 1, 1, 1]))
    assert counted.error(SingleProcess()) == pytest.approx((3 * abs(2 / 3 - 0.9) + abs(1 - 0.6)) / 4)


def test_a_bin_has_its_upper_bound_and_the_last_one_certainty() -> None:
    counted = Reliability()
    counted.add(torch.tensor([[60.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0]))
    assert counted.bins[BINS - 1].tolist() == [1.0, 1.0, 1.0]
    assert counted.bins[BINS // 2, 0] == 1
    assert expected_calibration_error(torch.zeros(BINS, 3)) == 0


def test_logits_are_counted_at_their_temperature_and_in_any_parts() -> None:
    rng = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(50, 4, generator=rng), torch.randint(4, (50,), generator=rng)
    whole, parts = Reliability(0.5), Reliability(0.5)
    whole.add(logits, labels)
    for some in torch.arange(50).split(7):
        parts.add(logits[some], labels[some])
    divided = Reliability()
    divided.add(logits / 0.5, labels)
    torch.testing.assert_close(whole.bins, parts.bins)
    torch.testing.assert_close(whole.bins, divided.bins)


@pytest.mark.parametrize("scale", [0.05, 0.4, 1.0, 7.0])
def test_the_temperature_takes_back_what_logits_were_multiplied_by(scale: float) -> None:
    rng = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(4000, 5, generator=rng)
    labels = torch.multinomial(logits.softmax(1), 1, generator=rng).squeeze(1)
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale * fit_temperature(logits, labels), rel=1e-4)
    assert fit_temperature(logits, labels) == pytest.approx(1, rel=0.05)


def test_no_other_temperature_gives_less_cross_entropy() -> None:
    rng = torch.Generator().manual_seed(1)
    logits, labels = 3 * torch.randn(500, 6, generator=rng), torch.randint(6, (500,), generator=rng)
    labels[:300] = logits[:300].argmax(1)
    found = fit_temperature(logits, labels)
    losses = [float(F.cross_entropy(logits.double() / t, labels)) for t in (found * 0.99, found, found * 1.01)]
    assert losses[1] == min(losses)


def test_what_is_always_right_or_never_has_a_temperature_within_bounds() -> None:
    logits = torch.eye(3).repeat(4, 1)
    right = torch.arange(3).repeat(4)
    assert fit_temperature(logits, right) == pytest.approx(0.01, rel=1e-4)
    assert fit_temperature(logits, (right + 1) % 3) == pytest.approx(100, rel=1e-4)
    assert 0.01 <= fit_temperature(torch.zeros(12, 3), right) <= 100
