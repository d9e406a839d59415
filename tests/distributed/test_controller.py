from pathlib import Path

import pytest
import ray
from ray._private.state import actors
from ray.train import RunConfig, ScalingConfig, WorkerGroupError

from distributed.controller import Trainer


def fit(folder: Path, answer: str) -> str:
    """Return what one worker that is asked to ``answer`` said; it cannot say nothing."""

    def say() -> str:
        assert answer, "nothing to say"
        return answer

    run = RunConfig(name="saying", storage_path=str(folder))
    trainer = Trainer(say, scaling_config=ScalingConfig(num_workers=1), run_config=run)  # type: ignore[arg-type]
    said: str = trainer.fit().return_value  # type: ignore[attr-defined]
    return said


def started_since(before: set[str]) -> set[str]:
    """Return the classes of the actors that were started since there were those called ``before``."""
    return {actor["ActorClassName"] for name, actor in actors().items() if name not in before}


def test_a_driver_starts_the_workers_and_what_they_meet_at_and_nothing_else(ray_cluster: None, tmp_path: Path) -> None:
    before = set(actors())
    assert fit(tmp_path, "good night") == "good night"
    assert started_since(before) == {"RayTrainWorker", "SynchronizationActor"}


def test_a_driver_is_told_which_worker_failed_and_how(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(WorkerGroupError) as caught:
        fit(tmp_path, "")
    assert str(caught.value.worker_failures[0]).startswith("nothing to say")


def test_in_an_actor_something_outlives_it_that_frees_the_workers_cores(ray_cluster: None, tmp_path: Path) -> None:
    before = set(actors())

    @ray.remote(num_cpus=0)
    class Trial:
        def fit(self, folder: Path) -> str:
            return fit(folder, "good night")

    trial = Trial.remote()
    assert ray.get(trial.fit.remote(tmp_path)) == "good night"
    assert "PlacementGroupCleaner" in started_since(before)
