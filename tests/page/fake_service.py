"""A life in service, in memory: it knows a class by its mean colour, or by its letters. `fake_http.py` serves it."""

import io
import threading
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

MADE = "2026-03-02T10:15:00+00:00"
FAR = 90.0


class RefusedError(Exception):
    """An answer that is not 2xx, with its sentence."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def seen(example: bytes | str) -> tuple[float, ...]:
    """Return the mean colour of a photo; of a text, how often it has each of three letters."""
    if isinstance(example, str):
        return tuple(255.0 * example.count(letter) / max(len(example), 1) for letter in "abc")
    try:
        with Image.open(io.BytesIO(example)) as image:
            return tuple(np.asarray(image.convert("RGB"), np.float32).mean((0, 1)).tolist())
    except OSError:
        raise RefusedError(422, "Photo 1 cannot be read: send JPEG, PNG or WebP.") from None


@dataclass
class FakeService:
    """What the service holds, and what a test has it do: ``refuse`` by method and path, ``slow`` until it is set."""

    kind: str | None = None
    token: str | None = None
    has_map: bool = True
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    items: list[dict[str, Any]] = field(default_factory=list)
    works: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: list[dict[str, Any]] = field(default_factory=list)
    refuse: dict[tuple[str, str], RefusedError] = field(default_factory=dict)
    lesson_fails: str | None = None
    phases: tuple[str, ...] = ("awake: learning",)
    """What a lesson says of itself; it goes on each time that it is asked ``steps_per_phase`` times."""
    steps_per_phase: int = 1
    limits: dict[str, int] = field(default_factory=dict)
    drift: dict[str, Any] | None = None
    calls: list[tuple[str, str]] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    slow: threading.Event | None = None
    _states: dict[int, dict[str, dict[str, Any]]] = field(default_factory=dict)
    _examples: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)

    @property
    def version(self) -> int | None:
        return self.versions[-1]["number"] if self.versions else None

    def count(self, method: str, path: str) -> int:
        """Return how often a request came."""
        return self.calls.count((method, path))

    def learn(self, name: str, colour: tuple[float, ...], examples: int = 30) -> None:
        """Know a class, as if a lesson had taught it before."""
        self.kind = self.kind or "image"
        self.known[name] = self._record(colour, examples)
        self._publish("lesson")

    def wait(self, name: str, count: int = 3, kind: str = "image") -> None:
        """Have examples of a class wait in the inbox."""
        self._keep(name, kind, [(0.0, 0.0, 0.0)] * count)

    @staticmethod
    def _record(mean: tuple[float, ...], examples: int) -> dict[str, Any]:
        return {"mean": list(mean), "examples": examples}

    def _publish(self, why: str) -> None:
        number = len(self._states) + 1
        self._states[number] = dict(self.known)
        for version in self.versions:
            version["current"] = False
        self.versions.append({"number": number, "made": MADE, "why": why, "current": True})
        self.versions = self.versions[-4:]

    def _keep(self, name: str, kind: str, examples: list[tuple[float, ...]]) -> dict[str, Any]:
        item = {"id": uuid.uuid4().hex, "class": name, "kind": kind, "count": len(examples)}
        item |= {"bytes": 4000 * len(examples), "when": MADE}
        self.items.append(item)
        self._examples[item["id"]] = examples
        return item

    # What answers each path -----------------------------------------------------------------------------------------

    def get_life(self) -> dict[str, Any]:
        each = {"lesson": "lesson 1", "memory_bytes": 12_400, "recall": 0.975, "learned": MADE}
        classes = [{"name": name, "examples": known["examples"], **each} for name, known in self.known.items()]
        working = next((work for work in self.works.values() if work["state"] in ("waiting", "running")), None)
        encoder = "efficientnet-lite0" if self.version and self.kind == "image" else None
        life = {"version": self.version, "kind": self.kind, "encoder": encoder, "classes": classes}
        life |= {"memory_bytes": 12_400 * len(classes), "versions": self.versions, "working": working}
        life |= {"inbox": {"examples": 0, "classes": {}}, "sleep_at": "03:00", "sleep_after": None}
        return life | {"drift": self.drift, "limits": self.limits}

    def get_life_map(self) -> dict[str, Any]:
        if not self.has_map:
            raise RefusedError(404, "There is no map of a life over pixels.")
        rng = np.random.default_rng(0)
        classes = []
        for name, known in self.known.items():
            mean = [known["mean"][0] / 25, known["mean"][-1] / 25]
            classes.append({"name": name, "mean": mean, "dreams": (rng.normal(0, 1, (40, 2)) + mean).tolist()})
        return {"classes": classes}

    def get_inbox(self) -> dict[str, Any]:
        classes: dict[str, int] = {}
        for item in self.items:
            classes[item["class"]] = classes.get(item["class"], 0) + item["count"]
        total = {"examples": sum(classes.values()), "bytes": sum(item["bytes"] for item in self.items)}
        return {"items": self.items, **total, "classes": classes}

    def predict(self, examples: list[bytes | str]) -> dict[str, Any]:
        if not self.known:
            raise RefusedError(409, "This life has learned nothing yet: teach it first.")
        return {"version": self.version, "predictions": [self._answer(seen(example)) for example in examples]}

    def _answer(self, colour: tuple[float, ...]) -> dict[str, Any]:
        away = {name: float(np.hypot.reduce(np.subtract(known["mean"], colour))) for name, known in self.known.items()}
        likely = {name: float(np.exp(-distance / 20)) for name, distance in away.items()}
        nearest = sorted(away, key=lambda name: away[name])[:5]
        shares = {name: likely[name] / (sum(likely.values()) or 1.0) for name in nearest}
        best = nearest[0]
        unknown = away[best] > FAR
        named = {"class": None if unknown else best, "confidence": shares[best]}
        return {**named, "probabilities": shares, "unknown": unknown, "error": None}

    def teach(self, name: str, examples: list[bytes | str]) -> dict[str, Any]:
        kind = "text" if isinstance(examples[0], str) else "image"
        if self.kind not in (None, kind):
            raise RefusedError(409, f"This life learns {self.kind}s.")
        return self._keep(name, kind, [seen(example) for example in examples])

    def sleep(self) -> dict[str, Any]:
        if not self.items:
            raise RefusedError(409, "Nothing waits to be learned.")
        names = list(self.get_inbox()["classes"])
        if len({*names, *self.known}) < 2:
            raise RefusedError(409, f"A new life needs two classes: teach another beside {names[0]}.")
        return self._begin("lesson", names, sum(item["count"] for item in self.items))

    def forget(self, name: str) -> dict[str, Any]:
        if name not in self.known:
            raise RefusedError(404, f"This life knows no class {name}.")
        return self._begin("forget", [name], 0)

    def _begin(self, what: str, classes: list[str], examples: int) -> dict[str, Any]:
        work = {"id": uuid.uuid4().hex, "what": what, "state": "waiting", "classes": classes, "examples": examples}
        work |= {"phase": "", "progress": 0.0, "error": None, "version": None, "asked": MADE, "began": None}
        self.works[work["id"]] = {**work, "ended": None, "step": 0, "items": list(self.items)}
        return self._shown(self.works[work["id"]])

    @staticmethod
    def _shown(work: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in work.items() if name not in ("step", "items")}

    def lesson(self, number: str) -> dict[str, Any]:
        """Return a record; each time that it is asked for, its work goes on a little."""
        if number not in self.works:
            raise RefusedError(404, "There is no such lesson.")
        work = self.works[number]
        phase = work["step"] // self.steps_per_phase
        work["step"] += 1
        if phase < len(self.phases):
            progress = (phase + 1) / (len(self.phases) + 1)
            work |= {"state": "running", "phase": self.phases[phase], "progress": progress}
        elif work["state"] == "running":
            self._end(work)
        return self._shown(work)

    def _end(self, work: dict[str, Any]) -> None:
        if self.lesson_fails is not None:
            work |= {"state": "failed", "error": self.lesson_fails}
            return
        if work["what"] == "forget":
            self.known.pop(work["classes"].pop())  # the real service takes the name out of the record, too
            self.versions.clear()
        for item in work["items"] if work["what"] == "lesson" else []:
            self.kind = item["kind"]
            examples = self._examples.pop(item["id"])
            before = self.known.get(item["class"], {"examples": 0})["examples"]
            mean = tuple(np.mean(examples, 0).tolist())
            self.known[item["class"]] = self._record(mean, before + len(examples))
            self.items.remove(item)
        self._publish(work["what"])
        work |= {"state": "done", "progress": 1.0, "version": self.version}

    def roll_back(self, number: int) -> dict[str, Any]:
        self.known = dict(self._states[number])
        self._publish("rollback")
        return {"version": self.version, "was": number}

    def remove(self, number: str | None, name: str | None) -> dict[str, Any] | None:
        kept = [item for item in self.items if number not in (None, item["id"]) or name not in (None, item["class"])]
        if number is not None and len(kept) == len(self.items):
            raise RefusedError(404, "There is no such item in the inbox.")
        deleted = len(self.items) - len(kept)
        self.items[:] = kept
        return None if number is not None else {"deleted": deleted}
