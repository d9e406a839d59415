"""``merge``: several lives become one, without anybody's data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console

from mygo.cli.commands.show import NEWEST, Show
from mygo.cli.flags import OptionalPath
from mygo.cli.folders import open_life_or_pack


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Merge lives into a new one, without anybody's data; they stay as they are.

    Behind a frozen encoder it knows to the bit what one life would that learned all of it. The same command goes on
    with what was interrupted.
    """

    lives: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LIFE LIFE...")]
    """Folders of lives, or files that pack wrote; all see and learn alike."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder of the new life."""
    same: Literal["refuse", "together", "apart"] = "refuse"
    """What becomes of classes of the same name: refuse; together, one class of both; or apart, the later one gets the
    name of its life behind its own."""
    encoder_weights: OptionalPath = None
    """File with the weights of the encoder that the lives adapt, where they do not find them themselves."""

    def run(self, console: Console) -> None:
        """Merge the lives, and show what the new one knows."""
        from mygo.files import check_writable
        from mygo.jobs.life import Life
        from mygo.jobs.merge import merge
        from mygo.jobs.perception import encoder_of
        from mygo.reporting.console import ConsoleLogger

        check_writable(self.out, "choose another --out")
        lives = [open_life_or_pack(path) for path in self.lives]
        if lives and lives[0].adapts:
            encoder_of(lives[0], self.encoder_weights)
        with ConsoleLogger(console) as bars:
            merge(Life, lives, self.out, same=self.same, names=unlike(self.lives), on_event=bars)
        Show(life=self.out, newest=NEWEST).run(console)


def unlike(paths: tuple[Path, ...]) -> list[str]:
    """Return names of the lives at ``paths`` that tell them apart: of files and folders, or of folders around them."""
    names = [path.resolve().stem if path.is_file() else path.resolve().name for path in paths]
    if len(set(names)) == len(names):
        return names
    return [f"{path.resolve().parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
