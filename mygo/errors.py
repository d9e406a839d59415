"""What MyGO raises on purpose. Each message is one sentence that says what to do; the command line prints just that."""

import math
import sys
from collections.abc import Callable


class MygoError(Exception):
    """Something that a person must know about; `exit_code` is what a command ends with."""

    exit_code = 1


class InputError(MygoError):
    """A flag, a file or a folder that cannot be used as it is."""

    exit_code = 2


class DataGoneError(MygoError):
    """A task's data was asked for again after its cycle ended."""


class MemoryQualityError(MygoError):
    """A generator stayed below the floor of label fidelity or diversity however often it was trained."""


class NonFiniteError(MygoError):
    """A loss became infinite or not a number."""


class StorageError(MygoError):
    """A file could not be written; what was saved before is whole."""


class StoppedError(MygoError):
    """A person asked for the end, and what was done is saved."""

    exit_code = 130


def exit_code_of(command: Callable[[], None], name: str, how_to_go_on: str = "") -> int:
    """Run ``command`` and return its exit code; what a person must know of a failure goes to stderr.

    ``how_to_go_on`` says what to do after it was interrupted, if there is more to do than to run it again.
    """
    try:
        command()
    except MygoError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{name}: {'; '.join(filter(None, ('interrupted', how_to_go_on)))}.", file=sys.stderr)
        return 130
    return 0


def check_ranges(config: object, flag: str, **ranges: tuple[float, float]) -> None:
    """Check that settings of ``config`` lie in their (lowest, highest) ``ranges``; None is always allowed.

    Raises:
        InputError: one does not; the message names its flag, which begins with ``--flag.``.
    """
    for name, (lowest, highest) in ranges.items():
        value = getattr(config, name)
        if value is not None and not (lowest <= value <= highest and value < math.inf):
            bounds = f"at least {lowest}" if math.isinf(highest) else f"from {lowest} to {highest}"
            raise InputError(f"--{flag}.{name.replace('_', '-')} must be {bounds}, not {value}.")
