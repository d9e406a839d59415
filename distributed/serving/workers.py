"""The processes behind the HTTP side: the one that keeps the life, and those that answer. They know nothing of Ray."""

import asyncio
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from distributed.serving.bodies import Examples
from distributed.serving.calls import AwayError, Json, Question, Reply, Snapshot
from mygo.data.readers.reader import Kind
from mygo.errors import ConflictError, InputError, MygoError, StoppedError, StorageError
from mygo.service.config import ServiceConfig
from mygo.service.keeper import Keeper
from mygo.service.predictor import Answer, CurrentPredictor, Predictor
from mygo.service.store import Learn
from mygo.service.versions import now
from mygo.unlabelled.drift import Drift

POLL_SECONDS = 1.0
"""How often the clock and the inbox are looked at for a lesson that is due."""
CHECKED_AT_ONCE = 2
"""Requests whose examples are checked at once: it takes seconds for large ones, and other calls have other threads."""
DISK_SECONDS = 30.0
"""How long to wait for room on disk before work is tried again."""

logger = logging.getLogger(__name__)


class KeeperService:
    """Keeps a life, as `distributed.serving.calls.Keeping` has it; a thread of its own does the work."""

    def __init__(self, life: Path, config: ServiceConfig, learn: Learn | None = None) -> None:
        """Take ``life`` into service; ``learn`` runs its lessons, by default in this process.

        Raises:
            InputError, StorageError: as `mygo.service.keeper.Keeper`.
        """
        self._keeper = Keeper(life, config)
        self._learn = learn
        self._closing, self._news = threading.Event(), threading.Event()
        self._is_due = False
        """Whether the settings asked for a lesson that is not noted yet, for want of room on disk."""
        self._checking = ThreadPoolExecutor(CHECKED_AT_ONCE, "check")
        self._thread = threading.Thread(target=self._work_until_closed, name="work", daemon=True)
        self._thread.start()

    def close(self, patience: float | None = None) -> None:
        """Let work that runs save and end, within so many seconds of ``patience``, and let go of the life."""
        self._closing.set()
        self._news.set()
        self._checking.shutdown(wait=False)
        self._thread.join(patience)
        if not self._thread.is_alive():
            self._keeper.close()

    @property
    def is_working(self) -> bool:
        """Whether the thread that does the work is there, as it should be until the end."""
        return self._thread.is_alive()

    def _work_until_closed(self) -> None:
        while not self._closing.is_set():
            if not self._work():
                self._news.wait(POLL_SECONDS)
                self._news.clear()

    def _work(self) -> bool:
        """Do one piece of work, if there is one; returns whether there was."""
        try:
            self._is_due = self._keeper.due(datetime.now()) or self._is_due
            if self._is_due:
                with suppress(ConflictError):  # it was deleted in between
                    self._keeper.sleep(partly=True)
                self._is_due = False
            work = self._keeper.next_work()
            if work is not None:
                self._keeper.run(work, self._learn, self._closing.is_set)
        except StoppedError:
            return True
        except StorageError as error:
            logger.warning("%s", error)
            self._closing.wait(DISK_SECONDS)
            return True
        return work is not None

    async def teach(self, class_name: str, kind: Kind, examples: Examples) -> Json:
        """See `Keeping`."""
        loop = asyncio.get_running_loop()
        item = await loop.run_in_executor(self._checking, self._keeper.teach, class_name, kind, examples)
        self._news.set()
        return item.as_json

    async def inbox(self) -> Json:
        """See `Keeping`."""
        return await asyncio.to_thread(self._keeper.inbox)

    async def remove(self, item_id: str) -> bool:
        """See `Keeping`."""
        return await asyncio.to_thread(self._keeper.remove, item_id)

    async def remove_all(self, class_name: str | None) -> int:
        """See `Keeping`."""
        return await asyncio.to_thread(self._keeper.remove_all, class_name)

    async def sleep(self) -> Json:
        """See `Keeping`."""
        record = await asyncio.to_thread(self._keeper.sleep)
        self._news.set()
        return record.as_json

    async def forget(self, class_name: str) -> Json:
        """See `Keeping`."""
        record = await asyncio.to_thread(self._keeper.forget, class_name)
        self._news.set()
        return record.as_json

    async def roll_back(self, number: int) -> Json:
        """See `Keeping`."""
        version = await asyncio.to_thread(self._keeper.roll_back, number)
        return {"version": version.number, "was": number}

    async def lessons(self) -> list[Json]:
        """See `Keeping`."""
        return [record.as_json for record in await asyncio.to_thread(self._keeper.work)]

    async def lesson(self, work_id: str) -> Json:
        """See `Keeping`."""
        return (await asyncio.to_thread(self._keeper.work_by_id, work_id)).as_json

    async def life(self) -> Json:
        """See `Keeping`."""
        return await asyncio.to_thread(self._keeper.status)

    async def map(self) -> Json:
        """See `Keeping`."""
        return await asyncio.to_thread(self._keeper.map)

    async def snapshot(self) -> Snapshot:
        """See `Keeping`."""
        return await asyncio.to_thread(self._snapshot)

    def _snapshot(self) -> Snapshot:
        status, inbox, records = self._keeper.status(), self._keeper.inbox(), self._keeper.work()
        return Snapshot(
            version=status["version"],
            classes=len(status["classes"]),
            inbox_examples=inbox["examples"],
            inbox_bytes=inbox["bytes"],
            lessons=dict(Counter(str(record.state) for record in records)),
            progress=next((record.progress for record in records if record.state == "running"), 0.0),
        )


