import torch
from torch import Tensor

from mygo.unknown.hardening import TOWARDS, WIDER, expected, hardened

MEANS = torch.tensor([[10.0, 0.0, 0.0], [0.0, 10.0, 0.0], [0.0, 0.0, 10.0]])
MANY = torch.full((3,), torch.inf)
KEY = 3, "calibrate"


def nearest(vectors: Tensor) -> Tensor:
    return -torch.cdist(vectors, MEANS)


def test_dreams_are_wider_and_lie_up_to_a_share_of_the_way_to_the_class_they_resemble() -> None:
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(3).repeat_interleave(200)
    deviations = torch.randn(600, 3, generator=rng)
    hard = hardened(MEANS[labels] + deviations, MEANS, MANY, labels, nearest, KEY)
    wide = MEANS[labels] + WIDER * deviations
    second = nearest(wide).scatter(1, labels[:, None], -torch.inf).argmax(1)
    ways = MEANS[second] - MEANS[labels]
    shares = (hard - wide).mul(ways).sum(1) / ways.square().sum(1)
    torch.testing.assert_close(hard, wide + shares[:, None] * ways)
    assert 0 <= shares.min() < 0.02
    assert TOWARDS - 0.02 < shares.max() <= TOWARDS


def test_the_same_key_draws_the_same() -> None:
    labels = torch.tensor([0, 1, 2])
    keys = KEY, KEY, (4, "calibrate")
    first, again, other = (hardened(MEANS + 1, MEANS, MANY, labels, nearest, key) for key in keys)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_classes_are_expected_where_they_are_on_average_whatever_the_number_of_examples() -> None:
    """Seen from the middle, a mean of ten examples tells of its class about half of its squared length."""
    rng = torch.Generator().manual_seed(0)
    classes, count = torch.randn(200, 300, generator=rng), 10
    means = classes + 3.0 * torch.randn(200, count, 300, generator=rng).mean(1)
    found = expected(means, torch.full((200,), float(count)), torch.full((200,), 300 * 3.0**2))

    def told(of: Tensor) -> float:
        apart = of - of.mean(0)
        return float((apart * classes).sum() / apart.square().sum())

    assert told(means) < 0.6
    assert 0.97 < told(found) < 1.03


def test_means_that_differ_by_chance_alone_are_expected_to_be_the_same() -> None:
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = expected(means, torch.tensor([1.0, torch.inf]), torch.tensor([9.0, 9.0]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0], [-1.0, 0.0]]))
