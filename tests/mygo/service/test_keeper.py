"""A life in service is taught, sleeps, forgets and goes back, and goes on after it was stopped."""

import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mygo.config.learner import LifeConfig
from mygo.errors import ConflictError, InputError, NotThereError, StoppedError
from mygo.events import Event, EventHandler, PhaseEnded, Progress
from mygo.files import MANIFEST, read_json
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.service.config import Clock, ServiceConfig
from mygo.service.keeper import Keeper
from mygo.service.lessons import Workplace
from mygo.service.work import WorkRecord
from tests.mygo.jobs.knowledge import assert_same_weights
from tests.mygo.service.lives import becoming, learn_waiting, picture, state_of, vectors


def teach(keeper: Keeper, *names: str, count: int = 20, seed: int = 0) -> None:
    for name in names:
        keeper.teach(name, "vector", vectors(name, count, seed))


def do_next(keeper: Keeper, **options: Any) -> WorkRecord:
    work = keeper.next_work()
    assert work is not None
    return keeper.run(work, **options)


# -- lessons ----------------------------------------------------------------------------------------------------------


def test_what_is_new_and_what_is_known_are_learned_as_by_commands(
    life: Path, on_vectors: ServiceConfig, tmp_path: Path
) -> None:
    by_hand = shutil.copytree(life, tmp_path / "by-hand")
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "elm", "ash", "cedar", seed=1)
        learn_waiting(keeper)
        status = keeper.status()
    for lesson in (["ash"], ["cedar"]):
        data = save(tmp_path / f"{lesson[0]}.npz", *lesson)
        Lesson(by_hand, data, update=True).run()
    Lesson(by_hand, save(tmp_path / "elm.npz", "elm")).run()
    assert_same_weights(Life.open(life), Life.open(by_hand))
    assert {each["name"]: each["examples"] for each in status["classes"]} == {
        "ash": 36,
        "birch": 18,
        "cedar": 36,
        "elm": 18,
    }
    assert (status["version"], status["kind"], status["encoder"], status["working"]) == (3, "vector", "none", None)
    assert [each["current"] for each in status["versions"]] == [False, False, True]
    assert status["memory_bytes"] == Life.open(life).memory_bytes
    assert status["inbox"] == {"examples": 0, "classes": {}}


def save(path: Path, *names: str) -> str:
    features = np.concatenate([vectors(name, seed=1) for name in names])
    np.savez(path, features=features, labels=np.repeat(range(len(names)), 20), class_names=np.array(names))
    return str(path)


def test_a_lesson_that_is_stopped_anywhere_goes_on_to_the_same_end(
    life: Path, on_vectors: ServiceConfig, tmp_path: Path
) -> None:
    """It is one of two known classes and a new one: three cycles, stopped within phases and between cycles."""
    undisturbed, config = shutil.copytree(life, tmp_path / "undisturbed"), replace(on_vectors, save_every=0.0)
    for folder in (undisturbed, life):
        with Keeper(folder, config) as keeper:
            teach(keeper, "elm", "ash", "cedar", seed=1)
            keeper.sleep()
    with Keeper(undisturbed, config) as keeper:
        assert do_next(keeper).state == "done"
    stops: list[str] = []

    def run_until_new_stop(keeper: Keeper) -> WorkRecord:
        stopped: list[bool] = []

        def learn(lesson: Lesson, on_event: EventHandler) -> None:
            def listen(event: Event) -> None:
                on_event(event)
                if isinstance(event, Progress) and event.step % 4 == 3 and event.place.phase != "encode":
                    here = f"{lesson.update} {event.place.task} {event.place.phase} {event.step}"
                elif isinstance(event, PhaseEnded) and event.place.phase == "evaluate":
                    here = f"{lesson.update} {event.place.task} end"
                else:
                    return
                if here not in stops:
                    stops.append(here)
                    stopped.append(True)
                    if here.endswith("end"):
                        raise KeyboardInterrupt

            replace(lesson, log_every=1).run(on_event=listen, stop=lambda: bool(stopped))

        return do_next(keeper, learn=learn)

    for _ in range(40):
        with Keeper(life, config) as keeper:
            before = keeper.next_work()
            assert before is not None
            assert keeper.inbox()["examples"] == 60
            assert keeper.status()["version"] == 2
            try:
                record = run_until_new_stop(keeper)
                break
            except (StoppedError, KeyboardInterrupt):
                work = keeper.next_work()
                assert work is not None
                assert (work.state, work.began) == ("running", before.began or work.began)
                assert work.progress >= before.progress
    assert (record.state, record.progress) == ("done", 1.0)
    assert {stop for stop in stops if stop.endswith("end")} == {"True 0 end", "True 1 end", "False 2 end"}
    assert {stop.split()[2] for stop in stops} >= {"teach", "consolidate"}
    assert len(stops) >= 9
    assert_same_weights(Life.open(life), Life.open(undisturbed))
    with Keeper(life, config) as keeper:
        assert keeper.inbox()["examples"] == 0
        assert [each["examples"] for each in keeper.status()["classes"]] == [36, 18, 36, 18]


