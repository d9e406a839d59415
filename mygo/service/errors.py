"""What a life in service refuses, by the reason; any other `mygo.errors.InputError` is about what was sent."""

from mygo.errors import InputError


class NotThereError(InputError):
    """Nothing has this name, number or identifier."""


class ConflictError(InputError):
    """It cannot be done in the state in which the life is now."""


class FullError(InputError):
    """The inbox holds as much as it may."""
