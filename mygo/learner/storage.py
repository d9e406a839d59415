"""The manifest of a learner's folder, which says which of its files count."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mygo.errors import InputError
from mygo.files import MANIFEST, read_json, write_json

PREVIOUS = "manifest.previous.json"
"""The state before, for when something of the newest is damaged."""

HALF_WRITTEN = (".*.safetensors.*.tmp", ".manifest*.json.*.tmp")
"""Files of a state while they are being written; one process at a time writes them."""


def write_manifest(folder: Path, manifest: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Make ``manifest`` the folder's state, keep ``before`` as the one before it, and delete all other tensor files.

    With them goes what killed processes left half-written, which may be of classes that were forgotten since.
    """
    if before is not None:
        write_json(folder / PREVIOUS, {**before, "checksum": checksum(before)})
    write_json(folder / MANIFEST, {**manifest, "checksum": checksum(manifest)})
    kept = files_of(manifest) | (set() if before is None else files_of(before))
    for path in folder.glob("*.safetensors"):
        if path.name not in kept:
            path.unlink()
    delete_half_written(folder)


def delete_half_written(folder: Path) -> None:
    """Delete what killed processes left half-written in ``folder``."""
    for pattern in HALF_WRITTEN:
        for path in folder.glob(pattern):
            path.unlink()


def files_of(manifest: Mapping[str, Any]) -> set[str]:
    """Return the names of the tensor files that make up the state that ``manifest`` describes."""
    return set(_strings_in(manifest["files"]))


def read_manifest(path: Path, schema: int) -> dict[str, Any]:
    """Read the manifest at ``path``.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    if not path.exists():
        raise InputError(f"{path.parent} holds no saved life: it has no {path.name}.")
    manifest = read_json(path)
    if manifest.get("schema") != schema:
        raise InputError(f"{path} is not a life of schema {schema}: open it with the version of MyGO that wrote it.")
    if manifest.pop("checksum", None) != checksum(manifest):
        raise InputError(f"{path} is damaged: its content is not what was written.")
    return manifest


def checksum(content: Mapping[str, Any]) -> str:
    """Return a hash of what `write_json` would write of ``content``, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _strings_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings_in(item)
