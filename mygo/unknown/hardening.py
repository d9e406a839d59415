"""Dreams made as hard as reality, on which temperatures and thresholds are fitted.

Gaussians dream what is typical of a class: a network tells dreams apart better than inputs that it never saw, and calls
them more familiar. Reality differs in three ways. The mean of few examples lies farther from the means of other classes
than the class does; what was not learned from lies farther from its class's mean than what was; and within a class
things vary in the directions in which classes differ, so that some of it looks like another.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from mygo import seeding

WIDER = 1.15
"""By how much a dream's deviation from its class's mean is stretched."""
TOWARDS = 0.45
"""The largest share of the way to another class that a dream is moved; it is drawn evenly from 0 on."""


@torch.no_grad()
def hardened(
    dreams: Tensor,
    means: Tensor,
    examples: Tensor,
    labels: Tensor,
    answer: Callable[[Tensor], Tensor],
    key: seeding.Key,
) -> Tensor:
    """Return ``dreams`` [N, D] of the classes ``labels`` [N], wider, and moved toward the class that each resembles.

    That is the one which ``answer`` finds most probable but for its own; it gives logits [N, K] of vectors [N, D].
    ``means`` [K, D] are those of the classes, each of so many ``examples`` [K]; dreams lie around what is `expected` of
    them. What is moved is interpolated between classes as in mixup (Zhang et al. 2018, arXiv:1710.09412), but keeps its
    own label. Both constants were chosen on validation data: benchmarks/results/tried.md.
    """
    own = means[labels]
    deviations = dreams - own
    wide = expected(means, examples, scatter_of(deviations, labels))[labels] + WIDER * deviations
    others = answer(wide).scatter(1, labels[:, None], -torch.inf).argmax(1)
    shares = TOWARDS * torch.rand(len(dreams), 1, generator=seeding.stream(*key, "harden"))
    moved: Tensor = wide + shares.to(wide) * (means[others] - own)
    return moved


def scatter_of(deviations: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared length of the ``deviations`` [N, D] of each class, [K]."""
    counts = labels.bincount()
    return torch.zeros(len(counts)).index_add_(0, labels, deviations.square().sum(1)) / counts


def expected(means: Tensor, examples: Tensor, scatter: Tensor) -> Tensor:
    """Return where K classes are to be expected whose ``means`` [K, D] were taken of so many ``examples`` [K].

    A mean errs by scatter / examples in squared length, so on average it lies that much farther from the mean of all
    than the class does. It is moved back by that share of its squared distance, and at most all of the way (James &
    Stein 1961, Estimation with Quadratic Loss). ``scatter`` [K] is the mean squared distance of examples.
    """
    centre = means.mean(0)
    apart = means - centre
    shares = scatter / examples / apart.square().sum(1).clamp_min(1e-12)
    return centre + (1 - shares.clamp_max(1))[:, None] * apart
