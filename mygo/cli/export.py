"""``export``: a life as a model for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from mygo.cli.folders import LifeFolder, open_life
from mygo.reporting.console import plain


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a life as one file for other programs, with the names of its classes."""

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.onnx|OUT.pt2")]
    """An ONNX model, or a program for torch.export.load."""
    life: LifeFolder

    def run(self, console: Console) -> None:
        """Write the file."""
        from mygo.files import check_target
        from mygo.learner.export import export_onnx, export_program

        check_target(self.out, ".onnx", ".pt2")
        life = open_life(self.life)
        export = export_onnx if self.out.suffix.lower() == ".onnx" else export_program
        export(life, self.out, life.class_names)
        console.print(plain(f"Model of {len(life.class_names)} classes: {self.out}"), soft_wrap=True)
