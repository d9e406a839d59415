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
    config.write_text(json.dumps({"provider": {"type": "aws"}}))
    assert capacity.nodes_being_set_up(config) == []
