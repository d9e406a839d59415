"""What is written down of trials that Tune ends, or cannot start."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.tune
from rich.console import Console

from distributed.cluster.placement import place
from mygo.files import read_json, write_json
from mygo.jobs.experiment import ExperimentConfig
from tune.board import TrialBoard
from tune.trial import Plan, Point


def point_of(config: dict[str, Any]) -> Point:
    return Point({"sleep.steps": config["steps"]}, 0, 0.2)


@pytest.fixture
def board(tmp_path: Path) -> TrialBoard:
    plan = Plan(ExperimentConfig(num_tasks=2), tmp_path / "out", None, place({"CPU": 2}, 1, most_threads=1))
    return TrialBoard("Trials", plan, Console(file=io.StringIO(), width=200), point_of)


@pytest.fixture
def tell(board: TrialBoard) -> Callable[..., None]:
    """Calls the board as Tune does: the name of the callback, the trial's number of steps, and what else it is told."""

    def tell(name: str, steps: int, **info: Any) -> None:
        trial = SimpleNamespace(trial_id=str(steps), config={"steps": steps})
        getattr(board, name)(iteration=0, trials=[trial], trial=trial, **info)

    return tell


def written(board: TrialBoard, steps: int) -> dict[str, Any]:
    return read_json(board.plan.record_file(point_of({"steps": steps})))


@pytest.mark.parametrize("ended_by", [None, KeyboardInterrupt])
def test_trials_that_run_when_the_time_or_the_sweep_ends_were_cut(
    ended_by: type[BaseException] | None, board: TrialBoard, tell: Callable[..., None]
) -> None:
    expected = pytest.raises(ended_by) if ended_by else contextlib.nullcontext()
    with expected, board:
        for steps in (1, 2, 3):
            tell("on_trial_start", steps)
            tell("on_trial_result", steps, result={"tasks": 1, "class_il": 0.5})
        tell("on_trial_result", 2, result={"tasks": 2, "class_il": 0.4})
        tell("on_trial_complete", 2)
        tell("on_trial_complete", 3)
        if ended_by:
            raise ended_by
    assert [written(board, steps)["status"] for steps in (1, 2, 3)] == ["cut", "finished", "stopped"]
    assert [record.status for record in board.records.values()] == ["cut", "finished", "stopped"]
    assert written(board, 1)["class_il"] == [0.5]
    assert written(board, 1)["seconds"] > 0


def test_a_trial_that_ended_before_stays_so_when_a_sweep_that_goes_on_is_cut(
    board: TrialBoard, tell: Callable[..., None]
) -> None:
    before = {"status": "finished", "class_il": [0.5, 0.4], "seconds": 7.0}
    write_json(board.plan.record_file(point_of({"steps": 1})), before)
    with board:
        tell("on_trial_start", 1)
    assert written(board, 1) == before
    (record,) = board.records.values()
    assert (record.status, record.class_il, record.seconds) == ("finished", [0.5, 0.4], 7.0)


def test_a_trial_that_tune_speaks_of_before_it_starts_gets_its_record_then(
    board: TrialBoard, tell: Callable[..., None]
) -> None:
    write_json(board.plan.error_file(point_of({"steps": 1})), {"error": "of the sweep before"})
    with board:
        tell("on_trial_error", 1)
        tell("on_trial_complete", 2)
        tell("on_trial_result", 3, result={"tasks": 1, "class_il": 0.5})
    assert [record.number for record in board.records.values()] == [1, 2, 3]
    assert [written(board, steps)["status"] for steps in (1, 2, 3)] == ["failed", "stopped", "cut"]
    assert written(board, 1)["error"] == "its process could not start."


def test_a_sweep_goes_on_after_a_trial_that_cannot_start(ray_cluster: None, board: TrialBoard, tmp_path: Path) -> None:
    class StartsForTwo(ray.tune.Trainable):
        """Cannot be started for one step."""

        def setup(self, config: dict[str, Any]) -> None:
            if config["steps"] == 1:
                raise RuntimeError("no room")

        def step(self) -> dict[str, Any]:
            return {"tasks": self.iteration + 1, "class_il": 0.5, "done": self.iteration == 1}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Keep nothing."""

    tuner = ray.tune.Tuner(
        StartsForTwo,
        param_space={"steps": ray.tune.grid_search([1, 2])},
        run_config=ray.tune.RunConfig(storage_path=str(tmp_path / "ray"), verbose=0, callbacks=[board]),
    )
    with board:
        tuner.fit()
    assert [written(board, steps)["status"] for steps in (1, 2)] == ["failed", "finished"]
