"""All that a life behind a frozen encoder knows, to compare lives to the bit."""

import torch
from torch import Tensor

from mygo.learner.learner import Learner


def known(life: Learner) -> dict[str, Tensor]:
    """Return all that a life knows, by class: outputs, memories and teachers."""
    found: dict[str, Tensor] = {}
    for number, lesson in enumerate(life.lessons):
        parts = {"head": life.neocortex.classifiers[number], "memory": life.memories[number]}
        for part, module in {**parts, "teacher": life.teachers[number]}.items():
            for name, tensor in module.state_dict().items():
                found |= {f"{each} {part} {name}": row for each, row in zip(lesson.classes, tensor, strict=True)}
    return found


def assert_same(life: Learner, other: Learner) -> None:
    mine, theirs = known(life), known(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