class PredictorService:
    """Answers questions, several at once; each batch by one version."""

    def __init__(self, life: Path, config: ServiceConfig) -> None:
        self._current = CurrentPredictor(life, config)
        with suppress(InputError):  # a life that is yet to begin; else it is said at each question
            self._current.get()

    def answer(self, questions: Sequence[Question]) -> list[Reply | MygoError]:
        """Return what one version says of each of ``questions``, or why it says nothing of one."""
        try:
            predictor = self._current.get()
        except ConflictError as error:
            return [error] * len(questions)
        except MygoError as error:  # nothing is wrong with the questions
            return [AwayError(f"The life cannot be opened: {error}")] * len(questions)
        if predictor.version is None:
            away = AwayError("The life is coming into service: ask again in a moment.")
            return [away] * len(questions)
        version = predictor.version
        refusals = [predictor.refusal_of(question.kind, question.examples) for question in questions]
        fitting = [question for question, refusal in zip(questions, refusals, strict=True) if refusal is None]
        answers = iter(answers_of(predictor, fitting))
        found = predictor.drift() if fitting else None
        drifts = itertools.chain([None if found is None else drift_of(found, version)], itertools.repeat(None))
        return [refusal or Reply(version, next(answers), next(drifts)) for refusal in refusals]


AnswerAll: TypeAlias = Callable[[Sequence[Question]], list[Reply | MygoError]]
"""Answers questions together, as `PredictorService.answer`."""


class Together:
    """Answers questions in one thread; those that come while it is busy are answered together next.

    Serve's own batches are closed before the one that runs has ended, so that those of one photo were never shared. All
    of torch runs in that thread: once a second one has used OpenMP, its workers do not wait actively for each other any
    more, and a photo takes half as long again.
    """

    def __init__(self, opened: Callable[[], AnswerAll], most: int) -> None:
        """Answer with what ``opened`` returns, which may take long; ``most`` inputs of several questions at once."""
        self._most = most
        self._thread = ThreadPoolExecutor(1, "answer")
        self._answer = self._thread.submit(opened).result()
        self._waiting = dict[asyncio.Future[Reply | MygoError], Question]()
        """In the order in which they came."""
        self._running: asyncio.Task[None] | None = None

    async def answer(self, question: Question) -> Reply | MygoError:
        """Return the reply to ``question``, or why there is none."""
        reply: asyncio.Future[Reply | MygoError] = asyncio.get_running_loop().create_future()
        self._waiting[reply] = question
        if not self._is_busy:
            self._running = asyncio.create_task(self._answer_all())
        try:
            return await reply
        finally:
            self._waiting.pop(reply, None)  # whoever asked may have gone

    @property
    def _is_busy(self) -> bool:
        return self._running is not None and not self._running.done()

    def look(self) -> None:
        """Ask nothing, unless something is asked: who answers sees then whether there is another version of the life.

        So a version that is not current any more, and what it knew of a class that is forgotten, is not kept for want
        of questions.
        """
        if not self._is_busy:
            self._running = asyncio.create_task(self._look())

    async def _look(self) -> None:
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._answer, [])
        except Exception:
            logger.exception("The life could not be looked at.")
        await self._answer_all()

    async def _answer_all(self) -> None:
        """Answer all that waits; what cannot be answered is raised where it was asked."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = self._next_batch()
            found: Sequence[Reply | MygoError]
            try:
                found = await loop.run_in_executor(self._thread, self._answer, list(batch.values()))
            except Exception as error:
                for reply in batch:
                    if not reply.done():
                        reply.set_exception(error)
                continue
            for reply, said in zip(batch, found, strict=True):
                if not reply.done():  # whoever asked may have gone
                    reply.set_result(said)

    def _next_batch(self) -> dict[asyncio.Future[Reply | MygoError], Question]:
        """Return what is answered next: at least one question, and more as long as their inputs are not too many."""
        batch, inputs = dict[asyncio.Future[Reply | MygoError], Question](), 0
        for reply, question in self._waiting.items():
            inputs += len(question.examples)
            if batch and inputs > self._most:
                break
            batch[reply] = question
        for reply in batch:
            del self._waiting[reply]
        return batch


def answers_of(predictor: Predictor, questions: Sequence[Question]) -> list[list[Json]]:
    """Return the answers of ``predictor`` to each of ``questions`` of its kind; it sees all their inputs together."""
    if not questions:
        return []
    inputs: Any = [each for question in questions for each in question.examples]
    numbers = [number for question in questions for number in range(1, len(question.examples) + 1)]
    found = iter(predictor.answer(inputs, max(question.top for question in questions), numbers))
    return [[prediction_of(next(found), question.top) for _ in question.examples] for question in questions]


def drift_of(found: Drift, version: int) -> Json:
    """Return what a test says of the last inputs that a ``version`` answered."""
    return {
        "version": version,
        "inputs": found.inputs,
        "drifted": found.drifted,
        "p_value": found.p_value,
        "alpha": found.alpha,
        "changed": [each.name for each in found.classes if each.changed],
        "when": now(),
    }


def prediction_of(answer: Answer, top: int) -> Json:
    """Return what is said of one input, with the probabilities of the ``top`` classes alone."""
    return {
        "class": answer.class_name,
        "confidence": answer.confidence,
        "probabilities": dict(itertools.islice(answer.probabilities.items(), top)),
        "unknown": answer.unknown,
        "out_of_distribution": answer.out_of_distribution,
        "error": answer.error,
    }
