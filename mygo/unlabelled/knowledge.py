"""What a life knows as densities: where each class lies among feature vectors, and how far its examples scatter."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from mygo import seeding
from mygo.data.examples import network_input
from mygo.errors import InputError
from mygo.learner.learner import Learner
from mygo.learner.predict import SEEN_TOGETHER
from mygo.learner.state import NOTHING_LEARNED, detector_dim
from mygo.memory.gaussian import ClassGaussians, to_length

DREAMT = 200
"""Dreams of each class that its moments are taken from where no Gaussians are kept."""
LEAST_SPREAD = 1e-6
"""Share of the largest variance below which a direction counts as one in which nothing varies."""
ROUNDS = 30
"""Of expectation and maximisation."""


@dataclass(frozen=True)
class Knowledge:
    """K classes among feature vectors of D values, in the order of `Learner.class_names`."""

    means: Tensor
    """[K, D]."""
    covariance: Tensor
    """The covariance within classes that all share, [D, D]."""

    @cached_property
    def _main_axes(self) -> tuple[Tensor, Tensor]:
        """Variances [up to D], the largest first, and the directions [D, up to D] that have them."""
        values, vectors = torch.linalg.eigh(self.covariance.double())
        values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
        kept = values > LEAST_SPREAD * values[0]
        return values[kept], vectors[:, kept]

    @cached_property
    def metric(self) -> Tensor:
        """All directions of scatter over their deviations, to each of whose squares the mean one is added, [D, q].

        Features times these scatter alike, but for what varies so little that its size is not known well.
        """
        values, vectors = self._main_axes
        metric: Tensor = (vectors / (values + values.mean()).sqrt()).float()
        return metric

    @cached_property
    def freedom(self) -> float:
        """The number of directions of equal scatter that vary together as those of `metric` do, from 1 to q."""
        values, _ = self._main_axes
        shares = values / (values + values.mean())
        return float(shares.sum().square() / shares.square().sum())


def knowledge_of(life: Learner) -> Knowledge:
    """Return what ``life`` knows as densities, from its memories alone.

    Raises:
        InputError: it has learned nothing, keeps no memories, or is in the middle of a lesson.
    """
    if not life.class_names:
        raise InputError(NOTHING_LEARNED)
    if life.current is not None:
        raise InputError(f"This life is in the middle of the lesson {life.lessons[life.current].name!r}: finish it.")
    if len(life.memories) < len(life.lessons):
        raise InputError(f"This life is one of the baseline {life.strategy}, without memories: name one of mygo.")
    if life.on_features:
        gaussians = ClassGaussians(life.gaussians).first_dimensions(detector_dim(life))
        return Knowledge(gaussians.means, gaussians.shared_covariance())
    means, scatter = [], []
    for task, lesson in enumerate(life.lessons):
        key: seeding.Key = (life.config.seed, "moments", *lesson.classes)
        dreams = life.recall(task, [DREAMT] * len(lesson.classes), key).inputs
        features = features_of(life, dreams).view(len(lesson.classes), DREAMT, -1)
        means.append(features.mean(1))
        scatter.append((features - means[-1][:, None]).flatten(0, 1))
    deviations = torch.cat(scatter)
    return Knowledge(torch.cat(means), deviations.T @ deviations / len(deviations))


@torch.no_grad()
def features_of(life: Learner, seen: Tensor) -> Tensor:
    """Return the features [N, D] of what ``life`` has ``seen``, images or vectors of an encoder.

    Over pixels these are what the neocortex makes of them; behind an encoder they are the vectors themselves.
    """
    if life.on_features:
        return to_length(seen[:, : detector_dim(life)].float())
    network = life.neocortex.eval()
    parts = [network.features(network_input(part)).flatten(1) for part in seen.split(SEEN_TOGETHER)]
    return torch.cat(parts)


def class_mix(probabilities: Tensor, prior: float = 0.5) -> tuple[Tensor, Tensor]:
    """Return how frequent each class is among inputs, [K], and their ``probabilities`` [N, K] adjusted to that.

    Those given are for classes that are as frequent. The mix that makes the inputs likeliest is found by expectation
    and maximisation (Saerens, Latinne & Decaestecker 2002, Adjusting the Outputs of a Classifier to New a Priori
    Probabilities), with ``prior`` inputs of each class added.
    """
    count, num_classes = probabilities.shape
    given = probabilities.clamp_min(1e-30)
    mix = torch.full((num_classes,), 1 / num_classes)
    for _ in range(ROUNDS):
        weights = given * mix
        weights /= weights.sum(1, keepdim=True)
        mix = (weights.sum(0) + prior) / (count + prior * num_classes)
    weights = given * mix
    return mix, weights / weights.sum(1, keepdim=True)
