"""A job on Ray: an experiment with all its lives, or a lesson, inside one `TorchTrainer.fit()`.

Starting a worker group takes long, so that there is one.
"""

import concurrent.futures
import functools
import math
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import torch
import torch.distributed as dist
from ray import train
from ray.train.backend import Backend
from ray.train.torch import TorchConfig, TorchTrainer

from distributed.cluster.capacity import Reservation, request_more_workers, reserved
from distributed.cluster.interruption import Interruption, interruptible
from distributed.cluster.placement import Placement
from distributed.cluster.preflight import check_nodes, use_rays_interface
from distributed.cluster.session import first_line, usable_cores
from distributed.job import Job, pack_registries, unpack_registries
from distributed.replay.dreamers import ReplayPool, start_dreamers
from distributed.training.controller import GpusOfNodes, device_of_worker, gpus_to_take, take_gpu, trainer_in
from distributed.training.forwarding import EventForwarder, forward_events, stop_requested
from mygo.errors import InputError, MygoError, StoppedError
from mygo.events import EventHandler, Notice, Restarted, silent
from mygo.training.process_group import TorchProcessGroup


@dataclass(frozen=True)
class WorkerTask:
    """What every training worker is given."""

    job: Job
    dreamers: Sequence[Any]
    control: Any
    threads: int
    registries: bytes
    """The networks and strategies that the driver knows by name."""
    gpus: GpusOfNodes | None
    """The GPUs that workers have to take by themselves."""


TrainingFailure = train.WorkerGroupError | train.ControllerError
"""That workers were lost, or could not start."""

POLL_SECONDS = 0.5
STOP_SECONDS = 20.0
"""How long workers may take to save once they were requested to end; then they are left at their last saved point."""


class RoomForMoreError(Exception):
    """Workers ended so that more of them can start."""


class WorkersLostError(MygoError):
    """Training workers failed more often than was allowed."""


def run_on_ray(
    job: Job,
    most: Placement,
    on_event: EventHandler = silent,
    *,
    fewest: int | None = None,
    max_failures: int = 0,
) -> dict[str, Any]:
    """Do ``job`` on the Ray that this process is connected to, placed as ``most``, and return its results.

    With ``fewest`` workers allowed, it runs with as many as there is room for, at the same global batch, and goes on
    with more when there is room for them.

    When workers are lost, with a node or otherwise, all start again where the cluster has room, up to ``max_failures``
    times, and go on from the last saved point. What a worker raises for a person to know ends the run at once: it would
    only come again. Ray Train's own restarts do not distinguish the two, and are left off, except those for machines
    that a cloud announces to take away.

    Raises:
        WorkersLostError: workers were lost once more than ``max_failures``.
        MygoError: what a worker raised for a person to know, or the cluster cannot run this job.
        ray.train.TrainingFailedError: anything else that ended the workers.
    """
    smallest = job.learner.smallest_batch
    if most.num_workers > smallest:
        raise InputError(f"--num-workers {most.num_workers} cannot share a batch of {smallest}: ask for fewer.")
    if job.out is None or not job.out.is_absolute():
        raise ValueError(f"workers need an absolute folder that all of them see, not {job.out}")
    ray_folder = job.out / "ray"
    failures = 0
    fewest = most.num_workers if fewest is None else fewest
    with forward_events(on_event) as control, removed_at_the_end(ray_folder):
        while True:
            lost = failures > 0
            try:
                with reserved(most, fewest, on_event, lost=lost) as room:
                    check_nodes(job, room.placement)
                    with request_more_workers(
                        most.num_workers - room.placement.num_workers, room.placement.worker
                    ) as more:
                        return fit(job, room, control, ray_folder, more)
            except RoomForMoreError:
                text = "There is room for more training workers: they start again, from the step just made."
                on_event(Restarted(text, "workers"))
            except (train.WorkerGroupError, train.ControllerError) as failure:
                raise_what_is_for_a_person(failure)
                failures += 1
                if failures > max_failures:
                    raise_when_used_up(failure, max_failures, job.how_to_go_on)
                text = f"{reason(failure)} Restart {failures} of {max_failures}, from the last saved point."
                on_event(Restarted(text, "workers"))


@contextmanager
def removed_at_the_end(folder: Path) -> Iterator[None]:
    """Remove ``folder`` and what is in it at the end of the block, however that is reached."""
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fit(
    job: Job, room: Reservation, control: Any, ray_folder: Path, room_for_more: Callable[[], bool] | None
) -> dict[str, Any]:
    """Start the workers and dreamers in their ``room``, let the workers do ``job`` once, and return their results.

    Raises:
        RoomForMoreError: there is, and the workers have saved and ended.
        ray.train.TrainingFailedError: the workers did not come to the end.
    """
    placement = room.placement
    dreamers = start_dreamers(room, control)
    threads = placement.threads_per_worker
    gpus = gpus_to_take(room)
    task = WorkerTask(job, dreamers, control, threads=threads, registries=pack_registries(), gpus=gpus)
    torch_config = OwnInterface(backend="nccl" if placement.use_gpu else "gloo")
    torch_config.gpus = gpus
    # Lives resume from their own folders; a fresh name keeps Ray from resuming anything of its own.
    name = f"fit-{uuid.uuid4().hex[:8]}"
    trainer = trainer_in(room, functools.partial(run_on_worker, task), torch_config, str(ray_folder), name)
    try:
        result: Any = fit_until_stopped(trainer, control, room_for_more, job.how_to_go_on)
    finally:
        # Not left to reference counting: an exception's traceback would keep them, and their cores.
        for dreamer in dreamers:
            ray.kill(dreamer)
    results: dict[str, Any] = result.return_value
    return results


