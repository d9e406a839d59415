"""The workers that train one network together, as seen by one of them.

The algorithm is written once, against `ProcessGroup`. Alone, a group is one process. With `torch.distributed`
initialised (by Ray Train, torchrun or a test) it is all ranks under DistributedDataParallel (DDP). Each rank draws the
whole global batch's indices and noise, which are cheap, and keeps its share, so the numbers do not depend on the number
of ranks.
"""

import math
import time
import warnings
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from mygo.training.exchange import SharedAverage, share_memory

T = TypeVar("T")


class ProcessGroup(Protocol):
    """What a phase needs to know about the workers that it runs on."""

    rank: int
    size: int
    device: torch.device

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return ``module`` on this device such that its gradients are averaged over the ranks."""

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` (any shape) over all ranks."""

    def anywhere(self, flag: Tensor) -> Tensor:
        """Return 1 where ``flag`` (0 or 1, any shape) is 1 on any rank, without waiting for a GPU."""

    def gather(self, value: T) -> list[T]:
        """Return the ``value`` of each rank, which is pickled, in their order."""

    def waited(self) -> float:
        """Return for how many seconds the last backward pass waited for gradients of other ranks.

        On a GPU it is 0: what is queued there is not waited for.
        """

    def barrier(self) -> None:
        """Wait until every rank is here."""


class SingleProcess:
    """A group of one: this process on one device."""

    rank = 0
    size = 1

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return ``module`` on this device."""
        return module.to(self.device)

    def sum(self, values: Tensor) -> Tensor:
        """Return ``values``."""
        return values

    def anywhere(self, flag: Tensor) -> Tensor:
        """Return ``flag``."""
        return flag

    def gather(self, value: T) -> list[T]:
        """Return ``value`` alone."""
        return [value]

    def waited(self) -> float:
        """Return 0: there are no others."""
        return 0.0

    def barrier(self) -> None:
        """Go on at once."""


class TorchProcessGroup:
    """All ranks of the initialised default process group of `torch.distributed`."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.device = torch.device(device)
        self._own_ready = math.inf
        """When this rank's last gradients were given to the process group."""
        self._in_memory = 0.0
        """Seconds of exchanges through shared memory."""

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return ``module`` under DDP; a single rank on a CPU needs none.

        A single GPU goes the way of several, through NCCL.
        """
        module = module.to(self.device)
        on_cpu = self.device.type == "cpu"
        if self.size == 1 and on_cpu:
            return module
        # Buffers are functions of the parameters alone (spectral norm's vectors), so every rank has the same ones.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the option's new name is not known before PyTorch 2.13
            wrapped = DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)
        if on_cpu:
            numbers = sum(parameter.numel() for parameter in module.parameters())
            wrapped.register_comm_hook((self, share_memory(numbers)), exchange)
        return wrapped

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of ``values`` over all ranks, on the CPU."""
        values = values.to(self.device, copy=True)
        dist.all_reduce(values)
        return values.cpu()

    def anywhere(self, flag: Tensor) -> Tensor:
        """Return 1 where ``flag`` is 1 on any rank, and 0 elsewhere; a GPU is not waited for."""
        flag = flag.clone()
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return flag

    def gather(self, value: T) -> list[T]:
        """Return the ``value`` of each rank."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def waited(self) -> float:
        """Return for how long this rank exchanged gradients in the backward pass that has just ended, on a CPU."""
        waited = self._in_memory + max(0.0, time.perf_counter() - self._own_ready)
        self._in_memory = 0.0
        return waited

    def barrier(self) -> None:
        """Wait until every rank is here."""
        dist.barrier(device_ids=[torch.cuda.current_device()] if self.device.type == "cuda" else None)


def exchange(
    state: tuple[TorchProcessGroup, SharedAverage | None],
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[Tensor]:
    """Average a bucket of gradients, through shared memory or else as DDP does by itself, and note what that takes."""
    ranks, shared = state
    began = time.perf_counter()
    if shared is None:
        ranks._own_ready = began
        return allreduce_hook(None, bucket)  # type: ignore[arg-type]  # None is the default group
    gradients = bucket.buffer()
    shared.average(gradients)
    ranks._in_memory += time.perf_counter() - began
    averaged: torch.futures.Future[Tensor] = torch.futures.Future()
    averaged.set_result(gradients)
    return averaged


def share(total: int, rank: int, size: int) -> slice:
    """Return the contiguous part of ``total`` items that is ``rank``'s of ``size``; parts differ by at most one."""
    return slice(total * rank // size, total * (rank + 1) // size)


def batch_mean(losses: Tensor, total: int, group: ProcessGroup) -> Tensor:
    """Return the loss to call ``backward()`` on, from this rank's per-example ``losses`` (its share of ``total``).

    DDP averages gradients over ranks. The sum over this rank's examples, times ranks over the global batch size, makes
    that average the gradient of the mean over the global batch, also when the shares are uneven.
    """
    return losses.sum() * (group.size / total)


def global_mean(loss: Tensor, group: ProcessGroup) -> float:
    """Return the mean over the global batch of a loss that came from `batch_mean`."""
    return float(group.sum(loss.detach().reshape(1))) / group.size
