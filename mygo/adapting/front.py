"""The front of an encoder, frozen: up to the cut behind which sleep trains, and the low frequencies of its maps."""

from dataclasses import replace

from torch import Tensor, nn

from mygo.adapting.frequencies import HIGHEST, ToFrequencies
from mygo.adapting.late import LateBlocks, scale_of, side_at_cut
from mygo.encoders.efficientnet_lite import EfficientNetLite, efficientnet_lite
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ImagePreprocessing
from mygo.encoders.protocol import EncoderRequest

PREFIX = "front:"


class FrontEncoder(FrozenEncoder):
    """The front of an encoder; it keeps the pretrained weights of what lies behind it."""

    late_weights: dict[str, Tensor]
    """The weights of `mygo.adapting.late.LateBlocks`, by name."""


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
    frequencies = ToFrequencies(side)
    found = FrontEncoder(
        f"{PREFIX}{whole.name}",
        nn.Sequential(whole.network.front(cut), frequencies),
        whole.preprocessing,
        precision=request.precision,
        fused=nn.Sequential(folded.front(cut), frequencies),
        feature_dim=whole.network.late_channels * len(frequencies.waves),
        checksum=f"{whole.checksum} after block {cut}, frequencies up to {HIGHEST}",
    )
    found.late_weights = LateBlocks(list(folded.late(cut)), side).state_dict()
    return found
