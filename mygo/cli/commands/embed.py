"""``embed``: what a life sees of each input, as vectors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from mygo.cli.commands.predict import seen_through_encoder
from mygo.cli.flags import OptionalPath
from mygo.cli.folders import LifeFolder, open_life
from mygo.errors import InputError
from mygo.reporting.console import plain


@dataclass(frozen=True, kw_only=True)
class Embed:
    """Write the features that a life behind an encoder sees of each input."""

    inputs: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT …", help_behavior_hint="(required)")
    ]
    """As for predict."""
    life: LifeFolder
    out: Annotated[Path, tyro.conf.arg(metavar="OUT.npz")]
    """The file: `names` [N], and `features` float32 [N, D], each of length √D."""
    encoder_weights: OptionalPath = None
    """File with the weights of the life's encoder, where it does not find them itself."""

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InputError("embed needs inputs: name files, or a folder of images.")

    def run(self, console: Console) -> None:
        """Write the file."""
        import io

        import numpy as np

        from mygo.files import check_target, write_atomically

        check_target(self.out, ".npz")
        life = open_life(self.life)
        if not life.on_features:
            raise InputError("This life sees pixels, not features: embed is for lives behind an encoder.")
        names: list[str] = []
        parts = []
        for some, vectors in seen_through_encoder(life, self.inputs, self.encoder_weights):
            names += some
            parts.append(vectors.numpy())
        content = io.BytesIO()
        np.savez(content, names=np.array(names), features=np.concatenate(parts))
        write_atomically(self.out, content.getvalue(), "what was there is whole; make room or name another file")
        console.print(plain(f"Features of {len(names)} inputs: {self.out}"), soft_wrap=True)
