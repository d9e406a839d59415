"""A life: what one learner knows after the tasks so far, in memory and as a folder."""

import copy
import functools
import itertools
import math
import operator
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from mygo import seeding
from mygo.config.settings import overlay
from mygo.data.datasets import ImageShape, LabelledImages
from mygo.data.spelling import composed
from mygo.data.tasks import Task
from mygo.errors import LARGEST_SEED, InputError, check_ranges
from mygo.learner import storage
from mygo.learner.predict import NOTHING_LEARNED, Images, Predictions, predict
from mygo.memory.gan import Generator, generator_named
from mygo.memory.quality import MemoryConfig, Quality, as_stored, recall, stored_bytes, stored_tensors
from mygo.networks import names
from mygo.networks.neocortex import Encoder, NeocortexNet, backbone_named, behind, split
from mygo.replay.dreams import Dreamer, Night
from mygo.sleep import SleepConfig
from mygo.training.checkpoint import Checkpoint
from mygo.training.precision import AnyPrecision, agreed, resolved
from mygo.training.process_group import Team
from mygo.wake import WakeConfig

if TYPE_CHECKING:
    from mygo.data.readers import Data

T = TypeVar("T")

DreamLevel = Literal["pixels", "features"]

ROWS_OF_A_MEMORY = 100
"""Dreams that a memory makes at least of one block, on average: with fewer, calls take longer than what they do."""
SCHEMA = 3
"""Version of the life folder."""


@dataclass(frozen=True, kw_only=True)
class LifeConfig:
    """Everything that decides what a learner becomes, given its stream of tasks."""

    seed: int = 0
    """Seed of every random draw."""
    backbone: str = "conv"
    """The network of features: mlp (2 × 400 units), conv (small), resnet18, or one of your own: module:attribute, or a
    name that `mygo.use_backbone` made known."""
    dream_level: DreamLevel = "pixels"
    """What memories dream: images (pixels) or, with a convolutional front that is frozen after the first task, its
    feature maps (features); then dreams are not shifted."""
    precision: AnyPrecision = "auto"
    """In which numbers networks multiply while they train and dream: float32, bfloat16 or auto; weights, losses and all
    evaluation are float32. With auto a life begins in bfloat16 where all of its workers have instructions for it, and
    goes on in what it was begun in, on any machine."""
    eager: bool = False
    """On a GPU, launch the operations of training and dreaming one by one, not as recorded CUDA graphs: slower, for
    networks of your own that cannot be recorded."""
    wake: WakeConfig = field(default_factory=WakeConfig)
    """Learning a new task."""
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    """Remembering it."""
    sleep: SleepConfig = field(default_factory=SleepConfig)
    """Reconciling it with what was known."""

    def __post_init__(self) -> None:
        check_ranges(self, "", seed=(0, LARGEST_SEED))
        if self.precision not in get_args(AnyPrecision):
            raise InputError(f"--precision must be auto, float32 or bfloat16, not {self.precision!r}.")
        if self.dream_level not in get_args(DreamLevel):
            raise InputError(f"--dream-level must be pixels or features, not {self.dream_level!r}.")
        if self.dream_level == "features" and self.backbone == "mlp":
            raise InputError("--dream-level features needs a backbone with a convolutional front: conv or resnet18.")

    def check_networks(self) -> None:
        """Make sure that there is what the names of networks stand for; those of one's own are imported.

        Raises:
            InputError: one stands for nothing, or cannot be imported.
        """
        backbone_named(self.backbone)
        generator_named(self.memory.gan.generator)

    @property
    def identity(self) -> "LifeConfig":
        """What a life is: the settings without those that only say how it is computed."""
        return replace(self, precision="auto", eager=False)

    @property
    def smallest_batch(self) -> int:
        """The smallest global batch of any phase; no more workers than that can share it."""
        return min(self.wake.batch_size, self.memory.gan.batch_size, self.sleep.batch_size)

    @property
    def baseline_steps(self) -> int:
        """Steps per task of every baseline: as many as MyGO takes to adapt and to sleep."""
        return self.wake.adapt_steps + self.sleep.steps

    def build_generator(self, num_classes: int, image_shape: tuple[int, int, int]) -> Generator:
        """Return an untrained generator of the size that memories of this life have."""
        return self.memory.gan.build_generator(num_classes, image_shape)

    def memory_bytes_of(self, num_classes: int, image_shape: tuple[int, int, int]) -> int:
        """Return the bytes that the memory of a task of ``num_classes`` takes as it is kept."""
        return stored_bytes(self.build_generator(num_classes, image_shape))


