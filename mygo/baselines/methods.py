"""What MyGO is compared with: the same network, heads, number of steps and evaluation, on each task's real data."""

import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from mygo import seeding
from mygo.config.learner import WakeConfig
from mygo.data.examples import Examples, network_input
from mygo.data.tasks import Task
from mygo.learner.learner import Learner
from mygo.memory.forms import memory_bytes_of
from mygo.phase import PhaseContext
from mygo.training.batches import EpochBatches, repeats_of
from mygo.training.loop import Losses, Network, train
from mygo.training.process_group import batch_mean, share
from mygo.wake import centre_on, fit_features_and_head, mirrored

LWF_TEMPERATURE = 2.0
"""Temperature of the distillation of Learning without Forgetting (Li & Hoiem 2016, arXiv:1606.09282)."""


def finetune(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Train features and the new head on the new task, and nothing else: the lower bound."""
    if task.index == 0:
        centre_on(life, data)
    data, key = mirrored(life, data), (life.config.seed, "finetune", task.index)
    fit_features_and_head(life.neocortex, task, data, context, key, life.config.baseline_steps, life.config.wake)


def joint(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Keep all real data and train on all of it: the upper bound.

    Behind an encoder it begins anew with each task, as what is trained on and on learns noise by heart.
    """
    life.exemplars.append(data)
    if life.on_features:
        if life.adapts:
            life.neocortex.features = life.newborn().features.to(context.group.device)
        with torch.no_grad():
            for parameter in life.neocortex.classifiers.parameters():
                parameter.zero_()
    fit_all_heads(life, task, life.exemplars, context, "joint")


def replay(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Train on the new task and on real data kept of earlier ones, as many bytes a task as a memory takes."""
    fit_all_heads(life, task, [*life.exemplars, data], context, "replay", balanced=True)
    room = memory_bytes_of(life.config, len(task.classes), data.input_shape)
    order = torch.randperm(len(data), generator=seeding.stream(life.config.seed, "exemplars", task.index))
    life.exemplars.append(as_kept(data[order[: max(1, room // as_kept(data[:1]).nbytes)]]))


def as_kept(data: Examples) -> Examples:
    """Return ``data`` as it is kept in the fewest bytes: images as they are, vectors in half precision."""
    return data if data.inputs.dtype == torch.uint8 else Examples(data.inputs.half(), data.labels)


def learning_without_forgetting(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Train on the new task while the old heads keep answering on its images as they did before (Li & Hoiem 2016)."""
    config = life.config.wake
    if task.index == 0:
        finetune(life, task, data, context)
        return
    data = mirrored(life, data)
    key = (life.config.seed, "lwf", task.index)
    batches = EpochBatches.of(data.labels, config.batch_size, key, balanced=config.balance_classes)
    data = data.to(context.group.device)
    before = copy.deepcopy(life.neocortex).eval().requires_grad_(False)
    sizes = life.neocortex.head_sizes
    old = sum(sizes[:-1])

    def losses_of(network: Network, rows: Tensor) -> Losses:
        images = network_input(data.inputs[rows])
        logits = network(images)
        errors = F.cross_entropy(logits[:, old:], data.labels[rows], reduction="none")
        with torch.no_grad():
            targets = (before(images)[:, :old] / LWF_TEMPERATURE).split(sizes[:-1], dim=1)
        answers = (logits[:, :old] / LWF_TEMPERATURE).split(sizes[:-1], dim=1)
        kept = [
            F.cross_entropy(answer, target.softmax(1), reduction="none")
            for answer, target in zip(answers, targets, strict=True)
        ]
        return {
            "cross_entropy": batch_mean(errors, config.batch_size, context.group),
            "distillation": LWF_TEMPERATURE**2 * batch_mean(torch.stack(kept).sum(0), config.batch_size, context.group),
        }

    steps = life.config.baseline_steps
    train(life.neocortex, losses_of, batches.shares_of(context.group), steps=steps, lr=config.lr, context=context)


def fit_all_heads(
    life: Learner, task: Task, parts: list[Examples], context: PhaseContext, name: str, *, balanced: bool = False
) -> None:
    """Train the whole network with cross-entropy over all heads, on real examples of each task so far (``parts``).

    Batches are drawn from all examples alike or, ``balanced``, from each task alike, however few examples it has; those
    of rare classes come more often, if the life balances classes.
    """
    config = life.config.wake
    sizes = life.neocortex.head_sizes
    parts = [mirrored(life, part) for part in parts]
    shifted = [Examples(p.inputs, p.labels + sum(sizes[:i])) for i, p in enumerate(parts)]
    data = Examples.concatenate(shifted)
    if task.index == 0 or name == "joint":
        centre_on(life, data)
    weights = torch.cat([shares(p.labels, config) for p in parts]) if balanced else repeats(data.labels, config)
    data = data.to(context.group.device)

    def inputs_at(step: int) -> tuple[Tensor]:
        rng = seeding.stream(life.config.seed, name, task.index, step)
        drawn = torch.multinomial(weights, config.batch_size, replacement=True, generator=rng)
        return (drawn[share(config.batch_size, context.group.rank, context.group.size)],)

    def losses_of(network: Network, rows: Tensor) -> Losses:
        errors = F.cross_entropy(network(network_input(data.inputs[rows])), data.labels[rows], reduction="none")
        return {"cross_entropy": batch_mean(errors, config.batch_size, context.group)}

    train(life.neocortex, losses_of, inputs_at, steps=life.config.baseline_steps, lr=config.lr, context=context)


def repeats(labels: Tensor, config: WakeConfig) -> Tensor:
    """Return how many times more often than others examples with ``labels`` [N] are to be drawn, [N]."""
    return repeats_of(labels).float() if config.balance_classes else torch.ones(len(labels))


def shares(labels: Tensor, config: WakeConfig) -> Tensor:
    """Return the share of the draws that each of the examples with ``labels`` [N] is to have, [N]."""
    drawn = repeats(labels, config)
    return drawn * (1 / float(drawn.sum()))
