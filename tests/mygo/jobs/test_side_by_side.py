"""Lessons that are learned side by side: one life of all, whatever went wrong on the way."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mygo.config.learner import LifeConfig
from mygo.errors import InputError, MygoError
from mygo.events import Event, Progress
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.jobs.side_by_side import FOLDER, Waking, check_together, learn_together
from tests.mygo.jobs.knowledge import assert_same

LESSONS = {"a": ("ash", "birch"), "b": ("cedar", "date", "elm"), "c": ("fir",)}
Write = Callable[..., str]


class PowerCutError(Exception):
    pass


@pytest.fixture
def waiting(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> Callable[..., list[Lesson]]:
    """Returns lessons for the life in a folder."""
    data = {name: write_vectors(tmp_path / f"{name}.npz", classes) for name, classes in LESSONS.items()}

    def waiting(folder: Path, names: Sequence[str]) -> list[Lesson]:
        return [Lesson(folder, data.get(name, name), config=tiny_on_vectors) for name in names]

    return waiting


@pytest.mark.parametrize("before", ["", "b"], ids=["a new life", "a life that knows something"])
def test_behind_a_frozen_encoder_it_is_to_the_bit_one_lesson_after_another(
    waiting: Callable[..., list[Lesson]], tmp_path: Path, before: str
) -> None:
    together = [name for name in "cba" if name != before]
    for lesson in waiting(tmp_path / "life", before):
        lesson.run()
    assert learn_together(waiting(tmp_path / "life", together)) == []
    for lesson in waiting(tmp_path / "other", "abc"):
        lesson.run()
    life, other = Life.open(tmp_path / "life"), Life.open(tmp_path / "other")
    assert_same(life, other)
    assert life.record.replaced_data_bytes == other.record.replaced_data_bytes
    assert life.record.seconds.keys() == other.record.seconds.keys()
    accuracy = {lesson.name: lesson.class_il for lesson in life.lessons}
    assert all(share is not None for share in accuracy.values())
    assert all(lesson.learned for lesson in life.lessons)
    assert life.current is None
    assert not (tmp_path / "life" / FOLDER).exists()
    for lesson in waiting(tmp_path / "life", []):
        lesson.run()
    life.forget("fir")


def test_a_lesson_whose_data_is_bad_is_named_and_the_others_go_on(
    waiting: Callable[..., list[Lesson]], tmp_path: Path
) -> None:
    np.savez(tmp_path / "short.npz", features=np.zeros((20, 3), np.float32), labels=np.arange(20) % 2)
    lessons = waiting(tmp_path / "life", ["a", str(tmp_path / "nowhere"), "b"])
    (complaint,) = learn_together(lessons)
    assert "nowhere is left out: " in complaint
    assert [lesson.name for lesson in Life.open(tmp_path / "life").lessons] == ["a", "b"]
    (complaint,) = learn_together(waiting(tmp_path / "life", ["c", str(tmp_path / "short.npz")]))
    assert "short.npz is left out: " in complaint
    assert len(Life.open(tmp_path / "life").lessons) == 3
    with pytest.raises(InputError, match="nowhere is left out"):
        learn_together(waiting(tmp_path / "new", [str(tmp_path / "nowhere")]))
    assert not Life.exists(tmp_path / "new")


def test_what_is_left_out_is_said_again_when_the_sleep_was_interrupted(
    waiting: Callable[..., list[Lesson]], tmp_path: Path
) -> None:
    lessons = waiting(tmp_path / "life", ["a", str(tmp_path / "nowhere")])

    def power_cut(event: Event) -> None:
        if isinstance(event, Progress) and event.place.phase == "consolidate":
            raise PowerCutError

    with pytest.raises(PowerCutError):
        learn_together(lessons, power_cut)
    (complaint,) = learn_together(lessons)
    assert "nowhere is left out: " in complaint


def test_where_all_are_to_be_learned_one_that_fails_ends_it_before_the_sleep(
    waiting: Callable[..., list[Lesson]], tmp_path: Path
) -> None:
    folder, woken = tmp_path / "life", list[list[int]]()
    lessons = waiting(folder, "ab")

    def second_fails(wakings: Sequence[Waking]) -> dict[int, MygoError]:
        woken.append([waking.number for waking in wakings if not Life.exists(waking.folder)])
        wakings[0].run()
        return {1: MygoError("its memory is bad.")}

    with pytest.raises(MygoError, match=r"b\.npz is left out: its memory is bad"):
        learn_together(lessons, wake_all=second_fails, all_or_none=True)
    assert not Life.exists(folder)
    with pytest.raises(MygoError, match=r"b\.npz is left out: its memory is bad"):
        learn_together(lessons, wake_all=second_fails, all_or_none=True)
    with pytest.raises(InputError, match="nowhere is left out"):
        learn_together([*lessons, *waiting(folder, ["nowhere"])], wake_all=second_fails, all_or_none=True)
    assert woken == [[0, 1], [1]], "what woke is kept"
    assert learn_together(lessons, all_or_none=True) == []
    assert Life.open(folder).tasks_learned == 2


def test_a_lesson_of_another_shape_does_not_begin_the_same_life(
    waiting: Callable[..., list[Lesson]], tmp_path: Path
) -> None:
    np.savez(tmp_path / "wide.npz", features=np.random.rand(24, 15).astype(np.float32), labels=np.arange(2).repeat(12))
    first, wide = waiting(tmp_path / "life", ["a", str(tmp_path / "wide.npz")])
    able, complaints = check_together([first, wide])
    assert [waking.lesson.data for waking in able] == [first.data]
    assert [text.partition("wide.npz ")[2] for text in complaints] == [
        "is left out: a life sees it as 15 values, and the lessons before it as 12."
    ]


def test_lessons_that_show_the_same_are_not_learned_together(
    waiting: Callable[..., list[Lesson]], write_vectors: Write, tmp_path: Path
) -> None:
    (tmp_path / "x").mkdir()
    for path, classes in ((tmp_path / "x" / "a.npz", ("gum",)), (tmp_path / "d.npz", ("ash", "holly"))):
        with pytest.raises(InputError, match=r"both have .*: rename one of them"):
            learn_together(waiting(tmp_path / "life", ["a", write_vectors(path, classes)]))
    assert not Life.exists(tmp_path / "life")


@pytest.mark.parametrize("phase", ["teach", "consolidate"])
def test_what_was_interrupted_goes_on(waiting: Callable[..., list[Lesson]], tmp_path: Path, phase: str) -> None:
    folder, cuts = tmp_path / "life", []
    for lesson in waiting(folder, "b"):
        lesson.run()

    def power_cut(event: Event) -> None:
        if isinstance(event, Progress) and event.place.phase == phase and len(cuts) < 2:
            cuts.append(event)
            if phase == "consolidate" or len(cuts) == 2:
                raise PowerCutError

    with pytest.raises(PowerCutError):
        learn_together(waiting(folder, "ca"), power_cut)
    assert Life.open(folder).tasks_learned == (1 if phase == "teach" else 3)
    assert learn_together(waiting(folder, "ca")) == []
    for lesson in waiting(tmp_path / "other", "abc"):
        lesson.run()
    assert_same(Life.open(folder), Life.open(tmp_path / "other"))


@pytest.mark.parametrize(
    ("phase", "what"),
    [("teach", "while it learned 'a' .ash, birch. side"), ("consolidate", "after it learned c.npz, a")],
)
def test_what_was_interrupted_is_not_taken_for_other_lessons(
    waiting: Callable[..., list[Lesson]], tmp_path: Path, phase: str, what: str
) -> None:
    folder = tmp_path / "life"
    for lesson in waiting(folder, "b"):
        lesson.run()
    (more,) = waiting(folder, "a")
    other = replace(more, name="other")

    def power_cut(event: Event) -> None:
        if (
            isinstance(event, Progress)
            and event.place.phase == phase
            and (phase == "consolidate" or event.place.strategy.endswith("wake-2"))
        ):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        learn_together(waiting(folder, "ca"), power_cut)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=what):
        learn_together([*waiting(folder, "c"), other])
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert learn_together(waiting(folder, "ca")) == []
    assert Life.open(folder).tasks_learned == 3


def test_what_was_interrupted_when_all_was_learned_is_examined_and_tidied_up(
    waiting: Callable[..., list[Lesson]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "life"

    def power_cut(*_: object) -> None:
        raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr("mygo.jobs.side_by_side.examine_all", power_cut)
        with pytest.raises(PowerCutError):
            learn_together(waiting(folder, "ca"))
    assert Life.open(folder).lessons[0].class_il is None
    assert learn_together(waiting(folder, "ca")) == []
    assert all(lesson.class_il is not None for lesson in Life.open(folder).lessons)
    assert not (folder / FOLDER).exists()


def pictures(path: Path, *classes: str) -> str:
    rng = np.random.default_rng(list(path.name.encode()))
    shown = [rng.normal(40 + 40 * label, 20, (24, 8, 8)) for label in range(len(classes))]
    pixels = np.concatenate(shown).clip(0, 255).astype(np.uint8)
    np.savez(path, images=pixels, labels=np.repeat(np.arange(len(classes)), 24), class_names=np.array(classes))
    return str(path)


@pytest.mark.parametrize("before", [False, True], ids=["a new life", "a life that knows something"])
def test_over_pixels_each_fast_learner_teaches_its_own_lesson(
    tiny_life: LifeConfig, tmp_path: Path, before: bool
) -> None:
    folder = tmp_path / "life"
    if before:
        Lesson(folder, pictures(tmp_path / "first.npz", "x", "y"), config=tiny_life).run()
    sources = [
        pictures(tmp_path / "a.npz", "a", "b"),
        pictures(tmp_path / "b.npz", "c"),
        pictures(tmp_path / "c.npz", "d"),
    ]
    lessons = [Lesson(folder, source, config=tiny_life) for source in sources]
    seen: list[Event] = []

    def power_cut(event: Event) -> None:
        if isinstance(event, Progress) and event.place.phase == "consolidate":
            raise PowerCutError

    with pytest.raises(PowerCutError):
        learn_together(lessons, power_cut)
    life = Life.open(folder)
    known_before = 1 if before else 0
    new = range(known_before, known_before + 3)
    assert [guest.lessons for guest in life.guests] == [(number,) for number in new][0 if before else 1 :]
    assert learn_together(lessons, seen.append) == []
    life = Life.open(folder)
    assert life.guests == []
    assert life.tasks_learned == len(life.memories) == len(new) + known_before
    assert all(lesson.class_il is not None and lesson.recall is not None for lesson in life.lessons)
    assert {event.place.phase for event in seen if isinstance(event, Progress)} == {"consolidate"}, "wakes were over"
