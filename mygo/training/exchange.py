"""Averages over ranks that share a machine, through its memory.

For the few megabytes of our gradients gloo, which goes through the loopback of the network, mostly waits to be woken:
2 to 4 ms for an average, where a step takes 20 to 50.
"""

import fcntl
import os
import platform
import secrets
import time
from pathlib import Path
from typing import IO

import torch
import torch.distributed as dist
from torch import Tensor

ORDERED_STORES = ("x86_64", "AMD64")
"""Processors on which other cores see a core's stores in the order in which they were made."""
TOKEN_BYTES = 8
"""Length of what distinguishes a file from one that another machine has at the same path."""
LINE = 8
"""Numbers of 64 bits in a line of the cache; each rank's count has a line of its own."""
YIELDS = 2000
"""How often a rank that waits offers its core to others before it sleeps: for about a millisecond. Ranks of like speed
seldom wait longer, and to be woken would cost them a tenth of that each time."""
NAP_SECONDS = 5e-5
CHECK_SECONDS = 1.0
"""How often a rank that waits makes sure that the others live."""


class SharedAverage:
    """Averages float32 tensors over ranks; all must call it in the same order, with as many numbers.

    Every rank writes into one of its two slots, in turn, and then counts. When all counts have reached n, everyone
    reads the n-th values; a slot is written again at n + 2, when all have counted n + 1 and so have read the n-th.
    """

    def __init__(self, file: IO[bytes], rank: int, size: int, capacity: int) -> None:
        """Take part as ``rank`` of ``size`` in the ``file`` that `create` made for ``capacity`` numbers."""
        self.rank = rank
        self.size = size
        path = f"/proc/self/fd/{file.fileno()}"
        whole = torch.from_file(path, shared=True, size=bytes_for(size, capacity), dtype=torch.uint8)
        head = head_bytes(size)
        self._counts = whole[:head].view(torch.int64).numpy()[LINE::LINE]
        self._slots = whole[head:].view(torch.float32).view(2, size, capacity)
        self._count = 0
        self._file = file
        fcntl.lockf(file, fcntl.LOCK_EX, 1, rank)  # gone with this process, however it ends

    def __del__(self) -> None:
        self._file.close()

    def average(self, values: Tensor) -> None:
        """Replace ``values`` [N] by their mean over all ranks; every rank gets the same bits.

        Raises:
            ConnectionError: another rank has ended.
        """
        self._count += 1
        parts = self._slots[self._count % 2, :, : len(values)]
        torch.div(values, self.size, out=parts[self.rank])  # while it is copied: no pass of its own
        self._counts[self.rank] = self._count
        for other in range(self.size):
            self._wait_for(other)
        torch.add(parts[0], parts[1], out=values)  # `torch.sum` takes over twice as long
        for part in parts[2:]:
            values += part

    def _wait_for(self, other: int) -> None:
        for _ in range(YIELDS):
            if self._counts[other] >= self._count:
                return
            os.sched_yield()
        check_at = time.monotonic() + CHECK_SECONDS
        while self._counts[other] < self._count:
            time.sleep(NAP_SECONDS)
            if time.monotonic() > check_at:
                self._check(other)
                check_at = time.monotonic() + CHECK_SECONDS

    def _check(self, other: int) -> None:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, other)
        except OSError:
            return  # it holds its lock
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, other)
        if self._counts[other] < self._count:
            raise ConnectionError(f"rank {other}, with which rank {self.rank} shares memory, has ended")


def head_bytes(size: int) -> int:
    """Return the bytes before the slots: a token and a count for each rank, each in a line of its own."""
    return 8 * LINE * (1 + size)


def bytes_for(size: int, capacity: int) -> int:
    """Return the bytes of all that ``size`` ranks share for ``capacity`` numbers of 32 bits."""
    return head_bytes(size) + 2 * size * capacity * 4


def share_memory(capacity: int) -> SharedAverage | None:
    """Return what averages up to ``capacity`` numbers over all ranks of the default process group, which all call this.

    It is None, for all of them, where they do not see each other's processes on one machine, where that makes no such
    file, or where its processor may reorder stores.
    """
    rank, size = dist.get_rank(), dist.get_world_size()
    token = secrets.token_bytes(TOKEN_BYTES)
    file = create(size, capacity, token) if rank == 0 else None
    offers = [None if file is None else (f"/proc/{os.getpid()}/fd/{file.fileno()}", token)]
    dist.broadcast_object_list(offers)
    if rank != 0 and offers[0] is not None:
        file = joined(*offers[0])
    shared = None if file is None else SharedAverage(file, rank, size, capacity)
    everybody = torch.tensor([int(shared is not None)])
    dist.all_reduce(everybody, dist.ReduceOp.MIN)
    return shared if everybody.item() else None


def create(size: int, capacity: int, token: bytes) -> IO[bytes] | None:
    """Make a file in memory for ``size`` ranks, which begins with ``token`` and is gone with the last of them."""
    if platform.machine() not in ORDERED_STORES or not hasattr(os, "memfd_create"):
        return None
    try:
        file = os.fdopen(os.memfd_create("mygo"), "r+b", buffering=0)
    except OSError:
        return None  # a sandbox may forbid it
    file.truncate(bytes_for(size, capacity))
    file.write(token)
    return file


def joined(path: str, token: bytes) -> IO[bytes] | None:
    """Open the file that `create` made, by the path at which its process has it, if that is on this machine."""
    try:
        if not Path(path).is_file():
            return None  # of another machine, and a pipe, say, which would keep its reader waiting
        file = Path(path).open("r+b", buffering=0)  # noqa: SIM115, as long as the memory is shared
    except OSError:
        return None
    if file.read(len(token)) == token:
        return file
    file.close()
    return None
