"""Where a sleeping worker gets its dreams from: made here, or by others (see `distributed.replay`)."""

from collections.abc import Iterator
from typing import Protocol

from mygo.replay.schedule import Dreams
from mygo.replay.spec import ReplaySpec
from mygo.training.process_group import ProcessGroup


class ReplaySource(Protocol):
    """Where a sleeping worker gets its dreams from."""

    def dreams(self, spec: ReplaySpec, group: ProcessGroup, first_step: int = 0) -> Iterator[Dreams]:
        """Return this rank's share of the global batch of dreams, for each step of the schedule from ``first_step`` on.

        The teachers are those of ``spec`` as they are when this is called.
        """


class LocalReplay:
    """Dreams in the process that sleeps."""

    def dreams(self, spec: ReplaySpec, group: ProcessGroup, first_step: int = 0) -> Iterator[Dreams]:
        """Return this rank's share of each step's dreams."""
        dreamer = spec.dreamer(group.device)  # now, not at the first dream, when the student may have learned
        requests = (
            spec.schedule.request(block, group.rank, group.size) for block in spec.schedule.blocks_from(first_step)
        )
        return spec.schedule.steps_of(map(dreamer.dream, requests), first_step)
