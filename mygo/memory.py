"""A generator as a memory: how good its dreams are, and the form in which it is kept."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mygo import seeding
from mygo.data import LabelledImages, to_pixels, to_unit_range
from mygo.errors import check_ranges
from mygo.gan import GanConfig, Generator
from mygo.neocortex import NeocortexNet
from mygo.team import Team

QUALITY_SAMPLES = 500
"""Dreams per class that the quality of a memory is measured on."""


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """The generative memory of a task and what it must reach."""

    gan: GanConfig = field(default_factory=GanConfig)
    """The conditional GAN."""
    fidelity_floor: float = 0.7
    """Least share of dreams whose label a judge trained on the task's real data confirms."""
    diversity_floor: float = 0.2
    """Least within-class variance of dreams against that of real images, in the judge's features."""
    attempts: int = 2
    """How often a memory is trained, each time with another seed, before a run ends for its quality."""

    def __post_init__(self) -> None:
        floors = {"fidelity_floor": (0.0, 1.0), "diversity_floor": (0.0, math.inf)}
        check_ranges(self, "memory", **floors, attempts=(1, math.inf))


@dataclass(frozen=True)
class Quality:
    """How good dreams are: two ratios, 1 being as good as real images."""

    label_fidelity: float
    diversity: float

    def reaches(self, floor: MemoryConfig) -> bool:
        """Tell whether both measures are at or above the floor."""
        return self.label_fidelity >= floor.fidelity_floor and self.diversity >= floor.diversity_floor

    def __str__(self) -> str:
        return f"label fidelity {self.label_fidelity:.3f}, diversity {self.diversity:.3f}"


@torch.no_grad()
def measure_quality(
    generator: Generator, judge: NeocortexNet, task: int, data: LabelledImages, key: seeding.Key, team: Team
) -> Quality:
    """Return the quality of ``generator``'s dreams according to ``judge``, which was trained on the real ``data``.

    Label fidelity is the share of dreams that the judge's head of ``task`` gives their conditioning label. Diversity is
    the mean over classes of the total variance of the dreams' features, divided by that of the real images. Every rank
    gets the same numbers, so that all decide alike.
    """
    device = team.device
    judge.eval()
    labels = torch.arange(generator.num_classes, device=device).repeat_interleave(QUALITY_SAMPLES)
    noise = torch.randn(len(labels), generator.latent_dim, generator=seeding.stream(*key, "quality")).to(device)
    confirmed = 0
    ratios = []
    for label in range(generator.num_classes):
        rows = (labels == label).nonzero().squeeze(1)
        # As they will be dreamt: through pixels.
        dreams = to_unit_range(to_pixels(generator(noise[rows], labels[rows])))
        dreamt = judge.features(dreams)
        confirmed += int((judge.classifiers[task](dreamt).argmax(1) == label).sum())
        images = data.images[data.labels == label][:QUALITY_SAMPLES]
        real = judge.features(to_unit_range(images.to(device)))
        spread = real.var(0, correction=0).sum().clamp_min(1e-12)
        ratios.append(float(dreamt.var(0, correction=0).sum() / spread))
    measured = torch.tensor([confirmed / len(labels), sum(ratios) / len(ratios)], dtype=torch.float64)
    fidelity, diversity = (team.sum(measured) / team.size).tolist()
    return Quality(fidelity, diversity)


@torch.no_grad()
def sample_grid(generator: Generator, key: seeding.Key, device: torch.device, columns: int = 10) -> Tensor:
    """Return dreams uint8 [classes * columns, C, H, W], class after class."""
    labels = torch.arange(generator.num_classes, device=device).repeat_interleave(columns)
    noise = torch.randn(len(labels), generator.latent_dim, generator=seeding.stream(*key, "grid")).to(device)
    return to_pixels(generator(noise, labels)).cpu()


@torch.no_grad()
def as_stored(module: nn.Module) -> None:
    """Round the weights of ``module`` to the half precision in which memories are kept, in place.

    A memory is used as it is stored, so a life that goes on in memory and one read back from disk are the same.
    """
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a memory in the form in which they are kept."""
    return {name: t.half() if t.is_floating_point() else t for name, t in module.state_dict().items()}


def stored_bytes(module: nn.Module) -> int:
    """Return the bytes of the weights of a memory as they are kept."""
    return sum(t.nbytes for t in stored_tensors(module).values())
