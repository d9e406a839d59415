"""The one writer of a life in service."""

import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from mygo.data.readers.reader import Kind
from mygo.data.spelling import composed
from mygo.errors import ConflictError
from mygo.events import EventHandler
from mygo.files import check_writable, locked
from mygo.jobs.lesson import STRATEGY, Lesson
from mygo.service.config import DEFAULTS, Clock, ServiceConfig
from mygo.service.examples import Sent
from mygo.service.inbox import InboxItem, counts_of
from mygo.service.lessons import ready_items
from mygo.service.store import Learn, Store, Worker
from mygo.service.versions import Version
from mygo.service.view import View, check_seen
from mygo.service.work import WorkRecord


class Keeper:
    """The one writer of the life in a folder, and of all that waits for it; every method may be called by any thread.

    It holds the lock of the folder from the moment it is made until `close`, which a ``with`` calls. Whatever a crash
    left half-done is put right when it is made. Work is asked for with `sleep` and `forget`, and done by whoever calls
    `run` with what `next_work` returns, one at a time.
    """

    def __init__(self, life_folder: Path, config: ServiceConfig = DEFAULTS) -> None:
        """Take the life in ``life_folder``, or the place for one that its first lesson will begin, into service.

        Raises:
            InputError: it is in use by another process, damaged, or in the middle of a lesson of a command.
            StorageError: what a crash left cannot be put right.
        """
        self.life_folder = life_folder.resolve()
        self.config = config
        self._lock = threading.RLock()
        self._clock = Clock(config.sleep_at)
        check_writable(self.life_folder, "choose another --life")
        with ExitStack() as stack:
            stack.enter_context(locked(self.life_folder, 0))
            self._store = Store(self.life_folder, config)
            self._held = stack.pop_all()
        self._view = View(self._store, config)
        self._worker = Worker(self._store, config, self._lock)

    def close(self) -> None:
        """Let go of the folder."""
        self._held.close()

    def __enter__(self) -> "Keeper":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the inbox ----------------------------------------------------------------------------------------------------

    def teach(self, class_name: str, kind: Kind, examples: Sent) -> InboxItem:
        """Put examples of a class into the inbox: images as the bytes of their files, texts, or vectors [N, D].

        Raises:
            FullError: they are more than the inbox may hold.
            InputError: the name is none, one cannot be read, or they are of another kind than the life or the inbox.
            StorageError: there is no room on disk; nothing of them was kept.
        """
        contents = self._store.inbox.checked(kind, examples)
        with self._lock:
            life = self._view.life()
        check_seen(kind, examples, life, self.config)
        with self._lock:
            return self._store.inbox.put(class_name, kind, len(examples), contents)

    def inbox(self) -> dict[str, Any]:
        """Return what GET /inbox says."""
        with self._lock:
            return self._view.inbox()

    def remove(self, item_id: str) -> bool:
        """Delete an inbox item; False if there is none.

        Raises:
            ConflictError: it is being learned.
            StorageError: it cannot be deleted.
        """
        with self._lock:
            if item_id in self._store.items_at_work():
                raise ConflictError("These examples are being learned: wait for the end of the lesson.")
            return self._store.inbox.remove(item_id)

    def remove_all(self, class_name: str | None = None) -> int:
        """Delete the inbox items of a class, or all, but for those that are being learned, and return how many.

        Raises:
            StorageError: one cannot be deleted.
        """
        with self._lock:
            wanted = None if class_name is None else composed(class_name)
            at_work = self._store.items_at_work()
            items = [item for item in self._store.inbox.items() if item.id not in at_work]
            return sum(self._store.inbox.remove(item.id) for item in items if wanted in (None, item.class_name))

    # -- work that is asked for ---------------------------------------------------------------------------------------

    def sleep(self, *, partly: bool = False) -> WorkRecord:
        """Ask for a lesson of what is in the inbox now and no other work takes.

        With ``partly`` classes of too few examples stay in the inbox; otherwise they are refused.

        Raises:
            ConflictError: there is nothing to learn, or not enough; it names the class and the number.
            StorageError: it cannot be noted.
        """
        with self._lock:
            life = self._view.life()
            if life is not None and life.strategy != STRATEGY:
                raise ConflictError(f"This is a life of the baseline {life.strategy}, which cannot be taught.")
            items = ready_items(self._store.free_items(), partly=partly)
            counts = counts_of(items)
            ids = tuple(item.id for item in items)
            return self._store.records.add("lesson", tuple(sorted(counts)), sum(counts.values()), ids)

    def forget(self, class_name: str) -> WorkRecord:
        """Ask for a class to be forgotten, after the work that was asked for before; its inbox items go at once.

        It can also be a class that only earlier versions know.

        Raises:
            NotThereError: neither the life, an earlier version nor work that waits knows it.
            ConflictError: it is all that the life knows.
            StorageError: it cannot be noted, or its items cannot be deleted.
        """
        with self._lock:
            return self._store.ask_to_forget(composed(class_name).strip())

    def roll_back(self, number: int) -> Version:
        """Make what the life was as version ``number`` the newest version.

        Raises:
            NotThereError: there is no such version.
            ConflictError: work waits or runs, or the life is in that state.
            StorageError: it cannot be written; the life stays as it is.
        """
        with self._lock:
            return self._store.roll_back(number)

    def due(self, time: datetime) -> bool:
        """Return whether the settings ask for a lesson at this local ``time``, which ``sleep(partly=True)`` gives.

        To be called every few seconds: a time of the day is due once, at the first call after it. Examples of a lesson
        that failed do not count among those after which it is due.
        """
        with self._lock:
            is_time, most = self._clock.struck(time), self.config.sleep_after
            if is_time or (most is not None and self._store.num_untried() >= most):
                with suppress(ConflictError):
                    return bool(ready_items(self._store.free_items(), partly=True))
            return False

    # -- work that is done --------------------------------------------------------------------------------------------

    def next_work(self) -> WorkRecord | None:
        """Return what is to be done next: what was interrupted, else what was asked for first; None if nothing is."""
        with self._lock:
            waiting = self._store.records.open()
            return waiting[0] if waiting else None

    def run(self, work: WorkRecord, learn: Learn | None = None, stop: Callable[[], bool] = lambda: False) -> WorkRecord:
        """Do ``work``, from `next_work`, or go on with it, and return its record when it is done or has failed.

        ``learn`` runs each of its lessons; by default that is done in this process, until ``stop`` returns True.

        Raises:
            ConflictError: work is being done already.
            StoppedError: it was stopped; it goes on at the next call, also in another process.
            StorageError: what was learned could not be put into the life; the next call tries again.
        """

        def learn_here(lesson: Lesson, on_event: EventHandler) -> None:
            lesson.run(on_event=on_event, stop=stop)

        return self._worker.run(work.id, learn or learn_here, stop)

    def work(self) -> list[WorkRecord]:
        """Return the records of all work, newest first."""
        with self._lock:
            return self._store.records.all()[::-1]

    def work_by_id(self, work_id: str) -> WorkRecord:
        """Return one record.

        Raises:
            NotThereError: there is none.
        """
        with self._lock:
            return self._store.records.by_id(work_id)

    # -- what is said of it -------------------------------------------------------------------------------------------

    def versions(self) -> list[Version]:
        """Return the versions that one can roll back to, and the current one, oldest first."""
        with self._lock:
            return self._store.versions.all()

    def status(self) -> dict[str, Any]:
        """Return what GET /life says."""
        with self._lock:
            return self._view.status()

    def map(self) -> dict[str, Any]:
        """Return what GET /life/map says.

        Raises:
            NotThereError: nothing was learned, or the life sees pixels, of which there is no map.
        """
        with self._lock:
            return self._view.map()
