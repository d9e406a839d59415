"""Pretrained weights: found in packages, caches and hubs, and read without running what they hold."""

import importlib.util
import os
import socket
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlparse

import safetensors.torch
import torch
from torch import Tensor, nn

from mygo.errors import InputError
from mygo.extras import how_to_install

COUNTER = "num_batches_tracked"
INSIDE = ("state_dict", "model")
"""Under these names training programs keep the weights among other things."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file, or one that ``torch.save`` wrote (.pth, .pt, .bin), without unpickling any code.

    Raises:
        InputError: it cannot be read, is damaged, or holds something else than tensors by name.
    """
    advice = "pass --encoder-weights with a .safetensors file or a state dict that torch.save wrote"
    if not path.is_file():
        raise InputError(f"{path} is not a file: {advice}.")
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file, or one with code in it, makes the readers raise
        reason = str(error).strip().partition("\n")[0][:160]
        raise InputError(f"{path} cannot be read as weights ({type(error).__name__}: {reason}): {advice}.") from error
    for name in INSIDE:
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not found or not all(isinstance(each, Tensor) for each in found.values()):
        raise InputError(f"{path} does not hold tensors by name: {advice}.")
    return {str(name): tensor for name, tensor in found.items()}


def load(network: nn.Module, tensors: Mapping[str, Tensor], name: str, source: Path | str) -> None:
    """Put ``tensors``, which come from ``source``, into the ``network`` of the encoder ``name``: all, and no others.

    Batch norm's counters of training steps, which old files lack, do not matter.

    Raises:
        InputError: they are not the network's.
    """
    state = network.state_dict()
    wanted, found = (
        {key: list(tensor.shape) for key, tensor in each.items() if not key.endswith(COUNTER)}
        for each in (state, tensors)
    )
    for key in sorted(wanted.keys() | found.keys()):
        if wanted.get(key) != found.get(key):
            has, needs = (f"has {shapes[key]}" if key in shapes else "has none" for shapes in (found, wanted))
            raise InputError(
                f"{source} does not hold the weights of {name} (for {key} it {has}, and the network {needs}): pass "
                "--encoder-weights with the file that belongs to it."
            )
    state.update({key: tensor for key, tensor in tensors.items() if key in state})
    network.load_state_dict(state)


def package_file(name: str, package: str, pattern: str, install: str) -> Path:
    """Return the file in an installed ``package`` that fits ``pattern``, without importing the package.

    Raises:
        InputError: the package, which the command ``install`` brings, is not there.
    """
    spec = importlib.util.find_spec(package)
    folders = [] if spec is None else spec.submodule_search_locations or []
    found = [path for folder in folders for path in sorted(Path(folder).glob(pattern))]
    if not found:
        raise InputError(f"--encoder {name} needs the package {package.replace('_', '-')}: {install}.")
    return found[0]


def needs(name: str, package: str, extra: str) -> None:
    """Check that ``package``, which the ``extra`` of mygo brings, is installed.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise InputError(
            f"--encoder {name} needs the package {package.replace('_', '-')}, which is not installed: "
            f"{how_to_install(extra)}."
        )


def hub_file(name: str, repo: str, filenames: Sequence[str]) -> Path:
    """Return the first of ``filenames`` of the model ``repo`` on Hugging Face's hub, from the cache or downloaded.

    Raises:
        InputError: it is not cached and cannot be downloaded.
    """
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    for filename in filenames:
        if isinstance(cached := try_to_load_from_cache(repo, filename, constants.HF_HUB_CACHE), str):
            return Path(cached)
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else unreachable(constants.ENDPOINT)
    if reason is None:
        for filename in filenames:
            with suppress(EntryNotFoundError):  # some models have their weights only in the second place
                return _downloaded(name, repo, filename)
        reason = "it is not there"
    raise _not_found(name, _of_hub(filenames[0], repo), Path(constants.HF_HUB_CACHE), reason)


def _downloaded(name: str, repo: str, filename: str) -> Path:
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(repo, filename))
    except EntryNotFoundError:
        raise
    except Exception as error:  # of the hub or of the network
        raise _not_found(name, _of_hub(filename, repo), Path(constants.HF_HUB_CACHE), type(error).__name__) from error


def _of_hub(filename: str, repo: str) -> str:
    return f"{filename} of {repo} on Hugging Face's hub"


def url_file(name: str, url: str) -> Path:
    """Return the file at ``url`` from PyTorch's cache, or download it there.

    Raises:
        InputError: it is not cached and cannot be downloaded.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(urlparse(url).path)  # noqa: PTH119, of a URL
    if path.is_file():
        return path
    reason = unreachable(url)
    if reason is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=_hash_in(path.stem), progress=False)
            return path
        except Exception as error:  # of the network, or a wrong hash
            reason = type(error).__name__
    raise _not_found(name, path.name, path.parent, reason)


def _hash_in(stem: str) -> str | None:
    _, _, digest = stem.rpartition("-")
    return digest if len(digest) == 8 and set(digest) <= set("0123456789abcdef") else None


def _not_found(name: str, file: str, cache: Path, reason: str | None) -> InputError:
    """Return the error for weights that are neither in ``cache`` nor to be had."""
    return InputError(
        f"--encoder {name}: its weights ({file}) are not in {cache} and cannot be downloaded ({reason}): connect to "
        "the network once, or get that file elsewhere and pass it with --encoder-weights."
    )


def unreachable(url: str) -> str | None:
    """Return why the host of ``url`` cannot be reached, or None; clients of hubs take a minute to find out."""
    if urllib.request.getproxies():
        return None
    try:
        socket.getaddrinfo(urlparse(url).hostname, 443)
    except OSError:
        return "no network"
    return None
