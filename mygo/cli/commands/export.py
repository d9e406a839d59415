"""``export``: a life as a model for other programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from mygo.cli.flags import OptionalPath
from mygo.cli.folders import LifeFolder, open_life
from mygo.errors import InputError
from mygo.reporting.console import plain

if TYPE_CHECKING:
    from mygo.jobs.life import Life


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a life as one file for other programs, with the names of its classes.

    An image encoder goes into the file, too; of a life behind another one it is the head alone, which takes features.
    """

    out: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="OUT.onnx|OUT.pt2")]
    """An ONNX model, or a program for torch.export.load."""
    life: LifeFolder
    encoder_weights: OptionalPath = None
    """File with the weights of the life's encoder, where it does not find them itself."""
    head_alone: bool = False
    """Leave the encoder out in any case; the model then takes its features."""

    def run(self, console: Console) -> None:
        """Write the file."""
        from mygo.files import check_target
        from mygo.jobs.perception import encoder_of
        from mygo.learner.export import export_onnx, export_program, why_not_inside

        check_target(self.out, ".onnx", ".pt2")
        life = open_life(self.life)
        if self.encoder_weights is not None and life.config.encoder in ("none", "auto"):
            raise InputError("This life sees through no encoder: leave out --encoder-weights.")
        encoder = None if self.head_alone else encoder_of(life, self.encoder_weights)
        why = "" if encoder is None else why_not_inside(encoder)
        export = export_onnx if self.out.suffix.lower() == ".onnx" else export_program
        export(life, self.out, life.class_names, None if why else encoder)
        what = f"Model of {len(life.class_names)} classes{takes(life, encoder is not None and not why, why)}"
        console.print(plain(f"{what}: {self.out}"), soft_wrap=True)


def takes(life: "Life", is_inside: bool, why_not: str) -> str:
    """Return what the model of ``life`` takes, as a part of a sentence; over pixels there is nothing to say.

    It ``is_inside`` the model that the encoder is, or is not, for a reason if there is one.
    """
    if not life.on_features:
        return ""
    if is_inside:
        return f" with the encoder {life.config.encoder} inside, which takes images as its preprocessing makes them"
    if life.config.encoder == "none":
        return f", which takes vectors of {life.input_shape[0]:,} values"
    since = f", since {why_not}" if why_not else ""
    return f" without the encoder{since}; it takes the {life.input_shape[0]:,} features of {life.config.encoder}"
