"""What a life notes of held-out examples, so that drift can be told without them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mygo.config.learner import LifeConfig
from mygo.errors import InputError
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.learner.records import TaskRecord
from mygo.unlabelled.drift import DriftTest

Write = Callable[..., str]


@pytest.fixture
def life(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> Life:
    """Two lessons, of two and three classes, 20 examples each of which two are held out."""
    Lesson(tmp_path / "life", write_vectors(tmp_path / "one.npz", ("ash", "birch")), config=tiny_on_vectors).run()
    Lesson(tmp_path / "life", write_vectors(tmp_path / "two.npz", ("cedar", "date", "elm"))).run()
    return Life.open(tmp_path / "life")


def vectors(path: str) -> torch.Tensor:
    return torch.from_numpy(np.load(path)["features"])


def test_each_lesson_notes_how_strange_held_out_examples_look(life: Life) -> None:
    for lesson in life.lessons:
        assert len(lesson.held_out) == len(lesson.classes)
        for count, mean, variance in lesson.held_out:
            assert count == 2
            assert 0 <= mean <= 1
            assert 0 <= variance <= 0.5


def test_what_was_noted_of_a_class_goes_with_it(life: Life) -> None:
    before = life.lessons[1].held_out
    life.forget("date")
    assert life.lessons[1].held_out == (before[0], before[2])
    assert Life.open(str(life.folder)).lessons[1].held_out == (before[0], before[2])


def test_teaching_a_class_again_notes_it_anew_and_leaves_the_others(
    life: Life, write_vectors: Write, tmp_path: Path
) -> None:
    before = life.lessons[1].held_out
    Lesson(tmp_path / "life", write_vectors(tmp_path / "more.npz", ("elm",), 30, seed=4), update=True).run()
    after = Life.open(tmp_path / "life").lessons[1].held_out
    assert after[:2] == before[:2]
    assert after[2][0] == 3


def test_a_life_without_what_was_noted_is_tested_by_the_means_of_its_classes_alone(
    life: Life, write_vectors: Write, tmp_path: Path
) -> None:
    inputs = vectors(write_vectors(tmp_path / "today.npz", life.class_names, 20, seed=5))
    with_notes = DriftTest(life).test(DriftTest(life).look(inputs))
    assert with_notes.p_strange is not None
    life.lessons[0].held_out = ()
    without = DriftTest(life).test(DriftTest(life).look(inputs))
    assert without.p_strange is None
    assert without.p_value == without.p_moved == with_notes.p_moved


def test_many_inputs_are_drawn_from_and_too_few_are_refused(
    life: Life, write_vectors: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mygo.unlabelled.drift.MOST_INPUTS", 60)
    test = DriftTest(life)
    looked = test.look(vectors(write_vectors(tmp_path / "today.npz", life.class_names, 40, seed=5)))
    found = test.test(looked)
    assert found.inputs == 200
    assert sum(each.inputs for each in found.classes) == pytest.approx(200, abs=1)
    with pytest.raises(InputError, match="needs 30 inputs at the least, not 29"):
        test.test(looked[:29])
    with pytest.raises(InputError, match="--alpha must be between 0 and 1"):
        test.test(looked, alpha=1.0)


def test_notes_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="counts and shares"):
        TaskRecord.read({"name": "a", "classes": ["b"], "held_out": [[1, float("nan"), 0]]})
