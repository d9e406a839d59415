"""What must be true of every node before a life is trusted to the cluster: room, the same code, the same storage.

Each check ends in seconds and names the node, where training itself would hang, or fail far from the cause. On a
cluster of one node there is nothing to compare, and nothing is checked.
"""

import fcntl
import hashlib
import json
import os
import platform
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray._private import ray_constants
from ray._private.state import state as cluster_state
from ray.experimental.internal_kv import _internal_kv_get
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distributed.placement import Placement, place
from distributed.session import REPOSITORY
from distributed.work import Work
from mygo.errors import InputError
from mygo.journal import Journal, Notice

HEAD_CONFIG = Path("~/ray_bootstrap_config.yaml").expanduser()
"""Where `ray up` leaves the cluster file, as JSON, on the head."""
PATIENCE_SECONDS = 900.0
"""How long to wait for nodes that autoscaling starts, or that come back."""
SETUP_SECONDS = 180.0
"""How long to wait for machines that exist and on which Ray is being started."""
NOTICE_AFTER_SECONDS = 5.0
ANSWER_SECONDS = 120.0
"""How long a node may take to answer: it starts a process that imports torch, perhaps from a network disk."""

SIOCGIFADDR = 0x8915
"""Linux's request for an interface's IPv4 address (netdevice(7))."""


# -- room -------------------------------------------------------------------------------------------------------------


def living_nodes() -> list[Mapping[str, Any]]:
    """Return the nodes that Ray believes alive, as `ray.nodes` describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def resources_in_reach() -> dict[str, float]:
    """Return what the cluster has or, where autoscaling can add nodes, the most that it can grow to."""
    resources: dict[str, float] = dict(ray.cluster_resources())
    for name, most in (cluster_state.get_max_resources_from_cluster_config() or {}).items():
        resources[name] = max(resources.get(name, 0.0), float(most))
    return resources


def nodes_being_set_up(config: Path = HEAD_CONFIG) -> list[str]:
    """Return the machines of a cluster of provider ``local`` that `ray up` named but that have not joined or failed."""
    provider = json.loads(config.read_bytes())["provider"] if config.exists() else {}
    if provider.get("type") != "local":
        return []
    report = json.loads(_internal_kv_get(ray_constants.DEBUG_AUTOSCALING_STATUS) or "{}").get("autoscaler_report", {})
    settled = {address for address, _ in report.get("failed_nodes", [])}
    settled |= {node["NodeManagerAddress"] for node in living_nodes()}
    return [address for address in provider["worker_ips"] if address not in settled]


def wait_for_nodes(num_workers: int | None, tell: Callable[[str], None]) -> None:
    """Wait for machines that `ray up` is still setting up, unless those that are there have room for ``num_workers``.

    ``tell`` is told when there are any. One that fails to start is not waited for longer than `SETUP_SECONDS`.
    """
    deadline = time.monotonic() + SETUP_SECONDS
    told = False
    while (pending := nodes_being_set_up()) and time.monotonic() < deadline:
        if num_workers is not None and ray.cluster_resources().get("CPU", 0) >= num_workers:
            return
        if not told:
            tell(f"Waiting for nodes that are being set up: {', '.join(pending)}")
            told = True
        time.sleep(1)


def wait_for_room(most: Placement, fewest: int, journal: Journal, *, lost: bool = False) -> Placement:
    """Wait until living nodes have room for training workers, and return what they have room for.

    That is ``most`` or, with fewer than its workers allowed, as many as there is room for, ``fewest`` at least. Once a
    node was ``lost``, dreamers are placed anew too; before, they wait for the nodes that autoscaling adds for them.

    Raises:
        InputError: there is no room within `PATIENCE_SECONDS`.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    told = False
    while True:
        placement = fitting(most, fewest, lost=lost)
        with asked_for(placement) as room:
            while fitting(most, fewest, lost=lost) == placement:
                if room.wait(NOTICE_AFTER_SECONDS):
                    return placement
                each = " and ".join(f"{amount:g} {kind}" for kind, amount in placement.worker.items())
                wanted = f"{placement.num_workers} workers with {each}"
                there = describe(ray.cluster_resources())
                if not told:
                    journal(Notice(f"Waiting for room for {wanted}: the cluster has {there} now."))
                    told = True
                if time.monotonic() > deadline:
                    raise InputError(
                        f"There was no room for {wanted} in {PATIENCE_SECONDS / 60:.0f} minutes: the cluster has "
                        f"{there}; ask for fewer, or add nodes and run again."
                    )


