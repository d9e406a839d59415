"""A piece of work in its own folder: a copy of the life, and the lessons that it learns there from the inbox.

Examples of new classes are one lesson. Those of classes that the life knows are lessons that teach them again, one for
each lesson in which they were learned, so that how many cycles the copy has been through says which are done.
"""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mygo.config.learner import LifeConfig
from mygo.data.checks import LEAST_EXAMPLES
from mygo.data.readers.reader import PLURAL, Kind
from mygo.data.spelling import composed
from mygo.errors import ConflictError
from mygo.events import EventHandler, silent
from mygo.files import read_json, write_json
from mygo.jobs.forget import forget
from mygo.jobs.lesson import Lesson
from mygo.jobs.perception import encoder_of, resolve_encoder, settings_for
from mygo.learner.learner import Learner
from mygo.learner.storage import checksum
from mygo.service.config import ServiceConfig
from mygo.service.disk import link, new_folder, put_state, state_in, storing, write_file
from mygo.service.inbox import Inbox, InboxItem, counts_of
from mygo.service.work import ADVICE

COPY = "life"
PLAN = "plan.json"
EXAMPLES = "examples"


@dataclass(frozen=True)
class Workplace:
    """The folder in which one piece of work is done."""

    folder: Path

    @property
    def copy(self) -> Path:
        """The copy of the life that learns or forgets."""
        return self.folder / COPY

    def is_for(self, life_folder: Path) -> bool:
        """Return whether all is here, and begins with the state in which the life in ``life_folder`` is."""
        if not (self.folder / PLAN).exists():
            return False
        state = state_in(life_folder)
        return bool(read_json(self.folder / PLAN)["base"] == (None if state is None else checksum(state)))

    def prepare(self, life_folder: Path, name: str, items: Sequence[InboxItem], inbox: Inbox) -> None:
        """Copy the life in ``life_folder``, and lay out ``items`` as lessons, of which a new one is called ``name``.

        Raises:
            InputError: the life or an item is damaged.
            StorageError: there is no room.
        """
        state = state_in(life_folder)
        known = [] if state is None else [set(map(composed, lesson["classes"])) for lesson in state["lessons"]]
        with storing(self.folder, ADVICE), new_folder(self.folder) as folder:
            (folder / COPY).mkdir()
            if state is not None:
                put_state(life_folder, folder / COPY)
            tables = []
            for number, classes in enumerate(known):
                again = [item for item in items if item.class_name in classes]
                if again:
                    tables.append({"table": write_table(folder, f"again-{number + 1}", again, inbox), "update": True})
            new = [item for item in items if not any(item.class_name in classes for classes in known)]
            if new:
                tables.append({"table": write_table(folder, "new", new, inbox), "update": False})
            base = None if state is None else checksum(state)
            cycles = 0 if state is None else state["cycles"]
            kind = items[0].kind if items else None
            name = free_name(name, state)
            plan = {"base": base, "cycles": cycles, "kind": kind, "name": name, "tables": tables}
            write_json(folder / PLAN, plan, ADVICE)

    def lessons(self, config: ServiceConfig) -> Iterator[tuple[int, int, Lesson]]:
        """Yield the number, counted from 0, of each lesson that is not done yet, how many there are, and the lesson.

        Raises:
            InputError: the plan or the copy is damaged.
        """
        plan = read_json(self.folder / PLAN)
        for number, entry in enumerate(plan["tables"]):
            state = state_in(self.copy)
            if state is not None and state["cycles"] - plan["cycles"] > number:
                continue
            lesson = Lesson(
                self.copy,
                str(self.folder / entry["table"]),
                None if entry["update"] else plan["name"],
                update=entry["update"],
                held_out=config.held_out,
                config=newborn(plan["kind"], config) if plan["base"] is None else None,
                encoder_weights=config.encoder_weights,
                save_every=config.save_every,
            )
            yield number, len(plan["tables"]), lesson

    def forget(self, class_name: str, config: ServiceConfig, on_event: EventHandler = silent) -> None:
        """Let the copy forget a class, if it knows it.

        Raises:
            InputError, MemoryQualityError: as `mygo.jobs.forget.forget`.
        """
        if not Learner.exists(self.copy):
            return
        life = Learner.open(self.copy)
        if class_name in life.class_names:
            if life.adapts:
                encoder_of(life, config.encoder_weights)
            forget(life, class_name, on_event)


def free_name(name: str, state: Mapping[str, Any] | None) -> str:
    """Return ``name``, with a number after it if the life in ``state`` had a lesson of that name."""
    taken = set() if state is None else {lesson["name"] for lesson in state["lessons"]}
    numbered = (f"{name} ({number})" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


def newborn(kind: Kind, config: ServiceConfig) -> LifeConfig | None:
    """Return the settings of a life that is begun with examples of a ``kind``; None is for those that suit them.

    Raises:
        InputError: the encoder that is configured takes others.
    """
    if config.encoder == "auto":
        return config.learner
    encoder = resolve_encoder(config.encoder, kind)
    return settings_for(encoder, kind) if config.learner is None else replace(config.learner, encoder=encoder)


def write_table(folder: Path, name: str, items: Sequence[InboxItem], inbox: Inbox) -> str:
    """Write ``items`` as a source that `mygo.data.readers` reads, the examples beside it, and return its file name.

    The files of images and texts are shared with the inbox, so an item can be deleted there and is still read here.
    """
    if items[0].kind == "vector":
        return write_arrays(folder, name, items, inbox)
    rows = []
    for item in items:
        if item.kind == "text":
            found = [path.read_bytes().decode() for path in inbox.files_of(item)]
        else:
            (folder / EXAMPLES / item.id).mkdir(parents=True)
            found = []
            for path in inbox.files_of(item):
                link(path, folder / EXAMPLES / item.id / path.name)
                found.append(f"{EXAMPLES}/{item.id}/{path.name}")
        rows += [json.dumps({item.kind: each, "label": item.class_name}) for each in found]
    write_file(folder / f"{name}.jsonl", ("\n".join(rows) + "\n").encode())
    return f"{name}.jsonl"


def write_arrays(folder: Path, name: str, items: Sequence[InboxItem], inbox: Inbox) -> str:
    """Write vectors of ``items`` as an .npz file, and return its name."""
    classes = sorted({item.class_name for item in items})
    labels = np.repeat([classes.index(item.class_name) for item in items], [item.count for item in items])
    features = np.concatenate([inbox.vectors_of(item) for item in items])
    with (folder / f"{name}.npz").open("xb") as file:
        np.savez(file, features=features, labels=labels, class_names=np.array(classes, dtype=str))
    return f"{name}.npz"


def ready_items(items: Sequence[InboxItem], *, partly: bool) -> list[InboxItem]:
    """Return those of ``items`` that a lesson can learn: of classes that have enough examples.

    Raises:
        ConflictError: none has or, unless ``partly``, one has not.
    """
    counts = counts_of(items)
    if not counts:
        raise ConflictError("Nothing waits to be learned: teach some examples first.")
    few = sorted(name for name, count in counts.items() if count < LEAST_EXAMPLES)
    if few and (not partly or len(few) == len(counts)):
        raise ConflictError(
            f"Class {few[0]} has {counts[few[0]]} {PLURAL[items[0].kind]} in the inbox, fewer than {LEAST_EXAMPLES}: "
            "teach more, or delete them."
        )
    return [item for item in items if item.class_name not in few]
