"""Rates of false alarms: which share of known inputs may be called unknown."""

from mygo.errors import InputError

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""False-alarm rates for which a threshold is kept; between them it is interpolated."""


def check_rate(rate: float, name: str = "The share of known inputs that may be called unknown") -> None:
    """Make sure that there are thresholds for a false-alarm ``rate``, which messages call ``name``.

    Raises:
        InputError: there are none.
    """
    if not RATES[0] <= rate <= RATES[-1]:
        raise InputError(f"{name} must be from {RATES[0]} to {RATES[-1]}, not {rate}.")
