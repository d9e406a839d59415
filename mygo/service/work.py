"""Records of the work of a life in service, lessons and classes to forget, each a JSON file that outlives a crash."""

import time
import uuid
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from mygo.errors import InputError, NotThereError
from mygo.events import Event, Progress
from mygo.files import read_json, write_json
from mygo.service.disk import discard_hidden, storing
from mygo.service.versions import now

State = Literal["waiting", "running", "done", "failed"]
What = Literal["lesson", "forget"]
KEPT = 200
"""Records of work that has ended, at the most."""
WRITTEN_EVERY = 0.5
"""Seconds between two writes of how far it came."""
ADVICE = "make room, or allow writing there"

PHASES: dict[str, tuple[str, float]] = {
    "encode": ("looking at the examples", 0.2),
    "learn": ("learning the classes", 0.35),
    "teach": ("learning the classes", 0.4),
    "adapt": ("adapting its features", 0.5),
    "memorise": ("learning to dream of them", 0.75),
    "remember": ("remembering them", 0.6),
    "consolidate": ("sleeping", 0.93),
    "calibrate": ("learning how sure it may be", 0.96),
    "evaluate": ("being examined", 1.0),
}
"""By the name of a phase: what the life is doing in it, and the part of a lesson that is done at its end, roughly."""


@dataclass(frozen=True, kw_only=True)
class WorkRecord:
    """A lesson, or a class to forget: what is to be done, how far it came, and how it ended."""

    id: str
    number: int
    """Counts all work, in the order in which it was asked for; not part of `as_json`, nor are the `items`."""
    what: What
    state: State = "waiting"
    classes: tuple[str, ...] = ()
    """Names of the classes that it is about; those that were forgotten since are taken out, also of a forget itself."""
    examples: int = 0
    """Examples from the inbox that it learns from."""
    phase: str = ""
    """What it is doing, in words."""
    progress: float = 0.0
    """The part of it that is done, from 0 to 1."""
    error: str | None = None
    """Why it failed or cannot go on at the moment, in one sentence."""
    version: int | None = None
    """The version of the life that it made."""
    asked: str = ""
    began: str | None = None
    ended: str | None = None
    """When it was asked for, began and ended: UTC, as ISO 8601."""
    items: tuple[str, ...] = ()
    """The inbox items that it learns, or that go with the class that it forgets."""

    @property
    def as_json(self) -> dict[str, Any]:
        """What is said of it to others."""
        values = asdict(self)
        del values["items"], values["number"]
        return {**values, "classes": list(self.classes)}

    @property
    def is_open(self) -> bool:
        """Whether it is yet to be done, or not done yet."""
        return self.state in ("waiting", "running")

    @classmethod
    def read(cls, path: Path) -> "WorkRecord":
        """Read the record in ``path``.

        Raises:
            InputError: it is damaged.
        """
        values = read_json(path)
        try:
            if values.keys() != {field.name for field in fields(cls)}:
                raise ValueError("its fields are not those of a record")
            if values["state"] not in get_args(State) or values["what"] not in get_args(What):
                raise ValueError("it is of no kind that is known")
            lists = {name: tuple(map(str, values[name])) for name in ("classes", "items")}
            return cls(**{**values, **lists, "id": path.stem, "number": int(values["number"])})
        except (TypeError, ValueError) as error:
            raise InputError(f"{path} does not describe work of a service ({error}): delete it.") from error


class Records:
    """All work of one life in service; one process at a time writes them."""

    def __init__(self, folder: Path) -> None:
        """Read the records in ``folder``; what a crash left there half-written or half-deleted is deleted.

        Raises:
            InputError: one is damaged.
            StorageError: the folder cannot be made.
        """
        self.folder = folder
        with storing(folder, ADVICE):
            folder.mkdir(parents=True, exist_ok=True)
            discard_hidden(folder)
        found = sorted(map(WorkRecord.read, folder.glob("[0-9a-f]*.json")), key=lambda record: record.number)
        self._records = {record.id: record for record in found}
        self._written: dict[str, float] = {}

    def all(self) -> list[WorkRecord]:
        """Return all records, oldest first."""
        return list(self._records.values())

    def open(self) -> list[WorkRecord]:
        """Return those of work that has not ended, in the order in which it is to be done."""
        return sorted(
            (record for record in self._records.values() if record.is_open),
            key=lambda record: (record.state == "waiting", record.number),
        )

    def by_id(self, work_id: str) -> WorkRecord:
        """Return one record.

        Raises:
            NotThereError: there is none.
        """
        if work_id not in self._records:
            raise NotThereError(f"There is no work {work_id!r}: look it up among the lessons.")
        return self._records[work_id]

    def add(self, what: What, classes: tuple[str, ...], examples: int, items: tuple[str, ...]) -> WorkRecord:
        """Note new work.

        Raises:
            StorageError: it cannot be written.
        """
        number = 1 + max((record.number for record in self._records.values()), default=0)
        record = WorkRecord(
            id=uuid.uuid4().hex,
            number=number,
            what=what,
            classes=classes,
            examples=examples,
            asked=now(),
            items=items,
        )
        self._write(record)
        return record

    def change(self, work_id: str, **values: Any) -> WorkRecord:
        """Change a record, and write it.

        Raises:
            StorageError: it cannot be written.
        """
        record = replace(self._records[work_id], **values)
        self._write(record)
        return record

    def note(self, work_id: str, phase: str, progress: float) -> None:
        """Note how far work came; it is written at most twice a second.

        Raises:
            StorageError: it cannot be written.
        """
        record = replace(self._records[work_id], phase=phase, progress=round(progress, 4))
        self._records[work_id] = record
        if time.monotonic() - self._written.get(work_id, -WRITTEN_EVERY) >= WRITTEN_EVERY:
            self._write(record)

    def take_out(self, class_name: str, last: str = "") -> None:
        """Let no record name a class; that of the work ``last``, which asks for it, comes last.

        Raises:
            StorageError: one cannot be written.
        """
        for record in sorted(self.all(), key=lambda record: record.id == last):
            error = record.error
            if error is not None and class_name in error:
                error = "It was about a class that is forgotten."
            changed = replace(record, classes=tuple(each for each in record.classes if each != class_name), error=error)
            if changed != record:
                self._write(changed)

    def prune(self) -> None:
        """Delete the oldest records of work that has ended, beyond those that are kept.

        Raises:
            StorageError: one cannot be deleted.
        """
        ended = [record for record in self._records.values() if not record.is_open]
        with storing(self.folder, ADVICE):
            for record in ended[:-KEPT]:
                self._path(record.id).unlink(missing_ok=True)
                del self._records[record.id]

    def _path(self, work_id: str) -> Path:
        return self.folder / f"{work_id}.json"

    def _write(self, record: WorkRecord) -> None:
        write_json(self._path(record.id), asdict(record), ADVICE)
        self._records[record.id] = record
        self._written[record.id] = time.monotonic()


def how_far(event: Event, number: int, total: int) -> tuple[str, float] | None:
    """Return what a life is doing, in words, and the part of ``total`` lessons that is done, of which this is one.

    ``number`` counts them from 0. None is for events that say nothing of that.
    """
    if not isinstance(event, Progress) or event.place.phase not in PHASES:
        return None
    words, end = PHASES[event.place.phase]
    start = max((other for _, other in PHASES.values() if other < end), default=0.0)
    part = start + (end - start) * min(1.0, (event.step + 1) / max(1, event.steps))
    return words, (number + part) / total
