"""The main command on a cluster, from one's own machine: the working tree goes there as a Ray job, through ssh.

A job goes on whatever becomes of the connection. So output is requested, not pushed: after a break the next question
brings what was missed.
"""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from distributed.cluster.session import REPOSITORY
from mygo.errors import InputError, MygoError
from mygo.reporting.terminal import printable_lines

ASK_SECONDS = 1.0
RECONNECT_SECONDS = 300.0
"""How long a lost connection is tried again before the job is left to itself."""
TUNNEL_SECONDS = 60.0
DASHBOARD_PORT = 8265
STAYS_HERE = [".*/", "/runs/", "/data/", "/docs/site/"]
"""What of the working tree does not travel with a job, as .gitignore writes it: mygo/data/ does."""


class ConnectionLostError(MygoError):
    """The cluster cannot be reached; the job there goes on."""


class DetachedError(MygoError):
    """The person went away; the job on the cluster goes on."""

    exit_code = 130


class JobFailedError(MygoError):
    """The command on the cluster ended with an error, which its output says."""


def run_there(
    cluster: Path,
    flags: Sequence[str],
    out: Path | None,
    job: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Run the main command with ``flags`` on ``cluster``, show its output, and bring back what it leaves in ``out``.

    The flags change ``settings``, which are the content of a file for --config. With a ``job`` that was started before,
    show its output and bring back its results instead.

    Raises:
        InputError: there is no such file, job or token, or ``out`` is not a folder of the cluster's storage.
        JobFailedError: the command ended with an error; the exit code is the command's.
        ConnectionLostError: the cluster cannot be reached.
        DetachedError: a person interrupted this, not the job.
    """
    check_before_connecting(cluster, out, job)
    if job is None:
        try:
            with connected(cluster) as client:
                job = submit(client, flags, out, settings)
        except ConnectionError as error:
            raise ConnectionLostError(f"The cluster of {cluster} cannot be reached ({error}): is it up?") from error
        print(f"Job {job} is on the cluster; to come back to it: --cluster {cluster} --attach {job}", flush=True)
    try:
        ended = follow(cluster, job)
    except KeyboardInterrupt as interrupt:
        raise DetachedError(f"Job {job} goes on; to come back: --cluster {cluster} --attach {job}") from interrupt
    if ended.status.value != "SUCCEEDED":
        failed = JobFailedError(f"Job {job} on the cluster ended as {ended.status.value}; its output says why.")
        failed.exit_code = ended.driver_exit_code or JobFailedError.exit_code
        raise failed
    fetch(cluster, Path(ended.metadata["out"]), Path("runs") / job, ended.metadata["results"])


def check_before_connecting(cluster: Path, out: Path | None, job: str | None) -> None:
    """Find what cannot work without a request to the cluster.

    Raises:
        InputError: something cannot.
    """
    if not cluster.is_file():
        raise InputError(f"--cluster {cluster} is not a file: name the one that `ray up` was given.")
    if job is None and (out is None or not out.is_absolute()):
        raise InputError("--cluster needs --out with an absolute folder of the storage that the cluster's nodes share.")
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # as the cluster files say
    token = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    if os.environ["RAY_AUTH_MODE"] == "token" and "RAY_AUTH_TOKEN" not in os.environ and not token.is_file():
        raise InputError(f"{token} is missing: make it with `ray get-auth-token --generate`, and run `ray up` again.")


def submit(client: Any, flags: Sequence[str], out: Path | None, settings: Mapping[str, Any] | None = None) -> str:
    """Send the working tree, start the main command with ``flags`` on the head, and return the job's name.

    ``settings`` come to it on its standard input.
    """
    from mygo.jobs.tasks_together import RESULTS as TOGETHER

    together = "--side-by-side" in (flag.replace("_", "-") for flag in flags)
    command = f"python distributed/run.py {shlex.join(flags)}"
    if settings is not None:
        command += f" --config /dev/stdin <<'END'\n{json.dumps(settings)}\nEND"
    job: str = client.submit_job(
        entrypoint=command,
        submission_id=time.strftime("mygo-%Y%m%d-%H%M%S"),
        runtime_env={"working_dir": str(REPOSITORY), "excludes": STAYS_HERE},
        metadata={"out": str(out), "results": TOGETHER if together else "results.json"},
    )
    return job


def follow(cluster: Path, job: str) -> Any:
    """Print the output of ``job`` until it ends, over as many connections as that takes; returns the job's details.

    Raises:
        InputError: the cluster has no such job.
        ConnectionLostError: the cluster was out of reach for `RECONNECT_SECONDS`.
    """
    shown, last_answer = 0, time.monotonic()
    while True:
        try:
            with connected(cluster) as client:
                while True:
                    if all(job != known.submission_id for known in client.list_jobs()):
                        raise InputError(f"The cluster has no job {job}: `ray job list` shows those that it has.")
                    details = client.get_job_info(job)  # before the output, so that the last of it is not missed
                    output = client.get_job_logs(job)
                    print(printable_lines(output[shown:]), end="", flush=True)
                    shown, last_answer = len(output), time.monotonic()
                    if details.status.is_terminal():
                        return details
                    time.sleep(ASK_SECONDS)
        except OSError as error:  # noqa: PERF203 (requests' errors are among them)
            if time.monotonic() - last_answer > RECONNECT_SECONDS:
                raise ConnectionLostError(
                    f"The cluster cannot be reached; job {job} goes on there: come back with --attach {job}."
                ) from error
            print("The connection is lost; trying again.", file=sys.stderr, flush=True)
            time.sleep(ASK_SECONDS)


@contextmanager
def connected(cluster: Path) -> Iterator[Any]:
    """Yield a client of the cluster's jobs, through an ssh tunnel to the head, where alone they are served.

    Raises:
        ConnectionError: there is no tunnel, or nothing answers at its other end.
        InputError: the cluster refuses this machine's token.
    """
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    port = free_port()
    command = ray_command("dashboard", str(cluster), "--port", str(port), "--remote-port", str(DASHBOARD_PORT))
    tunnel = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for_port(port, tunnel)
        try:
            client = JobSubmissionClient(f"http://127.0.0.1:{port}")
        except AuthenticationError as error:
            raise InputError("The cluster refuses this machine's token: run `ray up` again.") from error
        yield client
    finally:
        with suppress(ProcessLookupError):  # it ended by itself: there was no way to the head
            os.killpg(tunnel.pid, signal.SIGTERM)  # ssh is its child
        tunnel.wait()


def wait_for_port(port: int, tunnel: "subprocess.Popen[bytes]") -> None:
    """Wait until something listens at ``port`` of this machine.

    Raises:
        ConnectionError: the tunnel ended, or took more than `TUNNEL_SECONDS`.
    """
    deadline = time.monotonic() + TUNNEL_SECONDS
    while time.monotonic() < deadline and tunnel.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:  # noqa: PERF203
            time.sleep(0.2)
        else:
            return
    raise ConnectionError("no tunnel to the cluster's head")


def fetch(cluster: Path, out: Path, here: Path, results: str) -> None:
    """Copy the file ``results`` and TensorBoard's files, pictures included, from ``out`` on the cluster to ``here``.

    Raises:
        MygoError: they cannot be copied.
    """
    here.mkdir(parents=True, exist_ok=True)
    for source, target in ((out / results, here), (out / "tensorboard", here)):
        ended = subprocess.run(
            ray_command("rsync-down", str(cluster), str(source), f"{target}/"), capture_output=True, text=True
        )
        if ended.returncode:
            raise MygoError(f"{source} cannot be copied from the cluster: try again with --attach.")
    print(f"Results: {here / results}. Curves and dreams: tensorboard --logdir {here / 'tensorboard'}")


def ray_command(*arguments: str) -> list[str]:
    """Return the command line of `ray` with ``arguments``, of the installation that this process runs on."""
    return [sys.executable, "-m", "ray.scripts.scripts", *arguments]


def free_port() -> int:
    """Return a port of this machine that nothing listens at."""
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        port: int = any_socket.getsockname()[1]
    return port
