"""What the rows of adapt.py train: joint fine-tuning, replay of JPEGs, and sleeps of which something is left out."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mygo import seeding, sleep, wake
from mygo.baselines.registry import STRATEGIES, Phases, Strategy
from mygo.config.presets import behind_encoder
from mygo.data.examples import Examples, with_validation
from mygo.data.tasks import Task
from mygo.encoders.efficientnet_lite import HEAD
from mygo.jobs.experiment import Experiment, ExperimentConfig, features_in
from mygo.jobs.perception import encoder_of
from mygo.learner.learner import Learner
from mygo.memory.gaussian import ClassGaussians, fit_gaussians
from mygo.networks.neocortex import NeocortexNet, unstack_heads
from mygo.phase import PhaseContext
from mygo.replay.features import FeatureDreamer, NetworkTeachers
from mygo.replay.schedule import Dreams
from mygo.replay.spec import ReplaySpec
from mygo.training.loop import Losses, Network, train
from mygo.training.precision import resolved
from mygo.training.process_group import ProcessGroup, SingleProcess, batch_mean

CPU = torch.device("cpu")


def is_last(life: Learner, task: Task) -> bool:
    """Return whether ``task`` is the last of the stream of ``life``, which is named after all of them."""
    return task.index == life.stream.partition(": ")[2].count(" ")


def joint_once(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Keep all data, and train on it after the last task alone: before, joint training would begin anew each time."""
    life.exemplars.append(data)
    if is_last(life, task):
        fit_on_real(life, life.exemplars, life.config.baseline_steps, context)


def fit_on_real(life: Learner, parts: Sequence[Examples], steps: int, context: PhaseContext) -> None:
    """Train what a sleep trains on real examples of each task, as often of each class, and mix in what it mixes in."""
    sizes, config = life.neocortex.head_sizes, life.config.sleep
    mirrored = [wake.mirrored(life, part) for part in parts]
    inputs = torch.cat([part.inputs for part in mirrored])
    labels = torch.cat([part.labels + sum(sizes[:task]) for task, part in enumerate(mirrored)])
    form = life.config.memory.gaussian
    gaussians = ClassGaussians(
        [
            fit_gaussians(part.inputs, part.labels, size, form, context.group)
            for part, size in zip(mirrored, sizes, strict=True)
        ],
        CPU,
    )
    student = sleep.Ensemble(sleep.blank_student(life, range(len(sizes))))
    student.network.centre_on(gaussians.means)
    weights = 1 / labels.bincount()[labels]

    def inputs_at(step: int) -> tuple[Tensor]:
        rng = seeding.stream(life.config.seed, "real", step)
        return (torch.multinomial(weights, config.batch_size, replacement=True, generator=rng),)

    def losses_of(network: Network, rows: Tensor) -> Losses:
        _, *answers = network(inputs[rows].float())
        errors = torch.stack([F.cross_entropy(logits, labels[rows], reduction="none") for logits in answers]).sum(0)
        return {"labels": batch_mean(errors, config.batch_size, context.group)}

    train(student, losses_of, inputs_at, steps=steps, lr=config.lr, context=context)
    examples = sum(map(len, parts))
    student.mix_discriminant(gaussians, sleep.discriminant_weight(life, HEAD, examples))
    life.neocortex.features = student.features
    unstack_heads(student.merged(gaussians.means), life.neocortex, range(len(sizes)))


