"""Settings of a life in service."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from mygo.config.learner import LifeConfig
from mygo.config.ranges import LEAST_FOR_DRIFT, MOST_PROCESSES, MOST_STEPS, check_ranges, check_share
from mygo.config.settings import SAVE_EVERY
from mygo.errors import InputError
from mygo.unknown.rates import check_rate

CLOCK_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
LONGEST_NAME = 100
"""Characters of a class's name."""
LARGEST_INBOX = 2**50
"""Bytes beyond which a limit is taken for a slip."""


@dataclass(frozen=True, kw_only=True)
class InboxLimits:
    """How much may wait to be learned."""

    max_examples: int = 10_000
    """Examples, over all classes."""
    max_bytes: int = 2 * 2**30
    """Bytes on disk."""

    def __post_init__(self) -> None:
        check_ranges(self, "inbox", max_examples=(1, MOST_STEPS), max_bytes=(1, LARGEST_INBOX))


@dataclass(frozen=True, kw_only=True)
class ExampleLimits:
    """How large inputs may be, to be answered or taught."""

    max_pixels: int = 50_000_000
    """Width times height of an image, which is looked up before any of it is decoded."""
    max_pixels_together: int = 1_000_000_000
    """The same of all images of one request: a small file may have many pixels, and takes as long."""
    max_text_bytes: int = 100_000
    """Bytes of a text in UTF-8."""

    def __post_init__(self) -> None:
        largest = (1, LARGEST_INBOX)
        check_ranges(self, "", max_pixels=largest, max_pixels_together=largest, max_text_bytes=largest)


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """How a life in service is taught, and what is kept of it."""

    encoder: str = "auto"
    """What a life that is not there yet will see through (as ``--encoder``); one that is there keeps its own."""
    encoder_weights: Path | None = None
    """File with the weights of the encoder, where it does not find them itself."""
    learner: LifeConfig | None = None
    """Settings of a life that is not there yet; by default those that suit what it sees."""
    keep_versions: int = 3
    """Versions before the current one that are kept to roll back to."""
    sleep_at: str | None = None
    """HH:MM, local time: when a lesson begins each day if something waits to be learned."""
    sleep_after: int | None = None
    """Examples that make a lesson begin once so many wait."""
    held_out: float = 0.1
    """Share of each class's examples of a lesson that accuracy is measured on."""
    save_every: float = SAVE_EVERY
    """Seconds between two points within a phase from which an interrupted lesson goes on; phases are always saved."""
    unknown: float = 0.05
    """An input is called unknown if it looks like nothing that the life knows: the share of known inputs that may be
    called so by mistake, from 0.001 to 0.5. 0 is for never."""
    unknown_below: float = 0.0
    """An input is called unknown if its class has less than this probability, from 0, which is never, to 1."""
    drift_after: int = 400
    """Inputs after which it is tested whether they have drifted, from 30. 0 is for never."""
    inbox: InboxLimits = field(default_factory=InboxLimits)
    examples: ExampleLimits = field(default_factory=ExampleLimits)

    def __post_init__(self) -> None:
        check_share(self.held_out, "held-out")
        check_ranges(self, "", keep_versions=(0, MOST_PROCESSES), sleep_after=(1, MOST_STEPS))
        check_ranges(self, "", save_every=(0.0, MOST_STEPS), unknown_below=(0.0, 1.0), drift_after=(0, MOST_STEPS))
        if self.unknown:
            check_rate(self.unknown, "--unknown")
        if 0 < self.drift_after < LEAST_FOR_DRIFT:
            raise InputError(f"--drift-after must be 0 or at least {LEAST_FOR_DRIFT}, not {self.drift_after}.")
        if self.sleep_at is not None and not CLOCK_TIME.fullmatch(self.sleep_at):
            raise InputError(f"--sleep-at must be a time of the day such as 03:30, not {self.sleep_at!r}.")


DEFAULTS = ServiceConfig()


class Clock:
    """Strikes once a day at a time of the day."""

    def __init__(self, at: str | None) -> None:
        """Strike at ``at``, HH:MM, or never."""
        self._at = at
        self._last: datetime | None = None

    def struck(self, now: datetime) -> bool:
        """Return whether it struck after the last call, and not after ``now``; at the first call it did not."""
        last, self._last = self._last, now
        if self._at is None or last is None:
            return False
        hour, minute = map(int, self._at.split(":"))
        newest = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        if newest > now:
            newest -= timedelta(days=1)
        return last < newest
