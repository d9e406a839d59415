import torch
from torch import Tensor

from mygo.unknown.hardening import TOWARDS, WIDER, hardened

MEANS = torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 10.0]])
KEY = 3, "calibrate"


def nearest(vectors: Tensor) -> Tensor:
    return -torch.cdist(vectors, MEANS)


def test_dreams_are_wider_and_lie_up_to_a_share_of_the_way_to_the_class_they_resemble() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(200)
    deviations = torch.randn(600, 3, generator=rng)
    hard = hardened(MEANS[labels] + deviations, MEANS, labels, nearest, KEY)
    wide = MEANS[labels] + WIDER * deviations
    second = nearest(wide).scatter(1, labels[:, None], -torch.inf).argmax(1)
    ways = MEANS[second] - MEANS[labels]
    shares = (hard - wide).mul(ways).sum(1) / ways.square().sum(1)
    torch.testing.assert_close(hard, wide + shares[:, None] * ways)
    assert 0 <= shares.min() < 0.02
    assert TOWARDS - 0.02 < shares.max() <= TOWARDS


def test_the_same_key_draws_the_same() -> None:
    labels = torch.tensor([0, 1, 2])
    first, again, other = (hardened(MEANS + 1, MEANS, labels, nearest, key) for key in (KEY, KEY, (4, "calibrate")))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
