"""What the stages of a sweep choose and start, without trials."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import ray
from rich.console import Console

from distributed.cluster.placement import place
from mygo.jobs.experiment import ExperimentConfig
from tune.board import TrialRecord
from tune.space import search_space
from tune.stages import Stages
from tune.trial import Plan, Point, train_memories


def stages_in(out: Path, **changes: Any) -> Stages:
    base = ExperimentConfig(num_tasks=1)
    placement = place({"CPU": 2}, changes.pop("num_workers", 1), most_threads=1)
    plan = Plan(base, out, changes.get("memory_cache", out / "memories"), placement, features=changes.get("features"))
    return Stages(plan, search_space("sleep", base.life, ("sleep.steps",)), 1, Console(quiet=True))


def finished(points: Sequence[Point], class_il: dict[int, float]) -> list[TrialRecord]:
    """Return trials of ``points`` that came to their end, with the ``class_il`` of their ``sleep.steps``."""
    return [
        TrialRecord(number, point, "finished", [class_il[point.settings["sleep.steps"]]])
        for number, point in enumerate(points, 1)
    ]


def test_settings_that_were_tried_twice_are_compared_again_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = stages_in(tmp_path)
    default = stages.defaults["sleep.steps"]
    class_il = {default: 0.5, 1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6}
    compared: list[Point] = []

    def run_points(stage: str, title: str, points: Sequence[Point]) -> list[TrialRecord]:
        compared.extend(points)
        return finished(points, class_il)

    monkeypatch.setattr(stages, "run_points", run_points)
    tried = [Point({"sleep.steps": steps}, 0, 0.2) for steps in (default, 3, 1, 2, 1, default, 4, 2)]
    scores = stages.compare_again(finished(tried, class_il), finalists=3, num_seeds=2, share=0.2)
    settings = [point.settings["sleep.steps"] for point in compared]
    assert settings == [default, default, 1, 1, 2, 2, 3, 3]
    assert len({point.name for point in compared}) == len(compared)
    assert [entry["settings"]["sleep.steps"] for entry in scores] == [1, 2, 3, default]


@pytest.mark.parametrize(
    ("changes", "starts"),
    [
        ({}, True),
        ({"num_workers": 2}, False),
        ({"memory_cache": None}, False),
        ({"features": Path("index.json")}, False),
    ],
)
def test_memories_are_trained_ahead_only_where_trials_would_find_them(
    changes: dict[str, Any], starts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = stages_in(tmp_path, **changes)
    started: list[Any] = []

    class Remote:
        """Stands in for Ray, and notes what is started and cancelled."""

        def __init__(self, function: Any) -> None:
            self.function = function

        def options(self, **_: Any) -> "Remote":
            return self

        def remote(self, *_: Any) -> "Remote":
            started.append(self.function)
            return self

    cancelled: list[Any] = []
    monkeypatch.setattr(ray, "remote", Remote)
    monkeypatch.setattr(ray, "cancel", lambda task, force: cancelled.append(task.function))
    point = Point(stages.defaults, 0, 0.2)
    monkeypatch.setattr(stages, "run_trials", lambda *_, **__: [TrialRecord(1, point, "finished", [0.5])])
    stages.search("random", 1, 0.2, stop_weak=False, budget=None)
    assert started == cancelled == [train_memories] * starts
