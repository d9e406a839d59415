"""``forget``: a class goes for good."""

from dataclasses import dataclass
from typing import Annotated

import tyro
from rich.console import Console

from mygo.cli.commands.show import NEWEST, Show
from mygo.cli.flags import OptionalPath
from mygo.cli.folders import LifeFolder, life_folder
from mygo.reporting.terminal import print_notice


@dataclass(frozen=True, kw_only=True)
class Forget:
    """Forget a class for good: its outputs and the memory that dreams it go, and a sleep follows.

    Over pixels, the classes that were learned together with it get a new memory, which takes as long as learning one.
    Behind an encoder each class has a memory of its own, and only the sleep takes time.
    """

    life: LifeFolder
    class_name: Annotated[str, tyro.conf.arg(name="class", metavar="NAME")]
    """What to forget."""
    encoder_weights: OptionalPath = None
    """File with the weights of the encoder that the life adapts, where it does not find them itself."""

    def run(self, console: Console) -> None:
        """Let the life forget, and show what it knows then."""
        from mygo.files import check_writable
        from mygo.jobs.forget import forget
        from mygo.jobs.life import Life
        from mygo.jobs.perception import encoder_of
        from mygo.reporting.console import ConsoleLogger

        folder = life_folder(self.life)
        check_writable(folder, "allow writing to it")
        life = Life.open(folder, print_notice)
        if life.adapts:
            encoder_of(life, self.encoder_weights)
        with ConsoleLogger(console) as bars:
            forget(life, self.class_name, bars)
        Show(life=folder, newest=NEWEST).run(console)
