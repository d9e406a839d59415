"""Settings as plain values: configurations read from JSON, and changed by dotted names such as ``sleep.steps``."""

import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from mygo.errors import InputError

Config = TypeVar("Config")

SAVE_EVERY = 60.0
"""Seconds between two points within a phase from which an interrupted life goes on, by default."""


def overlay(config: Config, values: Mapping[str, Any], prefix: str = "") -> Config:
    """Return the dataclass ``config`` with ``values`` (as JSON has them, nested like it) in place of its own.

    Raises:
        InputError: a name that no setting has, or a value that its setting cannot take; the message names it.
    """
    hints = get_type_hints(type(config))
    names = [field.name for field in fields(config)]  # type: ignore[arg-type]
    changes = {}
    for name, value in values.items():
        where = f"{prefix}{name}"
        if name not in names:
            raise InputError(f"There is no setting {where}: choose from {', '.join(prefix + n for n in names)}.")
        current = getattr(config, name)
        if is_dataclass(current):
            if not isinstance(value, Mapping):
                raise InputError(f"The setting {where} must be an object with settings of its own, not {value!r}.")
            changes[name] = overlay(current, value, f"{where}.")
        else:
            changes[name] = converted(value, hints[name], where)
    return replace(config, **changes)  # type: ignore[type-var]


def change(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return ``config`` with ``settings`` of dotted names, such as ``{"sleep.steps": 300}``.

    Raises:
        InputError: as `overlay`.
    """
    values: dict[str, Any] = {}
    for name, value in settings.items():
        *path, last = name.split(".")
        inner = values
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return overlay(config, values)


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested ``settings`` under dotted names, such as those of the flags."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def look_up(config: object, name: str) -> Any:
    """Return the setting of ``config`` that has the dotted ``name``."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def converted(value: Any, hint: Any, where: str) -> Any:
    """Return the JSON ``value`` as the type ``hint`` says.

    Raises:
        InputError: it is of another type.
    """
    choices = get_args(hint)
    if get_origin(hint) in (types.UnionType, Union):
        if value is None and type(None) in choices:
            return None
        return converted(value, next(choice for choice in choices if choice is not type(None)), where)
    if get_origin(hint) is Literal:
        if value in choices:
            return value
        raise InputError(f"The setting {where} must be one of {', '.join(map(str, choices))}, not {value!r}.")
    if get_origin(hint) is tuple:
        if isinstance(value, list | tuple):
            return tuple(converted(item, choices[0], where) for item in value)
        raise InputError(f"The setting {where} must be a list, not {value!r}.")
    accepted = {float: (int, float), Path: (str, Path)}.get(hint, (hint,))
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"The setting {where} must be of type {hint.__name__}, not {value!r}.")
    try:
        return hint(value)
    except OverflowError as error:
        raise InputError(f"The setting {where} is larger than any {hint.__name__}: choose a smaller one.") from error
