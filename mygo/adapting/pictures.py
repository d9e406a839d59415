"""Made-up pictures with the statistics of photographs: what there is to know of an encoder's maps without any data."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

SHADES = 255
MOST_LEAVES = 400
"""Leaves that lie on one another in a picture, at most."""


def picture(number: int, side: int) -> Image.Image:
    """Return the picture of that ``number``, the same everywhere, of ``side`` × ``side`` pixels.

    Every other one is of leaves that fell on one another (the dead leaves model: Lee, Mumford & Huang 2001, Occlusion
    Models for Natural Images), the others are noise whose amplitude falls with its frequency (Field 1987).
    """
    rng = np.random.default_rng(number)
    return dead_leaves(rng, side) if number % 2 else noise(rng, side)


def dead_leaves(rng: np.random.Generator, side: int) -> Image.Image:
    """Return discs, quadrangles, triangles and lines of all sizes, in colours around one, each over those before."""
    around, spread = rng.integers(0, SHADES + 1, 3), rng.uniform(10, 120)
    image = Image.new("RGB", (side, side), colour(rng.integers(0, SHADES + 1, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(10, MOST_LEAVES))):
        size = min(side / 2, side / 64 / (rng.random() ** 0.6 + 0.02))
        place = rng.uniform(-0.1, 1.1, 2) * side
        fill = colour(around + rng.normal(0, spread, 3))
        kind = rng.integers(4)
        if kind == 0:
            draw.ellipse((*(place - size), *(place + size)), fill=fill)
        elif kind == 1:
            angles = rng.uniform(0, 2 * np.pi) + np.arange(4) * np.pi / 2
            sides = 1.2 * size * rng.uniform(0.3, 1.5, 2)
            draw.polygon(corners(place + np.stack([np.cos(angles), np.sin(angles)], 1) * sides), fill=fill)
        elif kind == 2:
            draw.polygon(corners(place + size * rng.normal(size=(3, 2))), fill=fill)
        else:
            draw.line(corners(np.stack([place, place + 4 * size * rng.normal(size=2)])), fill, max(1, int(size / 3)))
    return image


def noise(rng: np.random.Generator, side: int) -> Image.Image:
    """Return coloured noise whose amplitude is 1 / frequency to some power about 1."""
    frequency = np.fft.fftfreq(side)
    distance = np.maximum(np.hypot(frequency[:, None], frequency[None]), 1 / side)
    amplitude = 1 / distance ** rng.uniform(0.7, 1.6)
    phases = rng.random((3, side, side))
    layers = np.real(np.fft.ifft2(amplitude * np.exp(2j * np.pi * phases))).transpose(1, 2, 0)
    mixed = layers @ (rng.normal(size=(3, 3)) + 2 * np.eye(3))
    contrast, light = rng.uniform(20, 70), SHADES / 2 + rng.uniform(-60, 60)
    shades = light + contrast * (mixed - mixed.mean()) / mixed.std()
    return Image.fromarray(shades.clip(0, SHADES).astype(np.uint8))


def colour(shades: npt.NDArray[np.generic]) -> tuple[int, int, int]:
    """Return three ``shades`` as Pillow takes them."""
    red, green, blue = shades.clip(0, SHADES).astype(int).tolist()
    return red, green, blue


def corners(points: npt.NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return ``points`` [N, 2] as Pillow takes them."""
    return [(x, y) for x, y in points.tolist()]
