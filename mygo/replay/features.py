"""Dreams of what an encoder sees: vectors that the memories of all classes recall, with the answers of teachers.

Nothing here depends on the order in which a life learned, if each lesson has a teacher of its own: lessons come in an
order of their own, and draws are named by the seed and the block alone. So what is dreamt is a function of the set of
lessons.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mygo import seeding
from mygo.config.learner import Precision
from mygo.memory.gaussian import DONORS, ClassGaussians, GaussianMemory, grouped
from mygo.networks.neocortex import NeocortexNet
from mygo.replay.dreamer import Teacher, in_chunks
from mygo.replay.schedule import Dreams, ReplaySchedule, SampleRequest
from mygo.training.precision import multiplying
from mygo.training.process_group import share

CERTAIN = 20.0
"""How much larger the logit of a dream's own class is than others where no teacher is asked."""


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


class Answers(Protocol):
    """What says of dreams what they show."""

    def of(self, vectors: Tensor, request: SampleRequest) -> Tensor:
        """Return logits [N, H] of the own lessons of the ``vectors`` [N, D] that were dreamt for ``request``.

        Those of lessons with fewer classes than the largest, H, are filled up with 0.
        """


class LessonTeachers:
    """A teacher for each lesson, which answers for its classes."""

    def __init__(self, teachers: Sequence[nn.Linear], device: torch.device) -> None:
        """Copy the ``teachers`` of all lessons, in the order in which requests number them."""
        self.teachers = [copy.deepcopy(teacher).to(device).requires_grad_(False) for teacher in teachers]
        self.largest_head = max(teacher.out_features for teacher in self.teachers)

    def of(self, vectors: Tensor, request: SampleRequest) -> Tensor:
        """Return what the teacher of each one's lesson says; see `Answers`."""
        logits = torch.zeros(len(vectors), self.largest_head, device=vectors.device)
        for task, rows in grouped(request.tasks, len(self.teachers)):
            teacher = self.teachers[task]
            logits[rows, : teacher.out_features] = teacher(vectors[rows])
        return logits


class NetworkTeachers:
    """Networks with heads for all lessons, of which one teaches each."""

    def __init__(
        self,
        teachers: Sequence[NeocortexNet],
        taught_by: Sequence[int],
        device: torch.device,
        precision: Precision,
    ) -> None:
        """Copy the ``teachers``, so that a student may change while they do not; ``taught_by`` says whose is whose."""
        self.teachers = [Teacher(net, device, precision) for net in teachers]
        self.taught_by, self.precision = torch.tensor(taught_by), precision

    def of(self, vectors: Tensor, request: SampleRequest) -> Tensor:
        """Return what the teacher that knows each one's lesson best says; see `Answers`."""
        logits = torch.zeros(len(vectors), self.teachers[0].largest_head, device=vectors.device)
        for number, taught in grouped(self.taught_by[request.tasks.cpu()], len(self.teachers)):
            for rows in in_chunks(taught):
                with multiplying(self.precision, vectors.device):
                    _, answers = self.teachers[number].answer(vectors[rows], request.tasks[rows].to(vectors.device))
                logits[rows] = answers.float()
        return logits


class Labels:
    """The classes of which dreams were requested, without a teacher."""

    def __init__(self, head_sizes: Sequence[int]) -> None:
        """Answer for lessons of ``head_sizes`` classes."""
        self.largest_head = max(head_sizes)

    def of(self, vectors: Tensor, request: SampleRequest) -> Tensor:
        """Return logits that leave no doubt; see `Answers`."""
        return CERTAIN * F.one_hot(request.labels, self.largest_head).to(vectors)


class FeatureDreamer:
    """Recalls vectors of all classes, and has them labelled. Nothing here is trained."""

    def __init__(self, memories: Sequence[GaussianMemory], answers: Answers, device: torch.device) -> None:
        """Take the ``memories`` of all lessons, in the order in which requests number them."""
        self.device = device
        self.gaussians = ClassGaussians(memories, device)
        self.answers = answers
        sizes = torch.tensor([memory.num_classes for memory in memories])
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
        logits = self.answers.of(vectors, request)
        tasks, labels = request.tasks.to(self.device), classes.to(self.device)
        return Dreams(vectors, tasks, labels, logits, vectors.new_empty(len(vectors), 0))
