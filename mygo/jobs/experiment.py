"""The experiment: lives of several strategies on one stream of tasks. It runs here or, the same object, on Ray."""

import os
import platform
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import mygo
from mygo.baselines.registry import STRATEGIES
from mygo.config.learner import LifeConfig
from mygo.config.ranges import LARGEST
from mygo.config.settings import SAVE_EVERY
from mygo.cycle import live
from mygo.data.datasets import DATASETS, load_dataset
from mygo.data.examples import InputShape, LabelledDataset, with_validation
from mygo.data.readers.find import FORMS
from mygo.data.readers.reader import Kind
from mygo.data.sources import Source, read_source
from mygo.data.survey import Survey, survey_of_dataset
from mygo.data.tasks import Task, TaskStream, deal_classes
from mygo.errors import InputError
from mygo.evaluate import average_accuracy, backward_transfer, forgetting
from mygo.events import EventHandler, Notice, silent
from mygo.files import check_writable, locked, write_json
from mygo.jobs.encoding import FEATURES, check_kind
from mygo.jobs.perception import (
    encoder_for,
    encoder_of,
    input_shape_of,
    open_encoder,
    resolve_encoder,
    seeing_through,
    sees_pixels,
    stream_encoded,
    survey_of,
)
from mygo.jobs.shared_features import read_features
from mygo.learner.learner import Learner
from mygo.learner.state import check_networks
from mygo.memory.cache import MemoryCache
from mygo.networks.neocortex import NeocortexNet
from mygo.phase import PhaseContext
from mygo.replay.source import LocalReplay, ReplaySource
from mygo.training.allocation import keep_freed_memory
from mygo.training.process_group import ProcessGroup, SingleProcess

