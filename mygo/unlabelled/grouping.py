"""Which inputs of today belong together: a mixture of the classes that are known, and of groups that are not."""

from dataclasses import dataclass

import torch
from sklearn.cluster import KMeans
from torch import Tensor

ROUNDS = 30
"""Of expectation and maximisation."""
OF_A_GROUP = 20
"""Inputs that may be new for each group that is looked for."""
LEAST_OF_GROUP = 5
"""Inputs that make a group."""
STARTS = 3
"""Times that k-means begins anew; the best is kept."""
BLOCK = 1024
"""Inputs whose distances from all others are held at once."""


@dataclass(frozen=True)
class Groups:
    """Groups of inputs that fit no known class better."""

    members: tuple[Tensor, ...]
    """The rows of each group, int64, those next to its middle first."""


def group_unknown(features: Tensor, means: Tensor, candidates: Tensor) -> Groups:
    """Return the groups among N inputs that are explained better by a new class than by a known one.

    All are taken for a mixture of Gaussians of the same scatter, in whose metric ``features`` [N, q] and the ``means``
    [K, q] of known classes are. These stay where they are. Other means begin where k-means finds groups among the
    ``candidates``, bool [N], which look unknown one by one, and move by expectation and maximisation (Dempster et al.
    1977). So a group that looks known to a score, input by input, is still found if its inputs agree on where they lie,
    and one that is but the rim of a known class falls back to that.
    """
    rows = candidates.nonzero().squeeze(1)
    count = min(max(1, round(len(rows) / OF_A_GROUP)), len(rows))
    if len(rows) < LEAST_OF_GROUP:
        return Groups(())
    found = KMeans(count, n_init=STARTS, random_state=0).fit(features[rows].double().numpy())  # type: ignore[no-untyped-call]
    new = torch.from_numpy(found.cluster_centers_).to(features)
    share = len(rows) / len(features)
    weights = torch.cat([torch.full((len(means),), (1 - share) / len(means)), torch.full((count,), share / count)])
    for _ in range(ROUNDS):
        posterior = torch.softmax(weights.clamp_min(1e-12).log() - squared_distances(features, means, new) / 2, 1)
        counts = posterior.sum(0)
        weights = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
        own = posterior[:, len(means) :]
        new = torch.where(counts[len(means) :, None] > 1e-3, own.T @ features / counts[len(means) :, None], new)
    taken = posterior.argmax(1) - len(means)
    members = []
    for group in range(count):
        rows = (taken == group).nonzero().squeeze(1)
        if len(rows) >= LEAST_OF_GROUP:
            members.append(rows[(features[rows] - new[group]).square().sum(1).argsort(stable=True)])
    return Groups(tuple(members))


def squared_distances(features: Tensor, *means: Tensor) -> Tensor:
    """Return the squared distances [N, K] of ``features`` [N, q] from all ``means``, each [., q]."""
    together = torch.cat(means)
    squares = features.square().sum(1)[:, None] - 2 * features @ together.T + together.square().sum(1)
    return squares.clamp_min(0)


def spread_out(features: Tensor, count: int) -> list[int]:
    """Return at most ``count`` of N inputs with ``features`` [N, q] such that each other is near to one of them.

    The first is that nearest to all (the medoid), each next the one farthest from those before (Gonzalez 1985,
    Clustering to Minimize the Maximum Intercluster Distance), which is at most twice as far as it must be.
    """
    nearest = torch.full((len(features),), torch.inf)
    chosen = [medoid(features)]
    while len(chosen) < min(count, len(features)):
        nearest = torch.minimum(nearest, distances_from(features[chosen[-1]], features))
        nearest[chosen[-1]] = -torch.inf  # never again, even where all that are left are its copies
        chosen.append(int(nearest.argmax()))
    return chosen


def medoid(features: Tensor) -> int:
    """Return which of N ``features`` [N, q] has the least sum of distances from all; memory is linear in N."""
    return int(torch.cat([torch.cdist(some, features).sum(1) for some in features.split(BLOCK)]).argmin())


def distances_from(point: Tensor, features: Tensor) -> Tensor:
    """Return the distances [N] of ``features`` [N, q] from a ``point`` [q].

    They come from differences: a matrix product would round them by more than they differ between neighbours.
    """
    return torch.cdist(point[None], features, compute_mode="donot_use_mm_for_euclid_dist")[0]
