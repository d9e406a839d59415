"""Lessons that wait, learned side by side: each wakes in a copy of the life, and then the life sleeps once.

So wakes, which take most of the time over pixels, can be anywhere and at any time. What one lesson learns awake it does
not learn from another that waits with it; all else is as if they came one after another.
"""

import functools
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from mygo.baselines.registry import STRATEGIES
from mygo.cycle import wake
from mygo.data.examples import Examples
from mygo.data.tasks import TaskStream
from mygo.errors import InputError, MemoryQualityError, MygoError, NonFiniteError, StoppedError
from mygo.events import Dreamt, Event, EventHandler, Notice, PhaseEnded, Progress, silent
from mygo.files import locked, read_json, write_json
from mygo.jobs.experiment import LOCK_TIMEOUT_SECONDS
from mygo.jobs.lesson import STRATEGY, Lesson, Plan, begin, examine_lesson, lessons_of, local_context, teach_all
from mygo.jobs.merge import Adopted, put_together
from mygo.jobs.perception import encoder_of
from mygo.learner.learner import Learner
from mygo.learner.records import Record, TaskRecord
from mygo.learner.saved import SavedLife
from mygo.memory.cache import MemoryCache
from mygo.networks.weights import read_tensors, write_tensors
from mygo.phase import PhaseContext
from mygo.training.process_group import ProcessGroup, SingleProcess

FOLDER = "side-by-side"
"""Where in the folder of a life its copies wake."""
LEARNED = "learned.json"
"""Where among them it is written which lessons are brought together, and why others are not, until all have slept."""
HELD_OUT = "held-out"
"""What the examples are written as that a lesson is examined on once the life has slept."""


@dataclass(frozen=True)
class Waking:
    """The wake of one ``lesson``, in a copy of its life, by one process."""

    lesson: Lesson
    number: int
    """Of those that wake together."""

    @property
    def folder(self) -> Path:
        """The folder of the copy."""
        return self.lesson.folder / FOLDER / str(self.number)

    @property
    def name(self) -> str:
        """What the lesson is called in messages."""
        return self.lesson.name or str(self.lesson.data)

    def begun(self) -> TaskRecord | None:
        """Return the lesson that the copy is in the middle of; None if there is no copy, or it learns none."""
        if not Learner.exists(self.folder):
            return None
        copy = SavedLife.open(self.folder)
        return None if copy.current is None else copy.lessons[copy.current]

    def run(
        self,
        on_event: EventHandler = silent,
        stop: Callable[[], bool] = lambda: False,
        group: ProcessGroup | None = None,
    ) -> None:
        """Wake, or go on where an earlier run of the same ended; by default on this process's CPU.

        Raises:
            InputError: as `Lesson.check`.
            StoppedError: it was stopped, and what was done is saved.
        """
        lesson, cache = replace(self.lesson, folder=self.folder), self.lesson.memory_cache
        context = PhaseContext(
            group or SingleProcess(),
            self.apart(on_event),
            lesson.log_every,
            cache=None if cache is None else MemoryCache(cache),
            save_every=lesson.save_every,
            stop=stop,
        )
        with locked(self.folder, LOCK_TIMEOUT_SECONDS):
            if not Learner.exists(self.folder) and Learner.exists(self.lesson.folder):
                Learner.open(self.lesson.folder).save_as(self.folder)
            life, found = lesson.open(lambda text: on_event(Notice(text)))
            plan = lessons_of(life, found, lesson.name, update=False)
            if not (life.current is not None and is_awake(life)):
                teach_all(life, found, plan, context, wake_alone)

    def apart(self, on_event: EventHandler) -> EventHandler:
        """Return a handler that passes events on as those of a life of their own, so that wakes are shown apart."""

        def handle(event: Event) -> None:
            if isinstance(event, Progress | PhaseEnded | Dreamt):
                place = replace(event.place, strategy=f"{event.place.strategy}-wake-{self.number + 1}")
                event = replace(event, place=place)
            on_event(event)

        return handle


def is_awake(life: Learner) -> bool:
    """Return whether all phases of the current lesson of ``life`` that need its data are done."""
    return all(phase in life.phases_done for phase in STRATEGIES[STRATEGY].phases_for(life).wake)


def wake_alone(life: Learner, stream: TaskStream, name: str, context: PhaseContext) -> None:
    """Let ``life`` learn the one task of ``stream`` as far as it needs its data, and keep its held-out examples."""
    assert life.folder is not None
    task, context = begin(life, stream, name, context)
    held_out = stream.test[0]
    (life.folder / HELD_OUT).mkdir(exist_ok=True)
    write_tensors(life.folder / HELD_OUT, HELD_OUT, {"inputs": held_out.inputs, "labels": held_out.labels})
    wake(life, STRATEGIES[STRATEGY].phases_for(life), task, stream, context)