def test_a_lesson_says_how_far_it_came(life: Path, on_vectors: ServiceConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[WorkRecord] = []
    writes: list[str] = []
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "elm", "ash")
        asked = keeper.sleep()
        assert asked.as_json == {
            "id": asked.id,
            "what": "lesson",
            "state": "waiting",
            "classes": ["ash", "elm"],
            "examples": 40,
            "phase": "",
            "progress": 0.0,
            "error": None,
            "version": None,
            "asked": asked.asked,
            "began": None,
            "ended": None,
        }
        monkeypatch.setattr("mygo.service.work.WRITTEN_EVERY", 3600.0)

        def learn(lesson: Lesson, on_event: EventHandler) -> None:
            def listen(event: Event) -> None:
                on_event(event)
                seen.append(keeper.work_by_id(asked.id))
                writes.append((life / "service" / "lessons" / f"{asked.id}.json").read_text())

            replace(lesson, log_every=1).run(on_event=listen)
            assert keeper.status()["working"]["id"] == asked.id

        record = do_next(keeper, learn=learn)
        assert keeper.work() == [record, *keeper.work()[1:]]
    assert {each.phase for each in seen} == {"looking at the examples", "learning the classes", "sleeping"}
    shares = [each.progress for each in seen]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.2
    assert 0.9 < shares[-1] <= 1
    assert len(set(writes)) <= 2, "it is written now and then"
    assert (record.version, record.phase, record.error) == (3, "", None)
    assert record.asked <= str(record.began) <= str(record.ended)


def test_what_comes_while_it_learns_waits_for_the_next_lesson(
    life: Path, learned: Path, on_vectors: ServiceConfig
) -> None:
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "elm")
        keeper.sleep()
        (item,) = keeper.inbox()["items"]

        def learn(lesson: Lesson, _: EventHandler) -> None:
            teach(keeper, "fir")
            with pytest.raises(ConflictError, match="being learned: wait"):
                keeper.remove(item["id"])
            assert keeper.remove_all("elm") == 0
            with pytest.raises(ConflictError, match="roll back when"):
                keeper.roll_back(1)
            with pytest.raises(ConflictError, match="being done already"):
                do_next(keeper)
            assert keeper.sleep().classes == ("fir",)
            with pytest.raises(ConflictError, match="Nothing waits to be learned"):
                keeper.sleep()
            becoming(learned)(lesson)

        assert do_next(keeper, learn=learn).state == "done"
        assert keeper.inbox()["classes"] == {"fir": 20}
        assert do_next(keeper).classes == ("fir",)
        assert keeper.next_work() is None
        assert [each["name"] for each in keeper.status()["classes"]] == ["ash", "birch", "cedar", "elm", "fir"]


def test_it_says_how_it_is_while_a_lesson_is_laid_out(
    life: Path, on_vectors: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, told = Workplace.prepare, list[int]()

    def slowly(self: Workplace, *arguments: Any) -> None:
        with ThreadPoolExecutor(1) as other:
            told.append(other.submit(keeper.status).result(10)["inbox"]["examples"])
        prepare(self, *arguments)

    monkeypatch.setattr(Workplace, "prepare", slowly)
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "elm")
        keeper.sleep()
        assert do_next(keeper).state == "done"
        keeper.forget("elm")
        assert do_next(keeper).state == "done"
    assert told == [20, 0]


