"""Whether the inputs of today look like what a life has learned, over all and for each class.

Two tests look at it from two sides. The first asks whether single inputs are stranger than those that the lessons
held out, by the out-of-distribution score (Welch's test of two means). The second asks whether what is taken for a
class lies elsewhere on the whole than the class did: a score test (Rao 1948) for moved means in the mixture of all
classes. Its null distribution is that of the same sum with random signs (wild bootstrap: Wu 1986), which needs no model
of how inputs scatter. So it finds new groups whose inputs look ordinary one by one. Both allow for another mix of
classes today, which is no drift.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor

from mygo import seeding
from mygo.config.ranges import LEAST_FOR_DRIFT
from mygo.data.examples import Examples
from mygo.errors import InputError
from mygo.learner.learner import Learner
from mygo.learner.limits import detector_of
from mygo.learner.predict import NO_SCORE, Predictions, classify
from mygo.unknown.threshold import threshold_at
from mygo.unlabelled.knowledge import class_mix, features_of, knowledge_of

MOST_INPUTS = 5000
"""How many inputs, drawn at random, are looked at if there are more, since so many show what matters."""
USUAL, RARE = 0.5, 0.005
"""The shares of dreams that look stranger than an input which counts as not strange at all, and as fully strange."""
SIGNS = 999
"""Draws of random signs."""
POOLED = 10
"""Examples that the variance over all classes counts as, beside those of a class that its own was measured on."""
NEGLIGIBLE = 0.01
"""The probability of a class up to which an input does not count for how far its mean may be off by chance."""
LEAST_OF_CLASS = 3.0
"""Inputs that must be taken for a class, about, for its mean to be looked at."""
TOLERANCE = 12.0
"""The square of a class mean's shift, in within-class variances, that is no drift, times the square of the doubt about
the class: a network's doubts are only nearly those that they should be, and that shifts means. From validation data."""


@dataclass(frozen=True)
class Reference:
    """Of one class, how strange examples look that its lesson held out."""

    count: int = 0
    mean: float = 0.0
    """Of `strangeness`."""
    variance: float = 0.0


@dataclass(frozen=True)
class ClassDrift:
    """What is taken for one class today."""

    name: str
    inputs: float
    """How many inputs, by their probabilities."""
    p_value: float | None
    """Of no change of its mean, corrected for the number of classes (Holm 1979). None: there are too few inputs."""
    changed: bool


@dataclass(frozen=True)
class Drift:
    """What the tests say of N inputs."""

    inputs: int
    alpha: float
    """The share of false alarms that is accepted."""
    p_value: float
    """The chance of inputs at least as strange if nothing has changed: that of both tests together."""
    p_strange: float | None
    """That of single inputs being stranger. None: the lessons' held-out examples were not measured."""
    p_moved: float
    """That of class means having moved."""
    classes: tuple[ClassDrift, ...]

    @property
    def drifted(self) -> bool:
        """Whether the inputs of today differ from what was learned."""
        return self.p_value < self.alpha


@dataclass(frozen=True)
class Observed:
    """What the tests need to know of N inputs."""

    features: Tensor
    """In the metric of scatter, [N, q] (see `Knowledge.metric`)."""
    probabilities: Tensor
    """Of each class, all as frequent, [N, K]."""
    strange: Tensor
    """[N] (see `strangeness`)."""

    def __len__(self) -> int:
        return len(self.strange)

    def __add__(self, other: "Observed") -> "Observed":
        both = ((getattr(part, each.name) for part in (self, other)) for each in fields(self))
        return Observed(*(torch.cat(list(each)) for each in both))

    def __getitem__(self, rows: Tensor | slice) -> "Observed":
        return Observed(self.features[rows], self.probabilities[rows], self.strange[rows])


