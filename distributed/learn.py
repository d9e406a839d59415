"""The command for a person's own examples: one more lesson for a life, by wake and sleep on Ray.

python distributed/run.py learn --life lives/birds --data photos/birds
"""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from rich.console import Console

from distributed.command import SMALL_SIDE, OnRay, run_job, run_job_on_ray
from mygo.cli.commands.learn import LessonFlags
from mygo.cli.commands.show import NEWEST, Show
from mygo.data.sources import Source
from mygo.errors import InputError, MygoError
from mygo.files import check_writable
from mygo.jobs.lesson import Lesson, remarks_on
from mygo.jobs.side_by_side import Waking, learn_together
from mygo.reporting.console import plain


@dataclass(frozen=True, kw_only=True)
class LearnArguments(OnRay, LessonFlags):
    """Teach a life, which is begun if it is not there, the classes that a person's own examples show."""


def parse(argv: list[str]) -> LearnArguments:
    """Return the arguments; exits and raises as `LessonFlags.parse`."""
    return LearnArguments.parse(argv, "run.py learn")


def learn(argv: list[str], console: Console) -> None:
    """Check the arguments, teach what they name on Ray, and show what was learned.

    Raises:
        InputError: a lesson could not be taught; the others were.
    """
    flags = parse(argv)
    flags.check()
    lessons = flags.waiting(flags.save_every)
    started = time.perf_counter()
    complaints: list[str] = []
    if len(lessons) == 1:
        learn_alone(lessons[0], flags, console)
    else:
        complaints = learn_all(lessons, flags, console)
    console.print(f"Taught in {time.perf_counter() - started:.0f} s.")
    Show(life=lessons[0].folder, newest=NEWEST).run(console)
    if complaints:
        raise InputError(" ".join(complaints))


def learn_alone(lesson: Lesson, flags: LearnArguments, console: Console) -> None:
    """Teach one lesson on Ray."""
    found = lesson.check()
    for text in remarks_on(found):
        console.print(plain(text), style="dim")
    small = False
    if isinstance(found, Source):
        small = max(found.dataset.input_shape[1:]) <= SMALL_SIDE
    run_job_on_ray(lesson, lesson.folder, flags, console, small=small)


def learn_all(lessons: Sequence[Lesson], flags: LearnArguments, console: Console) -> list[str]:
    """Teach several lessons on Ray, side by side, and return a sentence about each that could not be."""
    from distributed.cluster.session import ray_session
    from distributed.side_by_side import wake_on_ray
    from mygo.events import tee
    from mygo.reporting.console import ConsoleLogger
    from mygo.reporting.tensorboard import TensorBoardLogger

    folder = lessons[0].folder
    check_writable(folder, "choose another --life")

    def wake_all(wakings: Sequence[Waking]) -> dict[int, MygoError]:
        with closing(TensorBoardLogger(folder / "tensorboard")) as board, ConsoleLogger(console) as bars:
            return wake_on_ray(wakings, tee(bars, board), max_failures=flags.max_failures)

    def finish(lesson: Lesson) -> None:
        run_job(lesson, folder, flags, console, small=False)

    with ray_session(verbose=flags.verbose):
        return learn_together(lessons, wake_all=wake_all, finish=finish)
