"""Batches of examples: whole epochs in a random order, drawn by step, of which each rank takes its share."""

from collections.abc import Callable

import torch
from torch import Tensor

from mygo import seeding
from mygo.training.process_group import ProcessGroup, share


class EpochBatches:
    """Indices of shuffled batches, as a pure function of the step: epoch after epoch, each in its own order."""

    def __init__(self, size: int, batch_size: int, key: seeding.Key, rows: Tensor | None = None) -> None:
        """Prepare batches of ``batch_size`` out of ``size`` examples (repeating some within a batch when too few).

        Which examples those are is said by ``rows`` [size], where it is not the first ``size``.
        """
        self.size = size
        self.batch_size = batch_size
        self.key = key
        self._rows = rows
        self.per_epoch = max(1, size // batch_size)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    @classmethod
    def of(cls, labels: Tensor, batch_size: int, key: seeding.Key, *, balanced: bool) -> "EpochBatches":
        """Prepare batches out of examples with ``labels`` [N]; ``balanced``, those of rare classes come more often."""
        if not balanced:
            return cls(len(labels), batch_size, key)
        rows = torch.arange(len(labels)).repeat_interleave(repeats_of(labels.cpu()))
        return cls(len(rows), batch_size, key, rows)

    def indices(self, step: int) -> Tensor:
        """Return the global batch's indices [batch_size] at ``step``."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            rng = seeding.stream(*self.key, "epoch", epoch)
            repeats = -(-self.batch_size // self.size) if self.size < self.batch_size else 1
            order = torch.cat([torch.randperm(self.size, generator=rng) for _ in range(repeats)])
            self._order = order if self._rows is None else self._rows[order]
            self._epoch = epoch
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]

    def shares_of(self, group: ProcessGroup) -> Callable[[int], tuple[Tensor]]:
        """Return what gives, for a step, the indices of this rank's share of the global batch."""
        mine = share(self.batch_size, group.rank, group.size)
        return lambda step: (self.indices(step)[mine],)


def repeats_of(labels: Tensor) -> Tensor:
    """Return how often each example with ``labels`` [N] is to be drawn, [N], so that classes are drawn about evenly.

    That is as often as its class fits into the largest one: once in classes that have more than half as many examples,
    so that draws from balanced data stay as they are. No class is then drawn less than half as often as another.
    """
    counts = labels.bincount()
    return (counts.max() // counts.clamp_min(1))[labels]
