"""One block of dreams, made from what a sleep dreams with, without Ray."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy.typing as npt
import torch

from mygo.replay.schedule import Dreams, ReplaySchedule
from mygo.replay.spec import BlockOfDreams, ReplaySpec
from mygo.training.allocation import keep_freed_memory

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class BlockRequest:
    """One rank's share of one block of a sleep."""

    sleep: tuple[object, ...]
    """Which one: that of its `mygo.replay.spec.ReplaySpec`."""
    block: int
    rank: int
    size: int


class BlockDreamer:
    """Answers requests, without Ray."""

    def __init__(self, threads: int, device: str = "cpu") -> None:
        """Dream with ``threads`` on ``device``."""
        torch.set_num_threads(threads)
        keep_freed_memory()
        self._device = torch.device(device)
        self._sleep: tuple[object, ...] | None = None
        self._dreamer: BlockOfDreams
        self._schedule: ReplaySchedule

    def dream(self, request: BlockRequest, fetch: Callable[[], ReplaySpec]) -> Arrays:
        """Return the dreams of ``request`` as arrays, named as the fields of `Dreams`.

        What a sleep dreams with is fetched at the first request of it.

        Raises:
            RuntimeError: what was fetched is another sleep's.
        """
        if self._sleep != request.sleep:
            spec = fetch()
            if spec.sleep != request.sleep:
                raise RuntimeError(f"what was fetched is for the sleep {spec.sleep}, not for {request.sleep}")
            self._dreamer, self._schedule, self._sleep = spec.dreamer(self._device), spec.schedule, spec.sleep
        dreams = self._dreamer.dream(self._schedule.request(request.block, request.rank, request.size))
        return {field.name: getattr(dreams, field.name).cpu().numpy() for field in fields(Dreams)}
