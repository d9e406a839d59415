"""Where a sleeping worker gets its dreams from: made here, or by others (see `distributed.replay`)."""

from collections.abc import Iterator
from typing import Protocol

import torch

from mygo.learner.learner import Learner
from mygo.learner.state import LearnerState
from mygo.memory.gaussian import noise_dim_of
from mygo.replay.dreamer import Dreamer
from mygo.replay.features import FeatureDreamer, FeatureSchedule
from mygo.replay.schedule import Dreams, ReplaySchedule, SampleRequest
from mygo.training.precision import resolved
from mygo.training.process_group import ProcessGroup

ROWS_OF_A_MEMORY = 100
"""Dreams that a memory makes at least of one block, on average: with fewer, calls take longer than what they do."""
ROWS_OF_A_CLASS = 64
"""The same of a class that is kept as a Gaussian."""


def schedule_of(learner: LearnerState) -> ReplaySchedule:
    """Return what the sleep of the current cycle of ``learner`` dreams.

    Raises:
        RuntimeError: there is none.
    """
    if learner.current is None:
        raise RuntimeError("there is no cycle to sleep in")
    config = learner.config.sleep
    order = learner.lessons_in_order()
    sizes = tuple(learner.neocortex.head_sizes[number] for number in order)
    if learner.on_features:
        classes, steps = min(sum(sizes), config.classes_per_step), config.steps
        if config.steps_per_class is not None:
            steps = min(steps, config.steps_per_class * sum(sizes))
        return FeatureSchedule(
            key=(learner.config.seed, "sleep"),
            current=order.index(learner.current),
            head_sizes=sizes,
            noise_dim=noise_dim_of(learner.gaussians[0]),
            steps=steps,
            batch_size=config.batch_size,
            steps_per_block=max(config.steps_per_block, -(-ROWS_OF_A_CLASS * classes // config.batch_size)),
            classes_per_block=classes,
        )
    rows = ROWS_OF_A_MEMORY * len(learner.memories)
    return ReplaySchedule(
        key=learner.key("sleep"),
        current=learner.current,
        head_sizes=sizes,
        noise_dim=max(memory.latent_dim for memory in learner.generators),
        steps_per_block=max(config.steps_per_block, -(-rows // config.batch_size)),
        max_shift=config.max_shift,
        current_share=config.current_share,
        steps=config.steps,
        batch_size=config.batch_size,
    )


class BlockOfDreams(Protocol):
    """What answers a request of the schedule that `schedule_of` returns for the same learner."""

    def dream(self, request: SampleRequest) -> Dreams:
        """Return the dreams of ``request``, in its order."""


def dreamer_of(learner: LearnerState, device: torch.device) -> BlockOfDreams:
    """Return a dreamer of all memories, taught by the networks of ``learner`` as they are now.

    Raises:
        RuntimeError: over pixels, there is no fast learner, so this is not between waking and sleeping.
    """
    if learner.on_features:
        order = learner.lessons_in_order()
        gaussians, teachers = learner.gaussians, learner.teachers
        return FeatureDreamer([gaussians[number] for number in order], [teachers[number] for number in order], device)
    if learner.fast_learner is None or learner.current is None:
        raise RuntimeError("a dreamer needs the fast learner of the current task: adapt first")
    return Dreamer(
        learner.generators,
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
