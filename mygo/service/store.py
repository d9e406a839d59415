"""All that a life in service has on disk, and how it gets from one whole state to the next, whatever interrupts it.

A crash after any step leaves what `Store` puts right when it is made again:

1. A version is made of what was learned. If it was not put into the life, it goes, and is made again.
2. The life is put into its state: from now on it counts.
3. What it has learned leaves the inbox, and old versions go; after a forget, all of them. That is done again.
4. The record says that the work is done.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mygo.data.images import reason
from mygo.errors import ConflictError, MygoError, NotThereError, StoppedError, StorageError
from mygo.events import Event, EventHandler
from mygo.jobs.lesson import Lesson
from mygo.learner.storage import checksum
from mygo.service.config import ServiceConfig
from mygo.service.disk import classes_of, discard, discard_hidden, state_in, storing
from mygo.service.inbox import Inbox, InboxItem, counts_of
from mygo.service.lessons import Workplace
from mygo.service.versions import Version, Versions, now
from mygo.service.work import ADVICE, Records, WorkRecord, how_far

Learn = Callable[[Lesson, EventHandler], object]
"""Runs one lesson in the folder that it names, going on where an earlier run of it stopped."""

log = logging.getLogger(__name__)


class Store:
    """The inbox, the versions and the work of the life in a folder; one process, and one thread at a time, uses it."""

    def __init__(self, life_folder: Path, config: ServiceConfig) -> None:
        """Read what is there, and put right what a crash left.

        Raises:
            InputError: something is damaged, or the life is in the middle of a lesson of a command.
            StorageError: it cannot be put right.
        """
        service = life_folder / "service"
        self.life_folder = life_folder
        self.records = Records(service / "lessons")
        self.inbox = Inbox(service / "inbox", config.inbox, config.examples)
        self.versions = Versions(life_folder, config.keep_versions)
        self.versions.recover({record.id for record in self.records.open()})
        self._follow_commands()
        self._finish_published()

    def _follow_commands(self) -> None:
        """Make a version of a life that commands have changed; what they let it forget is to be in no other place."""
        gone = self.versions.gone()
        for name in gone:
            self.inbox.remove_class(name)
            self.records.take_out(name)
        self.versions.discard_knowing(gone)
        self.versions.find()

    def _finish_published(self) -> None:
        """Finish the work that made the current version, and delete folders of work that has ended."""
        current = self.versions.current()
        for record in self.records.open():
            if current is not None and current.work == record.id:
                self.finish(record)
        with storing(self.records.folder, "allow deleting files there"):
            for folder in self.records.folder.iterdir():
                if folder.is_dir() and folder.name not in {record.id for record in self.records.open()}:
                    discard(folder)
        self.versions.prune()

    def workplace(self, record: WorkRecord) -> Workplace:
        """Return where work is done."""
        return Workplace(self.records.folder / record.id)

    def items_of(self, record: WorkRecord) -> list[InboxItem]:
        """Return the inbox items that work takes and that are still there."""
        return [item for item in self.inbox.items() if item.id in record.items]

    def free_items(self) -> list[InboxItem]:
        """Return the inbox items that no work takes which has not ended."""
        taken = {item for record in self.records.open() for item in record.items}
        return [item for item in self.inbox.items() if item.id not in taken]

    def num_untried(self) -> int:
        """Return how many examples no work takes or took."""
        tried = {item for record in self.records.all() for item in record.items}
        return sum(item.count for item in self.inbox.items() if item.id not in tried)

    def items_at_work(self) -> set[str]:
        """Return the identifiers of the inbox items that are being learned."""
        return {item for record in self.records.open() if record.state == "running" for item in record.items}

    def ask_to_forget(self, name: str) -> WorkRecord:
        """Note that a class is to be forgotten, and delete its inbox items but for those that are being learned.

        Raises:
            NotThereError: neither the life, an earlier version nor work that waits knows it.
            ConflictError: it is all that the life knows.
            StorageError: it cannot be noted, or its items cannot be deleted.
        """
        state = state_in(self.life_folder)
        known = set() if state is None else classes_of(state)
        learning = {each for record in self.records.open() if record.what == "lesson" for each in record.classes}
        before = {each for version in self.versions.all() for each in version.class_names}
        if name not in known | learning | before:
            names = ", ".join(sorted(known)) or "none yet"
            raise NotThereError(f"This life knows no class {name!r}: choose from those it knows: {names}.")
        if known == {name} and not learning - {name}:
            raise ConflictError(f"{name!r} is all that this life knows: teach it another first, or delete its folder.")
        items = [item.id for item in self.inbox.items() if item.class_name == name]
        record = self.records.add("forget", (name,), 0, tuple(items))
        at_work = self.items_at_work()
        for item in items:
            if item not in at_work:
                self.inbox.remove(item)
        return record

    def is_published(self, record: WorkRecord) -> bool:
        """Return whether the life is in the state that this work led to."""
        current = self.versions.current()
        return current is not None and current.work == record.id

    def publish(self, record: WorkRecord, source: Path) -> None:
        """Let the life be in the state of the one in ``source``, which this work led to.

        Raises:
            StorageError: it cannot be written; the state of the life is whole, the one before or this one.
        """
        self.versions.discard_unput()
        self.versions.put(self.versions.make(source, record.what, record.id, record.items))

    def finish(self, record: WorkRecord) -> WorkRecord:
        """Do what follows when work was published, or had nothing to change, and note that it is done.

        Raises:
            StorageError: something cannot be deleted or written; it can be done again.
        """
        for item in record.items:
            self.inbox.remove(item)
        with storing(self.records.folder, "allow deleting files there"):
            discard(self.workplace(record).folder)
        if record.what == "forget":
            self._leave_no_trace(record)
        else:
            self.versions.prune()
        current = self.versions.current()
        number = None if current is None else current.number
        done: dict[str, Any] = {"state": "done", "progress": 1.0, "phase": "", "error": None, "ended": now()}
        record = self.records.change(record.id, version=number, **done)
        self.records.prune()
        return record

    def _leave_no_trace(self, record: WorkRecord) -> None:
        self.versions.forget_others()
        with storing(self.life_folder, "allow deleting files there"):
            for folder in (self.inbox.folder, self.records.folder):
                discard_hidden(folder)
        for name in record.classes:
            self.records.take_out(name, last=record.id)

    def fail(self, record: WorkRecord, error: str) -> WorkRecord:
        """Note why work failed; what it was to learn stays in the inbox.

        Raises:
            StorageError: that cannot be written.
        """
        with suppress(StorageError), storing(self.records.folder, "allow deleting files there"):
            discard(self.workplace(record).folder)  # else the next start does
        self.versions.discard_unput()
        record = self.records.change(record.id, state="failed", phase="", error=error, ended=now())
        self.records.prune()
        return record

    def roll_back(self, number: int) -> Version:
        """Make what the life was as version ``number`` the newest version.

        Raises:
            NotThereError: there is no such version.
            ConflictError: work waits or runs, or the life is in that state.
            StorageError: it cannot be written; the state of the life is whole.
        """
        if self.records.open():
            raise ConflictError("A lesson waits or runs: roll back when it has ended.")
        wanted, current = self.versions.by_number(number), self.versions.current()
        if wanted is None or current is None:
            raise NotThereError(f"There is no version {number} to roll back to: look up which there are.")
        if wanted.checksum == current.checksum:
            raise ConflictError(f"Version {number} is what the life is already: name another.")
        self.versions.discard_unput()
        made = self.versions.make(wanted.folder, "rollback")
        self.versions.put(made)
        self.versions.prune()
        return made


class Worker:
    """Does the work of a store, one piece at a time."""

    def __init__(self, store: Store, config: ServiceConfig, lock: "threading.RLock") -> None:
        """Work with a ``store``; the ``lock`` is held while that is used, and not while a life learns."""
        self._store, self._config, self._lock = store, config, lock
        self._busy = threading.Lock()

    def run(self, work_id: str, learn: Learn, stop: Callable[[], bool]) -> WorkRecord:
        """Do the work that has this identifier, or go on with it, and return its record when it has ended.

        Raises:
            NotThereError: there is none.
            ConflictError: some is being done.
            StoppedError: ``learn`` was stopped or, while a class was being forgotten, ``stop`` returned True.
            StorageError: what was learned could not be put into the life, or tidied up after; it can be run again.
        """
        if not self._busy.acquire(blocking=False):
            raise ConflictError("Work is being done already: wait for its end.")
        try:
            with self._lock:
                record = self._store.records.by_id(work_id)
                if not record.is_open:
                    return record
                is_published = self._store.is_published(record)
                if not is_published:
                    record = self._begin(record)
            if not is_published:
                failure = self._failure_of(record, learn, stop)
                with self._lock:
                    if failure is not None:
                        return self._store.fail(record, failure)
                    self._publish(record)
            with self._lock:
                return self._store.finish(record)
        finally:
            self._busy.release()

    def _begin(self, record: WorkRecord) -> WorkRecord:
        began = record.began or now()
        return self._store.records.change(record.id, state="running", began=began, error=None)

    def _publish(self, record: WorkRecord) -> None:
        """Let what was learned be the state of the life, unless there was nothing to change."""
        store, copy = self._store, self._store.workplace(record).copy
        state, before = state_in(copy), state_in(store.life_folder)
        if state is not None and (before is None or checksum(state) != checksum(before)):
            try:
                store.publish(record, copy)
            except StorageError:
                with suppress(StorageError):
                    store.records.note(record.id, "waiting for room on disk", record.progress)
                raise

    def _failure_of(self, record: WorkRecord, learn: Learn, stop: Callable[[], bool]) -> str | None:
        """Do the work in its own folder, and return why that failed, in one sentence, or None.

        Raises:
            StoppedError: it was stopped.
        """
        try:
            if record.what == "forget":
                self._forget(record, stop)
            else:
                self._learn(record, learn)
        except StoppedError:
            raise
        except MygoError as error:
            return str(error)
        except Exception as error:  # the service goes on
            log.exception("work %s failed", record.id)
            return f"It ended with an error of the program ({reason(error)}): see the log of the service."
        return None

    def _learn(self, record: WorkRecord, learn: Learn) -> None:
        """Learn the lessons of this work that are not learned yet, in its own folder."""
        store, place = self._store, self._store.workplace(record)
        if not place.is_for(store.life_folder):
            with self._lock:
                items = store.items_of(record)
            if not items:
                raise ConflictError("What it was to learn was deleted from the inbox before it began.")
            self._prepare(place, f"taught {record.asked}", items)
            counts = counts_of(items)
            ids = tuple(item.id for item in items)
            known = {"classes": tuple(sorted(counts)), "examples": sum(counts.values()), "items": ids}
            with self._lock:
                store.records.change(record.id, **known)
        for number, total, lesson in place.lessons(self._config):
            learn(lesson, self._following(record, number, total))

    def _forget(self, record: WorkRecord, stop: Callable[[], bool]) -> None:
        """Let the copy of the life in this work's own folder forget."""
        place = self._store.workplace(record)
        if not place.is_for(self._store.life_folder):
            self._prepare(place, "", [])
        follow = self._following(record, 0, 1)

        def follow_unless_stopped(event: Event) -> None:
            if stop():
                raise StoppedError("A class was being forgotten: that begins again the next time.")
            follow(event)

        for name in record.classes:
            place.forget(name, self._config, follow_unless_stopped)

    def _prepare(self, place: Workplace, name: str, items: list[InboxItem]) -> None:
        """Lay out what work needs. The lock is not held: nothing else changes the life or its items while it runs."""
        with storing(place.folder, ADVICE):
            discard(place.folder)
        place.prepare(self._store.life_folder, name, items, self._store.inbox)

    def _following(self, record: WorkRecord, number: int, total: int) -> EventHandler:
        """Return a handler that notes how far one of the lessons of this work came."""

        def follow(event: Event) -> None:
            found = how_far(event, number, total)
            if found is not None:
                words, part = found
                with self._lock, suppress(StorageError):  # learning goes on without
                    before = self._store.records.by_id(record.id).progress
                    self._store.records.note(record.id, words, max(before, part))

        return follow