def checked_shape(shape: object) -> ImageShape:
    """Return ``shape`` as that of images (C, H, W) with one or three channels.

    Raises:
        InputError: it is no such shape.
    """
    try:
        channels, height, width = map(operator.index, shape)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        channels = height = width = 0
    if channels not in (1, 3) or height < 1 or width < 1:
        raise InputError(f"A life sees images of a shape (C, H, W) with C 1 or 3, such as (3, 32, 32), not {shape!r}.")
    return channels, height, width


def whole_number(value: object, what: str) -> int:
    """Return ``value``, which messages call ``what``, as an integer.

    Raises:
        InputError: it is of another type.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"The {what} must be an integer, not {value!r}, a {type(value).__name__}.") from None


def counts_of(data: LabelledImages, num_classes: int) -> list[int]:
    """Return how many images of each class ``data`` has."""
    counts: list[int] = data.labels.bincount(minlength=num_classes).tolist()
    return counts


@dataclass
class Lesson:
    """What was taught in one cycle."""

    name: str
    classes: tuple[str, ...]
    """Names of the classes, in the order of the head's outputs."""
    images: tuple[int, ...] = ()
    """How many training images of each class were handed out."""
    learned: str = ""
    """When the last cycle that taught it ended, UTC, as ISO 8601; empty before."""
    class_il: float | None = None
    task_il: float | None = None
    """Accuracy on held-out images when it was measured last: among all classes, and among its own. None: never."""
    recall: float | None = None
    """Share of its dreams that were given their class, among all classes, when it was measured last."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Lesson":
        """Return the lesson that was written as ``values``.

        Raises:
            TypeError, ValueError: they are not those of a lesson.
        """
        lesson = cls(**{**values, "classes": tuple(values["classes"]), "images": tuple(values["images"])})
        measured = [share for share in (lesson.class_il, lesson.task_il, lesson.recall) if share is not None]
        if (
            not all(isinstance(text, str) for text in (lesson.name, lesson.learned, *lesson.classes))
            or not all(isinstance(count, int) for count in lesson.images)
            or not all(isinstance(share, int | float) and 0 <= share <= 1 for share in measured)
        ):
            raise ValueError("one of its lessons holds something else than texts, counts and shares")
        lesson.name, lesson.classes = composed(lesson.name), tuple(map(composed, lesson.classes))
        return lesson


@dataclass
class Record:
    """What was measured in a life so far; accuracies are fractions of held-out test data."""

    task_il: list[list[float]] = field(default_factory=list)
    class_il: list[list[float]] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    """Class-IL at the newest evaluation: images of each true class (row) taken for each class (column), in the order
    in which classes were learned."""
    computed: dict[str, str | int] = field(default_factory=dict)
    """How it is computed since it was interrupted last: precision, eager, device, workers, threads of the first worker
    and torch's version. None of it is what a life is."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds per phase name, over all tasks."""
    waits: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per phase name, the part of its seconds that the first worker waited, by reason (`mygo.training.loop.WAITS`),
    since it was interrupted last; in the rest it worked."""
    label_fidelity: list[float] = field(default_factory=list)
    diversity: list[float] = field(default_factory=list)
    frechet_distance: list[float] = field(default_factory=list)
    nearest_neighbour_ratio: list[float] = field(default_factory=list)
    label_fidelity_per_class: list[list[float]] = field(default_factory=list)
    diversity_per_class: list[list[float]] = field(default_factory=list)
    """Of each memory the measure of each of its classes; empty for one of a life that an earlier version wrote."""
    replaced_data_bytes: int = 0
    """Bytes of the raw training images that were handed out and are gone."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Record":
        """Return the record that was written as ``values``.

        Raises:
            TypeError, ValueError: they are not those of a record.
        """
        record = cls(**values)
        matrices: tuple[Iterable[float], ...] = (*record.task_il, *record.class_il, *record.confusion)
        per_task = (record.label_fidelity, record.diversity, record.frechet_distance, record.nearest_neighbour_ratio)
        per_class = (record.label_fidelity_per_class, record.diversity_per_class)
        for of_memories in per_class:
            of_memories += [[]] * (len(record.label_fidelity) - len(of_memories))
        waits = [waited for phase in record.waits.values() for waited in phase.values()]
        measured = itertools.chain(*matrices, *per_task, *itertools.chain(*per_class))
        numbers = (record.replaced_data_bytes, *record.seconds.values(), *waits, *measured)
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
            raise ValueError("its record holds something that is not a number")
        if not all(isinstance(value, str | int) for value in record.computed.values()):
            raise ValueError("its record does not say how it was computed")
        return record


