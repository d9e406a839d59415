"""Lessons that wake side by side on Ray, and the command for them."""

import itertools
import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from distributed.run import main
from distributed.side_by_side import cancel_waiting, shares, wake_on_ray
from mygo.config.learner import LifeConfig
from mygo.errors import StoppedError
from mygo.events import Event, Notice, Progress
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.jobs.side_by_side import Waking, learn_together
from tests.mygo.jobs.knowledge import assert_same_weights

Write = Callable[..., str]


CPU8, GPU8 = {"CPU": 8.0}, {"CPU": 8.0, "GPU": 2.0}


@pytest.mark.parametrize(
    ("count", "nodes", "expected"),
    [
        (4, [{"CPU": 2.0}], (2, 1, 0)),
        (2, [CPU8], (2, 4, 0)),
        (1, [CPU8], (1, 8, 0)),
        (3, [{"CPU": 16.0, "GPU": 2.0}], (2, 8, 1)),
        (16, [{"CPU": 16.0}], (16, 1, 0)),
        (2, [CPU8, CPU8], (2, 8, 0)),
        (1, [CPU8, CPU8], (1, 8, 0)),  # not the 16 that no node has
        (3, [CPU8, CPU8], (3, 4, 0)),  # not the 5 of which a node holds one
        (1, [{"memory": 1.0}, CPU8], (1, 8, 0)),
        (4, [CPU8, CPU8, GPU8], (2, 4, 1)),  # not a third of the CPUs, which are not where the GPUs are
    ],
)
def test_each_wake_has_its_share_of_a_node(
    count: int, nodes: list[dict[str, float]], expected: tuple[int, int, int]
) -> None:
    reach = {kind: sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
    assert shares(count, reach, nodes) == expected


def test_a_wake_fits_on_the_nodes_that_there_are_before_others_come() -> None:
    assert shares(4, {"CPU": 80.0}, [{"CPU": 2.0}]) == (4, 2, 0)
    assert shares(4, {"CPU": 80.0, "GPU": 4.0}, [{"CPU": 2.0}]) == (4, 1, 1)


def test_what_waits_for_room_says_so_and_ends_when_it_is_stopped(
    ray_cluster: None,
    tiny_on_vectors: LifeConfig,
    write_vectors: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Event] = []
    lesson = Lesson(tmp_path / "life", write_vectors(tmp_path / "a.npz", ("ash", "birch")), config=tiny_on_vectors)
    wait, polls = ray.wait, itertools.count(1)

    def stopped_at_third(*arguments: Any, **options: Any) -> Any:
        if next(polls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return wait(*arguments, **options)

    monkeypatch.setattr("ray.wait", stopped_at_third)
    monkeypatch.setattr("distributed.side_by_side.NOTICE_AFTER_SECONDS", 0.0)
    others = placement_group([{"CPU": 2}])
    ray.get(others.ready())
    try:
        with pytest.raises(StoppedError) as ended:
            wake_on_ray([Waking(lesson, 0)], seen.append)
    finally:
        remove_placement_group(others)
    assert ended.value.exit_code == 143
    assert any("Waiting for room for a wake with 2 CPUs" in str(event) for event in seen)
    assert not Life.exists(Waking(lesson, 0).folder)


def test_a_wake_whose_node_is_gone_waits_too(monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[str] = []
    monkeypatch.setattr("distributed.side_by_side.living_nodes", lambda: [{"NodeID": "here"}])
    monkeypatch.setattr("ray.cancel", cancelled.append)
    tasks: Any = {"wakes": 0, "was on a node that left": 1, "has not begun": 2}
    cancel_waiting(tasks, {0: "here", 1: "gone"})
    assert cancelled == ["was on a node that left", "has not begun"]


def test_lessons_woken_on_ray_are_those_woken_here(
    ray_cluster: None, tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path
) -> None:
    sources = [write_vectors(tmp_path / f"{name}.npz", (name, f"{name}2")) for name in ("ash", "birch", "cedar")]
    seen: list[Event] = []

    def lessons(folder: str) -> list[Lesson]:
        paths = [*sources, str(tmp_path / "nowhere")]
        return [Lesson(tmp_path / folder, source, config=tiny_on_vectors) for source in paths]

    (complaint,) = learn_together(lessons("here"))
    (other,) = learn_together(lessons("there"), seen.append, lambda wakings: wake_on_ray(wakings, seen.append))
    assert other == complaint
    assert_same_weights(Life.open(tmp_path / "here"), Life.open(tmp_path / "there"))
    assert any(isinstance(event, Notice) and "3 lessons wake, 2 at a time" in str(event) for event in seen)
    assert {event.place.phase for event in seen if isinstance(event, Progress)} >= {"teach", "consolidate"}


def test_the_command_learns_a_folder_of_lessons(
    ray_cluster: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    photos: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distributed.cluster.session.ray_session", lambda **_: nullcontext())  # there is one
    lessons = tmp_path / "lessons"
    lessons.mkdir()
    for name, colours in (("first", ("red", "green")), ("second", ("blue",))):
        shutil.copytree(photos(*colours), lessons / name)
    (lessons / "third").mkdir()
    words = ["learn", "--life", str(tmp_path / "life"), "--lessons", str(lessons), "--encoder", "efficientnet-lite0@32"]
    assert main([*words, "--num-workers", "1", "--sleep.steps", "20", "--wake.head-steps", "20"]) == 2
    assert "third is left out: " in " ".join(capsys.readouterr().err.split())
    life = Life.open(tmp_path / "life")
    assert life.class_names == ["green", "red", "blue"]
    assert [lesson.name for lesson in life.lessons] == ["first", "second"]


def test_the_command_learns_the_tasks_of_a_stream(
    ray_cluster: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write_vectors: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("distributed.cluster.session.ray_session", lambda **_: nullcontext())  # there is one
    data = write_vectors(tmp_path / "four.npz", ("ash", "birch", "cedar", "date"))
    words = ["--dataset", data, "--num-tasks", "2", "--wake.adapt-steps", "20", "--sleep.steps", "20"]
    words += ["--strategies", "mygo", "--num-workers", "1", "--side-by-side", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    assert "Side by side, not sequential" in capsys.readouterr().out
    results = json.loads((tmp_path / "out" / "side-by-side.json").read_text())
    assert results["average_accuracy"]["task_il"] > 0.5
    assert results["seconds"] > 0
    runs = {path.name for path in (tmp_path / "out" / "tensorboard").iterdir()}
    assert runs == {"mygo", "mygo-wake-1", "mygo-wake-2"}
    assert main(words) == 2
    assert "pass --resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0
    assert f"{results['seconds']:.0f} s" in capsys.readouterr().out
