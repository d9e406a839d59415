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


def test_a_note_of_a_cluster_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(session, "read_ray_address", lambda: f"127.0.0.1:{free.getsockname()[1]}")
        monkeypatch.setattr(session, "find_gcs_addresses", set)
        monkeypatch.setattr(ray, "init", lambda address, **_: asked.append(address))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        connect(1, False, {})
    assert asked == ["local"]


def test_a_cluster_that_is_there_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as head:
        monkeypatch.setattr(session, "read_ray_address", lambda: f"127.0.0.1:{head.getsockname()[1]}")
        monkeypatch.setattr(session, "find_gcs_addresses", set)
        monkeypatch.setattr(ray, "init", lambda address, **_: asked.append(address))
        monkeypatch.delenv("RAY_ADDRESS", raising=False)
        connect(1, False, {})
    assert asked == ["auto"]
