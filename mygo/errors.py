"""What MyGO raises on purpose. Each message is one sentence that says what to do; the command line prints just that."""


class MygoError(Exception):
    """Something that a person must know about; `exit_code` is what a command ends with."""

    exit_code = 1


class InputError(MygoError):
    """A flag, a file or a folder that cannot be used as it is."""

    exit_code = 2


class NotThereError(InputError):
    """Nothing has this name, number or identifier."""


class ConflictError(InputError):
    """It cannot be done in the state in which the life is now."""


class FullError(InputError):
    """The inbox of a life in service holds as much as it may."""


class DataGoneError(MygoError):
    """A task's data was requested again after its cycle ended."""


class MemoryQualityError(MygoError):
    """A generator stayed below the floor of label fidelity or diversity however often it was trained."""


class NonFiniteError(MygoError):
    """A loss became infinite or not a number."""


class StorageError(MygoError):
    """A file could not be written; what was saved before is whole."""


class StoppedError(MygoError):
    """A person requested the end, and what was done is saved."""

    exit_code = 130
