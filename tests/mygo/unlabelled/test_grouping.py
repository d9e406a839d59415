"""Groups of inputs that no known class explains, and which of them cover the rest."""

import pytest
import torch

from mygo.unlabelled import grouping
from mygo.unlabelled.grouping import group_unknown, spread_out
from mygo.unlabelled.ranking import CORE, covering, in_turn

MEANS = 8 * torch.eye(6)[:3]


def around(mean: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    return mean + torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def test_what_covers_points_is_chosen_the_medoid_first_and_then_the_farthest() -> None:
    points = torch.tensor([[0.0], [1.0], [2.0], [3.0], [10.0]])
    assert spread_out(points, 3) == [2, 4, 0]
    assert sorted(spread_out(points, 9)) == [0, 1, 2, 3, 4]
    first = spread_out(points, 1)
    assert first == [2]


def spread_out_over_all_pairs(features: torch.Tensor) -> list[int]:
    """Return all inputs in the order of `spread_out`, from the matrix of all distances."""
    apart = (features[:, None] - features).square().sum(2).sqrt()
    chosen = [int(apart.sum(1).argmin())]
    while len(chosen) < len(features):
        left = [row for row in range(len(features)) if row not in chosen]
        chosen.append(max(left, key=lambda row: float(apart[row, chosen].min())))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_what_is_chosen_is_what_the_distances_of_all_pairs_choose(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouping, "BLOCK", 32)
    features = around(MEANS[0], 150, seed)
    expected = spread_out_over_all_pairs(features)
    for count in (1, 2, 50, 150):
        assert spread_out(features, count) == expected[:count]
    rows = torch.randperm(150, generator=torch.Generator().manual_seed(seed))
    core = round(CORE * 150)
    expected = [*rows[:core][spread_out_over_all_pairs(features[rows[:core]])].tolist(), *rows[core:].tolist()]
    for count in (1, 7, core, core + 9, 200):
        assert covering(features, rows, count) == expected[:count]


def test_no_more_distances_are_held_at_once_than_those_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    cdist, held = torch.cdist, []

    def noted(*points: torch.Tensor, **how: str) -> torch.Tensor:
        found = cdist(*points, **how)
        held.append(found.numel())
        return found

    monkeypatch.setattr(torch, "cdist", noted)
    monkeypatch.setattr(grouping, "BLOCK", 16)
    assert len(covering(around(MEANS[0], 900, 0), torch.arange(900), 5)) == 5
    assert max(held) == 16 * 600
    assert len(held) == -(-600 // 16) + 4  # the medoid's, and one for each that is chosen but the last


def test_copies_of_an_input_are_each_chosen_once() -> None:
    assert sorted(spread_out(torch.ones(4, 2), 4)) == [0, 1, 2, 3]


def test_new_groups_are_found_and_the_rims_of_known_classes_fall_back_to_these() -> None:
    new = torch.tensor([0.0, 0, 0, 8, 0, 0])
    known = torch.cat([around(mean, 60, seed) for seed, mean in enumerate(MEANS)])
    features = torch.cat([known, around(new, 40, 7)])
    candidates = torch.zeros(220, dtype=torch.bool)
    candidates[180:200] = True  # half of what is new looks so, and some of what is known
    candidates[:180] = (known[:, None] - MEANS).square().sum(2).amin(1) > 9
    found = torch.cat(group_unknown(features, MEANS, candidates).members)
    assert len(set(found.tolist()) & set(range(180, 220))) >= 38
    assert len(set(found.tolist()) - set(range(180, 220))) <= 15


def test_the_members_of_a_group_begin_at_its_middle() -> None:
    features = torch.cat([around(MEANS[0], 60, 0), around(torch.tensor([0.0, 0, 0, 8, 0, 0]), 20, 7)])
    candidates = torch.arange(80) >= 60
    (members,) = group_unknown(features, MEANS, candidates).members
    apart = (features[members] - features[60:].mean(0)).norm(dim=1)
    assert bool((apart.diff() >= -0.2).all())


def test_too_few_inputs_make_no_group() -> None:
    assert group_unknown(around(MEANS[0], 20, 0), MEANS, torch.arange(20) < 3).members == ()


def test_groups_take_turns() -> None:
    assert in_turn([[1, 2, 3], [4], [5, 6]]) == [1, 4, 5, 2, 6, 3]
    assert in_turn([]) == []
