"""Dreams: images that the generators of all tasks recall, mixed, with what the teacher thinks of them."""

import copy
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor

from mygo import seeding
from mygo.data import to_pixels, to_unit_range
from mygo.gan import Generator
from mygo.neocortex import NeocortexNet, own_outputs, stacked_heads
from mygo.precision import Precision, multiplying, with_weights_in
from mygo.team import Team, share

if TYPE_CHECKING:
    from mygo.life import Life

M = TypeVar("M", bound=torch.nn.Module)

DREAM_CHUNK = 128
"""Most images that one call of a network makes or sees while dreaming: more no longer fit into a core's cache."""


@dataclass(frozen=True)
class Dreams:
    """N dreams: ``images`` uint8 [N, C, H, W], ``tasks`` [N], ``labels`` [N] and ``teacher_logits`` [N, H].

    Labels count over all heads side by side. The logits are those of the head of a dream's own task; heads with fewer
    outputs than the largest, H, are filled up with 0. So a dream's bytes do not grow with the classes that are known.
    ``teacher_features`` [N, F] are what the head saw; where sleep does not distil them they are left out, [N, 0].
    """

    images: Tensor
    tasks: Tensor
    labels: Tensor
    teacher_logits: Tensor
    teacher_features: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: slice) -> "Dreams":
        return Dreams(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


@dataclass(frozen=True)
class Order:
    """What to dream: for each of N dreams its task, its label within the task, its noise [N, D] and shift [N, 2]."""

    tasks: Tensor
    labels: Tensor
    noise: Tensor
    shifts: Tensor


@dataclass(frozen=True, kw_only=True)
class Night:
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
        """Number of blocks in the night."""
        return -(-self.steps // self.steps_per_block)

    def steps_in(self, block: int) -> int:
        """Number of steps that ``block`` covers."""
        return min(self.steps_per_block, self.steps - block * self.steps_per_block)

    def blocks_from(self, step: int) -> range:
        """Return the numbers of the blocks from that of ``step`` on."""
        return range(step // self.steps_per_block, self.blocks)

    def steps_of(self, blocks: Iterable[Dreams], first_step: int = 0) -> Iterator[Dreams]:
        """Return the dreams of each step from ``first_step`` on, out of those of `blocks_from` it."""
        numbered = zip(self.blocks_from(first_step), blocks, strict=True)
        steps = (step for number, dreams in numbered for step in by_step(dreams, self.steps_in(number)))
        return itertools.islice(steps, first_step % self.steps_per_block, None)

    def order(self, block: int, rank: int = 0, size: int = 1) -> Order:
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
        own = (drawn[:, mine].flatten(0, 1) for drawn in (noise, shifts))
        return Order(tasks, classes - first_class[tasks], *own)

    def _class_weights(self) -> Tensor:
        weights = torch.ones(sum(self.head_sizes), dtype=torch.float64)
        if self.current_share is not None and len(self.head_sizes) > 1:
            start, size = sum(self.head_sizes[: self.current]), self.head_sizes[self.current]
            weights[:] = (1 - self.current_share) / (len(weights) - size)
            weights[start : start + size] = self.current_share / size
        return weights


class Dreamer:
    """Recalls images from all memories and asks the teacher about them. Nothing here is ever trained.

    The teacher is a composite: for dreams of other tasks the neocortex as it was before this sleep, for dreams of the
    ``current`` task the fast learner that adapted to it while awake.
    """

    def __init__(
        self,
        memories: Sequence[Generator],
        neocortex: NeocortexNet,
        fast_learner: NeocortexNet,
        device: torch.device,
        *,
        current: int,
        with_features: bool = False,
        precision: Precision = "float32",
    ) -> None:
        """Copy the networks, so that a student may change while its teacher does not."""
        self.device = device
        self.precision = precision
        self.memories = [frozen(memory, device, precision) for memory in memories]
        self.image_shape = neocortex.image_shape
        self.current = current
        self.old, self.new = (Teacher(net, device, precision) for net in (neocortex, fast_learner))
        self.feature_dim = neocortex.feature_dim if with_features else 0
        self.first_class = [sum(neocortex.head_sizes[:task]) for task in range(len(memories))]

    @torch.inference_mode()
    def dream(self, order: Order) -> Dreams:
        """Return the dreams that ``order`` asks for, in its order."""
        count = len(order.tasks)
        images = torch.empty(count, *self.image_shape, dtype=torch.uint8)
        for task in order.tasks.unique().tolist():
            memory = self.memories[task]
            for rows in in_chunks(order.tasks == task):
                noise = order.noise[rows, : memory.latent_dim].to(self.device)
                with multiplying(self.precision, self.device):
                    recalled = memory(noise, order.labels[rows].to(self.device))
                images[rows] = shifted(to_pixels(recalled.float()), order.shifts[rows].to(self.device)).cpu()
        logits = torch.empty(count, self.old.largest_head)
        features = torch.empty(count, self.feature_dim)
        for teacher, taught in ((self.new, order.tasks == self.current), (self.old, order.tasks != self.current)):
            for rows in in_chunks(taught):
                with multiplying(self.precision, self.device):
                    seen, answers = teacher.answer(images[rows], order.tasks[rows])
                logits[rows], features[rows] = answers.float().cpu(), seen[:, : self.feature_dim].float().cpu()
        labels = order.labels + torch.tensor(self.first_class)[order.tasks]
        return Dreams(images, order.tasks, labels, logits, features)


class Teacher:
    """A network that answers for the tasks that it knows best, with all its heads as one layer."""

    def __init__(self, net: NeocortexNet, device: torch.device, precision: Precision) -> None:
        """Copy ``net`` to ``device``, where it multiplies in ``precision``."""
        self.device = device
        self.features = frozen(net.features, device, precision)
        self.heads = frozen(stacked_heads(net), device, precision)
        self.own = own_outputs(net.head_sizes, device)
        self.largest_head = max(net.head_sizes)

    def answer(self, images: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [N, F] of ``images`` uint8 [N, C, H, W], and the logits [N, H] of the heads of ``tasks`` [N].

        The logits of a head that is smaller than the largest, H, are filled up with 0.
        """
        tasks = tasks.to(self.device)
        features = self.features(to_unit_range(images.to(self.device)))
        logits = self.heads(features).gather(1, self.own.positions[tasks])
        return features, logits * self.own.real[tasks]


def in_chunks(chosen: Tensor) -> tuple[Tensor, ...]:
    """Return the positions of what is ``chosen`` (bool [N]) in chunks of like size, each at most `DREAM_CHUNK`.

    No chunk is empty, and none is a remainder of one image, which has too few values for some normalisations.
    """
    rows = chosen.nonzero().squeeze(1)
    return rows.tensor_split(-(-len(rows) // DREAM_CHUNK)) if len(rows) else ()


def frozen(module: M, device: torch.device, precision: Precision) -> M:
    """Return a copy of ``module`` on ``device`` that does not learn, and multiplies in ``precision``."""
    return with_weights_in(precision, copy.deepcopy(module).to(device).eval().requires_grad_(False))


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """Return ``images`` [N, C, H, W], each moved by its ``shifts`` [N, 2] (down, right; in pixels), edges repeated."""
    count, channels, height, width = images.shape
    rows = (torch.arange(height, device=images.device) - shifts[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - shifts[:, 1:]).clamp(0, width - 1)
    places = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1).expand(-1, channels, -1)
    return images.flatten(2).gather(2, places).view_as(images)


class DreamSource(Protocol):
    """Where a sleeping worker gets its dreams from."""

    def dreams(self, life: "Life", night: Night, team: Team, first_step: int = 0) -> Iterator[Dreams]:
        """Return, for each step of ``night`` from ``first_step`` on, this rank's share of the global batch of dreams.

        The teacher is ``life`` as it is when this is called.
        """


class OwnDreams:
    """Dreams in the process that sleeps."""

    def dreams(self, life: "Life", night: Night, team: Team, first_step: int = 0) -> Iterator[Dreams]:
        """Return this rank's share of each step's dreams."""
        dreamer = life.dreamer(team.device)  # now, not at the first dream, when the student may have learned
        blocks = (dreamer.dream(night.order(block, team.rank, team.size)) for block in night.blocks_from(first_step))
        return night.steps_of(blocks, first_step)


def by_step(dreams: Dreams, steps: int) -> Iterator[Dreams]:
    """Cut a block of dreams into its ``steps`` equal parts."""
    size = len(dreams) // steps
    for step in range(steps):
        yield dreams[step * size : (step + 1) * size]
