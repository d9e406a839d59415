"""The command for a person's own examples: one more lesson for a life, by wake and sleep on Ray.

python distributed/run.py learn --life lives/birds --data photos/birds
"""

import time
from dataclasses import dataclass

from rich.console import Console

from distributed.command import SMALL_SIDE, OnRay, run_job_on_ray, run_together_on_ray
from mygo.cli.commands.learn import LessonFlags
from mygo.cli.commands.show import NEWEST, Show
from mygo.data.sources import Source
from mygo.errors import InputError
from mygo.files import check_writable
from mygo.jobs.lesson import Lesson, remarks_on
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
        check_writable(lessons[0].folder, "choose another --life")
        complaints = run_together_on_ray(lessons, lessons[0].folder, flags, console)
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
