"""Networks for images of timm and of torchvision, with the preprocessing that they were trained with."""

import difflib
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import INTERPOLATIONS, ImagePreprocessing
from mygo.encoders.protocol import EncoderRequest
from mygo.encoders.weights import hub_file, load, needs, read_weights, url_file
from mygo.errors import InputError

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Where a model of timm has its weights on the hub, the better place first."""

DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
"""How torchvision's files of DenseNet name layers, with a dot that its network has not."""


def timm_model(request: EncoderRequest) -> FrozenEncoder:
    """Return ``timm/NAME``: the pooled features of a network of timm.

    Raises:
        InputError: there is no such network, its weights are not to be had, or it takes no such images.
    """
    import mygo.data.torchvision_shim  # noqa: F401, timm imports torchvision

    needs(request.name, "timm", "vision")
    import timm
    from timm.data import resolve_data_config

    if not timm.is_model(request.rest.partition(".")[0]):
        raise unknown(request, timm.list_models())
    try:
        blank = timm.models.get_pretrained_cfg(request.rest)
    except RuntimeError as error:  # of a tag that the network does not have
        raise unknown(request, timm.list_pretrained(f"{request.rest.partition('.')[0]}.*")) from error
    if blank is None:
        raise InputError(f"--encoder {request.name} has no pretrained weights: choose another network.")
    file = request.weights or timm_file(request.name, blank)
    tensors = read_weights(file)
    network = timm_network(request, blank, tensors, file)
    config: dict[str, Any] = resolve_data_config({}, model=network)
    if config["crop_mode"] == "border" or config["input_size"][0] != 3:
        raise InputError(f"--encoder {request.name} sees no colour images that are cropped: choose another network.")
    usual = config["input_size"][1]
    preprocessing = ImagePreprocessing(
        size=request.size or usual,
        crop=config["crop_pct"],
        squash=config["crop_mode"] == "squash",
        interpolation=config["interpolation"] if config["interpolation"] in INTERPOLATIONS else "bicubic",
        mean=config["mean"],
        std=config["std"],
    )
    title = request.titled(None if preprocessing.size == usual else preprocessing.size)
    return FrozenEncoder(title, network, preprocessing, precision=request.precision)


def timm_file(name: str, config: Any) -> Path:
    """Return the file of the pretrained weights that timm's ``config`` names."""
    if config.hf_hub_id:
        named = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
        return hub_file(name, config.hf_hub_id, named)
    if config.url:
        return url_file(name, config.url)
    raise InputError(f"--encoder {name} has no pretrained weights: choose another network, or pass --encoder-weights.")


def timm_network(request: EncoderRequest, config: Any, tensors: dict[str, Tensor], file: Path) -> nn.Module:
    """Return the network of timm with ``tensors``, which come from ``file``, and without its classifier.

    The classifier is loaded and then dropped: where it has to fit, all the rest has to fit too.
    """
    import timm

    classifier = config.classifier if isinstance(config.classifier, str) else (config.classifier or ("",))[0]
    head = tensors.get(f"{classifier}.weight")
    classes = 0 if head is None else head.shape[0]
    overlay = {"state_dict": tensors, "num_classes": classes, "label_offset": 0, "source": ""}
    sized = {"img_size": request.size} if request.size and config.fixed_input_size else {}
    try:
        network: nn.Module = timm.create_model(
            request.rest, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay, **sized
        )
    except (RuntimeError, KeyError, AttributeError) as error:  # how timm and its filters say that weights do not fit
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"{file} does not hold the weights of {request.name} ({reason}): pass --encoder-weights with the file that "
            "belongs to it."
        ) from error
    network.reset_classifier(0)  # type: ignore[operator]
    network.pretrained_cfg.pop("state_dict", None)  # type: ignore[union-attr, operator]
    return network


def torchvision_model(request: EncoderRequest) -> FrozenEncoder:
    """Return ``torchvision/NAME``: what the last layer of a classifier of torchvision is given.

    Raises:
        InputError: there is no such network, its weights are not to be had, or it takes no such images.
    """
    from mygo.data.torchvision_shim import torchvision

    models: Any = torchvision.models
    names = models.list_models(module=models)
    if request.rest not in names:
        raise unknown(request, names)
    known = models.get_model_weights(request.rest).DEFAULT
    sized = {"image_size": known.meta["min_size"][0]} if request.rest.startswith("vit_") else {}
    network: nn.Module = models.get_model(request.rest, weights=None, **sized)
    if hasattr(network, "transform_input"):  # Inception's weights want it
        network.transform_input = True  # type: ignore[assignment]
    file = request.weights or url_file(request.name, known.url)
    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    if not linear:
        raise InputError(f"--encoder {request.name} returns no pooled features: choose another network.")
    last = linear[-1]
    network.set_submodule(last, nn.Identity())
    tensors = {DENSE.sub(r"\1\2", name): each for name, each in read_weights(file).items()}
    load(network, {name: each for name, each in tensors.items() if not name.startswith(f"{last}.")}, request.name, file)
    trained: Any = known.transforms()
    usual = trained.crop_size[0]
    preprocessing = ImagePreprocessing(
        size=request.size or usual,
        crop=min(1.0, usual / trained.resize_size[0]),
        interpolation=trained.interpolation.value,
        mean=tuple(trained.mean),
        std=tuple(trained.std),
    )
    title = request.titled(None if preprocessing.size == usual else preprocessing.size)
    return FrozenEncoder(title, network, preprocessing, precision=request.precision)


def unknown(request: EncoderRequest, names: Collection[str]) -> InputError:
    """Return the error for a network that the library does not have, with the ``names`` that are closest."""
    library = request.name.partition("/")[0]
    close = difflib.get_close_matches(request.rest, names, 5, 0.5) or sorted(names)[:5]
    return InputError(
        f"--encoder {request.name}: {library} has no network {request.rest!r}: choose one of its {len(names)}, such as "
        f"{', '.join(f'{library}/{each}' for each in close)}."
    )