class DriftTest:
    """The tests for one life as it is now; what they need of it is computed once."""

    def __init__(self, life: Learner) -> None:
        """Take from the memories of ``life`` what inputs are compared with.

        Raises:
            InputError: it has learned less than two classes, keeps no memories, or is in the middle of a lesson.
        """
        self.life = life
        knowledge = knowledge_of(life)
        if detector_of(life) is None:
            raise InputError(NO_SCORE)
        self.metric, self.freedom = knowledge.metric, knowledge.freedom
        self.means = knowledge.means @ self.metric
        counts = [count for lesson in life.lessons for count in lesson.images]
        self.trained_on = torch.tensor(counts, dtype=torch.float32).clamp_min(1)

    def look(self, seen: Tensor) -> Observed:
        """Return what the tests need to know of what the life has ``seen``."""
        return self.looked_at(seen, classify(self.life, seen))

    def looked_at(self, seen: Tensor, predictions: Predictions) -> Observed:
        """Return the same, where there are ``predictions`` over all classes, with scores."""
        return Observed(features_of(self.life, seen) @ self.metric, predictions.probabilities, strangeness(predictions))

    def test(self, looked: Observed, alpha: float = 0.05) -> Drift:
        """Return whether inputs look like what the life has learned.

        Args:
            looked: What `look` found of them.
            alpha: The share of false alarms that is accepted among inputs that did not change.

        Raises:
            InputError: there are too few inputs, or ``alpha`` is no such share.
        """
        if not 0 < alpha < 1:
            raise InputError(f"--alpha must be between 0 and 1, not {alpha}.")
        if len(looked) < LEAST_FOR_DRIFT:
            raise InputError(
                f"A test for drift needs {LEAST_FOR_DRIFT} inputs at the least, not {len(looked)}: name more of them."
            )
        total = len(looked)
        if total > MOST_INPUTS:
            looked = looked[torch.randperm(total, generator=seeding.stream("drift", "inputs"))[:MOST_INPUTS]]
        mix, posterior = class_mix(looked.probabilities)
        references = references_of(self.life)
        p_strange = None if references is None else p_of_strange(looked.strange, mix, references)
        moved = MovedMeans(looked.features, self.means, posterior, self.trained_on, self.freedom)
        p_moved = moved.p_value(seeding.stream("drift", "signs"))
        classes = tuple(
            ClassDrift(name, total / len(looked) * count, p, p is not None and p < alpha)
            for name, count, p in zip(
                self.life.class_names, posterior.sum(0).tolist(), holm(moved.p_of_classes()), strict=True
            )
        )
        together = p_moved if p_strange is None else both(p_strange, p_moved)
        return Drift(total, alpha, together, p_strange, p_moved, classes)


