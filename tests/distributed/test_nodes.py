import json
import os
from pathlib import Path
from typing import Any

import pytest
import ray

from distributed import nodes
from distributed.nodes import ask, check_nodes, complain_about_versions, interface_with, versions_here, wait_for_room
from distributed.placement import place
from mygo.errors import InputError
from mygo.experiment import Experiment
from mygo.journal import Event, Notice


def test_the_interface_of_an_address_is_found() -> None:
    assert interface_with("127.0.0.1") == "lo"
    assert interface_with("192.0.2.77") is None


def test_gloo_is_told_the_interface_unless_a_person_chose_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "127.0.0.1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "chosen")
    nodes.use_rays_interface()
    assert os.environ["GLOO_SOCKET_IFNAME"] == "chosen"
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    nodes.use_rays_interface()
    assert os.environ["GLOO_SOCKET_IFNAME"] == "lo"
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")


@pytest.mark.parametrize("package", ["Python", "Ray", "torch", "numpy", "MyGO's source"])
def test_another_version_is_named_with_its_node_and_both_versions(package: str) -> None:
    here = versions_here()
    complain_about_versions("192.0.2.7", here)
    with pytest.raises(InputError) as complaint:
        complain_about_versions("192.0.2.7", {**here, package: "0.0.1"})
    for part in ("192.0.2.7", package, "0.0.1", here[package]):
        assert part in str(complaint.value)


def test_the_source_digest_tells_any_change(tmp_path: Path) -> None:
    file = tmp_path / "mygo" / "life.py"
    file.parent.mkdir()
    file.write_text("one")
    before = nodes.source_digest(tmp_path)
    file.write_text("two")
    assert nodes.source_digest(tmp_path) != before
    file.rename(file.with_name("death.py"))
    file.with_name("death.py").write_text("one")
    assert nodes.source_digest(tmp_path) != before


def test_a_request_without_room_waits_with_a_message_and_ends_with_both_numbers(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "NOTICE_AFTER_SECONDS", 2.0)
    monkeypatch.setattr(nodes, "PATIENCE_SECONDS", 1.0)
    told: list[Event] = []
    assert wait_for_room(place({"CPU": 2}, 2, 1), 2, told.append).num_workers == 2
    assert told == []
    with pytest.raises(InputError, match=r"no room for 3 workers with 1 CPU .* has 2 CPUs and 0 GPUs"):
        wait_for_room(place({"CPU": 3}, 3, 1), 3, told.append)
    (notice,) = told
    assert isinstance(notice, Notice)
    assert "Waiting for room for 3 workers with 1 CPU: the cluster has 2 CPUs" in notice.text
    assert wait_for_room(place({"CPU": 4}, 4, 1), 1, told.append).num_workers == 2, "as many as there is room for"


def test_a_placement_is_kept_until_a_node_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    given = place({"CPU": 4}, 2, 2)  # whose dreamers have cores of their own, on nodes that autoscaling is to add
    alone = place({"CPU": 2}, 2, 2)
    assert given != alone
    assert nodes.fitting(given, 2, lost=False) == given
    assert nodes.fitting(given, 2, lost=True) == alone


def absent_node() -> dict[str, Any]:
    """Return what `ray.nodes` might say of a node that is not there."""
    return {"NodeID": "7" * 56, "NodeManagerAddress": "192.0.2.7", "Alive": True, "Resources": {"CPU": 1.0}}


def test_a_node_that_does_not_answer_is_named_and_a_dead_one_left_out(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> dict[str, Any]:
        return ask([*ray.nodes(), absent_node()], [], lambda node: None)

    (here,) = asked().values()
    assert here.versions == versions_here()
    real = [*nodes.living_nodes(), absent_node()]
    monkeypatch.setattr(nodes, "living_nodes", lambda: real)
    with pytest.raises(InputError, match=r"Node 192\.0\.2\.7 does not answer"):
        asked()


def test_a_folder_that_a_node_does_not_see_and_data_that_it_cannot_load_are_named(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch, tiny_experiment: Experiment, tmp_path: Path
) -> None:
    (here,) = nodes.living_nodes()
    monkeypatch.setattr(nodes, "living_nodes", lambda: [here, here])
    placement = place({"CPU": 2})
    check_nodes(tiny_experiment, placement)
    assert tiny_experiment.out is not None
    assert not tiny_experiment.out.exists()
    complaints = {
        "does not see": nodes.Answer(versions_here(), [str(tmp_path / "marker")], None),
        "cannot load the data: gone": nodes.Answer(versions_here(), [], "gone"),
    }
    for complaint, answer in complaints.items():

        def answers(_: Any, files: list[str], *__: Any, answer: nodes.Answer = answer) -> dict[str, nodes.Answer]:
            return {"192.0.2.7": nodes.Answer(answer.versions, files if answer.unseen else [], answer.data_error)}

        monkeypatch.setattr(nodes, "ask", answers)
        with pytest.raises(InputError, match=rf"Node 192\.0\.2\.7 {complaint}"):
            check_nodes(tiny_experiment, placement)


def test_machines_that_ray_up_named_are_waited_for_until_they_join_or_fail(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "ray_bootstrap_config.yaml"
    assert nodes.nodes_being_set_up(config) == []
    here = nodes.living_nodes()[0]["NodeManagerAddress"]
    provider = {"type": "local", "head_ip": here, "worker_ips": [here, "192.0.2.8", "192.0.2.9"]}
    config.write_text(json.dumps({"provider": provider}))
    assert nodes.nodes_being_set_up(config) == ["192.0.2.8", "192.0.2.9"]
    report = {"autoscaler_report": {"failed_nodes": [["192.0.2.8", "local.cluster.node"]]}}
    monkeypatch.setattr(nodes, "_internal_kv_get", lambda key: json.dumps(report).encode())
    assert nodes.nodes_being_set_up(config) == ["192.0.2.9"]
    config.write_text(json.dumps({"provider": {"type": "aws"}}))
    assert nodes.nodes_being_set_up(config) == []
