"""The command for using a life.

python -m mygo predict --life runs/first photos/
"""

import sys
from collections.abc import Callable

import tyro
from rich.console import Console

from mygo.commands import Command, Dream, Export, Forget, Predict, Report, Show
from mygo.errors import exit_code_of

COMMANDS: dict[str, Callable[..., Command]] = {
    "predict": Predict,
    "show": Show,
    "dream": Dream,
    "export": Export,
    "report": Report,
    "forget": Forget,
}


def parse(argv: list[str]) -> Command:
    """Return the command that ``argv`` asks for. Exits with 2 on commands and flags that do not exist or parse.

    Raises:
        InputError: a value makes no sense.
    """
    command: Command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        args=argv,
        prog="python -m mygo",
        description="Use a life: what it has learned, what it sees in images, what it dreams and is to forget.",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    return command


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code_of(lambda: parse(argv).run(Console()), "mygo")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
