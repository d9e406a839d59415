"""The command for a person's own examples: one more lesson for a life, by wake and sleep on Ray.

python distributed/run.py learn --life lives/birds --data photos/birds
"""

import time
from dataclasses import dataclass

from rich.console import Console

from distributed.command import SMALL_SIDE, OnRay, run_job_on_ray
from mygo.cli.commands.learn import LessonFlags
from mygo.cli.commands.show import NEWEST, Show
from mygo.data.sources import Source
from mygo.jobs.lesson import remarks_on
from mygo.reporting.console import plain


@dataclass(frozen=True, kw_only=True)
class LearnArguments(OnRay, LessonFlags):
    """Teach a life, which is begun if it is not there, the classes that a person's own examples show."""


def parse(argv: list[str]) -> LearnArguments:
    """Return the arguments; exits and raises as `LessonFlags.parse`."""
    return LearnArguments.parse(argv, "run.py learn")


def learn(argv: list[str], console: Console) -> None:
    """Check the arguments, teach the lesson on Ray, and show what was learned."""
    flags = parse(argv)
    flags.check()
    lesson = flags.lesson(flags.save_every)
    found = lesson.check()
    for text in remarks_on(found):
        console.print(plain(text), style="dim")
    small = False
    if isinstance(found, Source):
        small = max(found.dataset.input_shape[1:]) <= SMALL_SIDE
    started = time.perf_counter()
    run_job_on_ray(lesson, lesson.folder, flags, console, small=small)
    console.print(f"Taught in {time.perf_counter() - started:.0f} s.")
    Show(life=lesson.folder, newest=NEWEST).run(console)
