"""The neocortex: one feature extractor shared by all tasks, and one classifier head per task."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from mygo.layers import group_norm

BackboneName = Literal["mlp", "conv", "resnet18"]
BACKBONES: tuple[str, ...] = get_args(BackboneName)


def mlp(image_shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    """Return two hidden layers of 400 units, the network of van de Ven & Tolias 2019, and its feature size."""
    channels, height, width = image_shape
    layers = [nn.Flatten(), nn.Linear(channels * height * width, 400), nn.ReLU(), nn.Linear(400, 400), nn.ReLU()]
    return nn.Sequential(*layers), 400


def conv(image_shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
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
    return nn.Sequential(*layers), 256


def resnet18(image_shape: tuple[int, int, int]) -> tuple[nn.Module, int]:
    """Return torchvision's ResNet-18 for small images (3×3 stem, no pooling, group norm), and its feature size."""
    from mygo.vision import torchvision  # takes a second to import

    net = torchvision.models.resnet18(norm_layer=group_norm)
    net.conv1 = nn.Conv2d(image_shape[0], 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    net.fc = nn.Identity()
    return net, 512


class NeocortexNet(nn.Module):
    """`features`, shared by all tasks, and `classifiers`, one linear head per task in the order they were learned."""

    def __init__(self, image_shape: tuple[int, int, int], backbone: BackboneName = "conv") -> None:
        super().__init__()
        self.image_shape = image_shape
        self.backbone = backbone
        build = {"mlp": mlp, "conv": conv, "resnet18": resnet18}[backbone]
        self.features, self.feature_dim = build(image_shape)
        self.classifiers = nn.ModuleList()

    def add_task_head(self, num_classes: int) -> nn.Linear:
        """Append a linear head with ``num_classes`` outputs for the next task, and return it."""
        head = nn.Linear(self.feature_dim, num_classes)
        self.classifiers.append(head.to(next(self.features.parameters()).device))
        return head

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
