"""An encoder whose late blocks sleep trains, as it is before: its features, and its maps where it is cut."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mygo.adapting.frequencies import HIGHEST, ToFrequencies, kept_frequencies
from mygo.adapting.late import LateNetwork, scale_of, side_at_cut, side_of_drawn
from mygo.encoders.efficientnet_lite import HEAD, EfficientNetLite, efficientnet_lite
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ImagePreprocessing
from mygo.encoders.protocol import EncoderRequest

PREFIX = "front:"


class Front(nn.Module):
    """Normalised images [N, 3, S, S] in; square roots of features, and the low frequencies of maps at the cut, out.

    Both are as long as they have values, √1280 and √(C · F), since Gaussians fit what is of one length best.
    """

    def __init__(self, network: EfficientNetLite, side: int) -> None:
        """Share the weights of ``network``, whose maps at the cut have ``side`` × ``side`` pixels."""
        super().__init__()
        self.front, self.late = network.front(network.last_halving), network.late(network.last_halving)
        self.frequencies = ToFrequencies(side)

    def forward(self, images: Tensor) -> Tensor:
        """Return vectors [N, 1280 + C · F] of ``images``."""
        maps = self.front(images)
        parts = self.late(maps).clamp_min(0).sqrt(), self.frequencies(maps)
        return torch.cat([F.normalize(part) * part.shape[1] ** 0.5 for part in parts], 1)


class FrontEncoder(FrozenEncoder):
    """The front of an encoder; it keeps the pretrained weights of what is trained behind it."""

    late_weights: dict[str, Tensor]
    """The weights of `mygo.adapting.late.LateNetwork`, by name."""


def front(request: EncoderRequest) -> FrontEncoder:
    """Return the front of the EfficientNet-Lite that is requested as ``front:NAME``.

    Raises:
        InputError: there is no such encoder, or there are no weights, or they are not its own.
    """
    scale_of(request.rest)
    whole = efficientnet_lite(replace(request, name=request.rest))
    assert isinstance(whole.network, EfficientNetLite)
    assert isinstance(whole.preprocessing, ImagePreprocessing)
    cut, side = whole.network.last_halving, side_at_cut(whole.preprocessing.size)
    folded = whole.network.folded()
    found = FrontEncoder(
        f"{PREFIX}{whole.name}",
        Front(whole.network, side),
        whole.preprocessing,
        precision=request.precision,
        fused=Front(folded, side),
        feature_dim=HEAD + whole.network.late_channels * len(kept_frequencies(side)),
        checksum=f"{whole.checksum} after block {cut}, frequencies up to {HIGHEST}",
    )
    drawn = side_of_drawn(whole.preprocessing.size)
    found.late_weights = LateNetwork(list(folded.late(cut)), drawn).state_dict()
    return found