def fit_until_stopped(
    trainer: TorchTrainer, control: Any, room_for_more: Callable[[], bool] | None, how_to_go_on: str
) -> Any:
    """Return the result of ``trainer.fit()``; at Ctrl-C or SIGTERM, or for more workers, have them save and end.

    Raises:
        RoomForMoreError: they ended, since there is room for more of them.
        StoppedError: the workers ended as requested, or took too long to.
        KeyboardInterrupt: there was a second signal.
        ray.train.TrainingFailedError: the workers did not come to the end.
    """
    ray.get(control.reset.remote())
    with interruptible(lambda: ray.get(control.request_stop.remote())) as interruption:
        fitting: Future[Any] = Future()

        def fit_in_thread() -> None:
            try:
                fitting.set_result(trainer.fit())
            except BaseException as error:
                fitting.set_exception(error)

        # In a thread, so that the signals come to this one: Ray's own handler would end the workers without a word.
        threading.Thread(target=fit_in_thread, name="fit", daemon=True).start()
        deadline, growing = math.inf, False
        while not fitting.done() and time.monotonic() < deadline:
            concurrent.futures.wait([fitting], timeout=POLL_SECONDS)
            if interruption.signal is not None and deadline == math.inf:
                deadline = time.monotonic() + STOP_SECONDS
            elif (
                room_for_more is not None
                and not growing
                and ray.get(control.workers_started.remote())
                and room_for_more()
            ):
                growing = True
                ray.get(control.request_stop.remote())
        saved = fitting.done() and were_stopped(fitting.exception())
        if interruption.signal is not None:
            raise stopped(interruption, "Saved" if saved else "Ended at the last saved point", how_to_go_on)
        if growing and saved:
            raise RoomForMoreError
        return fitting.result()


def were_stopped(error: BaseException | None) -> bool:
    """Return whether ``error`` is that of workers which were requested to save and end, and did."""
    return any(isinstance(failure, StoppedError) for failure in failures_of_workers(error).values())


def stopped(interruption: Interruption, how: str, how_to_go_on: str) -> StoppedError:
    """Return the error that ends a command as the signal requested."""
    error = StoppedError(f"{how}: {how_to_go_on}.")
    error.exit_code = interruption.exit_code
    return error


class OwnInterface(TorchConfig):
    """Torch's process group, over the network interface that Ray uses."""

    gpus: GpusOfNodes | None = None

    @property
    def backend_cls(self) -> type[Backend]:
        """The class that sets the group up."""
        return OwnInterfaceBackend


class OwnInterfaceBackend(TorchConfig().backend_cls):  # type: ignore[misc]
    """Sets the process group up after its network interface was chosen."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Prepare the workers before the training function runs on them."""
        worker_group.execute(use_rays_interface)
        if backend_config.gpus is not None:
            worker_group.execute(take_gpu, backend_config.gpus)
        super().on_start(worker_group, backend_config)


def raise_what_is_for_a_person(failure: TrainingFailure) -> None:
    """Raise what a worker raised on purpose, if that is why the group failed."""
    for error in failures_of_workers(failure).values():
        if isinstance(error, MygoError):
            raise error from failure


def raise_when_used_up(failure: TrainingFailure, max_failures: int, how_to_go_on: str) -> None:
    """End a run whose workers have failed too often; without any restart allowed, as they failed."""
    if not max_failures:
        raise failure
    raise WorkersLostError(
        f"{reason(failure)} That was failure {max_failures + 1} and --max-failures is {max_failures}: "
        f"see why, then {how_to_go_on}."
    ) from failure


def reason(failure: TrainingFailure) -> str:
    """Return a sentence that says which workers failed and how the first of them did, or why they did not start."""
    failures = failures_of_workers(failure)
    if not failures:
        error: BaseException = getattr(failure, "controller_failure", failure)
        return f"The training workers did not start ({first_line(error)})."
    rank, first = min(failures.items())
    lines = str(first).strip().splitlines() or [""]
    return f"Worker {rank} of the training workers failed ({type(first).__name__}: {lines[0][:120]})."


def failures_of_workers(failure: BaseException | None) -> dict[int, Exception]:
    """Return what the workers raised, by their ranks, if that is what ``failure`` is about."""
    return dict(failure.worker_failures) if isinstance(failure, train.WorkerGroupError) else {}


def run_on_worker(task: WorkerTask) -> dict[str, Any]:
    """Do the job as one of the training workers."""
    unpack_registries(task.registries)
    on_event = EventForwarder(task.control)
    group = TorchProcessGroup(device_of_worker(task.gpus))
    addresses = addresses_of(group)
    # A node may be smaller than the average one, or hold more workers: never more threads than it has cores.
    here = addresses[group.rank]
    torch.set_num_threads(max(1, min(task.threads, usable_cores() // addresses.count(here))))
    if group.rank == 0 and len(set(addresses)) > 1:
        on_event(Notice(f"Training workers on {', '.join(addresses)}"))
    if group.rank == 0:
        task.control.note_workers_started.remote()
        for dreamer in task.dreamers:
            dreamer.prepare.remote()
    try:
        with stop_requested(task.control) if group.rank == 0 else nullcontext(lambda: False) as stop:
            return task.job.run(group, ReplayPool(task.dreamers, task.control), on_event, stop)
    finally:
        on_event.flush()


def addresses_of(group: TorchProcessGroup) -> list[str]:
    """Return the addresses of all ranks' nodes, in the order of ranks."""
    addresses: list[str] = [""] * group.size
    dist.all_gather_object(addresses, ray.util.get_node_ip_address())
    return addresses
