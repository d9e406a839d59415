"""A generator as a memory: how good its dreams are, and the form in which it is kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mygo import seeding
from mygo.config.learner import MemoryConfig
from mygo.data.examples import Examples, network_input, to_pixels, to_unit_range
from mygo.data.mapped import let_go
from mygo.memory.gaussian import ClassGaussians, GaussianMemory, eigen
from mygo.networks.generator import Generator
from mygo.networks.neocortex import NeocortexNet
from mygo.training.process_group import ProcessGroup

RECALLED_TOGETHER = 256
"""Dreams that one call of a generator makes."""
QUALITY_SAMPLES = 500
"""Dreams per class that the quality of a memory is measured on."""
COMPARED_TOGETHER = 2048
"""Real images or vectors that dreams are compared with at once."""
MEANS = ("label_fidelity", "diversity", "frechet_distance", "nearest_neighbour_ratio")
"""The fields of `Quality` that are numbers, over all classes of a memory."""


@dataclass(frozen=True)
class Quality:
    """How good dreams are, as seen by a judge that learned the task's real images."""

    label_fidelity: float
    """Share of dreams that the judge gives their conditioning label."""
    diversity: float
    """Mean over classes of the total variance of the dreams' features, divided by that of the real images'."""
    frechet_distance: float = 0.0
    """Fréchet distance between the features of dreams and of real images, in units of the real ones' total variance, so
    that judges can be compared; 0 is as good as real."""
    nearest_neighbour_ratio: float = 1.0
    """Median distance, in pixels or features, of a dream to the nearest training example of its class, divided by that
    of a training example to the nearest other one. Clearly below 1, the memory repeats what it was trained on."""
    label_fidelity_per_class: tuple[float, ...] = ()
    """The label fidelity of each class's dreams; `label_fidelity` is their mean. Empty where it was not measured."""
    diversity_per_class: tuple[float, ...] = ()
    """The diversity of each class's dreams; `diversity` is their mean. Empty where it was not measured."""

    @property
    def means(self) -> dict[str, float]:
        """The measures of the memory as a whole, by name."""
        return {name: getattr(self, name) for name in MEANS}

    def reaches(self, floor: MemoryConfig) -> bool:
        """Return whether both measures are at or above the floor, as a whole and for each class."""
        whole = self.label_fidelity >= floor.fidelity_floor and self.diversity >= floor.diversity_floor
        return whole and not self.classes_below(floor)

    def classes_below(self, floor: MemoryConfig) -> list[int]:
        """Return which classes are below the floor in one measure at least."""
        pairs = zip(self.label_fidelity_per_class, self.diversity_per_class, strict=True)
        return [
            label
            for label, (fidelity, diversity) in enumerate(pairs)
            if fidelity < floor.fidelity_floor or diversity < floor.diversity_floor
        ]

    def of_classes(self, kept: Sequence[int]) -> "Quality":
        """Return what there is to say of the ``kept`` classes, without the measures that were made over all."""
        per_class = (self.label_fidelity_per_class, self.diversity_per_class)
        fidelity, diversity = (tuple(measures[label] for label in kept) for measures in per_class)
        return Quality(
            sum(fidelity) / len(kept),
            sum(diversity) / len(kept),
            label_fidelity_per_class=fidelity,
            diversity_per_class=diversity,
        )

    def of_class(self, label: int) -> "Quality":
        """Return the measures that there are of one class alone."""
        return Quality(self.label_fidelity_per_class[label], self.diversity_per_class[label])

    def __str__(self) -> str:
        return f"label fidelity {self.label_fidelity:.3f}, diversity {self.diversity:.3f}"


@torch.no_grad()
def measure_quality(
    generator: Generator, judge: NeocortexNet, task: int, data: Examples, key: seeding.Key, group: ProcessGroup
) -> Quality:
    """Return the quality of ``generator``'s dreams according to ``judge``, which was trained on the real ``data``.

    Of every class, `QUALITY_SAMPLES` dreams are compared with as many real images. Every rank gets the same numbers, so
    that all decide alike.
    """
    judge.eval()
    labels = torch.arange(generator.num_classes, device=group.device).repeat_interleave(QUALITY_SAMPLES)
    noise = torch.randn(len(labels), generator.latent_dim, generator=seeding.stream(*key, "quality")).to(group.device)

    def dreams_of(label: int) -> Tensor:
        rows = (labels == label).nonzero().squeeze(1)
        # As they will be dreamt: through pixels.
        return to_unit_range(to_pixels(generator(noise[rows], labels[rows])))

    return compared(dreams_of, judge.features, judge.classifiers[task], data, generator.num_classes, group)


@torch.no_grad()
def measure_gaussians(
    memory: GaussianMemory, judge: nn.Module, data: Examples, key: seeding.Key, group: ProcessGroup
) -> Quality:
    """Return the quality of what ``memory`` alone dreams, according to ``judge``, which was trained on real ``data``.

    Both are compared as vectors, so that what a memory repeats is found where it would be repeated.
    """
    gaussians = ClassGaussians([memory])

    def dreams_of(label: int) -> Tensor:
        labels = torch.full((QUALITY_SAMPLES,), label)
        return gaussians.dream(labels, (*key, "quality", label)).to(group.device)

    return compared(dreams_of, nn.Identity(), judge.to(group.device), data, memory.num_classes, group)


