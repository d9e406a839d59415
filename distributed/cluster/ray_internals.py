"""Every private name of Ray that is used here stands in this file, behind a check and with a public way beside it.

Ray changes these names without notice. Where one is gone, or is no longer called as it was, the public way is taken: it
knows less or takes longer, and trains the same. ``MYGO_RAY_FALLBACKS=1`` takes the public way everywhere.
"""

import asyncio
import importlib
import inspect
import json
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import ray
from ray.util.placement_group import PlacementGroup

FALLBACKS = "MYGO_RAY_FALLBACKS"
"""Environment variable that forces the public ways."""
CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""The question of Ray's own health checks, by gRPC; without a token, a cluster that wants one refuses it.

No public way is as quick. A head that does not know the question is taken for somebody else's server."""
JOB_DIGITS = 8
"""Hexadecimal digits at the end of a placement group's id that are the id of its job."""

Value = TypeVar("Value")


def fallbacks_forced() -> bool:
    """Return whether the public ways are to be taken everywhere."""
    return os.environ.get(FALLBACKS, "") not in ("", "0")


def private(module: str, name: str) -> Any:
    """Return what Ray's ``module`` has as ``name``; None where it has none, or where the public ways are forced."""
    if fallbacks_forced():
        return None
    try:
        return operator.attrgetter(name)(importlib.import_module(module))
    except (ImportError, AttributeError):
        return None


def call_private(module: str, name: str, *arguments: Any, otherwise: Callable[[], Value], **settings: Any) -> Value:
    """Call what Ray's ``module`` has as ``name``; where it has none that can be called so, return ``otherwise()``."""
    function = private(module, name)
    try:
        value: Value = otherwise() if function is None else function(*arguments, **settings)
    except TypeError:  # it takes other arguments by now
        return otherwise()
    return value


# -- a cluster that is there ------------------------------------------------------------------------------------------


def default_temporary_folder() -> Path:
    """Return where Ray puts its sockets, logs and notes by itself."""
    return Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp") / "ray"


def noted_address() -> str | None:
    """Return the address that `ray start` noted on this machine, if it did.

    Otherwise the note is read from where Ray 2.56 to 2.60 leave it.

    Raises:
        OSError: the note is another user's.
    """
    note = default_temporary_folder() / "ray_current_cluster"
    return call_private(
        "ray._private.utils",
        "read_ray_address",
        otherwise=lambda: note.read_text().strip() if note.exists() else None,
    )


def use_token_of_this_machine() -> bool:
    """Make this process show its token to clusters, and return whether it will.

    Otherwise it does where ``RAY_AUTH_MODE=token`` says so.
    """
    return call_private(
        "ray._private.authentication.authentication_token_setup",
        "maybe_enable_token_auth_if_token_available",
        warn_if_disabled=False,
        otherwise=lambda: os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
    )


# -- what the cluster knows -------------------------------------------------------------------------------------------


def most_resources() -> Mapping[str, float]:
    """Return the most of each resource that autoscaling can bring. Otherwise nothing: what there is has to do."""
    found: Mapping[str, float] | None = call_private(
        "ray._private.state", "state.get_max_resources_from_cluster_config", otherwise=dict
    )
    return found or {}


def nodes_that_failed_to_start() -> set[str]:
    """Return the addresses of machines that `ray up` could not start. Otherwise none: they are waited for longer."""
    key = private("ray._private.ray_constants", "DEBUG_AUTOSCALING_STATUS")
    if key is None:
        return set()
    status = call_private("ray.experimental.internal_kv", "_internal_kv_get", key, otherwise=lambda: None)
    report = json.loads(status or "{}").get("autoscaler_report", {})
    return {address for address, _ in report.get("failed_nodes", [])}


def programs() -> dict[str, str]:
    """Return what the cluster's jobs run, and where, by their ids. Otherwise nothing: they stay nameless."""
    jobs: list[Mapping[str, Any]] = call_private("ray._private.state", "jobs", otherwise=list)
    wanted = ("JobID", "Entrypoint", "DriverIPAddress", "DriverPid")
    return {
        str(job["JobID"]): f"{job['Entrypoint']} ({job['DriverIPAddress']}, process {job['DriverPid']})"
        for job in jobs
        if all(name in job for name in wanted)
    }


# -- Ray Train's controller -------------------------------------------------------------------------------------------


