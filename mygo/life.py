"""A life: what one learner knows after the tasks so far, in memory and as a folder."""

import copy
import functools
import itertools
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from mygo import seeding, storage
from mygo.checkpoint import Checkpoint
from mygo.data import LabelledImages, to_pixels
from mygo.dreams import Dreamer, Night
from mygo.errors import InputError
from mygo.gan import Generator
from mygo.memory import MemoryConfig, Quality, as_stored, stored_bytes, stored_tensors
from mygo.neocortex import BackboneName, Encoder, NeocortexNet, behind, split
from mygo.predict import NOTHING_LEARNED, Predictions, predict
from mygo.settings import overlay
from mygo.sleep import SleepConfig
from mygo.stream import Task
from mygo.wake import WakeConfig

DreamLevel = Literal["pixels", "features"]

SCHEMA = 3
"""Version of the life folder."""


@dataclass(frozen=True, kw_only=True)
class LifeConfig:
    """Everything that decides what a learner becomes, given its stream of tasks."""

    seed: int = 0
    """Seed of every random draw."""
    backbone: BackboneName = "conv"
    """The network of features: mlp (2 × 400 units), conv (small) or resnet18."""
    dream_level: DreamLevel = "pixels"
    """What memories dream: images (pixels) or, with a convolutional front that is frozen after the first task, its
    feature maps (features); then dreams are not shifted."""
    wake: WakeConfig = field(default_factory=WakeConfig)
    """Learning a new task."""
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    """Remembering it."""
    sleep: SleepConfig = field(default_factory=SleepConfig)
    """Reconciling it with what was known."""

    def __post_init__(self) -> None:
        if self.dream_level not in get_args(DreamLevel):
            raise InputError(f"--dream-level must be pixels or features, not {self.dream_level!r}.")
        if self.dream_level == "features" and self.backbone == "mlp":
            raise InputError("--dream-level features needs a backbone with a convolutional front: conv or resnet18.")

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
        gan = self.memory.gan
        return Generator(num_classes, image_shape, latent_dim=gan.latent_dim, width=gan.generator_width)

    def memory_bytes_of(self, num_classes: int, image_shape: tuple[int, int, int]) -> int:
        """Return the bytes that the memory of a task of ``num_classes`` takes as it is kept."""
        return stored_bytes(self.build_generator(num_classes, image_shape))


@dataclass
class Lesson:
    """What was taught in one cycle."""

    name: str
    classes: tuple[str, ...]
    """Names of the classes, in the order of the head's outputs."""
    images: int = 0
    """Number of training images that were handed out."""
    learned: str = ""
    """When the cycle ended, UTC, as ISO 8601; empty before."""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Lesson":
        """Return the lesson that was written as ``values``.

        Raises:
            TypeError, ValueError: they are not those of a lesson.
        """
        lesson = cls(**{**values, "classes": tuple(values["classes"])})
        texts = (lesson.name, lesson.learned, *lesson.classes)
        if not all(isinstance(text, str) for text in texts) or not isinstance(lesson.images, int):
            raise ValueError("one of its lessons holds something else than text and numbers")
        return lesson


