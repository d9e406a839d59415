"""Items of a source, decoded ahead in threads and encoded in batches: a stream of feature vectors."""

import math
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from mygo.data.images import in_8_bits, oddities_of, reason
from mygo.data.readers.reader import PLURAL, Item, Kind, Reader, Vector
from mygo.errors import InputError

CPU = torch.device("cpu")
BATCH_SIZE: dict[Kind, int] = {"image": 8, "text": 64, "vector": 1024}
"""Items that a CPU encodes together: EfficientNet-lite0 takes half as long again a photo in batches of 32, which leave
the caches. And the batches of a small lesson can be shared evenly."""
TIMES_ON_GPU = 8
"""By how much batches are larger on a GPU."""
MOST_THREADS = 8
"""Threads that decode for a GPU."""


class Encoder(Protocol):
    """What an encoder must have here (see `mygo.encoders`)."""

    name: str

    @property
    def input_kind(self) -> Kind:
        """What it encodes."""

    @property
    def preprocess(self) -> Callable[[Any], Tensor]:
        """Turns an item into a tensor on the CPU; several threads may call it at once.

        That of pictures may have a ``least_side``: the pixels that the shorter side of a picture must have for nothing
        to be lost. Without it, pictures are decoded in full.
        """

    @property
    def collate(self) -> Callable[[Sequence[Tensor]], Tensor]:
        """Makes a batch of such tensors."""

    def encode(self, batch: Tensor) -> Tensor:
        """Return the features [N, D] of a batch."""


@dataclass(frozen=True)
class Loaded:
    """Items of one batch, ready to be encoded."""

    places: list[int] = field(default_factory=list)
    """Which of the batch's items they are."""
    items: list[Tensor] = field(default_factory=list)
    unreadable: dict[int, str] = field(default_factory=dict)
    """By place, what the others are called and why they cannot be read."""
    oddities: Counter[str] = field(default_factory=Counter)
    """How many items there are for each of `mygo.data.images.REMARKS`."""


@dataclass(frozen=True)
class Encoded:
    """The feature vectors of one batch."""

    indices: list[int]
    """Where the reader has their items."""
    vectors: Tensor
    """float32 [N, D] on the CPU, each of length sqrt(D)."""
    unreadable: dict[int, str]
    """By index, what the others are called and why they cannot be read."""
    oddities: Counter[str]


def batches_of(reader: Reader, indices: Sequence[int], device: torch.device = CPU) -> list[list[int]]:
    """Return ``indices`` of items of ``reader`` in batches for an encoder on ``device``; texts of like length together.

    Which items share a batch depends on these alone: vectors depend on it in their last bits (EfficientNet-lite0's by
    1e-5 where the sizes of batches differ), and so do not depend on who encodes which batch.
    """
    order = list(indices)
    if reader.kind == "text":
        order.sort(key=lambda index: length_of(reader, index))  # stable
    size = batch_size(reader.kind, device)
    return [order[start : start + size] for start in range(0, len(order), size)]


def batch_size(kind: Kind, device: torch.device) -> int:
    """Return how many items of a ``kind`` are encoded together on ``device``."""
    return BATCH_SIZE[kind] * (1 if device.type == "cpu" else TIMES_ON_GPU)


def length_of(reader: Reader, index: int) -> int:
    """Return how long a text is, 0 if it cannot be read."""
    try:
        return reader.size(index)[1]
    except InputError:
        raise
    except Exception:  # it will come up again when the text is read
        return 0


def encoded_batches(
    reader: Reader, batches: Sequence[Sequence[int]], encoder: Encoder | None, device: torch.device = CPU
) -> Iterator[Encoded]:
    """Yield the vectors of ``batches`` of items of ``reader``, in order; vectors need no ``encoder``.

    A few batches are decoded ahead while others are encoded, so that memory does not grow with the number of items.

    Raises:
        InputError: the source as a whole cannot be used.
    """
    if len(batches) == 1:  # a thread would cost a millisecond, and there is nothing to decode meanwhile
        yield encoded(reader, batches[0], load(reader, batches[0], encoder), encoder)
        return
    threads = threads_for(reader, device)
    with ThreadPoolExecutor(threads, "decode") as pool:
        waiting: deque[tuple[Sequence[int], Future[Loaded]]] = deque()
        try:
            for number in range(len(batches) + threads):
                if number < len(batches):
                    waiting.append((batches[number], pool.submit(load, reader, batches[number], encoder)))
                if number >= threads:
                    batch, loaded = waiting.popleft()
                    yield encoded(reader, batch, loaded.result(), encoder)
        finally:
            pool.shutdown(cancel_futures=True)


