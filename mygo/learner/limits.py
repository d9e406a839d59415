"""What a learner knows of its own limits, from its memories alone: fitted after each sleep."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mygo import seeding
from mygo.data.examples import network_input
from mygo.learner.learner import Learner
from mygo.learner.state import detector_dim
from mygo.memory.gaussian import ClassGaussians, to_length
from mygo.networks.neocortex import answering, stacked_heads
from mygo.unknown.detector import UnknownDetector
from mygo.unknown.hardening import hardened
from mygo.unknown.relative import RelativeMahalanobis

FITTED_ON, FITTED_ON_LATE = 10_000, 2_000
"""Dreams that are fitted to, at most; behind an encoder that is adapted, each takes as long as a small photo."""
MOST_OF_A_CLASS, LEAST_OF_A_CLASS = 500, 10
"""Dreams of a class, whatever the number of classes."""
SEEN_TOGETHER = 500
"""Dreams that go through the network at once."""


@dataclass(frozen=True)
class Remembered:
    """Classes as they are remembered, in an order that is not that of learning, and dreams of them."""

    means: Tensor
    """Of the classes, [K, D]."""
    examples: Tensor
    """How many each was taken of, [K]; infinitely many where that is not known."""
    labels: Tensor
    """Which of them each dream is of, int64 [N]."""
    dreams: Tensor
    """[N, D], what is moved to be made harder."""
    relative: RelativeMahalanobis
    answer: Callable[[Tensor], Tensor]
    """Gives the network's logits [N, K], in the order of the classes, of what was dreamt and moved."""
    seen: Callable[[Tensor], Tensor]
    """Gives the vectors that ``relative`` takes of the same."""


def detector_of(life: Learner) -> UnknownDetector | None:
    """Return what ``life`` knows of its limits, fitted now if an earlier version saved it without.

    Such a life is as sure as ever until it sleeps again. There is None where there is nothing to fit to: in the middle
    of a lesson, without memories, or with a single class.
    """
    if life.detector is None and life.current is None:
        found = fit_detector(life, next(life.neocortex.parameters()).device)
        if found is not None:
            found.temperature.fill_(1.0)
        life.detector = found
    return life.detector


@torch.no_grad()
def fit_detector(life: Learner, device: torch.device) -> UnknownDetector | None:
    """Return a detector of what ``life`` does not know, fitted to dreams that are as hard as reality.

    ``device`` is that of its network. The detector is a function of the memories and the network alone, and does not
    depend on the order of lessons where these do not. None is fitted without memories of all lessons, or to one class.
    """
    if sum(life.neocortex.head_sizes) < 2 or len(life.memories) < len(life.lessons):
        return None
    remembered = vectors_of_memories(life, device) if life.on_features else features_of_memories(life, device)
    hard = hardened(
        remembered.dreams, remembered.means, remembered.examples, remembered.labels, remembered.answer, key_of(life)
    )
    if life.on_features:
        hard = to_length(hard)
    detector = UnknownDetector(remembered.relative)
    detector.fit(remembered.seen(hard), remembered.answer(hard), remembered.labels)
    return detector.requires_grad_(False).eval()


def key_of(life: Learner) -> seeding.Key:
    """Return what the draws are named by: where the order of lessons does not matter, by no lesson."""
    return life.config.seed, "calibrate"


def vectors_of_memories(life: Learner, device: torch.device) -> Remembered:
    """Return what a ``life`` behind an encoder remembers; what is adapted is known by its pretrained features."""
    order = life.lessons_in_order()
    gaussians = ClassGaussians([life.gaussians[number] for number in order])
    dim = detector_dim(life)
    narrowed = gaussians.first_dimensions(dim)
    labels = labels_of(gaussians.num_classes, FITTED_ON_LATE if life.adapts else FITTED_ON)
    logits = answering(life.neocortex)
    columns = columns_in(order, life.neocortex.head_sizes)
    return Remembered(
        means=gaussians.means,
        examples=examples_in(life, order),
        labels=labels,
        dreams=gaussians.dream(labels, key_of(life)),
        relative=RelativeMahalanobis.of(narrowed.means, narrowed.shared_covariance(), shrinkage(life)),
        answer=lambda vectors: in_parts(logits, to_length(vectors), device)[:, columns],
        seen=lambda vectors: detector_input(vectors, vectors, dim, on_features=True),
    )


