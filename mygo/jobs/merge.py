"""Lives merged into one, without anybody's data: their memories side by side, and one sleep."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, TypeVar

import torch
from torch import nn

from mygo.baselines.registry import STRATEGIES
from mygo.config.settings import flat
from mygo.cycle import saved_phase, settled, sleep
from mygo.data.tasks import Task
from mygo.errors import InputError
from mygo.evaluate import measure_recall
from mygo.events import EventHandler, silent
from mygo.files import locked
from mygo.jobs.forget import keep_changed
from mygo.jobs.lesson import STRATEGY, local_context
from mygo.jobs.perception import check_encoder, encoder_of
from mygo.learner.learner import Learner
from mygo.learner.records import TaskRecord
from mygo.learner.state import Guest
from mygo.memory.gaussian import GaussianMemory, merge_gaussians
from mygo.memory.quality import Quality
from mygo.networks.neocortex import NeocortexNet
from mygo.networks.weights import fill
from mygo.phase import PhaseContext
from mygo.training.allocation import keep_freed_memory
from mygo.training.process_group import ProcessGroup

L = TypeVar("L", bound=Learner)
Same = Literal["refuse", "together", "apart"]
"""What becomes of a class whose name two lives know."""


@dataclass(frozen=True)
class Adopted:
    """A lesson of a life, or what is taken of it, as the merged life has it."""

    life: Learner
    name: str
    """What the life is called."""
    number: int
    """Of the lesson in its life."""
    record: TaskRecord
    kept: tuple[int, ...]
    """Places of the classes that are taken."""
    joins: list[tuple[int, "Adopted", int]] = field(default_factory=list)
    """Of classes that are merged with one of a later life: the place here, and the lesson and the place there."""

    def join(self, here: int, other: "Adopted", there: int) -> None:
        """Note that the class at the place ``there`` of an ``other`` life's lesson is the one ``here``."""
        self.joins.append((here, other, there))
        images, origins = list(self.record.images), list(self.record.origins)
        theirs = other.life.lessons[other.number]
        images[here] += theirs.images[there]
        origins[here] = f"{origins[here]}, {(theirs.origins or (other.name,) * len(theirs.classes))[there]}"
        self.record.images, self.record.origins = tuple(images), tuple(origins)
        measured = [each if place != here else (0.0, 0.0, 0.0) for place, each in enumerate(self.record.held_out)]
        self.record.held_out = tuple(measured)  # of the class that both are, nothing was held out

    @property
    def is_whole(self) -> bool:
        """Whether all classes of the lesson are taken, and none is merged with another."""
        return len(self.kept) == len(self.life.lessons[self.number].classes) and not self.joins


def merge(
    kind: type[L],
    lives: Sequence[Learner],
    folder: Path | None = None,
    *,
    same: Same = "refuse",
    names: Sequence[str] = (),
    on_event: EventHandler = silent,
    group: ProcessGroup | None = None,
) -> L:
    """Return a life of this ``kind`` that knows what all ``lives`` know, which stay as they are.

    Behind a frozen encoder it is, but for the order of its outputs, to the bit the life that learned all their lessons
    itself. Else it goes on from the network of the first; those of the others teach their own dreams in one sleep.
    With a ``folder`` it is saved there; what was interrupted goes on when it is called again. ``names`` are those of
    the lives, by default of their folders; lessons note from which each class came.

    Args:
        kind: `mygo.Life`, say.
        lives: at least two.
        folder: where the merged life is to be.
        same: what becomes of classes of the same name: ``refuse``; ``together``, one class of both, whose Gaussians are
            merged; or ``apart``, the later one gets the name of its life behind its own.
        names: what the lives are called.
        on_event: is told of progress.
        group: trains together; by default this process alone.

    Raises:
        InputError: the lives do not fit together, or the folder holds something else.
    """
    plan = planned(lives, same, names or names_of(lives))
    context = local_context(group, on_event)
    keep_freed_memory()
    with nullcontext() if folder is None else locked(folder, 0):
        if folder is not None and kind.exists(folder):
            merged = begun(kind, folder, plan)
        else:
            merged = kind(STRATEGY, lives[0].config, lives[0].input_shape, folder)
            put_together(merged, lives, plan, context)
            merged.record.replaced_data_bytes = sum(life.record.replaced_data_bytes for life in lives)
            merged.cycles = sum(life.cycles for life in lives)
            merged.save()
        reconcile(merged, context)
    return merged


def names_of(lives: Sequence[Learner]) -> list[str]:
    """Return what ``lives`` are called: as their folders, as far as these tell them apart."""
    found: list[str] = []
    for number, life in enumerate(lives, 1):
        name = "" if life.folder is None else life.folder.resolve().name
        found.append(name if name and name not in found else f"{name or 'life'} {number}")
    return found


