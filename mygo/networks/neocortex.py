"""The neocortex: one feature extractor shared by all tasks, and one classifier head per task."""

import copy
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mygo.data.examples import ImageShape, InputShape
from mygo.errors import InputError
from mygo.networks import names
from mygo.networks.layers import group_norm
from mygo.networks.weights import fill

MANY_HEADS = 20
"""Heads from which on they answer as one layer where nothing is learned: one by one, calls take longer than sums."""
RANDOM_FEATURES = 5000
"""Random features of RanPAC; its authors take 10,000, which takes two cores eight times as long to solve for."""


@dataclass(frozen=True)
class Backbone:
    """The layers of `NeocortexNet.features`, in order."""

    layers: list[nn.Module]
    feature_dim: int
    """Size of what the last layer returns."""


def linear(input_shape: InputShape) -> Backbone:
    """Return no layer at all: heads on the inputs themselves, for what an encoder saw."""
    return Backbone([nn.Flatten()], math.prod(input_shape))


def mlp(input_shape: InputShape) -> Backbone:
    """Return two hidden layers of 400 units, the network of van de Ven & Tolias 2019, and its feature size."""
    layers = [nn.Flatten(), nn.Linear(math.prod(input_shape), 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU()]
    return Backbone(layers, 400)


def random_features(input_shape: InputShape) -> Backbone:
    """Return a random projection and a ReLU, not trained, for RanPAC (McDonnell et al. 2023, arXiv:2307.02251)."""
    projection = nn.Linear(math.prod(input_shape), RANDOM_FEATURES, bias=False).requires_grad_(False)
    nn.init.normal_(projection.weight, std=math.prod(input_shape) ** -0.5)
    return Backbone([nn.Flatten(), projection, nn.ReLU()], RANDOM_FEATURES)


def conv(input_shape: InputShape) -> Backbone:
    """Return a small convolutional network for images from 8×8 to 32×32, and its feature size."""
    channels, height, width = image_shape_of(input_shape, "conv")
    layers = [
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * channels, 32, 3, padding=1),
        group_norm(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        group_norm(64),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * (height // 4) * (width // 4), 256),
        nn.ReLU(),
    ]
    return Backbone(layers, 256)


def resnet18(input_shape: InputShape) -> Backbone:
    """Return torchvision's ResNet-18 for small images (3×3 stem, no pooling, group norm), and its feature size."""
    from mygo.data.torchvision_shim import torchvision  # takes a second to import

    net = torchvision.models.resnet18(norm_layer=group_norm)
    stem = nn.Conv2d(image_shape_of(input_shape, "resnet18")[0], 64, 3, padding=1, bias=False)
    stages = [net.layer1, net.layer2, net.layer3, net.layer4]
    return Backbone([stem, net.bn1, net.relu, *stages, net.avgpool, nn.Flatten()], 512)


def image_shape_of(input_shape: InputShape, backbone: str) -> ImageShape:
    """Return ``input_shape`` if it is that of images.

    Raises:
        InputError: it is that of vectors, which ``backbone`` cannot see.
    """
    if len(input_shape) != 3:
        raise InputError(f"--backbone {backbone} sees images, not vectors: choose linear or mlp behind an encoder.")
    channels, height, width = input_shape
    return channels, height, width


def late(encoder: str, input_shape: InputShape) -> Backbone:
    """Return what lies behind the front of ``encoder``, for the vectors that it makes (see `mygo.adapting.late`)."""
    from mygo.adapting.late import late_network  # takes time to import
    from mygo.encoders.efficientnet_lite import HEAD

    if len(input_shape) != 1:
        raise InputError(f"--backbone {LATE}{encoder} sees vectors, not images: leave it out.")
    return Backbone([late_network(encoder, input_shape[0])], 2 * HEAD)


LATE = "late:"
"""What the name of a backbone begins with that is the late part of an encoder."""
BACKBONES: dict[str, Callable[[InputShape], Backbone]] = {
    "linear": linear,
    "mlp": mlp,
    "random-features": random_features,
    "conv": conv,
    "resnet18": resnet18,
}
"""What makes the layers that a name stands for."""


def use_backbone(name: str, build: Callable[[InputShape], nn.Module]) -> None:
    """Let ``backbone`` name a network of one's own: the module that ``build`` makes for inputs of a shape.

    The module maps images [N, C, H, W] in [-1, 1], or vectors [N, D], to features [N, F]; heads are added to it. A
    life that uses it can be opened once its name is known again. On Ray the workers know what was known when they were
    started. What lies in a file of its own needs no such call: ``backbone`` can name it as ``module:attribute`` (see
    `mygo.networks.names`).
    """

    def built(input_shape: InputShape) -> Backbone:
        module = build(input_shape)
        if not isinstance(module, nn.Module):
            raise InputError(f"The backbone {name!r} must be a torch.nn.Module, not {type(module).__name__}.")
        with torch.no_grad():
            features = copy.deepcopy(module).eval()(torch.zeros(2, *input_shape))
        if features.dim() != 2:
            raise InputError(f"The backbone {name!r} must return features [N, F], not {list(features.shape)}.")
        return Backbone([module], features.shape[1])

    BACKBONES[name] = built


def backbone_named(name: str) -> Callable[[InputShape], Backbone]:
    """Return what makes the layers that ``name`` stands for; ``module:attribute`` is imported and then known.

    Raises:
        InputError: nothing does, or it cannot be imported.
    """
    if name.startswith(LATE):
        return functools.partial(late, name.removeprefix(LATE))
    if name not in BACKBONES and names.is_import(name):
        use_backbone(name, names.imported(name, "--backbone", "mygo.use_backbone"))
    if name not in BACKBONES:
        raise names.unknown("--backbone", name, BACKBONES, "mygo.use_backbone")
    return BACKBONES[name]


class NeocortexNet(nn.Module):
    """`features`, shared by all tasks, and `classifiers`, one linear head per task in the order they were learned."""

    def __init__(self, input_shape: InputShape, backbone: str = "conv") -> None:
        super().__init__()
        self.input_shape = input_shape
        """Shape of what `features` takes: (C, H, W) of images, or (D,) of what an encoder saw."""
        self.backbone = backbone
        built = backbone_named(backbone)(input_shape)
        self.features = nn.Sequential(*built.layers)
        self.feature_dim = built.feature_dim
        self.classifiers = nn.ModuleList()

    def add_task_head(self, num_classes: int) -> nn.Linear:
        """Append a linear head with ``num_classes`` outputs for the next task, and return it."""
        head = nn.Linear(self.feature_dim, num_classes)
        beside = next(self.parameters(), head.weight)
        self.classifiers.append(head.to(beside.device))
        return head

    def keep_outputs(self, task: int, kept: Sequence[int]) -> None:
        """Drop all outputs of the head of ``task`` but those at ``kept``, and without any the head."""
        if not kept:
            del self.classifiers[task]
            return
        old = self.classifiers[task]
        head = nn.Linear(self.feature_dim, len(kept)).to(next(old.parameters()).device)
        head.load_state_dict({name: tensor[list(kept)] for name, tensor in old.state_dict().items()})
        self.classifiers[task] = head

    @property
    def head_sizes(self) -> list[int]:
        """Number of classes of each head."""
        return [int(head.out_features) for head in self.classifiers]  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of all heads side by side, [N, sum(head_sizes)], for ``images`` [N, C, H, W] in [-1, 1]."""
        return self.classify(self.features(images))

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits of all heads side by side, [N, sum(head_sizes)], for ``features`` [N, feature_dim]."""
        return torch.cat([head(features) for head in self.classifiers], dim=1)


@torch.no_grad()
def stacked_heads(net: NeocortexNet) -> nn.Linear:
    """Return one layer that answers as all heads of ``net`` side by side, with a copy of their weights.

    A layer of its own for each head would make the time of a step grow with the tasks.
    """
    names = ("weight", "bias")
    weights = {name: torch.cat([head.get_parameter(name) for head in net.classifiers]) for name in names}
    return fill(lambda: nn.Linear(net.feature_dim, sum(net.head_sizes)), weights)


def answering(net: NeocortexNet) -> Callable[[Tensor], Tensor]:
    """Return what answers as ``net`` does now, in evaluation mode; many heads do so as one layer, which is faster."""
    net.eval()
    if len(net.classifiers) < MANY_HEADS:
        return net
    heads = stacked_heads(net)
    return lambda inputs: heads(net.features(inputs))


@torch.no_grad()
def unstack_heads(layer: nn.Linear, net: NeocortexNet, order: Sequence[int]) -> None:
    """Give the heads of ``net`` the weights in ``layer``, where they stand side by side in this ``order``."""
    sizes = [net.head_sizes[task] for task in order]
    for name, stacked in layer.state_dict().items():
        for task, part in zip(order, stacked.split(sizes), strict=True):
            net.classifiers[task].get_parameter(name).copy_(part)


@dataclass(frozen=True)
class OwnOutputs:
    """Which of the outputs of all heads side by side are each task's own.

    ``positions`` [tasks, H] are their places; ``real`` (bool) [tasks, H] is False where a head is smaller than H.
    """

    positions: Tensor
    real: Tensor

    def among(self, classes: Tensor) -> "OwnOutputs":
        """Return the same where there are the outputs of ``classes`` [S] alone, in that order."""
        places = torch.full((self.real.numel(),), -1, device=classes.device)
        places[classes] = torch.arange(len(classes), device=classes.device)
        found = places[self.positions]
        return OwnOutputs(found.clamp_min(0), self.real & (found >= 0))


def own_outputs(head_sizes: Sequence[int], device: torch.device | str = "cpu") -> OwnOutputs:
    """Return every task's own outputs for heads of ``head_sizes``."""
    sizes = torch.tensor(head_sizes, device=device)[:, None]
    columns = torch.arange(max(head_sizes), device=device)
    real = columns < sizes
    return OwnOutputs((sizes.cumsum(0) - sizes + columns) * real, real)
