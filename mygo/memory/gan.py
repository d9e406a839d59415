"""The conditional GAN that remembers one task: `Generator`, `Discriminator`, and how they are trained.

Both networks that come with it work at half the image's resolution and reach the pixels by sub-pixel rearrangement
(pixel shuffle, Shi et al. 2016), which keeps every convolution wide enough to be fast on a CPU.
"""

import abc
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from mygo import seeding
from mygo.data.datasets import ImageShape, LabelledImages, to_unit_range
from mygo.data.tasks import EpochBatches
from mygo.errors import (
    LARGEST_RATE,
    MOST_AT_ONCE,
    MOST_CHANNELS,
    MOST_STEPS,
    SMALLEST_RATE,
    InputError,
    check_ranges,
)
from mygo.networks import names
from mygo.networks.layers import convolved, group_norm
from mygo.networks.spectral import normalised
from mygo.training.checkpoint import Parts
from mygo.training.graphs import Inputs, recordable
from mygo.training.optimiser import Adam, set_rate
from mygo.training.process_group import batch_mean, share

if TYPE_CHECKING:
    from mygo.training.loop import Crew, Losses


WARM_UP = 50
"""Steps over which the learning rates rise, while a new discriminator gets to know a generator that dreams already."""


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """Sizes and training of one task's conditional GAN."""

    generator: str = "conv"
    """The generator: conv, or one of your own: module:attribute, or a name that `mygo.use_generator` made known."""
    latent_dim: int = 32
    """Length of the noise vector."""
    generator_width: int = 32
    """Channels of the generator."""
    discriminator_width: int = 32
    """Channels of the discriminator at half the image's resolution; up to four times as many below."""
    steps: int = 4000
    """Training steps; each updates the discriminator once and the generator once."""
    batch_size: int = 64
    """Real images, and as many fakes, per step, over all workers."""
    generator_lr: float = 1e-3
    """Adam's learning rate for the generator; over the second half it falls linearly to a twentieth."""
    discriminator_lr: float = 2e-3
    """Adam's learning rate for the discriminator, which falls likewise."""
    ema_decay: float = 0.995
    """Decay per step of the moving average of the generator's weights, which is what is kept."""
    warm_start: bool = True
    """Begin with a copy of the memory before instead of with random weights."""
    balance_classes: bool = True
    """Draw the images of a class that has at most half as many as the largest that many times more often."""

    def __post_init__(self) -> None:
        widths = dict.fromkeys(("latent_dim", "generator_width", "discriminator_width"), (1, MOST_CHANNELS))
        rates = dict.fromkeys(("generator_lr", "discriminator_lr"), (SMALLEST_RATE, LARGEST_RATE))
        check_ranges(self, "memory.gan", **widths, steps=(1, MOST_STEPS), batch_size=(1, MOST_AT_ONCE))
        check_ranges(self, "memory.gan", **rates, ema_decay=(0.0, 1.0))

    def build_generator(self, num_classes: int, image_shape: ImageShape) -> "Generator":
        """Return an untrained generator of images of ``image_shape`` (C, H, W)."""
        sizes = {"latent_dim": self.latent_dim, "width": self.generator_width}
        generator = generator_named(self.generator)(num_classes, image_shape, **sizes)
        if not isinstance(generator, Generator):
            kind = type(generator).__name__
            raise InputError(f"The generator {self.generator!r} must be a mygo.memory.gan.Generator, not {kind}.")
        return generator


