"""The one writer of a life in service."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mygo.data.readers.reader import Kind
from mygo.events import EventHandler
from mygo.jobs.lesson import Lesson
from mygo.service.config import ServiceConfig
from mygo.service.inbox import InboxItem
from mygo.service.versions import Version
from mygo.service.work import WorkRecord

Learn = Callable[[Lesson, EventHandler], object]
"""Runs one lesson in the folder that it names, going on where an earlier run of it stopped."""


class Keeper:
    """The one writer of the life in a folder, and all that is waiting for it; every method may be called by any thread.

    It holds the lock of the folder from the moment it is made until `close`, also as a context manager. Whatever a
    crash left half-done is put right when it is made. Work is asked for with `sleep` and `forget`, and done by whoever
    calls `run` with what `next_work` returns, one at a time.
    """

    def __init__(self, life_folder: Path, config: ServiceConfig = ServiceConfig()) -> None:
        """Take the life in ``life_folder``, or the place for one that its first lesson will begin, into service.

        Raises:
            InputError: it is in use by another process, damaged, or in the middle of a lesson of a command.
            StorageError: it cannot be put right.
        """

    def close(self) -> None:
        """Give the folder free."""

    def teach(
        self, class_name: str, kind: Kind, examples: "Sequence[bytes] | Sequence[str] | npt.NDArray[np.float32]"
    ) -> InboxItem:
        """Put examples of a class into the inbox: images as the bytes of their files, texts, or vectors [N, D].

        Raises:
            FullError: they are more than the inbox may hold (``InboxLimits``).
            InputError: the name is none, one cannot be read, or they are of another kind than the life or the inbox.
            StorageError: there is no room on disk; nothing of them was kept.
        """
        raise NotImplementedError

    def inbox(self) -> dict[str, Any]:
        """Return what GET /inbox says: items, examples, bytes, classes."""
        raise NotImplementedError

    def remove(self, item_id: str) -> bool:
        """Delete an inbox item; False if there is none.

        Raises:
            ConflictError: it is being learned.
        """
        raise NotImplementedError

    def remove_all(self, class_name: str | None = None) -> int:
        """Delete the inbox items of a class, or all, but for those that are being learned, and return how many."""
        raise NotImplementedError

    def sleep(self, *, partly: bool = False) -> WorkRecord:
        """Ask for a lesson of what is in the inbox now and no other work takes.

        With ``partly`` classes of too few examples stay in the inbox; otherwise they are refused.

        Raises:
            ConflictError: there is nothing to learn, or not enough; it names the class and the number.
        """
        raise NotImplementedError

    def forget(self, class_name: str) -> WorkRecord:
        """Ask for a class to be forgotten, after the work that was asked for before; its inbox items go at once.

        Raises:
            NotThereError: neither the life nor work that waits knows it.
            ConflictError: it is all that the life knows.
        """
        raise NotImplementedError

    def roll_back(self, number: int) -> Version:
        """Make what the life was as version ``number`` the newest version.

        Raises:
            NotThereError: there is no such version.
            ConflictError: work is waiting or running, or it is the current one.
        """
        raise NotImplementedError

    def work(self) -> list[WorkRecord]:
        """Return the records of all work, newest first."""
        raise NotImplementedError

    def work_by_id(self, work_id: str) -> WorkRecord:
        """Return one record.

        Raises:
            NotThereError: there is none.
        """
        raise NotImplementedError

    def versions(self) -> list[Version]:
        """Return the versions that one can roll back to, and the current one, oldest first."""
        raise NotImplementedError

    def status(self) -> dict[str, Any]:
        """Return what GET /life says."""
        raise NotImplementedError

    def map(self) -> dict[str, Any]:
        """Return what GET /life/map says.

        Raises:
            NotThereError: nothing was learned, or the life sees pixels, of which there is no map.
        """
        raise NotImplementedError

    def due(self, now: datetime) -> bool:
        """Return whether the settings ask for a lesson ``now`` (local time), which `sleep` (partly) would give.

        To be called every few seconds: a time of the day is due once, at the first call after it.
        """
        raise NotImplementedError

    def next_work(self) -> WorkRecord | None:
        """Return what is to be done next: what was interrupted, else what was asked for first; None if nothing is."""
        raise NotImplementedError

    def run(self, work: WorkRecord, learn: Learn | None = None, stop: Callable[[], bool] = lambda: False) -> WorkRecord:
        """Do ``work``, from `next_work`, or go on with it, and return its record when it is done or has failed.

        ``learn`` runs each of its lessons; by default that is done in this process, until ``stop`` returns True.

        Raises:
            StoppedError: it was stopped; it goes on at the next call, also in another process.
            StorageError: what was learned could not be put into the life; the next call tries again.
        """
        raise NotImplementedError
