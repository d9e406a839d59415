"""The conditional generator that dreams a task's images.

It works at half the image's resolution and reaches the pixels by sub-pixel rearrangement (pixel shuffle, Shi et al.
2016), which keeps every convolution wide enough to be fast on a CPU; so does the discriminator.
"""

import abc
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mygo.config.learner import GanConfig
from mygo.data.examples import ImageShape
from mygo.errors import InputError
from mygo.networks import names
from mygo.networks.layers import group_norm


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


def build_generator(config: GanConfig, num_classes: int, image_shape: ImageShape) -> Generator:
    """Return an untrained generator of images of ``image_shape`` (C, H, W), of the sizes that ``config`` says.

    Raises:
        InputError: nothing goes by the name of the generator, or it is none.
    """
    sizes = {"latent_dim": config.latent_dim, "width": config.generator_width}
    generator = generator_named(config.generator)(num_classes, image_shape, **sizes)
    if not isinstance(generator, Generator):
        kind = type(generator).__name__
        raise InputError(f"The generator {config.generator!r} must be a {__name__}.Generator, not {kind}.")
    return generator
