"""A class that a life is to forget for good."""

import copy
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import fields

import torch

from mygo.cycle import settled
from mygo.data.examples import Examples
from mygo.data.tasks import Task
from mygo.errors import InputError
from mygo.evaluate import measure_recall
from mygo.events import EventHandler, Place, silent
from mygo.files import locked
from mygo.jobs.lesson import local_context
from mygo.jobs.perception import encoder_of
from mygo.learner.learner import Learner
from mygo.memory.gaussian import GaussianMemory
from mygo.memory.quality import Quality
from mygo.phase import PhaseContext
from mygo.sleep import calibrate, distil
from mygo.training.allocation import keep_freed_memory
from mygo.training.process_group import ProcessGroup
from mygo.wake import teach_from, train_until_good_enough

LEAST_RECALLED = 500
"""Dreams of each class, at the least, that a memory is trained on when another class is taken out of it."""


def forget(life: Learner, class_name: str, on_event: EventHandler = silent, group: ProcessGroup | None = None) -> None:
    """Let ``life`` forget a class for good: its outputs and the memory that dreams it go, and a sleep follows.

    The other classes of its lesson get a memory of their own, trained from random weights on what the old one dreams
    of them. What was measured of the network before is dropped too. All of that happens, and is saved, or nothing.

    Raises:
        InputError: it does not know the class, knows no other, has no memories or is in the middle of a lesson; its
            folder is in use or was changed; or it adapts an encoder that cannot be read.
        MemoryQualityError: the new memory stayed below the floor.
    """
    class_name = life.known_class(class_name)
    if life.current is not None:
        raise InputError(f"This life is in the middle of the lesson {life.lessons[life.current].name!r}: finish it.")
    if len(life.class_names) == 1:
        raise InputError(f"{class_name!r} is all that this life knows: delete its folder instead.")
    if len(life.memories) < len(life.lessons):
        raise InputError(f"This life is one of the baseline {life.strategy}, without memories: begin another instead.")
    context = local_context(group, on_event)
    if life.adapts:
        encoder_of(life)
    keep_freed_memory()
    with nullcontext() if life.folder is None else locked(life.folder, 0):
        life.check_newest()
        changed = copy.deepcopy(life, {id(life.encoder): life.encoder})  # which is frozen
        changed.folder = None  # until all of it has happened
        changed.to(context.group.device)
        take_out(changed, class_name, settled(changed, context))
        changed.folder = life.folder
        changed.save()
        changed.save()  # the state before this one, which is kept beside it, must not remember either
        vars(life).update(vars(changed))


def take_out(life: Learner, class_name: str, context: PhaseContext) -> None:
    """Take a class out of ``life``, which knows others, and sleep."""
    index = next(index for index, lesson in enumerate(life.lessons) if class_name in lesson.classes)
    lesson = life.lessons[index]
    kept = [place for place, name in enumerate(lesson.classes) if name != class_name]
    life.drop_outputs(index, kept)
    life.current = min(index, len(life.lessons) - 1)
    if not life.on_features:  # where memories teach, and no network is asked that knew the class
        life.fast_learner = copy.deepcopy(life.neocortex)
    if kept:
        lesson.classes = tuple(lesson.classes[place] for place in kept)
        lesson.images = tuple(lesson.images[place] for place in kept)
        lesson.origins = tuple(lesson.origins[place] for place in kept) if lesson.origins else ()
        lesson.held_out = tuple(lesson.held_out[place] for place in kept) if lesson.held_out else ()
        keep = keep_gaussians if life.on_features else train_anew
        keep(life, index, kept, context)
    task = Task(life.current, tuple(range(len(life.lessons[life.current].classes))))
    distil(life, context.at(Place(life.strategy, task.index, "consolidate")))
    calibrate(life, task, context)
    measure_recall(life, context.group)
    life.end_cycle()


def train_anew(life: Learner, index: int, kept: Sequence[int], context: PhaseContext) -> None:
    """Train a memory of the ``kept`` classes from random weights on what the old one dreams of them."""
    counts = [0] * life.generators[index].num_classes
    for place, count in zip(kept, life.lessons[index].images, strict=True):
        counts[place] = max(count, LEAST_RECALLED)
    old = life.recall(index, counts, life.key("forget"))
    data = Examples(old.inputs, torch.tensor([kept.index(label) for label in old.labels.tolist()]))
    here = context.at(Place(life.strategy, index, "memorise"))
    life.keep_memory(index, *train_until_good_enough(life, index, data, None, here))


def keep_gaussians(life: Learner, index: int, kept: Sequence[int], context: PhaseContext) -> None:
    """Keep the Gaussians of the ``kept`` classes as they are, and teach another teacher on what these alone dream."""
    memory = life.gaussians[index]
    memory.keep_classes(kept)
    keep_changed(life, index, memory, kept, context)


def keep_changed(life: Learner, index: int, memory: GaussianMemory, kept: Sequence[int], context: PhaseContext) -> None:
    """Keep ``memory`` in place of that of a lesson of which the ``kept`` classes are left, and teach another teacher.

    Where an encoder is adapted, no lesson has one.
    """
    measured = {field.name: getattr(life.record, field.name)[index] for field in fields(Quality)}
    life.keep_memory(index, memory, Quality(**measured).of_classes(kept))
    if not life.adapts:
        teach_on_dreams(life, index, context)


def teach_on_dreams(life: Learner, index: int, context: PhaseContext) -> None:
    """Teach the teacher of a lesson anew, on what the memory of that lesson alone dreams."""
    lesson = life.lessons[index]
    task = Task(index, tuple(range(len(lesson.classes))))
    counts = [max(count, LEAST_RECALLED) for count in lesson.images]
    data = life.recall(index, counts, life.key("forget"), alone=True)
    teach_from(life, task, data, context.at(Place(life.strategy, index, "teach")))