@dataclass
class Jpegs:
    """What ``replay-jpegs`` keeps of all classes; set for each data set."""

    size: float = 0.0
    """Mean bytes of a picture."""
    budget: float = 0.0
    """Bytes of all pictures together."""
    num_classes: int = 1

    def count(self, label: int) -> int:
        """Return how many pictures are kept of a class, at least one; the first have those that are left over."""
        affordable = int(self.budget / self.size)
        return max(1, affordable // self.num_classes + (label < affordable % self.num_classes))


JPEGS = Jpegs()


def replay_jpegs(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Keep some pictures of each class, as if their JPEGs had lost nothing; train after the last task, anew.

    That takes as many steps as a wake and the last sleep do.
    """
    if is_last(life, task):
        steps = life.config.wake.adapt_steps + life.config.sleep.steps_for(len(life.class_names))
        fit_on_real(life, [*life.exemplars, data], steps, context)
    first = sum(life.neocortex.head_sizes[: task.index])
    order = torch.randperm(len(data), generator=seeding.stream(*life.key("jpegs")))
    rows = [order[data.labels[order] == label][: JPEGS.count(first + label)] for label in data.labels.unique().tolist()]
    life.exemplars.append(data[torch.cat(rows)])


@dataclass(frozen=True)
class TaughtByAll:
    """Dreams that the fast learner of each lesson labels."""

    learners: Sequence[NeocortexNet]
    precision: Any

    def dreams(self, spec: ReplaySpec, group: ProcessGroup, first_step: int = 0) -> Iterator[Dreams]:
        """Return the dreams of each step."""
        schedule, numbers = spec.schedule, range(len(self.learners))
        answers = NetworkTeachers(self.learners, numbers, CPU, self.precision)
        dreamer = FeatureDreamer(spec.memories, answers, CPU)  # type: ignore[arg-type]
        requests = (schedule.request(block, group.rank, group.size) for block in schedule.blocks_from(first_step))
        return schedule.steps_of(map(dreamer.dream, requests), first_step)


LEARNERS: list[NeocortexNet] = []
"""The fast learners of the life that sleeps once."""


def sleep_once(life: Learner, task: Task, context: PhaseContext) -> None:
    """Keep the fast learner of each lesson, and sleep after the last one alone."""
    if task.index == 0:
        LEARNERS.clear()
    assert life.fast_learner is not None
    LEARNERS.append(copy.deepcopy(life.fast_learner).cpu())
    if is_last(life, task):
        precision = resolved(life.precision, CPU)
        for learner in LEARNERS:  # each has the heads that there were: the others are asked nothing
            for head in life.neocortex.classifiers[len(learner.classifiers) :]:
                learner.classifiers.append(copy.deepcopy(head))
        sleep.consolidate(life, task, replace(context, dreams=TaughtByAll(LEARNERS, precision)))


def by_labels(life: Learner, task: Task, context: PhaseContext) -> None:
    """Sleep without teachers, after the last lesson alone."""
    if is_last(life, task):
        life.fast_learner = None
        sleep.consolidate(life, task, context)


def going_on(life: Learner, task: Task, context: PhaseContext) -> None:
    """Sleep from the weights that the last sleep left."""
    anew = sleep.blank_student
    sleep.blank_student = lambda life, order: sleep.Student(life.neocortex)
    try:
        sleep.consolidate(life, task, context)
    finally:
        sleep.blank_student = anew


def unmirrored(phase: Callable[..., None]) -> Callable[..., None]:
    """Return ``phase`` without mirror images."""

    def run(*arguments: Any) -> None:
        mirrored = wake.mirrored
        wake.mirrored = lambda life, data: data
        try:
            phase(*arguments)
        finally:
            wake.mirrored = mirrored

    return run


def register() -> None:
    """Make the strategies of the rows known."""
    awake: dict[str, Callable[..., None]]
    awake = {"learn": wake.learn_late, "adapt": wake.adapt_late, "remember": wake.remember}
    plainly: dict[str, Callable[..., None]] = {name: unmirrored(phase) for name, phase in awake.items()}
    found = {
        "joint-once": Phases({"joint": joint_once}, {}),
        "replay-jpegs": Phases({"replay": replay_jpegs}, {}),
        "at-once": Phases(awake, {"consolidate": sleep_once}),
        "labels": Phases(awake, {"consolidate": by_labels}),
        "warm": Phases(awake, {"consolidate": going_on}),
        "unmirrored": Phases(plainly, {"consolidate": sleep_once}),
    }
    for name, phases in found.items():
        STRATEGIES[name] = Strategy(phases.wake, phases.sleep)


def adapt_first(config: ExperimentConfig, index: Path, out: Path) -> dict[str, Any]:
    """Let a life adapt to the first task's real maps, and another live on the features that come out of it."""
    experiment = Experiment(config, features=index)
    data = features_in(index, config).dataset
    life = Learner("mygo", experiment.learner, data.input_shape, None, experiment.stream)
    encoder_of(life)
    stream = experiment.open_stream(data)
    task = stream.tasks[0]
    context = PhaseContext(SingleProcess(), precision=resolved("auto", CPU))
    life.begin(task)
    wake.learn_late(life, task, stream.take_training_data(task), context)
    data = with_validation(data, config.validation_share) if config.validation_share else data
    arrays: dict[str, Any] = {}
    for prefix, part in (("", data.train), ("test_", data.test)):
        features = wake.extract_features(life.neocortex, part, CPU)[:, :HEAD].sqrt()
        arrays |= {f"{prefix}features": features.numpy(), f"{prefix}labels": part.labels.numpy()}
    with TemporaryDirectory(dir=out) as folder:  # a name of its own, since what is found in a file is remembered
        file = Path(folder) / "adapted.npz"
        np.savez(file, class_names=np.array(data.class_names), **arrays)
        life_after = replace(behind_encoder(), seed=config.life.seed)
        frozen = replace(config, dataset=str(file), validation_share=0.0, life=life_after)
        results: dict[str, Any] = Experiment(frozen).run()["strategies"]["mygo"]
    return results
