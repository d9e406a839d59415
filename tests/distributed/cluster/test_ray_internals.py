import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.util.placement_group import placement_group_table

from distributed.cluster import capacity, ray_internals
from distributed.cluster.capacity import Reservation
from distributed.cluster.placement import place
from distributed.training import controller
from distributed.training.trainer import run_on_ray
from mygo.events import Event, Progress
from mygo.jobs.experiment import Experiment


@pytest.fixture
def private_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's private names are used, also where the tests run with the public ways."""
    monkeypatch.delenv(ray_internals.FALLBACKS, raising=False)


@pytest.fixture
def public_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ray_internals.FALLBACKS, "1")


def test_what_is_gone_or_called_otherwise_is_done_the_public_way(
    private_ways: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(module: str, name: str) -> str:
        return ray_internals.call_private(module, name, "any", otherwise=lambda: "otherwise")

    assert call("os.path", "basename") == "any"
    assert call("os.path", "no_such_name") == "otherwise"
    assert call("ray.no_such_module", "name") == "otherwise"
    assert call("os", "getpid") == "otherwise", "it takes no argument"
    monkeypatch.setenv(ray_internals.FALLBACKS, "1")
    assert call("os.path", "basename") == "otherwise"


def test_the_note_of_ray_start_is_read_from_where_ray_reads_it(
    private_ways: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    note = tmp_path / "ray" / "ray_current_cluster"
    for forced in ("0", "1"):
        monkeypatch.setenv(ray_internals.FALLBACKS, forced)
        note.unlink(missing_ok=True)
        assert ray_internals.noted_address() is None
        note.parent.mkdir(exist_ok=True)
        note.write_text("10.0.0.1:6379\n")
        assert ray_internals.noted_address() == "10.0.0.1:6379"


def test_a_token_is_used_where_the_environment_says_so(public_ways: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for mode, used in (("token", True), ("disabled", False), ("", False)):
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
        assert ray_internals.use_token_of_this_machine() is used


def test_what_the_cluster_knows_is_asked_for(
    private_ways: None, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ray.get_runtime_context().get_job_id()
    assert f"process {os.getpid()})" in ray_internals.programs()[job]
    assert ray_internals.nodes_that_failed_to_start() == set()
    report = {"autoscaler_report": {"failed_nodes": [["192.0.2.8", "local.cluster.node"]]}}
    monkeypatch.setattr("ray.experimental.internal_kv._internal_kv_get", lambda key: json.dumps(report).encode())
    assert ray_internals.nodes_that_failed_to_start() == {"192.0.2.8"}
    monkeypatch.setattr(ray._private.state.state, "get_max_resources_from_cluster_config", lambda: {"CPU": 64})
    assert capacity.resources_in_reach()["CPU"] == 64
    monkeypatch.setenv(ray_internals.FALLBACKS, "1")
    assert ray_internals.programs() == {}
    assert ray_internals.nodes_that_failed_to_start() == set()
    assert capacity.resources_in_reach()["CPU"] == 2


def test_ray_train_that_was_changed_is_left_as_it_is(private_ways: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.train.v2._internal.execution.worker_group import WorkerGroup

    assert ray_internals.parts_of_ray_train() is not None, "the versions that pyproject.toml admits have all of it"
    with monkeypatch.context() as patch:
        patch.setattr(WorkerGroup, "_create_workers", lambda self, num_workers: [])  # as Ray 2.55 has it
        assert ray_internals.parts_of_ray_train() is None
    monkeypatch.delattr(WorkerGroup, "_create_placement_group")
    assert ray_internals.parts_of_ray_train() is None


def live(experiment: Experiment, out: Path) -> tuple[dict[str, Any], list[Event], list[dict[str, float]]]:
    """Return the results, the losses, and how much of which bundles was reserved while a life was lived."""
    events: list[Event] = []
    held: list[dict[str, float]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress):
            events.append(dataclasses.replace(event, when=0.0))
            if event.step == 0:
                groups = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
                held.extend(dict(bundle) for group in groups for bundle in group["bundles"].values())

    placement = place({"CPU": 2}, 1, 1)
    results = run_on_ray(dataclasses.replace(experiment, out=out), placement, listen)["strategies"]["mygo"]
    return {key: results[key] for key in ("accuracy_matrix", "label_fidelity", "memory_bytes")}, events, held


def test_with_rays_own_controller_a_life_is_the_same_and_so_is_what_it_reserves(
    private_ways: None,
    ray_cluster: None,
    tiny_experiment: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results, events, held = live(tiny_experiment, tmp_path / "private")
    assert {"CPU": 1.0} in held
    monkeypatch.setenv(ray_internals.FALLBACKS, "1")
    others = live(tiny_experiment, tmp_path / "public")
    assert others[:2] == (results, events)
    assert [bundle for bundle in others[2] if bundle != controller.TOKEN] == held
    assert controller.TOKEN in others[2]


def test_a_worker_whose_room_is_beside_it_takes_its_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Context:
        def get_node_id(self) -> str:
            return "node"

        def get_local_rank(self) -> int:
            return 1

    monkeypatch.setattr(ray, "get_runtime_context", Context)
    monkeypatch.setattr(controller.train, "get_context", Context)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "all")
    gpus = {"node": ["4", "6"], "other": ["0"]}
    controller.take_gpu(gpus)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "6"
    assert str(controller.device_of_worker(gpus)) == "cuda:0"
    without: Any = object()
    assert controller.gpus_to_take(Reservation(place({"CPU": 2}, 1, 1), without)) is None
