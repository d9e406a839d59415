"""Connects to the Ray cluster that a person started, or starts one on this machine, and ends what it started."""

import logging
import os
import re
import secrets
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
import ray
from ray.exceptions import AuthenticationError

from distributed.cluster import ray_internals
from distributed.cluster.ray_internals import default_temporary_folder
from mygo.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]

TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",  # it would show what is not `verbose`
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon Train notices that a life is over; 2 s by default
    "RAY_TRAIN_V2_ENABLED": "1",
}

ANSWER_SECONDS = 10.0
"""How long a cluster may take to answer."""
TOKEN_WANTED = (
    "The Ray cluster refuses this client: set RAY_AUTH_MODE=token and put the cluster's token into ~/.ray/auth_token."
)
LONGEST_SOCKET = 107
"""Bytes that the path of a Unix socket may have (unix(7))."""
SOCKET_IN_TEMPORARY_FOLDER = "/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store"
"""What Ray adds to its temporary folder for the longest path of a socket."""

NO_MORE: Mapping[str, str] = MappingProxyType({})
"""No variables but those that all workers have."""

_HOST_AND_PORT = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")


def worker_environment(variables: Mapping[str, str] = NO_MORE) -> dict[str, str]:
    """Return the variables of workers: they import from this repository first, then from the user's PYTHONPATH.

    ``variables`` are more of them, unless this process's environment says otherwise.
    """
    theirs = [str(Path(entry).resolve()) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    forced = {name: os.environ[name] for name in (ray_internals.FALLBACKS,) if name in os.environ}
    wanted = {name: os.environ.get(name, value) for name, value in variables.items()}
    return (
        wanted
        | forced
        | {
            "OMP_NUM_THREADS": "1",  # unless a process requests more: oversubscribed processes run many times slower
            "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *(path for path in theirs if path != str(REPOSITORY))]),
        }
    )


def usable_cores() -> int:
    """Return how many cores this process may use: fewer than the machine has under ``taskset`` and the like."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# -- a cluster that is there ------------------------------------------------------------------------------------------


def address_of_cluster() -> str | None:
    """Return the address of the cluster that ``RAY_ADDRESS`` names or that ``ray start`` noted on this machine.

    None if a Ray is to be started for this process alone. One that another run started for itself is never found: it
    ends with that run.

    Raises:
        InputError: ``RAY_ADDRESS`` is no address, or nobody answers there.
    """
    wanted = os.environ.get("RAY_ADDRESS", "").strip()
    if wanted == "local":
        return None
    if wanted not in ("", "auto"):
        if not _HOST_AND_PORT.fullmatch(wanted):
            raise InputError(
                f"RAY_ADDRESS={wanted} is not an address that a run can use: set it to HOST:PORT of a head node, such "
                "as 10.0.0.1:6379, or unset it."
            )
        if not answers(wanted):
            raise InputError(f"No Ray cluster answers at RAY_ADDRESS={wanted}: start it, or unset RAY_ADDRESS.")
        return wanted
    noted = None
    with suppress(OSError):  # another user's
        noted = ray_internals.noted_address()
    if noted and answers(noted):
        return noted
    if wanted == "auto":
        raise InputError("RAY_ADDRESS=auto, but no Ray was started on this machine: run `ray start`, or unset it.")
    return None


def answers(address: str) -> bool:
    """Return within `ANSWER_SECONDS` whether a head of Ray's listens at ``HOST:PORT``; Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, OverflowError, UnicodeError):
        return False
    if uses_tls():
        return True  # whose certificates are for Ray to read
    return ask_head(address) in (grpc.StatusCode.OK, grpc.StatusCode.UNAUTHENTICATED)


def uses_tls() -> bool:
    """Return whether clusters are to be spoken to over TLS."""
    return os.environ.get("RAY_USE_TLS", "0") not in ("", "0")


def ask_head(address: str) -> grpc.StatusCode:
    """Ask the head of Ray's at ``address`` whether it is alive, without a token, and return how that went."""
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(ray_internals.CHECK_ALIVE)(b"", timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()  # type: ignore[attr-defined]  # it is the call, too
            return code
    return grpc.StatusCode.OK


def join(address: str, variables: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Connect to the cluster at ``address``, with this machine's token where the cluster wants one.

    Workers have the environment ``variables``.

    Raises:
        InputError: it refuses this client, for its token, its version or another reason.
    """
    wants_token = not uses_tls() and ask_head(address) is grpc.StatusCode.UNAUTHENTICATED
    if wants_token and not ray_internals.use_token_of_this_machine():
        raise InputError(TOKEN_WANTED)
    try:
        ray.init(address, runtime_env={"env_vars": dict(variables)}, **options)
    except Exception as error:  # Ray raises several kinds, plain RuntimeError among them
        if refused(error):
            raise InputError(TOKEN_WANTED) from error
        raise InputError(f"The Ray cluster at {address} cannot be joined ({first_line(error)}).") from error


def refused(error: Exception) -> bool:
    """Return whether Ray could not connect because the cluster does not accept this client's token."""
    # Ray passes the reason on as the text of a traceback.
    reasons = (error, error.__cause__)
    return any(isinstance(each, AuthenticationError) or "AuthenticationError" in str(each) for each in reasons)


def first_line(error: BaseException) -> str:
    """Return the kind of ``error`` and the first line of what it says."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}".rstrip(": .")


# -- one of our own ---------------------------------------------------------------------------------------------------


def start(num_cpus: int | None, dashboard: bool, variables: Mapping[str, str], options: Mapping[str, Any]) -> None:
    """Start a Ray for this process alone, with ``num_cpus`` cores and the environment ``variables``.

    Raises:
        InputError: it does not start; the message says why.
    """
    folder = temporary_folder()
    # What is started here inherits these, sooner than a runtime environment. No cloud takes this machine away.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    if not has_home_for_token():
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        with environment({**variables, **({"RAY_TMPDIR": str(folder.parent)} if folder else {})}):
            ray.init(
                "local",
                num_cpus=num_cpus or usable_cores(),
                include_dashboard=dashboard,
                **options,
            )
    except Exception as error:  # whatever this machine lacks
        ray.shutdown()  # of what was started, nothing stays
        raise InputError(
            f"Ray cannot start on this machine ({first_line(error)}): its log is in "
            f"{(folder or default_temporary_folder()) / 'session_latest' / 'logs'}."
        ) from error


def temporary_folder() -> Path | None:
    """Return the folder ``ray`` in which Ray can put its sockets and logs; None for its own choice, if that will do.

    It will not where the path is too long for a socket, or the folder is somebody else's.

    Raises:
        InputError: the folder that ``RAY_TMPDIR`` names cannot be used, or none can.
    """
    default = default_temporary_folder()
    if (why := why_unusable(default)) is None:
        return None
    if os.environ.get("RAY_TMPDIR"):
        raise InputError(f"RAY_TMPDIR={os.environ['RAY_TMPDIR']} cannot be used ({why}): name another folder.")
    others = [Path("/tmp/ray"), Path(f"/tmp/mygo-{os.getuid()}/ray"), Path.home() / ".mygo/ray"]
    for folder in others:
        if why_unusable(folder) is None:
            return folder
    raise InputError(f"Ray has no folder for its sockets: {default} cannot be used ({why}); set RAY_TMPDIR to another.")


def why_unusable(folder: Path) -> str | None:
    """Return why Ray cannot put its sockets and logs into ``folder``, which need not exist yet; None if it can."""
    if len(os.fsencode(f"{folder}{SOCKET_IN_TEMPORARY_FOLDER}")) > LONGEST_SOCKET:
        most = LONGEST_SOCKET - len(SOCKET_IN_TEMPORARY_FOLDER)
        return f"{folder} is longer than {most} characters, and sockets in it could not be opened"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return None


def has_home_for_token() -> bool:
    """Return whether Ray finds, or can write, the token that a cluster of its own requests from its clients."""
    if os.environ.get("RAY_AUTH_MODE") == "disabled" or os.environ.get("RAY_AUTH_TOKEN"):
        return True
    try:
        token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
        if token.is_file():
            return os.access(token, os.R_OK)
        return os.access(next(parent for parent in token.parents if parent.exists()), os.W_OK)
    except (OSError, RuntimeError):  # pathlib's word for nobody's home
        return False


# -- either -----------------------------------------------------------------------------------------------------------


@contextmanager
def ray_session(
    *,
    num_cpus: int | None = None,
    dashboard: bool = False,
    verbose: bool = False,
    variables: Mapping[str, str] = NO_MORE,
) -> Iterator[None]:
    """Be connected to Ray inside the block.

    Uses the cluster that ``RAY_ADDRESS`` names or that a person started on this machine; else starts one with
    ``num_cpus`` cores (all, by default), and its ``dashboard`` where requested, and ends it afterwards. Unless
    ``verbose``, Ray's own log stays in its files. ``variables`` are of the workers' environment, unless this process's
    says otherwise.

    Raises:
        InputError: ``RAY_ADDRESS`` names a cluster that does not answer, the cluster refuses this client, or Ray cannot
            start here.
    """
    for name, value in TRAIN_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # accept Ray's coming default, without its warning
    if not verbose:
        warnings.filterwarnings("ignore", module="ray")
        for name in ("ray", "ray.train", "ray.data"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    common: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.CRITICAL,
    }
    address = address_of_cluster()
    if address is not None:
        join(address, worker_environment(variables), common)
    else:
        start(num_cpus, dashboard, worker_environment(variables), common)
    try:
        yield
    finally:
        sys.stdout.flush()
        ray.shutdown()


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Have ``values`` in this process's environment inside the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
