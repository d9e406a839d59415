"""Power cuts in lessons of lives that adapt their encoder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mygo.config.learner import LifeConfig
from mygo.events import Event, PhaseEnded, Progress
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
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
