"""The replay pool: Ray actors that hold all stored generators and sample dreams in parallel, ahead of the trainers.

A request names the saved life, the block of the sleep and the rank that asks; what it returns depends on nothing else.
So any dreamer may answer it, an actor that died and came back answers as before, and the number of dreamers changes
no bit.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ray
import torch
from ray import cloudpickle

from distributed.cluster.capacity import Reservation
from distributed.job import pack_registries
from distributed.replay.actor import DreamerActor
from distributed.replay.block import Arrays, BlockRequest
from mygo.learner.learner import Learner
from mygo.replay.schedule import Dreams, ReplaySchedule
from mygo.training.process_group import ProcessGroup

BLOCKS_AHEAD = 4
"""Blocks that each dreamer has in flight or waiting for one rank: made, in the making, and being learned from."""


def start_dreamers(room: Reservation, control: Any = None) -> list[Any]:
    """Start the dreamer actors in their ``room``, which come back when they die, where the room is then.

    Those that come back say so in ``control``.
    """
    placement = room.placement
    actor: Any = ray.remote(
        num_cpus=placement.cpus_per_dreamer,
        num_gpus=placement.gpus_per_dreamer,
        max_restarts=-1,
        max_task_retries=3,
    )(DreamerActor)
    device = "cuda" if placement.use_gpu else "cpu"
    # Ray warns on the console of an actor that may restart and was given a handle as it is.
    packed = None if control is None else cloudpickle.dumps(control)
    arguments = placement.threads_per_dreamer, device, packed, pack_registries()
    return [
        actor.options(scheduling_strategy=room.strategy_of_dreamer(index)).remote(*arguments)
        for index in range(placement.num_dreamers)
    ]


class ReplayPool:
    """Dreams made by a pool of dreamers while the student trains on earlier ones."""

    def __init__(self, dreamers: Sequence[Any]) -> None:
        self.dreamers = dreamers

    def dreams(
        self, life: Learner, schedule: ReplaySchedule, group: ProcessGroup, first_step: int = 0
    ) -> Iterator[Dreams]:
        """Return this rank's share of each step's dreams, in order, with a bounded number of blocks in flight.

        Raises:
            RuntimeError: the life has no folder that dreamers could read it from.
        """
        if life.folder is None:
            raise RuntimeError("dreamers read the life from its folder, and this one has none")
        return schedule.steps_of(self._blocks(life.folder, life.cycles, schedule, group, first_step), first_step)

    def _blocks(
        self, folder: Path, cycles: int, schedule: ReplaySchedule, group: ProcessGroup, first_step: int
    ) -> Iterator[Dreams]:
        blocks = schedule.blocks_from(first_step)
        waiting: deque[ray.ObjectRef[Arrays]] = deque()
        limit = BLOCKS_AHEAD * len(self.dreamers)
        for block in blocks:
            for ahead in range(block + len(waiting), min(block + limit, blocks.stop)):
                # Ranks start at different dreamers, so that all are busy from the first block on.
                dreamer = self.dreamers[(ahead + group.rank) % len(self.dreamers)]
                request = BlockRequest(folder, cycles, ahead, group.rank, group.size)
                waiting.append(dreamer.dream.remote(request))
            arrays: Arrays = ray.get(waiting.popleft())
            # Arrays from the object store are read-only: copy.
            yield Dreams(**{name: torch.tensor(array) for name, array in arrays.items()})
