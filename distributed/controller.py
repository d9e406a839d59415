"""Ray Train's controller in the process that calls ``fit()``.

Ray starts an actor for it, and others for what nothing here needs. Each is a process that imports Ray Train anew: on
two slow cores that is 10 s before the first training worker starts, and again whenever the workers start again.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.train import Result
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import Worker, WorkerGroup


class Trainer(TorchTrainer):
    """Ray's, with its controller in this process where that is a driver: what it starts ends with the driver anyway.

    In an actor, such as a trial of Ray Tune, all but the actor for Ray Data's sets, of which there are none, is as Ray
    makes it: there only a helper of Ray's frees the workers' cores when the actor is killed.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]  # whose type Ray does not tell
        needless = (DatasetsCallback, PlacementGroupCleanerCallback) if in_driver() else DatasetsCallback
        return [each for each in callbacks if not isinstance(each, needless)]

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        if not in_driver():
            result: Result = super()._initialize_and_run_controller(**settings)  # type: ignore[misc]
            return result
        policy = FixedNumber(settings["scaling_policy"].scaling_config)
        controller = Controller(**settings | {"scaling_policy": policy})
        asyncio.run(controller.run())  # type: ignore[no-untyped-call]
        return controller.get_result()


def in_driver() -> bool:
    """Tell whether this process is the one that the cluster works for, rather than one of its actors."""
    return ray.get_runtime_context().get_actor_id() is None


class FixedNumber(FixedScalingPolicy):
    """A fixed number of workers, for whom the placement group asks.

    Ray's policy also tells an actor that divides a cluster between Ray Train and Ray Data, which is not used.
    """

    def after_controller_start(self, train_run_context: Any) -> None:
        """Tell nobody."""

    def _maybe_send_resource_request(self) -> None:
        pass


class Workers(WorkerGroup):
    """Ray's, for a controller that is no actor: workers could ask it for checkpoints, of which Ray keeps none here."""

    def _init_train_context_on_workers(
        self, workers: list[Worker], sync_actor: Any, train_context_args: Mapping[str, Sequence[Any]]
    ) -> None:
        ray.get(
            [
                worker.actor.init_train_context.remote(
                    train_run_context=self._train_run_context,
                    distributed_context=worker.distributed_context,
                    synchronization_actor=sync_actor,
                    storage_context=self._storage_context,
                    worker_callbacks=self._worker_callbacks_to_propagate,
                    controller_actor=None,
                    **{name: values[index] for name, values in train_context_args.items()},
                )
                for index, worker in enumerate(workers)
            ]
        )
        self._decorate_worker_log_file_paths(workers)


class Controller(TrainController):
    """Ray's, with workers that do not look for its actor."""

    worker_group_cls = Workers
