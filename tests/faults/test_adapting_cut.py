"""Power cuts in lives that adapt their encoder: in lessons, in lessons side by side, and while they are merged."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.events import Event, PhaseEnded, Progress
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.jobs.merge import merge
from mygo.jobs.side_by_side import learn_together
from tests.mygo.jobs.knowledge import assert_same_weights


class PowerCutError(Exception):
    pass


def test_lessons_cut_off_anywhere_end_as_undisturbed(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    lessons = [{"data": photos("red", "green"), "config": tiny_adapting}, {"data": photos("blue", "white")}]
    lessons.append({"data": photos("green", count=10, seed=2), "update": True})
    for lesson in lessons:
        Lesson(tmp_path / "undisturbed", **lesson).run()
    cuts: set[tuple[int, str, str]] = set()
    for number, lesson in enumerate(lessons):

        def listen(event: Event, number: int = number) -> None:
            if isinstance(event, PhaseEnded) and event.place.phase != "evaluate":
                here = (number, event.place.phase, "end")
            elif isinstance(event, Progress) and event.step == 7 and event.place.phase != "encode":
                here = (number, event.place.phase, "within")
            else:
                return
            if here not in cuts:
                cuts.add(here)
                raise PowerCutError

        for _ in range(30):
            try:
                Lesson(tmp_path / "cut", **lesson, save_every=0.0, log_every=1).run(on_event=listen)
                break
            except PowerCutError:
                pass
        else:
            pytest.fail("it never ended")
    assert {(number, "adapt", "within") for number in (1, 2)} <= cuts
    assert {(number, "consolidate", "within") for number in (1, 2)} <= cuts
    assert_same_weights(Life.open(tmp_path / "cut"), Life.open(tmp_path / "undisturbed"))


def test_the_fast_learners_that_adapted_an_encoder_teach_their_own_lessons(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    config = change(tiny_adapting, {"wake.adapt_steps": 40, "sleep.steps": 60})
    lessons = [Lesson(tmp_path / "life", photos(*own), config=config) for own in (("red", "green"), ("blue", "white"))]

    def power_cut(event: Event) -> None:
        if isinstance(event, Progress) and event.place.phase == "consolidate" and event.step > 20:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        learn_together(lessons, power_cut)
    assert [guest.lessons for guest in Life.open(tmp_path / "life").guests] == [(1,)], "its network teaches the first"
    assert learn_together(lessons) == []
    life = Life.open(tmp_path / "life")
    assert life.class_names == ["green", "red", "blue", "white"]
    assert all(lesson.class_il is not None and lesson.recall is not None for lesson in life.lessons)
    new = photos("red", "green", "blue", "white", count=5, seed=1)
    files = [file for name in life.class_names for file in sorted((new / name).iterdir())]
    found = life.predict([Image.open(file) for file in files]).probabilities.argmax(1)
    assert (found == torch.arange(4).repeat_interleave(5)).sum() >= 16


def test_a_merge_of_lives_that_adapt_goes_on_with_the_encoder_that_they_were_given(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lives = [Life.behind("efficientnet-lite0@32", config=tiny_adapting) for _ in range(2)]
    lives[0].learn(photos("red"), "first")
    lives[1].learn(photos("blue"), "second")

    def power_cut(event: Event) -> None:
        if isinstance(event, Progress):
            raise PowerCutError

    with pytest.raises(PowerCutError):
        merge(Life, lives, tmp_path / "cut", on_event=power_cut)
    monkeypatch.setattr("mygo.jobs.perception.open_encoder", lambda name, weights: pytest.fail("it was given weights"))
    assert_same_weights(merge(Life, lives, tmp_path / "cut"), merge(Life, lives))
