"""Other ways to name a class than the largest logit, fitted on dreams alone: `benchmarks/accuracy.py` compares them."""

from collections.abc import Callable, Sequence
from statistics import mean

import torch
from torch import Tensor
from torch.nn import functional as F

from mygo.data.examples import Examples, to_unit_range
from mygo.jobs.life import Life
from mygo.memory.quality import recall
from mygo.networks.neocortex import NeocortexNet

DREAMS_PER_CLASS = 2000
SEEN_TOGETHER = 500
SHRINKAGE = 0.01
"""Share of the mean variance that is added to the variance of every feature, so that the covariance can be inverted."""

Rule = Callable[[Tensor, Tensor], Tensor]
"""Scores [N, K] of all classes from features [N, F] and logits [N, K]."""


def class_il_by_rule(life: Life, test: Sequence[Examples]) -> dict[str, float]:
    """Return the average class-IL accuracy of ``life`` on the ``test`` data of its tasks by each rule."""
    net = life.neocortex.cpu().eval()
    sizes = net.head_sizes
    starts = torch.tensor(sizes).cumsum(0) - torch.tensor(sizes)
    recalled = [
        recall(memory, [DREAMS_PER_CLASS] * memory.num_classes, (life.config.seed, "inference", task))
        for task, memory in enumerate(life.memories)
    ]
    rules = fitted_rules(
        *seen(net, torch.cat([dreams.inputs for dreams in recalled])),
        torch.cat([dreams.labels + start for dreams, start in zip(recalled, starts, strict=True)]),
        torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
    )
    asked = [(*seen(net, data.inputs), data.labels + start) for data, start in zip(test, starts, strict=True)]
    return {
        name: mean(
            float((rule(features, logits).argmax(1) == labels).float().mean()) for features, logits, labels in asked
        )
        for name, rule in rules.items()
    }


@torch.no_grad()
def seen(net: NeocortexNet, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features [N, F] of ``images``, uint8 as ``net`` takes them, and the logits [N, K]."""
    features = torch.cat([net.features(to_unit_range(part)) for part in images.split(SEEN_TOGETHER)])
    return features, net.classify(features)


def fitted_rules(features: Tensor, logits: Tensor, labels: Tensor, task_of_class: Tensor) -> dict[str, Rule]:
    """Return all rules, fitted on dreams: ``features`` [N, F], ``logits`` [N, K], ``labels`` [N] over all classes."""
    means = torch.stack([features[labels == label].mean(0) for label in range(logits.shape[1])])
    rest = features - means[labels]
    covariance = rest.T @ rest / len(rest)
    floor = SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    directions = torch.linalg.solve(covariance + floor, means.T)
    offsets = (means * directions.T).sum(1) / 2
    ones, zeros = torch.ones(int(task_of_class.max()) + 1), torch.zeros(logits.shape[1])
    (biases,) = fit(lambda found: logits + found[0], [zeros], labels)
    scales, scaled_biases = fit(lambda found: logits * found[0][task_of_class] + found[1], [ones, zeros], labels)
    return {
        "largest logit": lambda _, logits: logits,
        "nearest mean of a class's dreams": lambda features, _: -torch.cdist(features, means),
        "likelihood under a Gaussian of each class's dreams (shared covariance)": lambda features, _: (
            features @ directions - offsets
        ),
        "logits with a bias for each class": lambda _, logits: logits + biases,
        "logits with a scale for each task and a bias for each class": lambda _, logits: (
            logits * scales[task_of_class] + scaled_biases
        ),
    }


def fit(scores: Callable[[list[Tensor]], Tensor], start: list[Tensor], labels: Tensor) -> list[Tensor]:
    """Return the parameters, beginning at ``start``, whose ``scores`` have the least cross-entropy with ``labels``."""
    found = [value.clone().requires_grad_() for value in start]
    optimiser = torch.optim.LBFGS(found, max_iter=100)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.cross_entropy(scores(found), labels)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return [value.detach() for value in found]
