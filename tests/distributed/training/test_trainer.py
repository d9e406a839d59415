import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
import torch
from ray import cloudpickle
from ray.train import ControllerError, WorkerGroupError
from torch import nn

from distributed.cluster.placement import place
from distributed.job import REGISTRIES
from distributed.training import trainer as train
from distributed.training.trainer import WorkersLostError, run_on_ray
from mygo.baselines.registry import STRATEGIES, use_strategy
from mygo.config.learner import LifeConfig, MemoryConfig
from mygo.config.presets import preset
from mygo.config.settings import change
from mygo.errors import InputError, MemoryQualityError
from mygo.events import Dreamt, Evaluated, Event, Notice, PhaseEnded, Progress
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.networks.generator import ConvGenerator, use_generator
from mygo.networks.neocortex import use_backbone

Losses = dict[tuple[str, int, int], dict[str, float]]


def losses_of(events: list[Event]) -> Losses:
    return {(e.place.phase, e.place.task, e.step): dict(e.scalars) for e in events if isinstance(e, Progress)}


def assert_close(some: Losses, others: Losses, tolerance: float) -> None:
    assert some.keys() == others.keys()
    for key in some:
        assert some[key] == pytest.approx(others[key], abs=tolerance), key


@pytest.fixture(scope="module")
def lived(ray_cluster: None, tiny_life, tmp_path_factory) -> dict[str, tuple[dict, Losses, list[Event]]]:
    """The same short life alone, with one Ray worker and with two; every phase has 20 steps, all journalled."""
    config = ExperimentConfig(num_tasks=2, strategies=("mygo",), life=tiny_life)
    lives = {}
    for name, workers, dreamers in (("alone", 0, 0), ("one", 1, 2), ("two", 2, 1)):
        experiment = Experiment(config, tmp_path_factory.mktemp(name) / "out", log_every=1)
        events: list[Event] = []
        if workers:
            results = run_on_ray(experiment, place({"CPU": 2}, workers, dreamers), events.append)
        else:
            results = experiment.run(on_event=events.append)
        lives[name] = (results, losses_of(events), events)
    return lives


class EnoughError(Exception):
    """Ends a life where a test wants it."""


def twenty_steps_a_phase(config: LifeConfig) -> LifeConfig:
    """Return the same learner with 20 steps in every phase, and content with any memory."""
    gan = dataclasses.replace(config.memory.gan, steps=20)
    return dataclasses.replace(
        config,
        wake=dataclasses.replace(config.wake, head_steps=20, adapt_steps=20),
        memory=dataclasses.replace(config.memory, gan=gan, fidelity_floor=0.0, diversity_floor=0.0),
        sleep=dataclasses.replace(config.sleep, steps=20),
    )


@pytest.mark.parametrize(
    ("start", "phases"),
    [((0, "evaluate"), ("learn", "adapt", "memorise")), ((1, "memorise"), ("consolidate",))],
    ids=["waking", "sleeping"],
)
def test_two_workers_have_the_losses_of_one_over_twenty_steps(
    start: tuple[int, str], phases: tuple[str, ...], ray_cluster: None, tmp_path: Path
) -> None:
    """Both go on from the same saved state, in the default networks for digits."""

    def stop_at_start(event: Event) -> None:
        if isinstance(event, PhaseEnded) and (event.place.task, event.place.phase) == start:
            raise EnoughError

    config = ExperimentConfig(num_tasks=2, strategies=("mygo",), life=twenty_steps_a_phase(preset("digits")))
    saved = tmp_path / "saved"
    with pytest.raises(EnoughError):
        Experiment(config, saved).run(on_event=stop_at_start)
    one, two = (Experiment(config, tmp_path / name, log_every=1) for name in ("one", "two"))
    events: tuple[list[Event], list[Event]] = ([], [])
    for experiment in (one, two):
        assert experiment.out is not None
        shutil.copytree(saved, experiment.out)
    one.run(on_event=events[0].append)  # as one worker on Ray would, to the bit
    run_on_ray(two, place({"CPU": 2}, 2, 1), events[1].append)
    losses = [{key: value for key, value in losses_of(told).items() if key[0] in phases} for told in events]
    assert set(losses[0]) == {(phase, 1, step) for phase in phases for step in range(20)}
    assert_close(losses[0], losses[1], 1e-4)


def test_one_worker_lives_exactly_as_a_process_without_ray(lived) -> None:
    results_alone, alone, _ = lived["alone"]
    results_one, one, _ = lived["one"]
    assert_close(alone, one, 0)
    for key in ("accuracy_matrix", "expected_calibration_error", "label_fidelity", "memory_bytes"):
        assert results_alone["strategies"]["mygo"][key] == results_one["strategies"]["mygo"][key]


