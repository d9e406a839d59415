"""Labelled examples as learners take them: images as uint8 tensors, or feature vectors."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mygo import seeding
from mygo.config.ranges import check_share
from mygo.errors import InputError

ImageShape = tuple[int, int, int]
"""(C, H, W)."""
InputShape = tuple[int, ...]
"""What a learner sees: (C, H, W) of images, or (D,) of vectors."""


@dataclass(frozen=True)
class Examples:
    """Inputs, images uint8 [N, C, H, W] or vectors float32 [N, D], and their integer labels [N].

    Vectors that are kept can be float16.
    """

    inputs: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        form = self.inputs.dtype, self.inputs.dim()
        if form not in ((torch.uint8, 4), (torch.float32, 2), (torch.float16, 2)):
            raise ValueError(
                f"inputs must be images uint8 [N, C, H, W] or vectors float32 [N, D], not {self.inputs.dtype} "
                f"{list(self.inputs.shape)}"
            )
        if self.labels.dtype != torch.int64 or self.labels.shape != self.inputs.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{len(self.inputs)}], not {self.labels.dtype} {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "Examples":
        return Examples(self.inputs[index], self.labels[index])

    def take(self, rows: Tensor) -> "Examples":
        """Return the examples in ``rows`` [N]. Vectors that lie one after another are not copied, images are."""
        if self.inputs.dim() == 2 and len(rows) and bool((rows.diff() == 1).all()):
            return self[int(rows[0]) : int(rows[-1]) + 1]
        return self[rows]

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs: of images one per pixel and channel, of vectors four or, float16, two per value."""
        return self.inputs.nbytes

    @property
    def fingerprint(self) -> str:
        """A hash of all inputs and labels, in their order."""
        digest = hashlib.sha256(repr(tuple(self.inputs.shape)).encode())
        for part in (self.inputs, self.labels):
            digest.update(part.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def input_shape(self) -> InputShape:
        """(C, H, W) or (D,)."""
        return tuple(self.inputs.shape[1:])

    @property
    def image_shape(self) -> ImageShape:
        """(C, H, W).

        Raises:
            ValueError: the inputs are vectors.
        """
        _, channels, height, width = self.inputs.shape
        return channels, height, width

    def to(self, device: torch.device) -> "Examples":
        """Return the same on ``device``."""
        return Examples(self.inputs.to(device), self.labels.to(device))

    @staticmethod
    def concatenate(parts: "list[Examples]") -> "Examples":
        """Return all examples of ``parts`` in order."""
        return Examples(torch.cat([p.inputs for p in parts]), torch.cat([p.labels for p in parts]))


@dataclass(frozen=True)
class LabelledDataset:
    """Training and held-out test examples of the same classes; labels index ``class_names``."""

    name: str
    train: Examples
    test: Examples
    class_names: tuple[str, ...]

    @property
    def input_shape(self) -> InputShape:
        """(C, H, W) of images, or (D,) of vectors."""
        return self.train.input_shape


def network_input(inputs: Tensor) -> Tensor:
    """Return ``inputs`` as networks take them: uint8 images in [-1, 1], vectors as they are."""
    return to_unit_range(inputs) if inputs.dtype == torch.uint8 else inputs


def to_unit_range(images: Tensor) -> Tensor:
    """Return uint8 ``images`` as float32 in [-1, 1], which is what every network for images reads and writes."""
    return images.float().div_(127.5).sub_(1.0)


def to_pixels(images: Tensor) -> Tensor:
    """Return float ``images`` in [-1, 1] as uint8; the inverse of `to_unit_range` up to rounding."""
    return images.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def with_validation(dataset: LabelledDataset, share: float) -> LabelledDataset:
    """Return ``dataset`` without its test images: a ``share`` of each class's training images takes their place.

    The cut is the same whatever a life's seed is. Both parts keep at least one image of every class.

    Raises:
        InputError: a class has a single training image, or ``share`` is none.
    """
    check_share(share, "validation-share")
    return with_held_out(dataset, share, lambda label: ("validation", label))


def with_held_out(dataset: LabelledDataset, share: float, draw: Callable[[int], seeding.Key]) -> LabelledDataset:
    """Return ``dataset`` with a ``share`` of each class's training images as its test images, in place of its own.

    ``draw`` names the random draw for a label. Both parts keep at least one image of every class.

    Raises:
        InputError: a class has a single training image, or ``share`` is none.
    """
    held_out = held_out_rows(dataset.train.labels, share, dataset.class_names, draw)
    return LabelledDataset(dataset.name, dataset.train[~held_out], dataset.train[held_out], dataset.class_names)


def held_out_rows(
    labels: Tensor, share: float, class_names: Sequence[str], draw: Callable[[int], seeding.Key]
) -> Tensor:
    """Return which of the examples with ``labels`` [N] `with_held_out` holds out, bool [N].

    Raises:
        InputError: a class has a single example, or ``share`` is none.
    """
    check_share(share, "held-out")
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero().squeeze(1)
        if len(rows) < 2:
            raise InputError(f"Class {class_names[label]} has one training image: none can be held out.")
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held_out[rows[torch.randperm(len(rows), generator=seeding.stream(*draw(label)))[:count]]] = True
    return held_out
