"""Which life a command means: its flag, and the folder that is found by it."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from mygo.errors import InputError
from mygo.reporting.terminal import print_notice

if TYPE_CHECKING:
    from mygo.jobs.life import Life

LifeFolder = Annotated[
    Path, tyro.conf.arg(metavar="DIR", help="The folder of a life, or the --out of a run with a life of mygo.")
]


def life_folder(folder: Path) -> Path:
    """Return the folder of the life that is meant by ``folder``: itself or, of a run's ``--out``, its life of mygo.

    Raises:
        InputError: it is neither; the message names the lives that there are to choose from.
    """
    from mygo.jobs.life import Life

    try:
        for meant in (folder, folder / "life" / "mygo"):
            if Life.exists(meant):
                return meant
        lives = sorted(path for pattern in ("*", "life/*") for path in folder.glob(pattern) if Life.exists(path))
        there = folder.exists()
    except OSError as error:
        raise InputError(f"{folder} cannot be read ({error.strerror}): name the folder of a life.") from error
    if lives:
        raise InputError(f"{folder} is not one life, but holds some: choose from {', '.join(map(str, lives))}.")
    found = "holds no life" if there else "is not there"
    raise InputError(f"{folder} {found}: name the folder of a life, or the --out of a run.")


def run_or_life(folder: Path) -> Path:
    """Return ``folder`` if it holds the results of a run, else the `life_folder` that is meant by it."""
    with suppress(OSError):  # it will come up again when a life is looked for
        if (folder / "results.json").exists():
            return folder
    return life_folder(folder)


def open_life(folder: Path) -> "Life":
    """Return the life that `life_folder` finds; where its newest state is damaged, stderr says so.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    from mygo.jobs.life import Life

    return Life.open(life_folder(folder), print_notice)


def open_life_or_pack(path: Path) -> "Life":
    """Return the life in the folder, or in the file that `mygo.learner.pack.pack` wrote, that is meant by ``path``.

    Raises:
        InputError: there is none, or it is damaged or of another version.
    """
    from mygo.jobs.life import Life
    from mygo.learner.pack import unpack

    return unpack(Life, path) if path.is_file() else open_life(path)
