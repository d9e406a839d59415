"""How the conditional GAN that remembers one task is trained."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mygo import seeding
from mygo.config.learner import GanConfig
from mygo.data.examples import Examples, ImageShape, to_unit_range
from mygo.networks.discriminator import Discriminator, constant
from mygo.networks.generator import Generator, build_generator
from mygo.training.batches import EpochBatches
from mygo.training.checkpoint import Parts
from mygo.training.graphs import Inputs, recordable
from mygo.training.loop import Losses, Trainer
from mygo.training.optimiser import Adam, set_rate
from mygo.training.process_group import batch_mean, share

Number = float | Tensor
"""A tensor where the step is recorded as a CUDA graph."""

WARM_UP = 50
"""Steps over which the learning rates rise, while a new discriminator gets to know a generator that dreams already."""


def train_gan(
    data: Examples,
    num_classes: int,
    config: GanConfig,
    key: seeding.Key,
    context: Trainer,
    start: Generator | None = None,
) -> Generator:
    """Train a conditional GAN on one task's real ``data`` and return the moving average of its generator.

    One step updates the discriminator on a batch of real images and as many fakes, then the generator on those fakes,
    both with the non-saturating logistic loss (Goodfellow et al. 2014). Noise is drawn for the whole global batch, of
    which each rank takes its own share. With ``start``, the generator begins as a copy of that one, labels aside: it
    dreams well sooner, and the dreams of all memories have like faults, so that faults do not give a task away.
    """
    group = context.group
    batches = EpochBatches.of(data.labels, config.batch_size, key, balanced=config.balance_classes)
    data, mine = data.to(group.device), share(config.batch_size, group.rank, group.size)
    generator, discriminator = new_networks(config, num_classes, data.image_shape, key, start)
    generator, discriminator = generator.to(group.device), discriminator.to(group.device)
    average = copy.deepcopy(generator).requires_grad_(False)
    optimise_g = Adam(generator, lr=config.generator_lr, betas=(0.0, 0.99))
    optimise_d = Adam(discriminator, lr=config.discriminator_lr, betas=(0.0, 0.99))

    def inputs_at(step: int) -> Inputs:
        factor = lr_factor(step, config.steps)
        decay = min(config.ema_decay, (1 + step) / (10 + step))
        noise = torch.randn(config.batch_size, config.latent_dim, generator=seeding.stream(*key, "noise", step))
        rates = config.generator_lr * factor, config.discriminator_lr * factor
        return *rates, decay, batches.indices(step)[mine], noise[mine]

    def mean(per_image: Tensor) -> Tensor:
        return batch_mean(per_image, config.batch_size, group)

    with recordable(group.device):
        generate, discriminate = group.wrap(generator), group.wrap(discriminator)

        def update(rate_g: Number, rate_d: Number, decay: Number, rows: Tensor, noise: Tensor) -> Losses:
            set_rate(optimise_g, rate_g)
            set_rate(optimise_d, rate_d)
            real, labels = to_unit_range(data.inputs[rows]), data.labels[rows]
            with context.multiplying():
                fake = generate(noise, labels)
                scores = discriminate(torch.cat([real, fake.detach()]), torch.cat([labels, labels]))
            real_scores, fake_scores = scores.float().chunk(2)
            loss_d = mean(F.softplus(-real_scores) + F.softplus(fake_scores))
            losses = dict(context.minimise({"discriminator": loss_d}, optimise_d))

            with context.multiplying(), constant(discriminator):
                scores = discriminator(fake, labels)
            loss_g = mean(F.softplus(-scores.float()))
            losses |= context.minimise({"generator": loss_g}, optimise_g)

            move_towards(generator, average, 1 - decay)
            return losses

        parts: Parts = {"generator": generator, "discriminator": discriminator, "average": average}
        parts = {**parts, "optimise_g": optimise_g, "optimise_d": optimise_d}
        context.train(update, inputs_at, steps=config.steps, parts=parts)
    return average


def new_networks(
    config: GanConfig, num_classes: int, image_shape: ImageShape, key: seeding.Key, start: Generator | None
) -> tuple[Generator, Discriminator]:
    """Return a generator, which begins as ``start`` if there is one, labels aside, and a discriminator."""
    with seeding.seeded(*key, "init"):
        generator = build_generator(config, num_classes, image_shape)
        discriminator = Discriminator(num_classes, image_shape, width=config.discriminator_width)
    if start is not None:
        weights = {name: value for name, value in start.state_dict().items() if not name.startswith("embed.")}
        generator.load_state_dict(weights, strict=False)
    return generator, discriminator


@torch.no_grad()
def move_towards(goal: nn.Module, module: nn.Module, share: Number) -> None:
    """Move the parameters of ``module`` by ``share`` of the way to those of ``goal``."""
    kept: list[Tensor] = list(module.parameters())
    current: list[Tensor] = list(goal.parameters())
    if isinstance(share, Tensor):
        torch._foreach_lerp_(kept, current, [share] * len(kept))
    else:
        torch._foreach_lerp_(kept, current, share)


def lr_factor(step: int, steps: int) -> float:
    """Return the factor of the learning rate at ``step``: up to 1 over `WARM_UP` steps, from half-way down to 0.05."""
    return min(1.0, (step + 1) / WARM_UP, 1.0 - 0.95 * (2 * step / steps - 1))
