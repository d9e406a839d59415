"""What waits to be learned: examples of classes, kept until the lesson that learns them is saved."""

import io
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt

from mygo.data.readers.reader import PLURAL, Kind, Vector
from mygo.data.spelling import composed
from mygo.errors import FullError, InputError
from mygo.files import read_json, write_json
from mygo.service.config import LONGEST_NAME, ExampleLimits, InboxLimits
from mygo.service.disk import discard, discard_hidden, new_folder, storing, write_file
from mygo.service.examples import Inputs, Sent, check_readable
from mygo.service.versions import now

ABOUT = "item.json"
VECTORS = "vectors.npy"
ADVICE = "nothing of these examples was kept; make room and send them again"
NOT_IN_NAMES = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of control characters, lone surrogates and separators of lines."""


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
        shown = {"id": self.id, "class": self.class_name, "kind": self.kind}
        return {**shown, "count": self.count, "bytes": self.num_bytes, "when": self.when}

    @classmethod
    def read(cls, folder: Path) -> "InboxItem":
        """Read what an item's folder says of it.

        Raises:
            InputError: it is damaged.
        """
        about = read_json(folder / ABOUT)
        try:
            if about["kind"] not in get_args(Kind):
                raise ValueError(f"its kind is {about['kind']!r}")
            return cls(
                id=folder.name,
                class_name=class_name_of(about["class"]),
                kind=about["kind"],
                count=int(about["count"]),
                num_bytes=int(about["bytes"]),
                when=str(about["when"]),
            )
        except (LookupError, TypeError, ValueError, InputError) as error:
            raise InputError(f"{folder / ABOUT} does not describe examples ({error}): delete {folder}.") from error


class Inbox:
    """The examples that wait, each item in a folder of its own, which one process at a time fills and empties."""

    def __init__(self, folder: Path, limits: InboxLimits | None = None, examples: ExampleLimits | None = None) -> None:
        """Read what waits in ``folder``; what a crash left there half-written or half-deleted is deleted.

        Raises:
            InputError: an item is damaged.
            StorageError: something cannot be deleted.
        """
        self.folder = folder
        self.limits = limits or InboxLimits()
        self.examples = examples or ExampleLimits()
        with storing(folder, "allow writing there"):
            folder.mkdir(parents=True, exist_ok=True)
            discard_hidden(folder)
        found = [InboxItem.read(path) for path in folder.iterdir()]
        self._items = {item.id: item for item in sorted(found, key=lambda item: (item.when, item.id))}

    def items(self) -> list[InboxItem]:
        """Return what waits, oldest first."""
        return list(self._items.values())

    @property
    def num_examples(self) -> int:
        """Examples that wait."""
        return sum(item.count for item in self._items.values())

    @property
    def num_bytes(self) -> int:
        """Bytes of them."""
        return sum(item.num_bytes for item in self._items.values())

    def checked(self, kind: Kind, examples: Sent) -> list[bytes]:
        """Decode ``examples`` of a ``kind`` once, and return the content of the files that `put` keeps them in.

        This takes time and changes nothing.

        Raises:
            InputError: one cannot be seen, vectors are of several lengths, or there are none.
        """
        if kind not in get_args(Kind):
            raise InputError(f"There is no kind {kind!r} of examples: choose from {', '.join(get_args(Kind))}.")
        if not len(examples):
            raise InputError(f"There are no examples: send some {PLURAL[kind]}.")
        found = check_readable(Inputs(kind, examples, self.examples))
        if kind == "image":
            return list(cast("list[bytes]", examples))
        if kind == "text":
            return [cast(str, text).encode() for text in found]
        content = io.BytesIO()
        np.save(content, np.stack([cast(Vector, vector) for vector in found]), allow_pickle=False)
        return [content.getvalue()]

    def add(self, class_name: str, kind: Kind, examples: Sent) -> InboxItem:
        """Put ``examples`` of a class into the inbox: images as the bytes of their files, texts, or vectors [N, D].

        Raises:
            InputError: as `checked` and `put`.
            StorageError: as `put`.
        """
        return self.put(class_name, kind, len(examples), self.checked(kind, examples))

    def put(self, class_name: str, kind: Kind, count: int, contents: list[bytes]) -> InboxItem:
        """Put ``count`` examples of a class, which `checked` returned as ``contents`` of files, into the inbox.

        Raises:
            FullError: they are more than the inbox may hold.
            InputError: there can be no class of that name, or what waits is of another kind or length.
            StorageError: there is no room on disk; nothing of them was kept.
        """
        name = class_name_of(class_name)
        num_bytes = sum(map(len, contents))
        self._check_kind(kind, contents)
        self._check_room(count, num_bytes)
        item = InboxItem(id=uuid.uuid4().hex, class_name=name, kind=kind, count=count, num_bytes=num_bytes, when=now())
        target = self.folder / item.id
        with storing(target, ADVICE), new_folder(target) as folder:
            for number, content in enumerate(contents):
                write_file(folder / file_name(kind, number), content)
            write_json(folder / ABOUT, item.as_json, ADVICE)
        self._items[item.id] = item
        return item

    def _check_kind(self, kind: Kind, contents: list[bytes]) -> None:
        """Check that examples of a ``kind`` can be learned together with what waits.

        Raises:
            InputError: they cannot.
        """
        for item in self._items.values():
            if item.kind != kind:
                raise InputError(
                    f"{PLURAL[item.kind].capitalize()} wait to be learned, and no life sees {PLURAL[kind]} as well: "
                    f"send {PLURAL[item.kind]}, or empty the inbox."
                )
            if kind == "vector":
                length = self.vectors_of(item).shape[1]
                sent = np.load(io.BytesIO(contents[0]), allow_pickle=False).shape[1]
                if sent != length:
                    raise InputError(f"Vectors of {length} values wait to be learned, not of {sent}: send such.")
            break

    def _check_room(self, count: int, num_bytes: int) -> None:
        """Check that there is room for so many examples.

        Raises:
            FullError: there is not.
        """
        for waiting, more, most, what in (
            (self.num_examples, count, self.limits.max_examples, "examples"),
            (self.num_bytes, num_bytes, self.limits.max_bytes, "bytes"),
        ):
            if waiting + more > most:
                raise FullError(
                    f"The inbox holds {waiting} of at most {most} {what}, and {more} more are too many: let the life "
                    "sleep first, or delete some."
                )

    def remove(self, item_id: str) -> bool:
        """Delete an item, and return whether there was one.

        Raises:
            StorageError: it cannot be deleted.
        """
        if item_id not in self._items:
            return False
        with storing(self.folder / item_id, "allow deleting files there"):
            discard(self.folder / item_id)
        del self._items[item_id]
        return True

    def remove_class(self, class_name: str) -> int:
        """Delete the items of a class, and return how many there were.

        Raises:
            StorageError: one cannot be deleted.
        """
        name = composed(class_name)
        return sum(self.remove(item.id) for item in self.items() if item.class_name == name)

    def clear(self) -> int:
        """Delete all items, and return how many there were.

        Raises:
            StorageError: one cannot be deleted.
        """
        return sum(self.remove(item.id) for item in self.items())

    def files_of(self, item: InboxItem) -> Iterator[Path]:
        """Yield the files of the images or texts of ``item``."""
        for number in range(item.count):
            yield self.folder / item.id / file_name(item.kind, number)

    def vectors_of(self, item: InboxItem) -> npt.NDArray[np.float32]:
        """Return the vectors [N, D] of ``item``; they are read when they are used.

        Raises:
            InputError: they cannot be read.
        """
        path = self.folder / item.id / VECTORS
        try:
            vectors: npt.NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{path} is damaged ({error}): delete {path.parent}.") from error
        return vectors


def counts_of(items: Iterable[InboxItem]) -> dict[str, int]:
    """Return how many examples of each class ``items`` are, by the names of the classes in their order."""
    counts: dict[str, int] = {}
    for item in sorted(items, key=lambda item: item.class_name):
        counts[item.class_name] = counts.get(item.class_name, 0) + item.count
    return counts


def file_name(kind: Kind, number: int) -> str:
    """Return what the file of an example is called; all vectors of an item are in one."""
    return VECTORS if kind == "vector" else f"example-{number:04}.{'txt' if kind == 'text' else 'bin'}"


def class_name_of(name: object) -> str:
    """Return ``name`` as that of a class, its letters composed and without spaces around it.

    Raises:
        InputError: it is not from 1 to 100 characters, or has control characters.
    """
    if not isinstance(name, str):
        raise InputError(f"The name of a class must be text, not {name!r}.")
    found = composed(name).strip()
    if not 1 <= len(found) <= LONGEST_NAME:
        raise InputError(f"The name of a class must have from 1 to {LONGEST_NAME} characters, not {len(found)}.")
    if any(unicodedata.category(character) in NOT_IN_NAMES for character in found):
        raise InputError(f"The name of a class must have no control characters: {found!a} has.")
    return found