def test_too_few_examples_are_refused_by_name_and_number_or_left(life: Path, on_vectors: ServiceConfig) -> None:
    with Keeper(life, on_vectors) as keeper:
        with pytest.raises(ConflictError, match="Nothing waits to be learned: teach some examples first"):
            keeper.sleep()
        teach(keeper, "fir", count=5)
        teach(keeper, "fir", count=4)
        for partly in (False, True):
            with pytest.raises(ConflictError, match="Class fir has 9 vectors in the inbox, fewer than 10: teach more"):
                keeper.sleep(partly=partly)
        teach(keeper, "elm", count=10)
        with pytest.raises(ConflictError, match="Class fir has 9"):
            keeper.sleep()
        assert keeper.sleep(partly=True).classes == ("elm",)
        assert do_next(keeper).state == "done"
        assert keeper.inbox()["classes"] == {"fir": 9}
        teach(keeper, "fir", count=1)
        learn_waiting(keeper)


def test_a_lesson_that_fails_says_why_and_leaves_its_examples_in_the_inbox(
    life: Path, on_vectors: ServiceConfig
) -> None:
    config, before = replace(on_vectors, sleep_after=20), state_of(life)
    errors: list[Exception] = [InputError("It is not to be."), RuntimeError("a fault")]
    with Keeper(life, config) as keeper:
        teach(keeper, "elm")
        assert keeper.due(datetime.now())
        for error in errors:

            def learn(lesson: Lesson, _: EventHandler, error: Exception = error) -> None:
                raise error

            keeper.sleep()
            record = do_next(keeper, learn=learn)
            assert record.state == "failed"
            assert str(error) in str(record.error)
        assert not keeper.due(datetime.now()), "what failed is not tried over and over"
        assert keeper.next_work() is None
        assert keeper.inbox()["classes"] == {"elm": 20}
        assert keeper.status()["version"] == 2
        teach(keeper, "elm", seed=1)
        assert keeper.due(datetime.now())
        learn_waiting(keeper)
    assert before != state_of(life)


def test_what_was_deleted_before_a_lesson_began_is_not_learned(life: Path, on_vectors: ServiceConfig) -> None:
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "elm", "fir")
        keeper.sleep()
        assert keeper.remove_all("fir") == 1
        assert do_next(keeper).classes == ("elm",)
        teach(keeper, "fir")
        keeper.sleep()
        assert keeper.remove_all() == 1
        record = do_next(keeper)
        assert (record.state, record.error) == (
            "failed",
            "What it was to learn was deleted from the inbox before it began.",
        )


# -- a life that begins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("night",), ("night", "noon")])
def test_a_life_over_pixels_begins_with_its_first_lesson(
    tiny_life: LifeConfig, tmp_path: Path, names: tuple[str, ...]
) -> None:
    greys = {"night": 40, "noon": 200}
    with Keeper(tmp_path / "life", ServiceConfig(learner=tiny_life)) as keeper:
        status = keeper.status()
        assert (status["version"], status["kind"], status["classes"], status["versions"]) == (None, None, [], [])
        with pytest.raises(NotThereError, match="learned no class yet"):
            keeper.map()
        with pytest.raises(NotThereError, match="no version 1"):
            keeper.roll_back(1)
        with pytest.raises(NotThereError, match="knows no class 'night'"):
            keeper.forget("night")
        for name in names:
            keeper.teach(name, "image", [picture(greys[name], number) for number in range(12)])
        learn_waiting(keeper)
        status = keeper.status()
        assert (status["version"], status["kind"], status["encoder"]) == (1, "image", "none")
        assert [each["name"] for each in status["classes"]] == list(names)
        with pytest.raises(InputError, match="Image 1 has colours, but this life sees in grey: convert it"):
            keeper.teach("red", "image", [picture((200, 20, 20))])
        with pytest.raises(InputError, match="This life sees images, not texts: send images"):
            keeper.teach("red", "text", ["x"])
        with pytest.raises(NotThereError, match="no map"):
            keeper.map()


def test_a_life_that_begins_sees_through_the_encoder_that_was_chosen(tmp_path: Path) -> None:
    with Keeper(tmp_path / "life", ServiceConfig(encoder="minilm")) as keeper:
        with pytest.raises(InputError, match="This life sees texts, not images: send texts"):
            keeper.teach("a", "image", [picture(9)])
        with pytest.raises(InputError, match="--encoder minilm is not needed for vectors"):
            keeper.teach("a", "vector", vectors("a"))
        keeper.teach("a", "text", ["x"])
    keeper = Keeper(tmp_path / "other", ServiceConfig(encoder="none"))
    with keeper, pytest.raises(InputError, match="--encoder none cannot read texts"):
        keeper.teach("a", "text", ["x"])


