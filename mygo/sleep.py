"""Sleep: distil old and new knowledge into the neocortex, from dreams alone. There is no real data here."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mygo.adapting.late import PACE, LateNetwork
from mygo.config.learner import SleepConfig
from mygo.data.examples import network_input
from mygo.data.tasks import Task
from mygo.encoders.efficientnet_lite import HEAD
from mygo.learner.learner import Learner
from mygo.learner.limits import fit_detector
from mygo.memory.gaussian import ClassGaussians
from mygo.networks.neocortex import NeocortexNet, OwnOutputs, own_outputs, stacked_heads, unstack_heads
from mygo.networks.weights import fill
from mygo.phase import PhaseContext
from mygo.replay.schedule import Dreams
from mygo.replay.spec import replay_of
from mygo.training.loop import Losses, Network, train
from mygo.training.process_group import ProcessGroup, batch_mean

PARTS_OF_DREAMS = len(fields(Dreams))


def consolidate(life: Learner, task: Task, context: PhaseContext) -> None:
    """Train the neocortex on dreams of all tasks to answer as the teacher does.

    With one head that a fast learner has just trained it is skipped: there is nothing to reconcile. Behind a frozen
    encoder the student is a new one, so that it becomes the same whatever the order was in which the memories came.
    Late blocks of an encoder begin as they were pretrained, so that errors do not add up from sleep to sleep.
    """
    if len(life.lessons) > 1 or life.fast_learner is None:
        distil(life, context)


def distil(life: Learner, context: PhaseContext) -> None:
    """Train the neocortex, however many heads it has, on dreams of all tasks to answer as the teacher does."""
    config = life.config.sleep
    spec = replay_of(life)
    schedule = spec.schedule
    outputs = own_outputs(schedule.head_sizes, context.group.device)
    dreams_by_step = context.dreams.dreams(spec, context.group, context.checkpointer.steps_done(context.attempt))

    def inputs_at(step: int) -> tuple[Tensor, ...]:
        with context.waiting_for("dreams"):
            dreams, classes = next(dreams_by_step), schedule.classes_at(step)
        return dreams.tensors if classes is None else (*dreams.tensors, classes.to(context.group.device))

    def losses_of(network: Network, *tensors: Tensor) -> Losses:
        dreams, classes = Dreams(*tensors[:PARTS_OF_DREAMS]), tensors[PARTS_OF_DREAMS:]
        features, taught, *told = network(network_input(dreams.inputs), *classes)
        there = outputs.among(*classes) if classes else outputs
        losses = distillation_losses(taught, dreams, there, config, context.group)
        for logits in told:
            losses |= label_losses(logits, dreams, classes, config, context.group)
        return losses | feature_losses(features, dreams, config, context.group)

    if life.adapts:
        consolidate_late(life, schedule.steps, losses_of, inputs_at, context)
        return
    if life.on_features:
        consolidate_features(life, schedule.steps, losses_of, inputs_at, context)
        return
    student = Student(life.neocortex)
    train(student, losses_of, inputs_at, steps=config.steps, lr=config.lr, context=context)
    unstack_heads(student.heads, life.neocortex, range(len(life.lessons)))


def calibrate(life: Learner, task: Task, context: PhaseContext) -> None:
    """Fit what ``life`` knows of its limits: a temperature, and a score of what it does not know with its thresholds.

    Every rank fits the same.
    """
    life.detector = fit_detector(life, context.group.device)


def consolidate_features(
    life: Learner,
    steps: int,
    losses_of: Callable[..., Losses],
    inputs_at: Callable[[int], tuple[Tensor, ...]],
    context: PhaseContext,
) -> None:
    """Train a new student behind the encoder, so that it becomes the same in whatever order the memories came.

    A linear one sees vectors less the mean of all classes, which its biases take back afterwards, and is mixed with
    what linear discriminant analysis says of the memories.
    """
    config, order = life.config.sleep, life.lessons_in_order()
    student, is_linear = blank_student(life, order), life.config.backbone == "linear"
    gaussians = ClassGaussians([life.gaussians[number] for number in order], context.group.device)
    centre = gaussians.means.mean(0)

    def centred_losses(network: Network, dreams: Tensor, *others: Tensor) -> Losses:
        return losses_of(network, dreams - centre, *others)

    losses = centred_losses if is_linear else losses_of
    train(student, losses, inputs_at, steps=steps, lr=config.lr, context=context)
    if is_linear:
        with torch.no_grad():
            student.heads.bias.sub_(student.heads.weight @ centre)
        mix_discriminant(student.heads, gaussians, discriminant_weight(life, gaussians.feature_dim))
    life.neocortex.features = student.features
    unstack_heads(student.heads, life.neocortex, order)


def consolidate_late(
    life: Learner,
    steps: int,
    losses_of: Callable[..., Losses],
    inputs_at: Callable[[int], tuple[Tensor, ...]],
    context: PhaseContext,
) -> None:
    """Train late blocks of the encoder, from where they were pretrained, beside a head on its pretrained features.

    That is mixed with linear discriminant analysis as `consolidate_features` does.
    """
    gaussians, order = ClassGaussians(life.gaussians, context.group.device), life.lessons_in_order()
    student = Ensemble(blank_student(life, order))
    student.network.centre_on(gaussians.means)
    train(student, losses_of, inputs_at, steps=steps, lr=life.config.sleep.lr, context=context)
    student.mix_discriminant(gaussians, discriminant_weight(life, HEAD))
    life.neocortex.features = student.features
    unstack_heads(student.merged(gaussians.means), life.neocortex, order)


def blank_student(life: Learner, order: Sequence[int]) -> "Student":
    """Return a student as ``life`` was before its first lesson, with heads of zeros in this ``order``."""
    net = life.newborn()
    for number in order:
        head = net.add_task_head(life.neocortex.head_sizes[number])
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    return Student(net)


def discriminant_weight(life: Learner, feature_dim: int, examples: int | None = None) -> float:
    """Return how much linear discriminant analysis weighs beside the student, from 0 to 1.

    That is 1 / (1 + √(n / c)) for n ``examples``, by default all that were seen, for each of ``feature_dim``, where c
    is the setting. Generative classifiers come close to their best with far fewer examples than discriminative ones (Ng
    & Jordan 2002).
    """
    equal = life.config.sleep.discriminant_examples
    if equal == 0:
        return 0.0
    if examples is None:
        examples = sum(sum(lesson.images) for lesson in life.lessons)
    return 1 / (1 + math.sqrt(examples / feature_dim / equal))


@torch.no_grad()
def mix_discriminant(heads: nn.Linear, gaussians: ClassGaussians, weight: float) -> None:
    """Move the answers of ``heads`` by ``weight``, from 0 to 1, to those of linear discriminant analysis.

    Those are brought to the size of the heads' own first, by what both say of the classes' means, centred over classes.
    """
    if weight == 0 or gaussians.num_classes < 2:
        return
    weights, biases = gaussians.discriminant()
    ratio = weight * ratio_of_sizes(heads(gaussians.means), gaussians.means @ weights.T + biases)
    heads.weight.mul_(1 - weight).add_(ratio * (weights - weights.mean(0)))
    heads.bias.mul_(1 - weight).add_(ratio * (biases - biases.mean()))


def ratio_of_sizes(first: Tensor, second: Tensor) -> Tensor:
    """Return by what logits ``second`` [N, K] are to be scaled to vary over classes as much as ``first`` do.

    Those of one class alone do not vary, and stay as they are.
    """
    if first.shape[1] < 2:
        return first.new_ones(())
    size, of_second = ((each - each.mean(1, keepdim=True)).std() for each in (first, second))
    return size / of_second.clamp_min(1e-12)


class Student(nn.Module):
    """The neocortex as it is distilled: it answers with its features beside its logits, from all heads as one layer."""

    def __init__(self, net: NeocortexNet) -> None:
        """Share the features of ``net``, and copy its heads."""
        super().__init__()
        self.features = net.features
        self.heads = stacked_heads(net)

    def forward(self, inputs: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return features [N, F] and logits [N, K] for images [N, C, H, W] in [-1, 1] or vectors [N, D].

        Logits are of all heads, or of ``classes`` [K] alone, counted over all heads side by side.
        """
        features = self.features(inputs)
        return features, answers_of(self.heads, features, classes)


