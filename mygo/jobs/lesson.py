"""One more lesson for a life, on a person's own images, and a class that it is to forget."""

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mygo.baselines.registry import STRATEGIES
from mygo.config.learner import LifeConfig
from mygo.config.ranges import MOST_STEPS, check_ranges, check_share
from mygo.config.settings import SAVE_EVERY
from mygo.cycle import saved_phase, settled, show_map, sleep, wake
from mygo.data.examples import Examples, LabelledDataset
from mygo.data.sources import Source, read_source
from mygo.data.spelling import composed
from mygo.data.survey import Survey, survey
from mygo.data.tasks import Task, TaskStream
from mygo.errors import InputError
from mygo.evaluate import accuracy_on, measure_recall
from mygo.events import EventHandler, Notice, silent
from mygo.files import check_writable, locked
from mygo.jobs.experiment import LOCK_TIMEOUT_SECONDS
from mygo.jobs.perception import (
    check_length,
    encoder_for,
    encoder_of,
    input_shape_of,
    listed,
    open_encoder,
    perceived,
    seeing_through,
    sees_pixels,
    settings_for,
)
from mygo.learner.learner import Learner
from mygo.learner.saved import SavedLife
from mygo.learner.state import check_networks
from mygo.memory.cache import MemoryCache
from mygo.phase import PhaseContext
from mygo.replay.source import LocalReplay, ReplaySource
from mygo.training.allocation import keep_freed_memory
from mygo.training.process_group import ProcessGroup, SingleProcess
from mygo.unknown.calibration import Reliability
from mygo.unlabelled.drift import note_held_out

if TYPE_CHECKING:
    from mygo.data.readers.find import Data

STRATEGY = "mygo"
"""The strategy of lives that are taught."""


