"""Lessons of a life in service, each in a process of its own, which may be lost."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import processes_of
from benchmarks.service import TITLES
from distributed.serving.lessons import LessonsOnRay
from distributed.serving.settings import ServeArguments, ServiceSettings
from distributed.training.trainer import WorkersLostError
from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.errors import InputError, StoppedError
from mygo.events import Event, Progress, Restarted
from mygo.jobs.lesson import Lesson

pytestmark = pytest.mark.usefixtures("ray_cluster")

MakeLesson = Callable[[str], Lesson]


def lessons(*flags: str) -> LessonsOnRay:
    return LessonsOnRay(ServiceSettings.of(ServeArguments.parse(["--life", "x", *flags]), reserve=False))


@pytest.fixture
def lesson_in(tmp_path: Path, tiny_on_vectors: LifeConfig, write_vectors: Any) -> MakeLesson:
    """Returns a lesson about trees for a life in a folder, which is long, and every step of which is saved and said."""
    data = write_vectors(tmp_path / "trees.npz", ("ash", "birch"))
    config = change(tiny_on_vectors, {"sleep.steps": 150})
    return lambda folder: Lesson(tmp_path / folder, data, config=config, save_every=0.0, log_every=1)


def lesson_processes() -> dict[int, str]:
    return processes_of(os.getpid(), TITLES["lesson"])


def kill_lesson() -> None:
    (pid,) = lesson_processes()
    os.kill(pid, signal.SIGKILL)


def files_of(folder: Path) -> list[str]:
    """Return the names of the files of a life's tensors, which are those of their content."""
    return sorted(path.name for path in folder.rglob("*.safetensors"))


def test_a_lesson_is_learned_beside_this_process_and_its_events_come_in_order(
    lesson_in: MakeLesson, wait_until: Callable[..., None]
) -> None:
    events: list[Event] = []
    here: list[Event] = []
    lesson_in("here").run(on_event=here.append)
    lessons()(lesson_in("there"), events.append)
    assert [type(event) for event in events] == [type(event) for event in here]
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == [event.step for event in here if isinstance(event, Progress)]
    wait_until(lambda: not lesson_processes())


def test_a_lesson_whose_process_is_lost_goes_on(lesson_in: MakeLesson) -> None:
    events: list[Event] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and not any(isinstance(each, Progress) for each in events):
            kill_lesson()
        events.append(event)

    lesson, undisturbed = lesson_in("killed"), lesson_in("undisturbed")
    lessons()(lesson, listen)
    assert [event.who for event in events if isinstance(event, Restarted)] == ["workers"]
    undisturbed.run()
    assert files_of(lesson.folder) == files_of(undisturbed.folder)


def test_a_lesson_that_is_lost_too_often_has_failed(lesson_in: MakeLesson) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, Progress) and lesson_processes():
            kill_lesson()

    with pytest.raises(WorkersLostError, match="--max-failures is 0"):
        lessons("--max-failures", "0")(lesson_in("lost"), listen)


def test_what_a_lesson_refuses_is_raised_here(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path / "life", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="nowhere") as raised:
        lessons()(lesson, lambda event: None)
    assert type(raised.value) is InputError


def test_a_lesson_that_is_stopped_says_so(lesson_in: MakeLesson) -> None:
    learn = lessons()

    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            learn.stop()

    with pytest.raises(StoppedError):
        learn(lesson_in("stopped"), listen)
    with pytest.raises(StoppedError):
        learn(lesson_in("stopped"), listen)
