"""The memory of classes as Gaussians of low rank over feature vectors, and what they recall together.

A class keeps its mean, the variance in each dimension, and its main directions of variation as loadings in few bits,
which say how much of each dimension's deviation lies along them. How the rest varies together is shared: it is borrowed
from the deviations of all classes. So all that is kept is kept for a class, can be merged with more of the same class,
and is gone with it.
"""

import copy
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mygo import seeding
from mygo.config.learner import GaussianConfig, LoadingBits
from mygo.data.examples import Examples
from mygo.data.mapped import rows_of
from mygo.training.process_group import ProcessGroup

CLIPPED = tuple(tenth / 10 for tenth in range(3, 11))
"""Shares of a direction's largest loading at which all are clipped; that is taken which rounds them best."""
DONORS = 2
"""Classes that lend their deviations to one vector."""
LENT_TOGETHER = 16
"""Vectors, one after another, that borrow from the same classes."""
SHRINKAGE = 0.01
"""Share of the mean variance that is added to each dimension's before a covariance is inverted."""
LEAST_VARIANCE = 1e-6
"""What that mean counts as where nothing varies, beside squares of values of about 1."""
LEAST_LEFT = 1e-5
"""Share of the shared variance that must lie outside a class's own directions for anything to be borrowed."""
APART = 1e-9
"""How far eigenvalues that are the same are taken apart, beside the mean variance, where they cannot be found else."""
LEAST_DEVIATION = 1e-12
"""What loadings are divided by where there are none."""
ROWS_AT_ONCE = 1024
"""Vectors that are in memory together while a class is fitted."""


