"""What a life says of new images, with and without being told the task."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mygo.data import to_unit_range
from mygo.errors import InputError

if TYPE_CHECKING:
    from mygo.life import Life

NOTHING_LEARNED = "This life has learned no class yet: let it learn a task first."

SEEN_TOGETHER = 500
"""Images that go through the network at once."""


@dataclass(frozen=True)
class Predictions:
    """For N images, the probability of each of K classes."""

    class_names: tuple[str, ...]
    probabilities: Tensor
    """float32 [N, K]; each row sums to 1."""

    @property
    def names(self) -> list[str]:
        """The most probable class of each image."""
        return [self.class_names[best] for best in self.probabilities.argmax(1).tolist()]

    @property
    def confidences(self) -> Tensor:
        """The probability of the most probable class of each image, [N]."""
        return self.probabilities.amax(1)


class Classifier(nn.Module):
    """What a life knows, from pixels to logits: its frozen front, if it has one, and its neocortex."""

    def __init__(self, life: "Life") -> None:
        """Copy the networks of ``life`` to the CPU.

        Raises:
            InputError: the life has learned no class.
        """
        super().__init__()
        if not life.neocortex.head_sizes:
            raise InputError(NOTHING_LEARNED)
        self.image_shape = life.image_shape
        self.encoder = copy.deepcopy(life.encoder)
        self.neocortex = copy.deepcopy(life.neocortex)
        self.cpu().eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, K] over all classes learned, head after head, for ``images`` uint8 [N, C, H, W]."""
        perceived = images if self.encoder is None else self.encoder(images)
        logits: Tensor = self.neocortex(to_unit_range(perceived))
        return logits


@torch.no_grad()
def predict(life: "Life", images: Tensor, lesson: str | None = None) -> Predictions:
    """Return how probable ``life`` finds each class for ``images`` (uint8 [N, C, H, W] of its image shape).

    With the name of a ``lesson`` it picks among that lesson's classes alone (task-IL), else among all (class-IL).

    Raises:
        InputError: the images are of another shape, there is no such lesson, or nothing was learned yet.
    """
    if images.dtype != torch.uint8 or images.dim() != 4 or tuple(images.shape[1:]) != life.image_shape:
        found = f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
        raise InputError(f"This life sees images uint8 [N, {', '.join(map(str, life.image_shape))}], not {found}.")
    classifier = Classifier(life)
    names, columns = tuple(life.class_names), slice(None)
    if lesson is not None:
        taught = {each.name: index for index, each in enumerate(life.lessons)}
        if lesson not in taught:
            raise InputError(f"This life had no lesson {lesson!r}: choose from {', '.join(map(repr, taught))}.")
        index = taught[lesson]
        start = sum(life.neocortex.head_sizes[:index])
        columns = slice(start, start + life.neocortex.head_sizes[index])
        names = names[columns]
    if len(images) == 0:
        return Predictions(names, torch.empty(0, len(names)))
    logits = [classifier(part)[:, columns] for part in images.split(SEEN_TOGETHER)]
    return Predictions(names, torch.cat(logits).softmax(1))
