"""The command for using a life.

python -m mygo predict --life runs/first photos/
"""

import sys
from collections.abc import Sequence

from mygo.cli.flags import parse_command
from mygo.cli.registry import COMMANDS, Command
from mygo.reporting.console import new_console
from mygo.reporting.terminal import exit_code_of


def parse(argv: list[str]) -> Command:
    """Return the command that ``argv`` names. Exits with 2 on commands and flags that do not exist or parse.

    Raises:
        InputError: a value makes no sense.
    """
    if argv and (parse_own := getattr(COMMANDS.get(argv[0]), "parse", None)):  # its defaults depend on its flags
        command: Command = parse_own(argv[1:], f"python -m mygo {argv[0]}")
        return command
    description = "Use a life: what it has learned, what it sees in images, what it dreams and is to forget."
    return parse_command(COMMANDS, argv, "python -m mygo", description)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv``, by default this process's, names, and return its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    return exit_code_of(lambda: parse(words).run(new_console()), "mygo")


if __name__ == "__main__":
    sys.exit(main())
