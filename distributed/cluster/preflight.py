"""What must be true of every node before a life is trusted to the cluster: the same code, the same storage.

Each check ends in seconds and names the node, where training itself would hang, or fail far from the cause. On a
cluster of one node there is nothing to compare, and nothing is checked.
"""

import fcntl
import hashlib
import os
import platform
import socket
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from distributed.cluster.capacity import living_nodes
from distributed.cluster.placement import Placement
from distributed.cluster.session import REPOSITORY
from distributed.job import Job, pack_registries, unpack_registries
from mygo.errors import InputError

ANSWER_SECONDS = 120.0
"""How long a node may take to answer: it starts a process that imports torch, perhaps from a network disk."""

SIOCGIFADDR = 0x8915
"""Linux's request for an interface's IPv4 address (netdevice(7))."""


# -- what nodes have --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What one node has."""

    versions: Mapping[str, str]
    unseen: list[str]
    """Those of the files to check that it does not see."""
    data_error: str | None


def check_nodes(job: Job, placement: Placement) -> None:
    """Make sure that every node sees the job's folders and data, and runs the code of this process.

    Raises:
        InputError: a node does not; the message names it.
    """
    nodes = living_nodes()
    if len(nodes) < 2:
        return
    trains_on = "GPU" if placement.use_gpu else "CPU"
    readers = {node["NodeID"] for node in nodes if node["Resources"].get(trains_on, 0)}
    folders = [folder for folder in (job.out, job.memory_cache) if folder is not None]
    with ExitStack() as stack:
        markers = {stack.enter_context(marker_in(folder)): folder for folder in folders}
        answers = query(nodes, list(markers), lambda node: job.check_data if node in readers else None)
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


def answer(files: Sequence[str], check_data: Callable[[], object] | None, registries: bytes) -> Answer:
    """Answer for the node that this runs on: does it see ``files``, and does ``check_data`` find its data?

    Data and encoders of a person's own are found by name in the pickled ``registries``.
    """
    data_error = None
    if check_data is not None:
        try:
            unpack_registries(registries)
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


def query(
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
    def answer_there(files: Sequence[str], packed_check: bytes, registries: bytes) -> Any:
        try:
            from distributed.cluster.preflight import answer
        except ImportError as error:
            return str(error)
        return answer(files, ray.cloudpickle.loads(packed_check), registries)

    registries = pack_registries()
    requests = {
        node["NodeID"]: answer_there.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(files, ray.cloudpickle.dumps(check_on(node["NodeID"])), registries)
        for node in nodes
    }
    ray.wait(list(requests.values()), num_returns=len(requests), timeout=ANSWER_SECONDS)
    living = {node["NodeID"] for node in living_nodes()}
    answers = {}
    for node in nodes:
        address = node["NodeManagerAddress"]
        try:
            found = ray.get(requests[node["NodeID"]], timeout=0)
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
