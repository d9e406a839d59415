"""Processes that train together, as workers do."""

import tempfile
from collections.abc import Callable

import torch
from torch import distributed as dist
from torch import multiprocessing

from mygo.training.process_group import TorchProcessGroup


def together(check: Callable[..., None], size: int, *arguments: object) -> None:
    """Call ``check(group, *arguments)`` in each of ``size`` processes that form a group.

    They find each other by a file: a free port could be taken by another process before they have started.
    """
    with tempfile.TemporaryDirectory() as folder:
        spawned = (check, size, f"{folder}/group", *arguments)
        multiprocessing.spawn(in_a_group, spawned, nprocs=size)  # type: ignore[no-untyped-call]


def in_a_group(rank: int, check: Callable[..., None], size: int, file: str, *arguments: object) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=size)
    check(TorchProcessGroup(), *arguments)
    dist.destroy_process_group()