def test_what_a_life_does_not_see_is_refused(life: Path, on_vectors: ServiceConfig) -> None:
    with Keeper(life, on_vectors) as keeper:
        with pytest.raises(InputError, match="sees vectors of 12 values, not of 3"):
            keeper.teach("elm", "vector", [[1.0, 2.0, 3.0]])
        with pytest.raises(InputError, match="sees vectors, not images"):
            keeper.teach("elm", "image", [picture(9)])
        assert keeper.inbox() == {"items": [], "examples": 0, "bytes": 0, "classes": {}}


# -- a class that is forgotten ----------------------------------------------------------------------------------------


def test_a_class_is_forgotten_in_all_versions_and_in_the_inbox(
    life: Path, on_vectors: ServiceConfig, names_in: Callable[[Path, str], list[str]]
) -> None:
    by_hand = Life.open(shutil.copytree(life, life.parent / "by-hand"))
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "fir", "cedar")
        keeper.sleep()
        record = keeper.forget(" cedar ")
        assert (record.what, record.state, record.classes) == ("forget", "waiting", ("cedar",))
        assert keeper.inbox()["classes"] == {"fir": 20}
        assert do_next(keeper, learn=fail).state == "failed", "the lesson that waited comes first"
        done = do_next(keeper)
        assert (done.id, done.state, done.version, done.classes) == (record.id, "done", 3, ())
        assert names_in(life, "cedar") == []
        assert [(version.number, version.why) for version in keeper.versions()] == [(3, "forget")]
        with pytest.raises(NotThereError):
            keeper.roll_back(1)
        with pytest.raises(NotThereError, match="knows no class 'cedar': choose from those it knows: ash, birch"):
            keeper.forget("cedar")
        assert [each["name"] for each in keeper.status()["classes"]] == ["ash", "birch"]
    by_hand.forget("cedar")
    assert_same_weights(Life.open(life), by_hand)


def fail(lesson: Lesson, on_event: EventHandler) -> None:
    raise InputError("cedar is a word.")


def test_a_class_that_is_just_being_learned_is_forgotten_after_that(
    life: Path, learned: Path, on_vectors: ServiceConfig, names_in: Callable[[Path, str], list[str]]
) -> None:
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "elm")
        keeper.sleep()

        def learn(lesson: Lesson, _: EventHandler) -> None:
            teach(keeper, "elm", count=3)
            keeper.forget("elm")
            assert keeper.inbox()["classes"] == {"elm": 20}
            becoming(learned)(lesson)

        assert do_next(keeper, learn=learn).version == 3
        assert do_next(keeper).version == 4
        assert names_in(life, "elm") == []
        assert [each["name"] for each in keeper.status()["classes"]] == ["ash", "birch", "cedar"]


def test_a_class_that_only_earlier_versions_know_is_forgotten_there(
    life: Path, on_vectors: ServiceConfig, names_in: Callable[[Path, str], list[str]]
) -> None:
    with Keeper(life, on_vectors) as keeper:
        keeper.roll_back(1)
        state = state_of(life)
        keeper.forget("cedar")
        assert do_next(keeper).version == 3
        assert state_of(life) == state
        assert [version.number for version in keeper.versions()] == [3]
    assert names_in(life, "cedar") == []
    assert {path.name for path in life.glob("memory-*")} == set(state["files"]["memories"])


def test_forgetting_that_is_stopped_begins_again(life: Path, on_vectors: ServiceConfig) -> None:
    by_hand = Life.open(shutil.copytree(life, life.parent / "by-hand"))
    with Keeper(life, on_vectors) as keeper:
        keeper.forget("birch")
        with pytest.raises(StoppedError):
            do_next(keeper, stop=lambda: True)
    with Keeper(life, on_vectors) as keeper:
        assert keeper.status()["version"] == 2
        assert do_next(keeper).state == "done"
    by_hand.forget("birch")
    assert_same_weights(Life.open(life), by_hand)


def test_the_last_class_is_not_forgotten(life: Path, on_vectors: ServiceConfig, tmp_path: Path) -> None:
    with Keeper(tmp_path / "new", on_vectors) as keeper:
        teach(keeper, "ash")
        learn_waiting(keeper)
        with pytest.raises(ConflictError, match="'ash' is all that this life knows"):
            keeper.forget("ash")
        teach(keeper, "elm")
        keeper.sleep()
        keeper.forget("ash")
        do_next(keeper)
        assert do_next(keeper).state == "done"
        assert [each["name"] for each in keeper.status()["classes"]] == ["elm"]


# -- versions ---------------------------------------------------------------------------------------------------------


