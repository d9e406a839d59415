from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError

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
