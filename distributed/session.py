"""Connects to the Ray cluster that is there, or starts one on this machine, and ends what it started."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from mygo.errors import MygoError

REPOSITORY = Path(__file__).resolve().parent.parent

TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon Train notices that a life is over; 2 s by default
    "RAY_TRAIN_V2_ENABLED": "1",
}


@contextmanager
def ray_session(*, num_cpus: int | None = None, verbose: bool = False) -> Iterator[None]:
    """Be connected to Ray inside the block.

    Uses the cluster that ``RAY_ADDRESS`` names or that runs on this machine; else starts one with ``num_cpus`` cores
    (all, by default) and ends it afterwards. Unless ``verbose``, Ray's own log stays in its files.

    Raises:
        MygoError: ``RAY_ADDRESS`` names a cluster that does not answer.
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
        # One thread per process unless it asks for more: oversubscribed processes run many times slower.
        "runtime_env": {"env_vars": {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}},
    }
    if os.environ.get("RAY_ADDRESS"):
        try:
            ray.init(**common)
        except ConnectionError as error:
            raise MygoError(
                f"No Ray cluster answers at RAY_ADDRESS={os.environ['RAY_ADDRESS']}: start it, or unset RAY_ADDRESS."
            ) from error
    else:
        try:
            ray.init("auto", **common)
        except ConnectionError:
            ray.init("local", num_cpus=num_cpus or os.cpu_count(), include_dashboard=False, **common)
    try:
        yield
    finally:
        sys.stdout.flush()
        ray.shutdown()
