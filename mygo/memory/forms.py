"""The forms that a memory can have, and which of them a life keeps."""

from typing import TypeAlias

from torch import nn

from mygo.config.learner import LifeConfig, MemoryConfig
from mygo.data.examples import InputShape
from mygo.memory.gaussian import GaussianMemory
from mygo.memory.quality import stored_bytes
from mygo.networks.generator import Generator, build_generator

Memory: TypeAlias = Generator | GaussianMemory
"""What is kept of a lesson: the generator of a conditional GAN over pixels, or Gaussians over feature vectors."""


def blank_memory(config: MemoryConfig, num_classes: int, input_shape: InputShape) -> Memory:
    """Return a memory of ``num_classes`` that was never trained, of the form and sizes that it has for such inputs."""
    if len(input_shape) == 1:
        return GaussianMemory(num_classes, input_shape[0], config.gaussian.rank, config.gaussian.bits)
    channels, height, width = input_shape
    return build_generator(config.gan, num_classes, (channels, height, width))


def memory_bytes_of(config: LifeConfig, num_classes: int, input_shape: InputShape) -> int:
    """Return the bytes kept of a task of ``num_classes``: its memory and, behind a frozen encoder, its teacher."""
    has_teacher = len(input_shape) == 1 and config.adapt == "none"
    teacher = stored_bytes(nn.Linear(input_shape[0], num_classes)) if has_teacher else 0
    return stored_bytes(blank_memory(config.memory, num_classes, input_shape)) + teacher
