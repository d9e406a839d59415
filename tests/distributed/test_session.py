from typing import Any

import pytest
import ray
from ray.exceptions import AuthenticationError

from distributed.session import connect
from mygo.errors import InputError


def test_a_cluster_that_refuses_this_client_is_not_replaced_by_one_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(address: str, **_: Any) -> None:
        asked.append(address)
        raise ConnectionError("Failed to connect") from AuthenticationError("InvalidAuthToken")

    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(InputError, match="RAY_AUTH_MODE=token"):
        connect(1, False, {})
    assert asked == ["auto"]
