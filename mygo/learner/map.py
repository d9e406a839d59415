"""A map of what a life behind an encoder remembers: dreams of each class, beside real inputs while there are some."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mygo.data.examples import Examples
from mygo.events import Mapped
from mygo.learner.learner import Learner
from mygo.memory.gaussian import ClassGaussians, GaussianMemory
from mygo.memory.plane import Plane, discriminant_plane

MOST_CLASSES = 40
"""Classes on one map: as many as can be told apart, and so that a map costs a long life no more than a short one."""
DREAMS = 50
"""Dreams of each class on it."""
HELD_OUT = 25
"""Held-out inputs of each class on it, at most."""


@torch.no_grad()
def map_of(life: Learner, foremost: Sequence[int], held_out: Sequence[tuple[int, Examples]] = ()) -> Mapped:
    """Return a map of what ``life`` remembers: of the classes ``foremost``, and of those whose means are nearest.

    Labels are counted over all heads side by side. Each of ``held_out`` is the number of a lesson and examples of it.
    """
    chosen = chosen_classes(torch.cat([memory.means for memory in life.gaussians]), foremost)
    gaussians = ClassGaussians([GaussianMemory.of_classes(life.gaussians, chosen)])
    plane = discriminant_plane(gaussians)
    dream_labels = torch.arange(len(chosen)).repeat_interleave(DREAMS)
    dreams = gaussians.dream(dream_labels, (life.config.seed, "map"))
    points, labels = points_of(held_out, life.neocortex.head_sizes, chosen, plane)
    return Mapped(
        strategy=life.strategy,
        task=max(0, life.tasks_learned - 1) if life.current is None else life.current,
        classes=chosen.tolist(),
        class_names=[life.class_names[label] for label in chosen.tolist()],
        means=plane.of(gaussians.means),
        dreams=plane.of(dreams),
        dream_labels=dream_labels,
        held_out=points,
        held_out_labels=labels,
    )


def chosen_classes(means: Tensor, foremost: Sequence[int]) -> Tensor:
    """Return which of the classes with ``means`` [K, D] are on a map, in rising order."""
    if len(means) <= MOST_CLASSES:
        return torch.arange(len(means))
    first = torch.tensor(list(foremost)[:MOST_CLASSES])
    distances = torch.cdist(means, means[first]).amin(1)
    distances[first] = -1.0
    return distances.argsort(stable=True)[:MOST_CLASSES].sort().values


def points_of(
    held_out: Sequence[tuple[int, Examples]], head_sizes: Sequence[int], chosen: Tensor, plane: Plane
) -> tuple[Tensor, Tensor]:
    """Return where ``held_out`` examples of the ``chosen`` classes lie, [M, 2], and their labels [M] among these."""
    place = torch.full((sum(head_sizes),), -1)
    place[chosen] = torch.arange(len(chosen))
    points, labels = [torch.empty(0, 2)], [torch.empty(0, dtype=torch.int64)]
    for lesson, examples in held_out:
        own = place[sum(head_sizes[:lesson]) + examples.labels]
        for label in own[own >= 0].unique():
            rows = (own == label).nonzero().squeeze(1)[:HELD_OUT]
            points.append(plane.of(examples.inputs[rows]))
            labels.append(own[rows])
    return torch.cat(points), torch.cat(labels)