def features_of_memories(life: Learner, device: torch.device) -> Remembered:
    """Return what a ``life`` over pixels remembers, as features of its network; half of the dreams have the moments."""
    net, sizes = life.neocortex.eval(), life.neocortex.head_sizes
    half = labels_of(sum(sizes), FITTED_ON).bincount()[0]
    parts: list[list[Tensor]] = [[], []]
    for task, size in enumerate(sizes):
        dreams = life.recall(task, [2 * int(half)] * size, (*key_of(life), task)).inputs
        features = in_parts(lambda images: net.features(network_input(images)), dreams, device)
        for part, found in zip(parts, features.view(size, 2, int(half), -1).unbind(1), strict=True):
            part.append(found)
    known, dreams = (torch.cat(part) for part in parts)  # each [K, n, F]
    means = known.mean(1)
    deviations = (known - means[:, None]).flatten(0, 1)
    heads = stacked_heads(net)
    return Remembered(
        means=means,
        examples=examples_in(life, range(len(sizes))),
        labels=torch.arange(len(means)).repeat_interleave(int(half)),
        dreams=dreams.flatten(0, 1),
        relative=RelativeMahalanobis.of(means, deviations.T @ deviations / len(deviations), shrinkage(life)),
        answer=lambda features: in_parts(heads, features, device),
        seen=lambda features: features,
    )


def detector_input(inputs: Tensor, features: Tensor, dim: int, *, on_features: bool) -> Tensor:
    """Return the vectors [N, ``dim``] that a detector takes, for ``inputs`` that have ``features`` [N, F] in a network.

    Over pixels those are the features. Of a life ``on_features`` they are the first values of the inputs, [N, D]: all,
    but for an encoder that is adapted, of which they are what was pretrained.
    """
    return to_length(inputs[:, :dim]) if on_features else features


def labels_of(num_classes: int, most: int) -> Tensor:
    """Return the classes of what is dreamt, as many of each, int64 [N]."""
    count = max(LEAST_OF_A_CLASS, min(MOST_OF_A_CLASS, most // num_classes))
    return torch.arange(num_classes).repeat_interleave(count)


def examples_in(life: Learner, order: Sequence[int]) -> Tensor:
    """Return how many examples each class of the lessons was learned from, float32 [K]; infinitely many if unknown."""
    counts = [life.lessons[number].images or (0,) * len(life.lessons[number].classes) for number in order]
    found = torch.tensor([count for each in counts for count in each], dtype=torch.float32)
    return found.where(found > 0, torch.inf)


def shrinkage(life: Learner) -> float:
    """Return by how much a covariance [D, D] is shrunk: as if D more examples had varied alike in all dimensions."""
    dim = detector_dim(life)
    return dim / (dim + sum(sum(lesson.images) for lesson in life.lessons))


def columns_in(order: Sequence[int], head_sizes: Sequence[int]) -> Tensor:
    """Return where the outputs of all heads, taken in this ``order``, stand beside each other, int64 [K]."""
    starts = torch.tensor(head_sizes).cumsum(0) - torch.tensor(head_sizes)
    return torch.cat([starts[number] + torch.arange(head_sizes[number]) for number in order])


def in_parts(function: Callable[[Tensor], Tensor], inputs: Tensor, device: torch.device) -> Tensor:
    """Return what ``function`` makes on ``device`` of ``inputs`` [N, …], some at a time, on the CPU."""
    return torch.cat([function(part.to(device)).float().cpu() for part in inputs.split(SEEN_TOGETHER)])
