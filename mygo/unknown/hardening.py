"""Dreams made as hard as reality, on which temperatures and thresholds are fitted.

Gaussians dream what is typical of a class: a network tells dreams apart better than inputs that it never saw, and calls
them more familiar. Reality differs in two ways. What was not learned from lies farther from its class's mean than what
was; and within a class things vary in the directions in which classes differ, so that some of it looks like another.
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
    dreams: Tensor, means: Tensor, labels: Tensor, answer: Callable[[Tensor], Tensor], key: seeding.Key
) -> Tensor:
    """Return ``dreams`` [N, D] of the classes ``labels`` [N], wider, and moved toward the class that each resembles.

    That is the one which ``answer`` finds most probable but for its own; it gives logits [N, K] of vectors [N, D].
    ``means`` [K, D] are those of the classes. What is moved is interpolated between classes as in mixup (Zhang et al.
    2018, arXiv:1710.09412), but keeps its own label. Both constants were chosen on validation data:
    benchmarks/results/tried.md.
    """
    own = means[labels]
    wide = own + WIDER * (dreams - own)
    others = answer(wide).scatter(1, labels[:, None], -torch.inf).argmax(1)
    shares = TOWARDS * torch.rand(len(dreams), 1, generator=seeding.stream(*key, "harden"))
    moved: Tensor = wide + shares.to(wide) * (means[others] - own)
    return moved
