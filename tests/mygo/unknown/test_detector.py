import pytest
import torch
from torch import Tensor

from mygo.unknown.calibration import fit_temperature
from mygo.unknown.detector import ENERGY_SHARE, UnknownDetector
from mygo.unknown.rates import RATES
from mygo.unknown.relative import RelativeMahalanobis, likelihood_ratio

DIM, CLASSES = 6, 4


def known(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return vectors around the means of classes, logits that tell them apart, and labels."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=rng)
    vectors = 3 * torch.eye(CLASSES, DIM)[labels] + torch.randn(count, DIM, generator=rng)
    return vectors, vectors[:, :CLASSES], labels


@pytest.fixture
def detector() -> UnknownDetector:
    found = UnknownDetector(RelativeMahalanobis.of(3 * torch.eye(CLASSES, DIM), torch.eye(DIM), 0.0))
    found.fit(*known(5000, 0))
    return found


def test_it_calls_as_many_known_inputs_unknown_as_wanted(detector: UnknownDetector) -> None:
    vectors, logits, _ = known(5000, 1)
    for rate, threshold in zip(RATES, detector.thresholds, strict=True):
        called = float((detector(vectors, logits) > threshold).double().mean())
        assert called == pytest.approx(rate, abs=3 * (rate / 5000) ** 0.5 + 3e-4)


def test_it_finds_what_lies_between_the_classes(detector: UnknownDetector) -> None:
    vectors, logits, _ = known(500, 2)
    between = 0.5 * torch.randn(500, DIM, generator=torch.Generator().manual_seed(3))
    of_known, of_others = detector(vectors, logits), detector(between, between[:, :CLASSES])
    assert float((of_known[:, None] < of_others).double().mean()) > 0.95


def test_the_score_adds_distance_and_energy_in_deviations_from_what_is_known(detector: UnknownDetector) -> None:
    vectors, logits, labels = known(5000, 0)
    parts = likelihood_ratio(detector.relative(vectors)), -logits.logsumexp(1)
    distance, energy = ((part - part.mean()) / part.std() for part in parts)
    expected = (1 - ENERGY_SHARE) * distance + ENERGY_SHARE * energy
    torch.testing.assert_close(detector(vectors, logits), expected, rtol=1e-4, atol=1e-4)
    assert float(detector.temperature) == pytest.approx(fit_temperature(logits, labels))


def test_it_is_read_back_as_it_was_saved(detector: UnknownDetector) -> None:
    tensors = detector.state_dict()
    again = UnknownDetector.of_tensors(tensors, CLASSES, DIM)
    with pytest.raises(ValueError, match="not those of its network"):
        UnknownDetector.of_tensors(tensors, CLASSES, DIM + 1)
    vectors, logits, _ = known(50, 4)
    assert torch.equal(again(vectors, logits), detector(vectors, logits))
    assert again.feature_dim == DIM


def test_scores_are_finite_where_all_known_inputs_are_the_same() -> None:
    found = UnknownDetector(RelativeMahalanobis.of(torch.eye(2), torch.zeros(2, 2), 0.5))
    vectors = torch.eye(2).repeat_interleave(10, 0)
    found.fit(vectors, vectors, torch.arange(2).repeat_interleave(10))
    assert found(torch.randn(9, 2), torch.randn(9, 2)).isfinite().all()