def test_one_can_go_back_and_numbers_are_given_once(life: Path, on_vectors: ServiceConfig) -> None:
    first, second = (state_of(life / "service" / "versions" / number) for number in "12")
    with Keeper(life, replace(on_vectors, keep_versions=2)) as keeper:
        with pytest.raises(ConflictError, match="Version 2 is what the life is already"):
            keeper.roll_back(2)
        assert keeper.roll_back(1).number == 3
        assert state_of(life) == first
        with pytest.raises(ConflictError, match="is what the life is already"):
            keeper.roll_back(1)
        assert keeper.roll_back(2).number == 4
        assert state_of(life) == second
        assert [version.number for version in keeper.versions()] == [2, 3, 4]
        for number in (1, 5, 0, -1):
            with pytest.raises(NotThereError, match=f"no version {number}"):
                keeper.roll_back(number)
        teach(keeper, "elm")
        keeper.sleep()
        with pytest.raises(ConflictError, match="A lesson waits or runs"):
            keeper.roll_back(3)
        assert do_next(keeper).version == 5
        assert [(version.number, version.why) for version in keeper.versions()] == [
            (3, "rollback"),
            (4, "rollback"),
            (5, "lesson"),
        ]
        assert [each["number"] for each in keeper.status()["versions"] if each["current"]] == [5]
    with Keeper(life, replace(on_vectors, keep_versions=0)) as keeper:
        assert [version.number for version in keeper.versions()] == [5]


def test_versions_share_the_files_that_did_not_change(life: Path, on_vectors: ServiceConfig) -> None:
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "elm")
        learn_waiting(keeper)
    (memory,) = life.glob("memory-2-*.safetensors")
    assert memory.samefile(life / "service" / "versions" / "3" / memory.name)


def test_a_life_that_commands_taught_meanwhile_becomes_a_version(
    life: Path, on_vectors: ServiceConfig, tmp_path: Path
) -> None:
    Lesson(life, save(tmp_path / "elm.npz", "elm")).run()
    with Keeper(life, on_vectors) as keeper:
        assert [(version.number, version.why) for version in keeper.versions()] == [
            (1, "lesson"),
            (2, "lesson"),
            (3, "found"),
        ]
        keeper.roll_back(2)
        assert [each["name"] for each in keeper.status()["classes"]] == ["ash", "birch", "cedar"]


def test_what_commands_let_a_life_forget_is_forgotten_in_its_service_too(
    life: Path, on_vectors: ServiceConfig, names_in: Callable[[Path, str], list[str]]
) -> None:
    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "cedar", "fir", count=4)
    Life.open(life).forget("cedar")
    with Keeper(life, on_vectors) as keeper:
        assert [(version.number, version.why) for version in keeper.versions()] == [(1, "lesson"), (3, "found")]
        assert keeper.inbox()["classes"] == {"fir": 4}
    assert names_in(life, "cedar") == []


def test_work_that_began_with_another_state_begins_again(
    life: Path, on_vectors: ServiceConfig, names_in: Callable[[Path, str], list[str]]
) -> None:
    def stop_within(lesson: Lesson, on_event: EventHandler) -> None:
        lesson.run(stop=lambda: True)

    with Keeper(life, on_vectors) as keeper:
        teach(keeper, "elm")
        keeper.sleep()
        with pytest.raises(StoppedError):
            do_next(keeper, learn=stop_within)
    Life.open(life).forget("cedar")
    with Keeper(life, on_vectors) as keeper:
        assert do_next(keeper).state == "done"
        assert [each["name"] for each in keeper.status()["classes"]] == ["ash", "birch", "elm"]
    assert names_in(life, "cedar") == []


# -- whose life it is -------------------------------------------------------------------------------------------------


def test_a_life_in_service_is_in_use(life: Path, on_vectors: ServiceConfig, tmp_path: Path) -> None:
    keeper = Keeper(life, on_vectors)
    data = save(tmp_path / "elm.npz", "elm")
    with pytest.raises(InputError, match="is in use by another run"):
        Keeper(life, on_vectors)
    with pytest.raises(InputError, match="is in use by another run"):
        Life.open(life).forget("cedar")
    with pytest.raises(InputError, match="is in use by another run"):
        Life.open(life).learn(data)
    closer = threading.Thread(target=keeper.close)
    closer.start()
    closer.join()
    Life.open(life).learn(data)


