"""The replay pool: Ray actors that hold all stored generators and sample dreams in parallel, ahead of the trainers.

A request names the sleep, the block and the rank; what it returns depends on nothing else but the memories
and teachers of that sleep, which lie in Ray's object store. So any dreamer may answer it, an actor that died and came
back answers as before, and the number of dreamers changes no bit.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import ray
import torch
from ray import cloudpickle

from distributed.cluster.capacity import Reservation
from distributed.job import pack_registries
from distributed.replay.actor import DreamerActor
from distributed.replay.block import Arrays, BlockRequest
from mygo.replay.schedule import Dreams
from mygo.replay.spec import ReplaySpec
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

    def __init__(self, dreamers: Sequence[Any], control: Any = None) -> None:
        """Let ``dreamers`` dream for one worker or, with their ``control`` actor, for a group of workers."""
        self.dreamers = dreamers
        self.control = control

    def dreams(self, spec: ReplaySpec, group: ProcessGroup, first_step: int = 0) -> Iterator[Dreams]:
        """Return this rank's share of each step's dreams, in order, with a bounded number of blocks in flight."""
        stored = self._stored(spec, group)  # now, not at the first dream, when the student may have learned
        return spec.schedule.steps_of(self._blocks(spec, stored, group, first_step), first_step)

    def _stored(self, spec: ReplaySpec, group: ProcessGroup) -> "ray.ObjectRef[ReplaySpec]":
        """Return where ``spec`` lies in the object store: once for all ranks, which have the same."""
        if self.control is None:
            return ray.put(spec.on_cpu())
        if group.rank == 0:
            ray.get(self.control.share.remote([ray.put(spec.on_cpu())]))
        group.barrier()
        (stored,) = ray.get(self.control.shared.remote())
        return stored  # type: ignore[no-any-return]

    def _blocks(
        self, spec: ReplaySpec, stored: "ray.ObjectRef[ReplaySpec]", group: ProcessGroup, first_step: int
    ) -> Iterator[Dreams]:
        blocks = spec.schedule.blocks_from(first_step)
        waiting: deque[ray.ObjectRef[Arrays]] = deque()
        limit = BLOCKS_AHEAD * len(self.dreamers)
        for block in blocks:
            for ahead in range(block + len(waiting), min(block + limit, blocks.stop)):
                # Ranks start at different dreamers, so that all are busy from the first block on.
                dreamer = self.dreamers[(ahead + group.rank) % len(self.dreamers)]
                request = BlockRequest(spec.sleep, ahead, group.rank, group.size)
                waiting.append(dreamer.dream.remote(request, [stored]))
            arrays: Arrays = ray.get(waiting.popleft())
            # Arrays from the object store are read-only: copy.
            yield Dreams(**{name: torch.tensor(array) for name, array in arrays.items()})
