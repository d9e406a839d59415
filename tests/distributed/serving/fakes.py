"""Stand-ins for the processes behind the HTTP side, so that it is tested alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from distributed.serving.bodies import Examples
from distributed.serving.calls import Json, Question, Reply, Snapshot
from distributed.serving.workers import prediction_of
from mygo.data.readers.reader import Kind
from mygo.errors import NotThereError
from mygo.service.predictor import Answer

ID = "0123456789abcdef0123456789abcdef"
WHEN = "2026-11-29T05:08:19+00:00"


def work(**changes: Any) -> Json:
    """Return the record of a lesson."""
    return {
        "id": ID,
        "what": "lesson",
        "state": "waiting",
        "classes": ["wasp"],
        "examples": 3,
        "phase": "",
        "progress": 0.0,
        "error": None,
        "version": None,
        "asked": WHEN,
        "began": None,
        "ended": None,
        **changes,
    }


@dataclass
class FakePredictors:
    """Answers wasp to whatever it is asked, and keeps the questions."""

    answer_one: Callable[[Any], Answer] = lambda example: Answer("wasp", 0.75, {"wasp": 0.75, "bee": 0.25})
    questions: list[Question] = field(default_factory=list)
    failure: Exception | None = None
    drift: Json | None = None

    async def answer(self, question: Question) -> Reply:
        self.questions.append(question)
        if self.failure is not None:
            raise self.failure
        found = [prediction_of(self.answer_one(each), question.top) for each in question.examples]
        return Reply(7, found, self.drift)


@dataclass
class FakeKeeper:
    """Keeps what it is taught in memory, and the calls; raises `failure`, if there is one, instead."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    failure: Exception | None = None
    items: list[Json] = field(default_factory=list)

    def _note(self, *call: Any) -> None:
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    async def teach(self, class_name: str, kind: Kind, examples: Examples) -> Json:
        self._note("teach", class_name, kind, examples)
        item = {"id": ID, "class": class_name, "kind": kind, "count": len(examples), "bytes": 9, "when": WHEN}
        self.items.append(item)
        return item

    async def inbox(self) -> Json:
        self._note("inbox")
        counts = {item["class"]: item["count"] for item in self.items}
        return {"items": self.items, "examples": sum(counts.values()), "bytes": 9, "classes": counts}

    async def remove(self, item_id: str) -> bool:
        self._note("remove", item_id)
        return any(item["id"] == item_id for item in self.items)

    async def remove_all(self, class_name: str | None) -> int:
        self._note("remove_all", class_name)
        return len(self.items)

    async def sleep(self) -> Json:
        self._note("sleep")
        return work()

    async def forget(self, class_name: str) -> Json:
        self._note("forget", class_name)
        return work(what="forget", classes=[class_name])

    async def roll_back(self, number: int) -> Json:
        self._note("roll_back", number)
        return {"version": 8, "was": number}

    async def lessons(self) -> list[Json]:
        self._note("lessons")
        return [work()]

    async def lesson(self, work_id: str) -> Json:
        self._note("lesson", work_id)
        if work_id != ID:
            raise NotThereError("There is no such lesson.")
        return work()

    async def life(self) -> Json:
        self._note("life")
        known = {"name": "wasp", "lesson": "insects", "examples": 3, "memory_bytes": 9, "recall": 1.0, "learned": WHEN}
        return {
            "version": 7,
            "kind": "image",
            "encoder": "efficientnet-lite0",
            "classes": [known],
            "memory_bytes": 9,
            "versions": [{"number": 7, "made": WHEN, "why": "lesson", "current": True}],
            "inbox": {"examples": 0, "classes": {}},
            "working": None,
            "sleep_at": None,
            "sleep_after": None,
            "limits": {"pixels": 50_000_000, "pixels_together": 1_000_000_000},
        }

    async def map(self) -> Json:
        self._note("map")
        return {"classes": [{"name": "wasp", "mean": [0.0, 1.0], "dreams": [[0.5, 0.5]]}]}

    async def snapshot(self) -> Snapshot:
        self._note("snapshot")
        return Snapshot(
            version=7, classes=2, inbox_examples=3, inbox_bytes=4, lessons={"done": 5, "running": 1}, progress=0.5
        )