def answers_of(heads: nn.Linear, features: Tensor, classes: Tensor | None) -> Tensor:
    """Return the logits of ``heads`` for ``features`` [N, F], or those of ``classes`` [K] alone."""
    return heads(features) if classes is None else F.linear(features, heads.weight[classes], heads.bias[classes])


class Ensemble(nn.Module):
    """A student with late blocks that answers twice: with a head on what these say, and one on pretrained features.

    Each learns to answer alone, or the one that learns faster would leave the other nothing to learn. Late blocks learn
    from teachers; a linear layer needs none, and learns of which class a dream is.
    """

    def __init__(self, student: Student) -> None:
        """Share the features of a blank ``student``."""
        super().__init__()
        self.features = student.features
        outputs = student.heads.out_features
        half = student.heads.in_features // 2
        self.on_late, self.on_pretrained = nn.Linear(half, outputs), nn.Linear(half, outputs)
        for parameter in (*self.on_late.parameters(), *self.on_pretrained.parameters()):
            nn.init.zeros_(parameter)

    @property
    def network(self) -> LateNetwork:
        """The late blocks and what is beside them."""
        (network,) = self.features
        assert isinstance(network, LateNetwork)
        return network

    def forward(self, inputs: Tensor, classes: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return features [N, 2560], and logits [N, K] of late blocks and of pretrained features, for vectors [N, D].

        Logits are of all heads, or of ``classes`` [K] alone, counted over all heads side by side.
        """
        features = self.features(inputs)
        late, pretrained = features.chunk(2, 1)
        return features, answers_of(self.on_late, late, classes), answers_of(self.on_pretrained, pretrained, classes)

    @torch.no_grad()
    def mix_discriminant(self, gaussians: ClassGaussians, weight: float) -> None:
        """Mix the head on pretrained features with linear discriminant analysis, as `mix_discriminant` does."""
        head, centre = self.on_pretrained, self.network.centre
        head.weight.mul_(PACE)
        head.bias.sub_(head.weight @ centre)  # for features as memories have them
        mix_discriminant(head, gaussians.first_dimensions(len(centre)), weight)
        head.bias.add_(head.weight @ centre)
        head.weight.div_(PACE)

    @torch.no_grad()
    def merged(self, vectors: Tensor) -> nn.Linear:
        """Return one layer that answers with the mean of both, once they are as large on ``vectors`` [N, D]."""
        _, of_late, of_pretrained = self(vectors)
        ratio = ratio_of_sizes(of_late, of_pretrained)
        weight = torch.cat([self.on_late.weight, ratio * self.on_pretrained.weight], 1) / 2
        mean = {"weight": weight, "bias": (self.on_late.bias + ratio * self.on_pretrained.bias) / 2}
        return fill(lambda: nn.Linear(weight.shape[1], weight.shape[0]), mean)


def centred(values: Tensor, real: Tensor) -> Tensor:
    """Return ``values`` [N, H] less each row's mean over what is ``real`` (bool [N, H])."""
    return values - (values * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)


def feature_losses(features: Tensor, dreams: Dreams, config: SleepConfig, group: ProcessGroup) -> dict[str, Tensor]:
    """Return the mean squared error with the teacher's features [N, F], weighted, if it weighs anything.

    Teachers and student come from one network, so their features can be compared (Romero et al. 2015, arXiv:1412.6550,
    match them through a regressor where they cannot). Where they come from several lives, dreams bring none.
    """
    if config.feature_weight == 0 or not dreams.teacher_features.shape[1]:
        return {}
    squared = (features - dreams.teacher_features).square().mean(1)
    return {"features": config.feature_weight * batch_mean(squared, config.batch_size, group)}


def distillation_losses(
    logits: Tensor, dreams: Dreams, outputs: OwnOutputs, config: SleepConfig, group: ProcessGroup
) -> dict[str, Tensor]:
    """Return the two weighted terms of sleep's loss for the student's ``logits`` [N, K] on this rank's ``dreams``.

    ``own_head``: mean squared error with the teacher's logits over the outputs of the dream's own task, both centred
    there: a constant added to a head says nothing about its task, and across tasks it is the other term's to set.
    ``all_heads``: cross-entropy over all K outputs, at a temperature (Hinton et al. 2015, arXiv:1503.02531). The target
    is the teacher's probabilities within the dream's own task and 0 elsewhere: which task a dream belongs to is known,
    since its generator was given it.
    """
    own, real = outputs.positions[dreams.tasks], outputs.real[dreams.tasks]
    teacher = dreams.teacher_logits
    squared = (centred(logits.gather(1, own) - teacher, real).square() * real).sum(1) / real.sum(1)
    target = torch.softmax((teacher / config.temperature).masked_fill(~real, -torch.inf), dim=1)
    log_probabilities = torch.log_softmax(logits / config.temperature, dim=1).gather(1, own)
    crossed = -(target * log_probabilities).sum(1) * config.temperature**2
    return {
        "own_head": config.own_head_weight * batch_mean(squared, config.batch_size, group),
        "all_heads": config.all_heads_weight * batch_mean(crossed, config.batch_size, group),
    }


def label_losses(
    logits: Tensor, dreams: Dreams, classes: Sequence[Tensor], config: SleepConfig, group: ProcessGroup
) -> dict[str, Tensor]:
    """Return the cross-entropy with labels of ``logits`` [N, K], which are of all classes, or of some ``classes``."""
    labels = torch.searchsorted(classes[0], dreams.labels) if classes else dreams.labels
    return {"labels": batch_mean(F.cross_entropy(logits, labels, reduction="none"), config.batch_size, group)}