def fitting(most: Placement, fewest: int, *, lost: bool) -> Placement:
    """Return ``most`` with as many of its workers as the living nodes can hold, ``fewest`` at least."""
    resources = ray.cluster_resources()
    slots = int(min(resources.get(kind, 0.0) // amount for kind, amount in most.worker.items()))
    count = max(fewest, min(most.num_workers, slots))
    if slots < count:
        return replace(most, num_workers=count)  # it must be waited for
    if count == most.num_workers and not lost:
        return most
    return place(resources, count, most.num_dreamers)


@contextmanager
def asked_for(placement: Placement) -> Iterator[PlacementGroup]:
    """Ask for room for all training workers, of the autoscaler too; yields the group that is to have it.

    A placement group asks, since it goes with this process, whatever ends it; a lasting request would keep machines.
    """
    group = placement_group([dict(placement.worker)] * placement.num_workers)
    try:
        yield group
    finally:
        remove_placement_group(group)


@contextmanager
def wish_for(workers: int, each: Mapping[str, float]) -> Iterator[Callable[[], bool] | None]:
    """Yield a function that asks for room for more training workers, and tells whether there is some for one of them.

    For no ``workers`` it is None. It asks from its first call on, so the room that a first group of workers was
    promised must be taken by then.
    """
    groups: list[PlacementGroup] = []

    def granted() -> bool:
        if not groups:
            groups.extend(placement_group([dict(each)]) for _ in range(workers))
        return any(group.wait(0) for group in groups)

    try:
        yield granted if workers else None
    finally:
        for group in groups:
            remove_placement_group(group)


def describe(resources: Mapping[str, float]) -> str:
    """Return the CPUs and GPUs of ``resources`` in words."""
    return f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"


# -- what nodes have --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What one node has."""

    versions: Mapping[str, str]
    unseen: list[str]
    """Those of the files it was asked for that it does not see."""
    data_error: str | None


def check_nodes(work: Work, placement: Placement) -> None:
    """Make sure that every node sees the work's folders and data, and runs the code of this process.

    Raises:
        InputError: a node does not; the message names it.
    """
    nodes = living_nodes()
    if len(nodes) < 2:
        return
    trains_on = "GPU" if placement.use_gpu else "CPU"
    readers = {node["NodeID"] for node in nodes if node["Resources"].get(trains_on, 0)}
    folders = [folder for folder in (work.out, work.memory_cache) if folder is not None]
    with ExitStack() as stack:
        markers = {stack.enter_context(marker_in(folder)): folder for folder in folders}
        answers = ask(nodes, list(markers), lambda node: work.check_data if node in readers else None)
    for address, found in answers.items():
        complain_about_versions(address, found.versions)
        for marker in found.unseen:
            raise InputError(f"Node {address} does not see {markers[marker]}: choose a folder that all nodes share.")
        if found.data_error is not None:
            raise InputError(f"Node {address} cannot load the data: {found.data_error}")


def complain_about_versions(address: str, versions: Mapping[str, str]) -> None:
    """Compare the ``versions`` at the node ``address`` with those here.

    Raises:
        InputError: one differs.
    """
    for package, here in versions_here().items():
        if versions[package] != here:
            raise InputError(
                f"Node {address} has {package} {versions[package]}, but this process has {here}: "
                "run `ray up` again, which brings code and packages to all nodes."
            )


@contextmanager
def marker_in(folder: Path) -> Iterator[str]:
    """Write a file into ``folder`` that other nodes must see; yields its path, and leaves nothing behind."""
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-by-all-nodes-") as file:
            yield file.name
    finally:
        for part in missing:
            with suppress(OSError):  # others may use it by now
                part.rmdir()


def answer(files: Sequence[str], check_data: Callable[[], object] | None) -> Answer:
    """Answer for the node that this runs on: does it see ``files``, and does ``check_data`` find its data?"""
    data_error = None
    if check_data is not None:
        try:
            check_data()
        except InputError as error:
            data_error = str(error)
    return Answer(versions_here(), [file for file in files if not Path(file).exists()], data_error)


def versions_here() -> dict[str, str]:
    """Return the versions of what must be the same on all nodes; builds for different accelerators may be mixed."""
    return {
        "Python": platform.python_version(),
        "Ray": ray.__version__,
        "torch": torch.__version__.partition("+")[0],
        "numpy": np.__version__,
        "MyGO's source": source_digest(REPOSITORY),
    }


def source_digest(repository: Path) -> str:
    """Return a short hash of the Python files that run on nodes."""
    digest = hashlib.sha256()
    for file in sorted(file for package in ("mygo", "distributed") for file in (repository / package).rglob("*.py")):
        digest.update(f"{file.relative_to(repository)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def ask(
    nodes: Sequence[Mapping[str, Any]],
    files: Sequence[str],
    check_on: Callable[[str], Callable[[], object] | None],
) -> dict[str, Answer]:
    """Return the `answer` of each of ``nodes``, by its address; ``check_on`` gives the data check for a node's id.

    A node that turns out to be dead is left out: it takes Ray half a minute to notice.

    Raises:
        InputError: a node does not answer, or cannot import MyGO.
    """

    # Defined here so that it travels whole: a function of a module would have to be importable to say that it is not.
    @ray.remote(num_cpus=0, max_retries=0)
    def answer_there(files: Sequence[str], packed_check: bytes) -> Any:
        try:
            from distributed.nodes import answer
        except ImportError as error:
            return str(error)
        return answer(files, ray.cloudpickle.loads(packed_check))

    asked = {
        node["NodeID"]: answer_there.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(files, ray.cloudpickle.dumps(check_on(node["NodeID"])))
        for node in nodes
    }
    ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWER_SECONDS)
    living = {node["NodeID"] for node in living_nodes()}
    answers = {}
    for node in nodes:
        address = node["NodeManagerAddress"]
        try:
            found = ray.get(asked[node["NodeID"]], timeout=0)
        except ray.exceptions.RayError as error:
            if node["NodeID"] not in living:
                continue
            raise InputError(f"Node {address} does not answer ({type(error).__name__}): see `ray status`.") from error
        if isinstance(found, str):
            raise InputError(f"Node {address} cannot import MyGO from {REPOSITORY} ({found}): run `ray up` again.")
        answers[address] = found
    return answers


# -- the network ------------------------------------------------------------------------------------------------------


def use_rays_interface() -> None:
    """Make gloo, in this process, use the network interface that Ray uses.

    By itself it takes the address that the machine's name resolves to, which Debian's installer makes 127.0.1.1: the
    workers of several machines would each wait for themselves.
    """
    if "GLOO_SOCKET_IFNAME" not in os.environ:
        name = interface_with(ray.util.get_node_ip_address())
        if name is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = name


def interface_with(address: str) -> str | None:
    """Return the name of this machine's network interface with the IPv4 ``address``; None if there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode()[:15])
            try:
                reply = fcntl.ioctl(any_socket.fileno(), SIOCGIFADDR, request)
            except OSError:  # an interface without an IPv4 address
                continue
            if socket.inet_ntoa(reply[20:24]) == address:
                return name
    return None
