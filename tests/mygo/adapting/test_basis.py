import pytest
import torch
from torch import Tensor

from mygo.adapting.basis import fit_basis
from mygo.adapting.pictures import picture


def flat_maps(count: int, directions: int = 6) -> Tensor:
    """Draw maps that vary along a few directions, which mirrored are of the same kind."""
    rng = torch.Generator().manual_seed(0)
    axes = torch.randn(directions, 4, 3, 3, generator=rng)
    axes = torch.cat([axes, axes.flip(3)])
    return 2 + torch.einsum("nr,rchw->nchw", torch.randn(count, len(axes), generator=rng), axes)


@pytest.mark.parametrize("count", [15, 200])
def test_maps_that_lie_in_a_basis_come_back_from_it(count: int) -> None:
    maps = flat_maps(count)
    basis = fit_basis(maps, 12)
    axes = basis.axes
    torch.testing.assert_close(axes @ axes.T, torch.eye(12), rtol=0, atol=0.03)
    vectors = basis.project(maps)
    assert vectors.shape == (count, 12)
    torch.testing.assert_close(basis.expand(vectors), maps, rtol=0, atol=0.1)


def test_the_first_directions_say_most() -> None:
    maps = flat_maps(200)
    left = [
        float((fit := fit_basis(maps, dim)).expand(fit.project(maps)).sub(maps).square().mean()) for dim in (1, 4, 8)
    ]
    assert left == sorted(left, reverse=True)


def test_a_basis_has_room_for_more_directions_than_there_are() -> None:
    maps = flat_maps(3)
    basis = fit_basis(maps, 20)
    assert basis.project(maps).isfinite().all()
    torch.testing.assert_close(basis.expand(basis.project(maps)), maps, rtol=0, atol=0.1)


def test_pictures_are_the_same_by_number_and_differ() -> None:
    first = [picture(number, 32).tobytes() for number in range(6)]
    assert first == [picture(number, 32).tobytes() for number in range(6)]
    assert len(set(first)) == 6
