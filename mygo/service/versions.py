"""The versions of a life in service: each a whole life in a folder of its own, which is never changed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Why = Literal["lesson", "forget", "rollback", "found"]


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a life."""

    number: int
    folder: Path
    """A whole life, for `Life.open`."""
    checksum: str
    """Of the manifest."""
    made: str
    """UTC, as ISO 8601."""
    why: Why
    work: str | None = None
    """Identifier of the lesson or forget that made it."""
    items: tuple[str, ...] = ()
    """Inbox items that it has learned."""