def compared(
    dreams_of: Callable[[int], Tensor],
    features_of: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    data: Examples,
    num_classes: int,
    group: ProcessGroup,
) -> Quality:
    """Return how good ``dreams_of`` each class are beside real ``data``, as a judge's features and head see them."""
    confirmed: list[int] = []
    spreads, distances = [], []
    features: dict[str, list[Tensor]] = {"dreamt": [], "real": []}
    for label in range(num_classes):
        dreams = dreams_of(label)
        dreamt = features_of(dreams)
        confirmed.append(int((classify(dreamt).argmax(1) == label).sum()))
        images = data.take((data.labels == label).nonzero().squeeze(1)).inputs
        real = features_of(network_input(images[:QUALITY_SAMPLES].to(group.device, copy=True)))
        spread = real.var(0, correction=0).sum().clamp_min(1e-12)
        spreads.append(float(dreamt.var(0, correction=0).sum() / spread))
        distances.append(nearest_neighbour_ratio(dreams, images))
        features["dreamt"].append(dreamt)
        features["real"].append(real)
    measured = [
        sum(confirmed) / (num_classes * QUALITY_SAMPLES),
        sum(spreads) / len(spreads),
        frechet_distance(torch.cat(features["dreamt"]), torch.cat(features["real"])),
        sum(distances) / len(distances),
        *(count / QUALITY_SAMPLES for count in confirmed),
        *spreads,
    ]
    agreed = (group.sum(torch.tensor(measured, dtype=torch.float64)) / group.size).tolist()
    whole, each = agreed[: len(MEANS)], agreed[len(MEANS) :]
    return Quality(
        **dict(zip(MEANS, whole, strict=True)),
        label_fidelity_per_class=tuple(each[:num_classes]),
        diversity_per_class=tuple(each[num_classes:]),
    )


def frechet_distance(some: Tensor, real: Tensor) -> float:
    """Return the Fréchet distance between ``some`` features [N, F] and ``real`` ones [M, F].

    Heusel et al. 2017, arXiv:1706.08500, eq. 6, divided by the real features' total variance.
    """
    (mean, covariance), (real_mean, real_covariance) = (moments(features.double()) for features in (some, real))
    values, vectors = eigen(real_covariance)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    crossed = torch.linalg.eigvalsh(root @ covariance @ root).clamp_min(0).sqrt().sum()
    total = real_covariance.trace()
    distance = (mean - real_mean).square().sum() + covariance.trace() + total - 2 * crossed
    return float(distance.clamp_min(0) / total.clamp_min(1e-12))


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean [F] and the covariance [F, F] of ``features`` [N, F]."""
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / len(features)


def nearest_neighbour_ratio(dreams: Tensor, images: Tensor) -> float:
    """Return how far ``dreams`` are from the nearest of ``images``, against the images' own distance.

    Dreams [N, C, H, W] or [N, D] are as networks take them, of images [M, C, H, W] or [M, D] some are made so at once.
    What an image that was not trained on would have is estimated by leaving one out: the distance of each of the first
    N images to the nearest other one. A single image has no other; its ratio counts as 1.
    """
    if len(images) < 2:
        return 1.0

    def flat(some: Tensor) -> Tensor:
        return network_input(some.to(dreams.device, copy=True)).flatten(1)

    first, of_dreams, of_images = flat(images[: len(dreams)]), [], []
    for start in range(0, len(images), COMPARED_TOGETHER):
        others = flat(images[start : start + COMPARED_TOGETHER])
        let_go(images)
        of_dreams.append(torch.cdist(dreams.flatten(1), others).amin(1))
        among_images = torch.cdist(first, others)
        if start < len(first):
            among_images[start:].fill_diagonal_(torch.inf)
        of_images.append(among_images.amin(1))
    ours, theirs = (torch.stack(nearest).amin(0).median() for nearest in (of_dreams, of_images))
    return float(ours / theirs.clamp_min(1e-12))


@torch.no_grad()
def recall(memory: Generator, counts: Sequence[int], key: seeding.Key) -> Examples:
    """Return dreams of ``memory``, ``counts`` of each of its classes, class after class; the same for the same key."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    noise = torch.randn(len(labels), memory.latent_dim, generator=seeding.stream(*key))
    parts = zip(noise.split(RECALLED_TOGETHER), labels.split(RECALLED_TOGETHER), strict=True)
    return Examples(torch.cat([to_pixels(memory(*part)) for part in parts]), labels)


@torch.no_grad()
def sample_grid(generator: Generator, key: seeding.Key, device: torch.device, columns: int = 10) -> Tensor:
    """Return dreams to look at, uint8 [classes * columns, C, H, W], class after class.

    Of feature maps, which have neither one nor three channels, it is the mean over channels.
    """
    labels = torch.arange(generator.num_classes, device=device).repeat_interleave(columns)
    noise = torch.randn(len(labels), generator.latent_dim, generator=seeding.stream(*key, "grid")).to(device)
    dreams = generator(noise, labels)
    if dreams.shape[1] not in (1, 3):
        dreams = dreams.mean(1, keepdim=True)
    return to_pixels(dreams).cpu()


@torch.no_grad()
def round_to_half_(module: nn.Module) -> None:
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