@dataclass(frozen=True)
class SavedLife:
    """What a folder says of the life in it, without its networks; the fields are those of `Life`.

    To read it takes no code but MyGO's, whatever networks the life is made of.
    """

    folder: Path
    strategy: str
    stream: str
    config: LifeConfig
    precision: AnyPrecision
    image_shape: tuple[int, int, int]
    head_sizes: list[int]
    lessons: list[Lesson]
    record: Record
    tasks_learned: int
    cycles: int
    current: int | None
    phases_done: list[str]
    checkpoint: Checkpoint | None
    """Without its tensors."""
    bytes_kept: tuple[int, ...] = ()
    """To remember each task with; empty unless the files were read."""

    @property
    def memory_bytes(self) -> int:
        """Bytes kept to remember with: generators as stored and real exemplars, the network itself not counted."""
        return sum(self.bytes_kept)

    def memory_bytes_for(self, task: int) -> int:
        """Return the part of `memory_bytes` that is kept for the task with the index ``task``."""
        return sum(self.bytes_kept[task : task + 1])

    @classmethod
    def open(cls, folder: Path | str, tell: Callable[[str], None] = warnings.warn) -> "SavedLife":
        """Read the state that `Life.open` would, and make sure that its files are whole.

        Raises:
            InputError: as `Life.open`.
        """
        folder = Path(folder)

        def read(manifest: Mapping[str, Any]) -> SavedLife:
            files, tensors = manifest["files"], functools.partial(storage.read_tensors, folder)
            for role in ("encoder", "neocortex", "fast_learner", "checkpoint"):
                if files.get(role):
                    tensors(files[role])
            memories = [sum(tensor.nbytes for tensor in tensors(name).values()) for name in files["memories"]]
            exemplars = [tensors(name)["images"].numel() for name in files["exemplars"]]
            kept = tuple(map(sum, itertools.zip_longest(memories, exemplars, fillvalue=0)))
            return replace(cls.of(folder, manifest), bytes_kept=kept)

        return newest(folder, read, tell)

    @classmethod
    def of(cls, folder: Path, manifest: Mapping[str, Any]) -> "SavedLife":
        """Return what ``manifest`` says.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: it does not describe a life.
        """
        channels, height, width = (int(size) for size in manifest["image_shape"])
        try:
            config = overlay(LifeConfig(), manifest["config"])
        except InputError as error:
            raise ValueError(str(error)) from error
        precision = manifest.get("precision", config.precision)
        if precision not in get_args(AnyPrecision):
            raise ValueError(f"it is computed in {precision!r}")
        sizes = [int(size) for size in manifest["head_sizes"]]
        lessons = [Lesson.read(entry) for entry in manifest["lessons"]]
        if [len(lesson.classes) for lesson in lessons] != sizes:
            raise ValueError("its lessons are not those of its heads")
        current = manifest["current"]
        point = manifest.get("checkpoint")
        return cls(
            folder=folder,
            strategy=manifest["strategy"],
            stream=str(manifest["stream"]),
            config=config,
            precision=precision,
            image_shape=(channels, height, width),
            head_sizes=sizes,
            lessons=lessons,
            record=Record.read(manifest["record"]),
            tasks_learned=int(manifest["tasks_learned"]),
            cycles=int(manifest["cycles"]),
            current=None if current is None else range(len(sizes))[int(current)],
            phases_done=[str(phase) for phase in manifest["phases_done"]],
            checkpoint=None
            if point is None
            else Checkpoint(
                str(point["phase"]), int(point["attempt"]), int(point["steps"]), float(point["seconds"]), {}
            ),
        )


