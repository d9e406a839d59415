"""Randomness as a pure function of names.

Every random draw of a life comes from a stream that is named by what it is for: the seed, the phase, the task and the
step. Nothing depends on what was drawn before, on which process draws, or on how many there are, so a life that was
interrupted, moved to other workers or served by other dreamers draws the same numbers.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch

Key = tuple[int | str, ...]
"""What a draw is for, such as ``(seed, "memorise", task, step)``."""


def derive_seed(*key: int | str) -> int:
    """Return a 63-bit seed that is a hash of ``key``; different keys give independent seeds."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(*key: int | str) -> torch.Generator:
    """Return a CPU random generator that is seeded by ``key``."""
    return torch.Generator().manual_seed(derive_seed(*key))


@contextmanager
def seeded(*key: int | str) -> Iterator[None]:
    """Seed torch's global generator with ``key`` inside the block, for module initialisation, and restore it after."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(*key))
        yield
