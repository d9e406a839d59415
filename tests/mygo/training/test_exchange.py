"""Averages through shared memory, as ranks in processes of their own take them."""

import os

import pytest
import torch

from mygo import seeding
from mygo.training import exchange
from mygo.training.exchange import create, joined, share_memory
from mygo.training.process_group import TorchProcessGroup
from tests.mygo.workers import together

CAPACITY = 5000
TOKEN = b"a token!"


def averages_are_those_of_all(group: TorchProcessGroup) -> None:
    shared = share_memory(CAPACITY)
    assert shared is not None
    for step in range(300):
        count = (1, 63, CAPACITY)[step % 3]
        everybody = [torch.randn(count, generator=seeding.stream("exchange", step, each)) for each in range(group.size)]
        values = everybody[group.rank].clone()
        shared.average(values)
        assert torch.equal(values, sum(each / group.size for each in everybody))


def one_ends_before_the_other(group: TorchProcessGroup) -> None:
    shared = share_memory(CAPACITY)
    assert shared is not None
    shared.average(torch.ones(10))
    if group.rank == 1:
        os._exit(0)
    with pytest.raises(ConnectionError, match="rank 1, with which rank 0 shares memory, has ended"):
        shared.average(torch.ones(10))
    os._exit(0)  # the group cannot be left in order


def one_does_not_see_the_file(group: TorchProcessGroup) -> None:
    if group.rank == 1:
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
