"""The flags of all commands: how tyro is asked to read them, and texts that it would take for something else."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

T = TypeVar("T")


def peek_flag(argv: Sequence[str], flag: str) -> str | None:
    """Return what ``argv`` gives for ``--flag``, before it is parsed in earnest: other defaults depend on it."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{flag}", nargs="?")
    value: str | None = getattr(parser.parse_known_args(argv)[0], flag.replace("-", "_"))
    return value


def _optional(kind: Callable[[str], Any], metavar: str) -> PrimitiveConstructorSpec[Any]:
    """Return how a flag is read that may be left out, but whose value is never None: a folder can be called so."""
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: kind(words[0]),
        is_instance=lambda value: value is None or isinstance(value, str | Path),
        str_from_instance=lambda value: [str(value)],
    )


OptionalText = Annotated[str | None, _optional(str, "STR")]
"""A text; the name None, given as a flag, is a name like any other."""
OptionalPath = Annotated[Path | None, _optional(Path, "PATH")]
"""A file or folder, which may be called None."""
AsJson = Annotated[bool, tyro.conf.arg(name="json", help="Print JSON instead of a table.")]


def parse_flags(kind: type[T], argv: Sequence[str], prog: str, default: T | None = None) -> T:
    """Return the ``kind`` of arguments that ``argv`` gives; what it does not say is as in ``default``, if there is one.

    Exits with 0 after ``--help``, and with 2 on flags that do not exist or parse.

    Raises:
        InputError: a value makes no sense.
    """
    markers = (tyro.conf.FlagCreatePairsOff,)
    if default is None:
        return tyro.cli(kind, args=argv, prog=prog, config=markers)
    return tyro.cli(kind, args=argv, prog=prog, config=markers, default=default)


def parse_command(commands: dict[str, Callable[..., T]], argv: Sequence[str], prog: str, description: str) -> T:
    """Return the one of ``commands`` that ``argv`` asks for; exits and raises as `parse_flags`."""
    command: T = tyro.extras.subcommand_cli_from_dict(
        commands, args=argv, prog=prog, description=description, config=(tyro.conf.FlagCreatePairsOff,)
    )
    return command
