"""The cycle of a life: wake, sleep, evaluate."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from mygo.baselines.registry import Strategy
from mygo.data.examples import LabelledImages
from mygo.data.tasks import Task, TaskStream
from mygo.evaluate import accuracy_rows
from mygo.events import Evaluated, PhaseEnded, Place
from mygo.learner.learner import Learner
from mygo.phase import PhaseContext
from mygo.training.checkpoint import PhaseKeeper
from mygo.training.precision import resolved


def settled(life: Learner, crew: PhaseContext) -> PhaseContext:
    """Return ``crew`` as it computes ``life``: in the precision that it was begun with, or that it now begins with."""
    life.settle(crew.team)
    return replace(crew, precision=resolved(life.precision, crew.team.device), eager=life.config.eager)


def live(life: Learner, strategy: Strategy, stream: TaskStream, crew: PhaseContext) -> None:
    """Learn every task of ``stream`` that ``life`` has not learned yet: wake, sleep, evaluate."""
    life.to(crew.team.device)
    crew = settled(life, crew)
    if crew.team.rank == 0 and not life.saved:
        life.save()
    for task in stream.skip(life.tasks_learned):
        life.begin(task)
        wake(life, strategy, task, stream, crew)
        sleep(life, strategy, task, crew)
        evaluate(life, task, stream.test[: task.index + 1], crew)


def wake(life: Learner, strategy: Strategy, task: Task, stream: TaskStream, crew: PhaseContext) -> None:
    """Run the phases that need the task's real data, which is gone when this returns."""
    if all(name in life.phases_done for name in strategy.wake):
        return
    data = stream.hand_out(task)
    if not life.phases_done:
        life.count(task, data)
    data = life.beside_recalled(task, data)
    for name, phase in strategy.wake.items():
        if name not in life.phases_done:
            with saved_phase(life, task, name, crew) as here:
                phase(life, task, data, here)


def sleep(life: Learner, strategy: Strategy, task: Task, crew: PhaseContext) -> None:
    """Run the phases that need no real data."""
    for name, phase in strategy.sleep.items():
        if name not in life.phases_done:
            with saved_phase(life, task, name, crew) as here:
                phase(life, task, here)


def evaluate(life: Learner, task: Task, tests: Sequence[LabelledImages], crew: PhaseContext) -> None:
    """Measure accuracy on held-out data of all tasks so far, and end the cycle."""
    with saved_phase(life, task, "evaluate", crew):
        perceived = [life.perceived(test) for test in tests]
        task_il, class_il, life.record.confusion = accuracy_rows(life.neocortex, perceived, crew.team)
        life.record.task_il.append(task_il)
        life.record.class_il.append(class_il)
        for lesson, within, among in zip(life.lessons, task_il, class_il, strict=True):
            lesson.task_il, lesson.class_il = within, among
        life.finish_cycle()
    record = life.record
    crew.tell(Evaluated(life.strategy, task.index, record.task_il, record.class_il, record.confusion))


@contextmanager
def saved_phase(life: Learner, task: Task, name: str, crew: PhaseContext) -> Iterator[PhaseContext]:
    """Time a phase, note that it is done and save the life; yields the crew at this place."""
    place = Place(life.strategy, task.index, name)
    keep = life.keep_checkpoint if crew.team.rank == 0 else None
    keeper = PhaseKeeper(name, life.checkpoint, keep, crew.save_every)
    here = replace(crew.at(place), keeper=keeper)
    started = time.perf_counter()
    yield here
    seconds = keeper.seconds_before + time.perf_counter() - started
    life.record.seconds[name] = life.record.seconds.get(name, 0.0) + seconds
    waits = life.record.waits.setdefault(name, {})
    for what, waited in here.waits.items():
        waits[what] = waits.get(what, 0.0) + waited
    if life.current is not None:  # unless this phase ended the cycle
        life.phases_done.append(name)
    if crew.team.rank == 0:
        life.save()
    crew.team.barrier()
    crew.tell(PhaseEnded(place, seconds))
