"""The flags of all commands: how tyro is to read them, and texts that it would take for something else."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, is_dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructTypeInfo,
)

from mygo.config.learner import AnyAdapt, LifeConfig

T = TypeVar("T")


def first_look(argv: Sequence[str], *flags: str) -> Mapping[str, str | None]:
    """Return what ``argv`` gives for each of ``flags``, before it is parsed in earnest: defaults depend on them."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in flags:
        parser.add_argument(f"--{flag}", nargs="?")
    return vars(parser.parse_known_args(argv)[0])


def adapted(value: str | None) -> AnyAdapt:
    """Return what ``--adapt`` says; what it cannot say is left for the real parse to refuse."""
    known: tuple[AnyAdapt, ...] = get_args(AnyAdapt)
    return next((each for each in known if each == value), "none")


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
RULES = ConstructorRegistry()
"""How tyro reads what is in the dataclasses of settings, which know nothing of flags."""


@RULES.primitive_rule
def comma_list(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[Any, ...]] | None:
    """Read a tuple of numbers or texts as a comma list."""
    if info.type in (tuple[int, ...], tuple[int, ...] | None):
        item: Callable[[str], Any] = int_or_text
    elif info.type == tuple[str, ...]:
        item = str
    else:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="A,B,…",
        instance_from_str=lambda words: split_list(words[0], item),
        is_instance=lambda value: value is None or isinstance(value, tuple),
        str_from_instance=lambda value: ["None" if value is None else ",".join(map(str, value))],
    )


def split_list(text: str, item: Callable[[str], T]) -> tuple[T, ...]:
    """Return the items of a comma list; spaces around them do not count."""
    return tuple(item(part.strip()) for part in text.split(",")) if text.strip() else ()


def int_or_text(text: str) -> int | str:
    """Return the number that ``text`` is; any other text stays, for the setting to refuse it by its own name."""
    try:
        return int(text)
    except ValueError:
        return text


@RULES.struct_rule
def without_prefix(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Read a dataclass with the settings of a life as any other, but name these without a prefix."""
    kind: type[Any] = info.type
    if not is_dataclass(kind) or get_type_hints(kind, include_extras=True).get("life") is not LifeConfig:
        return None
    life = Annotated[LifeConfig, tyro.conf.arg(name="")]
    flat = make_dataclass(
        kind.__name__,
        [("life", life, field(default_factory=LifeConfig))],
        bases=(kind,),
        namespace={"__doc__": kind.__doc__},
        frozen=True,
        kw_only=True,
    )
    spec = ConstructorRegistry.get_struct_spec(replace(info, type=flat))
    return replace(spec, instantiate=kind) if isinstance(spec, StructConstructorSpec) else None


AsJson = Annotated[bool, tyro.conf.arg(name="json", help="Print JSON instead of a table.")]


def parse_flags(kind: type[T], argv: Sequence[str], prog: str, default: T | None = None) -> T:
    """Return the ``kind`` of arguments that ``argv`` gives; what it does not say is as in ``default``, if there is one.

    Exits with 0 after ``--help``, and with 2 on flags that do not exist or parse.

    Raises:
        InputError: a value makes no sense.
    """
    markers = (tyro.conf.FlagCreatePairsOff,)
    if default is None:
        return tyro.cli(kind, args=argv, prog=prog, config=markers, registry=RULES)
    return tyro.cli(kind, args=argv, prog=prog, config=markers, registry=RULES, default=default)


def parse_command(commands: dict[str, Callable[..., T]], argv: Sequence[str], prog: str, description: str) -> T:
    """Return the one of ``commands`` that ``argv`` names; exits and raises as `parse_flags`."""
    command: T = tyro.extras.subcommand_cli_from_dict(
        commands, args=argv, prog=prog, description=description, config=(tyro.conf.FlagCreatePairsOff,)
    )
    return command
