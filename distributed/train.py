"""An experiment on Ray: all its lives inside one `TorchTrainer.fit()`, since starting a worker group takes long."""

import functools
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch
from ray import train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from distributed.dreamers import PooledDreams, start_dreamers
from distributed.placement import Placement
from distributed.relay import RelayedJournal, relay
from mygo.errors import InputError, MygoError
from mygo.experiment import Experiment
from mygo.journal import Journal, silent
from mygo.team import Ranks


@dataclass(frozen=True)
class WorkerTask:
    """What every training worker is given."""

    experiment: Experiment
    dreamers: Sequence[Any]
    mailbox: Any
    threads: int


def run_on_ray(experiment: Experiment, placement: Placement, journal: Journal = silent) -> dict[str, Any]:
    """Run ``experiment`` on the Ray that this process is connected to, and return its results.

    Raises:
        MygoError: what a worker raised for a person to know.
        ray.train.TrainingFailedError: anything else that ended the workers.
    """
    smallest = experiment.config.life.smallest_batch
    if placement.num_workers > smallest:
        raise InputError(f"--num-workers {placement.num_workers} cannot share a batch of {smallest}: ask for fewer.")
    if experiment.out is None or not experiment.out.is_absolute():
        raise ValueError(f"workers need an absolute folder that all of them see, not {experiment.out}")
    ray_folder = experiment.out / "ray"
    dreamers = start_dreamers(
        placement.num_dreamers, cpus_each=placement.cpus_per_dreamer, threads=placement.threads_per_dreamer
    )
    with relay(journal) as mailbox:
        task = WorkerTask(experiment, dreamers, mailbox, threads=placement.threads_per_worker)
        trainer = TorchTrainer(
            # Ray's annotation does not know that a training function may return something.
            functools.partial(live_on_worker, task),  # type: ignore[arg-type]
            torch_config=TorchConfig(backend="nccl" if placement.use_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=placement.num_workers,
                use_gpu=placement.use_gpu,
                resources_per_worker={"CPU": placement.cpus_per_worker},
            ),
            # Lives resume from their own folders; a fresh name keeps Ray from resuming anything of its own.
            run_config=RunConfig(name=f"fit-{uuid.uuid4().hex[:8]}", storage_path=str(ray_folder)),
        )
        try:
            result: Any = trainer.fit()
        except train.WorkerGroupError as failure:
            for error in failure.worker_failures.values():
                if isinstance(error, MygoError):
                    raise error from failure
            raise
        finally:
            # Not left to reference counting: an exception's traceback would keep them, and their cores.
            for dreamer in dreamers:
                ray.kill(dreamer)
    shutil.rmtree(ray_folder)
    results: dict[str, Any] = result.return_value
    return results


def live_on_worker(task: WorkerTask) -> dict[str, Any]:
    """Run the experiment as one of the training workers."""
    torch.set_num_threads(task.threads)
    journal = RelayedJournal(task.mailbox)
    try:
        return task.experiment.run(Ranks(get_device()), PooledDreams(task.dreamers), journal)
    finally:
        journal.flush()
