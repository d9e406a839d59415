"""Ray Train's controller in the process that calls ``fit()``, with its workers in room that was reserved before.

Ray starts an actor for it, and others for what nothing here needs. Each is a process that imports Ray Train anew: on
two slow cores that is 10 s before the first training worker starts, and again whenever the workers start again. And Ray
asks for the workers' room apart from the dreamers': two runs that each have one part would wait for each other.
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
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle

from distributed.cluster.capacity import Reservation


class Trainer(TorchTrainer):
    """Ray's, with its controller in this process, a driver or a trial of Ray Tune, and its workers in the ``room``.

    The room goes with whoever asked for it, so nobody has to watch over the workers' cores: a driver's ends with the
    driver, and a trial's is freed by Tune.
    """

    def __init__(self, *args: Any, room: Reservation, **settings: Any) -> None:
        """Take what Ray's takes, and the ``room``, which has a placement group."""
        super().__init__(*args, **settings)
        self._room = room

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()  # type: ignore[misc]  # whose type Ray does not tell
        return [each for each in callbacks if not isinstance(each, DatasetsCallback | PlacementGroupCleanerCallback)]

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        policy = FixedNumber(settings["scaling_policy"].scaling_config)
        controller = TrainController(**settings | {"scaling_policy": policy})
        controller.worker_group_cls = workers_in(self._room)
        asyncio.run(controller.run())
        return controller.get_result()


class FixedNumber(FixedScalingPolicy):
    """A fixed number of workers, whose room was asked for.

    Ray's policy also tells an actor that divides a cluster between Ray Train and Ray Data, which is not used.
    """

    def after_controller_start(self, train_run_context: Any) -> None:
        """Tell nobody."""

    def _maybe_send_resource_request(self) -> None:
        pass


class ReservedRoom(DefaultPlacementGroupHandle):
    """A placement group that stays when the workers end: it is another's."""

    def shutdown(self) -> None:
        """Leave it."""


class Workers(WorkerGroup):
    """Ray's, in a room that was reserved, for a controller that is no actor.

    Workers could ask it for checkpoints, of which Ray keeps none here.
    """

    room: Reservation

    def _create_placement_group(self, *_: Any) -> ReservedRoom:
        assert self.room.group is not None
        return ReservedRoom(self.room.group)

    def _create_workers(self, num_workers: int, *args: Any, **settings: Any) -> list[Worker]:
        settings.setdefault("placement_group_bundle_indices", self.room.worker_bundles)
        workers: list[Worker] = super()._create_workers(num_workers, *args, **settings)
        return workers

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


def workers_in(room: Reservation) -> type[Workers]:
    """Return the group of workers that lives in ``room``."""
    return type("WorkersInRoom", (Workers,), {"room": room})
