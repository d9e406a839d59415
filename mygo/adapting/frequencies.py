"""The low spatial frequencies of maps: what memories keep of them, as vectors.

They are those of a discrete cosine transform over each channel (DCT-II, Ahmed, Natarajan & Rao 1974), orthonormal. So
nothing has to be fitted or kept, all lives behind one encoder see the same, and to mirror a picture is to change signs.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIGHEST = 2
"""The sum of the vertical and the horizontal frequency up to which values are kept."""
AMPLITUDE = 4.0
"""Root mean square of a photograph's maps where EfficientNet-Lite halves them for the last time, up to the frequencies
that are kept: it is 3 at 224 pixels and 5 at 96, and a life sees vectors of one length."""


def kept_frequencies(side: int) -> list[tuple[int, int]]:
    """Return the frequencies, vertical and horizontal, that are kept of maps of ``side`` × ``side`` pixels."""
    return [(down, right) for down in range(side) for right in range(side) if down + right <= HIGHEST]


def cosines(side: int) -> Tensor:
    """Return the waves of `kept_frequencies` over the pixels of a map in rows, orthonormal, float32 [F, side²]."""
    places = (torch.arange(side, dtype=torch.float64) + 0.5) * math.pi / side
    waves = torch.cos(torch.arange(side, dtype=torch.float64)[:, None] * places)
    waves /= waves.norm(dim=1, keepdim=True)
    return torch.stack(
        [torch.outer(waves[down], waves[right]).flatten() for down, right in kept_frequencies(side)]
    ).float()


class ToFrequencies(nn.Module):
    """Maps [N, C, side, side] in, vectors [N, C · F] out: of each channel its F low frequencies."""

    waves: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        with torch.device("cpu"):
            self.register_buffer("waves", cosines(side), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the vectors of ``maps``."""
        # Summed up so, not as a product of matrices, which autocast would round to bfloat16.
        return (maps.float().flatten(2)[:, :, None] * self.waves).sum(3).flatten(1)


class FromFrequencies(nn.Module):
    """Vectors [N, C · F] in, of any length, maps [N, C, side, side] out, as long as those of photographs."""

    waves: Tensor
    signs: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side
        with torch.device("cpu"):
            self.register_buffer("waves", AMPLITUDE * side * cosines(side), persistent=False)
            signs = torch.tensor([(-1.0) ** right for _, right in kept_frequencies(side)])
            self.register_buffer("signs", signs, persistent=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """Return the maps of ``vectors``."""
        of_channels = F.normalize(vectors).view(vectors.shape[0], -1, len(self.waves))
        maps: Tensor = (of_channels * of_channels.shape[1] ** 0.5) @ self.waves
        return maps.view(vectors.shape[0], -1, self.side, self.side)

    def mirrored(self, vectors: Tensor) -> Tensor:
        """Return the vectors of the maps of ``vectors``, mirrored from left to right."""
        return (vectors.view(vectors.shape[0], -1, len(self.signs)) * self.signs.to(vectors.device)).flatten(1)
