from pathlib import Path

from mygo.encoders.protocol import Encoder


def encoder_named(name: str, weights: Path | None = None) -> Encoder:
    raise NotImplementedError