def test_a_life_in_the_middle_of_a_lesson_is_not_taken(life: Path, on_vectors: ServiceConfig, tmp_path: Path) -> None:
    lesson = Lesson(life, save(tmp_path / "elm.npz", "elm"))
    with pytest.raises(StoppedError):
        lesson.run(stop=within_teach())
    with pytest.raises(InputError, match="in the middle of the lesson 'elm': finish it with the command"):
        Keeper(life, on_vectors)
    lesson.run()
    Keeper(life, on_vectors).close()


def within_teach() -> Callable[[], bool]:
    """Return what stops a lesson at the second step after its examples are encoded."""
    calls: list[None] = []

    def stop() -> bool:
        calls.append(None)
        return len(calls) > 2

    return stop


def test_a_damaged_state_gives_way_to_the_one_before(life: Path, on_vectors: ServiceConfig) -> None:
    first = state_of(life / "service" / "versions" / "1")
    (memory,) = life.glob("memory-1-*")
    content = memory.read_bytes()
    memory.unlink()  # versions have a link of their own
    memory.write_bytes(content[:-1])
    with Keeper(life, on_vectors) as keeper:
        assert state_of(life) == first
        assert keeper.status()["version"] == 1
    (life / MANIFEST).write_text("{")
    (life / "manifest.previous.json").write_text("{")
    with pytest.raises(InputError, match=str(life / MANIFEST)):
        Keeper(life, on_vectors)


def test_versions_without_their_life_are_not_deleted(life: Path, on_vectors: ServiceConfig) -> None:
    for name in (MANIFEST, "manifest.previous.json"):
        (life / name).unlink()
    with pytest.raises(InputError, match=r"has versions but no life: copy the files of .*/versions/2 there"):
        Keeper(life, on_vectors)
    shutil.copytree(life / "service" / "versions" / "2", life, dirs_exist_ok=True)
    with Keeper(life, on_vectors) as keeper:
        assert keeper.status()["version"] == 2


def test_the_map_shows_every_class(life: Path, on_vectors: ServiceConfig) -> None:
    with Keeper(life, on_vectors) as keeper:
        shown = keeper.map()
        assert [each["name"] for each in shown["classes"]] == ["ash", "birch", "cedar"]
        assert all(len(each["mean"]) == 2 and len(each["dreams"]) == 50 for each in shown["classes"])
        assert keeper.map() is shown
        keeper.roll_back(1)
        assert [each["name"] for each in keeper.map()["classes"]] == ["ash", "birch"]


# -- when it sleeps ---------------------------------------------------------------------------------------------------


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-07-{text}")


def test_a_time_of_the_day_strikes_once_a_day() -> None:
    clock = Clock("03:30")
    times = ["01 03:29", "01 03:29", "01 03:30", "01 03:30", "01 23:00", "02 03:29", "02 04:00", "05 03:00", "05 03:31"]
    assert [clock.struck(at(time)) for time in times] == [False, False, True, False, False, False, True, True, True]
    assert not any(Clock("03:30").struck(at("01 12:00")) for _ in range(2))
    assert not Clock(None).struck(at("01 12:00"))


def test_a_lesson_is_due_at_its_time_and_after_so_many_examples(life: Path, on_vectors: ServiceConfig) -> None:
    with Keeper(life, replace(on_vectors, sleep_at="03:30", sleep_after=25)) as keeper:
        assert not keeper.due(at("01 03:00"))
        assert not keeper.due(at("01 04:00")), "nothing waits"
        teach(keeper, "elm", count=9)
        assert not keeper.due(at("02 04:00")), "too few wait"
        teach(keeper, "elm", count=9)
        assert not keeper.due(at("02 05:00"))
        assert keeper.due(at("03 05:00"))
        assert not keeper.due(at("03 06:00"))
        teach(keeper, "fir", count=7)
        assert keeper.due(at("03 06:00"))
        keeper.sleep(partly=True)
        assert not keeper.due(at("03 06:00"))


@pytest.mark.parametrize("time", ["3:30", "24:00", "12:60", "noon", "12:00 "])
def test_what_is_no_time_of_the_day_is_refused(time: str) -> None:
    with pytest.raises(InputError, match="--sleep-at must be a time of the day such as 03:30"):
        ServiceConfig(sleep_at=time)


def test_manifests_of_versions_are_those_of_the_life(life: Path) -> None:
    version = life / "service" / "versions" / "2"
    assert read_json(life / MANIFEST) == read_json(version / MANIFEST)
