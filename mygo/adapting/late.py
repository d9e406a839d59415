"""The late blocks of an encoder as layers that are trained: maps at a cut in, features out.

Maps are cut where they were halved for the last time, and have a few pixels a side. So depthwise convolutions are
written as products with one small matrix for each channel, and 1 × 1 convolutions as linear layers: what PyTorch has
for the gradient of a depthwise convolution takes a CPU some fifty times as long. Batch norm is folded into the
convolutions, and its statistics stay as they are.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mygo.adapting.frequencies import FromFrequencies, kept_frequencies
from mygo.encoders.efficientnet_lite import HEAD, SCALES, STAGES, Block, ConvNorm, EfficientNetLite, SamePadConv, Scale
from mygo.errors import InputError

HALVED = 2 * math.prod(stage.stride for stage in STAGES)
"""By how much the sides of maps at the cut are smaller than those of pictures; the stem halves them, too."""
LARGEST_SIDE = 4
"""Of the maps that late blocks see. Low frequencies say no more in more pixels: clothing photos of 224 pixels were told
apart better on 4 × 4 than on 7 × 7, in a third of the time."""
PACE = 3.0
"""How much larger pretrained features are given to a head, so that under Adam its weights for them learn faster."""


class PixelMatrix(nn.Module):
    """A depthwise convolution of maps of one size, as a matrix between pixels for each channel.

    Maps are [N, P, C], P pixels in rows from the top; Q pixels come out.
    """

    taps: Tensor

    def __init__(self, conv: SamePadConv, side: int) -> None:
        """Do what ``conv`` does, which has a bias, with maps of ``side`` × ``side`` pixels; its weights are copied."""
        super().__init__()
        self.weight = nn.Parameter(conv.weight.detach().flatten(1).clone())
        self.bias = nn.Parameter(cast(Tensor, conv.bias).detach().clone())
        self.register_buffer("taps", taps_between(conv, side), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps [N, Q, C] for ``maps`` [N, P, C]."""
        kernels = F.pad(self.weight, (0, 1))  # a tap that is nowhere has the weight 0
        matrices = kernels[:, self.taps].to(maps.dtype)
        made = torch.baddbmm(self.bias.to(maps.dtype)[:, None, None], maps.permute(2, 0, 1), matrices)
        return made.permute(1, 2, 0)


def taps_between(conv: SamePadConv, side: int) -> Tensor:
    """Return which of the K² weights of ``conv`` is between two pixels, int64 [P, Q]; K² where none is.

    ``conv`` itself is asked: of each pixel that is lit alone, what comes out shows the numbers of the weights.
    """
    size = conv.kernel_size[0] ** 2
    with torch.no_grad(), torch.device("cpu"):  # also where weights are to be filled in later, and are nowhere yet
        probe = SamePadConv(1, 1, conv.kernel_size[0], conv.stride[0])
        probe.weight.copy_(torch.arange(1.0, size + 1).view_as(probe.weight))
        shown = probe(torch.eye(side**2).view(-1, 1, side, side)).flatten(1).round().long() - 1
    return torch.where(shown < 0, size, shown)


def pointwise(conv: nn.Conv2d) -> nn.Linear:
    """Return the linear layer that does with [N, P, C] what the 1 × 1 ``conv`` does with [N, C, H, W]."""
    layer = nn.Linear(conv.in_channels, conv.out_channels)
    with torch.no_grad():
        layer.weight.copy_(conv.weight.flatten(1))
        layer.bias.copy_(cast(Tensor, conv.bias))
    return layer


