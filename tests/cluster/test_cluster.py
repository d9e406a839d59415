"""A digits life on a real cluster: three hosts, started with `ray up`, through ssh and rsync, on one machine.

The tests share the cluster and run in the order in which they stand: its start and its end are tests as well.
"""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
HEAD = "10.77.0.11"
ADDRESSES = (HEAD, "10.77.0.12", "10.77.0.13")
SHARED = "/srv/shared"
RayCluster = Any
"""What the fixture `ray_cluster_on_hosts` of conftest.py returns; test modules cannot import it."""

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

WHOLE = "--strategies mygo --num-workers 2 --num-dreamers 1"
SMALL = (
    "--strategies mygo --num-tasks 2 --wake.head-steps 20 --wake.adapt-steps 20 --memory.gan.steps 60 "
    "--memory.fidelity-floor 0 --memory.diversity-floor 0"
)
WHAT_COUNTS = ("accuracy_matrix", "label_fidelity", "diversity", "memory_bytes")


def mygo_of(results: Path) -> dict[str, Any]:
    entry = json.loads(results.read_text())["strategies"]["mygo"]
    return {key: entry[key] for key in WHAT_COUNTS}


def here(flags: str, out: Path) -> dict[str, Any]:
    """Run the main command on this machine alone, and return what counts of its results."""
    command = [sys.executable, "distributed/run.py", *flags.split(), "--out", str(out)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return mygo_of(out / "results.json")


def assert_close(some: Any, others: Any) -> None:
    """Compare nested lists and dicts of numbers, up to rounding."""
    if isinstance(some, dict):
        assert some.keys() == others.keys()
        some, others = list(some.values()), list(others.values())
    if isinstance(some, list):
        assert len(some) == len(others)
        for one, other in zip(some, others, strict=True):
            assert_close(one, other)
    else:
        assert some == pytest.approx(others, abs=1e-6)


def plain(text: str) -> str:
    """Return ``text`` without a terminal's colours, in one line."""
    return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text))


def workers_in(output: str) -> list[list[str]]:
    """Return the addresses of the training workers, one list for every start of them."""
    told = re.findall(r"Training workers on ((?:[\d.]+, )*[\d.]+\d)", plain(output))
    return [addresses.split(", ") for addresses in told]


def assert_lived_on_two_hosts(ended: "subprocess.CompletedProcess[str]") -> None:
    assert "ended with 0" in ended.stdout, ended.stdout[-3000:]
    (workers,) = workers_in(ended.stdout)
    assert len(set(workers)) == 2
    assert set(workers) <= set(ADDRESSES)


def test_ray_up_and_a_job_from_ones_own_machine_to_a_life_on_three_hosts(ray_cluster_on_hosts: RayCluster) -> None:
    """As docs/cluster.md says it: from the launcher, with its working tree; with an interruption, and `--attach`."""
    hosts, config = ray_cluster_on_hosts.hosts, ray_cluster_on_hosts.config
    (hosts.home(0) / "few.json").write_text(json.dumps({"life": {"sleep": {"steps": 20}}}))
    start = (
        f"cd ~ && python {REPOSITORY}/distributed/run.py --cluster {config} {SMALL} --config few.json --num-workers 3 "
        f"--out {SHARED}/job"
    )
    told = hosts.on(0, f"timeout --signal INT 40 bash -c '{start}'").stdout
    job = re.search(r"Job (\S+) is on the cluster", told)
    assert job is not None, told
    again = hosts.launch(f"cd ~ && python {REPOSITORY}/distributed/run.py --cluster {config} --attach {job[1]}")
    (workers,) = workers_in(again)
    assert set(workers) == set(ADDRESSES)
    brought = hosts.home(0) / "runs" / job[1]
    assert json.loads((brought / "results.json").read_text())["config"]["life"]["sleep"]["steps"] == 20
    assert mygo_of(brought / "results.json") == mygo_of(ray_cluster_on_hosts.shared / "job" / "results.json")
    assert list((brought / "tensorboard").rglob("events*"))


