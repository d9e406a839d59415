import pytest
import torch
from torch import Tensor

from mygo.memory.gaussian import ClassGaussians, GaussianMemory
from mygo.memory.plane import Plane, discriminant_plane


def memory_of(means: Tensor, deviations: Tensor) -> GaussianMemory:
    """Return classes around ``means`` [K, D], all with the standard ``deviations`` [D] and nothing besides."""
    memory = GaussianMemory(len(means), means.shape[1], 1)
    for label, mean in enumerate(means):
        memory.set_class(label, mean, torch.zeros(1, means.shape[1]), deviations.square())
    return memory


def plane_of(means: Tensor, deviations: Tensor) -> Plane:
    return discriminant_plane(ClassGaussians([memory_of(means, deviations)]))


def test_means_lie_apart_in_units_of_what_classes_vary() -> None:
    """The two directions in which classes differ least in numbers, but most beside how much they vary, are found."""
    means = torch.zeros(3, 6)
    means[:, 0] = torch.tensor([-20.0, 0.0, 20.0])  # far, and lost in noise
    means[1, 1] = means[2, 2] = 2.0
    deviations = torch.tensor([100.0, 0.1, 0.2, 1.0, 1.0, 1.0])
    plane = plane_of(means, deviations)
    assert plane.axes.shape == (6, 2)
    along = plane.axes.abs() / plane.axes.abs().amax(0)
    assert along[0].max() < 0.05
    assert (along[1:3].amax(0) == 1).all()
    inside = plane.of(means[0] + torch.randn(2000, 6, generator=torch.Generator().manual_seed(0)) * deviations)
    assert (inside.std(0) < 1.1).all()


@pytest.mark.parametrize("classes", [1, 2, 3, 7])
def test_any_number_of_classes_has_a_plane_and_always_the_same_one(classes: int) -> None:
    rng = torch.Generator().manual_seed(classes)
    means, deviations = torch.randn(classes, 5, generator=rng), torch.rand(5, generator=rng) + 0.1
    plane, again = plane_of(means, deviations), plane_of(means, deviations)
    assert torch.equal(plane.axes, again.axes)
    assert torch.linalg.matrix_rank(plane.axes) == 2
    assert plane.of(means).mean(0).abs().max() < 0.01
    other = plane_of(means.flip(0), deviations)
    assert torch.allclose(plane.axes, other.axes, atol=0.01), "nor does the order of classes matter"


def test_classes_that_never_vary_have_a_plane() -> None:
    plane = plane_of(torch.eye(3, 4), torch.zeros(4))
    assert plane.of(torch.eye(3, 4)).isfinite().all()


def test_some_classes_of_several_memories_are_a_memory() -> None:
    memories = [memory_of(torch.eye(2, 4) * scale, torch.full((4,), float(scale))) for scale in (1, 2)]
    some = GaussianMemory.of_classes(memories, torch.tensor([1, 2]))
    assert some.num_classes == 2
    assert torch.equal(some.means, torch.stack([memories[0].means[1], memories[1].means[0]]))
    assert torch.equal(some.rest, torch.tensor([[1.0] * 4, [4.0] * 4]))
    some.means.zero_()
    assert memories[0].means[1].sum() == 1, "it is a copy"
