"""``pack``: the memories of a life as one file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from mygo.cli.folders import LifeFolder, open_life
from mygo.reporting.console import plain


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Write the memories of a life as one file, to be merged with others elsewhere.

    It holds no example, but memories are as private as the examples were: see SECURITY.md.
    """

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.mygo")]
    """The file."""
    life: LifeFolder

    def run(self, console: Console) -> None:
        """Write the file, and say what it reveals."""
        from rich import filesize

        from mygo.files import check_target
        from mygo.learner.pack import SUFFIX, pack

        check_target(self.out, SUFFIX)
        life = open_life(self.life)
        pack(life, self.out)
        size = filesize.decimal(self.out.stat().st_size)
        console.print(plain(f"Memories of {len(life.class_names)} classes, {size}: {self.out}"), soft_wrap=True)
        what = "features of its examples" if life.on_features else "pictures like its examples"
        reveals = (
            f"Who has it can dream {what}, reads the names of classes and lessons, and how many examples there were, "
            "and may find out whether an example was among them: see SECURITY.md."
        )
        console.print(plain(reveals), soft_wrap=True)