def own_trainer(group: PlacementGroup, bundles: Sequence[int]) -> type[Any] | None:
    """Return a `TorchTrainer` with its controller in this process and its workers in ``bundles`` of ``group``.

    Otherwise None: see `distributed.training.controller`, which does without.

    The group goes with whoever requested it, so nobody has to watch over the workers' cores: a driver's ends with the
    driver, and a trial's is freed by Tune.
    """
    found = None if fallbacks_forced() else parts_of_ray_train()
    if found is None:
        return None
    train = found

    class OwnTrainer(train.TorchTrainer):  # type: ignore[misc, name-defined]
        def _create_default_callbacks(self) -> list[Any]:
            needless = train.DatasetsCallback | train.PlacementGroupCleanerCallback
            return [each for each in super()._create_default_callbacks() if not isinstance(each, needless)]

        def _initialize_and_run_controller(self, **settings: Any) -> Any:
            policy = FixedNumber(settings["scaling_policy"].scaling_config)
            controller = train.TrainController(**settings | {"scaling_policy": policy})
            controller.worker_group_cls = workers_in(train, group, bundles)
            asyncio.run(controller.run())
            return controller.get_result()

    class FixedNumber(train.FixedScalingPolicy):  # type: ignore[misc, name-defined]
        """Ray's policy also notifies an actor that divides a cluster among Ray Train and Ray Data; it is not used."""

        def after_controller_start(self, train_run_context: Any) -> None:
            """Notify nobody."""

        def _maybe_send_resource_request(self) -> None:
            pass

        def _cancel_resource_request(self) -> None:  # Ray 2.56 would start that actor to notify it
            pass

    return OwnTrainer


def workers_in(train: SimpleNamespace, group: PlacementGroup, bundles: Sequence[int]) -> type[Any]:
    """Return Ray's group of workers, in ``bundles`` of a ``group`` of others, for a controller that is no actor.

    Workers could request checkpoints from it, of which Ray keeps none here.
    """

    class LentRoom(train.DefaultPlacementGroupHandle):  # type: ignore[misc, name-defined]
        def shutdown(self) -> None:
            """Leave the group to whom it belongs."""

    class Workers(train.WorkerGroup):  # type: ignore[misc, name-defined]
        def _create_placement_group(self, *_: Any) -> LentRoom:
            return LentRoom(group)

        def _create_workers(self, num_workers: int, *arguments: Any, **settings: Any) -> Any:
            settings.setdefault("placement_group_bundle_indices", list(bundles))
            return super()._create_workers(num_workers, *arguments, **settings)

        def _init_train_context_on_workers(
            self, workers: list[Any], sync_actor: Any, train_context_args: Mapping[str, Sequence[Any]]
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

    return Workers


def parts_of_ray_train() -> SimpleNamespace | None:
    """Return the classes of Ray Train that `own_trainer` is made of; None where one is gone or was changed.

    Not imported with this file: Ray Train takes seconds.
    """
    try:
        from ray.train.torch import TorchTrainer
        from ray.train.v2._internal.callbacks import DatasetsCallback
        from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
        from ray.train.v2._internal.execution.controller import TrainController
        from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
        from ray.train.v2._internal.execution.worker_group import RayTrainWorker, WorkerGroup
        from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle

        unchanged = (
            takes(WorkerGroup._create_placement_group, "scaling_config", "worker_group_context")
            and takes(WorkerGroup._create_workers, "num_workers", "placement_group_bundle_indices")
            and takes(WorkerGroup._init_train_context_on_workers, "workers", "sync_actor", "train_context_args")
            and takes(WorkerGroup._decorate_worker_log_file_paths, "workers")
            and takes(RayTrainWorker.init_train_context, "synchronization_actor", "controller_actor")
            and takes(getattr(TorchTrainer, "_create_default_callbacks"))  # noqa: B009 (mypy sees another class)
            and takes(getattr(TorchTrainer, "_initialize_and_run_controller"), "controller_init_kwargs")  # noqa: B009
            and inspect.iscoroutinefunction(TrainController.run)
            and issubclass(TrainController.worker_group_cls, WorkerGroup)
        )
    except (ImportError, AttributeError, TypeError):
        return None
    if not unchanged:
        return None
    return SimpleNamespace(
        DatasetsCallback=DatasetsCallback,
        DefaultPlacementGroupHandle=DefaultPlacementGroupHandle,
        FixedScalingPolicy=FixedScalingPolicy,
        PlacementGroupCleanerCallback=PlacementGroupCleanerCallback,
        TorchTrainer=TorchTrainer,
        TrainController=TrainController,
        WorkerGroup=WorkerGroup,
    )


def takes(function: Callable[..., Any], *names: str) -> bool:
    """Return whether ``function`` has parameters with all of these ``names``."""
    return set(names) <= inspect.signature(function).parameters.keys()
