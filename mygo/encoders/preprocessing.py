"""What is done to an input before an encoder sees it: a part of the encoder, and of its checksum."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mygo.data.images import in_8_bits
from mygo.encoders.protocol import InputKind

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
RGB = tuple[float, float, float]

INTERPOLATIONS: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
"""PIL's, which are antialiased."""
PADDING = -1
"""Fills batches of token ids up; no tokenizer has such an id."""


class Preprocessing(Protocol):
    """One kind of preprocessing with its settings."""

    kind: ClassVar[InputKind]

    def __call__(self, item: Any, /) -> Tensor:
        """Return one input as a tensor."""

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """Return one batch of inputs."""

    def inputs(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Return what the network is called with; runs on the network's device, and is exported with it."""

    def settings(self) -> dict[str, Any]:
        """Return what the features depend on, as JSON has it."""

    def probe(self, count: int) -> Tensor:
        """Return a batch of ``count`` inputs that say nothing."""


@dataclass(frozen=True, kw_only=True)
class ImagePreprocessing:
    """A picture becomes ``size`` × ``size`` pixels in one resize, and is normalised behind the network's door."""

    kind: ClassVar[InputKind] = "image"
    size: int
    """Side of what the network sees, in pixels."""
    crop: float = 1.0
    """Share of the shorter side that the central square keeps."""
    squash: bool = False
    """Resize all of the picture, to other proportions if need be, instead of a central square."""
    interpolation: Interpolation = "bicubic"
    mean: RGB = (0.485, 0.456, 0.406)
    """Of red, green and blue, where black is 0 and white is 1."""
    std: RGB = (0.229, 0.224, 0.225)

    def __call__(self, picture: Image.Image, /) -> Tensor:
        """Return ``picture`` as uint8 [3, size, size] in RGB; what is transparent in parts is laid on a ground."""
        picture = in_8_bits(picture).convert("RGB")
        resampling = INTERPOLATIONS[self.interpolation]
        small = picture.resize((self.size, self.size), resampling, box=self.box(*picture.size))
        return torch.from_numpy(np.array(small)).permute(2, 0, 1)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return what is kept of a picture: left, upper, right and lower bound in its pixels."""
        if self.squash:
            return 0, 0, width, height
        side = max(1, int(self.crop * min(width, height)))
        left, upper = (width - side + 1) // 2, (height - side + 1) // 2
        return left, upper, left + side, upper + side

    @property
    def least_side(self) -> int:
        """The shorter side, in pixels, that a picture should still have when it is decoded at a smaller scale."""
        return self.size if self.squash else round(self.size / self.crop)

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """Return images uint8 [N, 3, size, size], in the layout channels_last, which CPUs are fastest with."""
        return torch.stack([item.permute(1, 2, 0) for item in items]).permute(0, 3, 1, 2)

    def inputs(self, batch: Tensor) -> tuple[Tensor]:
        """Return normalised images float32 [N, 3, size, size]."""
        mean, std = (torch.tensor(each, device=batch.device).view(3, 1, 1) * 255 for each in (self.mean, self.std))
        return (((batch - mean) / std).contiguous(memory_format=torch.channels_last),)

    def settings(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)

    def probe(self, count: int) -> Tensor:
        """Return black images."""
        return torch.zeros(count, 3, self.size, self.size, dtype=torch.uint8)


@dataclass(frozen=True, kw_only=True)
class TextPreprocessing:
    """A text becomes token ids, by a ``tokenizer.json`` as Hugging Face's tokenizers read it."""

    kind: ClassVar[InputKind] = "text"
    tokenizer: Path
    max_length: int
    """Ids, the marks of beginning and end among them, after which a text is cut off."""

    def __call__(self, text: str, /) -> Tensor:
        """Return the ids int64 [L] of ``text``."""
        ids = _tokenizer(self.tokenizer, self.max_length).encode(text.strip()).ids
        return torch.tensor(ids, dtype=torch.int64)

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """Return ids [N, L], filled up with `PADDING` to the longest."""
        return padded(items)

    def inputs(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return ids int64 [N, L], 0 where there are none, and what they are, int64 [N, L]: 1 an id, 0 padding."""
        return ids_and_mask(batch)

    def settings(self) -> dict[str, Any]:
        """Return the length, and the checksum of the tokenizer in place of its path."""
        digest = hashlib.sha256(self.tokenizer.read_bytes()).hexdigest()
        return {"max_length": self.max_length, "tokenizer": digest}

    def probe(self, count: int) -> Tensor:
        """Return texts of one word."""
        return self.collate([self("word")] * count)


@functools.lru_cache(maxsize=4)
def _tokenizer(path: Path, max_length: int) -> Any:
    from tokenizers import Tokenizer  # an extra

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


def padded(items: Sequence[Tensor]) -> Tensor:
    """Return ids [N, L], filled up with `PADDING` to the longest of ``items``."""
    return pad_sequence(list(items), batch_first=True, padding_value=PADDING)


def ids_and_mask(batch: Tensor) -> tuple[Tensor, Tensor]:
    """Return ids and mask, int64 [N, L], of what `padded` made."""
    return batch.clamp(min=0), (batch != PADDING).long()


@dataclass(frozen=True, kw_only=True)
class VectorPreprocessing:
    """A vector stays as it is."""

    kind: ClassVar[InputKind] = "vector"
    size: int
    """Length of what the network takes."""

    def __call__(self, vector: Any, /) -> Tensor:
        """Return ``vector`` as float32 [size].

        Raises:
            ValueError: it has another shape.
        """
        tensor = torch.as_tensor(vector, dtype=torch.float32)
        if tensor.shape != (self.size,):
            raise ValueError(f"it has the shape {list(tensor.shape)}, not [{self.size}]")
        return tensor

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        """Return vectors float32 [N, size]."""
        return torch.stack(list(items))

    def inputs(self, batch: Tensor) -> tuple[Tensor]:
        """Return the vectors."""
        return (batch,)

    def settings(self) -> dict[str, Any]:
        """Return all fields."""
        return asdict(self)

    def probe(self, count: int) -> Tensor:
        """Return zeros."""
        return torch.zeros(count, self.size)
