"""The neocortex: one feature extractor shared by all tasks, and one classifier head per task."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mygo.data.examples import ImageShape, LabelledImages, to_unit_range
from mygo.errors import InputError
from mygo.networks import names
from mygo.networks.layers import group_norm
from mygo.networks.weights import fill

ENCODED_TOGETHER = 500
"""Images that go through a front at once."""


@dataclass(frozen=True)
class Backbone:
    """The layers of `NeocortexNet.features`, in order."""

    layers: list[nn.Module]
    feature_dim: int
    """Size of what the last layer returns."""
    front: int = 0
    """How many of the first layers are a convolutional front that can be frozen and ends with a ReLU; 0 is none."""


def mlp(image_shape: ImageShape) -> Backbone:
    """Return two hidden layers of 400 units, the network of van de Ven & Tolias 2019, and its feature size."""
    channels, height, width = image_shape
    layers = [nn.Flatten(), nn.Linear(channels * height * width, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU()]
    return Backbone(layers, 400)


def conv(image_shape: ImageShape) -> Backbone:
    """Return a small convolutional network for images from 8×8 to 32×32, and its feature size."""
    channels, height, width = image_shape
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
    return Backbone(layers, 256, front=7)


def resnet18(image_shape: ImageShape) -> Backbone:
    """Return torchvision's ResNet-18 for small images (3×3 stem, no pooling, group norm), and its feature size."""
    from mygo.data.torchvision_shim import torchvision  # takes a second to import

    net = torchvision.models.resnet18(norm_layer=group_norm)
    stem = nn.Conv2d(image_shape[0], 64, 3, padding=1, bias=False)
    stages = [net.layer1, net.layer2, net.layer3, net.layer4]
    return Backbone([stem, net.bn1, net.relu, *stages, net.avgpool, nn.Flatten()], 512, front=6)


BACKBONES: dict[str, Callable[[ImageShape], Backbone]] = {"mlp": mlp, "conv": conv, "resnet18": resnet18}
"""What makes the layers that a name stands for."""


def use_backbone(name: str, build: Callable[[ImageShape], nn.Module]) -> None:
    """Let ``backbone`` name a network of one's own: the module that ``build`` makes for images of a shape (C, H, W).

    The module maps images [N, C, H, W] in [-1, 1] to features [N, F]; heads are added to it. A life that uses it can be
    opened once its name is known again. On Ray the workers know what was known when they were started. What lies in a
    file of its own needs no such call: ``backbone`` can name it as ``module:attribute`` (see `mygo.networks.names`).
    """

    def built(image_shape: ImageShape) -> Backbone:
        module = build(image_shape)
        if not isinstance(module, nn.Module):
            raise InputError(f"The backbone {name!r} must be a torch.nn.Module, not {type(module).__name__}.")
        with torch.no_grad():
            features = copy.deepcopy(module).eval()(torch.zeros(2, *image_shape))
        if features.dim() != 2:
            raise InputError(f"The backbone {name!r} must return features [N, F], not {list(features.shape)}.")
        return Backbone([module], features.shape[1])

    BACKBONES[name] = built


def backbone_named(name: str) -> Callable[[ImageShape], Backbone]:
    """Return what makes the layers that ``name`` stands for; ``module:attribute`` is imported and then known.

    Raises:
        InputError: nothing does, or it cannot be imported.
    """
    if name not in BACKBONES and names.is_import(name):
        use_backbone(name, names.imported(name, "--backbone", "mygo.use_backbone"))
    if name not in BACKBONES:
        raise names.unknown("--backbone", name, BACKBONES, "mygo.use_backbone")
    return BACKBONES[name]


class NeocortexNet(nn.Module):
    """`features`, shared by all tasks, and `classifiers`, one linear head per task in the order they were learned."""

    def __init__(self, image_shape: ImageShape, backbone: str = "conv") -> None:
        super().__init__()
        self.image_shape = image_shape
        """Shape of what `features` takes: images or, after `split`, the feature maps of an `Encoder`."""
        self.backbone = backbone
        built = backbone_named(backbone)(image_shape)
        self.features = nn.Sequential(*built.layers)
        self.feature_dim = built.feature_dim
        self.classifiers = nn.ModuleList()

    def add_task_head(self, num_classes: int) -> nn.Linear:
        """Append a linear head with ``num_classes`` outputs for the next task, and return it."""
        head = nn.Linear(self.feature_dim, num_classes)
        self.classifiers.append(head.to(next(self.features.parameters()).device))
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


def stacked_heads(net: NeocortexNet) -> nn.Linear:
    """Return one layer that answers as all heads of ``net`` side by side, with a copy of their weights.

    A layer of its own for each head would make the time of a step grow with the tasks.
    """
    states = [head.state_dict() for head in net.classifiers]
    weights = {name: torch.cat([state[name] for state in states]) for name in states[0]}
    return fill(lambda: nn.Linear(net.feature_dim, sum(net.head_sizes)), weights)


