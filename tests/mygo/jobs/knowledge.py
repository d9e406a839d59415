"""All that a life knows, to compare lives to the bit."""

import torch
from torch import Tensor

from mygo.learner.learner import Learner


def known(life: Learner) -> dict[str, Tensor]:
    """Return all that a life behind a frozen encoder knows, by class: outputs, memories, teachers; and its limits."""
    found = limits(life)
    for number, lesson in enumerate(life.lessons):
        parts = {"head": life.neocortex.classifiers[number], "memory": life.memories[number]}
        for part, module in {**parts, "teacher": life.teachers[number]}.items():
            for name, tensor in module.state_dict().items():
                found |= {f"{each} {part} {name}": row for each, row in zip(lesson.classes, tensor, strict=True)}
    return found


def weights(life: Learner) -> dict[str, Tensor]:
    """Return all tensors of a life of any kind, by their places in it."""
    nets = {"neocortex": life.neocortex}
    nets |= {f"memory {number}": each for number, each in enumerate(life.memories)}
    nets |= {f"teacher {number}": each for number, each in enumerate(life.teachers)}
    return limits(life) | {f"{part} {name}": t for part, net in nets.items() for name, t in net.state_dict().items()}


def limits(life: Learner) -> dict[str, Tensor]:
    """Return what a life knows of its limits, if it has slept."""
    return {} if life.detector is None else {f"detector {name}": t for name, t in life.detector.state_dict().items()}


def assert_same_weights(life: Learner, other: Learner) -> None:
    assert_equal(weights(life), weights(other))


def assert_same(life: Learner, other: Learner) -> None:
    """Make sure that two lives behind a frozen encoder know the same, whatever the order of their lessons."""
    assert_equal(known(life), known(other))


def assert_equal(mine: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
