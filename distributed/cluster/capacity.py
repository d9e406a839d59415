"""Room on the cluster: all that a run needs is reserved as one group, all at once or not at all.

So no run holds a part of what it needs while it waits for the rest, which others hold that wait for its part.
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import (
    PlacementGroup,
    get_current_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from distributed.cluster import ray_internals
from distributed.cluster.placement import Placement, most_workers, place
from distributed.cluster.session import address_of_cluster
from mygo.errors import InputError
from mygo.events import EventHandler, Notice

HEAD_CONFIG = "~/ray_bootstrap_config.yaml"
"""Where `ray up` leaves the cluster file, as JSON, on the head."""
PATIENCE_SECONDS = 900.0
"""How long to wait for nodes that autoscaling starts, or that come back."""
SETUP_SECONDS = 180.0
"""How long to wait for machines that exist and on which Ray is being started."""
NOTICE_AFTER_SECONDS = 5.0


# -- what there is ----------------------------------------------------------------------------------------------------


def living_nodes() -> list[Mapping[str, Any]]:
    """Return the nodes that Ray believes alive, as `ray.nodes` describes them."""
    return [node for node in ray.nodes() if node["Alive"]]


def resources_in_reach() -> dict[str, float]:
    """Return what the cluster has or, where autoscaling can add nodes, the most that it can grow to."""
    resources: dict[str, float] = dict(ray.cluster_resources())
    for name, most in ray_internals.most_resources().items():
        resources[name] = max(resources.get(name, 0.0), float(most))
    return resources


def cpus_of_nodes() -> list[float]:
    """Return the CPUs of each living node."""
    return [float(node["Resources"].get("CPU", 0.0)) for node in living_nodes()]


def nodes_being_set_up(config: Path | None = None) -> list[str]:
    """Return the machines of a cluster of provider ``local`` that `ray up` named but that have not joined or failed.

    ``config`` is the file that `ray up` left on the head; by default where it leaves it. Elsewhere than on the head of
    this cluster, it is of an earlier one, and names none.
    """
    if config is None:
        try:
            config = Path(HEAD_CONFIG).expanduser()
        except RuntimeError:  # nobody's home
            return []
    provider = json.loads(config.read_bytes())["provider"] if config.exists() else {}
    head = ray.get_runtime_context().gcs_address.rpartition(":")[0]
    if provider.get("type") != "local" or head.strip("[]") != ray.util.get_node_ip_address():
        return []
    settled = {node["NodeManagerAddress"] for node in living_nodes()} | ray_internals.nodes_that_failed_to_start()
    return [host for host in provider["worker_ips"] if address_of(host) not in settled]


def address_of(host: str) -> str:
    """Return the address of a ``host`` that may be given by name, as far as it is known here."""
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host


def wait_for_nodes(num_workers: int | None, notify: Callable[[str], None]) -> None:
    """Wait for machines that `ray up` is still setting up, unless those that are there have room for ``num_workers``.

    ``notify`` is called back when there are any. One that fails to start is not waited for longer than `SETUP_SECONDS`.
    """
    if address_of_cluster() is None:  # this process started its Ray itself: no other machine is to join
        return
    deadline = time.monotonic() + SETUP_SECONDS
    notified = False
    while (pending := nodes_being_set_up()) and time.monotonic() < deadline:
        if num_workers is not None and ray.cluster_resources().get("CPU", 0) >= num_workers:
            return
        if not notified:
            notify(f"Waiting for nodes that are being set up: {', '.join(pending)}")
            notified = True
        time.sleep(1)


# -- what a run is given ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reservation:
    """Room for all workers and dreamers of a placement, in one placement group."""

    placement: Placement
    group: PlacementGroup | None = None
    """Without one nothing was reserved: whoever needs something takes it where it is."""
    first: int = 0
    """Position in the group of the first worker's bundle; those of the dreamers follow the workers'."""

    @property
    def worker_bundles(self) -> list[int]:
        """The positions of the workers' bundles."""
        return list(range(self.first, self.first + self.placement.num_workers))

    def strategy_of_dreamer(self, index: int) -> "PlacementGroupSchedulingStrategy | str":
        """Return how to schedule a dreamer: into its bundle or, if it needs nothing of its own, anywhere."""
        if self.group is None or not self.placement.dreamer:
            return "SPREAD"
        bundle = self.first + self.placement.num_workers + index
        return PlacementGroupSchedulingStrategy(self.group, placement_group_bundle_index=bundle)


@contextmanager
def reserved(most: Placement, fewest: int, on_event: EventHandler, *, lost: bool = False) -> Iterator[Reservation]:
    """Wait until there is room for a run, and hold it inside the block.

    The room is for ``most`` or, with fewer than its workers allowed, for as many as there is room for, ``fewest`` at
    least. Once a node was ``lost``, dreamers are placed anew too; before, they wait for the nodes that autoscaling adds
    for them. A trial of Ray Tune has its room already, behind a bundle for the trial's own process.

    Raises:
        InputError: the cluster is too small and did not grow within `PATIENCE_SECONDS`.
    """
    if (current := get_current_placement_group()) is not None:
        yield Reservation(most, current, first=1)
        return
    deadline = time.monotonic() + PATIENCE_SECONDS
    last_notice = ""
    waited = False
    while True:
        placement = fitting(most, fewest, waited=waited, lost=lost)
        with asked_for(placement) as group:
            while not waited or fitting(most, fewest, waited=True, lost=lost) == placement:
                if group.wait(NOTICE_AFTER_SECONDS):
                    yield Reservation(placement, group)
                    return
                waited = True
                text = waiting_for(in_words(placement))
                if text != last_notice:
                    on_event(Notice(text))
                    last_notice = text
                if too_small_for(placement) and time.monotonic() > deadline:
                    raise InputError(
                        f"There was no room for {in_words(placement)} in {PATIENCE_SECONDS / 60:.0f} minutes: the "
                        f"cluster has {describe(ray.cluster_resources())}; ask for fewer, or add nodes and run again."
                    )