WAIT = """
import json
from pathlib import Path
from distributed.cluster import capacity
from distributed.cluster.session import ray_session

left = json.loads(Path(capacity.HEAD_CONFIG).expanduser().read_bytes())
left["provider"]["worker_ips"].append("10.77.0.99")
longer = Path("longer.json").absolute()
longer.write_text(json.dumps(left))
capacity.HEAD_CONFIG, capacity.SETUP_SECONDS = str(longer), 1.0
with ray_session():
    capacity.wait_for_nodes(None, print)
"""


@pytest.mark.parametrize("variables", ["", f"RAY_ADDRESS={HEAD}:6379", "RAY_ADDRESS=local"])
def test_a_machine_that_has_not_joined_is_waited_for_by_runs_on_the_cluster_that_it_is_to_join(
    ray_cluster_on_hosts: RayCluster, variables: str
) -> None:
    (ray_cluster_on_hosts.shared / "wait.py").write_text(WAIT)
    line = ray_cluster_on_hosts.exec(f"PYTHONPATH=. {variables} python {SHARED}/wait.py; echo ended with $?")
    said = subprocess.run(line, capture_output=True, text=True, timeout=300).stdout
    assert "ended with 0" in said, said[-2000:]
    waited = re.search(r"Waiting for nodes that are being set up: .*10\.77\.0\.99", plain(said))
    assert bool(waited) == (variables != "RAY_ADDRESS=local"), said[-2000:]


def test_an_unauthenticated_client_is_refused(ray_cluster_on_hosts: RayCluster) -> None:
    hosts = ray_cluster_on_hosts.hosts
    connect = f"python -c 'import ray; ray.init(\"{HEAD}:6379\", log_to_driver=False); print(len(ray.nodes()))'"
    address = f"export RAY_ADDRESS={HEAD}:6379"
    commands = (
        connect,
        f"RAY_AUTH_MODE=disabled {connect}",
        f"RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef {connect}",
        f"{address}; cd mygo && RAY_AUTH_MODE=disabled python distributed/run.py --out {SHARED}/stranger",
    )
    with ThreadPoolExecutor() as pool:  # Ray tries for long before it gives up
        allowed, *strangers, ours = pool.map(lambda command: hosts.on(1, command, timeout=120), commands)
    assert allowed.stdout.strip().isdigit(), allowed.stderr[-2000:]
    for ended in strangers:
        assert ended.returncode != 0
        assert "uthenticat" in ended.stderr, ended.stderr[-2000:]
        assert ended.stdout.strip() == ""
    assert ours.returncode == 2, ours.stderr[-2000:]
    assert "RAY_AUTH_MODE" in ours.stderr
    assert "Traceback" not in ours.stderr
    assert not (ray_cluster_on_hosts.shared / "stranger").exists()


def test_the_dashboard_answers_on_the_head_alone_and_asks_for_the_token(ray_cluster_on_hosts: RayCluster) -> None:
    hosts = ray_cluster_on_hosts.hosts
    ask = (
        "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1] + ':8265/api/jobs/', timeout=10).status)"
    )
    elsewhere = hosts.on(2, f'python -c "{ask}" http://{HEAD}')
    assert "Connection refused" in elsewhere.stderr
    there = hosts.on(1, f'python -c "{ask}" http://127.0.0.1')
    assert re.search("HTTP Error 40[13]", there.stderr), there.stderr[-1000:]


def test_what_cannot_work_is_found_before_training_and_the_node_is_named(ray_cluster_on_hosts: RayCluster) -> None:
    cluster = ray_cluster_on_hosts
    too_many = plain(cluster.run(f"--num-workers 9 --out {SHARED}/many").stdout)
    assert re.search(r"--num-workers 9 needs 9 CPUs .* the cluster has 3 CPUs", too_many)
    assert "ended with 2" in too_many
    private = plain(cluster.run("--num-workers 2 --out /tmp/private").stdout)
    assert re.search(r"Node 10\.77\.0\.1[23] does not see /tmp/private", private), private[-2000:]
    assert "ended with 2" in private
    assert not (cluster.shared / "many").exists()
    changed = cluster.hosts.home(3) / "mygo" / "mygo" / "evaluate.py"
    original = changed.read_bytes()
    try:
        changed.write_bytes(original + b"\n# another version\n")
        other = plain(cluster.run(f"--num-workers 2 --out {SHARED}/other").stdout)
    finally:
        changed.write_bytes(original)
    assert "Node 10.77.0.13 has MyGO's source" in other, other[-2000:]
    assert "ended with 2" in other


