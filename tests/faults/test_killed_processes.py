"""Processes of a run that are killed: the life goes on, and ends as one that nobody disturbed."""

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.processes import processes_of
from distributed.cluster.placement import place
from distributed.training.trainer import run_on_ray
from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.events import Event, Notice, Progress
from mygo.jobs.experiment import Experiment

WHAT_COUNTS = ("accuracy_matrix", "label_fidelity", "frechet_distance", "memory_bytes")


def kill_all(name: str) -> None:
    """SIGKILL every process of an actor class of the Ray that the tests began."""
    pids = processes_of(os.getpid(), f"ray::{name}")
    assert pids, name
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def longer(tiny_experiment: Experiment) -> Experiment:
    """Phases that take some seconds, and points saved within them."""
    settings = {"memory.gan.steps": 300, "sleep.steps": 300, "sleep.steps_per_block": 4}
    life: LifeConfig = change(tiny_experiment.config.life, settings)
    config = dataclasses.replace(tiny_experiment.config, life=life)
    return dataclasses.replace(tiny_experiment, config=config, save_every=0.1)


def test_a_life_survives_a_worker_lost_awake_all_dreamers_at_once_and_a_worker_lost_asleep(
    ray_cluster: None, longer: Experiment, tmp_path: Path
) -> None:
    kills: dict[tuple[str, int], Callable[[], None]] = {
        ("memorise", 150): lambda: kill_all("RayTrainWorker"),
        ("consolidate", 50): lambda: kill_all("DreamerActor"),
        ("consolidate", 200): lambda: kill_all("RayTrainWorker"),
    }
    told: list[str] = []
    first_steps: list[tuple[str, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            told.append(event.text)
            if "Restart" in event.text:
                first_steps.append(("", 0))
        if isinstance(event, Progress) and event.place.task == 1:
            here = (event.place.phase, event.step)
            if first_steps and first_steps[-1] == ("", 0):
                first_steps[-1] = here
            if kill := kills.pop(here, None):
                kill()

    found = run_on_ray(longer, place({"CPU": 2}, 1, 2), listen, max_failures=2)["strategies"]["mygo"]
    assert kills == {}
    first, *of_dreamers, last = told
    assert "Restart 1 of 2" in first
    assert "Restart 2 of 2" in last
    assert of_dreamers == ["A dreamer was lost and has started again; its dreams are the same."] * 2
    assert [phase for phase, _ in first_steps] == ["memorise", "consolidate"]
    assert all(step > 0 for _, step in first_steps), "from points within the phases"
    expected = dataclasses.replace(longer, out=tmp_path / "undisturbed").run()["strategies"]["mygo"]
    for key in WHAT_COUNTS:
        assert found[key] == expected[key], key
