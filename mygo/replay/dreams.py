"""Dreams: images that the generators of all tasks recall, mixed, with what the teacher thinks of them."""

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mygo import seeding
from mygo.config.learner import Precision
from mygo.data.examples import network_input, to_pixels
from mygo.learner.learner import Learner
from mygo.learner.state import LearnerState
from mygo.networks.generator import Generator
from mygo.networks.neocortex import NeocortexNet, own_outputs, stacked_heads
from mygo.training.graphs import Recorded, recordable
from mygo.training.precision import multiplying, resolved, with_weights_in
from mygo.training.process_group import ProcessGroup, share

M = TypeVar("M", bound=torch.nn.Module)

ROWS_OF_A_MEMORY = 100
"""Dreams that a memory makes at least of one block, on average: with fewer, calls take longer than what they do."""
DREAM_CHUNK = 128
"""Most images that one call of a network makes or sees while dreaming on a CPU: more do not fit into a core's cache."""
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
        eager: bool = False,
    ) -> None:
        """Copy the networks, so that a student may change while its teacher does not.

        On a GPU all is recorded after the first blocks, unless it is to be ``eager``.
        """
        self.device = device
        self._warm_up = math.inf if eager else 1
        self._recorded: dict[tuple[int, ...], Recorded] = {}
        self.precision = precision
        self.memories = [frozen(memory, device, precision) for memory in memories]
        self.input_shape = neocortex.input_shape
        self.current = current
        self.old, self.new = (Teacher(net, device, precision) for net in (neocortex, fast_learner))
        self.feature_dim = neocortex.feature_dim if with_features else 0
        sizes = torch.tensor(neocortex.head_sizes, device=device)
        self.first_class = sizes.cumsum(0) - sizes

    @torch.inference_mode()
    def dream(self, order: SampleRequest) -> Dreams:
        """Return the dreams that ``order`` asks for, in its order, on the device on which they are dreamt."""
        if self.device.type == "cpu":
            return self._dream(order, [in_chunks(rows) for rows in self._rows(order)])
        with recordable(self.device):
            return self._dream_padded(order)

    def _rows(self, order: SampleRequest) -> list[Tensor]:
        """Return which rows of ``order`` each memory dreams, and then those that the new and the old teacher see."""
        wanted = [order.tasks == task for task in range(len(self.memories))]
        wanted += [order.tasks == self.current, order.tasks != self.current]
        return [which.nonzero().squeeze(1) for which in wanted]

    def _dream(self, order: SampleRequest, chunks: Sequence[Sequence[Tensor]]) -> Dreams:
        """Dream the rows of ``order`` that are in each network's ``chunks``, which come in the order of `_rows`."""
        count, device = len(order.tasks), order.tasks.device
        images = torch.empty(count, *self.input_shape, dtype=torch.uint8, device=device)
        *of_memories, of_new, of_old = chunks
        for memory, own in zip(self.memories, of_memories, strict=True):
            for rows in own:
                with multiplying(self.precision, device):
                    recalled = memory(order.noise[rows, : memory.latent_dim], order.labels[rows])
                images[rows] = shifted(to_pixels(recalled.float()), order.shifts[rows])
        logits = torch.empty(count, self.old.largest_head, device=device)
        features = torch.empty(count, self.feature_dim, device=device)
        for teacher, taught in ((self.new, of_new), (self.old, of_old)):
            for rows in taught:
                with multiplying(self.precision, device):
                    seen, answers = teacher.answer(images[rows], order.tasks[rows])
                logits[rows], features[rows] = answers.float(), seen[:, : self.feature_dim].float()
        return Dreams(images, order.tasks, order.labels + self.first_class[order.tasks], logits, features)

    def _dream_padded(self, order: SampleRequest) -> Dreams:
        """Dream as a recorded graph: in the room that its networks do not need, they dream a row more, again and again.

        How much room there is depends on nothing but the schedule, since batches of another size may round differently.
        """
        rows, count, own = self._rows(order), len(order.tasks), order.room[self.current]
        room = [*order.room, own, max(LEAST_ROOM, min(count, sum(order.room) - own))]
        if any(len(part) > most for part, most in zip(rows, room, strict=True)):
            room = [count] * len(rows)
        sizes = count, *room
        if sizes not in self._recorded:
            self._recorded[sizes] = Recorded(self._dream_flat, self.device, self._warm_up)
        with_one_more = [torch.cat([tensor, torch.zeros_like(tensor[:1])]) for tensor in order.tensors]
        filled = [F.pad(part, (0, most - len(part)), value=count) for part, most in zip(rows, room, strict=True)]
        found = self._recorded[sizes](*with_one_more, *filled)
        return Dreams(*(found[field.name][:count].clone() for field in fields(Dreams)))

    def _dream_flat(self, *tensors: Tensor) -> dict[str, Tensor]:
        tasks, labels, noise, shifts, *rows = tensors
        dreams = self._dream(SampleRequest(tasks, labels, noise, shifts), [(part,) for part in rows])
        return {field.name: getattr(dreams, field.name) for field in fields(Dreams)}