def check_together(lessons: Sequence[Lesson]) -> tuple[list[Waking], list[str]]:
    """Return which of ``lessons`` can be learned side by side, and a sentence about each of the others.

    Raises:
        InputError: none can, or two have the same name or show the same class, or an earlier run that was interrupted
            learned others.
    """
    able, complaints, names, classes = [], [], dict[str, str](), dict[str, str]()
    first: Learner | None = None
    for number, lesson in enumerate(lessons):
        if first is not None:  # which has decided what a new life is like
            lesson = replace(lesson, config=first.config)
        waking = Waking(lesson, number)
        try:
            life, found = lesson.open()
            (plan,) = lessons_of(life, found, lesson.name, update=False)
            if first is not None and life.input_shape != first.input_shape:
                seen = " × ".join(map(str, life.input_shape)), " × ".join(map(str, first.input_shape))
                raise InputError(f"a life sees it as {seen[0]} values, and the lessons before it as {seen[1]}.")
        except InputError as error:
            complaints.append(f"{waking.name} is left out: {error}")
            continue
        for what, known in ((plan.name, names), *((one, classes) for one in plan.classes)):
            if what in known:
                raise InputError(f"{known[what]} and {waking.name} both have {what!r}: rename one of them.")
            known[what] = waking.name
        able.append(waking)
        check_same(waking, plan)
        if first is None and not Learner.exists(lesson.folder):
            first = life
    if not able:
        raise InputError(complaints[0] if complaints else "There is no lesson to learn: pass --data.")
    return able, complaints


def check_same(waking: Waking, plan: Plan) -> None:
    """Make sure that the copy of ``waking``, if an earlier run left one, learns what is to be learned now.

    Raises:
        InputError: it does not.
    """
    begun = waking.begun()
    if begun is not None and (begun.name, begun.classes) != (plan.name, plan.classes):
        raise InputError(
            f"An earlier run was interrupted while it learned {begun.name!r} ({', '.join(begun.classes)}) side by "
            f"side with others: run that command again to go on, or delete {waking.folder.parent} to give that up."
        )


def bring_together(wakings: Sequence[Waking], context: PhaseContext) -> None:
    """Bring what was learned in copies of a life back into it, so that it can sleep: all of it is saved, or nothing."""
    folder = wakings[0].lesson.folder
    copies = [Learner.open(waking.folder) for waking in wakings]
    lives = [Learner.open(folder), *copies] if Learner.exists(folder) else copies
    base = lives[0]
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    plan = []
    for life in lives:
        for number in [life.current] if life.current is not None else range(len(life.lessons)):
            lesson = replace(life.lessons[number], learned=now) if life in copies else life.lessons[number]
            plan.append(Adopted(life, "", number, lesson, tuple(range(len(lesson.classes)))))
    if base.adapts:
        encoder_of(base, wakings[0].lesson.encoder_weights)
    merged = Learner(STRATEGY, base.config, base.input_shape)
    put_together(merged, lives, plan, context)
    began = Record() if base in copies else base.record
    new = sum(copy.record.replaced_data_bytes - began.replaced_data_bytes for copy in copies)
    merged.record.replaced_data_bytes = began.replaced_data_bytes + new
    merged.record.seconds, merged.record.waits = dict(began.seconds), dict(began.waits)
    for copy in copies:
        for phase, seconds in copy.record.seconds.items():
            awake = seconds - began.seconds.get(phase, 0.0)
            merged.record.seconds[phase] = merged.record.seconds.get(phase, 0.0) + awake
    merged.cycles = base.cycles
    if base in copies:
        merged.save_as(folder)
    else:
        merged.replace(base)


def learn_together(
    lessons: Sequence[Lesson],
    on_event: EventHandler = silent,
    wake_all: Callable[[Sequence[Waking]], dict[int, MygoError]] | None = None,
    finish: Callable[[Lesson], object] | None = None,
    *,
    all_or_none: bool = False,
) -> list[str]:
    """Learn ``lessons`` of one life side by side, and return a sentence about each that could not be.

    ``wake_all`` runs the wakes, and returns what went wrong by their numbers; ``finish`` runs the sleep. By default
    both are done here, one wake after another. What was interrupted goes on when it is called again. With
    ``all_or_none`` there is no sleep unless all of them woke; those that did need not do so again.

    Raises:
        InputError: none of them can be learned, or they cannot be learned together.
        MygoError: none of them woke or, with ``all_or_none``, one did not.
        StoppedError: it was stopped, and what was done is saved.
    """
    folder = lessons[0].folder
    learned = folder / FOLDER / LEARNED
    names = [Path(waking.name).name for waking in map(Waking, lessons, range(len(lessons)))]
    able = brought_together(lessons)
    if able:
        complaints = complaints_in(learned, names)
    else:
        wake_all = wake_all or functools.partial(wake_in_turn, on_event=on_event)
        able, complaints = awoken(lessons, wake_all, all_or_none=all_or_none)
        write_json(learned, {"names": names, "complaints": complaints})
        with locked(folder, LOCK_TIMEOUT_SECONDS):
            bring_together(able, local_context(None, on_event))
    if SavedLife.open(folder).current is not None:
        rest = able[0].lesson.rest
        if finish is None:
            rest.run(on_event=on_event)
        else:
            finish(rest)
    with locked(folder, LOCK_TIMEOUT_SECONDS):
        examine_all(folder, able)
        tidy_up(folder)
    return complaints


