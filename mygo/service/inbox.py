"""What waits to be learned: examples of classes, kept until the lesson that learns them is saved."""

from dataclasses import dataclass
from typing import Any

from mygo.data.readers.reader import Kind


@dataclass(frozen=True, kw_only=True)
class InboxItem:
    """Examples of one class that were taught together."""

    id: str
    class_name: str
    kind: Kind
    count: int
    num_bytes: int
    when: str
    """UTC, as ISO 8601."""

    @property
    def as_json(self) -> dict[str, Any]:
        """What is said of it to others: id, class, kind, count, bytes, when."""
        raise NotImplementedError
