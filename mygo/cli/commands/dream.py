"""``dream``: what a life remembers of a class, as a picture or as vectors."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from mygo.cli.folders import LifeFolder, open_life
from mygo.config.ranges import LARGEST_SEED, check_ranges
from mygo.errors import InputError
from mygo.reporting.console import plain

if TYPE_CHECKING:
    from torch import Tensor

    from mygo.jobs.life import Life

PICTURES, ARRAYS = (".png",), (".npz", ".npy")
"""Endings of the files for pixels, and for vectors."""
MOST_DREAMS = 10_000


@dataclass(frozen=True, kw_only=True)
class Dream:
    """Dream of a class, and put the dreams into one file."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.png|OUT.npz|OUT.npy")]
    """A picture, a square grid of dreams; of a life behind an encoder, the features that it dreams, float32 [N, D], in
    a .npz file under `features`, or as a .npy file."""
    life: LifeFolder
    class_name: Annotated[str, tyro.conf.arg(name="class", metavar="NAME")]
    """What to dream of."""
    count: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 64
    """How many dreams."""
    seed: int = 0
    """Other dreams for another seed."""

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_DREAMS:
            raise InputError(f"-n must be from 1 to {MOST_DREAMS} dreams, not {self.count}.")
        check_ranges(self, "", seed=(0, LARGEST_SEED))

    def run(self, console: Console) -> None:
        """Write the file."""
        from mygo.files import check_target, write_atomically

        check_target(self.out, *PICTURES, *ARRAYS)
        life = open_life(self.life)
        check_kind(self.out, life)
        dreams = life.dream(self.class_name, self.count, self.seed)
        content = features_file(dreams, self.out.suffix.lower()) if life.on_features else grid_png(dreams)
        write_atomically(self.out, content, "what was there is whole; make room or name another file")
        through = "" if life.config.encoder == "none" else f" of the encoder {life.config.encoder}"
        what = f"Dreams of {self.class_name}"
        if life.on_features:
            what += f", {self.count:,} vectors of {dreams.shape[1]:,} features{through}"
        console.print(plain(f"{what}: {self.out}"), soft_wrap=True)


def check_kind(out: Path, life: "Life") -> None:
    """Make sure that what ``life`` dreams can be written to a file such as ``out``.

    Raises:
        InputError: it dreams pictures, and the file is for vectors, or the other way round.
    """
    fit, dreamt = (ARRAYS, "vectors, not pictures") if life.on_features else (PICTURES, "pictures, not vectors")
    if out.suffix.lower() not in fit:
        raise InputError(f"This life dreams {dreamt}: name a file in {' or '.join(fit)}, not {out.name}.")


def features_file(features: "Tensor", suffix: str) -> bytes:
    """Return ``features`` float32 [N, D] as the content of a file in .npz, under their name, or .npy."""
    import numpy as np

    buffer = io.BytesIO()
    if suffix == ".npz":
        np.savez(buffer, features=features.numpy())
    else:
        np.save(buffer, features.numpy(), allow_pickle=False)
    return buffer.getvalue()


def grid_png(images: "Tensor") -> bytes:
    """Return uint8 ``images`` [N, C, H, W] as a PNG file of as many columns as rows, the last of which may be empty."""
    from PIL import Image

    from mygo.data.torchvision_shim import torchvision

    columns = math.isqrt(len(images) - 1) + 1
    grid = torchvision.utils.make_grid(images, nrow=columns, padding=1, pad_value=255)
    buffer = io.BytesIO()
    Image.fromarray(grid.permute(1, 2, 0).numpy()).save(buffer, format="PNG")
    return buffer.getvalue()
