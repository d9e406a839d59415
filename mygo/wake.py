"""Wake: learn the new task quickly, and train a small conditional GAN that remembers it. Needs the task's real data."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mygo import seeding
from mygo.adapting.late import LateNetwork
from mygo.config.learner import MemoryConfig, WakeConfig
from mygo.data.examples import Examples, network_input
from mygo.data.mapped import rows_of
from mygo.data.tasks import Task
from mygo.errors import MemoryQualityError
from mygo.events import Dreamt, Notice
from mygo.learner.learner import Learner
from mygo.memory.gan import train_gan
from mygo.memory.gaussian import GaussianMemory, fit_gaussians, merge_gaussians
from mygo.memory.quality import Quality, measure_gaussians, measure_quality, round_to_half_, sample_grid
from mygo.networks.generator import Generator, build_generator
from mygo.networks.neocortex import NeocortexNet
from mygo.phase import PhaseContext
from mygo.training.batches import EpochBatches
from mygo.training.loop import Losses, Network, Trainer, train
from mygo.training.process_group import batch_mean


class OneHead(nn.Module):
    """A network's features and one of its heads: what learning a single task trains."""

    def __init__(self, net: NeocortexNet, task: int) -> None:
        super().__init__()
        self.features = net.features
        self.head = net.classifiers[task]

    def forward(self, images: Tensor) -> Tensor:
        """Return the head's logits [N, classes of the task] for ``images`` [N, C, H, W] in [-1, 1]."""
        logits: Tensor = self.head(self.features(images))
        return logits