def threads_for(reader: Reader, device: torch.device) -> int:
    """Return how many threads decode: one beside a CPU that encodes, more beside a GPU if the reader takes them."""
    if not reader.concurrent or device.type == "cpu":
        return 1
    return max(1, min(MOST_THREADS, len(os.sched_getaffinity(0)) // torch.cuda.device_count()))


def load(reader: Reader, batch: Sequence[int], encoder: Encoder | None) -> Loaded:
    """Read a ``batch`` of items and make them ready for the ``encoder``.

    Raises:
        InputError: the source as a whole cannot be used.
    """
    loaded = Loaded()
    side = None if encoder is None else getattr(encoder.preprocess, "least_side", None)
    at_least = None if side is None else (side, side)
    for place, index in enumerate(batch):
        try:
            item, _ = reader.read(index, at_least)
            ready = prepared(item, reader.kind, encoder, loaded.oddities)
        except InputError:
            raise
        except Exception as error:  # whatever a damaged item makes its reader raise
            loaded.unreadable[place] = f"{reader.where(index)}: {reason(error)}"
            continue
        loaded.places.append(place)
        loaded.items.append(ready)
    return loaded


def prepared(item: Item, kind: Kind, encoder: Encoder | None, oddities: Counter[str]) -> Tensor:
    """Return ``item``, which is to be of a ``kind``, as the ``encoder`` takes it, and count its ``oddities``.

    Raises:
        Exception: it cannot be used.
    """
    if isinstance(item, Image.Image) and kind == "image" and encoder is not None:
        picture = in_8_bits(item).convert("RGB")
        oddities.update(oddities_of(item, picture))
        return encoder.preprocess(picture)
    if isinstance(item, str) and kind == "text" and encoder is not None:
        if not item.strip():
            raise ValueError("it is empty")
        return encoder.preprocess(item)
    if isinstance(item, Image.Image | str) or kind != "vector":
        raise TypeError(f"it is of type {type(item).__name__}, and the first of the {PLURAL[kind]} is not")
    row = as_row(item)
    return row if encoder is None else encoder.preprocess(row)


def as_row(vector: Vector) -> Tensor:
    """Return a ``vector`` as a tensor [D].

    Raises:
        ValueError: it is not finite, or zero.
    """
    row = torch.from_numpy(vector)
    if not row.isfinite().all():
        raise ValueError("it is not finite")
    if not row.any():
        raise ValueError("it is zero")
    return row


def encoded(reader: Reader, batch: Sequence[int], loaded: Loaded, encoder: Encoder | None) -> Encoded:
    """Return the vectors of what was ``loaded`` of a ``batch``.

    Raises:
        InputError: vectors are of several lengths.
    """
    unreadable = {batch[place]: why for place, why in loaded.unreadable.items()}
    indices = [batch[place] for place in loaded.places]
    if not indices:
        return Encoded([], torch.empty(0, 0), unreadable, loaded.oddities)
    if encoder is None:
        lengths = [len(row) for row in loaded.items]
        if len(set(lengths)) > 1:
            other = next(place for place, length in enumerate(lengths) if length != lengths[0])
            raise InputError(
                f"{reader.where(indices[other])} has {lengths[other]} values, but others have {lengths[0]}: make all "
                "vectors of one length."
            )
        features = torch.stack(loaded.items)
    else:
        features = encoder.encode(encoder.collate(loaded.items)).float().cpu()
    vectors = of_one_length(features)
    broken = ~vectors.isfinite().all(1)
    for row in broken.nonzero().flatten().tolist():
        unreadable[indices[row]] = f"{reader.where(indices[row])}: its features are zero or not finite"
    kept = [index for index, bad in zip(indices, broken.tolist(), strict=True) if not bad]
    return Encoded(kept, vectors[~broken], unreadable, loaded.oddities)


def of_one_length(features: Tensor) -> Tensor:
    """Return ``features`` [N, D] scaled to the length sqrt(D), so that values are about 1; zero becomes nan."""
    exact = features.double()  # so that squares of large values stay finite
    lengths: Tensor = exact.norm(dim=1, keepdim=True)
    return (exact * (math.sqrt(features.shape[1]) / lengths)).float()