class LateBlock(nn.Module):
    """An inverted bottleneck over maps [N, P, C]; see `mygo.encoders.efficientnet_lite.Block`."""

    def __init__(self, block: Block, side: int) -> None:
        """Copy ``block``, whose batch norm is folded, for maps of ``side`` × ``side`` pixels."""
        super().__init__()
        self.expand = pointwise(cast(ConvNorm, block.expand).conv)
        self.depthwise = PixelMatrix(block.depthwise.conv, side)
        self.project = pointwise(block.project.conv)
        self.has_shortcut = block.has_shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps [N, Q, C'] for ``maps`` [N, P, C]."""
        widened = F.relu6(self.depthwise(F.relu6(self.expand(maps))))
        made: Tensor = self.project(widened)
        return made + maps if self.has_shortcut else made


class LateBlocks(nn.Module):
    """What follows the cut of an EfficientNet-Lite, up to the pooled features."""

    def __init__(self, layers: Sequence[nn.Module], side: int) -> None:
        """Copy folded ``layers``: blocks, the last convolution and pooling, as `EfficientNetLite.late` has them."""
        super().__init__()
        *blocks, last, _ = layers
        made = []
        for block in blocks:
            assert isinstance(block, Block)
            made.append(LateBlock(block, side))
            side = -(-side // block.depthwise.conv.stride[0])
        self.blocks = nn.Sequential(*made)
        self.last = pointwise(cast(ConvNorm, last).conv)

    def forward(self, maps: Tensor) -> Tensor:
        """Return features float32 [N, F] for ``maps`` [N, C, H, W]."""
        pixels = maps.flatten(2).transpose(1, 2).contiguous()
        features: Tensor = F.relu6(self.last(self.blocks(pixels)))
        return features.float().mean(1)


class LateNetwork(nn.Module):
    """Late blocks that are trained, beside the features of the encoder as it was pretrained.

    Vectors [N, 1280 + C · F] come in: those features, and the low frequencies of the maps at the cut. Features
    [N, 2560] go out, of which the second half does not change, so that a head on both is an ensemble: what late blocks
    learn from dreams is right in other places than what a linear head makes of what was pretrained.
    """

    centre: Tensor

    def __init__(self, layers: Sequence[nn.Module], side: int) -> None:
        """Copy folded ``layers``, for maps of ``side`` × ``side`` pixels."""
        super().__init__()
        self.maps = FromFrequencies(side)
        self.blocks = LateBlocks(layers, side)
        self.register_buffer("centre", torch.zeros(HEAD))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return features [N, 2560] for ``vectors`` [N, D]."""
        adapted = self.blocks(self.maps(vectors[:, HEAD:]))
        pretrained = HEAD**0.5 * F.normalize(vectors[:, :HEAD]) - self.centre
        return torch.cat([adapted, PACE * pretrained], 1)

    @torch.no_grad()
    def centre_on(self, vectors: Tensor) -> None:
        """See pretrained features less their mean over ``vectors`` [N, D] from now on, which helps a head to learn."""
        self.centre.copy_(vectors[:, :HEAD].mean(0))

    def mirrored(self, vectors: Tensor) -> Tensor:
        """Return ``vectors`` [N, D] of pictures mirrored from left to right, whose features are about the same."""
        return torch.cat([vectors[:, :HEAD], self.maps.mirrored(vectors[:, HEAD:])], 1)


def late_network(encoder: str, feature_dim: int) -> LateNetwork:
    """Return what lies behind the front of ``encoder``, such as ``efficientnet-lite0@96``, not trained.

    Vectors [N, ``feature_dim``] come in, as that front makes them, and features [N, 2560] go out.

    Raises:
        InputError: MyGO knows no late blocks of that encoder, or they take other vectors.
    """
    scale = scale_of(encoder)
    network = EfficientNetLite(scale.width, scale.depth)
    side = side_of_drawn(size_of(encoder))
    if feature_dim != (wanted := HEAD + network.late_channels * len(kept_frequencies(side))):
        raise InputError(f"--backbone late:{encoder} sees vectors of {wanted} values, not {feature_dim}.")
    return LateNetwork(list(network.eval().folded().late(network.last_halving)), side)


def scale_of(encoder: str) -> Scale:
    """Return how large an ``encoder`` is, such as ``efficientnet-lite0@96``, whatever the size of its pictures.

    Raises:
        InputError: MyGO knows no late blocks of that encoder.
    """
    name = encoder.partition("@")[0]
    if name not in SCALES:
        raise InputError(
            f"--adapt late trains late blocks of {', '.join(SCALES)}, not of {name}: name one of them with --encoder."
        )
    return SCALES[name]


def size_of(encoder: str) -> int:
    """Return the side in pixels of the pictures that an ``encoder`` sees, such as ``efficientnet-lite0@96``.

    Raises:
        InputError: MyGO knows no late blocks of it.
    """
    size = encoder.partition("@")[2]
    return int(size) if size.isdecimal() else scale_of(encoder).size


def side_at_cut(size: int) -> int:
    """Return the side of maps at the cut, for pictures of ``size`` × ``size`` pixels."""
    return math.ceil(size / HALVED)


def side_of_drawn(size: int) -> int:
    """Return the side of the maps that late blocks see of such pictures: few pixels suffice for low frequencies."""
    return min(LARGEST_SIDE, side_at_cut(size))
