"""Ranges of settings, beyond which a number is taken for a slip."""

import numbers
from typing import Any

from mygo.errors import InputError

SMALLEST, LARGEST = 8, 32
"""The sides of images that MyGO learns, in pixels."""
LEAST_FOR_DRIFT = 30
"""Inputs that a test for drift needs."""
MOST_STEPS = 10_000_000
"""Steps, images or seconds beyond which a number is taken for a slip."""
MOST_AT_ONCE = 100_000
"""Images in a batch, likewise."""
MOST_CHANNELS = 4096
"""Channels of a layer, or numbers of a noise vector, likewise."""
MOST_PROCESSES = 10_000
"""Processes, trials or attempts, likewise."""
SMALLEST_RATE, LARGEST_RATE = 1e-9, 10.0
"""Learning rates of Adam, whose steps are about as long, likewise."""
LARGEST_WEIGHT = 1e9
"""A weight of a loss, likewise."""
LARGEST_SEED = 2**64 - 1


def check_ranges(config: object, flag: str, **ranges: tuple[float, float]) -> None:
    """Check that settings of ``config`` lie in their (lowest, highest) ``ranges``; None is always allowed.

    Where the lowest is an integer, so must the setting be.

    Raises:
        InputError: one does not; the message names its flag, which begins with ``--flag.`` or, without one, is its own.
    """
    for name, (lowest, highest) in ranges.items():
        value: Any = getattr(config, name)
        if value is None:
            continue
        accepted = isinstance(value, numbers.Integral if isinstance(lowest, int) else numbers.Real)
        if not accepted or isinstance(value, bool) or not lowest <= value <= highest:
            shown = ".".join(filter(None, (flag, name.replace("_", "-"))))
            raise InputError(f"--{shown} must be {_bounds(value, lowest, highest)}, not {value}.")


def _bounds(value: Any, lowest: float, highest: float) -> str:
    if isinstance(value, bool) or not issubclass(type(value), numbers.Real):
        return "a number"
    if isinstance(lowest, int) and not isinstance(value, numbers.Integral):
        return "a whole number"
    if value < lowest:
        return f"at least {lowest}"
    return f"at most {highest}" if value > highest else f"from {lowest} to {highest}"


def check_share(value: float, flag: str) -> None:
    """Check that ``value`` is a share that leaves something on both sides.

    Raises:
        InputError: it is not above 0 and below 1; the message names ``--flag``.
    """
    if not (isinstance(value, numbers.Real) and 0 < value < 1):
        raise InputError(f"--{flag} must be above 0 and below 1, not {value}.")