@dataclass
class Record:
    """What was measured in a life so far; accuracies are fractions of held-out test data."""

    task_il: list[list[float]] = field(default_factory=list)
    class_il: list[list[float]] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)
    """Class-IL at the newest evaluation: images of each true class (row) taken for each class (column), in the order
    in which classes were learned."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds per phase name, over all tasks."""
    label_fidelity: list[float] = field(default_factory=list)
    diversity: list[float] = field(default_factory=list)
    frechet_distance: list[float] = field(default_factory=list)
    nearest_neighbour_ratio: list[float] = field(default_factory=list)
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
        numbers = (record.replaced_data_bytes, *record.seconds.values(), *itertools.chain(*matrices, *per_task))
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
            raise ValueError("its record holds something that is not a number")
        return record


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
        self.strategy = strategy
        self.stream = stream
        """The stream of tasks that this life belongs to, in words."""
        self.config = config
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

    def begin(self, task: Task) -> None:
        """Grow the head for ``task``, unless a resumed cycle has it already."""
        if len(self.neocortex.classifiers) == task.index:
            with seeding.seeded(self.config.seed, "head", task.index):
                self.neocortex.add_task_head(len(task.classes))
            self.lessons.append(Lesson(str(task), task.names or tuple(map(str, task.classes))))

    def perceived(self, data: LabelledImages) -> LabelledImages:
        """Return ``data`` as the neocortex takes it: as it is or, behind a frozen front, as feature maps."""
        return data if self.encoder is None else self.encoder.encoded(data)

    def freeze_front(self, data: LabelledImages) -> None:
        """Freeze the front, now that the first task's ``data`` was learned, if memories are to dream feature maps."""
        if self.config.dream_level == "features":
            self.encoder, self.neocortex = split(self.neocortex, data.images)

    def keep_memory(self, generator: Generator, quality: Quality) -> None:
        """Keep ``generator`` as the newest task's memory, rounded to the precision in which it is stored."""
        as_stored(generator)
        self.memories.append(generator.eval().requires_grad_(False))
        for name, value in asdict(quality).items():
            getattr(self.record, name).append(value)

    def finish_cycle(self) -> None:
        """End the current task's cycle: the fast learner has passed on what it knew."""
        self.fast_learner = None
        self.lessons[self.tasks_learned].learned = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.tasks_learned += 1
        self.phases_done = []

    def night(self, task: int) -> Night:
        """Return what the sleep after ``task`` dreams."""
        config = self.config.sleep
        return Night(
            key=(self.config.seed, "sleep", task),
            head_sizes=tuple(self.neocortex.head_sizes),
            noise_dim=max(memory.latent_dim for memory in self.memories),
            steps=config.steps,
            batch_size=config.batch_size,
            steps_per_block=config.steps_per_block,
            max_shift=config.max_shift if self.encoder is None else 0,
            current_share=config.current_share,
        )

    def dreamer(self, device: torch.device) -> Dreamer:
        """Return a dreamer of all memories, taught by this life's networks as they are now.

        Raises:
            RuntimeError: there is no fast learner, so this is not between waking and sleeping.
        """
        if self.fast_learner is None:
            raise RuntimeError("a dreamer needs the fast learner of the newest task: adapt first")
        with_features = self.config.sleep.feature_weight > 0
        return Dreamer(self.memories, self.neocortex, self.fast_learner, device, with_features=with_features)

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

    def predict(self, images: Tensor, lesson: str | None = None) -> Predictions:
        """Return how probable each class is for ``images`` uint8 [N, C, H, W], as `mygo.predict.predict` does."""
        return predict(self, images, lesson)

    @torch.no_grad()
    def dream(self, class_name: str, count: int, seed: int = 0) -> Tensor:
        """Return ``count`` dreams of a class, uint8 [count, C, H, W]; the same for the same ``seed``.

        Raises:
            InputError: this class was not learned, or nothing of it is remembered as pictures.
        """
        if not self.class_names:
            raise InputError(NOTHING_LEARNED)
        if class_name not in self.class_names:
            raise InputError(f"This life knows no class {class_name!r}: choose from {', '.join(self.class_names)}.")
        task = next(task for task, lesson in enumerate(self.lessons) if class_name in lesson.classes)
        if task >= len(self.memories) or self.encoder is not None:
            what = "feature maps, which are no pictures" if self.encoder is not None else "nothing of this class"
            raise InputError(f"This life dreams {what}.")
        memory = self.memories[task]
        noise = torch.randn(count, memory.latent_dim, generator=seeding.stream(seed, "look", class_name))
        label = torch.full((count,), self.lessons[task].classes.index(class_name))
        return torch.cat([to_pixels(memory(*part)) for part in zip(noise.split(256), label.split(256), strict=True)])

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
            "image_shape": list(self.image_shape),
            "head_sizes": self.neocortex.head_sizes,
            "tasks_learned": self.tasks_learned,
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

    @staticmethod
    def exists(folder: Path) -> bool:
        """Tell whether ``folder`` holds a saved life."""
        return any((folder / name).exists() for name in (storage.MANIFEST, storage.PREVIOUS))

    @classmethod
    def open(cls, folder: Path, tell: Callable[[str], None] = warnings.warn) -> "Life":
        """Read the state that was saved last in ``folder`` or, where that is damaged, the one before; ``tell`` is told.

        Raises:
            InputError: there is none, or all are damaged or of another version; the message names the file.
        """
        try:
            return cls._read(folder, folder / storage.MANIFEST)
        except InputError as error:
            try:
                life = cls._read(folder, folder / storage.PREVIOUS)
            except InputError:
                raise error from None
            tell(f"{error} The state before it is used instead.")
            return life

    @classmethod
    def _read(cls, folder: Path, path: Path) -> "Life":
        manifest = storage.read_manifest(path, SCHEMA)
        try:
            return cls._from_manifest(folder, manifest)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
            raise InputError(f"{path} does not describe a life ({error}).") from error

    @classmethod
    def _from_manifest(cls, folder: Path, manifest: Mapping[str, Any]) -> "Life":
        channels, height, width = (int(size) for size in manifest["image_shape"])
        shape = channels, height, width
        try:
            config = overlay(LifeConfig(), manifest["config"])
        except InputError as error:
            raise ValueError(str(error)) from error
        life = cls(manifest["strategy"], config, shape, folder, str(manifest["stream"]))
        files = manifest["files"]
        sizes = [int(size) for size in manifest["head_sizes"]]
        if files["encoder"]:
            tensors = storage.read_tensors(folder, files["encoder"])
            life.encoder = storage.fill(lambda: Encoder(shape, config.backbone), tensors)
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
        life.record = Record.read(manifest["record"])
        life.lessons = [Lesson.read(entry) for entry in manifest["lessons"]]
        if [len(lesson.classes) for lesson in life.lessons] != sizes:
            raise ValueError("its lessons are not those of its heads")
        life.tasks_learned = int(manifest["tasks_learned"])
        life.phases_done = [str(phase) for phase in manifest["phases_done"]]
        if "checkpoint" in manifest:
            tensors = storage.read_tensors(folder, files["checkpoint"])
            entry = manifest["checkpoint"]
            life.checkpoint = Checkpoint(
                str(entry["phase"]), int(entry["attempt"]), int(entry["steps"]), float(entry["seconds"]), tensors
            )
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
