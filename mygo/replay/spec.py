"""All that one sleep dreams with, as one value that is handed to whoever dreams: nobody needs the whole life."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

import torch
from torch import nn

from mygo.config.learner import AnyPrecision
from mygo.learner.state import LearnerState
from mygo.memory.gaussian import GaussianMemory, noise_dim_of
from mygo.networks.generator import Generator
from mygo.networks.neocortex import NeocortexNet
from mygo.replay.dreamer import Dreamer
from mygo.replay.features import FeatureDreamer, FeatureSchedule, Labels, LessonTeachers, NetworkTeachers
from mygo.replay.schedule import Dreams, ReplaySchedule, SampleRequest
from mygo.training.precision import resolved

ROWS_OF_A_MEMORY = 100
"""Dreams that a memory makes at least of one block, on average: with fewer, calls take longer than what they do."""
ROWS_OF_A_CLASS = 64
"""The same of a class that is kept as a Gaussian."""

S = TypeVar("S", bound="ReplaySpec")


class BlockOfDreams(Protocol):
    """What answers the requests of one schedule."""

    def dream(self, request: SampleRequest) -> Dreams:
        """Return the dreams of ``request``, in its order."""


@dataclass(frozen=True)
class ReplaySpec(ABC):
    """What one sleep dreams, and the networks that dream it: memories, and the teachers that label it.

    The networks are those of the life, which go on learning: `dreamer` and `on_cpu` copy them.
    """

    sleep: tuple[object, ...]
    """What distinguishes this sleep from others of the same run."""
    schedule: ReplaySchedule
    memories: Sequence[nn.Module]
    teachers: Sequence[nn.Module]

    @abstractmethod
    def dreamer(self, device: torch.device) -> BlockOfDreams:
        """Return a dreamer on ``device``, taught by the networks as they are now."""

    def on_cpu(self: S) -> S:
        """Return the same with copies of the networks as they are now, on the CPU, to be sent elsewhere."""
        memories, teachers = ([copy.deepcopy(net).cpu() for net in nets] for nets in (self.memories, self.teachers))
        return replace(self, memories=memories, teachers=teachers)


@dataclass(frozen=True)
class ImageReplay(ReplaySpec):
    """A sleep over pixels."""

    memories: Sequence[Generator]
    teachers: Sequence[NeocortexNet]
    taught_by: tuple[int, ...]
    """Which of them teaches each task."""
    with_features: bool
    """Whether teachers also say what their features are."""
    precision: AnyPrecision
    eager: bool

    def dreamer(self, device: torch.device) -> Dreamer:
        """Return a dreamer on ``device``, taught by the networks as they are now."""
        return Dreamer(
            self.memories,
            self.teachers,
            self.taught_by,
            device,
            with_features=self.with_features,
            precision=resolved(self.precision, device),
            eager=self.eager,
        )


@dataclass(frozen=True)
class FeatureReplay(ReplaySpec):
    """A sleep behind an encoder; lessons come in the order of the schedule's heads."""

    memories: Sequence[GaussianMemory]
    teachers: Sequence[nn.Linear]

    def dreamer(self, device: torch.device) -> FeatureDreamer:
        """Return a dreamer on ``device``, taught by the networks as they are now."""
        return FeatureDreamer(self.memories, LessonTeachers(self.teachers, device), device)


@dataclass(frozen=True)
class LateReplay(ReplaySpec):
    """A sleep that trains the late blocks of an encoder."""

    memories: Sequence[GaussianMemory]
    teachers: Sequence[NeocortexNet]
    """Without any, nothing is asked but of which class a dream is."""
    taught_by: tuple[int, ...]
    """Which of them teaches each lesson."""
    precision: AnyPrecision

    def dreamer(self, device: torch.device) -> FeatureDreamer:
        """Return a dreamer on ``device``, taught by the networks as they are now."""
        if not self.teachers:
            return FeatureDreamer(self.memories, Labels(self.schedule.head_sizes), device)
        answers = NetworkTeachers(self.teachers, self.taught_by, device, resolved(self.precision, device))
        return FeatureDreamer(self.memories, answers, device)


def replay_of(learner: LearnerState) -> ReplaySpec:
    """Return what the sleep of the current cycle of ``learner`` dreams.

    Raises:
        RuntimeError: there is none; or, over pixels, no fast learner, so this is not between waking and sleeping.
    """
    if learner.current is None:
        raise RuntimeError("there is no cycle to sleep in")
    schedule = schedule_of(learner, learner.current)
    sleep = (learner.strategy, learner.cycles, *schedule.key)
    if learner.adapts:
        networks, taught_by = networks_that_teach(learner)
        return LateReplay(sleep, schedule, learner.gaussians, networks, taught_by, learner.precision)
    if learner.on_features:
        order, gaussians, teachers = learner.lessons_in_order(), learner.gaussians, learner.teachers
        return FeatureReplay(
            sleep, schedule, [gaussians[number] for number in order], [teachers[number] for number in order]
        )
    networks, taught_by = networks_that_teach(learner)
    if not networks:
        raise RuntimeError("a sleep needs the fast learner of the current task: adapt first")
    return ImageReplay(
        sleep,
        schedule,
        learner.generators,
        networks,
        taught_by,
        with_features=learner.config.sleep.feature_weight > 0 and not learner.guests,
        precision=learner.precision,
        eager=learner.config.eager,
    )


def networks_that_teach(learner: LearnerState) -> tuple[list[NeocortexNet], tuple[int, ...]]:
    """Return the networks that teach the current sleep of ``learner``, and which of them teaches each lesson.

    There are none where nothing but labels is asked: after a class was forgotten that they knew.
    """
    taught_by = [0] * len(learner.lessons)
    teachers = [learner.neocortex]
    if learner.fast_learner is not None and learner.current is not None:
        taught_by[learner.current] = len(teachers)
        teachers.append(learner.fast_learner)
    for guest in learner.guests:
        for lesson in guest.lessons:
            taught_by[lesson] = len(teachers)
        teachers.append(guest.network)
    return (teachers, tuple(taught_by)) if len(teachers) > 1 else ([], ())


def schedule_of(learner: LearnerState, current: int) -> ReplaySchedule:
    """Return the schedule of the sleep of ``learner`` in a cycle about the task number ``current``."""
    config = learner.config.sleep
    order = learner.lessons_in_order()
    sizes = tuple(learner.neocortex.head_sizes[number] for number in order)
    if learner.on_features:
        classes = min(sum(sizes), config.classes_per_step)
        return FeatureSchedule(
            key=(learner.config.seed, "sleep") if learner.order_free else learner.key("sleep"),
            current=order.index(current),
            head_sizes=sizes,
            noise_dim=noise_dim_of(learner.gaussians[0]),
            steps=config.steps_for(sum(sizes)),
            batch_size=config.batch_size,
            steps_per_block=max(config.steps_per_block, -(-ROWS_OF_A_CLASS * classes // config.batch_size)),
            classes_per_block=classes,
        )
    rows = ROWS_OF_A_MEMORY * len(learner.memories)
    return ReplaySchedule(
        key=learner.key("sleep"),
        current=current,
        head_sizes=sizes,
        noise_dim=max(memory.latent_dim for memory in learner.generators),
        steps_per_block=max(config.steps_per_block, -(-rows // config.batch_size)),
        max_shift=config.max_shift,
        current_share=config.current_share,
        steps=config.steps,
        batch_size=config.batch_size,
    )
