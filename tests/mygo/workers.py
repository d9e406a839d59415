"""Processes that train together, as workers do."""

import socket
from collections.abc import Callable

import torch
from torch import distributed as dist
from torch import multiprocessing

from mygo.training.process_group import TorchProcessGroup


def together(check: Callable[..., None], size: int, *arguments: object) -> None:
    """Call ``check(group, *arguments)`` in each of ``size`` processes that form a group."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    multiprocessing.spawn(in_a_group, (check, size, port, *arguments), nprocs=size)  # type: ignore[no-untyped-call]


def in_a_group(rank: int, check: Callable[..., None], size: int, port: int, *arguments: object) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    check(TorchProcessGroup(), *arguments)
    dist.destroy_process_group()