@dataclass(frozen=True)
class Lesson:
    """A lesson for the life in ``folder``, which is begun if it is not there.

    It runs here or, the same object, on Ray, and goes on where an interrupted one stopped.
    """

    folder: Path
    data: str | os.PathLike[str] | None = None
    """Where the images are (see `mygo.data.sources.read_source`). None only to finish a lesson whose images are gone,
    which must be awake no more."""
    name: str | None = None
    """What the lesson is called; by default as its data."""
    update: bool = False
    """Teach classes again that the life knows, beside dreams of what they were."""
    held_out: float = 0.1
    """Share of each class's images to measure accuracy on, where the source has no test images of its own."""
    config: LifeConfig | None = None
    """Settings from this lesson on; by default those that the life has."""
    encoder_weights: Path | None = None
    """File with the weights of the encoder, where it does not find them itself."""
    log_every: int = 20
    save_every: float = SAVE_EVERY
    memory_cache: Path | None = None

    def __post_init__(self) -> None:
        check_share(self.held_out, "held-out")
        check_ranges(self, "", save_every=(0.0, MOST_STEPS), log_every=(1, MOST_STEPS))

    @property
    def out(self) -> Path:
        """The folder that is written to."""
        return self.folder

    @property
    def learner(self) -> LifeConfig:
        """The settings that are lived with."""
        return self.config or (SavedLife.open(self.folder).config if Learner.exists(self.folder) else LifeConfig())

    @property
    def rest(self) -> "Lesson":
        """What is left of this lesson once the life is awake no more: its sleep, for which there need be no data."""
        return replace(self, data=None, name=None, config=None)

    @property
    def how_to_go_on(self) -> str:
        """What a person does to go on when it was interrupted."""
        return "run the same command again to go on"

    def check(self) -> Source | Survey | None:
        """Make sure that this lesson can be taught, and return what its data is; writes nothing.

        Raises:
            InputError: as `check_data`; or the folder cannot be written to, or is in use.
        """
        check_apart(self.folder, self.data)
        check_writable(self.folder, "choose another --life")
        if self.folder.exists():
            with locked(self.folder, LOCK_TIMEOUT_SECONDS):  # a lesson that was killed may have a worker left
                pass
        return self.check_data()

    def check_data(self) -> Source | Survey | None:
        """Make sure that the data is there and fits the life, and return what it is.

        Raises:
            InputError: the data, the life or its settings do not fit; or the life learns something else at the moment.
        """
        life, found = self.open()
        lessons_of(life, found, self.name, update=self.update)
        return found

    def run(
        self,
        group: ProcessGroup | None = None,
        dreams: ReplaySource | None = None,
        on_event: EventHandler = silent,
        stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Teach the lesson and return what the life says of it: its lessons by name, and its memories' bytes.

        Where ``stop`` returns True, the training step is finished and saved, and the run ends.

        Raises:
            InputError: as `check`.
            StoppedError: it was stopped.
        """
        context = PhaseContext(
            group or SingleProcess(),
            on_event,
            self.log_every,
            dreams=dreams or LocalReplay(),
            cache=None if self.memory_cache is None else MemoryCache(self.memory_cache),
            save_every=self.save_every,
            stop=stop,
        )
        keep_freed_memory()
        if context.group.rank > 0:
            return self._teach(context)
        with locked(self.folder, LOCK_TIMEOUT_SECONDS):
            return self._teach(context)

    def _teach(self, context: PhaseContext) -> dict[str, Any]:
        life, found = self.open(lambda text: context.emit(Notice(text)))
        teach_all(life, found, lessons_of(life, found, self.name, update=self.update), context)
        return {
            "lessons": {lesson.name: asdict(lesson) for lesson in life.lessons},
            "memory_bytes": life.memory_bytes,
            "replaced_data_bytes": life.record.replaced_data_bytes,
        }

    def open(self, on_notice: Callable[[str], None] = lambda text: None) -> tuple[Learner, Source | Survey | None]:
        """Return the life, a new one if there is none, and the data, read as it sees it or, behind an encoder, found.

        Raises:
            InputError: as `mygo.data.sources.read_source`, or as `check_apart`; or the life cannot be taught, or not
                with these settings.
        """
        check_apart(self.folder, self.data)
        if Learner.exists(self.folder):
            life = Learner.open(self.folder, on_notice)
            found = None if self.data is None else read_for(life, self.data, self.held_out, update=self.update)
            self.fit(life, found)
            return life, found
        if self.data is None:
            raise InputError(f"{self.folder} holds no life yet: pass --data for it to learn from.")
        if self.update:
            raise InputError(f"{self.folder} holds no life that could be taught again: leave out --update.")
        surveyed = survey(self.data, held_out=self.held_out)
        if sees_pixels(encoder_for(self.wanted_encoder, surveyed), surveyed.kind):
            source = read_source(self.data, None, held_out=self.held_out)
            return self.begin_life(source), source
        return self.begin_life(surveyed), surveyed

    @property
    def wanted_encoder(self) -> str:
        """What the settings say about the encoder of a new life."""
        return "auto" if self.config is None else self.config.encoder

    def begin_life(self, found: Source | Survey) -> Learner:
        """Return a new life that sees what was ``found``.

        Raises:
            InputError: it cannot be seen with these settings.
        """
        if isinstance(found, Source):
            open_encoder("none", self.encoder_weights)
            config = seeing_through(self.config or LifeConfig(), "none")
            return Learner(STRATEGY, config, found.dataset.input_shape, self.folder)
        name = encoder_for(self.wanted_encoder, found)
        config = self.config or settings_for(name, found.kind)
        config = seeing_through(config, name, lambda: found.largest_side)
        encoder = open_encoder(config.encoder, self.encoder_weights)
        life = Learner(STRATEGY, config, input_shape_of(found, encoder), self.folder)
        if encoder is not None:
            life.see_through(encoder)
        return life

    def fit(self, life: Learner, found: Source | Survey | None) -> None:
        """Give ``life`` the settings of this lesson, once it is known that it can be taught what was ``found``.

        Raises:
            InputError: it cannot be, or not with these settings.
        """
        if found is not None or life.adapts:
            encoder = encoder_of(life, self.encoder_weights)
            if isinstance(found, Survey):
                check_length(found, input_shape_of(found, encoder), life)
        if life.strategy != STRATEGY:
            raise InputError(f"{self.folder} is a life of the baseline {life.strategy}, which cannot be taught.")
        if self.config is not None:
            born, adapt = life.config.encoder, life.config.adapt
            if self.config.adapt not in ("auto", adapt):
                raise InputError(f"This life has --adapt {adapt} for good: leave the flag out, or begin a new one.")
            wanted = born if self.config.encoder == "auto" else self.config.encoder
            config = seeing_through(replace(self.config, adapt=adapt), wanted)
            if config.encoder != born:
                raise InputError(f"This life sees through --encoder {born} for good: leave the flag out.")
            other_precision = config.precision not in ("auto", life.precision)
            check_networks(config)
            if life.current is not None and (config.identity != life.config.identity or other_precision):
                raise InputError(
                    f"{self.folder} is in the middle of a lesson with other settings: give the same flags."
                )
            if what := born_with(life.config) - born_with(config):
                setting, value = min(what)
                raise InputError(f"This life has --{setting} {value} for good: leave the flag out, or begin a new one.")
            life.config = config
            if other_precision:
                life.precision = config.precision


def learn(
    life: Learner,
    data: "Data",
    name: str | None = None,
    *,
    update: bool = False,
    held_out: float = 0.1,
    group: ProcessGroup | None = None,
    on_event: EventHandler = silent,
) -> None:
    """Teach ``life`` a lesson in this process; the arguments are those of `Lesson` and of `read_source`.

    Raises:
        InputError: they do not fit the life, or it is in use.
    """
    context = local_context(group, on_event)
    check_apart(life.folder, data)
    found = read_for(life, data, held_out, update=update)
    if isinstance(found, Survey):
        encoder_of(life)
    for text in remarks_on(found):
        on_event(Notice(text))
    keep_freed_memory()
    with nullcontext() if life.folder is None else locked(life.folder, 0):
        life.check_newest()
        teach_all(life, found, lessons_of(life, found, name, update=update), context)


def local_context(group: ProcessGroup | None, on_event: EventHandler) -> PhaseContext:
    """Return the context in which this process works on a life."""
    return PhaseContext(group or SingleProcess(), on_event, save_every=SAVE_EVERY)


def check_apart(folder: Path | None, data: object) -> None:
    """Make sure that the ``folder`` of a life and the one that ``data`` names, if it does, are not in one another.

    Otherwise the files of the life would lie among the images, or the images among files that the life deletes.

    Raises:
        InputError: they are, or are the same.
    """
    if folder is None or not isinstance(data, str | os.PathLike) or not os.path.isdir(data):  # noqa: PTH112
        return
    life, images = folder.resolve(), Path(os.fsdecode(data)).resolve()
    if life == images or life in images.parents or images in life.parents:
        raise InputError(f"The life {folder} is in, around or at its images in {images}: keep them in folders apart.")


def read_for(life: Learner, data: "Data", held_out: float, *, update: bool) -> Source | Survey:
    """Return ``data``, read as ``life`` sees it or, behind an encoder, as it was found.

    Raises:
        InputError: as `mygo.data.sources.read_source`; unless it is an ``update``, a class is known.
    """
    check_share(held_out, "held-out")
    finished = life.lessons[: life.tasks_learned]
    known = () if update else [name for lesson in finished for name in lesson.classes]
    if life.on_features:
        return survey(data, known=known, held_out=held_out)
    return read_source(data, life.image_shape, known=known, held_out=held_out)


@dataclass(frozen=True)
class Plan:
    """A lesson that is to be taught: the number of its task, its classes, and what it is called."""

    index: int
    classes: tuple[str, ...]
    name: str


def lessons_of(life: Learner, found: Source | Survey | None, name: str | None, *, update: bool) -> list[Plan]:
    """Return what ``life`` is to be taught with what was ``found``.

    Raises:
        InputError: the classes are not those of a lesson that can begin or go on.
    """
    begun = None if life.current is None else life.lessons[life.current]
    if found is None:
        if life.current is None or begun is None:
            raise InputError("This life has no lesson to finish: pass --data for it to learn from.")
        if any(phase not in life.phases_done for phase in STRATEGIES[STRATEGY].phases_for(life).wake):
            raise InputError(f"The lesson {begun.name!r} still needs its data: pass --data as before.")
        return [Plan(life.current, begun.classes, begun.name)]
    class_names = found.class_names
    if update:
        if unknown := sorted(set(class_names) - set(life.class_names)):
            raise InputError(f"This life does not know class {unknown[0]}: leave out --update to teach it.")
        plan = [
            Plan(index, lesson.classes, lesson.name)
            for index, lesson in enumerate(life.lessons)
            if not set(lesson.classes).isdisjoint(class_names)
        ]
    else:
        if not isinstance(name, str | None):
            raise InputError(f"The name of a lesson must be text, not {name!r}.")
        plan = [Plan(life.tasks_learned, class_names, composed(name or found.name))]
    if life.current is not None and begun is not None:
        plan = [entry for entry in plan if entry.index >= life.current]  # those before were taught again already
        again = life.current < life.tasks_learned
        if plan[:1] != [Plan(life.current, begun.classes, begun.name)] or update != again:
            raise InputError(
                f"This life is in the middle of the lesson {begun.name!r} ({', '.join(begun.classes)}): finish it "
                "first, with the command that began it."
            )
    elif not update and any(lesson.name == plan[0].name for lesson in life.lessons):
        raise InputError(f"This life had a lesson {plan[0].name!r} already: give another --name.")
    return plan


def teach_all(
    life: Learner,
    found: Source | Survey | None,
    plan: Sequence[Plan],
    context: PhaseContext,
    one: Callable[[Learner, TaskStream, str, PhaseContext], None] | None = None,
) -> None:
    """Teach ``life`` all lessons of a ``plan`` with what was ``found``; what could not be read is said.

    ``one`` is how it is taught one of them, by default as `teach` does.

    Raises:
        InputError, StorageError, StoppedError: as `mygo.jobs.perception.perceived`.
    """
    one = one or teach
    if found is None:
        for each in plan:
            one(life, stream_of(nothing(life), each.index, each.classes), each.name, context)
        return
    with perceived(found, life, life.encoder, context) as source:
        if isinstance(found, Survey):  # what was read before was also reported before
            for text in (*source.notes, *listed(source.unreadable)):
                context.emit(Notice(text))
        for each in plan:
            one(life, stream_of(source.dataset, each.index, each.classes), each.name, context)


def remarks_on(found: Source | Survey | None) -> list[str]:
    """Return in sentences what a person should know of what was read; of what is yet to be encoded, nothing."""
    return [*found.notes, *listed(found.unreadable)] if isinstance(found, Source) else []


def born_with(config: LifeConfig) -> set[tuple[str, object]]:
    """Return the settings that stay as they are for all of a life, since its networks are made after them."""
    gan = config.memory.gan
    return {
        ("backbone", config.backbone),
        ("memory.gaussian.rank", config.memory.gaussian.rank),
        ("memory.gaussian.bits", config.memory.gaussian.bits),
        ("memory.gan.generator", gan.generator),
        ("memory.gan.latent-dim", gan.latent_dim),
        ("memory.gan.generator-width", gan.generator_width),
    }


def nothing(life: Learner) -> LabelledDataset:
    """Return a data set without examples, of those that ``life`` sees."""
    kind = torch.float32 if life.on_features else torch.uint8
    empty = Examples(torch.empty(0, *life.input_shape, dtype=kind), torch.empty(0, dtype=torch.int64))
    return LabelledDataset("nothing", empty, empty, ())


def stream_of(dataset: LabelledDataset, index: int, classes: Sequence[str]) -> TaskStream:
    """Return a stream of the one task number ``index``, with those images of ``dataset`` that show its ``classes``."""
    return TaskStream(only(dataset, classes), [Task(index, tuple(range(len(classes))))])


def only(dataset: LabelledDataset, classes: Sequence[str]) -> LabelledDataset:
    """Return what ``dataset`` holds of ``classes``, in their order."""
    places = places_among(dataset.class_names, classes)

    def own(part: Examples) -> Examples:
        moved = Examples(part.inputs, places[part.labels])
        return moved.take((moved.labels >= 0).nonzero().squeeze(1))

    return replace(dataset, train=own(dataset.train), test=own(dataset.test), class_names=tuple(classes))


def places_among(class_names: Sequence[str], classes: Sequence[str]) -> torch.Tensor:
    """Return int64 [len(class_names)]: where each is among ``classes``, or -1."""
    position = {name: place for place, name in enumerate(classes)}
    return torch.tensor([position.get(name, -1) for name in class_names], dtype=torch.int64)


def teach(life: Learner, stream: TaskStream, name: str, context: PhaseContext) -> None:
    """Let ``life`` learn the one task of ``stream``, or learn it again: wake, sleep, examine."""
    task, context = begin(life, stream, name, context)
    phases = STRATEGIES[STRATEGY].phases_for(life)
    wake(life, phases, task, stream, context)
    sleep(life, phases, task, context)
    examine(life, task, stream.test[0], context)


def begin(life: Learner, stream: TaskStream, name: str, context: PhaseContext) -> tuple[Task, PhaseContext]:
    """Begin the one task of ``stream``, or go on with it; returns it, and the ``context`` that it is learned in."""
    (task,) = stream.tasks
    life.to(context.group.device)
    context = settled(life, context)
    if task.index == len(life.lessons):
        life.stream = "; ".join(part for part in (life.stream, name) if part)
    begun = life.current is not None
    life.begin(task, name)
    if context.group.rank == 0 and not begun:
        life.save()  # so that another lesson is not taken for this one, once it was interrupted
    return task, context


def examine(life: Learner, task: Task, held_out: Examples, context: PhaseContext) -> None:
    """Measure how well ``task`` was learned, and all tasks are recalled, and end the cycle.

    Of ``task`` there are images ``held_out``; of the others there is nothing but dreams.
    """
    with saved_phase(life, task, "evaluate", context):
        measure_recall(life, context.group)
        if len(held_out):
            examine_lesson(life, task.index, held_out, context.group)
        show_map(life, task, [(task.index, held_out)], context)
        life.finish_cycle()


def examine_lesson(life: Learner, index: int, held_out: Examples, group: ProcessGroup) -> None:
    """Note how well ``life`` does on what was ``held_out`` of the lesson with this ``index``."""
    lesson, reliability = life.lessons[index], Reliability(life.temperature)
    lesson.task_il, lesson.class_il = accuracy_on(life.neocortex, index, held_out, group, reliability)
    lesson.calibration_error = reliability.error(group)
    note_held_out(life, index, held_out)
