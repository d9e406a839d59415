"""Dreams of what an encoder sees: vectors that the memories of all classes recall, with the answers of their teachers.

Nothing here depends on the order in which a life learned: lessons come in an order of their own, and draws are named by
the seed and the block alone. So what is dreamt is a function of the set of lessons.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from mygo import seeding
from mygo.memory.gaussian import DONORS, ClassGaussians, GaussianMemory, grouped
from mygo.replay.schedule import Dreams, ReplaySchedule, SampleRequest
from mygo.training.process_group import share


@dataclass(frozen=True)
class VectorRequest(SampleRequest):
    """What to dream of vectors, which are not shifted: for each of N dreams also its ``donors`` [N, 2]."""

    donors: Tensor = field(kw_only=True)
    """The classes that lend their deviations, counted over all heads side by side."""

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What varies from dream to dream."""
        return self.tasks, self.labels, self.noise, self.donors


@dataclass(frozen=True, kw_only=True)
class FeatureSchedule(ReplaySchedule):
    """The schedule of a sleep that dreams vectors; of each class of a block there are as many, as far as they go."""

    classes_per_block: int
    """Classes of which a block dreams, drawn anew for each: so its time does not grow with those that are known."""

    def classes_in(self, block: int) -> Tensor:
        """Return the classes of which ``block`` dreams, int64 [S], counted over all heads side by side."""
        known = sum(self.head_sizes)
        if known <= self.classes_per_block:
            return torch.arange(known)
        rng = seeding.stream(*self.key, "classes", block)
        return torch.randperm(known, generator=rng)[: self.classes_per_block].sort().values

    def classes_at(self, step: int) -> Tensor | None:
        """Return the classes that ``step`` tells apart, int64 [S]; None where those are all."""
        classes = self.classes_in(step // self.steps_per_block)
        return None if len(classes) == sum(self.head_sizes) else classes

    def request(self, block: int, rank: int = 0, size: int = 1) -> VectorRequest:
        """Return what ``rank`` of ``size`` workers needs for the steps of ``block``.

        The draws are those of the whole global batch, of which the rank takes its share. All dreams of a class in a
        block have the same donors.
        """
        rng = seeding.stream(*self.key, "block", block)
        shape = self.steps_in(block), self.batch_size
        count, classes, among = shape[0] * shape[1], sum(self.head_sizes), self.classes_in(block)
        rounds = -(-count // len(among))
        drawn = torch.cat([among[torch.randperm(len(among), generator=rng)] for _ in range(rounds)])[:count]
        donors = torch.randint(classes, (classes, DONORS), generator=rng)
        noise = torch.randn(*shape, self.noise_dim, generator=rng)
        mine = share(self.batch_size, rank, size)
        drawn = drawn.view(shape)[:, mine].flatten()
        sizes = torch.tensor(self.head_sizes)
        tasks = torch.arange(len(sizes)).repeat_interleave(sizes)[drawn]
        labels = drawn - (sizes.cumsum(0) - sizes)[tasks]
        no_shifts = torch.empty(len(tasks), 0, dtype=torch.int64)
        return VectorRequest(tasks, labels, noise[:, mine].flatten(0, 1), no_shifts, donors=donors[drawn])


class FeatureDreamer:
    """Recalls vectors of all classes, and has the teacher of each one's lesson label them. Nothing here is trained."""

    def __init__(self, memories: Sequence[GaussianMemory], teachers: Sequence[nn.Linear], device: torch.device) -> None:
        """Take the ``memories`` and ``teachers`` of all lessons, in the order in which requests number them."""
        self.device = device
        self.gaussians = ClassGaussians(memories, device)
        self.teachers = [copy.deepcopy(teacher).to(device).requires_grad_(False) for teacher in teachers]
        self.largest_head = max(teacher.out_features for teacher in self.teachers)
        sizes = torch.tensor([teacher.out_features for teacher in self.teachers])
        self.first_class = sizes.cumsum(0) - sizes

    @torch.no_grad()
    def dream(self, request: SampleRequest) -> Dreams:
        """Return the dreams of ``request``, in its order, on the device on which they are dreamt.

        Raises:
            TypeError: it is not one for vectors.
        """
        if not isinstance(request, VectorRequest):
            raise TypeError(f"vectors are dreamt by a VectorRequest, not by a {type(request).__name__}")
        classes = request.labels + self.first_class[request.tasks]
        tensors = classes, request.donors, request.noise
        vectors = self.gaussians.recall(*(tensor.to(self.device) for tensor in tensors))
        logits = torch.zeros(len(vectors), self.largest_head, device=self.device)
        for task, rows in grouped(request.tasks, len(self.teachers)):
            teacher = self.teachers[task]
            logits[rows, : teacher.out_features] = teacher(vectors[rows])
        tasks, labels = request.tasks.to(self.device), classes.to(self.device)
        return Dreams(vectors, tasks, labels, logits, vectors.new_empty(len(vectors), 0))
