"""What a sleep dreams: a schedule of blocks that dreamers make independently, and what they return."""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mygo import seeding
from mygo.training.process_group import share

DEVIATIONS = 8
"""By how many standard deviations a task's dreams can be more than is expected of a block, and still have room."""
LEAST_ROOM = 2
"""A single image has too few values for some normalisations."""


@dataclass(frozen=True)
class Dreams:
    """N dreams: ``inputs``, ``tasks`` [N], ``labels`` [N] and ``teacher_logits`` [N, H].

    Inputs are images uint8 [N, C, H, W] or vectors float32 [N, D].

    Labels count over all heads side by side. The logits are those of the head of a dream's own task; heads with fewer
    outputs than the largest, H, are filled up with 0. So a dream's bytes do not grow with the classes that are known.
    ``teacher_features`` [N, F] are what the head saw; where sleep does not distil them they are left out, [N, 0].
    """

    inputs: Tensor
    tasks: Tensor
    labels: Tensor
    teacher_logits: Tensor
    teacher_features: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice) -> "Dreams":
        return Dreams(*(tensor[index] for tensor in self.tensors))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors, in the order of the fields."""
        return self.inputs, self.tasks, self.labels, self.teacher_logits, self.teacher_features


@dataclass(frozen=True)
class SampleRequest:
    """What to dream: for each of N dreams its task, its label within the task, its noise [N, D] and shift [N, 2]."""

    tasks: Tensor
    labels: Tensor
    noise: Tensor
    shifts: Tensor
    room: tuple[int, ...] = ()
    """For how many dreams of each task there is room where shapes must not change; hardly ever there are more."""

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The tensors, in the order of the fields."""
        return self.tasks, self.labels, self.noise, self.shifts


@dataclass(frozen=True, kw_only=True)
class ReplaySchedule:
    """Everything that decides what one sleep dreams, cut into blocks that dreamers make independently."""

    key: seeding.Key
    head_sizes: tuple[int, ...]
    current: int
    """The task that the cycle is about."""
    noise_dim: int
    steps: int
    batch_size: int
    steps_per_block: int
    max_shift: int = 0
    """Most pixels by which a dream is moved, down and to the right or the other way."""
    current_share: float | None = None
    """Share of that task's dreams; None gives every class the same share."""

    @property
    def blocks(self) -> int:
        """Number of blocks in the sleep."""
        return -(-self.steps // self.steps_per_block)

    def steps_in(self, block: int) -> int:
        """Number of steps that ``block`` covers."""
        return min(self.steps_per_block, self.steps - block * self.steps_per_block)

    def blocks_from(self, step: int) -> range:
        """Return the numbers of the blocks from that of ``step`` on."""
        return range(step // self.steps_per_block, self.blocks)

    def classes_at(self, step: int) -> Tensor | None:
        """Return the classes that ``step`` tells apart, int64 [S]; None where those are all."""
        return None

    def steps_of(self, blocks: Iterable[Dreams], first_step: int = 0) -> Iterator[Dreams]:
        """Return the dreams of each step from ``first_step`` on, out of those of `blocks_from` it."""
        numbered = zip(self.blocks_from(first_step), blocks, strict=True)
        steps = (step for number, dreams in numbered for step in by_step(dreams, self.steps_in(number)))
        return itertools.islice(steps, first_step % self.steps_per_block, None)

    def request(self, block: int, rank: int = 0, size: int = 1) -> SampleRequest:
        """Return what ``rank`` of ``size`` workers needs for the steps of ``block``, step after step.

        The draws are those of the whole global batch, of which the rank takes its share.
        """
        rng = seeding.stream(*self.key, "block", block)
        steps, mine = self.steps_in(block), share(self.batch_size, rank, size)
        shape = (steps, self.batch_size)
        classes = torch.multinomial(self._class_weights(), steps * self.batch_size, replacement=True, generator=rng)
        noise = torch.randn(*shape, self.noise_dim, generator=rng)
        shifts = torch.randint(-self.max_shift, self.max_shift + 1, (*shape, 2), generator=rng)
        classes = classes.view(shape)[:, mine].flatten()
        sizes = torch.tensor(self.head_sizes)
        task_of_class = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        first_class = sizes.cumsum(0) - sizes
        tasks = task_of_class[classes]
        noise, shifts = (drawn[:, mine].flatten(0, 1) for drawn in (noise, shifts))
        return SampleRequest(tasks, classes - first_class[tasks], noise, shifts, self._room_for(len(tasks)))

    def _room_for(self, count: int) -> tuple[int, ...]:
        weights = self._class_weights()
        shares = [float(own.sum() / weights.sum()) for own in weights.split(self.head_sizes)]
        spread = [DEVIATIONS * math.sqrt(count * share * (1 - share)) for share in shares]
        most = [math.ceil(count * share + more) for share, more in zip(shares, spread, strict=True)]
        return tuple(max(LEAST_ROOM, min(count, each)) for each in most)

    def _class_weights(self) -> Tensor:
        weights = torch.ones(sum(self.head_sizes), dtype=torch.float64)
        if self.current_share is not None and len(self.head_sizes) > 1:
            start, size = sum(self.head_sizes[: self.current]), self.head_sizes[self.current]
            weights[:] = (1 - self.current_share) / (len(weights) - size)
            weights[start : start + size] = self.current_share / size
        return weights


def by_step(dreams: Dreams, steps: int) -> Iterator[Dreams]:
    """Cut a block of dreams into its ``steps`` equal parts."""
    size = len(dreams) // steps
    for step in range(steps):
        yield dreams[step * size : (step + 1) * size]
