"""The processes behind the HTTP side, without Ray."""

import asyncio
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from distributed.serving.calls import AwayError, Question, Reply
from distributed.serving.workers import KeeperService, PredictorService, Together
from mygo.config.learner import LifeConfig
from mygo.errors import ConflictError, InputError, MygoError, StorageError
from mygo.events import EventHandler
from mygo.files import locked
from mygo.jobs.lesson import Lesson
from mygo.service.config import ServiceConfig
from mygo.service.keeper import Keeper
from tests.distributed.serving.test_real import vectors

WaitUntil = Callable[..., None]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, tiny_on_vectors: LifeConfig, write_vectors: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp("lives") / "trees"
    Lesson(folder, write_vectors(folder.parent / "trees.npz", ("ash", "birch", "cedar")), config=tiny_on_vectors).run()
    with Keeper(folder):
        pass
    return folder


def test_a_batch_is_answered_by_one_version_each_question_with_its_own(life: Path) -> None:
    service = PredictorService(life, ServiceConfig())
    questions = [
        Question("vector", vectors("ash", 2), top=1),
        Question("text", ["ash"], top=5),
        Question("vector", [*vectors("birch", 1), [0.0] * 12], top=3),
    ]
    first, second, third = service.answer(questions)
    assert isinstance(first, Reply)
    assert isinstance(third, Reply)
    assert isinstance(second, InputError)
    assert (first.version, third.version) == (1, 1)
    assert [len(each["probabilities"]) for each in first.predictions] == [1, 1]
    assert [len(each["probabilities"]) for each in third.predictions] == [3, 0]
    assert third.predictions[1]["error"].startswith("Vector 2 ")
    alone = service.answer([questions[0]])[0]
    assert isinstance(alone, Reply)
    assert [each["class"] for each in alone.predictions] == [each["class"] for each in first.predictions]


def test_a_life_that_is_not_in_service_yet_is_away(
    tmp_path: Path, tiny_on_vectors: LifeConfig, write_vectors: Any
) -> None:
    folder = tmp_path / "life"
    (before,) = PredictorService(folder, ServiceConfig()).answer([Question("vector", [[1.0] * 12], 5)])
    assert isinstance(before, ConflictError)
    Lesson(folder, write_vectors(tmp_path / "trees.npz", ("ash", "birch")), config=tiny_on_vectors).run()
    service = PredictorService(folder, ServiceConfig())
    (away,) = service.answer([Question("vector", vectors("ash", 1), 5)])
    assert isinstance(away, AwayError)
    with Keeper(folder):
        (reply,) = service.answer([Question("vector", vectors("ash", 1), 5)])
        assert isinstance(reply, Reply)


def test_what_a_test_for_drift_says_is_told_with_one_reply_alone(life: Path, wait_until: WaitUntil) -> None:
    service = PredictorService(life, ServiceConfig(drift_after=30))
    told: list[int] = []

    def is_told() -> bool:
        replies = service.answer([Question("text", ["ash"], 1), *(Question("vector", vectors("ash", 12), 1),) * 3])
        told.append(sum(isinstance(reply, Reply) and reply.drift is not None for reply in replies))
        return sum(told) > 0

    wait_until(is_told)
    assert told[-1] == 1


def question(inputs: int = 1, top: int = 1) -> Question:
    return Question("vector", vectors("ash", inputs), top)


def answered_while_busy(asked: list[Question], most: int) -> tuple[list[list[int]], list[Any]]:
    """Ask one question, and ``asked`` while it is answered; returns the inputs of each batch, and the replies."""
    batches, busy, others_asked = list[list[int]](), threading.Event(), threading.Event()

    def answer(questions: Sequence[Question]) -> list[Reply | MygoError]:
        busy.set()
        others_asked.wait(10)
        batches.append([len(question.examples) for question in questions])
        if any(question.top == 13 for question in questions):
            raise RuntimeError("thirteen")
        return [Reply(question.top, []) for question in questions]

    async def ask() -> list[Any]:
        together = Together(lambda: answer, most)
        first = asyncio.create_task(together.answer(question()))
        await asyncio.to_thread(busy.wait, 10)
        others = [asyncio.create_task(together.answer(each)) for each in asked]
        await asyncio.sleep(0)  # so that they have asked
        if asked and asked[0].top == 0:  # whoever asked it goes
            others[0].cancel()
        others_asked.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    return batches, asyncio.run(ask())


def test_questions_that_come_while_one_is_answered_are_answered_together() -> None:
    batches, replies = answered_while_busy([question(top=2), question(2, top=3), question(3, top=4)], most=32)
    assert batches == [[1], [1, 2, 3]]
    assert [reply.version for reply in replies] == [1, 2, 3, 4]


