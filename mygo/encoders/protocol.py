from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from mygo.data.readers.reader import Kind


class Encoder(Protocol):
    name: str
    input_kind: Kind
    feature_dim: int
    checksum: str
    at_least: Any

    def preprocess(self, item: Any) -> Tensor: ...
    def collate(self, items: Sequence[Tensor]) -> Any: ...
    def encode(self, batch: Any) -> Tensor: ...
    def to(self, device: torch.device) -> "Encoder": ...
