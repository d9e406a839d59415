import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from pathspec import PathSpec
from ray.job_submission import JobStatus

from distributed.cluster import remote
from distributed.cluster.remote import ConnectionLostError, JobFailedError, check_before_connecting, follow, run_there
from distributed.cluster.session import REPOSITORY
from distributed.run import main
from mygo.errors import InputError


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cluster file, with a token beside it."""
    token = tmp_path / "auth_token"
    token.write_text("secret")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    file = tmp_path / "cluster.yaml"
    file.write_text("cluster_name: none\n")
    return file


class FakeJobs:
    """A cluster with one job, ``job-1``, whose output grows with every question; every third question fails."""

    def __init__(self, status: JobStatus = JobStatus.SUCCEEDED, exit_code: int = 0) -> None:
        self.questions = 0
        self.connections = 0
        self.status = status
        self.exit_code = exit_code

    @contextmanager
    def connected(self, cluster: Path) -> Iterator["FakeJobs"]:
        self.connections += 1
        yield self

    def list_jobs(self) -> list[Any]:
        self.questions += 1
        if self.questions % 3 == 0:
            raise ConnectionResetError("gone")
        return [SimpleNamespace(submission_id="job-1")]

    def get_job_info(self, job: str) -> Any:
        status = self.status if self.questions >= 7 else JobStatus.RUNNING
        return SimpleNamespace(status=status, driver_exit_code=self.exit_code, metadata={"out": "/shared/out"})

    def get_job_logs(self, job: str) -> str:
        return "".join(f"line {number}\n" for number in range(self.questions))


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> FakeJobs:
    jobs = FakeJobs()
    monkeypatch.setattr(remote, "connected", jobs.connected)
    monkeypatch.setattr(remote, "ASK_SECONDS", 0.0)
    return jobs


def test_output_is_shown_once_and_whole_over_lost_connections(
    cluster: Path, jobs: FakeJobs, capsys: pytest.CaptureFixture[str]
) -> None:
    details = follow(cluster, "job-1")
    assert details.status is JobStatus.SUCCEEDED
    assert jobs.connections == 3
    shown = capsys.readouterr()
    assert shown.out == "".join(f"line {number}\n" for number in range(7))
    assert shown.err == "The connection is lost; trying again.\n" * 2


def test_a_cluster_that_stays_out_of_reach_ends_the_following_and_not_the_job(
    cluster: Path, jobs: FakeJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "RECONNECT_SECONDS", -1.0)
    with pytest.raises(ConnectionLostError, match="job-1 goes on there: come back with --attach job-1"):
        follow(cluster, "job-1")


def test_a_job_that_the_cluster_does_not_have_is_named(cluster: Path, jobs: FakeJobs) -> None:
    with pytest.raises(InputError, match="no job job-2"):
        follow(cluster, "job-2")


def test_a_job_that_fails_ends_with_its_exit_code(cluster: Path, jobs: FakeJobs) -> None:
    jobs.status, jobs.exit_code = JobStatus.FAILED, 2
    with pytest.raises(JobFailedError, match="ended as FAILED") as failed:
        run_there(cluster, [], None, job="job-1")
    assert failed.value.exit_code == 2


def test_what_cannot_work_is_found_before_connecting(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_before_connecting(cluster, Path("/shared/out"), None)
    check_before_connecting(cluster, None, "job-1")
    for out in (None, Path("runs/relative")):
        with pytest.raises(InputError, match="--out with an absolute folder"):
            check_before_connecting(cluster, out, None)
    with pytest.raises(InputError, match="is not a file"):
        check_before_connecting(tmp_path / "none.yaml", Path("/shared/out"), None)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "no_token"))
    with pytest.raises(InputError, match="ray get-auth-token --generate"):
        check_before_connecting(cluster, Path("/shared/out"), None)
    assert main(["--attach", "job-1"]) == 2
    assert "--attach needs --cluster" in capsys.readouterr().err


def test_the_flags_for_the_cluster_are_those_that_are_not_about_reaching_it(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(remote, "run_there", lambda *arguments: sent.extend(arguments))
    assert main(["--num-tasks", "2", "--cluster", str(cluster), "--out=/shared/out", "--sleep.steps", "3"]) == 0
    flags = ["--num-tasks", "2", "--out=/shared/out", "--sleep.steps", "3"]
    assert sent == [cluster, flags, Path("/shared/out"), None, None]


def test_what_a_file_of_settings_holds_goes_along_and_the_file_need_not_be_there(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_vectors: Callable[..., str]
) -> None:
    config, data = tmp_path / "best.json", write_vectors(tmp_path / "it's.npz", ("ash", "birch"))
    config.write_text(json.dumps({"dataset": data}))
    client, left = mock.Mock(**{"submit_job.return_value": "job-1"}), {"out": "/shared/out", "results": "results.json"}
    ended = SimpleNamespace(status=JobStatus.SUCCEEDED, metadata=left)
    monkeypatch.setattr(remote, "connected", lambda _: nullcontext(client))
    monkeypatch.setattr(remote, "follow", lambda *_: ended)
    monkeypatch.setattr(remote, "fetch", lambda *_: None)
    assert main(["--cluster", str(cluster), "--out=/shared/out", "--config", str(config)]) == 0
    entrypoint = client.submit_job.call_args.kwargs["entrypoint"]
    assert str(config) not in entrypoint
    config.unlink()
    Path(data).unlink()
    path = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    found = subprocess.run(
        entrypoint, shell=True, cwd=REPOSITORY, env=os.environ | path, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 2
    assert "it's.npz is not there" in " ".join(found.stderr.split())


def test_a_cluster_that_cannot_be_reached_is_named_whatever_became_of_the_tunnel(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ray_command", lambda *_: [sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(ConnectionLostError, match=r"cannot be reached \(no tunnel to the cluster's head"):
        run_there(cluster, [], Path("/shared/out"))


@pytest.mark.parametrize(("flag", "results"), [("--resume", "results.json"), ("--side_by_side", "side-by-side.json")])
def test_what_a_job_leaves_is_brought_back(
    cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flag: str, results: str
) -> None:
    client, commands = mock.Mock(), list[list[str]]()

    def run(command: list[str], **_: object) -> Any:
        commands.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(remote.subprocess, "run", run)
    remote.submit(client, [flag], Path("/shared/out"))
    left = client.submit_job.call_args.kwargs["metadata"]
    remote.fetch(cluster, Path(left["out"]), tmp_path / "job", left["results"])
    assert [command[-2] for command in commands] == [f"/shared/out/{results}", "/shared/out/tensorboard"]


def test_all_code_travels_with_a_job_and_what_a_run_leaves_does_not() -> None:
    stays = PathSpec.from_lines("gitwildmatch", remote.STAYS_HERE)
    files = [str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "mygo").rglob("*.py")]
    assert "mygo/data/examples.py" in files
    assert list(stays.match_files(files)) == []
    assert stays.match_file("data/MNIST/raw")
    assert stays.match_file("runs/first/results.json")
    assert stays.match_file(".venv/bin/python")