def newest(folder: Path, read: Callable[[Mapping[str, Any]], T], tell: Callable[[str], None]) -> T:
    """Return what ``read`` makes of the manifest in ``folder`` or, where that is damaged, of the one before.

    Raises:
        InputError: neither describes a life that is whole; the message names the file.
    """

    def of(name: str) -> T:
        manifest = storage.read_manifest(folder / name, SCHEMA)
        try:
            return read(manifest)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
            raise InputError(f"{folder / name} does not describe a life ({error}).") from error

    try:
        return of(storage.MANIFEST)
    except InputError as error:
        try:
            found = of(storage.PREVIOUS)
        except InputError:
            raise error from None
        tell(f"{error} The state before it is used instead.")
        return found


class Life:
    """One learner: the neocortex, its generative memories and, between waking and sleeping, the fast learner.

    With a ``folder`` every `save` leaves there a whole state that `Life.open` reads back; the state counts from the
    moment its manifest replaces the one before.
    """

    def __init__(
        self,
        strategy: str,
        config: LifeConfig,
        image_shape: tuple[int, int, int],
        folder: Path | None = None,
        stream: str = "",
    ) -> None:
        config.check_networks()
        self.strategy = strategy
        self.stream = stream
        """The stream of tasks that this life belongs to, in words."""
        self.config = config
        self.precision: AnyPrecision = config.precision
        """In which it is computed: once it has begun, the one that its first workers agreed on."""
        self.image_shape = image_shape
        self.folder = folder
        with seeding.seeded(config.seed, "neocortex"):
            self.neocortex = NeocortexNet(image_shape, config.backbone)
        self.encoder: Encoder | None = None
        """The front of the network, once it is frozen; the neocortex then starts from its feature maps."""
        self.fast_learner: NeocortexNet | None = None
        self.memories: list[Generator] = []
        self.exemplars: list[LabelledImages] = []
        """Real data that only the baselines joint and replay keep."""
        self.record = Record()
        self.lessons: list[Lesson] = []
        """What each head was taught, in the order of heads."""
        self.tasks_learned = 0
        self.cycles = 0
        """Cycles that were finished, those that taught a task again or forgot a class among them."""
        self.current: int | None = None
        """The task that the cycle which was begun last is about; None when it was finished."""
        self.phases_done: list[str] = []
        """Phases of the current cycle that were finished."""
        self.checkpoint: Checkpoint | None = None
        """How far the phase after those came before it was interrupted."""
        self._written: dict[str, Any] = {}
        """The manifest that was written or read last."""

    def to(self, device: torch.device) -> None:
        """Move the networks that train to ``device``."""
        for network in (self.neocortex, self.fast_learner, self.encoder):
            if network is not None:
                network.to(device)

    def settle(self, team: Team) -> None:
        """Agree with all of ``team`` on the precision, if this life has none yet, and note how it is computed from now.

        Where the folder says otherwise, of a life that was begun with other settings of that kind, it is put right, so
        that dreamers read the same.
        """
        self.precision = agreed(self.precision, team)
        self.record.computed = {
            "precision": self.precision,
            "eager": self.config.eager,
            "device": team.device.type,
            "workers": team.size,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        now = {**self._written, "config": asdict(self.config), "precision": self.precision}
        if team.rank == 0 and self.saved and now != self._written:
            self._write(now)
        team.barrier()

    def key(self, phase: str) -> seeding.Key:
        """Return what the draws of a ``phase`` of this cycle are named by."""
        return self.config.seed, phase, self.cycles

    def begin(self, task: Task, name: str | None = None) -> None:
        """Begin a cycle about ``task``, or go on with it; a new task gets its head, and ``name`` if it has one."""
        self.current = task.index
        if len(self.neocortex.classifiers) == task.index:
            with seeding.seeded(*self.key("head")):
                self.neocortex.add_task_head(len(task.classes))
            self.lessons.append(Lesson(name or str(task), task.names or tuple(map(str, task.classes))))

    def count(self, task: Task, data: LabelledImages) -> None:
        """Note that the real ``data`` of ``task`` was handed out, and will be gone."""
        lesson = self.lessons[task.index]
        new = counts_of(data, len(lesson.classes))
        lesson.images = tuple(old + more for old, more in zip(lesson.images or [0] * len(new), new, strict=True))
        self.record.replaced_data_bytes += data.nbytes

    def beside_recalled(self, task: Task, data: LabelledImages) -> LabelledImages:
        """Return ``data``, which was counted; of a task that was learned before, beside dreams of what it was then.

        They stand in for the images that are gone, as many of each class.

        Raises:
            InputError: the memory dreams feature maps, which cannot stand beside images.
        """
        if task.index >= self.tasks_learned:
            return data
        if self.encoder is not None:
            raise InputError("This life dreams feature maps, so it cannot be taught a class again: leave out --update.")
        lesson, memory = self.lessons[task.index], self.memories[task.index]
        before = [all_ - new for all_, new in zip(lesson.images, counts_of(data, len(lesson.classes)), strict=True)]
        dreams = recall(memory, before, self.key("beside"))
        return LabelledImages(torch.cat([data.images, dreams.images]), torch.cat([data.labels, dreams.labels]))

    def perceived(self, data: LabelledImages) -> LabelledImages:
        """Return ``data`` as the neocortex takes it: as it is or, behind a frozen front, as feature maps."""
        return data if self.encoder is None else self.encoder.encoded(data)

    def freeze_front(self, data: LabelledImages) -> None:
        """Freeze the front, now that the first task's ``data`` was learned, if memories are to dream feature maps."""
        if self.config.dream_level == "features":
            self.encoder, self.neocortex = split(self.neocortex, data.images)

    def keep_memory(self, task: int, generator: Generator, quality: Quality) -> None:
        """Keep ``generator`` as the memory of ``task``, rounded to the precision in which it is stored."""
        as_stored(generator)
        here = slice(task, task + 1)  # of a new task, the end of each list
        self.memories[here] = [generator.cpu().eval().requires_grad_(False)]
        for name, value in asdict(quality).items():
            getattr(self.record, name)[here] = [list(value) if isinstance(value, tuple) else value]

    def drop_outputs(self, task: int, kept: Sequence[int]) -> None:
        """Drop all outputs of the head of ``task`` but those at ``kept``; without any, also its lesson and its memory.

        What was measured of the network as it was is dropped too.
        """
        self.neocortex.keep_outputs(task, kept)
        if not kept:
            self.tasks_learned -= 1
            for per_task in (self.lessons, self.memories, *(getattr(self.record, one.name) for one in fields(Quality))):
                del per_task[task]
        for lesson in self.lessons:
            lesson.task_il = lesson.class_il = None
        self.record.task_il, self.record.class_il, self.record.confusion = [], [], []

    def finish_cycle(self) -> None:
        """End the current cycle: the fast learner has passed on what it knew."""
        if self.current is None:
            raise RuntimeError("there is no cycle to finish")
        self.lessons[self.current].learned = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.tasks_learned = max(self.tasks_learned, self.current + 1)
        self.end_cycle()

    def end_cycle(self) -> None:
        """End the current cycle, whether it taught anything or not."""
        self.fast_learner = None
        self.cycles += 1
        self.current = None
        self.phases_done = []

    def night(self) -> Night:
        """Return what the sleep of this cycle dreams."""
        if self.current is None:
            raise RuntimeError("there is no cycle to sleep in")
        config = self.config.sleep
        return Night(
            key=self.key("sleep"),
            current=self.current,
            head_sizes=tuple(self.neocortex.head_sizes),
            noise_dim=max(memory.latent_dim for memory in self.memories),
            steps=config.steps,
            batch_size=config.batch_size,
            steps_per_block=max(config.steps_per_block, -(-ROWS_OF_A_MEMORY * len(self.memories) // config.batch_size)),
            max_shift=config.max_shift if self.encoder is None else 0,
            current_share=config.current_share,
        )

    def dreamer(self, device: torch.device) -> Dreamer:
        """Return a dreamer of all memories, taught by this life's networks as they are now.

        Raises:
            RuntimeError: there is no fast learner, so this is not between waking and sleeping.
        """
        if self.fast_learner is None or self.current is None:
            raise RuntimeError("a dreamer needs the fast learner of the current task: adapt first")
        return Dreamer(
            self.memories,
            self.neocortex,
            self.fast_learner,
            device,
            current=self.current,
            with_features=self.config.sleep.feature_weight > 0,
            precision=resolved(self.precision, device),
            eager=self.config.eager,
        )

    @property
    def saved(self) -> bool:
        """Whether a state of this life was saved or read."""
        return bool(self._written)

    @property
    def class_names(self) -> list[str]:
        """Names of all classes, head after head."""
        return [name for lesson in self.lessons for name in lesson.classes]

    @property
    def memory_bytes(self) -> int:
        """Bytes kept to remember with: generators as stored and real exemplars, the network itself not counted."""
        return sum(map(self.memory_bytes_for, range(max(len(self.memories), len(self.exemplars)))))

    def memory_bytes_for(self, task: int) -> int:
        """Return the part of `memory_bytes` that is kept for the task with the index ``task``."""
        generators, exemplars = self.memories[task : task + 1], self.exemplars[task : task + 1]
        return sum(map(stored_bytes, generators)) + sum(kept.nbytes for kept in exemplars)

    # -- its use ------------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        image_shape: tuple[int, int, int],
        folder: str | os.PathLike[str] | None = None,
        config: LifeConfig | None = None,
    ) -> "Life":
        """Return a life that has learned nothing yet and sees images of ``image_shape`` (C, H, W).

        With a ``folder`` it is saved there as it learns.

        Raises:
            InputError: the folder holds a life already, or there are no such images, or none that its backbone can see.
        """
        if folder is not None and cls.exists(Path(folder)):
            raise InputError(f"{folder} holds a life already: open it with Life.open, or choose another folder.")
        shape, config = checked_shape(image_shape), config or LifeConfig()
        try:
            life = cls("mygo", config, shape, None if folder is None else Path(folder))
            with torch.no_grad():
                copy.deepcopy(life.neocortex.features).eval()(torch.zeros(1, *shape))
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"The backbone {config.backbone} cannot see images of the shape {shape}: choose sides that are "
                "multiples of 4, from 8 to 32, or another backbone."
            ) from error
        return life

    def learn(self, data: "Data", name: str | None = None, **options: Any) -> None:
        """Learn the classes of ``data``, as `mygo.jobs.lesson.learn` does."""
        from mygo.jobs.lesson import learn  # which lets lives live

        learn(self, data, name, **options)

    def forget(self, class_name: str, **options: Any) -> None:
        """Forget a class for good, as `mygo.jobs.lesson.forget` does."""
        from mygo.jobs.lesson import forget

        forget(self, class_name, **options)

    def predict(self, images: Images, lesson: str | None = None) -> Predictions:
        """Return how probable each class is for ``images``, as `mygo.learner.predict.predict` does."""
        return predict(self, images, lesson)

    def known_class(self, name: str) -> str:
        """Return the class that is meant by ``name``, however its letters are composed.

        Raises:
            InputError: there is none.
        """
        if not self.class_names:
            raise InputError(NOTHING_LEARNED)
        found = composed(name) if isinstance(name, str) else name
        if found not in self.class_names:
            raise InputError(f"This life knows no class {name!r}: choose from {', '.join(self.class_names)}.")
        return found

    def dream(self, class_name: str, count: int, seed: int = 0) -> Tensor:
        """Return ``count`` dreams of a class, uint8 [count, C, H, W]; the same for the same ``seed``.

        Raises:
            InputError: this class was not learned, or nothing of it is remembered as pictures, or the count or the seed
                is no such number.
        """
        class_name = self.known_class(class_name)
        count, seed = whole_number(count, "count of dreams"), whole_number(seed, "seed of dreams")
        if count < 1:
            raise InputError(f"The count of dreams must be at least 1, not {count}.")
        task = next(task for task, lesson in enumerate(self.lessons) if class_name in lesson.classes)
        if task >= len(self.memories) or self.encoder is not None:
            what = "feature maps, which are no pictures" if self.encoder is not None else "nothing of this class"
            raise InputError(f"This life dreams {what}.")
        counts = [count if name == class_name else 0 for name in self.lessons[task].classes]
        return recall(self.memories[task], counts, (seed, "look", class_name)).images

    # -- the folder ---------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the whole state to the folder, if there is one; either all of it counts or nothing."""
        self.checkpoint = None
        if self.folder is None:
            return
        write = functools.partial(storage.write_tensors, self.folder)
        manifest = {
            "schema": SCHEMA,
            "strategy": self.strategy,
            "stream": self.stream,
            "config": asdict(self.config),
            "precision": self.precision,
            "image_shape": list(self.image_shape),
            "head_sizes": self.neocortex.head_sizes,
            "tasks_learned": self.tasks_learned,
            "cycles": self.cycles,
            "current": self.current,
            "phases_done": self.phases_done,
            "lessons": [asdict(lesson) for lesson in self.lessons],
            "record": asdict(self.record),
            "files": {
                "encoder": write("encoder", self.encoder.state_dict()) if self.encoder else None,
                "neocortex": write("neocortex", self.neocortex.state_dict()),
                "fast_learner": write("fast-learner", self.fast_learner.state_dict()) if self.fast_learner else None,
                "memories": [
                    write(f"memory-{task}", stored_tensors(memory)) for task, memory in enumerate(self.memories)
                ],
                "exemplars": [
                    write(f"exemplars-{task}", {"images": kept.images, "labels": kept.labels})
                    for task, kept in enumerate(self.exemplars)
                ],
            },
        }
        self._write(manifest)

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Add ``checkpoint`` to what the last `save` wrote, in place of the one before, if there is a folder."""
        if self.folder is None:
            return
        file = storage.write_tensors(self.folder, "checkpoint", checkpoint.tensors)
        entry = {name: getattr(checkpoint, name) for name in ("phase", "attempt", "steps", "seconds")}
        files = {**self._written["files"], "checkpoint": file}
        self._write({**self._written, "files": files, "checkpoint": entry})

    def _write(self, manifest: dict[str, Any]) -> None:
        if self.folder is not None:
            storage.write_manifest(self.folder, manifest, self._written or None)
            self._written = manifest

    def check_newest(self) -> None:
        """Make sure that the folder still holds the state that this life was read from, or that it wrote last.

        Raises:
            InputError: another process has changed it.
        """
        if self.folder is None or not self.exists(self.folder):
            return
        newest = storage.read_manifest(self.folder / storage.MANIFEST, SCHEMA)
        if storage.checksum(newest) != storage.checksum(self._written):
            raise InputError(f"{self.folder} was changed since this life was opened: open it again.")

    @staticmethod
    def exists(folder: str | os.PathLike[str]) -> bool:
        """Tell whether ``folder`` holds a saved life."""
        return any((Path(folder) / name).exists() for name in (storage.MANIFEST, storage.PREVIOUS))

    @classmethod
    def open(cls, folder: str | os.PathLike[str], tell: Callable[[str], None] = warnings.warn) -> "Life":
        """Read the state that was saved last in ``folder`` or, where that is damaged, the one before; ``tell`` is told.

        Raises:
            InputError: there is none, or all are damaged or of another version; the message names the file.
        """
        return newest(Path(folder), functools.partial(cls._from_manifest, Path(folder)), tell)

    @classmethod
    def _from_manifest(cls, folder: Path, manifest: Mapping[str, Any]) -> "Life":
        saved = SavedLife.of(folder, manifest)
        config, sizes, files = saved.config, saved.head_sizes, manifest["files"]
        names.refuse_code_in(folder, config.backbone, config.memory.gan.generator)
        life = cls(saved.strategy, config, saved.image_shape, folder, saved.stream)
        life.precision = saved.precision
        if files["encoder"]:
            tensors = storage.read_tensors(folder, files["encoder"])
            life.encoder = storage.fill(lambda: Encoder(saved.image_shape, config.backbone), tensors)
        life.neocortex = life._read_network(files["neocortex"], sizes)
        if files["fast_learner"]:
            life.fast_learner = life._read_network(files["fast_learner"], sizes)
        for name, size in zip(files["memories"], sizes, strict=False):
            build = functools.partial(config.build_generator, size, life.neocortex.image_shape)
            memory = storage.fill(build, storage.read_tensors(folder, name), torch.half)
            life.memories.append(memory.eval().requires_grad_(False))
        for name in files["exemplars"]:
            kept = storage.read_tensors(folder, name)
            life.exemplars.append(LabelledImages(kept["images"], kept["labels"]))
        for field_name in ("record", "lessons", "tasks_learned", "cycles", "current", "phases_done"):
            setattr(life, field_name, getattr(saved, field_name))
        if saved.checkpoint is not None:
            life.checkpoint = replace(saved.checkpoint, tensors=storage.read_tensors(folder, files["checkpoint"]))
        life._written = copy.deepcopy(dict(manifest))  # the record goes on changing
        return life

    def _read_network(self, file: str, head_sizes: list[int]) -> NeocortexNet:
        if self.folder is None:
            raise ValueError("a life without a folder has nothing to read")

        def build() -> NeocortexNet:
            if self.encoder is None:
                net = NeocortexNet(self.image_shape, self.config.backbone)
            else:
                net = behind(self.encoder, self.image_shape, self.config.backbone)
            for size in head_sizes:
                net.add_task_head(size)
            return net

        return storage.fill(build, storage.read_tensors(self.folder, file))
