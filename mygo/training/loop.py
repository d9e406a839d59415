"""The one training loop that all phases share."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mygo.config.learner import Precision
from mygo.errors import NonFiniteError, StoppedError
from mygo.events import Event, EventHandler, Place, Progress, silent
from mygo.training.checkpoint import Checkpointer, NoCheckpoints, Parts
from mygo.training.graphs import WARM_UP, Inputs, Recorded, recordable
from mygo.training.optimiser import Adam, cosine, set_rate
from mygo.training.precision import multiplying
from mygo.training.process_group import ProcessGroup, global_mean

T = TypeVar("T", bound="Trainer")

WAITS = ("dreams", "exchange", "saving")
"""What keeps a worker from training: dreams, awaited or made here; other workers' gradients; checkpoints, written."""

Losses = Mapping[str, Tensor]
"""Named terms of a loss, weighted already, each from `batch_mean`; their sum is what is minimised."""

Update = Callable[..., Losses]
"""What one training step does with its inputs; it returns its losses without gradients."""


@dataclass(frozen=True)
class Trainer:
    """The training loop that all phases share, for the workers of ``group``, at one ``place`` of a life."""

    group: ProcessGroup
    on_event: EventHandler = silent
    log_every: int = 20
    place: Place = field(default_factory=lambda: Place("", 0, ""))
    checkpointer: Checkpointer = field(default_factory=NoCheckpoints)
    """Keeps points from which the phase goes on after an interruption."""
    save_every: float = math.inf
    """Seconds between two of those points."""
    stop: Callable[[], bool] = lambda: False
    """Returns whether the end was requested."""
    precision: Precision = "float32"
    """In which numbers networks multiply while they train."""
    eager: bool = False
    """On a GPU, launch a training step's operations one by one, rather than all at once as a recorded graph."""
    attempt: int = 0
    """Counts how often the phase's training is begun with other draws."""
    waits: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WAITS, 0.0))
    """Seconds of the phase in which this worker did not train, by reason."""
    pending: list[tuple[int, Losses]] = field(default_factory=list)
    """Losses on a GPU that nobody has looked at, with their steps: to look is to wait for the GPU."""

    def at(self: T, place: Place) -> T:
        """Return the same at ``place``."""
        return replace(self, place=place, waits=dict.fromkeys(WAITS, 0.0), pending=[])

    def train(self, update: Update, inputs_at: Callable[[int], Inputs], *, steps: int, parts: Parts) -> None:
        """Call ``update(*inputs_at(step))`` for each of ``steps``, from the last checkpoint of its ``parts`` on.

        The inputs of all steps have the same shapes. ``update`` changes the parts with `minimise`, and nothing else.
        On a GPU it is recorded, and gets numbers as tensors; it must not wait for the GPU.

        Raises:
            NonFiniteError: a loss is not finite, and the update was not made.
            StoppedError: the end was requested; the step is finished and, on the worker that writes, saved.
        """
        device = self.group.device
        make_step = update if device.type == "cpu" else Recorded(update, device, math.inf if self.eager else WARM_UP)
        for step in self.steps(steps, parts):
            inputs = inputs_at(step)
            with self.naming(step):
                losses = make_step(*inputs)
            self.log(step, steps, losses)

    def steps(self, steps: int, parts: Parts) -> Iterator[int]:
        """Yield the numbers of a training loop's ``steps``, from the last checkpoint of its ``parts`` on.

        Raises:
            StoppedError: the end was requested; the step is finished and, on the worker that writes, saved.
        """
        for step in range(self.checkpointer.resume(parts, self.attempt), steps):
            yield step
            stopping = self.stop()
            if stopping or self.checkpointer.due():
                with self.waiting_for("saving"):
                    self.check_pending_losses()
                    self.checkpointer.keep(step + 1, parts, self.attempt)
            if stopping:
                raise StoppedError(f"{self.place}: stopped after step {step + 1} of {steps}.")

    @contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """Count the seconds of the block as waiting for ``what``, one of `WAITS`."""
        began = time.perf_counter()
        yield
        self.waits[what] += time.perf_counter() - began

    def multiplying(self) -> torch.autocast:
        """Return a context for what networks compute forward in training."""
        return multiplying(self.precision, self.group.device)

    def minimise(self, losses: Losses, optimiser: torch.optim.Optimizer) -> Losses:
        """Make one step of ``optimiser`` down the gradient of the sum of ``losses``, averaged over the process group.

        Returns the losses without their gradients. A step on a loss that is not finite is not made.

        Raises:
            FloatingPointError: there is one; on a GPU it is found later, by `check_pending_losses`.
        """
        total = torch.stack(list(losses.values())).sum()
        if total.is_cuda:
            broken = self.group.anywhere((~total.detach().isfinite()).float())
            optimiser.found_inf = broken  # type: ignore[attr-defined]  # makes it skip this step
        else:
            check_finite(losses)
        optimiser.zero_grad()
        total.backward()
        self.waits["exchange"] += self.group.waited()
        optimiser.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def emit(self, event: Event) -> None:
        """Pass ``event`` on, once for the whole group."""
        if self.group.rank == 0:
            self.on_event(event)

    def log(self, step: int, steps: int, losses: Losses) -> None:
        """Log the losses' means over the global batch, at every `log_every`-th step and the last."""
        if self.group.device.type == "cuda":
            self.pending.append((step, {name: loss.clone() for name, loss in losses.items()}))
        if step % self.log_every == 0 or step == steps - 1:
            self.check_pending_losses()
            scalars = {name: global_mean(loss, self.group) for name, loss in losses.items()}
            self.emit(Progress(self.place, step, steps, scalars))

    def check_pending_losses(self) -> None:
        """Make sure that all losses so far are finite.

        Raises:
            NonFiniteError: one is not.
        """
        values = [loss for _, losses in self.pending for loss in losses.values()]
        if values and not torch.stack(values).isfinite().all():
            for step, losses in self.pending:
                with self.naming(step):
                    check_finite(losses)
        self.pending.clear()

    @contextmanager
    def naming(self, step: int) -> Iterator[None]:
        """Say where it happened when a loss of ``step`` is not finite.

        Raises:
            NonFiniteError: it names the place, the step and the worker.
        """
        try:
            yield
        except FloatingPointError as error:
            raise NonFiniteError(
                f"{self.place}, step {step}: {error} on worker {self.group.rank}. "
                "The update was not made: try a lower learning rate."
            ) from error