# -- what fits together -----------------------------------------------------------------------------------------------


def check_alike(lives: Sequence[Learner], names: Sequence[str]) -> None:
    """Make sure that ``lives`` see and learn in the same way, and are between two lessons.

    Raises:
        InputError: one is not like the first, is in the middle of a lesson, or has no memories.
    """
    different = {id(life) if life.folder is None else life.folder.resolve() for life in lives}
    if len(different) < max(2, len(lives)):
        raise InputError("Merging takes two lives or more, each of them once: name another.")
    first = lives[0]
    for life, name in zip(lives, names, strict=True):
        if life.current is not None:
            raise InputError(f"{name} is in the middle of the lesson {life.lessons[life.current].name!r}: finish it.")
        if life.strategy != STRATEGY or len(life.memories) < max(1, len(life.lessons)):
            raise InputError(f"{name} has no memories that could be merged: name a life of {STRATEGY}.")
        if seen_through(life) != seen_through(first):
            seen = f"--encoder {life.config.encoder}, and {names[0]} through {first.config.encoder}"
            raise InputError(f"{name} sees through {seen}: only lives that see alike can be merged.")
        if life.encoder_checksum != first.encoder_checksum or life.input_shape != first.input_shape:
            raise InputError(f"{name} sees other features than {names[0]}: its encoder had other weights.")
        settings = dict(flat(asdict(replace(first.config.identity, encoder=""))))
        for setting, value in flat(asdict(replace(life.config.identity, encoder=""))):
            if value != settings[setting]:
                flag = setting.replace("_", "-")
                raise InputError(
                    f"{name} has --{flag} {value}, and {names[0]} {settings[setting]}: only lives with the same "
                    "settings can be merged."
                )


def seen_through(life: Learner) -> str:
    """Return the encoder of ``life``; auto, as earlier versions kept it, saw pixels."""
    return "none" if life.config.encoder == "auto" else life.config.encoder


def planned(lives: Sequence[Learner], same: Same, names: Sequence[str]) -> list[Adopted]:
    """Return what the merged life takes of ``lives``, in its order.

    Raises:
        InputError: as `check_alike`; or two know a class of the same name, which is refused or cannot be merged.
    """
    check_alike(lives, names)
    plan: list[Adopted] = []
    known: dict[str, tuple[Adopted, int]] = {}
    for life, name in zip(lives, names, strict=True):
        before = dict(known)
        for number, lesson in enumerate(life.lessons):
            if same == "refuse" and (shared := sorted(set(lesson.classes) & before.keys())):
                raise InputError(
                    f"{name} and another life both know {', '.join(shared)}: merge them with --same together, if they "
                    "are the same, or --same apart."
                )
            kept, classes = [], []
            for place, one in enumerate(lesson.classes):
                if one not in before or same == "apart":
                    kept.append(place)
                    classes.append(f"{one} ({name})" if one in before else one)
            taken = Adopted(life, name, number, cut(lesson, kept, classes, name, plan), tuple(kept))
            for place, one in enumerate(lesson.classes):
                if place not in kept:
                    before[one][0].join(before[one][1], taken, place)
            for here, one in enumerate(classes):
                if one in known:
                    raise InputError(f"Two lives know {one!r}, also when they are kept apart: rename a folder.")
                known[one] = taken, here
            if kept:
                plan.append(taken)
    if any(taken.joins for taken in plan) and not lives[0].on_features:
        raise InputError("Over pixels a memory is one of several classes: merge these lives with --same apart.")
    return plan


def cut(lesson: TaskRecord, kept: list[int], classes: list[str], life: str, plan: Sequence[Adopted]) -> TaskRecord:
    """Return what the merged life notes of a ``lesson`` of which the ``kept`` classes are taken, with these names."""
    origins = lesson.origins or (life,) * len(lesson.classes)
    taken = {each.record.name for each in plan}
    return replace(
        lesson,
        name=f"{lesson.name} ({life})" if lesson.name in taken else lesson.name,
        classes=tuple(classes),
        images=tuple(lesson.images[place] for place in kept),
        origins=tuple(origins[place] for place in kept),
        held_out=tuple(lesson.held_out[place] for place in kept) if lesson.held_out else (),
        class_il=None,
        task_il=None,
        calibration_error=None,
    )


# -- putting together -------------------------------------------------------------------------------------------------


