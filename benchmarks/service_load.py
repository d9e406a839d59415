"""Requests to a life in service from a process of their own: as fast as they are answered, or at a steady rate."""

import itertools
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.service import Asked, Body, Client

ON_ERROR_SECONDS = 0.1
"""How long a client waits after it got no answer."""


@dataclass(frozen=True)
class Load:
    """How a service is loaded."""

    port: int
    bodies: Sequence[Body]
    threads: int
    """Requests at once, at most."""
    rate: float | None = None
    """Requests per second, which begin whether or not those before were answered, as long as there are threads; their
    seconds count from when they were due. By default each thread asks again once it has its answer."""
    requests: int | None = None
    """How many to make; by default until it is stopped."""


@dataclass
class Loading:
    """A load that is being made, or was."""

    stop: Any
    results: Connection
    process: Any
    answers: list[Asked] = field(default_factory=list)

    def wait(self) -> list[Asked]:
        """Wait until all requests were made, and return what came of them, in the order in which they began."""
        if not self.answers:
            self.answers = sorted(self.results.recv(), key=lambda asked: asked.began)
            self.process.join()
        return self.answers

    def end(self) -> list[Asked]:
        """Make no more requests; returns as `wait`."""
        self.stop.set()
        return self.wait()


@contextmanager
def loading(load: Load) -> Iterator[Loading]:
    """Make ``load`` inside the block, and end it there."""
    context = multiprocessing.get_context("spawn")
    stop, (results, sender) = context.Event(), context.Pipe(duplex=False)
    process = context.Process(target=make, args=(load, stop, sender), daemon=True)
    process.start()
    running = Loading(stop, results, process)
    try:
        yield running
    finally:
        running.end()


def make(load: Load, stop: Any, results: Connection) -> None:
    """Make all requests of ``load``, until ``stop`` is set, and send what came of them."""
    answers: list[Asked] = []
    numbers, begin = itertools.count(), time.monotonic()
    taking = threading.Lock()

    def next_number() -> int | None:
        with taking:
            number = next(numbers)
        return None if stop.is_set() or number == load.requests or (load.requests or number) < number else number

    def ask() -> None:
        client = Client(load.port)
        while (number := next_number()) is not None:
            due = time.monotonic() if load.rate is None else begin + number / load.rate
            if due > time.monotonic() and stop.wait(due - time.monotonic()):
                return
            which = number % len(load.bodies)
            found = client.predict(which, load.bodies[which])
            late = found.began - due
            answers.append(replace(found, began=due, seconds=found.seconds + late))
            if found.status == 0:
                stop.wait(ON_ERROR_SECONDS)

    threads = [threading.Thread(target=ask) for _ in range(load.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.send(answers)


def made(load: Load) -> list[Asked]:
    """Make all requests of ``load``, and return what came of them."""
    with loading(load) as running:
        return running.wait()


def rate_of(answers: Sequence[Asked]) -> float:
    """Return how many requests were answered in a second, from the first to the last."""
    end = max(asked.began + asked.seconds for asked in answers)
    return len(answers) / (end - min(asked.began for asked in answers))


def percentile(answers: Sequence[Asked], percent: int) -> float:
    """Return the seconds in which so many of a hundred requests were answered."""
    return statistics.quantiles([asked.seconds for asked in answers], n=100, method="inclusive")[percent - 1]