def check_finite(losses: Losses) -> None:
    """Look at ``losses``.

    Raises:
        FloatingPointError: one is not finite.
    """
    for name, loss in losses.items():
        if not math.isfinite(float(loss.detach())):
            raise FloatingPointError(f"{name} is {float(loss.detach())}")


Network = Callable[..., Any]
"""A network in training, under DDP where there are several workers; what it returns is float32."""


def train(
    module: nn.Module,
    losses_of: Callable[..., Losses],
    inputs_at: Callable[[int], tuple[Tensor, ...]],
    *,
    steps: int,
    lr: float,
    context: Trainer,
) -> None:
    """Minimise the sum of ``losses_of(network, *inputs_at(step))`` over the whole group, with Adam along a cosine.

    ``network`` is the ``module``, which returns a tensor or several, and multiplies in the context's precision.
    """
    with recordable(context.group.device):
        wrapped = context.group.wrap(module)
        module.train()
        optimiser = Adam(module, lr=lr)

        def network(*inputs: Tensor) -> Any:
            with context.multiplying():
                outputs = wrapped(*inputs)
            return outputs.float() if isinstance(outputs, Tensor) else tuple(output.float() for output in outputs)

        def update(rate: float | Tensor, *inputs: Tensor) -> Losses:
            set_rate(optimiser, rate)
            return context.minimise(losses_of(network, *inputs), optimiser)

        context.train(
            update,
            lambda step: (lr * cosine(step, steps), *inputs_at(step)),
            steps=steps,
            parts={"module": module, "optimiser": optimiser},
        )
