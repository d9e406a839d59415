"""Ray Train's trainer, with its workers in room that was reserved before.

Ray starts an actor for its controller, and others for what nothing here needs. Each is a process that imports Ray Train
anew: on two slow cores that is 10 s before the first training worker starts, and again whenever the workers start
again. And Ray requests the workers' room apart from the dreamers': two runs that each have one part would wait for each
other. So the controller is part of the process that calls ``fit()``, and puts the workers into the room, as long as
Ray's private names allow (see `distributed.cluster.ray_internals`).

Where they do not, Ray's trainer is taken as it is, which trains the same. Its workers request a byte of memory from Ray
each, on the nodes of their bundles, and use the room beside: it is reserved all at once or not at all, as ever. What is
not as with a controller of one's own: a worker ends with its controller, not with its bundle; when a node is lost while
workers start, Ray Train waits a minute before all are placed anew; and after a trial that Tune stops, the byte and a
sleeping helper of Ray's stay until Ray's dashboard, if there is one, says that the trial is over.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ray
import torch
from ray import train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.placement_group import placement_group_table
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from distributed.cluster import ray_internals
from distributed.cluster.capacity import Reservation

TOKEN = {"memory": 1.0}
"""What a worker requests from Ray Train where its room is held for it; a bundle cannot be empty."""
NODE_LABEL = "ray.io/node-id"
"""The label that Ray gives each node."""

GpusOfNodes = Mapping[str, Sequence[str]]
"""The number of the GPU of each worker on a node, by the node's id."""


def trainer_in(
    room: Reservation, on_each: Callable[[], Any], torch_config: TorchConfig, folder: str, name: str
) -> TorchTrainer:
    """Return what runs ``on_each`` on all workers, in their ``room``, which has a placement group.

    It keeps what Ray keeps as ``name`` in ``folder``.
    """
    assert room.group is not None
    placement = room.placement
    kind = ray_internals.own_trainer(room.group, room.worker_bundles)
    scaling: dict[str, Any] = {"num_workers": placement.num_workers}
    failures: dict[str, Any] = {}
    if kind is not None:
        scaling |= {"use_gpu": placement.use_gpu, "resources_per_worker": placement.worker}
    else:
        kind = TorchTrainer
        labels = [{NODE_LABEL: node} for node in nodes_of_workers(room)]
        scaling |= {"resources_per_worker": TOKEN, "label_selector": labels}
        failures["controller_failure_limit"] = 0  # or it would wait for ever for a node that was lost
    trainer: TorchTrainer = kind(
        on_each,
        torch_config=torch_config,
        scaling_config=ScalingConfig(**scaling),
        run_config=RunConfig(name=name, storage_path=folder, failure_config=FailureConfig(**failures)),
    )
    return trainer


def nodes_of_workers(room: Reservation) -> list[str]:
    """Return the ids of the nodes on which the bundles of the workers of ``room`` are, in their order."""
    nodes = placement_group_table(room.group)["bundles_to_node_id"]
    return [nodes[bundle] for bundle in room.worker_bundles]


# -- GPUs of workers whose room is beside them ------------------------------------------------------------------------


def gpus_to_take(room: Reservation) -> GpusOfNodes | None:
    """Return which GPUs the workers of ``room`` have to take by themselves; None where Ray gives them theirs."""
    assert room.group is not None
    placement = room.placement
    if not placement.use_gpu or ray_internals.own_trainer(room.group, room.worker_bundles) is not None:
        return None
    gpu_here = ray.remote(num_cpus=0, num_gpus=placement.gpus_per_worker)(number_of_gpu)
    strategies = [PlacementGroupSchedulingStrategy(room.group, bundle) for bundle in room.worker_bundles]
    numbers = ray.get([gpu_here.options(scheduling_strategy=strategy).remote() for strategy in strategies])
    gpus: dict[str, list[str]] = {}
    for node, number in zip(nodes_of_workers(room), numbers, strict=True):
        gpus.setdefault(node, []).append(number)
    return gpus


def number_of_gpu() -> str:
    """Return the number of the GPU that Ray gave this process."""
    (number,) = ray.get_gpu_ids()
    return str(number)


def take_gpu(gpus: GpusOfNodes) -> None:
    """Make this training worker see its GPU of ``gpus`` alone, before PyTorch looks for GPUs."""
    here = gpus[ray.get_runtime_context().get_node_id()]
    os.environ["CUDA_VISIBLE_DEVICES"] = here[train.get_context().get_local_rank()]


def device_of_worker(gpus: GpusOfNodes | None) -> torch.device:
    """Return the device of this training worker, which took it of ``gpus`` or was given it by Ray."""
    return get_device() if gpus is None else torch.device("cuda", 0)
