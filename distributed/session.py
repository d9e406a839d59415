"""Connects to the Ray cluster that is there, or starts one on this machine, and ends what it started."""

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private.services import find_gcs_addresses
from ray._private.utils import read_ray_address
from ray.exceptions import AuthenticationError

from mygo.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # unless a process asks for more: oversubscribed processes run many times slower
    "PYTHONPATH": str(REPOSITORY),
}
TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",  # it would show what is not `verbose`
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon Train notices that a life is over; 2 s by default
    "RAY_TRAIN_V2_ENABLED": "1",
}


def check_address(address: str) -> None:
    """Find out within seconds whether anything listens at ``host:port``; Ray itself would try for minutes.

    Raises:
        InputError: nothing does.
    """
    try:
        knock(address)
    except OSError as error:
        raise InputError(f"No Ray cluster answers at RAY_ADDRESS={address}: start it, or unset RAY_ADDRESS.") from error


def knock(address: str) -> None:
    """Connect to ``host:port`` and leave again; an address of another form counts as one where somebody is.

    Raises:
        OSError: nothing listens there.
    """
    host, _, port = address.rpartition(":")
    if port.isdigit() and "://" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def was_left_behind() -> bool:
    """Tell whether all that is left of a cluster here is the note that `ray start` made; Ray would wait for it."""
    noted = read_ray_address()
    if noted is None or find_gcs_addresses():
        return False
    try:
        knock(noted)
    except OSError:
        return True
    return False


@contextmanager
def ray_session(*, num_cpus: int | None = None, dashboard: bool = False, verbose: bool = False) -> Iterator[None]:
    """Be connected to Ray inside the block.

    Uses the cluster that ``RAY_ADDRESS`` names or that runs on this machine; else starts one with ``num_cpus`` cores
    (all, by default), and its ``dashboard`` where asked for, and ends it afterwards. Unless ``verbose``, Ray's own log
    stays in its files.

    Raises:
        InputError: ``RAY_ADDRESS`` names a cluster that does not answer, or the cluster refuses this client.
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
    connect(num_cpus, dashboard, common)
    try:
        yield
    finally:
        sys.stdout.flush()
        ray.shutdown()


def connect(num_cpus: int | None, dashboard: bool, options: Mapping[str, Any]) -> None:
    """Connect with ``options`` to the cluster that is there, else start one here with ``num_cpus`` cores.

    Raises:
        InputError: ``RAY_ADDRESS`` names a cluster that does not answer, or the cluster refuses this client.
    """
    address = os.environ.get("RAY_ADDRESS") or "auto"
    if address == "auto" and was_left_behind():
        address = "local"
    if address not in ("auto", "local"):
        check_address(address)
    if address != "local":
        try:
            ray.init(address, runtime_env={"env_vars": WORKER_ENVIRONMENT}, **options)
            return
        except ConnectionError as error:
            if refused(error):  # there is a cluster: never start another beside it
                raise InputError(
                    "The Ray cluster refuses this client: set RAY_AUTH_MODE=token and put the cluster's token into "
                    "~/.ray/auth_token."
                ) from error
            if os.environ.get("RAY_ADDRESS"):
                raise
    # What is started here inherits it, sooner than a runtime environment. No cloud takes this machine away.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    with environment(WORKER_ENVIRONMENT):
        ray.init("local", num_cpus=num_cpus or os.cpu_count(), include_dashboard=dashboard, **options)


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


def refused(error: ConnectionError) -> bool:
    """Tell whether Ray could not connect because the cluster does not accept this client's token."""
    # Ray passes the reason on as the text of a traceback.
    return isinstance(error.__cause__, AuthenticationError) or "AuthenticationError" in str(error.__cause__)
