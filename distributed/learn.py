"""The command for a person's own images: one more lesson for a life, by wake and sleep on Ray.

python distributed/run.py learn --life lives/birds --data photos/birds
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from distributed.command import SMALL_SIDE, OnRay, peek_flag, run_job_on_ray
from mygo.cli.flags import OptionalText, parse_flags
from mygo.cli.show import Show
from mygo.config.learner import LifeConfig
from mygo.config.ranges import check_share
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.learner.saved import SavedLife
from mygo.reporting.console import plain

SHOWN = 10
"""Unreadable images that are listed."""


@dataclass(frozen=True, kw_only=True)
class LearnArguments(OnRay):
    """Teach a life, which is begun if it is not there, the classes that a person's own images show."""

    folder: Annotated[Path, tyro.conf.arg(name="life")]
    """Folder of the life, visible to all nodes."""
    data: OptionalText = None
    """The images: a folder with one sub-folder per class, or with train and test that are such folders; an .npz file
    (images, labels, class_names); an .npy file with FILE-labels.npy beside it; or module:function for a torch Dataset.
    Leave it out to finish a lesson that is asleep already and whose images are gone."""
    name: OptionalText = None
    """What the lesson is called; by default as its data."""
    update: bool = False
    """Teach classes again that the life knows; without it, a known class is refused."""
    held_out: float = 0.1
    """Share of each class's images to measure accuracy on, where the data has no test images of its own."""
    learner: Annotated[LifeConfig, tyro.conf.arg(name="")] = field(default_factory=LifeConfig)


def parse(argv: list[str]) -> LearnArguments:
    """Return the arguments; settings that ``argv`` does not give are those of the life or, of a new one, the defaults.

    Exits with 2 on flags that do not exist or parse.

    Raises:
        InputError: the life cannot be read.
    """
    folder = peek_flag(argv, "life")
    old = Path(folder) if folder is not None and Life.exists(Path(folder)) else None
    learner = LifeConfig() if old is None else SavedLife.open(old, lambda text: None).config
    # Without a folder, tyro will say that it is missing.
    defaults = None if folder is None else LearnArguments(folder=Path(folder), learner=learner)
    return parse_flags(LearnArguments, argv, "run.py learn", defaults)


def learn(argv: list[str], console: Console) -> None:
    """Check the arguments, teach the lesson on Ray, and show what was learned."""
    flags = parse(argv)
    flags.check()
    check_share(flags.held_out, "held-out")  # before the data is looked for
    # Not Path.exists, which raises an error on a name that is too long.
    is_there = flags.data is not None and os.path.exists(flags.data)  # noqa: PTH110
    data = str(Path(flags.data).resolve()) if flags.data is not None and is_there else flags.data
    lesson = Lesson(
        flags.folder.resolve(),
        data,
        flags.name,
        update=flags.update,
        held_out=flags.held_out,
        config=flags.learner,
        save_every=flags.save_every,
    )
    source = lesson.check()
    if source is not None:
        for text in (*source.notes, *(f"Not read: {entry}" for entry in source.unreadable[:SHOWN])):
            console.print(plain(text), style="dim")
        if len(source.unreadable) > SHOWN:
            console.print(f"{len(source.unreadable) - SHOWN} more could not be read.", style="dim")
    shape = SavedLife.open(lesson.folder).input_shape if source is None else source.dataset.input_shape
    started = time.perf_counter()
    run_job_on_ray(lesson, lesson.folder, flags, console, small=max(shape[1:]) <= SMALL_SIDE)
    console.print(f"Taught in {time.perf_counter() - started:.0f} s.")
    Show(life=lesson.folder).run(console)
