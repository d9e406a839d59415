"""Classes as Gaussians: what they recall varies as the data did, and they can be merged, taken apart and stored."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mygo.config.learner import GaussianConfig, LoadingBits
from mygo.data.examples import Examples
from mygo.memory import gaussian
from mygo.memory.gaussian import (
    ClassGaussians,
    GaussianMemory,
    fit_gaussians,
    main_directions,
    merge_gaussians,
    recall_vectors,
    to_length,
)
from mygo.memory.quality import measure_gaussians, round_to_half_, stored_bytes, stored_tensors
from mygo.networks.weights import fill, read_tensors, write_tensors
from mygo.training.process_group import SingleProcess, TorchProcessGroup
from tests.mygo.workers import together

DIM = 12


def drawn(count: int, num_classes: int = 2, seed: int = 0, dim: int = DIM) -> Examples:
    """Draw ``count`` vectors of each class around a mean of its own, along two directions more than along others."""
    centres = 3 * torch.randn(num_classes, dim, generator=torch.Generator().manual_seed(1))
    axes = torch.randn(num_classes, 2, dim, generator=torch.Generator().manual_seed(2))
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat_interleave(count)
    along, rest = torch.randn(len(labels), 2, generator=rng), torch.randn(len(labels), dim, generator=rng)
    return Examples(centres[labels] + torch.einsum("nr,nrd->nd", along, axes[labels]) + 0.3 * rest, labels)


def fitted(data: Examples, rank: int = 4, num_classes: int = 2, bits: LoadingBits = 8) -> GaussianMemory:
    return fit_gaussians(data.inputs, data.labels, num_classes, GaussianConfig(rank=rank, bits=bits), SingleProcess())


def covariance_of(memory: GaussianMemory, label: int) -> Tensor:
    """Return the covariance of a class that is kept, where what the directions leave is uncorrelated."""
    return memory.factors[label].T @ memory.factors[label] + memory.rest[label].diag()


def unscaled(memories: Sequence[GaussianMemory], label: int, count: int, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Recall a class before vectors are scaled to one length."""
    with monkeypatch.context() as patch:
        patch.setattr(gaussian, "to_length", lambda vectors: vectors)
        return ClassGaussians(memories).dream(torch.full((count,), label), (0, "look"))


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("count", [8, 400], ids=["fewer vectors than dimensions", "more"])
def test_a_class_keeps_its_mean_its_variances_and_its_main_directions(count: int) -> None:
    data = drawn(count)
    memory = fitted(data)
    for label in range(2):
        own = data.inputs[data.labels == label]
        assert torch.allclose(memory.means[label], own.mean(0), rtol=1e-3, atol=1e-4)  # to half precision
        covariance = own.T.cov()
        assert relative(covariance_of(memory, label).diag(), covariance.diag()) < 0.01
        values, axes = torch.linalg.eigh(covariance)
        lengths = memory.factors[label].norm(dim=1)
        assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)
        assert torch.allclose(lengths, values.flip(0)[:4].clamp_min(0).sqrt(), rtol=0.02, atol=1e-3)
        for found, axis in zip(memory.factors[label][:2], axes.T.flip(0), strict=False):
            assert abs(float(torch.cosine_similarity(found, axis, dim=0))) > 0.999


def test_four_bits_keep_directions_and_the_variance_of_each_dimension() -> None:
    """What they round off makes no dimension vary more or less, and is about a hundredth of the loadings (Max 1960)."""
    data = drawn(400, dim=DIM * 50)
    data.inputs[:, 7] = 0.0
    exact, coarse = fitted(data), fitted(data, bits=4)
    for label in range(2):
        varies = data.inputs[data.labels == label].var(0)
        assert relative(covariance_of(coarse, label).diag(), varies) < 0.01
        cosines = torch.cosine_similarity(coarse.factors[label, :2], exact.factors[label, :2], dim=1)
        assert cosines.min() > 0.98
        assert relative(coarse.factors[label, :2].norm(dim=1), exact.factors[label, :2].norm(dim=1)) < 0.03


