import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.placement_group import placement_group, remove_placement_group

from distributed.cluster import capacity, ray_internals
from distributed.cluster.capacity import Reservation, held_by_jobs, in_words, reserved
from distributed.cluster.placement import place
from mygo.errors import InputError
from mygo.events import Event, Notice


def texts(told: list[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, Notice)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits says so soon, and does not wait long for machines that are not there."""
    monkeypatch.setattr(capacity, "NOTICE_AFTER_SECONDS", 1.0)
    monkeypatch.setattr(capacity, "PATIENCE_SECONDS", 1.0)


def test_what_the_cluster_never_has_is_waited_for_with_a_message_and_ends_with_both_numbers(
    ray_cluster: None, impatient: None
) -> None:
    told: list[Event] = []
    with reserved(place({"CPU": 2}, 2, 1), 2, told.append) as room:
        assert room.placement.num_workers == 2
    assert told == []
    big = place({"CPU": 3}, 3, 1)
    with (
        pytest.raises(InputError, match=r"no room for 3 workers with 1 CPU .* has 2 CPUs"),
        reserved(big, 3, told.append),
    ):
        pass
    assert texts(told)[0].startswith("Waiting for room for 3 workers with 1 CPU: the cluster has 2 CPUs and 0 GPUs now")
    with reserved(place({"CPU": 4}, 4, 1), 1, told.append) as room:
        assert room.placement.num_workers == 2, "as many as there is room for"


def test_a_run_holds_nothing_while_it_waits_and_says_who_holds_what_it_waits_for(
    ray_cluster: None, impatient: None
) -> None:
    """One of two cores is taken, so a worker and a dreamer cannot have one each: they take none, and wait for both."""
    other = placement_group([{"CPU": 1}])
    assert other.wait(30)
    told: list[Event] = []
    got, let_go = threading.Event(), threading.Event()

    def run() -> None:
        with reserved(place({"CPU": 2}, 1, 1), 1, told.append):
            got.set()
            let_go.wait(60)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        while not told:
            assert not got.wait(0.2)
        assert ray.available_resources()["CPU"] == 1
        text = texts(told)[0]
        assert "for 1 worker with 1 CPU, and 1 dreamer with 1 CPU: the cluster has 2 CPUs and 0 GPUs now" in text
        holder = "another program" if ray_internals.fallbacks_forced() else f"process {os.getpid()})"
        assert f"{holder} holds 1 CPU" in text
        assert not got.wait(2 * capacity.PATIENCE_SECONDS), "patience is for machines, not for others' work"
        remove_placement_group(other)
        assert got.wait(30)
    finally:
        remove_placement_group(other)
        let_go.set()
        thread.join()


def test_with_fewer_workers_allowed_a_run_takes_what_others_leave(ray_cluster: None, impatient: None) -> None:
    other = placement_group([{"CPU": 1}])
    assert other.wait(30)
    try:
        with reserved(place({"CPU": 2}, 2, 1), 1, lambda event: None) as room:
            assert room.placement.num_workers == 1
            assert room.placement.bundles == [{"CPU": 1}]
    finally:
        remove_placement_group(other)


def test_dreamers_go_into_their_own_bundles_and_anywhere_if_they_need_nothing() -> None:
    group: Any = object()
    room = Reservation(place({"CPU": 4}, 2, 2), group, first=1)
    assert room.worker_bundles == [1, 2]
    strategy = room.strategy_of_dreamer(1)
    assert not isinstance(strategy, str)
    assert strategy.placement_group_bundle_index == 4
    assert Reservation(place({"CPU": 2}, 2, 2), group).strategy_of_dreamer(0) == "SPREAD"


def test_what_is_granted_is_told_by_job_and_what_is_only_asked_for_is_not() -> None:
    def group(job: str, state: str, *bundles: dict[str, float]) -> dict[str, Any]:
        return {"placement_group_id": "7" * 28 + job, "state": state, "bundles": dict(enumerate(bundles))}

    groups = [
        group("01000000", "CREATED", {"CPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}),
        group("01000000", "CREATED", {"CPU": 1.0}),
        group("02000000", "PENDING", {"CPU": 8.0}),
        group("03000000", "CREATED", {"memory": 1.0}),
    ]
    assert held_by_jobs(groups) == {"01000000": {"CPU": 4.0, "GPU": 1.0}}


def test_a_placement_is_said_in_words() -> None:
    assert in_words(place({"CPU": 4}, 2, 2)) == "2 workers with 1 CPU, and 2 dreamers with 1 CPU"
    assert in_words(place({"CPU": 1}, 1, 2)) == "1 worker with 1 CPU"


def test_a_placement_is_kept_until_a_node_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    monkeypatch.setattr(capacity, "cpus_of_nodes", lambda: [2.0])
    given = place({"CPU": 4}, 2, 2)  # whose dreamers have cores of their own, on nodes that autoscaling is to add
    alone = place({"CPU": 2}, 2, 2)
    assert given != alone
    assert capacity.fitting(given, 2, waited=False, lost=False) == given
    assert capacity.fitting(given, 2, waited=False, lost=True) == alone


def has(monkeypatch: pytest.MonkeyPatch, there: dict[str, float], free: dict[str, float] | None = None) -> None:
    """Let the cluster have what is ``there``, on nodes of four CPUs, and all of it or what is ``free`` left."""
    monkeypatch.setattr(ray, "cluster_resources", lambda: there)
    monkeypatch.setattr(ray, "available_resources", lambda: there if free is None else free)
    monkeypatch.setattr(capacity, "cpus_of_nodes", lambda: [4.0] * int(there["CPU"] // 4))


SHARED_GPUS = place({"CPU": 24, "GPU": 6}, 6, 6)
"""Six workers, each with its part of a GPU that a dreamer shares."""


@pytest.mark.parametrize(("gpus", "expected"), [(6, 6), (5, 5), (4, 4), (1, 1)])
def test_a_worker_with_a_part_of_a_gpu_needs_one_to_itself(
    monkeypatch: pytest.MonkeyPatch, gpus: int, expected: int
) -> None:
    has(monkeypatch, {"CPU": 4.0 * gpus, "GPU": float(gpus)})
    placement = capacity.fitting(SHARED_GPUS, 1, waited=False, lost=True)
    assert (placement.num_workers, placement.gpus_per_worker) == (expected, 0.75)


@pytest.mark.parametrize("shared", [True, False])
def test_gpus_that_are_lost_are_waited_for_where_fewer_workers_will_not_do(
    monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    most = place({"CPU": 24, "GPU": 5 if shared else 6}, 5, 1)
    assert most.gpus_per_worker == (0.75 if shared else 1.0)
    has(monkeypatch, {"CPU": 16.0, "GPU": 4.0})
    assert capacity.fitting(most, 5, waited=False, lost=True) == most
    assert capacity.fitting(most, 5, waited=True, lost=True) == most
    assert capacity.too_small_for(most), "though 5 × 0.75 and 0.25 are 4 GPUs"
    assert not capacity.too_small_for(place({"CPU": 16, "GPU": 4}, 4, 1))


@pytest.mark.parametrize(("free", "expected"), [(3.25, 3), (1.0, 1), (0.75, 1)])
def test_of_gpus_that_others_leave_whole_ones_count(
    monkeypatch: pytest.MonkeyPatch, free: float, expected: int
) -> None:
    has(monkeypatch, {"CPU": 24.0, "GPU": 6.0}, {"CPU": 20.0, "GPU": free})
    placement = capacity.fitting(SHARED_GPUS, 1, waited=True, lost=False)
    assert (placement.num_workers, placement.gpus_per_worker) == (expected, 0.75)


def test_workers_on_cores_stay_there_when_gpus_join(monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, {"CPU": 8.0, "GPU": 1.0})
    placement = capacity.fitting(place({"CPU": 8}, 4, 1), 1, waited=False, lost=True)
    assert (placement.num_workers, placement.use_gpu) == (4, False)


def test_machines_that_ray_up_named_are_waited_for_until_they_join_or_fail(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "ray_bootstrap_config.yaml"
    assert capacity.nodes_being_set_up(config) == []
    here = capacity.living_nodes()[0]["NodeManagerAddress"]
    provider = {"type": "local", "head_ip": here, "worker_ips": [here, "192.0.2.8", "192.0.2.9"]}
    config.write_text(json.dumps({"provider": provider}))
    assert capacity.nodes_being_set_up(config) == ["192.0.2.8", "192.0.2.9"]
    monkeypatch.setattr(ray_internals, "nodes_that_failed_to_start", lambda: {"192.0.2.8"})
    assert capacity.nodes_being_set_up(config) == ["192.0.2.9"]
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("ray.util.get_node_ip_address", lambda: "192.0.2.7")
        assert capacity.nodes_being_set_up(config) == [], "this is not the head of the cluster"
    config.write_text(json.dumps({"provider": {"type": "aws"}}))
    assert capacity.nodes_being_set_up(config) == []


@pytest.mark.parametrize("joined", [True, False])
def test_a_ray_of_ones_own_waits_for_no_machines_of_an_earlier_cluster(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, joined: bool
) -> None:
    here = capacity.living_nodes()[0]["NodeManagerAddress"]
    config = tmp_path / "ray_bootstrap_config.yaml"
    provider = {"type": "local", "head_ip": here, "worker_ips": ["localhost", "192.0.2.9"]}
    config.write_text(json.dumps({"provider": provider}))
    monkeypatch.setattr(capacity, "HEAD_CONFIG", str(config))
    monkeypatch.setattr(capacity, "SETUP_SECONDS", 0.5)
    monkeypatch.setattr(capacity, "address_of_cluster", lambda: f"{here}:6379" if joined else None)
    named = {"localhost": here, "192.0.2.9": "192.0.2.9"}
    monkeypatch.setattr(capacity, "address_of", named.__getitem__)
    told: list[str] = []
    capacity.wait_for_nodes(None, told.append)
    assert told == (["Waiting for nodes that are being set up: 192.0.2.9"] if joined else [])
