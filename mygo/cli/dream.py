"""``dream``: a picture of what a life remembers of a class."""

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

MOST_DREAMS = 10_000


@dataclass(frozen=True, kw_only=True)
class Dream:
    """Dream of a class, and put the dreams into one picture."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.png")]
    """The picture: a square grid of dreams."""
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
        """Write the picture."""
        from mygo.files import check_target, write_atomically

        check_target(self.out, ".png")
        dreams = open_life(self.life).dream(self.class_name, self.count, self.seed)
        write_atomically(self.out, grid_png(dreams), "what was there is whole; make room or name another file")
        console.print(plain(f"Dreams of {self.class_name}: {self.out}"), soft_wrap=True)


def grid_png(images: "Tensor") -> bytes:
    """Return uint8 ``images`` [N, C, H, W] as a PNG file of as many columns as rows, the last of which may be empty."""
    from PIL import Image

    from mygo.data.torchvision_shim import torchvision

    columns = math.isqrt(len(images) - 1) + 1
    grid = torchvision.utils.make_grid(images, nrow=columns, padding=1, pad_value=255)
    buffer = io.BytesIO()
    Image.fromarray(grid.permute(1, 2, 0).numpy()).save(buffer, format="PNG")
    return buffer.getvalue()
