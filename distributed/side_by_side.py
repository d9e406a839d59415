"""Lessons that wait, woken side by side on Ray: each in a task of its own, on its share of the cluster."""

import math
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch

from distributed.cluster.capacity import (
    NOTICE_AFTER_SECONDS,
    describe,
    living_nodes,
    resources_in_reach,
    waiting_for,
)
from distributed.cluster.interruption import interruptible
from distributed.cluster.session import usable_cores
from distributed.job import pack_registries, unpack_registries
from distributed.training.forwarding import EventForwarder, forward_events, stop_requested
from mygo.errors import InputError, MygoError, StoppedError
from mygo.events import Event, EventHandler, Notice
from mygo.jobs.side_by_side import Waking, failure_of
from mygo.training.process_group import SingleProcess

POLL_SECONDS = 0.5


@dataclass(frozen=True)
class WakeBegan(Notice):
    """A wake has got its share of the cluster, on a node."""

    number: int
    node: str
    """As Ray names it."""


def shares(count: int, reach: Mapping[str, float], nodes: Sequence[Mapping[str, float]]) -> tuple[int, int, int]:
    """Return how many of ``count`` wakes run at the same time, and the CPUs and GPUs of each, which one node must have.

    ``reach`` is what the cluster has or can grow to, ``nodes`` what each of its nodes has now.
    """
    cpus, gpus = int(reach.get("CPU", 1)), int(reach.get("GPU", 0))
    at_once = max(1, min(count, gpus or cpus))

    def fit(each: int) -> int:
        """Return how many wakes with so many CPUs the nodes hold."""
        held = [node.get("CPU", 0) // each for node in nodes]
        most = [node.get("GPU", 0) for node in nodes] if gpus else held
        return int(sum(map(min, held, most)))

    sizes = range(max(1, cpus // at_once), 0, -1)
    for wanted in (at_once, 1):  # all that are to come may be on nodes that are not there yet
        for each in sizes:
            if fit(each) >= wanted:
                return at_once, each, 1 if gpus else 0
    return at_once, 1, 1 if gpus else 0


def wake_on_ray(wakings: Sequence[Waking], on_event: EventHandler, *, max_failures: int = 3) -> dict[int, MygoError]:
    """Run ``wakings`` on the Ray that this process is connected to, and return by their numbers what went wrong.

    One that is lost with its machine starts again elsewhere, ``max_failures`` times at most, from what it saved last;
    the others go on meanwhile.

    Raises:
        StoppedError: a person stopped it, and what was done is saved.
    """
    nodes = [node["Resources"] for node in living_nodes()]
    at_once, cpus, gpus = shares(len(wakings), resources_in_reach(), nodes)
    each = describe({"CPU": cpus, "GPU": gpus})
    on_event(Notice(f"{len(wakings)} lessons wake, {at_once} at a time, each with {each}"))
    begun = dict[int, str]()

    def note(event: Event) -> None:
        if isinstance(event, WakeBegan):
            begun[event.number] = event.node
        on_event(event)

    with forward_events(note) as control:
        remote: Any = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=max_failures, scheduling_strategy="SPREAD")
        run: Any = remote(wake_in_task)
        registries = pack_registries()
        tasks = {run.remote(waking, control, cpus, gpus, registries): waking for waking in wakings}
        patience = time.monotonic() + NOTICE_AFTER_SECONDS
        with interruptible(lambda: ray.get(control.request_stop.remote())) as interruption:
            waiting, failures = list(tasks), dict[int, MygoError]()
            while waiting:
                done, waiting = ray.wait(waiting, timeout=POLL_SECONDS)
                for task in done:
                    failure = ended(task)
                    if failure is not None:
                        failures[tasks[task].number] = failure
                if not begun and time.monotonic() > patience:
                    on_event(Notice(waiting_for(f"a wake with {each}")))
                    patience = math.inf
                if interruption.signal is not None:
                    cancel_waiting({task: tasks[task].number for task in waiting}, begun)
        if interruption.signal is not None:
            error = StoppedError("Saved: run the same command again to go on.")
            error.exit_code = interruption.exit_code
            raise error
    return failures


def cancel_waiting(tasks: Mapping["ray.ObjectRef[MygoError | None]", int], begun: Mapping[int, str]) -> None:
    """Cancel those of ``tasks`` that wait for room, by their numbers: the others have ``begun`` on a node that lives.

    They have nothing to save, but for what a machine that was lost had saved.
    """
    living = {node["NodeID"] for node in living_nodes()}
    for task, number in tasks.items():
        if begun.get(number) not in living:
            ray.cancel(task)


def ended(task: "ray.ObjectRef[MygoError | None]") -> MygoError | None:
    """Return what went wrong in a wake that has ended, if anything; one that was stopped is saved."""
    try:
        return ray.get(task)
    except ray.exceptions.TaskCancelledError:
        return None
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, StoppedError):
            return None
        raise
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        return InputError(f"its worker was lost too often ({type(error).__name__}).")


def wake_in_task(waking: Waking, control: Any, threads: int, gpus: int, registries: bytes) -> MygoError | None:
    """Wake in a process of Ray's, and return what went wrong that a person must know."""
    unpack_registries(registries)
    torch.set_num_threads(max(1, min(threads, usable_cores())))
    on_event = EventForwarder(control)
    node = ray.get_runtime_context().get_node_id()
    on_event(WakeBegan(f"{waking.name} wakes on {socket.gethostname()}", waking.number, node))
    try:
        with stop_requested(control) as stop:
            return failure_of(waking, on_event, stop, SingleProcess("cuda" if gpus else "cpu"))
    finally:
        on_event.flush()
