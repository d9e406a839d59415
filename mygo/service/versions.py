"""The versions of a life in service: each a whole life in a folder of its own, which is never changed.

The life's own folder says by its manifest which state answers. A new version is first made here, and then put there, in
one step that counts: until that, and after a crash before it, the version is not there for anybody.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from mygo.errors import InputError
from mygo.files import MANIFEST, read_json, write_json
from mygo.learner.learner import Learner
from mygo.learner.saved import SCHEMA, SavedLife
from mygo.learner.storage import PREVIOUS, checksum, delete_half_written, read_manifest, write_manifest
from mygo.service.disk import classes_of, discard, discard_hidden, new_folder, put_state, state_in, storing

Why = Literal["lesson", "forget", "rollback", "found"]
ABOUT = "version.json"
LAST = "last.json"
"""The highest number that was given out."""
ADVICE = "what was there is whole; make room"

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a life."""

    number: int
    folder: Path
    """A whole life, for `Life.open`."""
    checksum: str
    """Of the manifest."""
    made: str
    """UTC, as ISO 8601."""
    why: Why
    """What made it; a version is found where the life was changed by a command, or is new to service."""
    work: str | None = None
    """Identifier of the lesson or forget that made it."""
    items: tuple[str, ...] = ()
    """Inbox items that this lesson learned, or that went with the class that was forgotten."""

    @classmethod
    def read(cls, folder: Path) -> "Version":
        """Read what a version's folder says of it.

        Raises:
            InputError: it is damaged.
        """
        about = read_json(folder / ABOUT)
        try:
            return cls(
                number=int(about["number"]),
                folder=folder,
                checksum=str(about["checksum"]),
                made=str(about["made"]),
                why=about["why"],
                work=about["work"],
                items=tuple(map(str, about["items"])),
            )
        except (LookupError, TypeError, ValueError) as error:
            raise InputError(f"{folder / ABOUT} does not describe a version ({error}): delete {folder}.") from error

    @property
    def class_names(self) -> set[str]:
        """The classes that it knows."""
        return classes_of(read_manifest(self.folder / MANIFEST, SCHEMA))


