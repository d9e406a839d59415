"""One trial: a whole life with settings of its own, on the code of the main command."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
import ray.tune
import torch
from filelock import FileLock
from ray.tune import PlacementGroupFactory

from distributed.cluster.placement import Placement
from distributed.job import unpack_registries
from distributed.training.trainer import run_on_ray
from mygo.config.settings import change
from mygo.cycle import settled
from mygo.errors import InputError, MygoError
from mygo.events import Evaluated, Event, tee
from mygo.files import read_json, write_json
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life
from mygo.memory.cache import MemoryCache
from mygo.phase import PhaseContext
from mygo.reporting.tensorboard import TensorBoardLogger
from mygo.training.process_group import SingleProcess
from mygo.wake import memory_key, trained_memory

STRATEGY = "mygo"
GPU_SHARE_AHEAD = 0.1
"""Share of a GPU that is left for the training of memories ahead of the trials."""

NICENESS = 19
"""How far trials give way to the training of memories, on a scale on which Ray starts all of its processes at 15."""

TRIALS_PER_CORE = 2
"""Trials that share a core or a GPU, of those that live in one process: at first most wait for memories."""


@dataclass(frozen=True)
class Point:
    """What one trial tries: settings by their dotted names, with a seed, on validation or test images."""

    settings: Mapping[str, Any]
    seed: int
    validation_share: float

    @property
    def name(self) -> str:
        """A name that is the same for the same trial, also in another process."""
        parts = json.dumps([dict(self.settings), self.seed, self.validation_share], sort_keys=True)
        return hashlib.sha256(parts.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Plan:
    """What all trials of a sweep share."""

    base: ExperimentConfig
    """The defaults that settings change."""
    out: Path
    memory_cache: Path | None
    """The store of memories, or None where every trial trains its own."""
    placement: Placement
    """What one trial gets."""
    registries: bytes | None = None
    """The networks that the sweep's process knows by name; None for no more than come with MyGO."""
    features: Path | None = None
    """Index of the vectors that the sweep's process encoded for all trials; None over pixels."""
    encoder_weights: Path | None = None
    """File with the weights of the encoder, where trials that adapt it do not find them themselves."""

    def experiment(self, point: Point) -> Experiment:
        """Return the life that ``point`` tries.

        Raises:
            InputError: its settings do not exist or cannot be.
        """
        life = change(self.base.life, {**point.settings, "seed": point.seed})
        config = replace(self.base, life=life, validation_share=point.validation_share, strategies=(STRATEGY,))
        return Experiment(
            config,
            self.folder(point),
            memory_cache=self.memory_cache,
            encoder_weights=self.encoder_weights,
            features=self.features,
        )

    def folder(self, point: Point) -> Path:
        """Return the folder of the trial of ``point``."""
        return self.out / "trials" / point.name

    def record_file(self, point: Point) -> Path:
        """Return the file in which the sweep writes down what became of the trial of ``point``."""
        return self.folder(point) / "trial.json"

    def error_file(self, point: Point) -> Path:
        """Return the file in which a trial of ``point`` that fails says why."""
        return self.folder(point) / "error.json"

    def tensorboard(self, point: Point) -> Path:
        """Return the TensorBoard run of the trial of ``point``."""
        return self.out / "tensorboard" / point.name

    @property
    def trains_ahead(self) -> bool:
        """Whether one process can train memories before the trials need them.

        Those that several workers train have another address in the store. Gaussians are fitted in a moment, by the
        first trial that needs them.
        """
        return self.memory_cache is not None and self.features is None and self.placement.num_workers == 1

    @property
    def resources(self) -> PlacementGroupFactory:
        """What Tune sets aside for one trial, all at once.

        A life in the trial's own process takes a core or a GPU. With several workers it is theirs and the dreamers',
        behind a token for the trial's process (a bundle cannot be empty).
        """
        if self.placement.num_workers == 1:
            return PlacementGroupFactory([{"CPU": self.cpus, "GPU": self.gpus}])
        return PlacementGroupFactory([{"memory": 1.0}, *self.placement.bundles])

    @property
    def device(self) -> str:
        """The device of a trial that lives in one process."""
        return "cuda" if self.placement.use_gpu else "cpu"

    @property
    def cpus(self) -> float:
        """CPUs that one trial takes, all of its parts counted."""
        place = self.placement
        if place.num_workers == 1:
            return 1 / TRIALS_PER_CORE
        return place.cpus

    @property
    def gpus(self) -> float:
        """GPUs that one trial takes."""
        place = self.placement
        if place.num_workers == 1:
            return place.use_gpu * (1 - GPU_SHARE_AHEAD) / TRIALS_PER_CORE
        return place.gpus

    def concurrent_trials(self, resources: Mapping[str, float]) -> int:
        """Return how many trials a cluster with ``resources`` holds at once.

        Raises:
            InputError: not even one.
        """
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        fitting = min(cpus // self.cpus, gpus // self.gpus if self.gpus else float("inf"))
        if fitting < 1:
            raise InputError(
                f"A trial needs {self.cpus:g} CPUs and {self.gpus:g} GPUs, but the cluster has {cpus:g} CPUs and "
                f"{gpus:g} GPUs: ask for fewer workers or dreamers, or add nodes."
            )
        return int(fitting)


def run_trial(point: Point, plan: Plan) -> None:
    """Live the life of ``point`` as a trial of Tune; what goes wrong is also written down for the person."""
    file = plan.error_file(point)
    if plan.registries is not None:
        unpack_registries(plan.registries)
    file.unlink(missing_ok=True)
    plan.folder(point).mkdir(parents=True, exist_ok=True)
    try:
        # A search may try the same settings twice at once: the second trial waits, and finds the first one's life.
        with FileLock(plan.folder(point) / "lock"):
            live_and_report(point, plan)
    except Exception as error:
        write_json(file, {"error": str(error) if isinstance(error, MygoError) else f"{type(error).__name__}: {error}"})
        raise


def live_and_report(point: Point, plan: Plan) -> None:
    """Live the life of ``point``, from where an interrupted sweep left it, and report to Tune after each task."""
    experiment = plan.experiment(point)
    num_tasks = experiment.config.num_tasks

    reported = 0

    def report(rows: Sequence[Sequence[float]]) -> None:
        nonlocal reported
        for row in rows[reported:]:
            reported += 1
            ray.tune.report(metrics_of(row, num_tasks))

    life = plan.folder(point) / "life" / STRATEGY
    if Life.exists(life):
        report(Life.open(life).record.class_il)
    if reported == num_tasks or was_stopped(plan.record_file(point)):
        return

    def report_evaluation(event: Event) -> None:
        if isinstance(event, Evaluated):
            report(event.class_il)

    board = TensorBoardLogger(plan.tensorboard(point).parent, run=point.name)
    try:
        if plan.placement.num_workers > 1:
            run_on_ray(experiment, plan.placement, tee(board, report_evaluation))
        else:
            torch.set_num_threads(1)
            # The memories that all trials wait for come first.
            os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
            experiment.run(SingleProcess(plan.device), on_event=tee(board, report_evaluation))
    finally:
        board.close()


def metrics_of(row: Sequence[float], num_tasks: int) -> dict[str, Any]:
    """Return what a trial reports after the tasks whose class-IL accuracies are ``row``.

    ``score`` counts tasks still to come as wrong. Trials at the same task compare by it as by class-IL, and one that
    was stopped early, with fewer and so easier classes, does not look better to the searcher than one that lived on.
    """
    return {"tasks": len(row), "class_il": sum(row) / len(row), "score": sum(row) / num_tasks}


def was_stopped(record: Path) -> bool:
    """Return whether the trial of this ``record`` was stopped for being weak."""
    return record.exists() and bool(read_json(record)["status"] == "stopped")


def train_memories(point: Point, plan: Plan) -> None:
    """Train the memories that all trials of a search share, one after another, while trials begin with the first.

    They are the ones that `mygo.wake.memorise` would train at first. Whether one is good enough is for the trials to
    judge, which have fast learners. This is for a plan that `trains_ahead`.
    """
    assert plan.memory_cache is not None
    if plan.registries is not None:
        unpack_registries(plan.registries)
    experiment = plan.experiment(point)
    torch.set_num_threads(1)
    stream = experiment.open_stream()
    life = Life(STRATEGY, experiment.config.life, stream.input_shape)
    context = settled(life, PhaseContext(SingleProcess(plan.device), cache=MemoryCache(plan.memory_cache)))
    start = None
    for task in stream.tasks:
        life.cycles = task.index
        data, key = stream.take_training_data(task), memory_key(life)
        memory = trained_memory(life, len(task.classes), data, key, start, context)
        start = memory if life.config.memory.gan.warm_start else None