def both(first: float, second: float) -> float:
    """Return the p-value of two tests together by the sum of their normal deviates (Stouffer et al. 1949)."""
    deviates = torch.special.ndtri(1 - torch.tensor([first, second], dtype=torch.float64).clamp(1e-12, 1 - 1e-12))
    return float(torch.special.ndtr(-deviates.sum() / math.sqrt(2)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return ``p_values`` corrected for their number (Holm 1979, A Simple Sequentially Rejective Multiple Test)."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    found: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        found[place] = largest
    return found


# -- single inputs ----------------------------------------------------------------------------------------------------


def strangeness(predictions: Predictions) -> Tensor:
    """Return how strange each of N inputs looks, from 0 to 1, [N].

    It is measured by the scores of dreams, of which the detector keeps what shares exceed. So it does not depend on the
    scale of scores, which changes as more classes are learned.
    """
    assert predictions.out_of_distribution is not None
    assert predictions.thresholds is not None
    usual, rare = (threshold_at(predictions.thresholds, share) for share in (USUAL, RARE))
    return ((predictions.out_of_distribution - usual) / max(rare - usual, 1e-9)).clamp(0, 1)


def note_held_out(life: Learner, index: int, examples: Examples) -> None:
    """Note in the record of a lesson, the one with this ``index``, how strange its held-out ``examples`` look.

    Of a class that none of them shows, what was noted before stays. Nothing is noted in a life without a score of what
    it does not know, as in one of a single class.
    """
    lesson = life.lessons[index]
    if not len(examples) or life.detector is None:
        return
    strange = strangeness(classify(life, examples.inputs)).double()
    before = lesson.held_out or ((0.0, 0.0, 0.0),) * len(lesson.classes)
    found = []
    for label, old in enumerate(before):
        own = strange[examples.labels == label]
        spread = float(own.var()) if len(own) > 1 else 0.0
        found.append((float(len(own)), float(own.mean()), spread) if len(own) else old)
    lesson.held_out = tuple(found)


def references_of(life: Learner) -> list[Reference] | None:
    """Return what each class's lesson measured of held-out examples, or None if not all lessons have done so.

    A class of which nothing was held out has the mean over the others; variances are moved to that over all classes.
    """
    if any(len(lesson.held_out) != len(lesson.classes) for lesson in life.lessons):
        return None
    found = [Reference(int(n), mean, variance) for lesson in life.lessons for n, mean, variance in lesson.held_out]
    total = sum(each.count for each in found)
    if not total:
        return None
    mean = sum(each.count * each.mean for each in found) / total
    within = sum((each.count - 1) * each.variance for each in found if each.count > 1)
    degrees = sum(each.count - 1 for each in found if each.count > 1)
    pooled = within / degrees if degrees else 1 / 12

    def steadied(each: Reference) -> Reference:
        known = max(each.count - 1, 0)
        variance = (known * each.variance + POOLED * pooled) / (known + POOLED)
        return Reference(max(each.count, 1), each.mean if each.count else mean, variance)

    return [steadied(each) for each in found]


def p_of_strange(strange: Tensor, mix: Tensor, references: Sequence[Reference]) -> float:
    """Return the chance that inputs are at least so ``strange`` [N] on average if they are as the lessons' were.

    The ``mix`` [K] weighs the classes' ``references``. The error of both means counts (Welch 1947).
    """
    means = torch.tensor([each.mean for each in references], dtype=torch.float64)
    errors = torch.tensor([each.variance / each.count for each in references], dtype=torch.float64)
    weights = mix.double()
    variance = strange.double().var() / len(strange) + (weights.square() * errors).sum()
    deviate = (strange.double().mean() - (weights * means).sum()) / variance.sqrt().clamp_min(1e-12)
    return float(torch.special.ndtr(-deviate))


# -- class means ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MovedMeans:
    """The score of a mixture of K classes for moves of their means.

    For class c it is s = Σ r (z - m) over all N inputs, with r the probability of the class, z the features of the
    input and m the class's mean. It is the gradient of the log-likelihood by the mean where scatter is 1 in all
    directions, so it is 0 on average if the means are right, also where classes overlap. Its square |s|² is a sum over
    pairs of inputs; that of inputs with themselves, Σ r² |z - m|², says nothing of the mean and is taken off.
    """

    inputs: Tensor
    """z, [N, q]."""
    means: Tensor
    """m, [K, q]."""
    posterior: Tensor
    """r, [N, K]."""
    trained_on: Tensor
    """Examples that each mean was estimated from, [K]."""
    freedom: float
    """The number of directions that scatter as much as all do together (Satterthwaite 1946)."""

    @cached_property
    def counts(self) -> Tensor:
        """Inputs of each class, [K]."""
        return self.posterior.sum(0).clamp_min(1e-9)

    @cached_property
    def from_means(self) -> Tensor:
        """|z - m|², [N, K]."""
        squares: Tensor = self.inputs.square().sum(1)[:, None] - 2 * self.inputs @ self.means.T
        return squares + self.means.square().sum(1)

    @cached_property
    def with_themselves(self) -> Tensor:
        """Σ r² |z - m|² of each class, [K]."""
        return (self.posterior.square() * self.from_means).sum(0).clamp_min(1e-9)

    def pairs(self) -> Tensor:
        """Return Σ r r' (z - m)·(z' - m) over all classes for each pair of inputs, [N, N]."""
        crossed = (self.posterior * (self.inputs @ self.means.T)) @ self.posterior.T
        found = (self.inputs @ self.inputs.T) * (self.posterior @ self.posterior.T) - crossed - crossed.T
        return found + (self.posterior * self.means.square().sum(1)) @ self.posterior.T

    def excess(self) -> Tensor:
        """Return |s|² of each class less what is expected of it, and less what is tolerated, [K].

        Expected is what inputs make with themselves, and the error of the mean itself.
        """
        scores = self.posterior.T @ self.inputs - self.counts[:, None] * self.means
        doubt = 1 - self.posterior.square().sum(0) / self.counts
        tolerated = TOLERANCE * doubt.square() * self.counts / self.freedom
        of_means = 1 + self.counts / self.trained_on
        return scores.square().sum(1) / of_means - (1 + tolerated) * self.with_themselves

    def p_value(self, rng: torch.Generator) -> float:
        """Return the chance of means at least so far off over all if none has moved.

        It is that of the same sum over pairs of inputs that get random signs, which do not depend on each other. The
        distribution of that is matched by a gamma distribution of the same mean and variance.
        """
        pairs = self.pairs()
        pairs.fill_diagonal_(0)
        signs = torch.randint(0, 2, (SIGNS, len(pairs)), generator=rng) * 2.0 - 1.0
        draws = ((signs @ pairs) * signs).sum(1)
        expected = self.with_themselves.sum()
        return upper_tail(self.excess().sum() + expected, draws + expected)

    def p_of_classes(self) -> list[float | None]:
        """Return the same for each class, but for one with fewer than `LEAST_OF_CLASS` inputs.

        The variance over random signs is twice the sum of squares over pairs.
        """
        excess, found = self.excess(), list[float | None]()
        squares = self.posterior.square().sum(0)
        for label, enough in enumerate((squares >= LEAST_OF_CLASS).tolist()):
            if not enough:
                found.append(None)
                continue
            rows = self.posterior[:, label] > NEGLIGIBLE
            apart = self.posterior[rows, label, None] * (self.inputs[rows] - self.means[label])
            pairs = (apart @ apart.T).fill_diagonal_(0)
            expected, variance = self.with_themselves[label], 2 * pairs.square().sum()
            found.append(gamma_tail(excess[label] + expected, expected, variance))
        return found


def upper_tail(value: Tensor, draws: Tensor) -> float:
    """Return the chance that a gamma distribution with the mean and variance of ``draws`` [B] exceeds ``value``."""
    return gamma_tail(value, draws.double().mean(), draws.double().var())


def gamma_tail(value: Tensor, mean: Tensor, variance: Tensor) -> float:
    """Return the chance that a gamma distribution with this ``mean`` and ``variance`` exceeds ``value``."""
    rate = mean.double() / variance.double().clamp_min(1e-12)
    return float(torch.special.gammaincc(mean.double() * rate, value.double().clamp_min(0) * rate))
