import pytest
import torch

from mygo.adapting.frequencies import AMPLITUDE, FromFrequencies, ToFrequencies, kept_frequencies
from mygo.memory.gaussian import to_length


def smooth_maps(count: int, side: int) -> torch.Tensor:
    """Draw maps of 4 channels that are sums of the frequencies that are kept."""
    waves = ToFrequencies(side).waves
    rng = torch.Generator().manual_seed(0)
    return (torch.randn(count, 4, len(waves), generator=rng) @ waves).view(count, 4, side, side)


@pytest.mark.parametrize(("side", "kept"), [(1, 1), (2, 4), (3, 6), (7, 6)])
def test_smooth_maps_come_back_as_long_as_those_of_photographs(side: int, kept: int) -> None:
    maps = smooth_maps(5, side)
    vectors = ToFrequencies(side)(maps)
    assert vectors.shape == (5, 4 * kept)
    torch.testing.assert_close(vectors.norm(dim=1), maps.flatten(1).norm(dim=1))
    wanted = maps * (2 * AMPLITUDE * side / maps.flatten(1).norm(dim=1))[:, None, None, None]
    torch.testing.assert_close(FromFrequencies(side)(to_length(vectors)), wanted, rtol=1e-4, atol=1e-4)


def test_what_is_left_out_of_maps_is_what_changes_from_pixel_to_pixel() -> None:
    chequered = torch.ones(1, 1, 8, 8)
    chequered[:, :, ::2, ::2] = chequered[:, :, 1::2, 1::2] = -1
    assert ToFrequencies(8)(chequered).norm() < 0.1 * chequered.norm()
    assert kept_frequencies(8) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]


@pytest.mark.parametrize("side", [1, 2, 3, 7])
def test_a_mirrored_vector_is_that_of_the_mirrored_maps(side: int) -> None:
    maps = torch.randn(3, 4, side, side)
    to, back = ToFrequencies(side), FromFrequencies(side)
    torch.testing.assert_close(back.mirrored(to(maps)), to(maps.flip(3)), rtol=1e-4, atol=1e-5)


def test_frequencies_are_those_of_float32_under_autocast_too() -> None:
    maps = torch.randn(2, 4, 3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        found = ToFrequencies(3)(maps)
    assert torch.equal(found, ToFrequencies(3)(maps))
