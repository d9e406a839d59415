"""Averages through shared memory, as ranks in processes of their own take them."""

import os
import socket
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

from mygo import seeding
from mygo.training import exchange
from mygo.training.exchange import create, joined, share_memory

CAPACITY = 5000
TOKEN = b"a token!"


def together(check: Callable[..., None], size: int, *arguments: object) -> None:
    """Call ``check(rank, size, *arguments)`` in ``size`` processes that form a group."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    multiprocessing.spawn(in_a_group, (check, size, port, *arguments), nprocs=size)  # type: ignore[no-untyped-call]


def in_a_group(rank: int, check: Callable[..., None], size: int, port: int, *arguments: object) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    check(rank, size, *arguments)
    dist.destroy_process_group()


def averages_are_those_of_all(rank: int, size: int) -> None:
    shared = share_memory(CAPACITY)
    assert shared is not None
    for step in range(300):
        count = (1, 63, CAPACITY)[step % 3]
        everybody = [torch.randn(count, generator=seeding.stream("exchange", step, each)) for each in range(size)]
        values = everybody[rank].clone()
        shared.average(values)
        assert torch.equal(values, sum(each / size for each in everybody))


def one_ends_before_the_other(rank: int, size: int) -> None:
    shared = share_memory(CAPACITY)
    assert shared is not None
    shared.average(torch.ones(10))
    if rank == 1:
        os._exit(0)
    with pytest.raises(ConnectionError, match="rank 1, with which rank 0 shares memory, has ended"):
        shared.average(torch.ones(10))
    os._exit(0)  # the group cannot be left in order


def one_does_not_see_the_file(rank: int, size: int) -> None:
    if rank == 1:
        exchange.joined = lambda path, token: None
    assert share_memory(CAPACITY) is None


@pytest.mark.parametrize("size", [2, 3])
def test_every_rank_gets_the_mean_over_all(size: int) -> None:
    together(averages_are_those_of_all, size)


def test_a_rank_that_ended_is_noticed() -> None:
    together(one_ends_before_the_other, 2)


def test_ranks_that_do_not_share_a_machine_all_do_without() -> None:
    together(one_does_not_see_the_file, 2)


def test_a_processor_that_may_reorder_stores_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange.platform, "machine", lambda: "aarch64")
    assert create(2, CAPACITY, TOKEN) is None


def test_a_machine_that_makes_no_file_in_memory_does_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(name: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(exchange.os, "memfd_create", forbidden)
    assert create(2, CAPACITY, TOKEN) is None


def test_a_file_of_another_run_is_not_taken_for_ours() -> None:
    made = create(2, CAPACITY, TOKEN)
    assert made is not None
    with made:
        path = f"/proc/{os.getpid()}/fd/{made.fileno()}"
        assert joined(path, b"another!") is None
        file = joined(path, TOKEN)
        assert file is not None
        file.close()
    assert joined(path, TOKEN) is None


def test_a_pipe_at_the_path_is_not_read() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w"):
        assert joined(f"/proc/{os.getpid()}/fd/{reading}", TOKEN) is None
