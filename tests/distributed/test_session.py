import socket
from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError

from distributed import session
from distributed.session import connect
from mygo.errors import InputError

AS_TEXT = RuntimeError(
    "Failed to connect to GCS. Last: Traceback … ray.exceptions.AuthenticationError: InvalidAuthToken"
)
"""How Ray 2.60 passes the reason on."""


@pytest.mark.parametrize("reason", [AuthenticationError("InvalidAuthToken"), AS_TEXT])
def test_a_cluster_that_refuses_this_client_is_not_replaced_by_one_of_our_own(
    monkeypatch: pytest.MonkeyPatch, reason: Exception
) -> None:
    asked = []

    def refuse(address: str, **_: Any) -> None:
        asked.append(address)
        raise ConnectionError("Failed to connect") from reason

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match="RAY_AUTH_MODE=token"):
        connect(1, False, {})
    assert asked == ["auto"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that Ray was asked to connect to, which it does at once."""
    addresses: list[str] = []
    monkeypatch.setattr(ray, "init", lambda address, **_: addresses.append(address))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return addresses


def leave_note(monkeypatch: pytest.MonkeyPatch, head: socket.socket) -> None:
    """Make it look as if `ray start` had noted a cluster at ``head``, of which no process is seen."""
    monkeypatch.setattr(session, "read_ray_address", lambda: f"127.0.0.1:{head.getsockname()[1]}")
    monkeypatch.setattr(session, "find_gcs_addresses", set)


def test_a_note_of_a_cluster_that_is_gone_is_not_waited_for(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("127.0.0.1", 0))
        leave_note(monkeypatch, free)
        connect(1, False, {})
    assert asked == ["local"]


def test_a_cluster_that_is_there_is_joined(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as head:
        leave_note(monkeypatch, head)
        connect(1, False, {})
    assert asked == ["auto"]
