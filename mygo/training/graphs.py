"""Training steps on a GPU, recorded as CUDA graphs.

A step of networks as small as ours is several hundred kernels of a few microseconds each. To launch them one by one
from Python takes several times as long as they run; a graph launches all of them at once.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache

import torch
from torch import Tensor

from mygo.errors import InputError

WARM_UP = 11
"""Calls before a training step is recorded: DistributedDataParallel does in its first ten what cannot be."""

Inputs = tuple[Tensor | float, ...]
"""What a step is given: tensors whose shapes never change, and numbers."""


class Recorded:
    """A function of `Inputs` that returns tensors without gradients, replayed as a CUDA graph after its first calls.

    It sees numbers as tensors without dimensions, and may change tensors in place, such as weights. Calls return the
    same tensors every time, with new values.
    """

    def __init__(
        self, function: Callable[..., Mapping[str, Tensor]], device: torch.device, warm_up: float = WARM_UP
    ) -> None:
        """Prepare to call ``function`` on ``device``, at first ``warm_up`` times as it is."""
        self._function = function
        self._device = device
        self._calls_to_come = warm_up
        self._inputs: list[Tensor] = []
        self._outputs: Mapping[str, Tensor] = {}
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor | float) -> Mapping[str, Tensor]:
        """Call the function, within `recordable`.

        Raises:
            InputError: it does what cannot be recorded.
        """
        self._take(inputs)
        if self._calls_to_come > 0:
            self._calls_to_come -= 1
            return self._function(*self._inputs)
        if self._graph is None:
            self._graph = self._recorded()
        self._graph.replay()
        return self._outputs

    def _take(self, inputs: Inputs) -> None:
        """Copy ``inputs`` to where the graph reads them, without waiting for the GPU."""
        if not self._inputs:
            self._inputs = [torch.as_tensor(value).to(self._device, copy=True) for value in inputs]
        for mine, value in zip(self._inputs, inputs, strict=True):
            if isinstance(value, float):
                mine.fill_(value)
            elif mine.shape == value.shape:
                mine.copy_(value, non_blocking=True)
            else:
                raise ValueError(f"an input of shape {list(mine.shape)} has become one of {list(value.shape)}")

    def _recorded(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream(self._device)
        try:
            # NCCL's watchdog may ask the GPU something meanwhile.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._outputs = self._function(*self._inputs)
        except RuntimeError as error:
            raise InputError(
                f"What a network does cannot be recorded as a CUDA graph ({str(error).splitlines()[0]}): "
                "choose eager (--eager), which launches its operations one by one."
            ) from error
        return graph


@contextmanager
def recordable(device: torch.device) -> Iterator[None]:
    """Do the block's work for a GPU on a stream that can be recorded, after what was queued on it before."""
    if device.type != "cuda":
        yield
        return
    before, apart = torch.cuda.current_stream(device), stream_apart(device)
    apart.wait_stream(before)
    with torch.cuda.stream(apart):
        yield
    before.wait_stream(apart)


@lru_cache
def stream_apart(device: torch.device) -> torch.cuda.Stream:
    """Return this process's stream for training on ``device``: the default one cannot be recorded."""
    return torch.cuda.Stream(device)