def complaints_in(learned: Path, names: Sequence[str]) -> list[str]:
    """Return a sentence about each lesson that was left out of those that an earlier run brought together.

    Raises:
        InputError: these were not the lessons called ``names``.
    """
    if not learned.exists():  # of a run that was killed before it said so
        return []
    found = read_json(learned)
    if found["names"] != names:
        raise InputError(
            f"An earlier run was interrupted after it learned {', '.join(found['names'])} side by side: run that "
            "command again first."
        )
    complaints: list[str] = found["complaints"]
    return complaints


def tidy_up(folder: Path) -> None:
    """Delete the copies of the life in ``folder``: all at once, as far as the next run can see."""
    done = folder / f"{FOLDER}-done"
    shutil.rmtree(done, ignore_errors=True)  # of a run that was killed here
    (folder / FOLDER).rename(done)
    shutil.rmtree(done, ignore_errors=True)


def awoken(
    lessons: Sequence[Lesson], wake_all: Callable[[Sequence[Waking]], dict[int, MygoError]], *, all_or_none: bool
) -> tuple[list[Waking], list[str]]:
    """Return those of ``lessons`` that woke, and a sentence about each of the others.

    Raises:
        InputError: none can wake, or they cannot be learned together.
        MygoError: none did or, with ``all_or_none``, one did not.
    """
    able, complaints = check_together(lessons)
    if complaints and all_or_none:
        raise InputError(complaints[0])
    failures = wake_all(able)
    for waking in able:
        if waking.number in failures:
            failure = failures[waking.number]
            if isinstance(failure, MemoryQualityError | NonFiniteError):  # which going on would meet again
                shutil.rmtree(waking.folder, ignore_errors=True)
            complaints.append(f"{waking.name} is left out: {failure}")
    if failures and (all_or_none or len(failures) == len(able)):
        error = MygoError(complaints[0])
        error.exit_code = next(iter(failures.values())).exit_code
        raise error
    return [waking for waking in able if waking.number not in failures], complaints


def brought_together(lessons: Sequence[Lesson]) -> list[Waking]:
    """Return those of ``lessons`` that an earlier run woke and brought into their life, which sleeps or has slept."""
    folder = lessons[0].folder
    if not Learner.exists(folder):
        return []
    known = {(lesson.name, lesson.classes) for lesson in SavedLife.open(folder).lessons}
    found = []
    for waking in map(Waking, lessons, range(len(lessons))):
        begun = waking.begun()
        if begun is not None and (begun.name, begun.classes) in known:
            found.append(waking)
    return found


def wake_in_turn(wakings: Sequence[Waking], on_event: EventHandler) -> dict[int, MygoError]:
    """Run ``wakings`` in this process, one after another, and return by their numbers what went wrong."""
    ended = {waking.number: failure_of(waking, on_event) for waking in wakings}
    return {number: failure for number, failure in ended.items() if failure is not None}


def failure_of(
    waking: Waking,
    on_event: EventHandler = silent,
    stop: Callable[[], bool] = lambda: False,
    group: ProcessGroup | None = None,
) -> MygoError | None:
    """Run ``waking`` as `Waking.run`, and return what went wrong that a person must know.

    Raises:
        StoppedError: it was stopped, and what was done is saved.
    """
    try:
        waking.run(on_event, stop, group)
    except StoppedError:
        raise
    except MygoError as error:
        return error
    return None


def examine_all(folder: Path, wakings: Sequence[Waking]) -> None:
    """Measure how well the life in ``folder`` knows what was held out of the lessons that it learned together."""
    life = Learner.open(folder)
    for waking in wakings:
        begun = waking.begun()
        if begun is None:
            continue
        (file,) = (waking.folder / HELD_OUT).glob("*.safetensors")
        held_out = read_tensors(file.parent, file.name)
        index = next(index for index, lesson in enumerate(life.lessons) if lesson.name == begun.name)
        if len(held_out["labels"]):
            examples = Examples(held_out["inputs"], held_out["labels"])
            examine_lesson(life, index, examples, SingleProcess())
    life.save()
