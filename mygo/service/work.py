"""Records of the work of a life in service, lessons and classes to forget, each a JSON file that outlives a crash."""

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["waiting", "running", "done", "failed"]
What = Literal["lesson", "forget"]


@dataclass(frozen=True, kw_only=True)
class WorkRecord:
    """A lesson, or a class to forget: what is to be done, how far it came, and how it ended."""

    id: str
    what: What
    state: State = "waiting"
    classes: tuple[str, ...] = ()
    """Names of the classes that it is about; those that were forgotten since are taken out, also of a forget itself."""
    examples: int = 0
    """Examples from the inbox that it learns from."""
    phase: str = ""
    """What it is doing, in words."""
    progress: float = 0.0
    """The part of it that is done, from 0 to 1."""
    error: str | None = None
    """Why it failed, in one sentence."""
    version: int | None = None
    """The version of the life that it made."""
    asked: str = ""
    """When it was asked for, began and ended: UTC, as ISO 8601; empty before."""
    began: str = ""
    ended: str = ""
    items: tuple[str, ...] = ()
    """The inbox items that it takes; not part of `as_json`."""

    @property
    def as_json(self) -> dict[str, Any]:
        """What is said of it to others; times that have not come are None."""
        raise NotImplementedError