class GaussianMemory(nn.Module):
    """The classes of one lesson, K of them, in D dimensions with R directions each.

    Buffers: ``means`` and ``variances`` [K, D]; ``loadings`` uint8 [K, R, ⌈D · bits / 8⌉], whose levels times
    ``scales`` [K, R] and each dimension's standard deviation are the main directions, as long as the standard deviation
    along them.
    """

    means: Tensor
    variances: Tensor
    loadings: Tensor
    scales: Tensor

    def __init__(self, num_classes: int, feature_dim: int, rank: int, bits: LoadingBits = 8) -> None:
        super().__init__()
        self.num_classes, self.bits = num_classes, bits
        self.register_buffer("means", torch.zeros(num_classes, feature_dim))
        self.register_buffer("variances", torch.zeros(num_classes, feature_dim))
        width = -(-feature_dim * bits // 8)
        self.register_buffer("loadings", torch.zeros(num_classes, rank, width, dtype=torch.uint8))
        self.register_buffer("scales", torch.zeros(num_classes, rank))

    @property
    def feature_dim(self) -> int:
        """The dimensions of a vector."""
        return self.means.shape[1]

    @property
    def rank(self) -> int:
        """The main directions that are kept of a class."""
        return self.scales.shape[1]

    @property
    def factors(self) -> Tensor:
        """The main directions, float32 [K, R, D]; together they have no more than the variance of any dimension."""
        levels = self.loadings if self.bits == 8 else unpacked(self.loadings)[:, :, : self.feature_dim]
        loadings = (levels - (2**self.bits - 1) / 2) * self.scales[:, :, None]
        explained = loadings.square().sum(1, keepdim=True).clamp_min(1)
        directions: Tensor = loadings * (self.variances[:, None] / explained).sqrt()
        return directions

    @property
    def rest(self) -> Tensor:
        """The variance that the main directions leave, [K, D]."""
        return self.left_by(self.factors)

    def left_by(self, factors: Tensor) -> Tensor:
        """Return the variance [K, D] that ``factors`` leave, which are the main directions, unpacked before."""
        left: Tensor = self.variances - factors.square().sum(1)
        return left.clamp_min(0)

    def set_class(self, label: int, mean: Tensor, factors: Tensor, rest: Tensor) -> None:
        """Keep ``mean`` [D], ``factors`` [at most R, D] and ``rest`` [D] of the class ``label``, rounded as stored."""
        self.means[label] = mean.half().float()
        self.variances[label] = (rest.clamp_min(0) + factors.square().sum(0)).half().float()
        deviations = self.variances[label].sqrt()
        loadings = factors / deviations.where(deviations > 0, torch.inf)  # what varies too little to be kept has none
        levels, scales = rounded(loadings.clamp(-1, 1), 2**self.bits)
        count = len(factors)
        self.loadings[label, :count] = levels if self.bits == 8 else packed(levels)
        self.scales[label, :count] = scales
        self.loadings[label, count:], self.scales[label, count:] = 0, 0

    @classmethod
    def of_classes(cls, memories: "Sequence[GaussianMemory]", labels: Tensor) -> "GaussianMemory":
        """Return a copy of the classes ``labels`` [K], counted over all of ``memories``."""
        found = cls(len(labels), memories[0].feature_dim, memories[0].rank, memories[0].bits)
        for name, _ in list(found.named_buffers()):
            found.register_buffer(name, torch.cat([getattr(memory, name) for memory in memories])[labels])
        return found

    def keep_classes(self, kept: Sequence[int]) -> None:
        """Drop all classes but those at ``kept``."""
        for name, buffer in list(self.named_buffers()):
            self.register_buffer(name, buffer[list(kept)].clone())
        self.num_classes = len(kept)


def rounded(loadings: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return which of ``count`` levels each of ``loadings`` [R, D] has, uint8 [R, D], and how far they are apart, [R].

    Levels are spread evenly about 0, which is none of them.
    """
    largest = loadings.abs().amax(1, keepdim=True)
    middle, least = (count - 1) / 2, torch.full_like(largest, torch.inf)
    best, apart = torch.zeros_like(loadings), torch.zeros_like(largest)
    for share in CLIPPED:
        steps = (share * largest / middle).half().float()
        levels = (loadings / steps.clamp_min(LEAST_DEVIATION) + middle).round().clamp(0, count - 1)
        error = ((levels - middle) * steps - loadings).square().sum(1, keepdim=True)
        better = error < least
        best, apart, least = levels.where(better, best), steps.where(better, apart), error.where(better, least)
    return best.to(torch.uint8), apart.squeeze(1)


def packed(levels: Tensor) -> Tensor:
    """Return ``levels`` uint8 [R, D], each below 16, two a byte, [R, ⌈D / 2⌉]."""
    levels = F.pad(levels, (0, levels.shape[1] % 2))
    return levels[:, ::2] + 16 * levels[:, 1::2]


def unpacked(pairs: Tensor) -> Tensor:
    """Return the levels that `packed` made ``pairs`` [..., ⌈D / 2⌉] of, and one more if D is odd."""
    return torch.stack([pairs % 16, pairs // 16], -1).flatten(-2)


@torch.no_grad()
def fit_gaussians(
    vectors: Tensor, labels: Tensor, num_classes: int, config: GaussianConfig, group: ProcessGroup
) -> GaussianMemory:
    """Return the memory of ``vectors`` [N, D] with ``labels`` [N]; of a class without any it is all zeros.

    Each rank of ``group`` fits its share of the classes, and all get the same memory.
    """
    memory = GaussianMemory(num_classes, vectors.shape[1], config.rank, config.bits)
    for label in range(group.rank, num_classes, group.size):
        rows = (labels == label).nonzero().squeeze(1)
        if len(rows):
            mean, factors, rest = moments_of(vectors, rows, config.rank, group.device)
            memory.set_class(label, mean.cpu(), factors.cpu(), rest.cpu())
    if group.size > 1:
        for buffer in memory.buffers():
            buffer.copy_(group.sum(buffer.float()))  # the other ranks have zeros there
    return memory


def moments_of(vectors: Tensor, rows: Tensor, rank: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean [D] of the ``rows`` [N] of ``vectors``, and their covariance as `main_directions` does.

    Few rows are in memory at once.
    """
    parts = rows.split(ROWS_AT_ONCE)
    sums = [rows_of(vectors, part).to(device).double().sum(0) for part in parts]
    mean = (torch.stack(sums).sum(0) / len(rows)).float()
    size = max(1, len(rows) - 1) ** 0.5
    deviations = ((rows_of(vectors, part).to(device) - mean) / size for part in parts)
    if len(rows) <= len(mean):
        return mean, *main_directions(torch.cat(list(deviations)), rank)
    covariance = torch.zeros(len(mean), len(mean), device=device)
    for part in deviations:
        covariance.addmm_(part.T, part)
    values, axes = main_axes(covariance, rank)
    factors = axes * values.clamp_min(0).sqrt()[:, None]
    return mean, factors, (covariance.diag() - factors.square().sum(0)).clamp_min(0)


def main_directions(deviations: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return a covariance in two parts: main directions [at most rank, D] and the variance [D] that they leave.

    It is that of ``deviations`` [N, D], whose rows are scaled such that their squares sum up to variances. N is about D
    at most: what is decomposed is [N, N], which has the eigenvalues of the covariance.
    """
    _, axes = main_axes(deviations @ deviations.T, rank)
    factors = axes @ deviations
    return factors, (deviations.square().sum(0) - factors.square().sum(0)).clamp_min(0)


def main_axes(symmetric: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues of a matrix [N, N], at most ``rank`` of them, and their eigenvectors as rows."""
    values, vectors = eigen(symmetric)
    first = max(0, len(values) - rank)
    return values[first:].flip(0), vectors[:, first:].T.flip(0)


def eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Return all eigenvalues of a matrix [N, N], rising, and their eigenvectors as columns.

    LAPACK's divide and conquer does not converge on some singular matrices in float32, such as the covariance of
    examples of which many are the same. Then they are found in float64, with zeros that differ.
    """
    try:
        values, vectors = torch.linalg.eigh(symmetric)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        apart = torch.linspace(0, APART, len(symmetric), dtype=torch.float64, device=symmetric.device)
        exact = symmetric.double() + (apart * symmetric.diagonal().mean()).diag()
        values, vectors = torch.linalg.eigh(exact)
    return values.to(symmetric.dtype), vectors.to(symmetric.dtype)


@torch.no_grad()
def merge_gaussians(
    old: GaussianMemory, new: GaussianMemory, old_counts: Sequence[int], new_counts: Sequence[int]
) -> GaussianMemory:
    """Return the memory of the examples of both, of which there were so many in each class.

    Means and covariances are merged by their moments (Chan et al. 1979), and what they have become is cut to the rank
    of ``old`` again. A class of which there is nothing new stays as it is, to the bit.
    """
    merged = copy.deepcopy(old)
    directions = old.factors, new.factors
    rests = old.left_by(directions[0]), new.left_by(directions[1])
    for label, (before, more) in enumerate(zip(old_counts, new_counts, strict=True)):
        if not more:
            continue
        total = before + more
        parts = before / total, more / total
        mean = parts[0] * old.means[label] + parts[1] * new.means[label]
        between = (parts[0] * parts[1]) ** 0.5 * (new.means[label] - old.means[label])
        stacked = [part**0.5 * each[label] for part, each in zip(parts, directions, strict=True)]
        factors, left = main_directions(torch.cat([*stacked, between[None]]), merged.rank)
        rest = parts[0] * rests[0][label] + parts[1] * rests[1][label]
        merged.set_class(label, mean, factors, left + rest)
    return merged


def noise_dim_of(memory: GaussianMemory) -> int:
    """Return how many draws one vector takes."""
    return (1 + DONORS) * memory.rank + memory.feature_dim


class ClassGaussians:
    """All classes of several memories side by side, from which vectors are recalled.

    A vector of a class is its mean, plus a deviation along its own main directions, plus the mean of the deviations of
    two classes drawn at random, less what lies in those directions, at the size that the class's own rest has. So the
    rest has the covariance that the classes share, and no matrix of D times D is decomposed. The vector is then scaled
    to the length of all vectors, √D.
    """

    def __init__(self, memories: Sequence[GaussianMemory], device: torch.device | str = "cpu") -> None:
        self.means = torch.cat([memory.means for memory in memories]).to(device)
        factors = [memory.factors for memory in memories]
        rests = [memory.left_by(own) for memory, own in zip(memories, factors, strict=True)]
        self.factors, self.variances = torch.cat(factors).to(device), torch.cat(rests).to(device)
        lengths = self.factors.norm(dim=2, keepdim=True)
        self.axes = self.factors / lengths.clamp_min(1e-12)
        self.num_classes, self.rank, self.feature_dim = self.factors.shape
        self.noise_dim = noise_dim_of(memories[0])

    def first_dimensions(self, count: int) -> "ClassGaussians":
        """Return the same classes in the first ``count`` dimensions alone; nothing is recalled from these."""
        found = copy.copy(self)
        found.means, found.variances = self.means[:, :count], self.variances[:, :count]
        found.factors, found.feature_dim = self.factors[:, :, :count], count
        return found

    @cached_property
    def sizes(self) -> Tensor:
        """By how much borrowed deviations are scaled for each class, [K]."""
        covariance = self.shared_covariance()
        total = covariance.trace()
        left = total - ((self.axes @ covariance) * self.axes).sum((1, 2))
        # Where a class's own directions span all that is shared, nothing is left to borrow but rounding errors.
        is_there = left > LEAST_LEFT * total
        return torch.where(is_there, self.variances.sum(1) / left.where(is_there, total), 0).sqrt()

    def shared_covariance(self) -> Tensor:
        """Return the mean of the covariances of all classes, [D, D]."""
        factors = self.factors.flatten(0, 1)
        return factors.T @ factors / self.num_classes + self.variances.mean(0).diag()

    @torch.no_grad()
    def discriminant(self) -> tuple[Tensor, Tensor]:
        """Return weights [K, D] and biases [K] of linear discriminant analysis for classes that are as frequent.

        Source: Hastie, Tibshirani & Friedman 2009, The Elements of Statistical Learning, eq. 4.10. `SHRINKAGE` keeps
        the shared covariance from being singular.
        """
        covariance = self.shared_covariance()
        added = SHRINKAGE * covariance.diagonal().mean().clamp_min(LEAST_VARIANCE)
        covariance += added * torch.eye(self.feature_dim, device=covariance.device)
        weights = torch.linalg.solve(covariance, self.means.T).T
        return weights, -0.5 * (weights * self.means).sum(1)

    def dream(self, classes: Tensor, key: seeding.Key) -> Tensor:
        """Return a vector for each of ``classes`` [N], float32 [N, D], with the draws that ``key`` names."""
        rng = seeding.stream(*key)
        pairs = torch.randint(self.num_classes, (-(-len(classes) // LENT_TOGETHER), DONORS), generator=rng)
        donors = pairs.repeat_interleave(LENT_TOGETHER, 0)[: len(classes)]
        return self.recall(classes, donors, torch.randn(len(classes), self.noise_dim, generator=rng))

    @torch.no_grad()
    def recall(self, classes: Tensor, donors: Tensor, noise: Tensor) -> Tensor:
        """Return a vector for each of ``classes`` [N], float32 [N, D], with deviations borrowed from ``donors`` [N, 2].

        ``noise`` [N, 3R + D] is standard normal. Rows of one class with the same donors are made together: the more of
        them there are, the faster.
        """
        numbers = torch.tensor([self.num_classes**2, self.num_classes, 1], device=classes.device)
        lent, group_of = (torch.cat([classes[:, None], donors], 1) * numbers).sum(1).unique(return_inverse=True)
        found = torch.empty(len(classes), self.feature_dim, device=self.means.device)
        for group, rows in grouped(group_of, len(lent)):
            label, pair = divmod(int(lent[group]), self.num_classes**2)
            found[rows] = self._recall_group(label, divmod(pair, self.num_classes), noise[rows])
        return to_length(found)

    def _recall_group(self, label: int, donors: tuple[int, int], noise: Tensor) -> Tensor:
        """Return vectors of the class ``label``, not yet of the length that all have, with the same ``donors``."""
        parts = [self.rank, self.rank, self.rank, self.feature_dim]
        own, one, other, left = noise.split(parts, dim=1)
        first, second = donors
        rest: Tensor = left * ((self.variances[first] + self.variances[second]) / DONORS).sqrt()
        rest.addmm_(one, self.factors[first], alpha=DONORS**-0.5).addmm_(
            other, self.factors[second], alpha=DONORS**-0.5
        )
        rest -= (rest @ self.axes[label].T) @ self.axes[label]
        rest.mul_(self.sizes[label]).add_(self.means[label]).addmm_(own, self.factors[label])
        return rest


def recall_vectors(memories: Sequence[GaussianMemory], counts: Sequence[int], key: seeding.Key) -> Examples:
    """Return dreams of the first of ``memories``, ``counts`` of each of its classes; the others lend deviations."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return Examples(ClassGaussians(memories).dream(labels, key), labels)


def grouped(numbers: Tensor, count: int) -> list[tuple[int, Tensor]]:
    """Return each of the ``numbers`` [N] below ``count`` that there are, with the rows in which it stands."""
    rows = numbers.argsort(stable=True).split(numbers.bincount(minlength=count).tolist())
    return [(number, part) for number, part in enumerate(rows) if len(part)]


def to_length(vectors: Tensor) -> Tensor:
    """Return ``vectors`` [N, D], each scaled to the length √D, at which Gaussians are fitted best."""
    lengths: Tensor = vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)
    scaled: Tensor = vectors * (vectors.shape[1] ** 0.5 / lengths)
    return scaled
