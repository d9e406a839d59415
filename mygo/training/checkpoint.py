"""Points within a phase from which its training goes on exactly: what is trained, the optimisers, and the steps done.

No random state is kept, since every draw is named by its step (`mygo.seeding`), and no schedule, since rates are
functions of the step.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from mygo.errors import InputError

Parts = Mapping[str, nn.Module | torch.optim.Optimizer]
"""What a training loop changes, by names that do not change."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a phase's training after ``steps`` steps of its ``attempt``, ``seconds`` after the phase began."""

    phase: str
    attempt: int
    steps: int
    seconds: float
    tensors: Mapping[str, Tensor]


class Checkpointer(Protocol):
    """Keeps checkpoints of one phase, and gives the last one back when the phase is begun again."""

    @property
    def attempt(self) -> int:
        """The attempt that the last checkpoint belongs to; 0 without one."""

    def steps_done(self, attempt: int) -> int:
        """Return how many steps of ``attempt`` were done at the last checkpoint."""

    def resume(self, parts: Parts, attempt: int) -> int:
        """Bring ``parts`` to the last checkpoint of ``attempt``, and return `steps_done`."""

    def due(self) -> bool:
        """Return whether it is time to keep a checkpoint."""

    def keep(self, steps: int, parts: Parts, attempt: int) -> None:
        """Keep a checkpoint, now that ``steps`` of ``attempt`` are done."""


class NoCheckpoints:
    """Keeps nothing."""

    attempt = 0

    def steps_done(self, attempt: int) -> int:
        """Nothing was done before."""
        return 0

    def resume(self, parts: Parts, attempt: int) -> int:
        """Begin at the beginning."""
        return 0

    def due(self) -> bool:
        """It is never time."""
        return False

    def keep(self, steps: int, parts: Parts, attempt: int) -> None:
        """Keep nothing."""


class PhaseCheckpointer:
    """Gives checkpoints of ``phase`` to ``write`` whenever ``every`` seconds have gone by; ``last`` is the last one.

    A worker that does not write has ``write`` None; all workers must be given the same ``last``.
    """

    def __init__(
        self, phase: str, last: Checkpoint | None, write: Callable[[Checkpoint], None] | None, every: float
    ) -> None:
        self.phase = phase
        self.last = last if last is not None and last.phase == phase else None
        self.write = write
        self.every = every
        self.seconds_before = self.last.seconds if self.last else 0.0
        """Seconds of this phase that earlier runs spent up to the last checkpoint."""
        self._began = self._kept = time.monotonic()

    @property
    def attempt(self) -> int:
        """The attempt that the last checkpoint belongs to; 0 without one."""
        return self.last.attempt if self.last else 0

    def steps_done(self, attempt: int) -> int:
        """Return how many steps of ``attempt`` were done at the last checkpoint."""
        return self.last.steps if self.last and self.last.attempt == attempt else 0

    def resume(self, parts: Parts, attempt: int) -> int:
        """Bring ``parts`` to the last checkpoint of ``attempt``, and return `steps_done`.

        Raises:
            InputError: the checkpoint is of other parts.
        """
        if self.last and self.last.attempt == attempt:
            try:
                restore(parts, self.last.tensors)
            except (LookupError, ValueError, RuntimeError) as error:
                raise InputError(f"The point saved within {self.phase} is not one of this life ({error}).") from error
        return self.steps_done(attempt)

    def due(self) -> bool:
        """Return whether it is time to keep a checkpoint."""
        return self.write is not None and time.monotonic() - self._kept >= self.every

    def keep(self, steps: int, parts: Parts, attempt: int) -> None:
        """Keep a checkpoint, now that ``steps`` of ``attempt`` are done."""
        if self.write is None:
            return
        seconds = self.seconds_before + time.monotonic() - self._began
        self.write(Checkpoint(self.phase, attempt, steps, seconds, tensors_of(parts)))
        self._kept = time.monotonic()


def tensors_of(parts: Parts) -> dict[str, Tensor]:
    """Return the whole state of ``parts`` as tensors with names; those of an optimiser's state are its own copies."""
    tensors: dict[str, Tensor] = {}
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            tensors |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
        else:
            for index, state in part.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": value for key, value in state.items()}
    return tensors


def restore(parts: Parts, tensors: Mapping[str, Tensor]) -> None:
    """Give ``parts`` the state that `tensors_of` returned, on the devices on which they are.

    Raises:
        KeyError, IndexError, RuntimeError: the tensors are of other parts.
    """
    for name, part in parts.items():
        mine = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        if isinstance(part, nn.Module):
            part.load_state_dict(mine)
            continue
        parameters = [parameter for group in part.param_groups for parameter in group["params"]]
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in mine.items():
            index, field = key.split(".")
            like = parameters[int(index)]
            # A fused optimiser takes numbers in the order of memory, and files do not keep a parameter's.
            state = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
            states.setdefault(int(index), {})[field] = state
        part.load_state_dict({**part.state_dict(), "state": states})
