"""A life in service as a command of its own, asked over HTTP, under a load that another process may make."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.processes import REPOSITORY, processes_of
from mygo.cli.remote import body_of

PATIENCE_SECONDS = 300.0
"""How long to wait for a service to start, and for a lesson to end."""
IDLE_SECONDS = 5.0
"""How long a connection may be idle before it is made anew."""
TITLES = {
    "predictor": "ServeReplica:mygo:Predictor",
    "keeper": "ServeReplica:mygo:Keeper",
    "ingress": "ServeReplica:mygo:Ingress",
    "lesson": "ray::LessonActor",
}
"""What the processes of a service are called."""


@dataclass(frozen=True)
class Asked:
    """A request to /predict, and what came of it."""

    number: int
    """Of the body that was sent."""
    began: float
    """Seconds, of the same clock for all."""
    seconds: float
    status: int
    """0 if there was no answer: the connection ended, which a client sees as an error."""
    version: int | None = None
    classes: tuple[str | None, ...] = ()


@dataclass(frozen=True)
class Body:
    """The body of a request."""

    content: bytes
    kind: str


def form(images: Sequence[bytes]) -> Body:
    """Return a form with ``images``."""
    return Body(*body_of("image", images))


def as_json(**content: Any) -> Body:
    """Return a body of JSON."""
    return Body(json.dumps(content).encode(), "application/json")


@dataclass
class Client:
    """Asks a service at a port of this machine, over one connection that is made anew when it ended."""

    port: int
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)
    _used: float = 0.0

    def ask(self, method: str, path: str, body: Body | None = None) -> tuple[int, Any]:
        """Return the status and the JSON of an answer, None where it is none.

        Raises:
            OSError, http.client.HTTPException: there is no answer.
        """
        if time.monotonic() - self._used > IDLE_SECONDS and self._connection is not None:
            self._connection.close()  # as the server may be doing now
            self._connection = None
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        headers = {} if body is None else {"Content-Type": body.kind}
        try:
            self._connection.request(method, path, None if body is None else body.content, headers)
            with self._connection.getresponse() as answer:
                content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            raise
        self._used = time.monotonic()
        try:
            return answer.status, json.loads(content)
        except ValueError:
            return answer.status, None

    def get(self, path: str) -> Any:
        """Return the JSON at ``path``; the answer must be 200."""
        status, content = self.ask("GET", path)
        assert status == 200, (path, status, content)
        return content

    def do(self, method: str, path: str, body: Body | None = None) -> Any:
        """Return the JSON of an answer that must be none of a failure."""
        status, content = self.ask(method, path, body)
        assert status < 300, (method, path, status, content)
        return content

    def predict(self, number: int, body: Body) -> Asked:
        """Ask about the inputs in ``body``."""
        began = time.monotonic()
        try:
            status, content = self.ask("POST", "/predict?top=1", body)
        except (OSError, http.client.HTTPException):
            return Asked(number, began, time.monotonic() - began, 0)
        seconds = time.monotonic() - began
        if status != 200 or content is None:
            return Asked(number, began, seconds, status)
        classes = tuple(each["class"] for each in content["predictions"])
        return Asked(number, began, seconds, status, content["version"], classes)

    def learned(self, work: Mapping[str, Any], patience: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait until ``work`` has ended, through whatever happens to the service, and return its record."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with suppress(OSError, http.client.HTTPException):
                status, record = self.ask("GET", f"/lessons/{work['id']}")
                if status == 200 and record["state"] in ("done", "failed"):
                    assert record["state"] == "done", record
                    return dict(record)
            time.sleep(0.1)
        raise AssertionError(f"work has not ended within {patience:.0f} s: {work}")

    def teach(self, class_name: str, body: Body) -> dict[str, Any]:
        """Put examples into the inbox; returns the item."""
        item: dict[str, Any] = self.do("POST", f"/teach?class={quote(class_name)}", body)
        return item

    def sleep(self) -> dict[str, Any]:
        """Let the life learn what waits; returns the record of the work once it has ended."""
        return self.learned(self.do("POST", "/sleep"))


@dataclass
class Service:
    """A service as a command, and all of its processes."""

    process: "subprocess.Popen[str]"
    port: int
    log: Path

    @property
    def client(self) -> Client:
        """A new client."""
        return Client(self.port)

    def processes(self, title: str = "") -> dict[int, str]:
        """Return the command lines, by process id, of those that are called so: see `TITLES`."""
        return processes_of(self.process.pid, TITLES.get(title, title))

    def kill(self, title: str, patience: float = PATIENCE_SECONDS) -> int:
        """Kill one of the processes that are called so, as soon as there is one, and return its id."""
        deadline = time.monotonic() + patience
        while not (found := self.processes(title)):
            assert time.monotonic() < deadline, f"there is no {title}"
            time.sleep(0.02)
        pid = random.choice(sorted(found))
        os.kill(pid, signal.SIGKILL)
        return pid

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the command ``number``, wait for its end, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def wait_until_gone(self, patience: float = PATIENCE_SECONDS) -> None:
        """Wait until no process is left of it."""
        deadline = time.monotonic() + patience
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)


def start_service(life: Path, log: Path, *flags: str) -> Service:
    """Start the command on ``life``; its output goes to ``log``. Returns once it answers."""
    command = [sys.executable, "distributed/serve.py", "--life", str(life), "--port", "0", *flags]
    with log.open("a") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            start_new_session=True,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "RAY_ADDRESS": "local"},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    deadline = time.monotonic() + PATIENCE_SECONDS
    where = "The life answers at http://127.0.0.1:"
    before = log.read_text().count(where)
    while (said := log.read_text()).count(where) == before:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError(f"the service does not start: {said}")
        time.sleep(0.1)
    return Service(process, int(said.rpartition(where)[2].split()[0]), log)


@contextmanager
def service_on(life: Path, log: Path, *flags: str) -> Iterator[Service]:
    """Have a life in service inside the block, and nothing left of it afterwards."""
    service = start_service(life, log, *flags)
    try:
        yield service
    finally:
        if service.process.poll() is None:
            service.end()
        service.wait_until_gone()


@contextmanager
def asking(
    port: int,
    bodies: Sequence[Body],
    threads: int,
    pause: float = 0.0,
    on_asked: Callable[[Asked], None] = lambda _: None,
) -> Iterator[list[Asked]]:
    """Ask about ``bodies`` in turn inside the block, by so many ``threads``; yields what came of it, so far.

    Each waits for the answer and then for ``pause`` seconds before it asks again.
    """
    done, answers = threading.Event(), list[Asked]()

    def ask_until_done(first: int) -> None:
        client, number = Client(port), first
        while not done.is_set():
            found = client.predict(number % len(bodies), bodies[number % len(bodies)])
            answers.append(found)
            on_asked(found)
            number += threads
            done.wait(pause if found.status else 0.1)

    running = [threading.Thread(target=ask_until_done, args=(first,), daemon=True) for first in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in running:
            thread.join()
