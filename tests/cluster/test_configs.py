"""Every cluster file that ships, read by Ray's own code and held to what we promise of it, without any machine."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FILES = sorted(REPOSITORY.glob("cluster*.yaml"))


@pytest.fixture(params=FILES, ids=[file.name for file in FILES])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return yaml.safe_load(request.param.read_text())


def test_both_kinds_of_cluster_ship() -> None:
    assert [file.name for file in FILES] == ["cluster.local.yaml", "cluster.yaml"]


def test_ray_accepts_it(config: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(config)))


def test_ray_would_refuse_a_key_that_it_does_not_know(config: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="dashboard_port"):
        validate_config(prepare_config({**config, "dashboard_port": 1}))


def test_every_node_asks_for_the_token_before_ray_starts(config: dict[str, Any]) -> None:
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    (profile,) = [command for command in config["setup_commands"] if "RAY_AUTH_MODE=token" in command]
    assert "sed -i '1i export" in profile
    assert profile.endswith("~/.bashrc")


def test_the_dashboard_is_for_the_head_alone(config: dict[str, Any]) -> None:
    (start,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert "--dashboard-host=127.0.0.1 " in start


def test_all_packages_are_pinned(config: dict[str, Any]) -> None:
    commands = [*config["setup_commands"], *config.get("head_setup_commands", [])]
    installs = [command for command in commands if "pip install" in command]
    assert installs
    for command in installs:
        assert "--constraint ~/mygo/constraints.txt" in command
        assert not re.search(r"https?://|--(extra-)?index-url|wheels", command)


def test_what_is_sent_to_the_nodes_exists_and_is_all_of_our_code(config: dict[str, Any]) -> None:
    sent = {local for local in config["file_mounts"].values() if not local.startswith("~")}
    assert {"mygo", "distributed", "tune", "pyproject.toml", "constraints.txt"} <= sent
    for local in sent:
        assert (REPOSITORY / local).exists(), local
        assert config["file_mounts"][f"~/mygo/{local}"] == local


@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_it_names_no_machine_of_ours(file: Path) -> None:
    text = file.read_text()
    assert str(REPOSITORY) not in text
    assert not re.search(r"/(root|home|work)/|10\.77\.", text)
    hosts = set(re.findall(r"\b[\w.-]+\.(?:com|org|net|io|internal)\b", text))
    assert hosts <= {"fs-00000000.efs.us-west-2.amazonaws.com"}


def test_on_aws_the_head_stays_and_gpus_come_and_go() -> None:
    config = yaml.safe_load((REPOSITORY / "cluster.yaml").read_text())
    types = config["available_node_types"]
    head, worker = types[config["head_node_type"]], types["gpu-worker"]
    assert "InstanceMarketOptions" not in head["node_config"]
    assert worker["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert worker["node_config"]["ImageId"] == head["node_config"]["ImageId"]
    assert (worker["min_workers"], worker["max_workers"]) == (0, config["max_workers"])
    assert worker["resources"]["GPU"] == 1


def test_on_our_own_machines_the_autoscaler_that_starts_workers_is_chosen() -> None:
    config = yaml.safe_load((REPOSITORY / "cluster.local.yaml").read_text())
    (start,) = [command for command in config["head_start_ray_commands"] if "ray start" in command]
    assert "RAY_enable_autoscaler_v2=0 ray start" in start
