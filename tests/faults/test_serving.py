"""A life in service as a command on Ray, whose processes are killed one after the other while it is asked."""

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.service import Asked, Body, Client, as_json, asking, service_on
from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from tests.distributed.serving.test_real import vectors

WaitUntil = Callable[..., None]
KNOWN = ("ash", "birch")
FLAGS = ("--save-every", "0.2", "--rate", "10000", "--burst", "10000")
TRANSIENT = {0, 500, 503}
"""What may be answered while a process is gone: no connection, Serve's own page, or that it is to be asked later."""


@pytest.fixture
def life(tmp_path: Path, tiny_on_vectors: LifeConfig) -> Path:
    """The folder of a life that knows two trees, and whose lessons take seconds."""
    config = change(tiny_on_vectors, {"sleep.steps": 400})
    features = np.concatenate([np.asarray(vectors(name, 20), np.float32) for name in KNOWN])
    np.savez(tmp_path / "known.npz", features=features, labels=np.repeat([0, 1], 20), class_names=np.array(KNOWN))
    Lesson(tmp_path / "life", str(tmp_path / "known.npz"), name="known", config=config).run()
    return tmp_path / "life"


def inputs(name: str, seed: int = 1) -> Body:
    return as_json(vectors=vectors(name, 4, seed))


def examples(name: str) -> Body:
    return as_json(vectors=vectors(name, 20))


def check(answers: list[Asked]) -> None:
    """Check that every answer is the right one, or an error that says so."""
    assert answers
    for asked in answers:
        if asked.status == 200:
            assert asked.classes == (KNOWN[asked.number],) * 4, asked
        else:
            assert asked.status in TRANSIENT, asked


def answers_again(client: Client, version: int, name: str) -> bool:
    """Return whether the life answers, in this version, that inputs of a class show it."""
    found = client.predict(0, inputs(name))
    return (found.status, found.version, found.classes) == (200, version, (name,) * 4)


def test_processes_of_a_service_are_lost_and_nothing_else(life: Path, tmp_path: Path, wait_until: WaitUntil) -> None:
    log = tmp_path / "log"
    with service_on(life, log, *FLAGS) as service:
        client = service.client
        assert client.get("/healthz") == {"status": "ok", "version": 1}
        with asking(service.port, [inputs(name) for name in KNOWN], threads=2, pause=0.1) as answers:
            client.teach("cedar", examples("cedar"))
            assert client.sleep()["version"] == 2
            wait_until(lambda: answers_again(client, 2, "cedar"))

            service.kill("predictor")
            wait_until(lambda: answers_again(client, 2, "cedar"))

            client.teach("date", examples("date"))
            work = client.do("POST", "/sleep")
            service.kill("lesson")
            assert client.learned(work)["version"] == 3
            wait_until(lambda: answers_again(client, 3, "date"))

            item = client.teach("elm", examples("elm"))
            work = client.do("POST", "/sleep")
            wait_until(lambda: service.processes("lesson"))
            service.kill("keeper")
            wait_until(lambda: client.ask("GET", "/healthz")[0] == 200)
            assert client.learned(work)["version"] == 4
            wait_until(lambda: answers_again(client, 4, "elm"))
            assert item["id"] not in str(client.get("/inbox"))

            client.teach("fir", examples("fir"))
            service.kill("keeper")
            wait_until(lambda: client.ask("GET", "/inbox")[0] == 200)
            assert client.get("/inbox")["classes"] == {"fir": 20}

            service.kill("ingress")
            wait_until(lambda: is_there(client))
            wait_until(lambda: answers_again(client, 4, "elm"))
        check(answers)
        assert {asked.version for asked in answers} >= {1, 2, 3, 4}

        work = client.do("POST", "/sleep")
        wait_until(lambda: service.processes("lesson"))
        assert service.end(signal.SIGKILL) == -signal.SIGKILL
        service.wait_until_gone()

    with service_on(life, log, *FLAGS) as service:
        client = service.client
        assert client.learned(work)["version"] == 5
        wait_until(lambda: answers_again(client, 5, "fir"))
        assert client.get("/inbox")["examples"] == 0
        assert client.do("POST", "/rollback", as_json(version=3)) == {"version": 6, "was": 3}
        wait_until(lambda: answers_again(client, 6, "date"))
        client.learned(client.do("POST", "/forget", as_json(**{"class": "date"})))
        wait_until(lambda: answers_again(client, 7, "ash"))
        assert client.ask("POST", "/rollback", as_json(version=5))[0] == 404
        assert service.end() == 128 + signal.SIGTERM
    assert "Traceback" not in log.read_text()
    opened = Life.open(life)
    assert opened.class_names == ["ash", "birch", "cedar"]
    asked = np.asarray(vectors("cedar", 3, seed=5), np.float32)
    assert opened.predict(list(asked)).names == ["cedar"] * 3
    assert not list((life / "service" / "lessons").glob("*/"))


def is_there(client: Client) -> bool:
    try:
        return client.ask("GET", "/healthz")[0] == 200
    except OSError:
        return False
