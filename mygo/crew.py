"""What a phase works with, and the one training loop that the phases share."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from mygo.cache import MemoryCache
from mygo.checkpoint import Forgetful, Keeper, Parts
from mygo.dreams import DreamSource
from mygo.errors import NonFiniteError, StoppedError
from mygo.journal import Event, Journal, Place, Progress, silent
from mygo.precision import Precision, multiplying
from mygo.schedule import cosine, set_rate
from mygo.team import Team, global_mean

WAITS = ("dreams", "exchange", "saving")
"""What keeps a worker from training: dreams, awaited or made here; other workers' gradients; checkpoints, written."""

Losses = Mapping[str, Tensor]
"""Named terms of a loss, weighted already, each from `batch_mean`; their sum is what is minimised."""


@dataclass(frozen=True)
class Crew:
    """The workers, the source of dreams and the journal, at one place of a life."""

    team: Team
    dreams: DreamSource
    journal: Journal = silent
    log_every: int = 20
    place: Place = field(default_factory=lambda: Place("", 0, ""))
    cache: MemoryCache | None = None
    """Where memories that were trained before are found."""
    keeper: Keeper = field(default_factory=Forgetful)
    """Keeps points from which the phase goes on after an interruption."""
    save_every: float = math.inf
    """Seconds between two of those points."""
    stop: Callable[[], bool] = lambda: False
    """Tells whether the end was asked for."""
    precision: Precision = "float32"
    """In which numbers networks multiply while they train."""
    attempt: int = 0
    """Counts how often the phase's training is begun with other draws."""
    waits: dict[str, float] = field(default_factory=lambda: dict.fromkeys(WAITS, 0.0))
    """Seconds of the phase in which this worker did not train, by reason."""

    def at(self, place: Place) -> "Crew":
        """Return the same crew at ``place``."""
        return replace(self, place=place, waits=dict.fromkeys(WAITS, 0.0))

    def steps(self, steps: int, parts: Parts) -> Iterator[int]:
        """Yield the numbers of a training loop's ``steps``, from the last checkpoint of its ``parts`` on.

        Raises:
            StoppedError: the end was asked for; the step is finished and, on the worker that writes, saved.
        """
        for step in range(self.keeper.resume(parts, self.attempt), steps):
            yield step
            stopping = self.stop()
            with self.waiting_for("saving"):
                self.keeper.reached(step + 1, parts, self.attempt, at_once=stopping)
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
        return multiplying(self.precision, self.team.device)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of ``loss``, averaged over the team."""
        loss.backward()
        self.waits["exchange"] += self.team.waited()

    def tell(self, event: Event) -> None:
        """Journal ``event``, once for the whole team."""
        if self.team.rank == 0:
            self.journal(event)

    def log(self, step: int, steps: int, losses: Losses) -> None:
        """Journal the losses' means over the global batch, at every `log_every`-th step and the last."""
        if step % self.log_every == 0 or step == steps - 1:
            scalars = {name: global_mean(loss, self.team) for name, loss in losses.items()}
            self.tell(Progress(self.place, step, steps, scalars))

    def check_finite(self, step: int, losses: Losses) -> None:
        """Stop before an update with a loss that is not finite.

        Raises:
            NonFiniteError: it names the place, the step and the worker.
        """
        for name, loss in losses.items():
            if not math.isfinite(float(loss.detach())):
                raise NonFiniteError(
                    f"{self.place}, step {step}: {name} is {float(loss.detach())} on worker {self.team.rank}. "
                    "The update was not made: try a lower learning rate."
                )


Network = Callable[..., Any]
"""A network in training, under DDP where there are several workers; what it returns is float32."""


def train(module: nn.Module, losses_at: Callable[[Network, int], Losses], *, steps: int, lr: float, crew: Crew) -> None:
    """Minimise the sum of ``losses_at(network, step)`` with Adam and a cosine schedule, over the whole team.

    ``network`` is the ``module``, which returns a tensor or several, and multiplies in the crew's precision.
    """
    wrapped = crew.team.wrap(module)

    def network(*inputs: Tensor) -> Any:
        with crew.multiplying():
            outputs = wrapped(*inputs)
        return outputs.float() if isinstance(outputs, Tensor) else tuple(output.float() for output in outputs)

    module.train()
    optimiser = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr, fused=True)
    for step in crew.steps(steps, {"module": module, "optimiser": optimiser}):
        set_rate(optimiser, lr * cosine(step, steps))
        losses = losses_at(network, step)
        crew.check_finite(step, losses)
        optimiser.zero_grad()
        crew.backward(torch.stack(list(losses.values())).sum())
        optimiser.step()
        crew.log(step, steps, losses)