def test_all_events_reach_the_driver_in_order(lived) -> None:
    _, _, events = lived["two"]
    phases = [(e.place.task, e.place.phase) for e in events if isinstance(e, PhaseEnded)]
    names = ["learn", "adapt", "memorise", "consolidate", "calibrate", "evaluate"]
    assert phases == [(task, name) for task in range(2) for name in names]
    assert sum(isinstance(e, Dreamt) for e in events) == 2
    assert isinstance(events[-1], Evaluated)


def test_what_a_worker_raises_for_a_person_arrives_as_it_is(ray_cluster: None, tiny_experiment: Experiment) -> None:
    config = tiny_experiment.config
    memory = MemoryConfig(gan=config.life.memory.gan, diversity_floor=1e9, attempts=1)
    hopeless = dataclasses.replace(config, life=dataclasses.replace(config.life, memory=memory))
    with pytest.raises(MemoryQualityError, match="1 generators stayed below the floor"):
        run_on_ray(dataclasses.replace(tiny_experiment, config=hopeless), place({"CPU": 2}, 1, 1))


def test_more_workers_than_a_batch_has_examples_are_refused(tiny_experiment: Experiment) -> None:
    with pytest.raises(InputError, match="--num-workers 17 cannot share a batch of 16"):
        run_on_ray(tiny_experiment, place({"CPU": 32}, 17, 1))


def test_a_relative_out_is_refused(tiny_experiment: Experiment) -> None:
    with pytest.raises(ValueError, match="absolute"):
        run_on_ray(dataclasses.replace(tiny_experiment, out=Path("out")), place({"CPU": 2}))


class Fits:
    """Stands in for `distributed.training.trainer.fit`, and fails as often as it is told to."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self, experiment: Experiment, *_: object) -> dict:
        self.calls += 1
        if self.failures:
            failure = self.failures.pop(0)
            raise failure if isinstance(failure, ControllerError) else WorkerGroupError("workers failed", {1: failure})
        assert experiment.out is not None
        (experiment.out / "ray").mkdir(parents=True)
        return {"lived": True}


def test_lost_workers_start_again_and_the_person_is_told(
    ray_cluster: None, tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = Fits(RuntimeError("Connection closed by peer"), ControllerError(TimeoutError("no such node\nmore")))
    monkeypatch.setattr(train, "fit", fits)
    events: list[Event] = []
    results = run_on_ray(tiny_experiment, place({"CPU": 2}, 2, 1), events.append, max_failures=2)
    assert results == {"lived": True}
    assert fits.calls == 3
    assert [event.text for event in events if isinstance(event, Notice)] == [
        "Worker 1 of the training workers failed (RuntimeError: Connection closed by peer). "
        "Restart 1 of 2, from the last saved point.",
        "The training workers did not start (TimeoutError: no such node). Restart 2 of 2, from the last saved point.",
    ]


def test_workers_that_are_lost_too_often_end_the_run_with_what_to_do(
    ray_cluster: None, tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = Fits(RuntimeError("first"), RuntimeError("second"))
    monkeypatch.setattr(train, "fit", fits)
    with pytest.raises(WorkersLostError, match=r"second\). That was failure 2 and --max-failures is 1: .* --resume"):
        run_on_ray(tiny_experiment, place({"CPU": 2}, 1, 1), max_failures=1)
    assert fits.calls == 2


def test_what_a_worker_raises_for_a_person_is_not_tried_again(
    ray_cluster: None, tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = Fits(MemoryQualityError("hopeless"))
    monkeypatch.setattr(train, "fit", fits)
    with pytest.raises(MemoryQualityError, match="hopeless"):
        run_on_ray(tiny_experiment, place({"CPU": 2}, 1, 1), max_failures=3)
    assert fits.calls == 1


def own_features(image_shape: tuple[int, int, int]) -> nn.Module:
    """Return a network of one's own; workers import it from this file or, if they cannot, are given it."""
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(image_shape).numel(), 16), nn.ReLU())


def test_networks_and_strategies_of_ones_own_reach_workers_and_dreamers(
    ray_cluster: None, tiny_experiment: Experiment
) -> None:
    """What is made known here, and not there, is not part of any package: it travels by value."""
    module = sys.modules[own_features.__module__]
    cloudpickle.register_pickle_by_value(module)
    try:
        use_backbone("own", own_features)
        use_generator("own", lambda *shapes, **sizes: ConvGenerator(*shapes, **sizes))
        use_strategy("own-strategy", STRATEGIES["finetune"].wake["finetune"])
        life = change(tiny_experiment.config.life, {"backbone": "own", "memory.gan.generator": "own"})
        config = dataclasses.replace(tiny_experiment.config, strategies=("mygo", "own-strategy"), life=life)
        results = run_on_ray(dataclasses.replace(tiny_experiment, config=config), place({"CPU": 2}, 1, 1))
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        for registry in REGISTRIES:
            for name in ("own", "own-strategy"):
                registry.pop(name, None)
    assert list(results["strategies"]) == ["mygo", "own-strategy"]
    assert results["strategies"]["mygo"]["computed"]["workers"] == 1