@torch.no_grad()
def unstack_heads(layer: nn.Linear, net: NeocortexNet) -> None:
    """Give the heads of ``net`` the weights that `stacked_heads` took from them, as they are in ``layer`` now."""
    for name, stacked in layer.state_dict().items():
        for head, part in zip(net.classifiers, stacked.split(net.head_sizes), strict=True):
            head.get_parameter(name).copy_(part)


@dataclass(frozen=True)
class OwnOutputs:
    """Which of the outputs of all heads side by side are each task's own.

    ``positions`` [tasks, H] are their places; ``real`` (bool) [tasks, H] is False where a head is smaller than H.
    """

    positions: Tensor
    real: Tensor


def own_outputs(head_sizes: Sequence[int], device: torch.device | str = "cpu") -> OwnOutputs:
    """Return every task's own outputs for heads of ``head_sizes``."""
    sizes = torch.tensor(head_sizes, device=device)[:, None]
    columns = torch.arange(max(head_sizes), device=device)
    real = columns < sizes
    return OwnOutputs((sizes.cumsum(0) - sizes + columns) * real, real)


class Encoder(nn.Module):
    """The front of a network, frozen: it turns images into feature maps that are kept and dreamt like images, as uint8.

    Every channel is scaled by the largest value that it had on the images that it was made from.
    """

    scale: Tensor

    def __init__(self, image_shape: ImageShape, backbone: str) -> None:
        """Build the front of ``backbone`` with random weights and scale 1.

        Raises:
            InputError: this backbone has no convolutional front.
        """
        super().__init__()
        built = backbone_named(backbone)(image_shape)
        if not built.front:
            raise InputError(f"--dream-level features needs a backbone with a convolutional front, not {backbone}.")
        self.front = nn.Sequential(*built.layers[: built.front])
        with torch.no_grad():
            channels, height, width = self.front(torch.zeros(1, *image_shape)).shape[1:]
        self.map_shape: ImageShape = (channels, height, width)
        self.register_buffer("scale", torch.ones(channels, 1, 1))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Return feature maps uint8 [N, *map_shape] of ``images`` uint8 [N, C, H, W]."""
        maps: Tensor = self.front(to_unit_range(images)) / self.scale
        return (maps * 255).round().clamp(0, 255).to(torch.uint8)

    def encoded(self, data: LabelledImages) -> LabelledImages:
        """Return ``data`` with feature maps in place of images, on the CPU."""
        device = self.scale.device
        maps = [self(images.to(device)).cpu() for images in data.images.split(ENCODED_TOGETHER)]
        return LabelledImages(torch.cat(maps), data.labels)


class Rescale(nn.Module):
    """Turns feature maps in [-1, 1], as `to_unit_range` makes them of an `Encoder`'s, into what its front returned."""

    scale: Tensor

    def __init__(self, scale: Tensor) -> None:
        """Take the encoder's ``scale`` [C, 1, 1]."""
        super().__init__()
        self.register_buffer("scale", scale.clone())

    def forward(self, maps: Tensor) -> Tensor:
        """Return features [N, C, H, W] for ``maps`` [N, C, H, W]."""
        return (maps + 1) / 2 * self.scale


def behind(encoder: Encoder, image_shape: ImageShape, backbone: str) -> NeocortexNet:
    """Return a network without heads, of random weights, whose features start from the maps of ``encoder``."""
    net = NeocortexNet(image_shape, backbone)
    net.image_shape = encoder.map_shape
    net.features = nn.Sequential(Rescale(encoder.scale), *list(net.features)[len(encoder.front) :])
    return net


@torch.no_grad()
def split(net: NeocortexNet, images: Tensor) -> tuple[Encoder, NeocortexNet]:
    """Cut ``net`` behind its convolutional front; returns the front, frozen, and the rest, which answers as before.

    ``images`` uint8 [N, C, H, W] decide how the feature maps between the two are scaled.
    """
    device = next(net.parameters()).device
    encoder = Encoder(net.image_shape, net.backbone)
    layers, cut = list(net.features), len(encoder.front)
    encoder.front = nn.Sequential(*layers[:cut])
    encoder.to(device).eval().requires_grad_(False)
    parts = images.split(ENCODED_TOGETHER)
    peaks = torch.stack([encoder.front(to_unit_range(part.to(device))).amax(dim=(0, 2, 3)) for part in parts])
    encoder.scale.copy_(peaks.amax(0).clamp_min(1e-6)[:, None, None])
    rest = behind(encoder, net.image_shape, net.backbone)
    rest.features = nn.Sequential(rest.features[0], *layers[cut:])
    rest.classifiers = net.classifiers
    return encoder, rest.to(device)