def fitting(most: Placement, fewest: int, *, waited: bool, lost: bool) -> Placement:
    """Return ``most`` with as many of its workers as the cluster can hold, ``fewest`` at least.

    Where fewer will do and all of the cluster was ``waited`` for in vain, that is what others leave free of it.
    """
    in_part = waited and fewest < most.num_workers
    resources = ray.available_resources() if in_part else ray.cluster_resources()
    slots = most_workers(resources, use_gpu=most.use_gpu)
    count = max(fewest, min(most.num_workers, slots))
    if slots < count:
        return replace(most, num_workers=count)  # it must be waited for
    if count == most.num_workers and not lost and not in_part:
        return most
    return place({kind: resources[kind] for kind in most.worker}, count, most.num_dreamers, nodes=cpus_of_nodes())


@contextmanager
def asked_for(placement: Placement) -> Iterator[PlacementGroup]:
    """Ask for room for ``placement``, of the autoscaler too; yields the group that is to have it.

    A placement group does, since it goes with this process, whatever ends it; a lasting request would keep machines.
    """
    group = placement_group([dict(bundle) for bundle in placement.bundles])
    try:
        yield group
    finally:
        remove_placement_group(group)


@contextmanager
def request_more_workers(workers: int, each: Mapping[str, float]) -> Iterator[Callable[[], bool] | None]:
    """Yield a function that requests room for more training workers, and returns whether there is some for one of them.

    For no ``workers`` it is None. It requests from its first call on, so the room that a first group of workers was
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


# -- in words ---------------------------------------------------------------------------------------------------------


def describe(resources: Mapping[str, float]) -> str:
    """Return the CPUs and GPUs of ``resources`` in words."""
    return f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"


def in_words(placement: Placement) -> str:
    """Return what ``placement`` requests."""

    def each(resources: Mapping[str, float]) -> str:
        return " and ".join(f"{amount:g} {kind}" for kind, amount in resources.items())

    def several(count: int, what: str) -> str:
        return f"{count} {what}" if count == 1 else f"{count} {what}s"

    workers = f"{several(placement.num_workers, 'worker')} with {each(placement.worker)}"
    if not placement.dreamer:
        return workers
    return f"{workers}, and {several(placement.num_dreamers, 'dreamer')} with {each(placement.dreamer)}"


def waiting_for(wanted: str) -> str:
    """Return a sentence for whoever waits for room for what is ``wanted``: what there is, and who holds it."""
    return f"Waiting for room for {wanted}: the cluster has {describe(ray.cluster_resources())} now{in_use()}."


def is_free(cpus: float, gpus: float) -> bool:
    """Return whether nobody holds so much of the cluster at the moment."""
    free = ray.available_resources()
    return bool(cpus <= free.get("CPU", 0) and gpus <= free.get("GPU", 0))


def too_small_for(placement: Placement) -> bool:
    """Return whether the cluster could not hold ``placement`` even if nobody else used it."""
    there = ray.cluster_resources()
    if placement.num_workers > most_workers(there, use_gpu=placement.use_gpu):
        return True
    return bool(placement.cpus > there.get("CPU", 0) or placement.gpus > there.get("GPU", 0))


def in_use() -> str:
    """Return what others hold of the cluster, and who they are, as a part of a sentence; nothing if they hold none."""
    held = held_by_jobs(placement_group_table().values())
    free, there = ray.available_resources(), ray.cluster_resources()
    in_groups: Counter[str] = Counter()
    for amounts in held.values():
        in_groups.update(amounts)
    others = {kind: there.get(kind, 0) - free.get(kind, 0) - in_groups[kind] for kind in ("CPU", "GPU")}
    named = ray_internals.programs()
    parts = [f"{named.get(job, 'another program')} holds {amounts_in_words(amounts)}" for job, amounts in held.items()]
    if any(amount > 1e-6 for amount in others.values()):
        parts.append(f"other tasks and actors hold {amounts_in_words(others)}")
    return "".join(f"; {part}" for part in parts)


def held_by_jobs(groups: Any) -> dict[str, Counter[str]]:
    """Return what the placement ``groups`` that were granted hold, by the id of the job that requested them."""
    held: dict[str, Counter[str]] = {}
    for group in groups:
        if group["state"] == "CREATED":
            amounts = held.setdefault(group["placement_group_id"][-ray_internals.JOB_DIGITS :], Counter())
            for bundle in group["bundles"].values():
                amounts.update({kind: amount for kind, amount in bundle.items() if kind in ("CPU", "GPU")})
    return {job: amounts for job, amounts in held.items() if any(amounts.values())}


def amounts_in_words(amounts: Mapping[str, float]) -> str:
    """Return the CPUs and GPUs of ``amounts`` in words, without those that are none."""
    return " and ".join(f"{amount:g} {kind}s" for kind, amount in sorted(amounts.items()) if amount > 1e-6)
