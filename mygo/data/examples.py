"""Labelled images, held as uint8 tensors."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mygo import seeding
from mygo.config.ranges import check_share
from mygo.errors import InputError

ImageShape = tuple[int, int, int]
"""(C, H, W)."""


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 [N, C, H, W] and their integer labels [N]."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], not {self.images.dtype} {list(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{len(self.images)}], not {self.labels.dtype} {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "LabelledImages":
        return LabelledImages(self.images[index], self.labels[index])

    @property
    def nbytes(self) -> int:
        """Bytes of the raw images, one per pixel and channel."""
        return self.images.numel()

    @property
    def fingerprint(self) -> str:
        """A hash of all pixels and labels, in their order."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for part in (self.images, self.labels):
            digest.update(part.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def to(self, device: torch.device) -> "LabelledImages":
        """Return the same on ``device``."""
        return LabelledImages(self.images.to(device), self.labels.to(device))

    @staticmethod
    def concatenate(parts: "list[LabelledImages]") -> "LabelledImages":
        """Return all examples of ``parts`` in order."""
        return LabelledImages(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts]))


@dataclass(frozen=True)
class ImageDataset:
    """Training and held-out test images of the same classes; labels index ``class_names``."""

    name: str
    train: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.train.image_shape


def to_unit_range(images: Tensor) -> Tensor:
    """Return uint8 ``images`` as float32 in [-1, 1], which is what every network here reads and writes."""
    return images.float().div_(127.5).sub_(1.0)


def to_pixels(images: Tensor) -> Tensor:
    """Return float ``images`` in [-1, 1] as uint8; the inverse of `to_unit_range` up to rounding."""
    return images.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def with_validation(dataset: ImageDataset, share: float) -> ImageDataset:
    """Return ``dataset`` without its test images: a ``share`` of each class's training images takes their place.

    The cut is the same whatever a life's seed is. Both parts keep at least one image of every class.

    Raises:
        InputError: a class has a single training image, or ``share`` is none.
    """
    check_share(share, "validation-share")
    return with_held_out(dataset, share, lambda label: ("validation", label))


def with_held_out(dataset: ImageDataset, share: float, draw: Callable[[int], seeding.Key]) -> ImageDataset:
    """Return ``dataset`` with a ``share`` of each class's training images as its test images, in place of its own.

    ``draw`` names the random draw for a label. Both parts keep at least one image of every class.

    Raises:
        InputError: a class has a single training image, or ``share`` is none.
    """
    check_share(share, "held-out")
    held_out = torch.zeros(len(dataset.train), dtype=torch.bool)
    for label in dataset.train.labels.unique().tolist():
        rows = (dataset.train.labels == label).nonzero().squeeze(1)
        if len(rows) < 2:
            raise InputError(f"Class {dataset.class_names[label]} has one training image: none can be held out.")
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held_out[rows[torch.randperm(len(rows), generator=seeding.stream(*draw(label)))[:count]]] = True
    return ImageDataset(dataset.name, dataset.train[~held_out], dataset.train[held_out], dataset.class_names)
