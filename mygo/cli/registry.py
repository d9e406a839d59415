"""The commands of ``python -m mygo``: one file and one entry each.

A command is a dataclass whose fields are its flags and arguments, as tyro reads them. It is imported for every
``--help``, so torch, and what needs it, is imported within `Command.run`.
One whose defaults depend on its flags has a class method ``parse(argv, prog)`` of its own.
"""

from collections.abc import Callable
from typing import Protocol

from rich.console import Console

from mygo.cli.commands.dream import Dream
from mygo.cli.commands.embed import Embed
from mygo.cli.commands.export import Export
from mygo.cli.commands.forget import Forget
from mygo.cli.commands.learn import Learn
from mygo.cli.commands.merge import Merge
from mygo.cli.commands.pack import Pack
from mygo.cli.commands.predict import Predict
from mygo.cli.commands.report import Report
from mygo.cli.commands.show import Show
from mygo.cli.unlabelled.drift import Drift
from mygo.cli.unlabelled.suggest import Suggest


class Command(Protocol):
    """One thing to do."""

    def run(self, console: Console) -> None:
        """Do it, and print what came of it.

        Raises:
            MygoError: it cannot be done.
        """


COMMANDS: dict[str, Callable[..., Command]] = {
    "learn": Learn,
    "predict": Predict,
    "drift": Drift,
    "suggest": Suggest,
    "embed": Embed,
    "show": Show,
    "dream": Dream,
    "export": Export,
    "report": Report,
    "forget": Forget,
    "merge": Merge,
    "pack": Pack,
}
"""By name, in the order in which ``--help`` lists them."""
