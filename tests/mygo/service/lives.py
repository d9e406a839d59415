"""Small lives in service, and disks that fail or machines that die at a step of one's choice."""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mygo.errors import MygoError
from mygo.files import MANIFEST, read_json
from mygo.jobs.lesson import Lesson
from mygo.learner.learner import Learner
from mygo.learner.saved import SavedLife
from mygo.service.config import ServiceConfig
from mygo.service.disk import put_state, state_in
from mygo.service.keeper import Keeper

DIM = 12


def vectors(name: str, count: int = 20, seed: int = 0) -> np.ndarray:
    """Return vectors [count, 12] around a direction of the class's own."""
    centre = np.random.default_rng([*name.encode()]).normal(0, 1, DIM)
    noise = np.random.default_rng([*name.encode(), count, seed]).normal(0, 0.3, (count, DIM))
    return (centre + noise).astype(np.float32)


def picture(colour: tuple[int, int, int] | int, number: int = 0, side: int = 12, kind: str = "PNG") -> bytes:
    """Return the file of a noisy picture of one colour, or of one grey."""
    shape = (side, side) if isinstance(colour, int) else (side, side, 3)
    noisy = np.random.default_rng([number, side]).normal(colour, 15, shape).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(noisy).save(file, kind)
    return file.getvalue()


def learn_waiting(keeper: Keeper, **options: Any) -> None:
    """Let a life learn what is in its inbox."""
    keeper.sleep()
    work = keeper.next_work()
    assert work is not None
    record = keeper.run(work, **options)
    assert (record.state, record.error) == ("done", None)


def state_of(folder: Path) -> dict[str, Any]:
    """Return the state of the life in ``folder``, of which every file must be there, and be what its name says.

    Files are named by their content, so equal states are equal to the bit.
    """

    def refuse(text: str) -> None:
        raise AssertionError(text)  # instead of falling back on the state before

    life = SavedLife.open(folder, refuse)
    return {"files": read_json(folder / MANIFEST)["files"], "classes": [lesson.classes for lesson in life.lessons]}


def becoming(folder: Path) -> Callable[..., None]:
    """Return what learns, or forgets, by taking over the state of the life in ``folder``."""

    def become(work: Lesson | Learner, *_: object) -> None:
        assert work.folder is not None
        put_state(folder, work.folder, state_in(work.folder))

    return become


class DiedError(BaseException):
    """The machine died."""


class Faults:
    """A disk that fails, or a machine that dies, at step number ``at`` of those that change what is on disk."""

    STEPS = ("mkdir", "rename", "replace", "unlink", "rmdir", "link", "fsync")

    def __init__(self, at: int, *, dies: bool) -> None:
        self.at, self.dies, self.count = at, dies, 0
        self._real = {name: getattr(os, name) for name in self.STEPS}

    def _step(self, name: str) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            number, self.count = self.count, self.count + 1
            if number == self.at or (self.dies and number > self.at):
                if name == "fsync":
                    tear(args[0])
                if self.dies:
                    raise DiedError
                raise OSError(28, "No space left on device")
            return None if name == "fsync" else self._real[name](*args, **options)

        return step

    @contextmanager
    def striking(self) -> Iterator[None]:
        """Let them happen inside the block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in self.STEPS:
                patch.setattr(os, name, self._step(name))
            yield

    @property
    def struck(self) -> bool:
        """Whether there were so many steps."""
        return self.count > self.at


def tear(descriptor: int) -> None:
    """Leave of a file only the first half, as where the disk was full."""
    if os.path.isfile(f"/proc/self/fd/{descriptor}"):  # noqa: PTH113
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)


def every_fault(
    start: Path, folder: Path, do: Callable[[Keeper], object], config: ServiceConfig, *, dies: bool
) -> Iterator[Keeper]:
    """Do something to copies of the life in ``start``, and let it die at every step of that, or fail at every second.

    Yields each time who keeps the copy, in ``folder``, afterwards: the same as before or, if it died, another.
    """
    for step in range(0, 500, 1 if dies else 2):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(start, folder, copy_function=os.link)
        faults = Faults(step, dies=dies)
        with Keeper(folder, config) as keeper:
            try:
                with faults.striking():
                    do(keeper)
            except (DiedError, MygoError):
                assert faults.struck
            if not faults.struck:
                return
            if not dies:
                yield keeper
        if dies:
            with Keeper(folder, config) as keeper:
                yield keeper
    raise AssertionError("it never ended")
