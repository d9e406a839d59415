"""Carries what rank 0 tells to the driver, where the person is."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import cloudpickle
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distributed.training.mailbox import Mailbox
from mygo.events import Event, EventHandler

POLL_SECONDS = 0.25


class RelayedJournal:
    """An event handler in a worker whose events reach the driver, in order, without making the worker wait."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox
        self._last: ray.ObjectRef[None] | None = None

    def __call__(self, event: Event) -> None:
        """Send ``event``."""
        self._last = self._mailbox.tell.remote(cloudpickle.dumps(event))

    def flush(self) -> None:
        """Wait until all events have arrived."""
        if self._last is not None:
            ray.get(self._last)


@contextmanager
def stop_asked(mailbox: Any) -> Iterator[Callable[[], bool]]:
    """Yield a function that tells, at no cost, whether the driver asked to stop; a thread asks ``mailbox`` for it."""
    asked, done = threading.Event(), threading.Event()

    def ask_until_done() -> None:
        while not done.wait(POLL_SECONDS) and not asked.is_set():
            if ray.get(mailbox.stop_asked.remote()):
                asked.set()

    thread = threading.Thread(target=ask_until_done, name="stop", daemon=True)
    thread.start()
    try:
        yield asked.is_set
    finally:
        done.set()
        thread.join()


@contextmanager
def relay(on_event: EventHandler) -> Iterator[Any]:
    """Start a mailbox and pass what arrives on to ``on_event`` in this process; yields the mailbox for a worker."""
    # On this node: what the driver waits for must not be lost with another.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    mailbox: Any = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
    done = threading.Event()

    def fetch_until_done() -> None:
        while not done.wait(POLL_SECONDS):
            deliver()

    def deliver() -> None:
        for event in ray.get(mailbox.fetch.remote()):
            on_event(cloudpickle.loads(event))

    fetcher = threading.Thread(target=fetch_until_done, name="relay", daemon=True)
    fetcher.start()
    try:
        yield mailbox
    finally:
        done.set()
        fetcher.join()
        deliver()
        ray.kill(mailbox)
