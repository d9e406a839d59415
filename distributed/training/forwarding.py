"""Forwards the events of rank 0 to the driver, where the person is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distributed.training.control import ControlActor
from mygo.events import Event, EventHandler

POLL_SECONDS = 0.25


class EventForwarder:
    """An event handler in a worker: its events reach the driver, in order, without making the worker wait."""

    def __init__(self, control: Any) -> None:
        self._control = control
        self._last: ray.ObjectRef[None] | None = None

    def __call__(self, event: Event) -> None:
        """Send ``event``."""
        self._last = self._control.add_event.remote(cloudpickle.dumps(event))

    def flush(self) -> None:
        """Wait until all events have arrived."""
        if self._last is not None:
            ray.get(self._last)


@contextmanager
def stop_requested(control: Any) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns, at no cost, whether the driver requested a stop; a thread polls ``control``."""
    requested, done = threading.Event(), threading.Event()

    def poll_until_done() -> None:
        while not done.wait(POLL_SECONDS) and not requested.is_set():
            if ray.get(control.stop_requested.remote()):
                requested.set()

    thread = threading.Thread(target=poll_until_done, name="stop", daemon=True)
    thread.start()
    try:
        yield requested.is_set
    finally:
        done.set()
        thread.join()


@contextmanager
def forward_events(on_event: EventHandler) -> Iterator[Any]:
    """Start a control actor and pass what arrives on to ``on_event`` in this process; yields the actor, for workers."""
    # On this node: what the driver waits for must not be lost with another.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    control: Any = ray.remote(ControlActor).options(num_cpus=0, scheduling_strategy=here).remote()
    done = threading.Event()

    def fetch_until_done() -> None:
        while not done.wait(POLL_SECONDS):
            deliver()

    def deliver() -> None:
        for event in ray.get(control.take_events.remote()):
            on_event(cloudpickle.loads(event))

    fetcher = threading.Thread(target=fetch_until_done, name="events", daemon=True)
    fetcher.start()
    try:
        yield control
    finally:
        done.set()
        fetcher.join()
        deliver()
        ray.kill(control)
