"""Files that are whole or not there: safetensors named by their content, and a manifest that says which ones count."""

import hashlib
import json
import os
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mygo.errors import InputError, StorageError

M = TypeVar("M", bound=nn.Module)

MANIFEST = "manifest.json"
"""The file that makes a folder a life."""
PREVIOUS = "manifest.previous.json"
"""The state before, for when something of the newest is damaged."""

LOCK = "in-use.lock"

_TENSOR_FILE = re.compile(r"[a-z0-9-]+-(?P<digest>[0-9a-f]{16})\.safetensors")


@contextmanager
def locked(folder: Path, patience: float) -> Iterator[None]:
    """Hold ``folder`` inside the block, after at most ``patience`` seconds of waiting for it; it is made if need be.

    The operating system takes the lock from a process that dies.

    Raises:
        InputError: another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK, timeout=patience)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"{folder} is in use by another run: wait for its end, or choose another folder.") from error
    try:
        yield
    finally:
        lock.release()


def write_atomically(
    path: Path, content: bytes, advice: str = "the state before is whole; make room and --resume"
) -> None:
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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


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


def write_tensors(folder: Path, role: str, tensors: Mapping[str, Tensor]) -> str:
    """Write ``tensors`` as a safetensors file that is named by ``role`` and content, and return its name.

    What is there already is not written again, unless it was damaged.
    """
    content = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    name = f"{role}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"
    path = folder / name
    if not (path.exists() and path.read_bytes() == content):
        write_atomically(path, content)
    return name


def read_tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """Read a file that `write_tensors` wrote.

    Raises:
        InputError: the file is missing, is not what was written, or has a name of another form.
    """
    match = _TENSOR_FILE.fullmatch(name)
    if match is None:
        raise InputError(f"{folder / MANIFEST} names the file {name!r}, which is not a name that MyGO writes.")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise InputError(f"{folder / name} cannot be read ({error.strerror}).") from error
    if hashlib.sha256(content).hexdigest()[:16] != match["digest"]:
        raise InputError(f"{folder / name} is damaged: its content is not what its name says.")
    try:
        return safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise InputError(f"{folder / name} is not a safetensors file ({error}).") from error


class _Uninitialised(TorchFunctionMode):
    """Draws no initial weights, for which, on the device "meta", PyTorch would first import its compiler: 2 s."""

    def __torch_function__(
        self, func: Callable[..., Any], types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        keywords = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else keywords["tensor"]
        return func(*args, **keywords)


def fill(build: Callable[[], M], tensors: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> M:
    """Return the module that ``build`` makes, with ``tensors`` (of ``dtype``) as its weights.

    That they are its own is found out before it takes any memory: a hostile file may ask for a module of any size.

    Raises:
        ValueError: they are not; the message names one.
    """
    with torch.device("meta"), _Uninitialised():
        module = build()
    blank = module.state_dict()
    wanted = {name: (tensor.shape, dtype) for name, tensor in blank.items()}
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    for name in wanted.keys() | found.keys():
        if wanted.get(name) != found.get(name):
            raise ValueError(f"the weights {name} are not those of its network")
    own = {name: tensor.to(blank[name].dtype, copy=True) for name, tensor in tensors.items()}
    module.load_state_dict(own, assign=True)
    return module


def write_manifest(folder: Path, manifest: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> None:
    """Make ``manifest`` the folder's state, keep ``before`` as the one before it, and delete all other tensor files."""
    if before is not None:
        write_json(folder / PREVIOUS, {**before, "checksum": checksum(before)})
    write_json(folder / MANIFEST, {**manifest, "checksum": checksum(manifest)})
    kept = set(_strings_in(manifest["files"])) | set(_strings_in(before["files"] if before is not None else {}))
    for path in folder.glob("*.safetensors"):
        if path.name not in kept:
            path.unlink()


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
