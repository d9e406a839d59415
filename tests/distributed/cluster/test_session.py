import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import ray
from ray.exceptions import AuthenticationError

from distributed.cluster import ray_internals, session
from distributed.cluster.session import (
    REPOSITORY,
    address_of_cluster,
    answers,
    join,
    ray_session,
    start,
    worker_environment,
)
from mygo.errors import InputError

AS_TEXT = RuntimeError(
    "Failed to connect to GCS. Last: Traceback … ray.exceptions.AuthenticationError: InvalidAuthToken"
)
"""How Ray 2.60 passes the reason on."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(session, "ANSWER_SECONDS", 1.0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that Ray was asked to connect to, which it does at once."""
    addresses: list[str] = []
    monkeypatch.setattr(ray, "init", lambda address, **_: addresses.append(address))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    return addresses


@contextmanager
def head_that_says(code: grpc.StatusCode) -> Iterator[str]:
    """Yield the address of a server that answers the question of `session.ask_head` with ``code``."""

    def answer(request: bytes, context: Any) -> bytes:
        if code is not grpc.StatusCode.OK:
            context.abort(code, "no")
        return b""

    class Head(grpc.GenericRpcHandler):
        def service(self, call: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer) if call.method == ray_internals.CHECK_ALIVE else None

    server: Any = grpc.server(futures.ThreadPoolExecutor(1), handlers=[Head()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture
def head() -> Iterator[str]:
    with head_that_says(grpc.StatusCode.OK) as address:
        yield address


def leave_note(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    """Make it look as if `ray start` had noted a cluster at ``address``."""
    monkeypatch.setattr(ray_internals, "noted_address", lambda: address)


# -- which cluster ----------------------------------------------------------------------------------------------------


def test_a_cluster_that_a_person_started_is_joined(
    asked: list[str], monkeypatch: pytest.MonkeyPatch, head: str
) -> None:
    leave_note(monkeypatch, head)
    with ray_session():
        assert asked == [head]


def test_the_private_ray_of_another_run_is_never_found(ray_cluster: None) -> None:
    """The tests' own Ray is such a one: a process of Ray runs here, and nobody noted it."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    asking = "from distributed.cluster.session import address_of_cluster; print(address_of_cluster())"
    command = [sys.executable, "-c", asking]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() != ray.get_runtime_context().gcs_address


def test_a_note_of_a_cluster_that_is_gone_is_not_waited_for(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:  # bound, but nobody listens
        free.bind(("127.0.0.1", 0))
        leave_note(monkeypatch, f"127.0.0.1:{free.getsockname()[1]}")
        with ray_session():
            assert asked == ["local"]


def test_somebody_else_who_listens_where_a_cluster_was_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"127.0.0.1:{mute.getsockname()[1]}"
        assert not answers(address)
        leave_note(monkeypatch, address)
        assert address_of_cluster() is None
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match=f"No Ray cluster answers at RAY_ADDRESS={address}"):
            address_of_cluster()


@pytest.mark.parametrize(
    "address",
    [
        "nonsense",
        "localhost",
        "http://127.0.0.1:8265",
        "ray://127.0.0.1:10001",
        "127.0.0.1:",
        ":6379",
        "a b:1",
        "a:b:1",
    ],
)
def test_what_is_no_address_is_refused_and_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(InputError, match="is not an address") as refusal:
        address_of_cluster()
    assert f"RAY_ADDRESS={address}" in str(refusal.value)


def test_a_port_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:99999")
    with pytest.raises(InputError, match="No Ray cluster answers"):
        address_of_cluster()


def test_auto_is_for_a_cluster_that_is_there_and_local_for_none(monkeypatch: pytest.MonkeyPatch, head: str) -> None:
    leave_note(monkeypatch, head)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert address_of_cluster() == head
    monkeypatch.setenv("RAY_ADDRESS", "local")
    assert address_of_cluster() is None
    leave_note(monkeypatch, None)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(InputError, match="no Ray was started on this machine"):
        address_of_cluster()


@pytest.mark.parametrize("reason", [AuthenticationError("InvalidAuthToken"), AS_TEXT])
def test_a_cluster_that_refuses_this_client_is_not_replaced_by_one_of_our_own(
    monkeypatch: pytest.MonkeyPatch, reason: Exception, head: str
) -> None:
    asked = []

    def refuse(address: str, **_: Any) -> None:
        asked.append(address)
        raise ConnectionError("Failed to connect") from reason

    monkeypatch.setattr(ray, "init", refuse)
    leave_note(monkeypatch, head)
    with pytest.raises(InputError, match="RAY_AUTH_MODE=token"), ray_session():
        pass
    assert asked == [head]


def test_a_cluster_that_wants_a_token_gets_the_one_of_this_machine_or_the_person_is_told(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    has_token = False
    monkeypatch.setattr(ray_internals, "use_token_of_this_machine", lambda: has_token)
    with head_that_says(grpc.StatusCode.UNAUTHENTICATED) as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(InputError, match="RAY_AUTH_MODE=token"), ray_session():
            pass
        assert asked == []
        has_token = True
        with ray_session():
            assert asked == [address]


def test_a_server_that_is_no_head_of_rays_is_not_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    with head_that_says(grpc.StatusCode.UNIMPLEMENTED) as address:
        assert not answers(address)


def test_a_cluster_of_another_version_is_named_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(address: str, **_: Any) -> None:
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(InputError, match=r"at 10\.0\.0\.1:6379 cannot be joined \(RuntimeError: Version mismatch"):
        join("10.0.0.1:6379", {}, {})


# -- a Ray of one's own -----------------------------------------------------------------------------------------------


def test_a_ray_that_does_not_start_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(address: str, **_: Any) -> None:
        raise OSError("No space left on device\nmore")

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with pytest.raises(InputError, match=r"cannot start on this machine \(OSError: No space left on device\)"):
        start(1, False, {}, {})


def test_a_temporary_folder_that_is_too_long_for_sockets_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert session.temporary_folder() is None, "Ray's own choice will do"
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("long" * 25)))
    found = session.temporary_folder()
    assert found is not None
    assert session.why_unusable(found) is None


def test_a_temporary_folder_that_a_person_named_is_used_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        Path(short, "file").write_text("")
        monkeypatch.setenv("RAY_TMPDIR", short)
        assert session.temporary_folder() is None
        for name, reason in (("x" * 90, "is longer than"), ("file", "Not a directory")):
            monkeypatch.setenv("RAY_TMPDIR", str(Path(short, name)))
            with pytest.raises(InputError, match=rf"RAY_TMPDIR=.* cannot be used \(.*{reason}"):
                session.temporary_folder()


def test_without_a_home_the_token_of_a_private_ray_is_not_written(
    monkeypatch: pytest.MonkeyPatch, asked: list[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert session.has_home_for_token()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as root, everything can be written
    assert not session.has_home_for_token()
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    start(1, False, {}, {})
    assert asked == ["local"]
    assert len(os.environ.pop("RAY_AUTH_TOKEN")) == 64


# -- what workers import ----------------------------------------------------------------------------------------------


def test_workers_import_from_the_repository_and_from_the_users_pythonpath(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["mods", "", "/elsewhere", str(REPOSITORY)]))
    assert worker_environment()["PYTHONPATH"] == os.pathsep.join(
        [str(REPOSITORY), str(tmp_path / "mods"), "/elsewhere"]
    )
    monkeypatch.delenv("PYTHONPATH")
    assert worker_environment()["PYTHONPATH"] == str(REPOSITORY)


@pytest.mark.parametrize("noted", [False, True])
def test_workers_have_the_variables_of_a_session_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, head: str, noted: bool
) -> None:
    found = dict[str, str]()

    def init(address: str, runtime_env: Any = None, **_: Any) -> None:
        found.update(os.environ if runtime_env is None else runtime_env["env_vars"])

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.delenv("MYGO_OURS", raising=False)
    monkeypatch.setenv("MYGO_THEIRS", "5")
    leave_note(monkeypatch, head if noted else None)
    with ray_session(variables={"MYGO_OURS": "1", "MYGO_THEIRS": "1"}):
        assert (found["MYGO_OURS"], found["MYGO_THEIRS"]) == ("1", "5")
        assert "MYGO_OURS" not in os.environ
    assert found["OMP_NUM_THREADS"] == "1"
