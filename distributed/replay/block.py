"""One block of dreams, made from a saved life without Ray."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from mygo.learner.learner import Learner
from mygo.replay.schedule import Dreams, ReplaySchedule
from mygo.replay.source import BlockOfDreams, dreamer_of, schedule_of
from mygo.training.allocation import keep_freed_memory

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class BlockRequest:
    """One rank's share of one block of the sleep of the life's cycle after ``cycles``."""

    folder: Path
    cycles: int
    block: int
    rank: int
    size: int


class BlockDreamer:
    """Answers requests from saved lives, without Ray."""

    def __init__(self, threads: int, device: str = "cpu") -> None:
        """Dream with ``threads`` on ``device``."""
        torch.set_num_threads(threads)
        keep_freed_memory()
        self._device = torch.device(device)
        self._loaded: tuple[Path, int] | None = None
        self._dreamer: BlockOfDreams
        self._schedule: ReplaySchedule

    def dream(self, request: BlockRequest) -> Arrays:
        """Return the dreams of ``request`` as arrays, named as the fields of `Dreams`.

        Raises:
            RuntimeError: the saved life is at another task than the request.
        """
        wanted = (request.folder, request.cycles)
        if self._loaded != wanted:
            life = Learner.open(request.folder)
            if life.cycles != request.cycles:
                raise RuntimeError(f"{request.folder} has had {life.cycles} cycles, not {request.cycles}")
            self._dreamer = dreamer_of(life, self._device)
            self._schedule = schedule_of(life)
            self._loaded = wanted
        dreams = self._dreamer.dream(self._schedule.request(request.block, request.rank, request.size))
        return {field.name: getattr(dreams, field.name).cpu().numpy() for field in fields(Dreams)}
