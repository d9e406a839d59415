"""Folders that appear whole and vanish at once, and states of a life that share their tensor files."""

import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mygo.data.spelling import composed
from mygo.errors import StorageError
from mygo.files import MANIFEST
from mygo.learner.learner import Learner
from mygo.learner.saved import SCHEMA, newest
from mygo.learner.storage import files_of, read_manifest, write_manifest

HIDDEN = "."
"""What begins with this is being made or deleted: no reader looks at it, and the next start deletes it."""


@contextmanager
def storing(what: Path, advice: str) -> Iterator[None]:
    """Turn what the operating system refuses in the block into one sentence that names ``what`` and ends with advice.

    Raises:
        StorageError: it refused something.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what} cannot be written ({error.strerror}): {advice}.") from error


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to be filled inside the block, which becomes ``target`` at its end; after an error it is gone."""
    temporary = target.with_name(f"{HIDDEN}{target.name}.{uuid.uuid4().hex}.new")
    made = temporary
    try:
        temporary.mkdir(parents=True)
        yield temporary
        sync(temporary)
        made = temporary.rename(target)
        sync(target.parent)
    except Exception:
        shutil.rmtree(made, ignore_errors=True)
        raise


def discard(folder: Path) -> None:
    """Delete ``folder`` if it is there: at one moment it is whole, at the next it is not there for any reader."""
    going = folder.with_name(f"{HIDDEN}{folder.name}.{uuid.uuid4().hex}.gone")
    if folder.exists():
        folder.rename(going)
        shutil.rmtree(going)


def discard_hidden(folder: Path) -> None:
    """Delete what was being made or deleted in ``folder`` when a process was killed."""
    for path in list(folder.glob(f"{HIDDEN}*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def write_file(path: Path, content: bytes) -> None:
    """Write a file that is not there yet in a folder that no reader looks at yet, and force it to disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Force to disk which files ``folder`` has."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link(source: Path, target: Path) -> None:
    """Let ``target``, which is not there yet, be the file ``source``, or a copy where file systems have no such links.

    Files that are never written to again, but replaced, can be shared so.
    """
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # FAT, some network file systems, or another device
        shutil.copyfile(source, target)


# -- states -----------------------------------------------------------------------------------------------------------


def state_in(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of the newest state in ``folder`` whose manifest is whole, None if it holds no life.

    The files that it names are not looked at.

    Raises:
        InputError: it is damaged, and so is the one before.
    """
    return newest(folder, dict, lambda text: None) if Learner.exists(folder) else None


def classes_of(manifest: Mapping[str, Any]) -> set[str]:
    """Return the names of the classes that a state knows."""
    return {composed(name) for lesson in manifest["lessons"] for name in lesson["classes"]}


def put_state(source: Path, target: Path, before: Mapping[str, Any] | None = None) -> None:
    """Make the state of the life in ``source`` also that of ``target``; they share their files.

    ``before``, the state that ``target`` was in, is kept there beside it. The state counts from the moment its manifest
    is there; all that neither names is deleted then.

    Raises:
        InputError: the one in ``source`` is damaged.
        OSError, StorageError: ``target`` cannot be written to.
    """
    manifest = read_manifest(source / MANIFEST, SCHEMA)
    named = files_of(manifest)
    for path in source.glob("*.safetensors"):
        if path.name in named:
            share(path, target / path.name)
    sync(target)
    write_manifest(target, manifest, before)


def share(source: Path, target: Path) -> None:
    """Put the file ``source`` in the place of ``target``, unless that is the same file, or a copy of it, already."""
    if target.exists() and (target.samefile(source) or target.read_bytes() == source.read_bytes()):
        return
    temporary = target.with_name(f"{HIDDEN}{target.name}.{uuid.uuid4().hex}.tmp")
    link(source, temporary)
    temporary.replace(target)
