"""Tests of drift on exact Gaussians, where what they must say is known."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from mygo.unlabelled.drift import MovedMeans, Reference, both, holm, p_of_strange
from mygo.unlabelled.knowledge import class_mix

MEANS = 1.5 * torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
MIX = torch.tensor([0.4, 0.3, 0.2, 0.1])


def inputs_of(count: int, seed: int, means: Tensor = MEANS, mix: Tensor = MIX) -> Tensor:
    """Return draws of a mixture of Gaussians whose scatter is 1, [count, 12]."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(mix, count, replacement=True, generator=rng)
    return means[labels] + torch.randn(count, means.shape[1], generator=rng)


def probabilities_of(inputs: Tensor) -> Tensor:
    """Return those of classes with `MEANS` that are as frequent, [N, 4]."""
    return (-(torch.cdist(inputs, MEANS) ** 2) / 2).softmax(1)


def moved(inputs: Tensor) -> MovedMeans:
    _, posterior = class_mix(probabilities_of(inputs))
    return MovedMeans(inputs, MEANS, posterior, torch.full((4,), 1e9), freedom=12.0)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_the_mix_of_classes_is_recovered_though_they_overlap() -> None:
    mix, posterior = class_mix(probabilities_of(inputs_of(20_000, 0)))
    assert torch.allclose(mix, MIX, atol=0.01)
    assert torch.allclose(posterior.sum(1), torch.ones(20_000), atol=1e-5)
    assert torch.allclose(posterior.mean(0), mix, atol=1e-3)


def test_pairs_of_inputs_sum_up_to_the_squared_scores() -> None:
    test = moved(inputs_of(50, 3))
    scores = test.posterior.T @ test.inputs - test.counts[:, None] * test.means
    pairs = test.pairs()
    assert float(pairs.sum()) == pytest.approx(float(scores.square().sum()), rel=1e-4)
    assert float(pairs.trace()) == pytest.approx(float(test.with_themselves.sum()), rel=1e-4)


def test_the_score_of_means_that_did_not_move_is_nothing_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mygo.unlabelled.drift.TOLERANCE", 0.0)
    found = torch.stack(
        [test.excess() / test.with_themselves for test in (moved(inputs_of(200, n)) for n in range(300))]
    )
    error = found.std(0) / 300**0.5
    assert bool((found.mean(0).abs() < 3 * error).all())


def test_p_values_of_unchanged_inputs_are_uniform_and_those_of_moved_ones_are_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mygo.unlabelled.drift.TOLERANCE", 0.0)
    same = torch.tensor([moved(inputs_of(150, seed)).p_value(rng()) for seed in range(400)])
    for share in (0.05, 0.2, 0.5, 0.8):
        assert float((same < share).float().mean()) == pytest.approx(
            share, abs=3.5 * (share * (1 - share) / 400) ** 0.5
        )
    shifted = MEANS + torch.tensor([0.5, 0, 0, 0])[:, None] * torch.ones(4, 12)
    away = torch.tensor([moved(inputs_of(150, seed, shifted)).p_value(rng()) for seed in range(100)])
    assert float((away < 0.05).float().mean()) > 0.9


def test_another_mix_of_classes_is_no_drift_of_their_means() -> None:
    mixes = [torch.tensor([0.1, 0.1, 0.1, 0.7]), torch.tensor([0.25, 0.25, 0.25, 0.25])]
    p_values = [moved(inputs_of(150, seed, mix=mix)).p_value(rng()) for mix in mixes for seed in range(100)]
    assert sum(p < 0.05 for p in p_values) <= 20


def test_the_class_whose_mean_moved_is_found_and_one_with_few_inputs_has_no_value() -> None:
    shifted = MEANS.clone()
    shifted[1] += 0.6
    values = moved(inputs_of(400, 5, shifted, torch.tensor([0.5, 0.5, 1e-9, 1e-9]))).p_of_classes()
    assert values[1] is not None
    assert values[1] < 1e-3
    assert values[0] is not None
    assert values[0] > 0.01
    assert values[2:] == [None, None]


def test_the_error_of_a_mean_that_few_examples_gave_counts() -> None:
    rng_ = torch.Generator().manual_seed(0)
    found = []
    for seed in range(100):
        off = MEANS + torch.randn(4, 12, generator=rng_) / 20**0.5
        inputs = inputs_of(200, seed)
        _, posterior = class_mix((-(torch.cdist(inputs, off) ** 2) / 2).softmax(1))
        found.append(MovedMeans(inputs, off, posterior, torch.full((4,), 20.0), 12.0).p_value(rng()))
    assert sum(p < 0.05 for p in found) <= 13


def test_strange_inputs_are_told_from_the_lessons_with_the_error_of_both_means() -> None:
    draws, mix = torch.Generator().manual_seed(0), torch.tensor([0.5, 0.5])
    p_values = []
    for _ in range(400):
        held = torch.rand(2, 40, generator=draws)
        references = [Reference(40, float(each.mean()), float(each.var())) for each in held]
        p_values.append(p_of_strange(torch.rand(100, generator=draws), mix, references))
    assert sum(p < 0.05 for p in p_values) / 400 == pytest.approx(0.05, abs=0.04)
    exact = [Reference(10**9, 0.5, 1 / 12)] * 2
    expected = float(Normal(0, 1).cdf(torch.tensor(-0.05 / (1 / 12 / 100) ** 0.5)))
    inputs = torch.rand(100, generator=draws)
    inputs = (inputs - inputs.mean()) / inputs.std() * (1 / 12) ** 0.5 + 0.55
    assert p_of_strange(inputs, mix, exact) == pytest.approx(expected, rel=1e-2)


def test_p_values_are_put_together() -> None:
    assert both(0.5, 0.5) == pytest.approx(0.5)
    assert both(0.05, 0.05) == pytest.approx(0.01, abs=0.001)
    assert holm([0.01, None, 0.04, 0.03]) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]