class Generator(nn.Module, abc.ABC):
    """Maps noise and a label within the task to an image in [-1, 1].

    A sub-class that is made known to `use_generator` can take the place of `ConvGenerator`.
    """

    def __init__(self, num_classes: int, image_shape: ImageShape, *, latent_dim: int, width: int) -> None:
        """Note the sizes: images are (C, H, W), and the noise is a vector of length ``latent_dim``."""
        super().__init__()
        self.num_classes = num_classes
        self.image_shape = image_shape
        self.latent_dim = latent_dim
        self.width = width

    @abc.abstractmethod
    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Return images [N, C, H, W] for ``noise`` [N, latent_dim] and ``labels`` [N] (integers)."""


class ConvGenerator(Generator):
    """A few convolutions up to the image, with the label's embedding beside the noise."""

    def __init__(self, num_classes: int, image_shape: ImageShape, *, latent_dim: int, width: int) -> None:
        super().__init__(num_classes, image_shape, latent_dim=latent_dim, width=width)
        channels, height, image_width = image_shape
        self.base = (-(-height // 4), -(-image_width // 4))
        self.embed = nn.Embedding(num_classes, latent_dim)
        self.project = nn.Linear(2 * latent_dim, width * self.base[0] * self.base[1])
        self.up = nn.Sequential(
            group_norm(width), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1)
        )
        self.refine = nn.Sequential(group_norm(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))
        self.to_pixels = nn.Sequential(
            group_norm(width), nn.ReLU(), nn.Conv2d(width, 4 * channels, 3, padding=1), nn.PixelShuffle(2), nn.Tanh()
        )

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Return images [N, C, H, W] for ``noise`` [N, latent_dim] and ``labels`` [N] (integers)."""
        code = torch.cat([noise, self.embed(labels)], dim=1)
        x = self.project(code).unflatten(1, (self.width, *self.base))
        x = self.up(x)
        x = x + self.refine(x)
        _, height, width = self.image_shape
        images: Tensor = self.to_pixels(x)
        return images[:, :, :height, :width]


GENERATORS: dict[str, Callable[..., Generator]] = {"conv": ConvGenerator}
"""What makes the generator that a name stands for; takes the arguments of `Generator`."""


def use_generator(name: str, build: Callable[..., Generator]) -> None:
    """Let ``memory.gan.generator`` name a generator of one's own, which ``build`` makes.

    ``build`` is a sub-class of `Generator`, or takes the same arguments and returns one. Weights whose names begin with
    ``embed.`` belong to the labels and are not passed on from one memory to the next. A life that uses it can be opened
    once its name is known again. On Ray the workers know what was known when they were started. What lies in a file of
    its own needs no such call: ``memory.gan.generator`` can name it as ``module:attribute`` (`mygo.networks.names`).
    """
    GENERATORS[name] = build


def generator_named(name: str) -> Callable[..., Generator]:
    """Return what makes the generator that ``name`` stands for; ``module:attribute`` is imported and then known.

    Raises:
        InputError: nothing does, or it cannot be imported.
    """
    if name not in GENERATORS and names.is_import(name):
        use_generator(name, names.imported(name, "--memory.gan.generator", "mygo.use_generator"))
    if name not in GENERATORS:
        raise names.unknown("--memory.gan.generator", name, GENERATORS, "mygo.use_generator")
    return GENERATORS[name]


class Discriminator(nn.Module):
    """Scores how real an image looks for its label: spectral normalisation and projection (Miyato & Koyama 2018).

    The strides go on to a sixteenth of the resolution, or a single row or column, so that the score sees the whole
    object: stopping at a quarter more than doubled the Fréchet distance of Fashion-MNIST dreams after the same training
    time.
    """

    def __init__(self, num_classes: int, image_shape: ImageShape, *, width: int) -> None:
        super().__init__()
        channels, height, image_width = image_shape
        across, down = (max(size % 2, 4 - size) for size in (image_width, height))  # even, and at least 4
        self.padding = (0, across, 0, down)

        def conv(ins: int, outs: int, kernel: int, stride: int) -> nn.Sequential:
            return nn.Sequential(spectral_norm(nn.Conv2d(ins, outs, kernel, stride, padding=1)), nn.LeakyReLU(0.2))

        layers, outs = [conv(4 * channels, width, 3, 1), conv(width, 2 * width, 4, 2)], 2 * width
        side = (min(height + down, image_width + across) // 2) // 2
        # Not for maps that are one position high or wide: there oneDNN leaves this layer's gradient in bfloat16 unset.
        while side > 1 and len(layers) < 4:
            layers.append(conv(outs, 4 * width, 3, 2))
            side, outs = -(-side // 2), 4 * width
        self.features = nn.Sequential(*layers)
        self.score = spectral_norm(nn.Linear(outs, 1))
        self.embed = spectral_norm(nn.Embedding(num_classes, outs))
        # In this layout the convolutions take two thirds of the time.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor, labels: Tensor, *, fixed: bool = False) -> Tensor:
        """Return scores [N] for ``images`` [N, C, H, W] in [-1, 1] and ``labels`` [N] (integers).

        Spectral normalisation makes an iteration, unless all parameters are ``fixed``, as for the generator's update.
        """
        blocks: list[Any] = list(self.features)  # each a convolution and its activation
        layers = [*(layer for layer, _ in blocks), self.score]
        *weights, score, embed = normalised([*layers, self.embed], fixed=fixed)
        biases: list[Tensor] = [layer.get_parameter("bias") for layer in layers]
        if fixed:
            biases = [bias.detach() for bias in biases]
        halved = F.pixel_unshuffle(F.pad(images, self.padding), 2)
        h = halved.contiguous(memory_format=torch.channels_last)
        for (layer, activation), weight, bias in zip(blocks, weights, biases[:-1], strict=True):
            h = activation(convolved(h, layer, weight, bias))
        h = h.sum(dim=(2, 3))
        return F.linear(h, score, biases[-1]).squeeze(1) + (F.embedding(labels, embed) * h).sum(dim=1)


def train_gan(
    data: LabelledImages,
    num_classes: int,
    config: GanConfig,
    key: seeding.Key,
    crew: "Crew",
    start: Generator | None = None,
) -> Generator:
    """Train a conditional GAN on one task's real ``data`` and return the moving average of its generator.

    One step updates the discriminator on a batch of real images and as many fakes, then the generator on those fakes,
    both with the non-saturating logistic loss (Goodfellow et al. 2014). Noise is drawn for the whole global batch, of
    which each rank takes its own share. With ``start``, the generator begins as a copy of that one, labels aside: it
    dreams well sooner, and the dreams of all memories have like faults, so that faults do not give a task away.
    """
    team = crew.team
    batches = EpochBatches.of(data.labels, config.batch_size, key, balanced=config.balance_classes)
    data, mine = data.to(team.device), share(config.batch_size, team.rank, team.size)
    with seeding.seeded(*key, "init"):
        generator = config.build_generator(num_classes, data.image_shape).to(team.device)
        discriminator = Discriminator(num_classes, data.image_shape, width=config.discriminator_width).to(team.device)
    if start is not None:
        weights = {name: value for name, value in start.state_dict().items() if not name.startswith("embed.")}
        generator.load_state_dict(weights, strict=False)
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
        return batch_mean(per_image, config.batch_size, team)

    with recordable(team.device):
        generate, discriminate = team.wrap(generator), team.wrap(discriminator)

        def update(
            rate_g: float | Tensor, rate_d: float | Tensor, decay: float | Tensor, rows: Tensor, noise: Tensor
        ) -> "Losses":
            set_rate(optimise_g, rate_g)
            set_rate(optimise_d, rate_d)
            real, labels = to_unit_range(data.images[rows]), data.labels[rows]
            with crew.multiplying():
                fake = generate(noise, labels)
                scores = discriminate(torch.cat([real, fake.detach()]), torch.cat([labels, labels]))
            real_scores, fake_scores = scores.float().chunk(2)
            loss_d = mean(F.softplus(-real_scores) + F.softplus(fake_scores))
            losses = dict(crew.minimise({"discriminator": loss_d}, optimise_d))

            with crew.multiplying():
                scores = discriminator(fake, labels, fixed=True)
            loss_g = mean(F.softplus(-scores.float()))
            losses |= crew.minimise({"generator": loss_g}, optimise_g)

            move_towards(generator, average, 1 - decay)
            return losses

        parts: Parts = {
            "generator": generator,
            "discriminator": discriminator,
            "average": average,
            "optimise_g": optimise_g,
            "optimise_d": optimise_d,
        }
        crew.train(update, inputs_at, steps=config.steps, parts=parts)
    return average


@torch.no_grad()
def move_towards(goal: nn.Module, module: nn.Module, share: float | Tensor) -> None:
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