RESULTS_SCHEMA = 1
LOCK_TIMEOUT_SECONDS = 30.0
"""How long a run waits for one that is being ended to let go of its folder."""


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Which stream of tasks is lived through, by which learner."""

    dataset: str = "digits"
    """The data set: digits, fashion-mnist, mnist, kmnist, cifar10 or cifar100, or examples of your own in any form that
    a lesson takes. The settings below have its defaults: give --dataset before --help to see another's."""
    num_tasks: int = 5
    """Number of tasks that the classes are dealt into."""
    class_order: tuple[int, ...] | None = None
    """Order in which classes are dealt, such as 3,1,0,2,…; every class once. Label order by default."""
    data_root: Path = Path("data")
    """Folder in which torchvision's data sets lie, or are downloaded to."""
    validation_share: float = 0.0
    """Share of each class's training examples to evaluate on, instead of the test set. To choose settings, never look
    at the test set; to report what they are worth, leave this 0."""
    life: LifeConfig = field(default_factory=LifeConfig)
    """The learner."""

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS and not is_own(self.dataset):
            raise InputError(
                f"--dataset {self.dataset} is not known: choose from {', '.join(DATASETS)}, or name data of your own, "
                f"{FORMS}."
            )
        if not 0 <= self.validation_share < 1:
            raise InputError(f"--validation-share must be at least 0 and below 1, not {self.validation_share}.")
        if not all(isinstance(number, int) for number in self.class_order or ()):
            order = ",".join(map(str, self.class_order or ()))
            raise InputError(f"--class-order {order} is not a comma list of class numbers such as 3,1,0,2.")
        check_networks(self.life)
        self.tasks()

    def tasks(self) -> list[Task]:
        """Return the stream's tasks."""
        return deal_classes(self.num_classes, self.num_tasks, self.class_order)

    @property
    def name(self) -> str:
        """What the data is called."""
        return self.dataset if self.dataset in DATASETS else survey_of(self.dataset).name

    @property
    def num_classes(self) -> int:
        """Number of classes of the data."""
        known = DATASETS.get(self.dataset)
        return len(survey_of(self.dataset).class_names) if known is None else known.num_classes

    @property
    def over_pixels(self) -> bool:
        """Whether lives see images as they are, not features."""
        return sees_pixels(self.encoder, self.kind)

    @property
    def kind(self) -> Kind:
        """What the data is."""
        known = DATASETS.get(self.dataset)
        return survey_of(self.dataset).kind if known is None else known.kind

    @property
    def learner(self) -> LifeConfig:
        """The settings that are lived with, of which the data has decided what was left to it.

        Raises:
            InputError: the data cannot be seen through the encoder, or this cannot be adapted.
        """
        if self.dataset not in DATASETS:
            found = survey_of(self.dataset)
            return seeing_through(self.life, encoder_for(self.life.encoder, found), lambda: found.largest_side)
        name = "none" if self.life.encoder == "auto" else resolve_encoder(self.life.encoder, self.kind)
        return seeing_through(self.life, name, lambda: LARGEST)

    @property
    def encoder(self) -> str:
        """The name of the encoder that the lives see through; of one that they adapt, its front.

        Raises:
            InputError: as `learner`.
        """
        return self.learner.encoder


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig(StreamConfig):
    """Which strategies live through which stream of tasks."""

    strategies: tuple[str, ...] = ("mygo", "finetune", "joint")
    """Comma list of mygo, mygo-nosleep, finetune, joint, lwf, replay and, behind an encoder, ncm, slda, ranpac; they
    run one after another."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.strategies:
            if name not in STRATEGIES:
                raise InputError(f"--strategies names {name!r}, which is not one of {', '.join(STRATEGIES)}.")
        if not self.strategies or len(set(self.strategies)) != len(self.strategies):
            raise InputError("--strategies must name at least one strategy, and each once.")
        for name in self.strategies:
            if STRATEGIES[name].needs_features and self.over_pixels:
                raise InputError(f"--strategies {name} is for lives behind an encoder: add --encoder, or leave it out.")
            if STRATEGIES[name].needs_features and self.learner.adapt != "none":
                raise InputError(f"--strategies {name} is for encoders that stay as they are: leave --adapt out.")


@dataclass(frozen=True)
class Experiment:
    """An experiment and the folder of its lives and results."""

    config: ExperimentConfig
    out: Path | None = None
    log_every: int = 20
    """Steps between two log entries of a phase's progress."""
    memory_cache: Path | None = None
    """Folder in which memories are found that were trained before, and in which new ones are left."""
    save_every: float = SAVE_EVERY
    """Seconds between two points within a phase from which an interrupted life goes on."""
    encoder_weights: Path | None = None
    """File with the weights of the encoder, where it does not find them itself."""
    features: Path | None = None
    """Index of vectors that `mygo.jobs.shared_features` encoded for several experiments; by default each encodes."""

    def run(
        self,
        group: ProcessGroup | None = None,
        dreams: ReplaySource | None = None,
        on_event: EventHandler = silent,
        stop: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Live every strategy to its end, going on with lives that are saved in `out`, and return the results.

        With an `out` rank 0 also writes them to its ``results.json``. Where ``stop`` returns True, the training step is
        finished and saved, and the run ends.

        Raises:
            StoppedError: it was stopped.
        """
        cache = None if self.memory_cache is None else MemoryCache(self.memory_cache)
        context = PhaseContext(
            group or SingleProcess(),
            on_event,
            self.log_every,
            dreams=dreams or LocalReplay(),
            cache=cache,
            save_every=self.save_every,
            stop=stop,
        )
        keep_freed_memory()
        with ExitStack() as stack:
            for folder in self.folders if context.group.rank == 0 else ():
                stack.enter_context(locked(folder, LOCK_TIMEOUT_SECONDS))
            return self._live(context)

    def _live(self, context: PhaseContext) -> dict[str, Any]:
        if self.features is not None:
            return self._live_on(features_in(self.features, self.config), context)
        found = self.survey()
        if found is None:
            return self._live_on(None, context)
        folder = None if self.out is None else self.out / FEATURES
        with stream_encoded(found, self.learner.encoder, self.encoder_weights, folder, context) as source:
            return self._live_on(source, context)

    def survey(self) -> Survey | None:
        """Return what there is to encode; None where lives see pixels.

        Raises:
            InputError: the data cannot be used.
        """
        if self.config.over_pixels:
            return None
        if self.config.dataset not in DATASETS:
            return survey_of(self.config.dataset)
        return survey_of_dataset(load_dataset(self.config.dataset, self.config.data_root))

    def _live_on(self, source: Source | None, context: PhaseContext) -> dict[str, Any]:
        lives, precision = [], self.config.life.precision
        dataset = None if source is None else source.dataset
        for name in self.config.strategies:
            stream = self.open_stream(dataset)
            life = self.open_life(name, stream.input_shape, lambda text: context.emit(Notice(text)))
            if source is not None:
                check_seen_alike(life, source)
            if life.adapts:
                encoder_of(life, self.encoder_weights)
            if life.precision == "auto":  # lives that are compared begin in the same
                life.precision = precision
            live(life, STRATEGIES[name], stream, context)
            precision = life.precision
            lives.append(life)
        results = self.results(lives, stream.class_names)
        if self.out is not None and context.group.rank == 0:
            write_json(self.out / "results.json", results)
        return results

    @property
    def stream(self) -> str:
        """The stream of tasks in words, such as ``digits: 0,1 2,3``; a life belongs to one."""
        tasks = " ".join(",".join(map(str, task.classes)) for task in self.config.tasks())
        held_out = f" less {self.config.validation_share} for validation" if self.config.validation_share else ""
        return f"{self.config.dataset}{held_out}: {tasks}"

    @property
    def learner(self) -> LifeConfig:
        """The settings that are lived with."""
        return self.config.learner

    def settings_of(self, strategy: str) -> LifeConfig:
        """Return the settings of the life of ``strategy``, which may need a backbone of its own."""
        return replace(self.learner, backbone=STRATEGIES[strategy].backbone or self.learner.backbone)

    @property
    def how_to_go_on(self) -> str:
        """What a person does to go on when it was interrupted."""
        return "run again with the same flags, --out and --resume to go on"

    def check_data(self) -> None:
        """Make sure that the data set is there and whole.

        Raises:
            InputError: it is not.
        """
        if self.features is not None:
            shape = features_in(self.features, self.config).dataset.input_shape
        else:
            found, encoder = self.survey(), open_encoder(self.config.encoder, self.encoder_weights)
            if found is None:
                load_pixels(self.config)
                return
            check_kind(found, encoder)
            shape = input_shape_of(found, encoder)
        with torch.device("meta"):
            NeocortexNet(shape, self.learner.backbone)

    def check_out(self, *, resume: bool) -> None:
        """Make sure that `out` can be written to and holds no life, or, to ``resume``, lives that fit; writes nothing.

        Raises:
            InputError: `out` cannot be written to, or what it holds is not what ``resume`` says.
        """
        if self.out is None:
            return
        lives = [name for name in STRATEGIES if Learner.exists(self.out / "life" / name)]
        check_begun(self.out, begun=bool(lives), resume=resume)
        for name in set(lives) & set(self.config.strategies):
            self.open_life(name, (0, 0, 0))
        check_writable(self.out)
        for folder in self.folders:
            if folder.exists():
                # What goes on with a run that was killed may come before the last of its workers has ended.
                with locked(folder, LOCK_TIMEOUT_SECONDS if resume else 0):
                    pass

    @property
    def folders(self) -> list[Path]:
        """The folders that this run writes into: `out` and those of its lives."""
        return [] if self.out is None else [self.out, *(self.out / "life" / name for name in self.config.strategies)]

    def open_stream(self, dataset: LabelledDataset | None = None) -> TaskStream:
        """Return the stream of tasks over ``dataset`` or, over pixels, over the images that it alone holds."""
        dataset = load_pixels(self.config) if dataset is None else dataset
        if self.config.validation_share:
            dataset = with_validation(dataset, self.config.validation_share)
        return TaskStream(dataset, self.config.tasks())

    def open_life(
        self, strategy: str, input_shape: InputShape, on_notice: Callable[[str], None] = lambda text: None
    ) -> Learner:
        """Return the saved life of ``strategy``, or a new one for inputs of ``input_shape``.

        ``on_notice`` is called with a sentence where its newest state is damaged and the one before is used.

        Raises:
            InputError: the saved life has another configuration or belongs to another stream.
        """
        folder = None if self.out is None else self.out / "life" / strategy
        if folder is None or not Learner.exists(folder):
            return Learner(strategy, self.settings_of(strategy), input_shape, folder, self.stream)
        life = Learner.open(folder, on_notice)
        wanted = self.settings_of(strategy)
        if life.config.identity != wanted.identity or life.stream != self.stream:
            raise begun_otherwise(folder)
        if "auto" not in (life.precision, wanted.precision) and life.precision != wanted.precision:
            raise InputError(
                f"{folder} was begun in {life.precision}: leave out --precision {wanted.precision} to go on in that, "
                "or choose another --out."
            )
        life.config = wanted
        return life

    def results(self, lives: Sequence[Learner], class_names: Sequence[str]) -> dict[str, Any]:
        """Return what ``results.json`` holds; docs/output.md describes it."""
        config = asdict(replace(self.config, life=replace(self.config.life, adapt=self.learner.adapt)))
        config["data_root"] = str(self.config.data_root)
        return {
            "schema": RESULTS_SCHEMA,
            "config": config,
            "class_names": list(class_names),
            "evaluated_on": "validation" if self.config.validation_share else "test",
            "versions": versions(),
            "strategies": {life.strategy: summary(life) for life in lives},
        }


def check_begun(out: Path, *, begun: bool, resume: bool) -> None:
    """Make sure that what is in ``out`` was ``begun`` if it is to be gone on with, and only then.

    Raises:
        InputError: it is not so.
    """
    if begun and not resume:
        raise InputError(
            f"{out} already holds a life: pass --resume to go on with it, or another --out to start afresh."
        )
    if resume and not begun:
        raise InputError(f"{out} holds no life to resume: leave out --resume to start one.")


def begun_otherwise(folder: Path) -> InputError:
    """Return what is raised where the life in ``folder`` has other settings than those that are given."""
    return InputError(f"{folder} was begun with other settings: go on with the same flags, or choose another --out.")


def load_pixels(config: ExperimentConfig) -> LabelledDataset:
    """Return the data set over pixels.

    Raises:
        InputError: it is missing or damaged.
    """
    if config.dataset in DATASETS:
        return load_dataset(config.dataset, config.data_root)
    return read_source(config.dataset, None).dataset


def check_seen_alike(life: Learner, source: Source) -> None:
    """Note through which encoder's weights ``life`` sees ``source``, and check that they are those that it began with.

    Raises:
        InputError: they are others.
    """
    if life.encoder_checksum not in ("", source.encoder_checksum):
        raise InputError(
            f"The weights of the encoder are not those that {life.folder} began with: choose another --out."
        )
    life.encoder_checksum = source.encoder_checksum


def features_in(index: Path, config: StreamConfig) -> Source:
    """Return the data set as vectors that were encoded before.

    Raises:
        InputError: as `mygo.jobs.shared_features.read_features`.
    """
    return read_features(index, config.dataset, config.encoder, config.num_classes)


def is_own(dataset: str) -> bool:
    """Return whether ``dataset`` names data of a person's own."""
    return ":" in dataset or os.path.exists(dataset)  # noqa: PTH110  # which a name that is too long is no error for


def summary(life: Learner) -> dict[str, Any]:
    """Return one strategy's entry of ``results.json``."""
    matrices = {"task_il": life.record.task_il, "class_il": life.record.class_il}
    return {
        "accuracy_matrix": matrices,
        "confusion_matrix": life.record.confusion,
        "average_accuracy": {kind: average_accuracy(matrix) for kind, matrix in matrices.items()},
        "forgetting": {kind: forgetting(matrix) for kind, matrix in matrices.items()},
        "backward_transfer": {kind: backward_transfer(matrix) for kind, matrix in matrices.items()},
        "expected_calibration_error": life.record.calibration_error,
        **costs(life),
    }


def costs(life: Learner) -> dict[str, Any]:
    """Return the part of `summary` that every life has: what it took, what it keeps, and how good its memories are."""
    phases, record = STRATEGIES[life.strategy].phases_for(life), life.record
    return {
        "seconds": {
            "wake": sum(record.seconds.get(name, 0.0) for name in phases.wake),
            "sleep": sum(record.seconds.get(name, 0.0) for name in phases.sleep),
            "total": sum(record.seconds.values()),
            "phases": record.seconds,
            "waits": record.waits,
        },
        "computed": record.computed,
        "memory_bytes": life.memory_bytes,
        "statistics_bytes": sum(tensor.nbytes for tensor in life.statistics.values()),
        "replaced_data_bytes": record.replaced_data_bytes,
        "label_fidelity": record.label_fidelity,
        "diversity": record.diversity,
        "frechet_distance": record.frechet_distance,
        "nearest_neighbour_ratio": record.nearest_neighbour_ratio,
        "label_fidelity_per_class": record.label_fidelity_per_class,
        "diversity_per_class": record.diversity_per_class,
    }


def versions() -> dict[str, str]:
    """Return the versions of what the result depends on."""
    found = {"mygo": mygo.__version__, "python": platform.python_version()}
    for package in ("torch", "torchvision", "numpy", "ray"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