@pytest.mark.parametrize("dim", [1, 6, 7])
def test_levels_are_packed_two_a_byte(dim: int) -> None:
    levels = torch.randint(16, (3, dim), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pairs = gaussian.packed(levels)
    assert pairs.shape == (3, (dim + 1) // 2)
    assert torch.equal(gaussian.unpacked(pairs)[:, :dim], levels)


def test_what_is_recalled_varies_as_the_data_did(monkeypatch: pytest.MonkeyPatch) -> None:
    data = drawn(2000)
    memory = fitted(data)
    for label in range(2):
        own = data.inputs[data.labels == label]
        recalled = unscaled([memory], label, 20_000, monkeypatch)
        assert torch.allclose(recalled.mean(0), own.mean(0), atol=0.05)
        assert relative(recalled.T.cov(), own.T.cov()) < 0.08
        assert float(recalled.T.cov().trace() / own.T.cov().trace()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("dim", "count", "num_classes"), [(4, 200, 3), (8, 200, 3), (28, 200, 3), (64, 20, 1), (64, 29, 1)]
)
def test_nothing_is_borrowed_where_own_directions_span_all_that_is_shared(
    dim: int, count: int, num_classes: int
) -> None:
    real = drawn(count, num_classes, dim=dim)
    vectors = to_length(real.inputs)
    memory = fit_gaussians(vectors, real.labels, num_classes, GaussianConfig(), SingleProcess())
    dreams = recall_vectors([memory], [400] * num_classes, (0,))
    for label in range(num_classes):
        spread = [
            part[labels == label].var(0).sum()
            for part, labels in ((vectors, real.labels), (dreams.inputs, dreams.labels))
        ]
        assert 0.7 < float(spread[1] / spread[0]) < 1.3


def test_vectors_are_recalled_at_the_length_of_all() -> None:
    dreams = recall_vectors([fitted(drawn(30))], [5, 3], (0,))
    assert dreams.labels.tolist() == [0] * 5 + [1] * 3
    assert dreams.inputs.norm(dim=1).numpy() == pytest.approx(DIM**0.5, rel=1e-5)
    assert torch.equal(recall_vectors([fitted(drawn(30))], [5, 3], (0,)).inputs, dreams.inputs)
    assert not torch.equal(recall_vectors([fitted(drawn(30))], [5, 3], (1,)).inputs, dreams.inputs)


def test_what_is_fitted_a_part_at_a_time_is_what_is_fitted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in (10, 100):
        whole = fitted(drawn(count))
        monkeypatch.setattr(gaussian, "ROWS_AT_ONCE", 7)
        parts = fitted(drawn(count))
        monkeypatch.undo()
        for label in range(2):
            assert relative(covariance_of(parts, label), covariance_of(whole, label)) < 0.01
            assert torch.allclose(parts.means, whole.means, atol=1e-3)


# -- what is odd ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 8], ids="{} bits".format)
@pytest.mark.parametrize("rank", [0, 1, 4, 40], ids="rank {}".format)
@pytest.mark.parametrize("count", [1, 2, 3, 200])
def test_any_rank_and_any_number_of_examples_are_remembered_and_recalled(
    rank: int, count: int, bits: LoadingBits
) -> None:
    data = drawn(count)
    memory = fitted(data, rank, bits=bits)
    for label in range(2):
        own = data.inputs[data.labels == label]
        variance = own.var(0) if count > 1 else torch.zeros(DIM)
        found = covariance_of(memory, label).diag()
        assert float((found - variance).norm()) <= 0.02 * float(variance.norm())
    dreams = recall_vectors([memory], [3, 3], (0,))
    assert dreams.inputs.isfinite().all()
    if count == 1:
        assert torch.allclose(dreams.inputs[:3], to_length(data.inputs[:1]).expand(3, -1), atol=5e-3)


def test_a_single_example_beside_a_class_of_many_is_recalled_as_it_is() -> None:
    many = drawn(100)
    data = Examples.concatenate([many[many.labels == 0], many[many.labels == 1][:1]])
    dreams = recall_vectors([fitted(data)], [50, 4], (0,))
    assert torch.allclose(dreams.inputs[50:], to_length(data.inputs[-1:]).expand(4, -1), atol=5e-3)
    assert dreams.inputs[:50].std(0).min() > 0.05


def test_main_axes_are_found_where_float32_does_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    """As LAPACK did not on a covariance of 20 different examples, each 225 times."""
    rows = drawn(20, 1, dim=64).inputs.repeat(225, 1)
    deviations = (rows - rows.mean(0)) / len(rows) ** 0.5
    covariance = deviations.T @ deviations
    expected = gaussian.main_axes(covariance, 5)
    eigh = torch.linalg.eigh

    def fails_in_float32(matrix: Tensor) -> tuple[Tensor, Tensor]:
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("it does not converge")
        return eigh(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", fails_in_float32)
    values, axes = gaussian.main_axes(covariance, 5)
    assert torch.allclose(values, expected[0], rtol=1e-4)
    assert torch.allclose((axes * expected[1]).sum(1).abs(), torch.ones(5), atol=1e-3)
    assert values.dtype == axes.dtype == torch.float32


def test_features_that_never_vary_are_recalled_as_constants() -> None:
    data = drawn(100)
    data.inputs[:, 3], data.inputs[:, 7] = 0.0, 1.0
    memory = fitted(data)
    assert memory.rest[:, [3, 7]].abs().max() == 0
    assert memory.factors[:, :, [3, 7]].abs().max() == 0
    recalled = recall_vectors([memory], [100, 100], (0,)).inputs
    assert recalled[:, 3].abs().max() < 1e-5
    assert (recalled[:, 7] > 0).all()


@pytest.mark.parametrize("bits", [4, 8])
def test_features_that_hardly_vary_do_not_disturb_the_others(bits: LoadingBits) -> None:
    data = drawn(100)
    expected = fitted(data, bits=bits)
    data.inputs[:, 3], data.inputs[:, 7] = 1e-6 * data.inputs[:, 3], 3e-4 * data.inputs[:, 7]
    memory = fitted(data, bits=bits)
    others = [place for place in range(DIM) if place not in (3, 7)]
    for label in range(2):
        found, wanted = (covariance_of(each, label)[others][:, others] for each in (memory, expected))
        assert relative(found, wanted) < (0.25 if bits == 4 else 0.1), "rank 4 leaves something out in both"
        own = data.inputs[data.labels == label]
        assert relative(covariance_of(memory, label).diag(), own.var(0)) < 0.01
    assert recall_vectors([memory], [5, 5], (0,)).inputs.isfinite().all()


def test_directions_of_no_variance_are_none() -> None:
    factors, rest = main_directions(torch.zeros(3, DIM), 2)
    assert factors.shape == (2, DIM)
    assert not factors.any()
    assert not rest.any()


# -- merged and taken apart -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(40, 40), (200, 5), (1, 60), (1, 1)])
def test_two_merged_are_one_of_all_examples(counts: tuple[int, int]) -> None:
    """Up to what the rank cuts off and what bytes round; rank 12 cuts off nothing."""
    first, second = drawn(counts[0], seed=5), drawn(counts[1], seed=6)
    second = Examples(second.inputs + 0.7, second.labels)
    together = fitted(Examples.concatenate([first, second]), DIM)
    merged = merge_gaussians(fitted(first, DIM), fitted(second, DIM), [counts[0]] * 2, [counts[1]] * 2)
    assert torch.allclose(merged.means, together.means, atol=5e-3)
    for label in range(2):
        share = sum(counts) / (sum(counts) - 1)  # what is merged is not corrected for the mean's own deviation
        expected = covariance_of(together, label) / share
        assert relative(covariance_of(merged, label), expected) < 0.03


def test_a_merge_that_brings_nothing_changes_nothing() -> None:
    old = fitted(drawn(50))
    merged = merge_gaussians(old, GaussianMemory(2, DIM, 4), [50, 50], [0, 0])
    assert all(torch.equal(value, old.state_dict()[name]) for name, value in merged.state_dict().items())


def test_classes_are_dropped_without_a_trace_and_the_others_stay_to_the_bit() -> None:
    memory = fitted(drawn(50, 3), num_classes=3)
    before = {name: value.clone() for name, value in memory.state_dict().items()}
    memory.keep_classes([0, 2])
    assert memory.num_classes == 2
    for name, value in memory.state_dict().items():
        assert torch.equal(value, before[name][[0, 2]])
        assert value.untyped_storage().nbytes() == value.nbytes, "no byte of what is forgotten lies behind a view"


# -- stored -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("rank", [0, 4])
def test_a_memory_is_used_as_it_is_stored(tmp_path: Path, rank: int, bits: LoadingBits) -> None:
    memory = fitted(drawn(60), rank, bits=bits)
    kept = stored_tensors(memory)
    assert {value.dtype for value in kept.values()} == {torch.uint8, torch.float16}
    assert stored_bytes(memory) == 2 * (DIM * 2 + rank * DIM * bits // 8 + rank * 2 + DIM * 2)
    file = write_tensors(tmp_path, "memory-0", kept)
    opened = fill(lambda: GaussianMemory(2, DIM, rank, bits), read_tensors(tmp_path, file), torch.half)
    rounded = memory
    round_to_half_(rounded)
    for other in (opened, rounded):
        assert all(torch.equal(value, memory.state_dict()[name]) for name, value in other.state_dict().items())
        assert torch.equal(recall_vectors([other], [9, 9], (0,)).inputs, recall_vectors([memory], [9, 9], (0,)).inputs)


def test_the_memory_of_a_class_has_room_for_its_teacher_in_48_kilobytes() -> None:
    assert stored_bytes(GaussianMemory(1, 1280, GaussianConfig().rank)) + 2 * 1281 <= 48_000


# -- quality ----------------------------------------------------------------------------------------------------------


def teacher_of(data: Examples) -> torch.nn.Linear:
    """Return a head that names the nearest mean."""
    means = torch.stack([data.inputs[data.labels == label].mean(0) for label in range(2)])
    head = torch.nn.Linear(DIM, 2)
    with torch.no_grad():
        head.weight.copy_(means)
        head.bias.copy_(-means.square().sum(1) / 2)
    return head.requires_grad_(False)


def test_a_memory_that_repeats_examples_is_found() -> None:
    data = drawn(300)
    data = Examples(to_length(data.inputs), data.labels)
    good = measure_gaussians(fitted(data), teacher_of(data), data, (0,), SingleProcess())
    assert good.label_fidelity > 0.95
    assert good.diversity == pytest.approx(1, abs=0.2)
    assert good.nearest_neighbour_ratio == pytest.approx(1, abs=0.25)
    assert good.frechet_distance < 0.05

    one_each = Examples(data.inputs[[0, 300]], data.labels[[0, 300]])
    repeats = measure_gaussians(fitted(one_each), teacher_of(data), data, (0,), SingleProcess())
    assert repeats.nearest_neighbour_ratio < 0.05
    assert repeats.diversity < 0.01


# -- workers ----------------------------------------------------------------------------------------------------------


def fit_together(group: TorchProcessGroup, out: Path) -> None:
    data = drawn(30, 3)
    memory = fit_gaussians(data.inputs, data.labels, 3, GaussianConfig(rank=4), group)
    torch.save(memory.state_dict(), out / f"{group.rank}.pt")


def test_two_workers_fit_what_one_fits_to_the_bit(tmp_path: Path) -> None:
    alone = fitted(drawn(30, 3), num_classes=3).state_dict()
    together(fit_together, 2, tmp_path)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert all(torch.equal(value, alone[name]) for name, value in found.items())
        assert found["loadings"].dtype == torch.uint8
