"""Labels that look wrong."""

import torch

from mygo.unlabelled.suspicious import FOLDS, folds_of, judge_labels


def examples(per_class: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    draws = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(4, 10, generator=draws)
    labels = torch.arange(4).repeat_interleave(per_class)
    return means[labels] + torch.randn(4 * per_class, 10, generator=draws), labels


def test_wrong_labels_come_first_with_the_class_that_is_right() -> None:
    vectors, labels = examples()
    wrong = torch.randperm(240, generator=torch.Generator().manual_seed(1))[:12]
    given = labels.clone()
    given[wrong] = (labels[wrong] + 1) % 4
    judged = judge_labels(vectors, given, 4, ("test",))
    assert len(set(judged.order[:24].tolist()) & set(wrong.tolist())) >= 11
    assert float((judged.nearest[wrong] == labels[wrong]).float().mean()) > 0.9
    assert float((judged.suspicion[given == labels] > 0).float().mean()) < 0.1


def test_an_example_does_not_vouch_for_itself() -> None:
    """Of a class in more dimensions than it has examples, each is at the mean of itself but not of the others."""
    draws = torch.Generator().manual_seed(0)
    vectors, labels = torch.randn(40, 200, generator=draws), torch.arange(40) % 2
    judged = judge_labels(vectors, labels, 2, ("test",))
    assert 8 <= int((judged.suspicion > 0).sum()) <= 32  # labels that say nothing are as often suspicious as not


def test_every_example_is_in_one_fold_and_folds_are_even_within_classes() -> None:
    labels = torch.tensor([0] * 12 + [1] * 7)
    folds = folds_of(labels, ("test",))
    for label, count in ((0, 12), (1, 7)):
        sizes = folds[labels == label].bincount(minlength=FOLDS)
        assert int(sizes.sum()) == count
        assert int(sizes.max() - sizes.min()) <= 1
    assert torch.equal(folds, folds_of(labels, ("test",)))


def test_a_class_of_one_example_does_not_judge_it() -> None:
    vectors, labels = examples(20)
    labels = torch.cat([labels, torch.tensor([4])])
    judged = judge_labels(torch.cat([vectors, vectors[:1] + 1]), labels, 5, ("test",))
    assert judged.suspicion[-1] == -torch.inf
    assert bool(judged.suspicion[:-1].isfinite().all())
