"""Vectors in a file, read when they are used and let go of after that, so that memory does not grow with the file."""

import mmap
from pathlib import Path
from weakref import WeakValueDictionary

import torch
from torch import Tensor

_FILES: "WeakValueDictionary[int, mmap.mmap]" = WeakValueDictionary()
"""The files that are mapped, by where the memory of their tensors begins."""


def mapped(path: Path, feature_dim: int) -> Tensor:
    """Return the vectors in the file at ``path``, float32 [N, feature_dim]; the file may be deleted meanwhile."""
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    vectors = torch.frombuffer(pages, dtype=torch.float32).view(-1, feature_dim)  # keeps the map as long as it lives
    _FILES[vectors.untyped_storage().data_ptr()] = pages
    return vectors


def let_go(vectors: Tensor) -> None:
    """Keep nothing in memory of the file that ``vectors`` are read from, if they are; it is read again when used."""
    pages = _FILES.get(vectors.untyped_storage().data_ptr())
    if pages is not None:
        pages.madvise(mmap.MADV_DONTNEED)


def rows_of(vectors: Tensor, rows: Tensor) -> Tensor:
    """Return a copy of the ``rows`` [N] of ``vectors``; of those in a file no others stay in memory."""
    found = vectors[rows]
    let_go(vectors)
    return found
