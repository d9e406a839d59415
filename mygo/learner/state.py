"""What a learner is and knows at one moment, in memory."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone

import torch
from torch import Tensor, nn

from mygo import seeding
from mygo.config.learner import AnyPrecision, LifeConfig
from mygo.data.examples import Examples, InputShape
from mygo.data.spelling import composed
from mygo.data.tasks import Task
from mygo.encoders.efficientnet_lite import HEAD
from mygo.encoders.protocol import Encoder
from mygo.errors import InputError
from mygo.learner.records import Record, TaskRecord
from mygo.learner.sight import Sight
from mygo.memory.forms import Memory
from mygo.memory.gaussian import GaussianMemory, recall_vectors
from mygo.memory.quality import Quality, recall, round_to_half_, stored_bytes
from mygo.networks.generator import Generator, generator_named
from mygo.networks.neocortex import NeocortexNet, backbone_named
from mygo.training.checkpoint import Checkpoint
from mygo.unknown.detector import UnknownDetector

NOTHING_LEARNED = "This life has learned no class yet: let it learn a task first."


def counts_of(data: Examples, num_classes: int) -> list[int]:
    """Return how many images of each class ``data`` has."""
    counts: list[int] = data.labels.bincount(minlength=num_classes).tolist()
    return counts


def check_networks(config: LifeConfig) -> None:
    """Make sure that there is what the names of networks in ``config`` stand for; those of one's own are imported.

    Raises:
        InputError: one stands for nothing, or cannot be imported.
    """
    backbone_named(config.backbone)
    generator_named(config.memory.gan.generator)


@dataclass(frozen=True)
class Guest:
    """A network that knows some lessons better than the neocortex, and teaches them in the next sleep.

    It has a head for each lesson of the life that it is in, but those of others say nothing.
    """

    network: NeocortexNet
    lessons: tuple[int, ...]
    """The numbers of those that it knows."""


class LearnerState(Sight):
    """One learner: the neocortex, its generative memories and, between waking and sleeping, the fast learner."""

    def __init__(
        self,
        strategy: str,
        config: LifeConfig,
        input_shape: InputShape,
        stream: str = "",
    ) -> None:
        check_networks(config)
        super().__init__(config, input_shape)
        self.strategy = strategy
        self.stream = stream
        """The stream of tasks that this life belongs to, in words."""
        self.precision: AnyPrecision = config.precision
        """In which it is computed: once it has begun, the one that its first workers agreed on."""
        self.neocortex = self.newborn()
        self.fast_learner: NeocortexNet | None = None
        self.guests: list[Guest] = []
        """Networks of other lives, between their arrival and the sleep after it."""
        self.memories: list[Memory] = []
        self.teachers: list[nn.Linear] = []
        """Behind an encoder, the head that each lesson left, trained on its real features, which teaches sleep."""
        self.exemplars: list[Examples] = []
        """Real data that only the baselines joint and replay keep."""
        self.statistics: dict[str, Tensor] = {}
        """Sums over features that only baselines in closed form keep, once for all classes."""
        self.detector: UnknownDetector | None = None
        """What it knows of its limits since its last sleep; None while what it knows changes."""
        self.record = Record()
        self.lessons: list[TaskRecord] = []
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

    def see_through(self, encoder: Encoder) -> None:
        """See through ``encoder`` from now on; what has learned nothing yet begins with its weights."""
        super().see_through(encoder)
        if not self.lessons:
            self.neocortex = self.newborn()

    def to(self, device: torch.device) -> None:
        """Move the networks that train to ``device``."""
        for network in (self.neocortex, self.fast_learner, *(guest.network for guest in self.guests)):
            if network is not None:
                network.to(device)

    def key(self, phase: str) -> seeding.Key:
        """Return what the draws of a ``phase`` of this cycle are named by.

        Where the order of lessons does not matter, that is only the classes that the cycle is about.
        """
        if not self.order_free:
            return self.config.seed, phase, self.cycles
        lesson = () if self.current is None else self.lessons[self.current].classes
        return self.config.seed, phase, *lesson

    def begin(self, task: Task, name: str | None = None) -> None:
        """Begin a cycle about ``task``, or go on with it; a new task gets its head, and ``name`` if it has one."""
        self.current = task.index
        if len(self.neocortex.classifiers) == task.index:
            self.detector = None
            self.lessons.append(TaskRecord(name or str(task), task.names or tuple(map(str, task.classes))))
            with seeding.seeded(*self.key("head")):
                self.neocortex.add_task_head(len(task.classes))

    def count(self, task: Task, data: Examples) -> None:
        """Note that the real ``data`` of ``task`` was handed out, and will be gone."""
        lesson = self.lessons[task.index]
        new = counts_of(data, len(lesson.classes))
        lesson.images = tuple(old + more for old, more in zip(lesson.images or [0] * len(new), new, strict=True))
        self.record.replaced_data_bytes += data.nbytes

    def with_replay(self, task: Task, data: Examples) -> Examples:
        """Return ``data``, which was counted; of a task that was learned before, beside dreams of what it was then.

        They stand in for the inputs that are gone, as many of each class. Behind an encoder, its memory dreams alone.
        """
        if task.index >= self.tasks_learned:
            return data
        lesson = self.lessons[task.index]
        before = [all_ - new for all_, new in zip(lesson.images, counts_of(data, len(lesson.classes)), strict=True)]
        dreams = self.recall(task.index, before, self.key("beside"), alone=True)
        return Examples(torch.cat([data.inputs, dreams.inputs]), torch.cat([data.labels, dreams.labels]))

    def recall(self, task: int, counts: Sequence[int], key: seeding.Key, *, alone: bool = False) -> Examples:
        """Return dreams of ``task``, ``counts`` of each class in turn, by ``key``; others lend unless ``alone``."""
        if not self.on_features:
            return recall(self.generators[task], counts, key)
        others = [each for each in self.lessons_in_order() if each != task and each < len(self.memories) and not alone]
        return recall_vectors([self.gaussians[index] for index in (task, *others)], counts, key)

    @property
    def generators(self) -> list[Generator]:
        """The memories of a life over pixels."""
        return [memory for memory in self.memories if isinstance(memory, Generator)]

    @property
    def gaussians(self) -> list[GaussianMemory]:
        """The memories of a life behind an encoder."""
        return [memory for memory in self.memories if isinstance(memory, GaussianMemory)]

    @property
    def temperature(self) -> float:
        """At which the probabilities of all classes are calibrated; 1 where that was not fitted."""
        return 1.0 if self.detector is None else float(self.detector.temperature)

    def lessons_in_order(self) -> list[int]:
        """Return the numbers of all lessons in the order in which sleep takes them.

        Where the order of learning is not to matter, they are sorted by their classes.
        """
        numbers = range(len(self.lessons))
        return sorted(numbers, key=lambda number: self.lessons[number].classes) if self.order_free else list(numbers)

    def keep_teacher(self, task: int, teacher: nn.Linear) -> None:
        """Keep ``teacher`` as that of ``task``, rounded to the precision in which it is stored."""
        round_to_half_(teacher)
        self.teachers[task : task + 1] = [teacher.cpu().eval().requires_grad_(False)]

    def keep_memory(self, task: int, memory: Memory, quality: Quality) -> None:
        """Keep ``memory`` as that of ``task``, rounded to the precision in which it is stored."""
        round_to_half_(memory)
        self.detector = None
        here = slice(task, task + 1)  # of a new task, the end of each list
        self.memories[here] = [memory.cpu().eval().requires_grad_(False)]
        for name, value in asdict(quality).items():
            getattr(self.record, name)[here] = [list(value) if isinstance(value, tuple) else value]

    def drop_outputs(self, task: int, kept: Sequence[int]) -> None:
        """Drop all outputs of the head of ``task`` but those at ``kept``; without any, also its lesson and its memory.

        What was measured of the network as it was is dropped too.
        """
        self.neocortex.keep_outputs(task, kept)
        self.detector = None
        if not kept:
            self.tasks_learned -= 1
            del self.teachers[task : task + 1]
            for per_task in (self.lessons, self.memories, *(getattr(self.record, one.name) for one in fields(Quality))):
                del per_task[task]
        for lesson in self.lessons:
            lesson.task_il = lesson.class_il = lesson.calibration_error = None
        self.record.task_il, self.record.class_il, self.record.confusion = [], [], []
        self.record.calibration_error = []

    def finish_cycle(self) -> None:
        """End the current cycle: the fast learner has passed on what it knew."""
        if self.current is None:
            raise RuntimeError("there is no cycle to finish")
        self.lessons[self.current].learned = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self.tasks_learned = max(self.tasks_learned, self.current + 1)
        self.end_cycle()

    def end_cycle(self) -> None:
        """End the current cycle, whether it taught anything or not."""
        self.fast_learner, self.guests = None, []
        self.cycles += 1
        self.current = None
        self.phases_done = []

    @property
    def class_names(self) -> list[str]:
        """Names of all classes, head after head."""
        return [name for lesson in self.lessons for name in lesson.classes]

    @property
    def memory_bytes(self) -> int:
        """Bytes kept to remember with: memories as stored, their teachers, real exemplars; not the network itself."""
        return sum(map(self.memory_bytes_for, range(max(len(self.memories), len(self.exemplars)))))

    def memory_bytes_for(self, task: int) -> int:
        """Return the part of `memory_bytes` that is kept for the task with the index ``task``."""
        kept = [*self.memories[task : task + 1], *self.teachers[task : task + 1]]
        return sum(map(stored_bytes, kept)) + sum(real.nbytes for real in self.exemplars[task : task + 1])

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


def detector_dim(life: LearnerState) -> int:
    """Return how many features inputs are known by: of an encoder those that were pretrained, else of the network.

    See `mygo.learner.limits.detector_input`.
    """
    if life.adapts:
        return HEAD
    return life.input_shape[0] if life.on_features else life.neocortex.feature_dim