class Teacher:
    """A network that answers for the tasks that it knows best, with all its heads as one layer."""

    def __init__(self, net: NeocortexNet, device: torch.device, precision: Precision) -> None:
        """Copy ``net`` to ``device``, where it multiplies in ``precision``."""
        self.features = frozen(net.features, device, precision)
        self.heads = frozen(stacked_heads(net), device, precision)
        self.own = own_outputs(net.head_sizes, device)
        self.largest_head = max(net.head_sizes)

    def answer(self, images: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [N, F] of ``images`` uint8 [N, C, H, W], and the logits [N, H] of the heads of ``tasks`` [N].

        The logits of a head that is smaller than the largest, H, are filled up with 0.
        """
        features = self.features(network_input(images))
        logits = self.heads(features).gather(1, self.own.positions[tasks])
        return features, logits * self.own.real[tasks]


def in_chunks(rows: Tensor) -> tuple[Tensor, ...]:
    """Cut ``rows`` [N] into chunks of like size, each at most `DREAM_CHUNK`.

    No chunk is empty, and none is a remainder of one image, which has too few values for some normalisations.
    """
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


def schedule_of(learner: LearnerState) -> ReplaySchedule:
    """Return what the sleep of the current cycle of ``learner`` dreams.

    Raises:
        RuntimeError: there is none.
    """
    if learner.current is None:
        raise RuntimeError("there is no cycle to sleep in")
    config = learner.config.sleep
    return ReplaySchedule(
        key=learner.key("sleep"),
        current=learner.current,
        head_sizes=tuple(learner.neocortex.head_sizes),
        noise_dim=max(memory.latent_dim for memory in learner.memories),
        steps=config.steps,
        batch_size=config.batch_size,
        steps_per_block=max(config.steps_per_block, -(-ROWS_OF_A_MEMORY * len(learner.memories) // config.batch_size)),
        max_shift=config.max_shift,
        current_share=config.current_share,
    )


def dreamer_of(learner: LearnerState, device: torch.device) -> Dreamer:
    """Return a dreamer of all memories, taught by the networks of ``learner`` as they are now.

    Raises:
        RuntimeError: there is no fast learner, so this is not between waking and sleeping.
    """
    if learner.fast_learner is None or learner.current is None:
        raise RuntimeError("a dreamer needs the fast learner of the current task: adapt first")
    return Dreamer(
        learner.memories,
        learner.neocortex,
        learner.fast_learner,
        device,
        current=learner.current,
        with_features=learner.config.sleep.feature_weight > 0,
        precision=resolved(learner.precision, device),
        eager=learner.config.eager,
    )


class ReplaySource(Protocol):
    """Where a sleeping worker gets its dreams from."""

    def dreams(
        self, life: Learner, schedule: ReplaySchedule, group: ProcessGroup, first_step: int = 0
    ) -> Iterator[Dreams]:
        """Return this rank's share of the global batch of dreams, for each step of ``schedule`` from ``first_step`` on.

        The teacher is ``life`` as it is when this is called.
        """


class LocalReplay:
    """Dreams in the process that sleeps."""

    def dreams(
        self, life: Learner, schedule: ReplaySchedule, group: ProcessGroup, first_step: int = 0
    ) -> Iterator[Dreams]:
        """Return this rank's share of each step's dreams."""
        dreamer = dreamer_of(life, group.device)  # now, not at the first dream, when the student may have learned
        blocks = (
            dreamer.dream(schedule.request(block, group.rank, group.size)) for block in schedule.blocks_from(first_step)
        )
        return schedule.steps_of(blocks, first_step)


def by_step(dreams: Dreams, steps: int) -> Iterator[Dreams]:
    """Cut a block of dreams into its ``steps`` equal parts."""
    size = len(dreams) // steps
    for step in range(steps):
        yield dreams[step * size : (step + 1) * size]
