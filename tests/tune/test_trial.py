import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
import ray.tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from distributed.cluster.placement import place
from mygo.config.learner import LifeConfig
from mygo.errors import InputError
from mygo.jobs.experiment import ExperimentConfig
from mygo.jobs.life import Life
from tune.trial import Plan, Point, metrics_of, run_trial


def plan(cpus: int, workers: int = 1, dreamers: int | None = None, gpus: int = 0) -> Plan:
    resources = {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
    return Plan(ExperimentConfig(), Path("/out"), None, place(resources, workers, dreamers, most_threads=1))


@pytest.mark.parametrize(
    ("sizes", "resources", "trials"),
    [
        ({"cpus": 2}, {"CPU": 2}, 4),
        ({"cpus": 64}, {"CPU": 64}, 128),
        ({"cpus": 16, "gpus": 2}, {"CPU": 16, "GPU": 2}, 4),
        ({"cpus": 2, "workers": 2}, {"CPU": 2}, 1),
        ({"cpus": 8, "workers": 2}, {"CPU": 8}, 2),
        ({"cpus": 16, "workers": 2, "dreamers": 1}, {"CPU": 16}, 5),
        ({"cpus": 16, "workers": 2, "gpus": 2}, {"CPU": 16, "GPU": 2}, 1),
    ],
)
def test_as_many_trials_run_at_once_as_fit_with_all_their_parts(sizes, resources, trials) -> None:
    assert plan(**sizes).concurrent_trials(resources) == trials


def test_a_cluster_that_holds_no_trial_is_told_what_it_lacks() -> None:
    big = plan(cpus=8, workers=4, dreamers=4)
    with pytest.raises(InputError, match="A trial needs 8 CPUs and 0 GPUs, but the cluster has 6 CPUs and 0 GPUs"):
        big.concurrent_trials({"CPU": 6})


def test_tune_sets_all_parts_of_a_trial_aside_at_once() -> None:
    core = {"CPU": 1.0}
    assert plan(cpus=2).resources.bundles == [{"CPU": 0.5}]
    assert plan(cpus=8, workers=2, dreamers=2).resources.bundles == [{"memory": 1.0}, core, core, core, core]
    assert plan(cpus=2, workers=2).resources.bundles == [{"memory": 1.0}, core, core]


def test_a_point_has_a_name_of_its_own() -> None:
    point = Point({"sleep.steps": 5, "sleep.lr": 0.1}, 0, 0.2)
    assert point.name == Point({"sleep.lr": 0.1, "sleep.steps": 5}, 0, 0.2).name
    others = [
        dataclasses.replace(point, seed=1),
        dataclasses.replace(point, validation_share=0.0),
        dataclasses.replace(point, settings={"sleep.steps": 5}),
    ]
    assert len({point.name, *(other.name for other in others)}) == 4


def test_a_trial_on_test_images_has_another_stream_than_one_on_validation_images() -> None:
    point = Point({"sleep.steps": 5}, 7, 0.2)
    tried = plan(cpus=2).experiment(point)
    assert (tried.config.life.sleep.steps, tried.config.life.seed, tried.config.validation_share) == (5, 7, 0.2)
    assert tried.stream != plan(cpus=2).experiment(dataclasses.replace(point, validation_share=0.0)).stream


def test_a_plan_and_its_trials_can_travel_with_the_vectors_that_they_share() -> None:
    point = Point({"sleep.steps": 5}, 7, 0.2)
    shared = dataclasses.replace(plan(cpus=2), features=Path("/out/features/a/index.json"))
    travelled = pickle.loads(pickle.dumps(shared))
    assert travelled == shared
    assert travelled.experiment(point).features == shared.features
    assert pickle.loads(pickle.dumps(travelled.experiment(point))) == shared.experiment(point)


def test_a_trial_that_was_stopped_early_does_not_look_better_than_one_that_lived_on() -> None:
    early, late = metrics_of([1.0, 1.0], 5), metrics_of([0.8, 0.7, 0.8, 0.7, 0.8], 5)
    assert early["class_il"] > late["class_il"]
    assert early["score"] < late["score"] == pytest.approx(late["class_il"])


class StopAfterFirstTask(FIFOScheduler):
    """Finds every trial weak."""

    def on_trial_result(self, tune_controller, trial, result):
        return TrialScheduler.STOP


def test_a_stopped_trial_frees_its_workers_and_dreamers_for_the_next(
    ray_cluster: None, tiny_life: LifeConfig, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    base = ExperimentConfig(num_tasks=2, life=tiny_life)
    plan = Plan(base, tmp_path / "out", None, place(ray.cluster_resources(), 2))
    points = [Point({"sleep.lr": lr}, 0, 0.2) for lr in (1e-3, 2e-3)]
    # Each trial takes both cores, so the second one begins only when the first one's workers are gone.
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(lambda config: run_trial(points[config["point"]], plan), plan.resources),
        param_space={"point": ray.tune.grid_search([0, 1])},
        tune_config=ray.tune.TuneConfig(
            metric="score", mode="max", max_concurrent_trials=1, scheduler=StopAfterFirstTask()
        ),
        run_config=ray.tune.RunConfig(storage_path=str(tmp_path / "tune"), verbose=0),
    )
    results = tuner.fit()
    assert [result.metrics["tasks"] for result in results] == [1, 1]
    assert [Life.open(plan.folder(point) / "life" / "mygo").tasks_learned for point in points] == [1, 1]
    wait_until(lambda: ray.available_resources().get("CPU") == 2)
