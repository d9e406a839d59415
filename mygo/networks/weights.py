"""Weights on disk: safetensors files that are named by their content, and networks that are filled with them."""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mygo.errors import InputError
from mygo.files import MANIFEST, write_atomically

M = TypeVar("M", bound=nn.Module)

_TENSOR_FILE = re.compile(r"[a-z0-9-]+-(?P<digest>[0-9a-f]{16})\.safetensors")


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
    """Return the module that ``build`` makes, with ``tensors`` as its weights; floating-point ones are of ``dtype``.

    That they are its own is found out before it takes any memory: a hostile file may ask for a module of any size.

    Raises:
        ValueError: they are not; the message names one.
    """
    with torch.device("meta"), _Uninitialised():
        module = build()
    blank = module.state_dict()
    wanted = {name: (t.shape, dtype if t.is_floating_point() else t.dtype) for name, t in blank.items()}
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
    for name in wanted.keys() | found.keys():
        if wanted.get(name) != found.get(name):
            raise ValueError(f"the weights {name} are not those of its network")
    own = {name: tensor.to(blank[name].dtype, copy=True) for name, tensor in tensors.items()}
    module.load_state_dict(own, assign=True)
    return module
