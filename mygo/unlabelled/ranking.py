"""Which inputs a person should label next: groups that look like no known class first, then confusions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mygo.errors import InputError
from mygo.learner.learner import Learner
from mygo.learner.predict import NO_SCORE, Predictions, classify
from mygo.unknown.threshold import threshold_at
from mygo.unlabelled.grouping import group_unknown, spread_out
from mygo.unlabelled.knowledge import features_of, knowledge_of

LOOKS_NEW = 0.3
"""The share of dreams that look stranger than an input from which a group may begin."""
CORE = 2 / 3
"""The share of a group, from its middle on, that is suggested first: at its rim it may be mixed with others."""


@dataclass(frozen=True)
class Suggestion:
    """An input to label."""

    row: int
    """Which of those that were seen."""
    group: int | None
    """The group that it belongs to, from 1 on, the strangest first. None: it is a confusion."""
    taken_for: str
    """The most probable class."""
    confused_with: str
    """The next one."""
    confidence: float

    @property
    def reason(self) -> str:
        """Why it is suggested."""
        if self.group is None:
            return f"{self.taken_for} or {self.confused_with}"
        return f"group {self.group}"


@dataclass(frozen=True)
class Suggestions:
    """Inputs to label, the most useful first."""

    chosen: tuple[Suggestion, ...]
    group_sizes: tuple[int, ...]
    """Inputs of each group, suggested or not."""


def suggest(life: Learner, seen: Tensor, count: int) -> Suggestions:
    """Return which ``count`` of N inputs that ``life`` has ``seen`` a person should label, by its memories alone.

    Groups of inputs that no known class explains (`group_unknown`) take turns, the strangest first. Of each those come
    first that cover its core (`spread_out`). Then come the inputs between two known classes, the closest first.

    Raises:
        InputError: the life has no score of what it does not know.
    """
    knowledge = knowledge_of(life)
    predictions = classify(life, seen)
    scores, thresholds = predictions.out_of_distribution, predictions.thresholds
    if scores is None or thresholds is None:
        raise InputError(NO_SCORE)
    features = features_of(life, seen) @ knowledge.metric
    candidates = scores > threshold_at(thresholds, LOOKS_NEW)
    groups = group_unknown(features, knowledge.means @ knowledge.metric, candidates).members
    groups = tuple(sorted(groups, key=lambda rows: -float(scores[rows].mean())))
    taken = in_turn([covering(features, rows, count) for rows in groups])[:count]
    group_of = {row: number for number, rows in enumerate(groups, start=1) for row in rows.tolist()}
    rest = [row for row in confusions(predictions) if row not in group_of]
    rows = [*taken, *rest[: count - len(taken)]]
    return Suggestions(described(rows, group_of, predictions), tuple(map(len, groups)))


def covering(features: Tensor, rows: Tensor, count: int) -> list[int]:
    """Return at most ``count`` of the ``rows`` of a group, which begin at its middle; they cover its core."""
    size = max(1, round(CORE * len(rows)))
    core, rim = rows[:size], rows[size:]
    return [*core[spread_out(features[core], count)].tolist(), *rim.tolist()][:count]


def in_turn(queues: Sequence[Sequence[int]]) -> list[int]:
    """Return the first of each of ``queues``, then the second of each, and so on."""
    longest = max(map(len, queues), default=0)
    return [queue[place] for place in range(longest) for queue in queues if place < len(queue)]


def confusions(predictions: Predictions) -> list[int]:
    """Return all rows of ``predictions``, by how little more probable the best class is than the next one."""
    best = predictions.probabilities.topk(2, dim=1).values
    rows: list[int] = (best[:, 0] - best[:, 1]).argsort(stable=True).tolist()
    return rows


def described(rows: Sequence[int], group_of: dict[int, int], predictions: Predictions) -> tuple[Suggestion, ...]:
    """Return what to say of each of ``rows``."""
    best = predictions.probabilities[torch.tensor(rows, dtype=torch.int64)].topk(2, dim=1)
    names = predictions.class_names
    return tuple(
        Suggestion(row, group_of.get(row), names[first], names[second], confidence)
        for row, (first, second), (confidence, _) in zip(rows, best.indices.tolist(), best.values.tolist(), strict=True)
    )