def learn(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Train the task's head on the neocortex's features.

    A first task has nothing to protect and trains the features too. From then on they stay as they are, and every
    image's features are computed once.
    """
    config = life.config.wake
    key = life.key("learn")
    if len(life.lessons) == 1:
        fit_features_and_head(life.neocortex, task, data, context, key, config.adapt_steps, config)
        return
    features = extract_features(life.neocortex, data, context.group.device)
    head = life.neocortex.classifiers[task.index]
    batches = EpochBatches.of(data.labels, config.batch_size, key, balanced=config.balance_classes)
    labels = data.labels.to(context.group.device)

    def losses_of(network: Network, rows: Tensor) -> Losses:
        errors = F.cross_entropy(network(features[rows]), labels[rows], reduction="none")
        return {"cross_entropy": batch_mean(errors, config.batch_size, context.group)}

    train(head, losses_of, batches.shares_of(context.group), steps=config.head_steps, lr=config.lr, context=context)


def adapt(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Train the fast learner, a full copy of the network, on the new task; it is the newest task's teacher in sleep.

    The first task was learned with its features, so there the neocortex is its own fast learner.
    """
    config = life.config.wake
    life.fast_learner = copy.deepcopy(life.neocortex)
    if len(life.lessons) > 1:
        fit_features_and_head(life.fast_learner, task, data, context, life.key("adapt"), config.adapt_steps, config)


def learn_late(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Do as `learn`, on the maps that the frozen front of an encoder saw."""
    if len(life.lessons) == 1:
        centre_on(life, data)
    learn(life, task, mirrored(life, life.with_replay(task, data)), context)


def adapt_late(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Do as `adapt`, on the maps that the frozen front of an encoder saw."""
    adapt(life, task, mirrored(life, life.with_replay(task, data)), context)


def centre_on(life: Learner, data: Examples) -> None:
    """Let a ``life`` that adapts its encoder see pretrained features less their mean over ``data``."""
    if life.adapts:
        late_network_of(life).centre_on(data.inputs)


def late_network_of(life: Learner) -> LateNetwork:
    """Return what a ``life`` that adapts its encoder trains."""
    (network,) = life.neocortex.features
    assert isinstance(network, LateNetwork)
    return network


def mirrored(life: Learner, data: Examples) -> Examples:
    """Return ``data`` and behind it, where ``life`` adapts its encoder, all of it mirrored from left to right."""
    if not life.adapts:
        return data
    flipped = late_network_of(life).mirrored(data.inputs)
    return Examples.concatenate([data, Examples(flipped, data.labels)])


def memorise(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Train the task's conditional GAN and keep its generator, which begins as the memory of it, or the one before.

    Raises:
        MemoryQualityError: every attempt stayed below the floor.
    """
    known = life.generators[: task.index + 1]
    start = known[-1] if known and life.config.memory.gan.warm_start else None
    life.keep_memory(task.index, *train_until_good_enough(life, task.index, data, start, context))


def teach(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Train the lesson's teacher, a head on the real features that an encoder saw; it stays beside the memory.

    Where the lesson was learned before, dreams of what it was stand beside the new ``data``.
    """
    teach_from(life, task, life.with_replay(task, data), context)


def teach_from(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Train the teacher of ``task`` on ``data``, be they real or dreamt."""
    config, key = life.config.wake, life.key("teach")
    with seeding.seeded(*key):
        teacher = nn.Linear(data.inputs.shape[1], len(task.classes))
    batches = EpochBatches.of(data.labels, config.batch_size, key, balanced=config.balance_classes)
    data = data.to(context.group.device)

    def losses_of(network: Network, rows: Tensor) -> Losses:
        errors = F.cross_entropy(network(rows_of(data.inputs, rows)), data.labels[rows], reduction="none")
        return {"cross_entropy": batch_mean(errors, config.batch_size, context.group)}

    train(teacher, losses_of, batches.shares_of(context.group), steps=config.head_steps, lr=config.lr, context=context)
    life.keep_teacher(task.index, teacher)


def remember(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Fit a Gaussian to each class's features, or merge one with that of what was known of the class before."""
    num_classes, group = len(task.classes), context.group
    memory = fitted_memory(life, num_classes, mirrored(life, data), context)
    if task.index < len(life.memories):
        new = data.labels.bincount(minlength=num_classes).tolist()
        before = [count - more for count, more in zip(life.lessons[task.index].images, new, strict=True)]
        memory = merge_gaussians(life.gaussians[task.index], memory, before, new)
    real = life.with_replay(task, data)
    quality = measure_gaussians(memory, judge_of(life, task.index), real, life.key("remember"), group)
    context.emit(Dreamt(context.place, None, num_classes, quality.means))
    if not quality.reaches(life.config.memory):
        measured = quality_in_words(quality, life.config.memory, life.lessons[task.index].classes)
        context.emit(Notice(f"{context.place}: the memory is below the floor, with {measured}."))
    life.keep_memory(task.index, memory, quality)


def judge_of(life: Learner, task: int) -> nn.Module:
    """Return the network that was trained on the real vectors of ``task`` and tells its classes apart."""
    return life.teachers[task] if life.fast_learner is None else OneHead(life.fast_learner, task).eval()


def fitted_memory(life: Learner, num_classes: int, data: Examples, context: PhaseContext) -> GaussianMemory:
    """Return Gaussians that were fitted to ``data``, now or by an earlier run that left them in the cache."""
    config, group, cache = life.config.memory.gaussian, context.group, context.cache

    def fit_now() -> GaussianMemory:
        return fit_gaussians(data.inputs, data.labels, num_classes, config, group)

    if cache is None:
        return fit_now()
    address = cache.gaussian_address(data, num_classes, config, group)
    blank = GaussianMemory(num_classes, data.inputs.shape[1], config.rank, config.bits)
    return cache.recall_or_train(address, blank, fit_now, group, context.emit).cpu()


def train_until_good_enough(
    life: Learner, task: int, data: Examples, start: Generator | None, context: PhaseContext
) -> tuple[Generator, Quality]:
    """Return a generator trained on ``data`` whose dreams are faithful and diverse enough, and how good they are.

    The judge is the fast learner's head of ``task``; ``start`` is the generator that training begins with.

    Raises:
        MemoryQualityError: every attempt stayed below the floor.
    """
    config = life.config.memory
    if life.fast_learner is None:
        raise RuntimeError("a memory needs the fast learner as a judge: run adapt first")
    num_classes = life.fast_learner.head_sizes[task]
    for attempt in range(context.checkpointer.attempt, config.attempts):
        key = memory_key(life, attempt)
        generator = trained_memory(life, num_classes, data, key, start, replace(context, attempt=attempt))
        quality = measure_quality(generator, life.fast_learner, task, data, key, context.group)
        grid = sample_grid(generator, key, context.group.device)
        context.emit(Dreamt(context.place, grid, num_classes, quality.means))
        if quality.reaches(config):
            return generator, quality
        measured = quality_in_words(quality, config, life.lessons[task].classes)
        context.emit(
            Notice(f"{context.place}: attempt {attempt + 1} of {config.attempts} is below the floor, with {measured}.")
        )
    raise MemoryQualityError(
        f"{context.place}: {config.attempts} generators stayed below the floor (label fidelity "
        f"{config.fidelity_floor:.2f}, diversity {config.diversity_floor:.2f}; the last had {measured}): "
        "train the GAN for more steps with --memory.gan.steps."
    )


def quality_in_words(quality: Quality, floor: MemoryConfig, class_names: Sequence[str]) -> str:
    """Return how good a memory is, and how good for each class that is below the ``floor``, by its name."""
    below = [f"{class_names[label]}: {quality.of_class(label)}" for label in quality.classes_below(floor)]
    return f"{quality}; of class {'; '.join(below)}" if below else str(quality)


def memory_key(life: Learner, attempt: int = 0) -> seeding.Key:
    """Return what the draws of one attempt at this cycle's memory are named by."""
    return *life.key("memorise"), attempt


def trained_memory(
    life: Learner,
    num_classes: int,
    data: Examples,
    key: seeding.Key,
    start: Generator | None,
    context: PhaseContext,
) -> Generator:
    """Return a generator that was trained on ``data``, now or by an earlier run that left it in the cache.

    It begins as ``start``, if there is one. Its weights are rounded as they are stored.
    """
    gan = life.config.memory.gan

    def train_now() -> Generator:
        generator = train_gan(data, num_classes, gan, key, context, start)
        round_to_half_(generator)
        return generator

    if context.cache is None:
        return train_now()
    address = context.cache.address(data, gan, key, context.group, start, context.precision)
    blank = build_generator(gan, num_classes, data.image_shape)
    return context.cache.recall_or_train(address, blank, train_now, context.group, context.emit)


def fit_features_and_head(
    net: NeocortexNet,
    task: Task,
    data: Examples,
    context: Trainer,
    key: seeding.Key,
    steps: int,
    config: WakeConfig,
) -> None:
    """Train ``net``'s features and the head of ``task`` with cross-entropy on real ``data``."""
    batches = EpochBatches.of(data.labels, config.batch_size, key, balanced=config.balance_classes)
    data = data.to(context.group.device)

    def losses_of(network: Network, rows: Tensor) -> Losses:
        errors = F.cross_entropy(network(network_input(data.inputs[rows])), data.labels[rows], reduction="none")
        return {"cross_entropy": batch_mean(errors, config.batch_size, context.group)}

    train(
        OneHead(net, task.index),
        losses_of,
        batches.shares_of(context.group),
        steps=steps,
        lr=config.lr,
        context=context,
    )


@torch.no_grad()
def extract_features(net: NeocortexNet, data: Examples, device: torch.device) -> Tensor:
    """Return the features [N, feature_dim] of all images of ``data``."""
    return torch.cat([net.features(network_input(images.to(device))) for images in data.inputs.split(1000)])
