"""Who runs where: training workers, dreamers and threads, from what the cluster has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mygo.errors import InputError

DREAMERS_SHARE = 0.25
"""Share of a training worker's GPU that is set aside for dreamers, where no GPU is left over for them. A worker keeps
more than half, so that no two workers ever share a GPU, which NCCL cannot."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How many processes of each kind there are and what each may use."""

    num_workers: int
    num_dreamers: int
    cpus_per_worker: float
    cpus_per_dreamer: float
    gpus_per_worker: float
    gpus_per_dreamer: float
    threads_per_worker: int
    threads_per_dreamer: int

    @property
    def use_gpu(self) -> bool:
        """Whether workers train, and dreamers dream, on GPUs."""
        return self.gpus_per_worker > 0

    @property
    def worker(self) -> dict[str, float]:
        """The resources of one training worker, as Ray names them."""
        return {"CPU": self.cpus_per_worker} | ({"GPU": self.gpus_per_worker} if self.use_gpu else {})

    @property
    def dreamer(self) -> dict[str, float]:
        """The resources of one dreamer; none where dreamers share the workers' cores."""
        parts = {"CPU": self.cpus_per_dreamer, "GPU": self.gpus_per_dreamer}
        return {kind: amount for kind, amount in parts.items() if amount}

    @property
    def bundles(self) -> list[dict[str, float]]:
        """What a run must be given all at once: the resources of each worker, then of each dreamer that has any."""
        return [self.worker] * self.num_workers + [self.dreamer] * (self.num_dreamers if self.dreamer else 0)

    @property
    def cpus(self) -> float:
        """The CPUs of all workers and dreamers."""
        return self.num_workers * self.cpus_per_worker + self.num_dreamers * self.cpus_per_dreamer

    @property
    def gpus(self) -> float:
        """The GPUs of all workers and dreamers."""
        return self.num_workers * self.gpus_per_worker + self.num_dreamers * self.gpus_per_dreamer


def most_workers(resources: Mapping[str, float], *, use_gpu: bool) -> int:
    """Return how many workers ``resources`` hold: each takes a CPU and, with ``use_gpu``, a GPU that no other has."""
    return min(int(resources.get(kind, 0.0)) for kind in (("CPU", "GPU") if use_gpu else ("CPU",)))


def place(
    resources: Mapping[str, float],
    num_workers: int | None = None,
    num_dreamers: int | None = None,
    *,
    nodes: Sequence[float] | None = None,
    most_threads: int | None = None,
) -> Placement:
    """Return the placement on a cluster with ``resources`` (as `ray.cluster_resources` gives them).

    By default one worker trains on each GPU or, without any, on each core, up to four. Dreamers use GPUs where workers
    do: those that are left over or, where none are, a share of the workers'. They get the cores that are left; where
    none are left they share the workers' cores, since trainers and dreamers mostly take turns.

    A worker that trains on cores has one for each of its threads, of which it has as many as there are cores for,
    ``most_threads`` at most, so that what others may still take of the cluster is what is idle. ``nodes`` are the CPUs
    of each node, as far as they are known, where a worker's must lie together; one node by default. Where they do not,
    as on nodes that autoscaling is to bring, one CPU is requested, and others may be used beside it.

    Raises:
        InputError: the cluster can never hold what was requested.
    """
    cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    slots, kind = (gpus, "GPUs") if gpus else (cpus, "CPUs")
    if num_workers is None:
        num_workers = gpus or max(1, min(4, cpus))
    if num_dreamers is None:
        num_dreamers = max(1, min(num_workers, cpus - num_workers))
    for flag, count in (("--num-workers", num_workers), ("--num-dreamers", num_dreamers)):
        if count < 1:
            raise InputError(f"{flag} must be at least 1, not {count}.")
    if num_workers > most_workers(resources, use_gpu=gpus > 0):
        raise InputError(
            f"--num-workers {num_workers} needs {num_workers} {kind} and as many CPUs, "
            f"but the cluster has {slots} {kind} and {cpus} CPUs: ask for fewer, or add nodes."
        )
    gpus_per_worker, gpus_per_dreamer = share_gpus(gpus, num_workers, num_dreamers)
    apart = cpus - num_workers >= num_dreamers  # there is a core for each dreamer
    threads = min(max(1, (cpus - num_dreamers) // num_workers) if apart else 1, most_threads or cpus)
    together = fits(nodes or [cpus], num_workers, threads, num_dreamers if apart else 0)
    return Placement(
        num_workers=num_workers,
        num_dreamers=num_dreamers,
        cpus_per_worker=threads if together and not gpus else 1,
        cpus_per_dreamer=1 if apart else 0,
        gpus_per_worker=gpus_per_worker,
        gpus_per_dreamer=gpus_per_dreamer,
        threads_per_worker=threads,
        threads_per_dreamer=1,
    )


def fits(nodes: Sequence[float], num_workers: int, cpus_per_worker: int, num_dreamers: int) -> bool:
    """Return whether ``nodes``, each given by its CPUs, hold workers of so many CPUs and dreamers of one CPU each."""
    workers = sum(int(cpus // cpus_per_worker) for cpus in nodes)
    return workers >= num_workers and sum(map(int, nodes)) >= num_workers * cpus_per_worker + num_dreamers


def place_at_most(
    resources: Mapping[str, float],
    fewest: int | None,
    most: int | None,
    num_dreamers: int | None = None,
    *,
    nodes: Sequence[float] | None = None,
) -> Placement:
    """Return the placement of the ``most`` workers that a run may grow to, on this cluster or on more nodes.

    Raises:
        InputError: the cluster can never hold the ``fewest``.
    """
    smallest = place(resources, fewest, num_dreamers, nodes=nodes)
    if fewest == most or most is None:
        return smallest
    kinds = {"CPU", "GPU"} if smallest.use_gpu else {"CPU"}
    return place({kind: max(resources.get(kind, 0.0), most) for kind in kinds}, most, num_dreamers, nodes=nodes)


def share_gpus(gpus: int, num_workers: int, num_dreamers: int) -> tuple[float, float]:
    """Return what each worker and each dreamer gets of ``gpus``, in GPUs."""
    if not gpus:
        return 0.0, 0.0
    left_over = gpus - num_workers
    if left_over:
        return 1.0, part(1.0, -(-num_dreamers // left_over))
    return 1 - DREAMERS_SHARE, part(DREAMERS_SHARE, -(-num_dreamers // num_workers))


def part(share: float, parts: int) -> float:
    """Return one of ``parts`` equal parts of ``share``, rounded down to the ten-thousandths that Ray counts in."""
    return int(share / parts * 10_000) / 10_000
