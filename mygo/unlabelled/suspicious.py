"""Which labels of a lesson are suspicious: those of examples that look more like another class than like their own."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mygo import seeding
from mygo.data.mapped import rows_of
from mygo.unknown.relative import RelativeMahalanobis

FOLDS = 5
"""Parts of the examples, each of which is judged by classes that were fitted to the others."""
ROWS_AT_ONCE = 1024
"""Vectors that are in memory together."""


@dataclass(frozen=True)
class Judged:
    """What cross-fitted classes say of the labels of N examples."""

    suspicion: Tensor
    """How much farther each is from its own class than from the nearest other, [N]; above 0, the other is nearer."""
    nearest: Tensor
    """The nearest other class, int64 [N]."""

    @property
    def order(self) -> Tensor:
        """The examples by suspicion, the most suspicious first, int64 [N]."""
        return self.suspicion.argsort(descending=True, stable=True)


@torch.no_grad()
def judge_labels(vectors: Tensor, labels: Tensor, num_classes: int, key: seeding.Key) -> Judged:
    """Return how suspicious the ``labels`` [N] of ``vectors`` [N, D] are, by relative Mahalanobis distances.

    Classes are kept as their means and the covariance that they share, as memories have them. Those that judge an
    example were fitted without it (cross-fitting), so that it does not vouch for itself; ``key`` names the draw of the
    `FOLDS`. A class of a single example does not judge it: it has no suspicion, which is -inf.

    Args:
        vectors: float32, possibly in a file.
        labels: int64, each below ``num_classes``, 2 or more.
        num_classes: Of the lesson.
        key: What the draw is named by.
    """
    folds = folds_of(labels, key)
    sums = [moments_of(vectors, labels, (folds == fold).nonzero().squeeze(1), num_classes) for fold in range(FOLDS)]
    counts, totals, squares = (torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))
    suspicion, nearest = torch.full((len(labels),), -torch.inf), torch.zeros_like(labels)
    for fold, (own_counts, own_totals, own_squares) in enumerate(sums):
        rows = (folds == fold).nonzero().squeeze(1)
        left = counts - own_counts
        means = (totals - own_totals) / left.clamp_min(1)[:, None]
        scatter = squares - own_squares - (means * left[:, None]).T @ means
        there = (left > 0).nonzero().squeeze(1)
        if len(there) < 2 or not len(rows):
            continue
        covariance = (scatter / max(1.0, float(left.sum()) - len(there))).float()
        dim, known = vectors.shape[1], float(left.sum())
        distance = RelativeMahalanobis.of(means[there].float(), covariance, dim / (dim + known))
        for part in rows.split(ROWS_AT_ONCE):
            distances = torch.full((len(part), num_classes), torch.inf)
            distances[:, there] = distance(rows_of(vectors, part))
            own = distances.gather(1, labels[part, None]).squeeze(1)
            others = distances.scatter(1, labels[part, None], torch.inf).min(1)
            judged = own.isfinite()
            suspicion[part[judged]] = (own - others.values)[judged]
            nearest[part] = others.indices
    return Judged(suspicion, nearest)


def folds_of(labels: Tensor, key: seeding.Key) -> Tensor:
    """Return the fold of each example with ``labels`` [N], int64 [N], evenly within each class."""
    folds = torch.zeros_like(labels)
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero().squeeze(1)
        drawn = torch.randperm(len(rows), generator=seeding.stream(*key, "folds", label))
        folds[rows[drawn]] = torch.arange(len(rows)) % FOLDS
    return folds


def moments_of(vectors: Tensor, labels: Tensor, rows: Tensor, num_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return of the ``rows`` [M] of ``vectors`` how many of each class, [K], their sums [K, D], and all squares [D, D].

    In float64, so that parts can be subtracted.
    """
    dim = vectors.shape[1]
    counts = labels[rows].bincount(minlength=num_classes).double()
    totals = torch.zeros(num_classes, dim, dtype=torch.float64)
    squares = torch.zeros(dim, dim, dtype=torch.float64)
    for part in rows.split(ROWS_AT_ONCE):
        found = rows_of(vectors, part).double()
        totals.index_add_(0, labels[part], found)
        squares.addmm_(found.T, found)
    return counts, totals, squares
