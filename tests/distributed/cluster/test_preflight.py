import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import ray

from distributed.cluster import preflight as nodes
from distributed.cluster.placement import place
from distributed.cluster.preflight import check_nodes, complain_about_versions, interface_with, query, versions_here
from distributed.job import REGISTRIES, pack_registries
from mygo.data.datasets import DATASETS, use_dataset
from mygo.data.examples import LabelledDataset
from mygo.errors import InputError
from mygo.jobs.experiment import Experiment


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


def absent_node() -> dict[str, Any]:
    """Return what `ray.nodes` might say of a node that is not there."""
    return {"NodeID": "7" * 56, "NodeManagerAddress": "192.0.2.7", "Alive": True, "Resources": {"CPU": 1.0}}


def test_a_node_that_does_not_answer_is_named_and_a_dead_one_left_out(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> dict[str, Any]:
        return query([*ray.nodes(), absent_node()], [], lambda node: None)

    (here,) = asked().values()
    assert here.versions == versions_here()
    real = [*nodes.living_nodes(), absent_node()]
    monkeypatch.setattr(nodes, "living_nodes", lambda: real)
    with pytest.raises(InputError, match=r"Node 192\.0\.2\.7 does not answer"):
        asked()


@pytest.fixture
def own_names() -> Iterator[None]:
    """What is made known by name inside is forgotten afterwards."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)


def test_nodes_know_the_data_that_was_made_known_by_name(
    ray_cluster: None,
    monkeypatch: pytest.MonkeyPatch,
    own_names: None,
    tiny_experiment: Experiment,
    coloured_squares: LabelledDataset,
) -> None:
    squares = coloured_squares
    use_dataset("squares", lambda data_root: squares, num_classes=4)
    config = replace(tiny_experiment.config, dataset="squares", class_order=(0, 1, 2, 3))
    (here,) = nodes.living_nodes()
    monkeypatch.setattr(nodes, "living_nodes", lambda: [here, here])
    check_nodes(replace(tiny_experiment, config=config), place({"CPU": 2}))


def test_what_a_node_cannot_import_is_named(own_names: None, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("only_here")
    exec("def load(data_root): ...", vars(module))
    monkeypatch.setitem(sys.modules, "only_here", module)
    DATASETS["own"] = module.load
    registries = pack_registries()
    monkeypatch.delitem(sys.modules, "only_here")
    found = nodes.answer([], lambda: None, registries)
    assert found.data_error is not None
    assert "only_here" in found.data_error


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

        monkeypatch.setattr(nodes, "query", answers)
        with pytest.raises(InputError, match=rf"Node 192\.0\.2\.7 {complaint}"):
            check_nodes(tiny_experiment, placement)