def output_of(process: "subprocess.Popen[str]") -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def read_until(lines: Iterable[str], pattern: str, seen: list[str]) -> None:
    """Read ``lines`` up to the first that ``pattern`` is found in, and add what was read to ``seen``."""
    for line in lines:
        seen.append(line)
        if re.search(pattern, line):
            return
    raise AssertionError(f"no {pattern!r} in:\n{''.join(seen)}")


def test_a_host_that_is_lost_in_the_middle_of_a_sleep_changes_nothing_but_the_time(
    ray_cluster_on_hosts: RayCluster, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    cluster = ray_cluster_on_hosts
    # Two workers and dreamers that take no CPU: the two hosts that are left have room for all.
    flags = f"{SMALL} --sleep.steps 400 --num-workers 2 --num-dreamers 2 --save-every 0.5"
    out = cluster.shared / "killed"
    manifest = out / "life" / "mygo" / "manifest.json"
    line = cluster.exec(f"python distributed/run.py {flags} --out {SHARED}/killed; echo ended with $?")
    seen: list[str] = []
    with (
        ThreadPoolExecutor() as pool,
        subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running,
    ):
        read_until(output_of(running), "task 2, memorise: .* s", seen)
        (workers,) = workers_in("".join(seen))
        victim = next(host for host, address in enumerate(ADDRESSES, start=1) if address in workers and address != HEAD)
        wait_until(lambda: json.loads(manifest.read_text()).get("checkpoint", {}).get("phase") == "consolidate")
        assert json.loads(manifest.read_text())["phases_done"][-1] == "memorise"
        subprocess.run(cluster.hosts.script("kill", victim), check=True)
        undisturbed = pool.submit(here, flags, tmp_path / "undisturbed")  # while Ray finds out
        read_until(output_of(running), r"ended with \d", seen)
    output = "".join(seen)
    assert "ended with 0" in output, output[-3000:]
    assert "Restart 1 of 3, from the last saved point" in plain(output)
    assert ADDRESSES[victim - 1] not in workers_in(output)[-1]
    assert_close(mygo_of(out / "results.json"), undisturbed.result())


def assert_ray_down_leaves_nothing_running(
    cluster: RayCluster, living: list[int], wait_until: Callable[..., None]
) -> None:
    assert all(cluster.hosts.ray_processes(host) for host in living)
    cluster.hosts.launch(f"ray down -y {cluster.config}")
    wait_until(lambda: not any(cluster.hosts.ray_processes(host) for host in living), 90)


def living_hosts(cluster: RayCluster) -> list[int]:
    return [host for host in (1, 2, 3) if cluster.hosts.on(host, "true").returncode == 0]


def test_ray_down_leaves_nothing_running(ray_cluster_on_hosts: RayCluster, wait_until: Callable[..., None]) -> None:
    living = living_hosts(ray_cluster_on_hosts)
    assert len(living) >= 2
    assert_ray_down_leaves_nothing_running(ray_cluster_on_hosts, living, wait_until)


@pytest.mark.figures
def test_ray_up_to_the_default_life_in_five_minutes_with_the_results_of_one_host(
    ray_cluster_on_hosts: RayCluster, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    """Right after `ray down`, on hosts of which one was lost and came back."""
    cluster = ray_cluster_on_hosts
    for host in {1, 2, 3} - set(living_hosts(cluster)):
        subprocess.run(cluster.hosts.script("restore", host), check=True)
    began = time.monotonic()
    cluster.hosts.launch(f"ray up -y {cluster.config}")
    assert_lived_on_two_hosts(cluster.run(f"{WHOLE} --out {SHARED}/whole", timeout=400))
    seconds = time.monotonic() - began
    lived = mygo_of(cluster.shared / "whole" / "results.json")
    print(f"ray up to the end of the default life: {seconds:.0f} s; {lived['accuracy_matrix']['class_il'][-1]}")
    assert seconds < 300
    assert_ray_down_leaves_nothing_running(cluster, [1, 2, 3], wait_until)
    assert_close(lived, here(WHOLE, tmp_path / "whole"))