def put_together(merged: Learner, lives: Sequence[Learner], plan: Sequence[Adopted], context: PhaseContext) -> None:
    """Give ``merged``, which is blank, what is taken of ``lives``; then it is where it can sleep.

    It goes on from the network of the first; what another one knows, its fast learner teaches if it has one.
    """
    first = lives[0]
    see_as(merged, first)
    for name in ("precision", "encoder_checksum", "encoder_precision"):
        setattr(merged, name, getattr(first, name))
    if not merged.order_free:  # else sleep begins with a new one
        merged.neocortex.features = copy.deepcopy(first.neocortex.features)
    for taken in plan:
        adopt(merged, taken)
        merged.neocortex.classifiers.append(head_of(taken, blank=taken.life is not first or merged.order_free))
    if not merged.order_free:
        merged.guests = list(guests_of(lives[1:], plan))
    merged.stream = "; ".join(taken.record.name for taken in plan)
    merged.tasks_learned = len(plan)
    merged.to(context.group.device)
    context = settled(merged, context)
    for index, taken in enumerate(plan):
        if not taken.is_whole:
            merged.current = index
            change_memory(merged, index, taken, context)
    merged.current = len(plan) - 1
    merged.phases_done = list(STRATEGIES[STRATEGY].phases_for(merged).wake)


def adopt(merged: Learner, taken: Adopted) -> None:
    """Give ``merged`` a lesson with its memory, its teacher and what was measured of them."""
    life, number = taken.life, taken.number
    merged.lessons.append(taken.record)
    merged.memories.append(copy.deepcopy(life.memories[number]))
    merged.teachers += copy.deepcopy(life.teachers[number : number + 1])
    for each in fields(Quality):
        getattr(merged.record, each.name).append(copy.deepcopy(getattr(life.record, each.name)[number]))


def head_of(taken: Adopted, *, blank: bool) -> nn.Linear:
    """Return the head of what is taken of a lesson as its life has it, or a ``blank`` one."""
    own = knows_best(taken.life).classifiers[taken.number]
    assert isinstance(own, nn.Linear)
    rows = torch.tensor(taken.kept)
    tensors = {name: tensor[rows].cpu() for name, tensor in own.state_dict().items()}
    zeros = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    return fill(lambda: nn.Linear(own.in_features, len(taken.kept)), zeros if blank else tensors)


def knows_best(life: Learner) -> NeocortexNet:
    """Return the network that knows what ``life`` learned last: its fast learner, before it sleeps."""
    return life.neocortex if life.fast_learner is None else life.fast_learner


def guests_of(lives: Sequence[Learner], plan: Sequence[Adopted]) -> Iterator[Guest]:
    """Yield the networks of ``lives``, with a head for each lesson of the ``plan``, as far as they know any."""
    for life in lives:
        own = tuple(index for index, taken in enumerate(plan) if taken.life is life)
        if own:
            network = copy.deepcopy(knows_best(life))
            network.classifiers = nn.ModuleList(head_of(taken, blank=taken.life is not life) for taken in plan)
            yield Guest(network, own)


def change_memory(merged: Learner, index: int, taken: Adopted, context: PhaseContext) -> None:
    """Drop classes that are not taken of a lesson, merge those that another life knows, and teach its teacher anew."""
    memory = merged.gaussians[index]
    memory.keep_classes(taken.kept)
    seen = [taken.life.lessons[taken.number].images[place] for place in taken.kept]
    for here, other, there in taken.joins:
        theirs = GaussianMemory.of_classes(
            [other.life.gaussians[other.number]], torch.tensor([there] * len(taken.kept))
        )
        more = [0] * len(taken.kept)
        more[here] = other.life.lessons[other.number].images[there]
        memory = merge_gaussians(memory, theirs, seen, more)
        seen[here] += more[here]
    keep_changed(merged, index, memory, taken.kept, context)


def begun(kind: type[L], folder: Path, plan: Sequence[Adopted]) -> L:
    """Return the merged life that was saved in ``folder`` before its sleep was over.

    Raises:
        InputError: there is another one.
    """
    merged = kind.open(folder)
    lessons = [(lesson.name, lesson.classes, lesson.origins) for lesson in merged.lessons]
    if merged.current is None or lessons != [(t.record.name, t.record.classes, t.record.origins) for t in plan]:
        raise InputError(f"{folder} holds a life already: choose another --out.")
    see_as(merged, plan[0].life)
    return merged


def see_as(merged: Learner, first: Learner) -> None:
    """See through the encoder of the ``first`` life, which may have been given its weights; without one it reads none.

    Raises:
        InputError: it has another one by now.
    """
    encoder = encoder_of(first) if first.adapts else first.encoder
    if encoder is not None:
        if merged.encoder_checksum:
            check_encoder(merged, encoder)
        merged.see_through(encoder)


def reconcile(merged: Learner, context: PhaseContext) -> None:
    """Let ``merged`` sleep, and end its cycle."""
    assert merged.current is not None
    merged.to(context.group.device)
    context = settled(merged, context)
    task = Task(merged.current, tuple(range(len(merged.lessons[merged.current].classes))))
    sleep(merged, STRATEGIES[STRATEGY].phases_for(merged), task, context)
    with saved_phase(merged, task, "evaluate", context):
        measure_recall(merged, context.group)
        merged.end_cycle()
