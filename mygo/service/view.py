"""What a life in service says of itself: what it sees, what it knows, and a map of it."""

from pathlib import Path
from typing import Any

import numpy as np

from mygo.data.images import as_picture, as_pixels
from mygo.data.readers.reader import Kind
from mygo.encoders.registry import kind_taken_by
from mygo.errors import InputError, NotThereError
from mygo.jobs.perception import open_encoder
from mygo.learner.learner import Learner
from mygo.learner.map import map_of
from mygo.learner.saved import SavedLife
from mygo.learner.state import NOTHING_LEARNED
from mygo.learner.storage import checksum
from mygo.service.config import ServiceConfig
from mygo.service.disk import state_in
from mygo.service.examples import Inputs, Sent, another_kind
from mygo.service.inbox import counts_of
from mygo.service.lessons import newborn
from mygo.service.store import Store


def kind_seen_by(life: SavedLife, weights: Path | None = None) -> Kind:
    """Return what ``life`` sees; for an encoder of one's own that is known only once it was made, with ``weights``.

    Raises:
        InputError: its encoder cannot be had.
    """
    name = life.config.encoder
    if name in ("none", "auto"):
        return "image" if len(life.input_shape) == 3 else "vector"
    kind = kind_taken_by(name)
    if kind is None:
        encoder = open_encoder(name, weights)
        assert encoder is not None
        kind = encoder.input_kind
    return kind


def check_seen(kind: Kind, inputs: Sent, life: SavedLife | None, config: ServiceConfig) -> None:
    """Check that ``inputs`` of a ``kind``, which can be read, are such as ``life`` sees, or one that is yet to begin.

    Raises:
        InputError: they are not.
    """
    if life is None:
        newborn(kind, config)
        taken = kind if config.encoder in ("auto", "none") else kind_taken_by(config.encoder) or kind
    else:
        taken = kind_seen_by(life, config.encoder_weights)
    if taken != kind:
        raise another_kind(taken, kind)
    if life is None or life.config.encoder not in ("none", "auto"):
        return
    if kind == "vector" and (length := np.asarray(inputs[0]).size) != life.input_shape[0]:
        raise InputError(f"This life sees vectors of {life.input_shape[0]} values, not of {length}: send such.")
    if kind == "image" and life.input_shape[0] == 1:
        reader = Inputs(kind, inputs, config.examples)
        for index in range(len(reader)):
            picture, _ = reader.read(index)
            if len(as_pixels(as_picture(picture), (life.input_shape[1], life.input_shape[2]))) > 1:
                raise InputError(
                    f"{reader.where(index).capitalize()} has colours, but this life sees in grey: convert it."
                )


def classes_known(life: SavedLife) -> list[dict[str, Any]]:
    """Return what is to be said of each class that ``life`` knows, in the order in which they were learned.

    A memory is of all classes that were learned together: each has its share of the bytes.
    """
    return [
        {
            "name": name,
            "lesson": lesson.name,
            "examples": examples,
            "memory_bytes": life.memory_bytes_for(number) // len(lesson.classes),
            "recall": lesson.recall,
            "learned": lesson.learned,
        }
        for number, lesson in enumerate(life.lessons)
        for name, examples in zip(lesson.classes, lesson.images or [0] * len(lesson.classes), strict=True)
    ]


def map_shown(life: Learner) -> dict[str, Any]:
    """Return where the classes lie that ``life`` remembers, by name, with some dreams of each, in one plane.

    Raises:
        NotThereError: it remembers none, or sees pixels, of which there is no such map.
    """
    if not life.gaussians:
        raise NotThereError("There is no map: a life has one once it has learned a class behind an encoder.")
    start = len(life.class_names) - len(life.lessons[-1].classes)
    shown = map_of(life, range(start, len(life.class_names)))
    return {
        "classes": [
            {"name": name, "mean": mean, "dreams": shown.dreams[shown.dream_labels == label].tolist()}
            for label, (name, mean) in enumerate(zip(shown.class_names, shown.means.tolist(), strict=True))
        ]
    }


class View:
    """What is said of a life in service; what takes time to look up is looked up once for each state of the life."""

    def __init__(self, store: Store, config: ServiceConfig) -> None:
        self._store, self._config = store, config
        self._life: tuple[str, SavedLife, Kind] | None = None
        self._map: dict[str, Any] | None = None

    def _looked_up(self) -> tuple[str, SavedLife, Kind] | None:
        state = state_in(self._store.life_folder)
        if state is None:
            return None
        if self._life is None or self._life[0] != checksum(state):
            life, before = SavedLife.open(self._store.life_folder), self._life
            same_eyes = before is not None and before[1].config.encoder == life.config.encoder
            kind = before[2] if before and same_eyes else kind_seen_by(life, self._config.encoder_weights)
            self._life, self._map = (checksum(state), life, kind), None
        return self._life

    def life(self) -> SavedLife | None:
        """Return what the life says of itself, None if there is none yet."""
        found = self._looked_up()
        return None if found is None else found[1]

    def inbox(self) -> dict[str, Any]:
        """Return what GET /inbox says."""
        inbox = self._store.inbox
        items = inbox.items()
        totals = {"examples": inbox.num_examples, "bytes": inbox.num_bytes}
        return {"items": [item.as_json for item in items], **totals, "classes": counts_of(items)}

    def status(self) -> dict[str, Any]:
        """Return what GET /life says."""
        found, versions = self._looked_up(), self._store.versions.all()
        life = None if found is None else found[1]
        running = [record for record in self._store.records.open() if record.state == "running"]
        current = versions[-1].number if versions else None
        counts, examples = counts_of(self._store.inbox.items()), self._config.examples
        return {
            "version": current,
            "kind": None if found is None else found[2],
            "encoder": None if life is None else life.config.encoder,
            "classes": [] if life is None else classes_known(life),
            "memory_bytes": 0 if life is None else life.memory_bytes,
            "versions": [
                {"number": each.number, "made": each.made, "why": each.why, "current": each.number == current}
                for each in versions
            ],
            "inbox": {"examples": sum(counts.values()), "classes": counts},
            "working": running[0].as_json if running else None,
            "sleep_at": self._config.sleep_at,
            "sleep_after": self._config.sleep_after,
            "limits": {"pixels": examples.max_pixels, "pixels_together": examples.max_pixels_together},
        }

    def map(self) -> dict[str, Any]:
        """Return what GET /life/map says.

        Raises:
            NotThereError: nothing was learned, or the life sees pixels.
        """
        found = self._looked_up()
        if found is None:
            raise NotThereError(NOTHING_LEARNED)
        if self._map is None:
            self._map = map_shown(Learner.open(self._store.life_folder))
        return self._map
