"""What a phase of a life works with."""

from dataclasses import dataclass, field

from mygo.memory.cache import MemoryCache
from mygo.replay.source import LocalReplay, ReplaySource
from mygo.training.loop import Trainer


@dataclass(frozen=True)
class PhaseContext(Trainer):
    """The training loop, with where dreams and trained memories come from."""

    dreams: ReplaySource = field(default_factory=LocalReplay, kw_only=True)
    """Where sleep gets its dreams from."""
    cache: MemoryCache | None = field(default=None, kw_only=True)
    """Where memories that were trained before are found."""
