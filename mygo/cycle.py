"""The cycle of a life: wake, sleep, evaluate."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from mygo.baselines.registry import Phases, Strategy
from mygo.data.examples import Examples
from mygo.data.tasks import Task, TaskStream
from mygo.evaluate import accuracy_rows
from mygo.events import Evaluated, PhaseEnded, Place
from mygo.learner.learner import Learner
from mygo.learner.map import map_of
from mygo.phase import PhaseContext
from mygo.training.checkpoint import PhaseCheckpointer
from mygo.training.precision import resolved
from mygo.unknown.calibration import Reliability


def settled(life: Learner, context: PhaseContext) -> PhaseContext:
    """Return ``context`` with the precision that ``life`` was begun with, or that it now begins with."""
    life.settle(context.group)
    return replace(context, precision=resolved(life.precision, context.group.device), eager=life.config.eager)


def live(life: Learner, strategy: Strategy, stream: TaskStream, context: PhaseContext) -> None:
    """Learn every task of ``stream`` that ``life`` has not learned yet: wake, sleep, evaluate."""
    life.to(context.group.device)
    context = settled(life, context)
    phases = strategy.phases_for(life)
    if context.group.rank == 0 and not life.saved:
        life.save()
    for task in stream.skip(life.tasks_learned):
        life.begin(task)
        wake(life, phases, task, stream, context)
        sleep(life, phases, task, context)
        evaluate(life, task, stream.test[: task.index + 1], context)


def wake(life: Learner, phases: Phases, task: Task, stream: TaskStream, context: PhaseContext) -> None:
    """Run the phases that need the task's real data, which is gone when this returns."""
    if all(name in life.phases_done for name in phases.wake):
        return
    data = stream.take_training_data(task)
    with counted(life, task, data):
        data = data if life.on_features else life.with_replay(task, data)
        for name, phase in phases.wake.items():
            if name not in life.phases_done:
                with saved_phase(life, task, name, context) as here:
                    phase(life, task, data, here)


@contextmanager
def counted(life: Learner, task: Task, data: Examples) -> Iterator[None]:
    """Note that the real ``data`` of ``task`` was handed out, unless no phase is done with it inside the block."""
    if life.phases_done:
        yield
        return
    lesson, record = life.lessons[task.index], life.record
    before = lesson.images, record.replaced_data_bytes
    life.count(task, data)
    try:
        yield
    finally:
        if not life.phases_done:  # it was interrupted, and is given again
            lesson.images, record.replaced_data_bytes = before


def sleep(life: Learner, phases: Phases, task: Task, context: PhaseContext) -> None:
    """Run the phases that need no real data."""
    for name, phase in phases.sleep.items():
        if name not in life.phases_done:
            with saved_phase(life, task, name, context) as here:
                phase(life, task, here)


def evaluate(life: Learner, task: Task, tests: Sequence[Examples], context: PhaseContext) -> None:
    """Measure accuracy on held-out data of all tasks so far, and end the cycle."""
    with saved_phase(life, task, "evaluate", context):
        reliability = Reliability(life.temperature)
        task_il, class_il, life.record.confusion = accuracy_rows(life.neocortex, tests, context.group, reliability)
        life.record.calibration_error.append(reliability.error(context.group))
        life.record.task_il.append(task_il)
        life.record.class_il.append(class_il)
        for lesson, within, among in zip(life.lessons, task_il, class_il, strict=True):
            lesson.task_il, lesson.class_il = within, among
        show_map(life, task, list(enumerate(tests)), context)
        life.finish_cycle()
    record = life.record
    measured = record.task_il, record.class_il, record.confusion, record.calibration_error
    context.emit(Evaluated(life.strategy, task.index, *measured))


def show_map(life: Learner, task: Task, held_out: Sequence[tuple[int, Examples]], context: PhaseContext) -> None:
    """Emit where dreams lie beside real inputs, behind an encoder: now, while there are held-out examples.

    Each of ``held_out`` is the number of a lesson and examples of it.
    """
    if life.gaussians and context.group.rank == 0:
        start = sum(life.neocortex.head_sizes[: task.index])
        context.emit(map_of(life, range(start, start + len(task.classes)), held_out))


@contextmanager
def saved_phase(life: Learner, task: Task, name: str, context: PhaseContext) -> Iterator[PhaseContext]:
    """Time a phase, note that it is done and save the life; yields the context at this place."""
    place = Place(life.strategy, task.index, name)
    keep = life.keep_checkpoint if context.group.rank == 0 else None
    checkpointer = PhaseCheckpointer(name, life.checkpoint, keep, context.save_every)
    here = replace(context.at(place), checkpointer=checkpointer)
    started = time.perf_counter()
    yield here
    seconds = checkpointer.seconds_before + time.perf_counter() - started
    life.record.seconds[name] = life.record.seconds.get(name, 0.0) + seconds
    waits = life.record.waits.setdefault(name, {})
    for what, waited in here.waits.items():
        waits[what] = waits.get(what, 0.0) + waited
    if life.current is not None:  # unless this phase ended the cycle
        life.phases_done.append(name)
    life.checkpoint = None  # on every rank, or the next phase of this name would begin there
    if context.group.rank == 0:
        life.save()
    context.group.barrier()
    context.emit(PhaseEnded(place, seconds))
