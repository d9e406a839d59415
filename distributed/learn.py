"""The command for a person's own examples: one more lesson for a life, by wake and sleep on Ray.

python distributed/run.py learn --life lives/birds --data photos/birds
"""

import time
from dataclasses import dataclass

from rich.console import Console

from distributed.command import SMALL_SIDE, OnRay, run_job_on_ray
from mygo.cli.flags import parse_flags
from mygo.cli.learn import LessonFlags, folder_and_settings
from mygo.cli.show import Show
from mygo.data.sources import Source
from mygo.jobs.lesson import remarks_on
from mygo.reporting.console import plain


@dataclass(frozen=True, kw_only=True)
class LearnArguments(OnRay, LessonFlags):
    """Teach a life, which is begun if it is not there, the classes that a person's own examples show."""


def parse(argv: list[str]) -> LearnArguments:
    """Return the arguments; settings that ``argv`` does not give are those of the life or, of a new one, the defaults.

    Exits with 2 on flags that do not exist or parse.

    Raises:
        InputError: the life or the data cannot be read.
    """
    found = folder_and_settings(argv)
    return parse_flags(
        LearnArguments, argv, "run.py learn", found and LearnArguments(folder=found[0], learner=found[1])
    )


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
    Show(life=lesson.folder).run(console)
