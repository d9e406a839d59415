"""Files that are whole or not there, and folders that one process at a time writes to."""

import json
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mygo.errors import InputError, StorageError

MANIFEST = "manifest.json"
"""The file that makes a folder a life."""

LOCK = "in-use.lock"
RESUME = "the state before is whole; make room and --resume"


@contextmanager
def locked(folder: Path, patience: float) -> Iterator[None]:
    """Hold ``folder`` inside the block, after at most ``patience`` seconds of waiting for it; it is made if need be.

    The operating system takes the lock from a process that dies.

    Raises:
        InputError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=patience, thread_local=False)  # another thread may leave the block
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"{folder} is in use by another run: wait for its end, or choose another folder.") from error
    try:
        yield
    finally:
        lock.release()


def write_atomically(path: Path, content: bytes, advice: str = RESUME) -> None:
    """Write ``content`` under a temporary name, force it to disk, and move it to ``path`` in one step.

    Raises:
        StorageError: it cannot be written, for lack of room perhaps; what was at ``path`` is still there. The message
            ends with ``advice``.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}): {advice}.") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(out: Path, advice: str = "choose another --out") -> None:
    """Make sure that the folder ``out`` can be made and written to; leaves nothing behind.

    Raises:
        InputError: it cannot; the message ends with ``advice``.
    """
    ancestor = next(folder for folder in (out, *out.resolve().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=ancestor):
            pass
    except OSError as error:
        raise InputError(f"{out} cannot be written to ({error.strerror}): {advice}.") from error


def check_target(path: Path, *suffixes: str) -> None:
    """Make sure, before any work is done, that a file in one of ``suffixes`` can be written at ``path``.

    Raises:
        InputError: it ends with none of them, is a folder, or is in none that can be written to.
    """
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path} is of no kind that can be written here: name a file in {' or '.join(suffixes)}.")
    try:
        is_folder, has_folder = path.is_dir(), path.parent.is_dir()
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}): name another file.") from error
    if is_folder:
        raise InputError(f"{path} is a folder: name a file.")
    if not has_folder:
        raise InputError(f"{path.parent} is not a folder that is there: make it, or name a file elsewhere.")
    check_writable(path.parent, "allow writing to it, or name a file elsewhere")


def write_json(path: Path, content: Mapping[str, Any], advice: str = RESUME) -> None:
    """Write ``content`` as indented JSON, as `write_atomically` does."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode(), advice)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in ``path``.

    Raises:
        InputError: it cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged: it is not JSON ({error}).") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it does not hold a JSON object.")
    return content
