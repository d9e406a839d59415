from pathlib import Path

import pytest
import ray
from ray._private.state import actors  # Ray's public way to list actors needs its dashboard
from ray.train import WorkerGroupError
from ray.train.torch import TorchConfig
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from distributed.cluster.capacity import reserved
from distributed.cluster.placement import place
from distributed.cluster.ray_internals import fallbacks_forced
from distributed.training.controller import trainer_in


def fit(folder: Path, answer: str) -> str:
    """Return what one worker that is asked to ``answer`` said; it cannot say nothing."""

    def say() -> str:
        assert answer, "nothing to say"
        return answer

    with reserved(place({"CPU": 2}, 1, 1), 1, lambda event: None) as room:
        trainer = trainer_in(room, say, TorchConfig(backend="gloo"), str(folder), "saying")
        said: str = trainer.fit().return_value  # type: ignore[attr-defined]
        return said


def assert_only_workers_started_since(before: set[str]) -> None:
    """Check which actors were started since there were those called ``before``, where the controller is our own."""
    classes = {actor["ActorClassName"] for name, actor in actors().items() if name not in before}
    started = {name for name in classes if "Trial" not in name}
    expected = {"RayTrainWorker", "SynchronizationActor"}
    assert started == expected or (fallbacks_forced() and started > expected)


def test_a_driver_starts_the_workers_and_what_they_meet_at_and_nothing_else(ray_cluster: None, tmp_path: Path) -> None:
    before = set(actors())
    assert fit(tmp_path, "good night") == "good night"
    assert_only_workers_started_since(before)


def test_a_driver_is_told_which_worker_failed_and_how(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(WorkerGroupError) as caught:
        fit(tmp_path, "")
    assert str(caught.value.worker_failures[0]).startswith("nothing to say")


def test_in_a_trial_the_workers_are_in_its_own_placement_group(ray_cluster: None, tmp_path: Path) -> None:
    """Its group takes the whole cluster: anywhere else the worker would wait for ever."""
    before = set(actors())

    @ray.remote(num_cpus=0)
    class Trial:
        def fit(self, folder: Path) -> str:
            return fit(folder, "good night")

    group = placement_group([{"memory": 1.0}, {"CPU": 1}, {"CPU": 1}])
    strategy = PlacementGroupSchedulingStrategy(
        group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
    )
    try:
        trial = Trial.options(scheduling_strategy=strategy).remote()
        assert ray.get(trial.fit.remote(tmp_path), timeout=120) == "good night"
        assert_only_workers_started_since(before)
    finally:
        ray.util.remove_placement_group(group)