class Versions:
    """The versions of the life in a folder, which one process at a time makes."""

    def __init__(self, life_folder: Path, keep: int = 3) -> None:
        """Look at the versions of the life in ``life_folder``, of which ``keep`` stay beside the current one."""
        self.life_folder = life_folder
        self.folder = versions_folder(life_folder)
        self.keep = keep

    def _whole(self) -> list[Version]:
        """Return all versions that are whole, also one that was made and not put into the life, oldest first."""
        return whole_versions(self.folder)

    def all(self) -> list[Version]:
        """Return the current version and those before it, oldest first."""
        whole = self._whole()
        current = self._current_among(whole)
        return [] if current is None else [each for each in whole if each.number <= current.number]

    def current(self) -> Version | None:
        """Return the version that the life is in; None without a life, or where it was changed by a command."""
        return self._current_among(self._whole())

    def _current_among(self, whole: Sequence[Version]) -> Version | None:
        state = state_in(self.life_folder)
        counts = None if state is None else checksum(state)
        return next((each for each in reversed(whole) if each.checksum == counts), None)

    def by_number(self, number: int) -> Version | None:
        """Return the version ``number`` that one can roll back to, None if there is none."""
        return next((each for each in self.all() if each.number == number), None)

    def make(self, source: Path, why: Why, work: str | None = None, items: Iterable[str] = ()) -> Version:
        """Make the state of the life in ``source`` a version, which `put` lets count.

        Raises:
            InputError: it is damaged.
            StorageError: it cannot be written; nothing of it is left.
        """
        number = self._next_number()
        about: dict[str, Any] = {
            "number": number,
            "checksum": checksum(read_manifest(source / MANIFEST, SCHEMA)),
            "made": now(),
            "why": why,
            "work": work,
            "items": list(items),
        }
        target = self.folder / str(number)
        with storing(target, ADVICE), new_folder(target) as folder:
            put_state(source, folder)
            write_json(folder / ABOUT, about, ADVICE)
        return Version.read(target)

    def put(self, version: Version) -> None:
        """Let the life be in the state of ``version``, which counts from the moment its manifest is replaced.

        The state before is kept beside it.

        Raises:
            StorageError: it cannot be written; `current` says which state counts.
        """
        with storing(self.life_folder, ADVICE):
            put_state(version.folder, self.life_folder, state_in(self.life_folder))

    def forget_others(self) -> None:
        """Delete all states of the life but its current one: other versions, and the one that is kept beside it.

        Raises:
            StorageError: one cannot be deleted.
        """
        current, state = self.current(), state_in(self.life_folder)
        with storing(self.life_folder, "allow deleting files there"):
            discard_hidden(self.folder)
            if current is not None and state is not None:
                write_manifest(self.life_folder, state, state)
            for each in self._whole():
                if each != current:
                    discard(each.folder)

    def prune(self) -> None:
        """Delete the oldest versions beyond those that are kept.

        Raises:
            StorageError: one cannot be deleted.
        """
        with storing(self.folder, "allow deleting files there"):
            for each in self.all()[: -self.keep - 1]:
                discard(each.folder)

    def recover(self, unfinished: Collection[str]) -> None:
        """Put right what a crash or a damaged file left: the life is whole, and what was not put into it is gone.

        ``unfinished`` are identifiers of work that is not done. Where the life is then in none of the versions, `gone`
        and `find` are to follow.

        Raises:
            InputError: the life is damaged, and so is its state before; or there are versions but no life.
            StorageError: something cannot be written or deleted.
        """
        with storing(self.folder, "allow writing there"):
            self.folder.mkdir(parents=True, exist_ok=True)
            discard_hidden(self.folder)
            delete_half_written(self.life_folder)
            self._repair()
            for each in self._whole():
                if each.work in unfinished and each != self.current():
                    discard(each.folder)
            if self.current() is not None:
                self.discard_unput()
        if (left := self._whole()) and not Learner.exists(self.life_folder):
            raise InputError(
                f"{self.life_folder} has versions but no life: copy the files of {left[-1].folder} there to go on with "
                f"it, or delete {self.folder.parent} to begin a new life."
            )

    def _repair(self) -> None:
        """Make the state before, if the one that counts is damaged, the one that counts."""
        notices: list[str] = []
        if Learner.exists(self.life_folder):
            SavedLife.open(self.life_folder, notices.append)
        if notices:
            log.warning(notices[0])
            write_manifest(self.life_folder, read_manifest(self.life_folder / PREVIOUS, SCHEMA))

    def discard_unput(self) -> None:
        """Delete versions that were made and not put into the life.

        Raises:
            StorageError: one cannot be deleted.
        """
        current = self.current()
        with storing(self.folder, "allow deleting files there"):
            for each in self._whole():
                if current is None or each.number > current.number:
                    discard(each.folder)

    def gone(self) -> set[str]:
        """Return the classes that the newest version knows and the life, changed by a command since, does not."""
        state, whole = state_in(self.life_folder), self._whole()
        if state is None or not whole or self.current() is not None:
            return set()
        return whole[-1].class_names - classes_of(state)

    def discard_knowing(self, class_names: Collection[str]) -> None:
        """Delete the versions that know one of ``class_names``; the newest last, since `gone` looks at it.

        Raises:
            StorageError: one cannot be deleted.
        """
        with storing(self.folder, "allow deleting files there"):
            for each in self._whole():
                if not each.class_names.isdisjoint(class_names):
                    discard(each.folder)

    def find(self) -> None:
        """Make a version of the life as it is, if there is one and none of the versions is that.

        Raises:
            InputError: it is damaged, or in the middle of a lesson.
            StorageError: it cannot be written.
        """
        if state_in(self.life_folder) is None or self.current() is not None:
            return
        saved = SavedLife.open(self.life_folder)
        if saved.current is not None:
            raise InputError(
                f"{self.life_folder} is in the middle of the lesson {saved.lessons[saved.current].name!r}: finish it "
                "with the command that began it."
            )
        self.make(self.life_folder, "found")

    def _next_number(self) -> int:
        """Return a number that was never given out, and note that it was.

        Raises:
            StorageError: that cannot be written.
        """
        path = self.folder / LAST
        noted = int(read_json(path)["last"]) if path.exists() else 0
        number = 1 + max([noted, *(each.number for each in self._whole())])
        write_json(path, {"last": number}, ADVICE)
        return number


def versions_folder(life_folder: Path) -> Path:
    """Return where the versions of the life in ``life_folder`` are."""
    return life_folder / "service" / "versions"


def whole_versions(folder: Path) -> list[Version]:
    """Return the versions in ``folder``, oldest first."""
    found = map(_version_in, folder.glob("[0-9]*"))
    return sorted((each for each in found if each is not None), key=lambda version: version.number)


def _version_in(folder: Path) -> Version | None:
    try:
        return Version.read(folder)
    except InputError:
        if folder.exists():
            raise
        return None  # it was deleted at this moment, which others than its writer may see


def number_of(folder: Path, checksum: str) -> int | None:
    """Return the number of the version whose state has this ``checksum``; ``folder`` is the life's or the version's."""
    if (folder / ABOUT).exists():
        return Version.read(folder).number
    numbers = [each.number for each in whole_versions(versions_folder(folder)) if each.checksum == checksum]
    return max(numbers, default=None)


def now() -> str:
    """Return the time, UTC, as ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
