import pytest

from distributed.cluster.placement import place, place_at_most
from mygo.errors import InputError


@pytest.mark.parametrize(
    ("resources", "workers", "dreamers"),
    [
        ({"CPU": 1}, 1, 1),
        ({"CPU": 2}, 2, 1),
        ({"CPU": 8}, 4, 4),
        ({"CPU": 16, "GPU": 2}, 2, 2),
    ],
)
def test_the_default_fits_the_machine(resources: dict[str, float], workers: int, dreamers: int) -> None:
    placement = place(resources)
    assert (placement.num_workers, placement.num_dreamers) == (workers, dreamers)
    assert placement.use_gpu == ("GPU" in resources)


@pytest.mark.parametrize("cpus", [1, 2, 3, 4, 7, 64])
@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("dreamers", [1, 3])
def test_what_is_reserved_always_fits_and_threads_do_not_crowd_the_cores(
    cpus: int, workers: int, dreamers: int
) -> None:
    if workers > cpus:
        with pytest.raises(InputError):
            place({"CPU": cpus}, workers, dreamers)
        return
    placement = place({"CPU": cpus}, workers, dreamers)
    assert (
        placement.num_workers * placement.cpus_per_worker + placement.num_dreamers * placement.cpus_per_dreamer <= cpus
    )
    assert placement.num_workers * placement.threads_per_worker <= cpus
    assert placement.cpus_per_worker == placement.threads_per_worker, "what is used is reserved"
    assert sum(bundle["CPU"] for bundle in placement.bundles) == placement.cpus


def test_the_cores_of_a_worker_lie_on_one_node_or_one_alone_is_asked_for() -> None:
    assert place({"CPU": 9}, 2, 1, nodes=[3, 3, 3]).bundles == [{"CPU": 1}] * 3
    assert place({"CPU": 9}, 2, 1, nodes=[5, 4]).bundles == [{"CPU": 4}, {"CPU": 4}, {"CPU": 1}]
    assert place({"CPU": 9}, 2, 1, nodes=[8, 1]).bundles == [{"CPU": 4}, {"CPU": 4}, {"CPU": 1}]
    assert place({"CPU": 9}, 2, 1, nodes=[1]).bundles == [{"CPU": 1}] * 3, "autoscaling is to bring the others"


def test_threads_can_be_limited_and_so_can_what_is_reserved_for_them() -> None:
    placement = place({"CPU": 16}, 2, 1, most_threads=1)
    assert (placement.threads_per_worker, placement.cpus) == (1, 3)


@pytest.mark.parametrize(("gpus", "workers"), [(1, 1), (2, 1), (4, 4), (4, 3), (8, 2)])
@pytest.mark.parametrize("dreamers", [1, 2, 3, 16])
def test_every_worker_has_a_gpu_of_its_own_and_all_dreamers_fit_beside_them(
    gpus: int, workers: int, dreamers: int
) -> None:
    placement = place({"CPU": 32, "GPU": gpus}, workers, dreamers)
    assert 0.5 < placement.gpus_per_worker <= 1
    assert placement.gpus_per_dreamer > 0
    shared = 1 - placement.gpus_per_worker
    rooms = [shared] * workers if shared else [1.0] * (gpus - workers)
    assert sum(int(room / placement.gpus_per_dreamer + 1e-9) for room in rooms) >= dreamers
    assert placement.gpus <= gpus
    assert placement.worker == {"CPU": 1, "GPU": placement.gpus_per_worker}


def test_without_a_gpu_nobody_asks_for_one() -> None:
    placement = place({"CPU": 8}, 2, 2)
    assert placement.gpus == 0
    assert placement.worker == {"CPU": 3}


def test_what_the_cluster_cannot_hold_is_refused_with_both_numbers() -> None:
    with pytest.raises(InputError, match=r"--num-workers 3 needs 3 CPUs .* has 2 CPUs"):
        place({"CPU": 2}, 3)
    with pytest.raises(InputError, match=r"--num-workers 2 needs 2 GPUs .* has 1 GPUs"):
        place({"CPU": 8, "GPU": 1}, 2)
    with pytest.raises(InputError, match="--num-dreamers must be at least 1"):
        place({"CPU": 2}, 1, 0)


def test_a_range_is_placed_for_the_most_but_refused_only_for_the_fewest() -> None:
    assert place_at_most({"CPU": 2}, 1, 4).num_workers == 4
    assert place_at_most({"CPU": 2}, 2, 2) == place({"CPU": 2}, 2)
    assert place_at_most({"CPU": 2}, None, None) == place({"CPU": 2})
    with pytest.raises(InputError, match="--num-workers 3 needs 3 CPUs"):
        place_at_most({"CPU": 2}, 3, 4)
