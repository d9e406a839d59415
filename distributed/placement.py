"""Who runs where: training workers, dreamers and threads, from what the cluster has."""

from collections.abc import Mapping
from dataclasses import dataclass

from mygo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Placement:
    """How many processes of each kind there are and what each may use."""

    num_workers: int
    num_dreamers: int
    use_gpu: bool
    cpus_per_worker: float
    cpus_per_dreamer: float
    threads_per_worker: int
    threads_per_dreamer: int

    @property
    def worker(self) -> dict[str, float]:
        """The resources of one training worker, as Ray names them."""
        return {"CPU": self.cpus_per_worker} | ({"GPU": 1.0} if self.use_gpu else {})


def place(resources: Mapping[str, float], num_workers: int | None = None, num_dreamers: int | None = None) -> Placement:
    """Return the placement on a cluster with ``resources`` (as `ray.cluster_resources` gives them).

    By default one worker trains on each GPU or, without any, on each core, up to four. Dreamers get the cores that are
    left; where none are left they share the workers' cores, since trainers and dreamers mostly take turns.

    Raises:
        InputError: the cluster can never hold what was asked for.
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
    if num_workers > slots or num_workers > cpus:
        raise InputError(
            f"--num-workers {num_workers} needs {num_workers} {kind} and as many CPUs, "
            f"but the cluster has {slots} {kind} and {cpus} CPUs: ask for fewer, or add nodes."
        )
    spare = cpus - num_workers
    cpus_per_dreamer = min(1.0, spare / num_dreamers)
    return Placement(
        num_workers=num_workers,
        num_dreamers=num_dreamers,
        use_gpu=gpus > 0,
        cpus_per_worker=1,
        cpus_per_dreamer=cpus_per_dreamer if cpus_per_dreamer == 1 else 0,
        threads_per_worker=max(1, (cpus - num_dreamers) // num_workers) if cpus_per_dreamer == 1 else 1,
        threads_per_dreamer=1,
    )