def test_questions_are_answered_in_turn_at_most_so_many_inputs_at_once() -> None:
    batches, replies = answered_while_busy([question(2, top=2), question(2, 3), question(9, 4), question(1, 5)], most=4)
    assert batches == [[1], [2, 2], [9], [1]]
    assert [reply.version for reply in replies] == [1, 2, 3, 4, 5]


def test_what_goes_wrong_is_raised_where_it_was_asked_and_the_next_are_answered() -> None:
    batches, replies = answered_while_busy([question(4, top=13), question(1, top=2)], most=4)
    assert batches == [[1], [4], [1]]
    assert isinstance(replies[1], RuntimeError)
    assert replies[2].version == 2


def test_those_who_have_gone_keep_nobody_from_an_answer() -> None:
    batches, replies = answered_while_busy([question(3, top=0), question(top=2)], most=4)
    assert isinstance(replies[1], asyncio.CancelledError)
    assert replies[2].version == 2
    assert batches == [[1], [1]], "nor is what they asked worked out"


def test_where_nothing_is_asked_the_current_version_is_looked_for() -> None:
    looks = list[int]()

    def answer(questions: Sequence[Question]) -> list[Reply | MygoError]:
        looks.append(len(questions))
        if not questions:
            raise OSError("the disk")
        return [Reply(1, [])] * len(questions)

    async def look() -> Any:
        together = Together(lambda: answer, most=4)
        together.look()
        together.look()  # one is enough
        return await together.answer(question())

    assert asyncio.run(look()).version == 1
    assert looks == [0, 1]


def test_a_life_that_cannot_be_read_is_no_fault_of_the_question(tmp_path: Path, life: Path) -> None:
    shutil.copytree(life, tmp_path / "life")
    for manifest in (tmp_path / "life").glob("manifest*.json"):
        manifest.write_text("{")
    (away,) = PredictorService(tmp_path / "life", ServiceConfig()).answer([question()])
    assert isinstance(away, AwayError)
    assert str(away).startswith("The life cannot be opened: ")


def test_a_lesson_that_is_due_waits_for_room_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    asked, due = list[bool](), [True]
    monkeypatch.setattr("distributed.serving.workers.DISK_SECONDS", 0.01)
    monkeypatch.setattr("distributed.serving.workers.POLL_SECONDS", 0.01)

    def sleep(self: Keeper, partly: bool = False) -> None:
        asked.append(partly)
        if len(asked) < 3:
            raise StorageError("The disk is full.")

    monkeypatch.setattr(Keeper, "due", lambda self, time: due.pop() if due else False)
    monkeypatch.setattr(Keeper, "sleep", sleep)
    service = KeeperService(tmp_path / "life", ServiceConfig())
    wait_until(lambda: len(asked) == 3)
    service.close()
    assert asked == [True] * 3


def test_a_lesson_begins_by_itself_once_enough_waits(
    tmp_path: Path, tiny_on_vectors: LifeConfig, wait_until: WaitUntil
) -> None:
    service = KeeperService(tmp_path / "life", ServiceConfig(learner=tiny_on_vectors, sleep_after=30))

    async def teach() -> None:
        for name in ("ash", "birch"):
            await service.teach(name, "vector", vectors(name, 15))

    asyncio.run(teach())
    wait_until(lambda: asyncio.run(service.snapshot()).lessons.get("done") == 1)
    snapshot = asyncio.run(service.snapshot())
    assert (snapshot.version, snapshot.classes, snapshot.inbox_examples, snapshot.progress) == (1, 2, 0, 0.0)
    service.close()


def test_it_answers_while_a_lesson_runs_and_a_close_ends_that(
    tmp_path: Path, tiny_on_vectors: LifeConfig, wait_until: WaitUntil
) -> None:
    began, end = threading.Event(), threading.Event()

    def learn(lesson: Lesson, on_event: EventHandler) -> None:
        began.set()
        assert end.wait(60)
        lesson.run(on_event=on_event)

    folder = tmp_path / "life"
    service = KeeperService(folder, ServiceConfig(learner=tiny_on_vectors), learn)

    async def use() -> None:
        for name in ("ash", "birch"):
            await service.teach(name, "vector", vectors(name, 15))
        await service.sleep()
        assert await asyncio.to_thread(began.wait, 60)
        assert (await service.life())["working"]["state"] == "running"
        await service.teach("cedar", "vector", vectors("cedar", 15))
        assert (await service.inbox())["classes"]["cedar"] == 15
        with pytest.raises(ConflictError):
            await service.roll_back(1)

    asyncio.run(use())
    service.close(0.1)  # too soon
    assert service.is_working
    with pytest.raises(InputError), locked(folder, 0):
        pass
    end.set()
    service.close()
    assert not service.is_working
    with Keeper(folder) as keeper:
        assert keeper.status()["version"] == 1
        assert keeper.inbox()["classes"] == {"cedar": 15}
