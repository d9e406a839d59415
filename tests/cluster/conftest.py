"""Hosts made of namespaces, and a cluster that `ray up` starts on them; `hosts.sh` beside this file makes them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCRIPT = Path(__file__).with_name("hosts.sh")
SHARED = "/srv/shared"
"""What plays the NFS share, as hosts see it."""
HEAD, *WORKERS = ADDRESSES = ("10.77.0.11", "10.77.0.12", "10.77.0.13")


def what_is_missing() -> str | None:
    """Return why hosts cannot be made here."""
    if os.geteuid() != 0:
        return "namespaced hosts need root"
    tools = [tool for tool in ("unshare", "nsenter", "ip", "sshd", "ssh-keygen", "rsync") if shutil.which(tool) is None]
    if tools:
        return f"namespaced hosts need {', '.join(tools)} (Debian: apt-get install openssh-server rsync iproute2)"
    probe = subprocess.run(["unshare", "--net", "--pid", "--fork", "--mount-proc", "true"], capture_output=True)
    return None if probe.returncode == 0 else f"this kernel gives no namespaces: {probe.stderr.decode().strip()}"


@dataclass(frozen=True)
class Hosts:
    """A launcher and three hosts, whose disks are in the folder ``state``."""

    state: Path

    def script(self, *arguments: object, folder: str = "/root") -> list[str]:
        """Return the command line of `hosts.sh` with ``arguments``."""
        # The folders of Python and its packages, which lie in /root or in the checkout, say; not what all hosts have.
        visible = [path for path in {sys.base_prefix, sys.prefix} if not path.startswith("/usr")]
        variables = {
            "HOSTS_STATE": self.state,
            "HOSTS_VISIBLE": " ".join(sorted(visible)),
            "HOSTS_HIDDEN": REPOSITORY,
            "HOSTS_FOLDER": folder,
        }
        settings = [f"{name}={value}" for name, value in variables.items()]
        return ["env", *settings, "bash", str(SCRIPT), *map(str, arguments)]

    def command(self, host: int, shell: str) -> list[str]:
        """Return the command line that runs ``shell`` on ``host`` as a person at it would."""
        environment = "export PATH=$HOME/mygo-env/bin:$PATH RAY_AUTH_MODE=token"
        folder = str(REPOSITORY) if host == 0 else "/root"
        return self.script("on", host, "bash", "-c", f"{environment}; {shell}", folder=folder)

    def on(self, host: int, shell: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run ``shell`` on ``host`` and return what came of it."""
        return subprocess.run(self.command(host, shell), capture_output=True, text=True, timeout=timeout)

    def launch(self, shell: str, timeout: float = 300) -> str:
        """Run ``shell`` in the checkout at the launcher, and return its output; it must succeed."""
        ended = self.on(0, shell, timeout)
        assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-4000:]
        return ended.stdout + ended.stderr

    def home(self, host: int) -> Path:
        """Return the home of ``host``, as seen from here."""
        return self.state / ("launcher" if host == 0 else f"host{host}") / "home"

    def ray_processes(self, host: int) -> list[str]:
        """Return the command lines of all processes on ``host`` that have to do with Ray."""
        return self.on(host, "pgrep --full --list-full '[r]ay'").stdout.splitlines()


def for_these_hosts(config: dict[str, Any]) -> dict[str, Any]:
    """Return `cluster.local.yaml` for the hosts: their addresses and key, one CPU each, and no installing of packages.

    Ray finds out sooner that a host is lost. Everything else is as it ships.
    """
    provider = {"type": "local", "head_ip": HEAD, "worker_ips": list(WORKERS)}
    setup = [command for command in config["setup_commands"] if "pip install" not in command]
    assert len(setup) == len(config["setup_commands"]) - 1
    soon = "RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=3000 RAY_health_check_failure_threshold=3"
    head = [
        f"{line.replace('ray start', f'env {soon} ray start')} --num-cpus=1" if "ray start" in line else line
        for line in config["head_start_ray_commands"]
    ]
    worker = [f"{line} --num-cpus=1" for line in config["worker_start_ray_commands"]]
    assert len(worker) == 1
    return {
        **config,
        "provider": provider,
        "auth": {"ssh_user": "root", "ssh_private_key": "~/.ssh/id_ed25519"},
        "setup_commands": setup,
        "head_start_ray_commands": head,
        "worker_start_ray_commands": worker,
    }


@pytest.fixture(scope="session")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A launcher and three hosts with sshd."""
    if reason := what_is_missing():
        pytest.skip(reason)
    hosts = Hosts(tmp_path_factory.mktemp("hosts"))
    (hosts.state / "shared").mkdir()
    for host in range(4):
        hosts.home(host).mkdir(parents=True)
        (hosts.home(host) / "mygo-env").symlink_to(sys.prefix)
    try:
        subprocess.run(hosts.script("up", 3), check=True, timeout=60)
        yield hosts
    finally:
        subprocess.run(hosts.script("down"), check=True, timeout=60)


@dataclass(frozen=True)
class RayCluster:
    """A cluster on ``hosts`` that `ray up` started."""

    hosts: Hosts
    config: str

    @property
    def shared(self) -> Path:
        """The shared folder, as seen from here."""
        return self.hosts.state / "shared"

    def exec(self, command: str) -> list[str]:
        """Return the command line that runs ``command`` in the head's copy of the repository, through `ray exec`."""
        return self.hosts.command(0, f"ray exec {self.config} 'cd mygo && {command}'")

    def run(self, flags: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run the main command on the head, and return what came of it."""
        line = self.exec(f"python distributed/run.py {flags}; echo ended with $?")
        return subprocess.run(line, capture_output=True, text=True, timeout=timeout)


@pytest.fixture(scope="session")
def ray_cluster_on_hosts(hosts: Hosts) -> RayCluster:
    """A cluster of the hosts; workers may still be on their way."""
    config = for_these_hosts(yaml.safe_load((REPOSITORY / "cluster.local.yaml").read_text()))
    (hosts.state / "shared" / "cluster.yaml").write_text(yaml.safe_dump(config))
    hosts.launch("ray get-auth-token --generate")
    hosts.launch(f"ray up -y {SHARED}/cluster.yaml")
    return RayCluster(hosts, f"{SHARED}/cluster.yaml")
