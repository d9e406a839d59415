"""Pictures of any size, format and mode, as a person has them, and the small uint8 images that a life learns from."""

import functools
import math
import struct
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median_high
from typing import BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from mygo.config.ranges import LARGEST, SMALLEST

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width in pixels."""
PictureFile: TypeAlias = Path | BinaryIO
"""A file by its path, or its bytes as a stream from the beginning."""


FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF")
"""What is opened, whatever a file is called. Others that PIL knows start programs or need files of their own."""

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
)
"""Files that are meant as pictures; HEIC, which PIL cannot read, is among them so that it is not overlooked."""

STEP = 4
"""The sides are multiples of this, which the backbone conv needs."""

GREY_MODES = ("1", "L", "LA", "La")
"""PIL's modes of pictures without colours and of at most 8 bits."""
TURNED = (5, 6, 7, 8)
"""The orientations in which a camera notes that height and width are to be exchanged."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture upright, by the orientation that its camera noted."""

SEVERAL, DEEP = "mygo: several", "mygo: deep"
"""Keys in PIL's ``info`` of a picture that was opened: its file holds more pictures; or 16 bits for each value."""
DARKEST = 16
"""A picture of 16 bits whose values, as 8 bits, are no higher uses 12 of them, or fewer."""
SAME_EVERYWHERE = (0, 0), (255, 255)
"""The least and the most opacity of pictures whose transparency says nothing."""
BRIGHT = 192
"""Mean luma from which on what is drawn on a transparent ground is laid on black instead of on white."""

REMARKS = {
    "several": "{count} of {total} images have several frames or pages, of which the first was taken.",
    "transparent": (
        "{count} of {total} images are transparent in parts: they were laid on white or, where what they show is "
        "bright, on black."
    ),
    "dark": (
        "{count} of {total} images have 16 bits but use 12 or fewer, so they are nearly black: save them with 8 bits "
        "that span from dark to bright."
    ),
}
"""Sentences on what is odd about some pictures, by what `oddities_of` calls it."""


def open_picture(path: PictureFile, at_least: Size | None = None) -> Image.Image:
    """Read the picture in ``path``, of several the first, and turn it upright as its camera noted.

    A JPEG is decoded at a half, a quarter or an eighth of its size where both sides stay ``at_least`` these, which
    takes a fraction of the time.

    Raises:
        Exception: it cannot be read; PIL raises anything on a damaged file. A picture that takes far more memory than
            its file (a decompression bomb) is refused as PIL does, and also where PIL only warns.
    """
    with _opened(path) as picture:
        if at_least is not None:
            height, width = reversed(at_least) if _orientation(picture) in TURNED else at_least
            picture.draft(None, (width, height))  # None keeps the mode
        deep = any(";16" in str(tile.args) for tile in picture.tile)  # so PIL calls what it may cut down to 8 bits
        turned = upright(picture)
        if deep:
            turned.info[DEEP] = True
        with suppress(Exception):  # a damaged second frame does not matter
            if picture.format != "MPO" and getattr(picture, "is_animated", False):  # a phone's MPO: other sizes of it
                turned.info[SEVERAL] = True
        return turned


def upright(picture: Image.Image) -> Image.Image:
    """Return a copy of ``picture``, turned as its camera noted; a note that cannot be read counts as none."""
    picture.load()
    method = UPRIGHT.get(_orientation(picture))
    return picture.copy() if method is None else picture.transpose(method)


def _orientation(picture: Image.Image) -> int:
    # PIL's exif_transpose writes all of the EXIF block again, and fails on odd numbers in parts that do not matter.
    with suppress(Exception):
        noted = picture.getexif().get(ExifTags.Base.Orientation)
        if isinstance(noted, int):
            return noted
    # Besides, it reads nothing that comes after an entry which is damaged.
    with suppress(struct.error, KeyError):
        return _noted_in(picture.info.get("exif", b""))
    return 1


def _noted_in(exif: bytes) -> int:
    """Return the orientation that the first directory of an EXIF block notes (TIFF 6.0, section 2), 1 if it has none.

    Raises:
        struct.error, KeyError: it is not whole.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}[block[:2]]
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (count,) = struct.unpack_from(f"{order}H", block, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", block, entry)
        if tag == ExifTags.Base.Orientation:
            return int(value)
    return 1


def size_of(path: PictureFile) -> Size:
    """Return the size that `open_picture` would find, from the beginning of the file alone; it raises the same."""
    with _opened(path) as picture:
        width, height = picture.size
        turned = picture.format != "TIFF" and _orientation(picture) in TURNED  # PIL turns a TIFF itself
        return (width, height) if turned else (height, width)


def pixels_of(path: PictureFile) -> int:
    """Return width times height, without decoding anything, as `size_of` does to look for a note of the camera."""
    with _opened(path) as picture:
        return picture.width * picture.height


@contextmanager
def _opened(path: PictureFile) -> Iterator[ImageFile.ImageFile]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata, which does no harm
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(path, formats=_formats()) as picture:
            yield picture


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def as_picture(value: object) -> Image.Image:
    """Return an image as data sets have it: a PIL image; an array; or a tensor as ToTensor or PILToTensor makes it.

    Arrays are uint8 [H, W] or [H, W, C], tensors [H, W] or [C, H, W], uint8 or floating-point from 0 to 1. A PIL image
    that comes from a file as it is, is turned upright as by `open_picture`.

    Raises:
        TypeError, ValueError: it is none of these.
    """
    if isinstance(value, ImageFile.ImageFile):
        return upright(value)
    if isinstance(value, Image.Image):
        return value
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
        if value.ndim == 3:
            value = np.moveaxis(value, 0, 2)
        if value.dtype.kind == "f":
            if not (value.size and value.min() >= 0 and value.max() <= 1):
                raise ValueError("its values are not from 0 to 1, as without Normalize")
            value = np.round(value * 255).astype(np.uint8)
    if not isinstance(value, np.ndarray):
        raise TypeError(f"it is of type {type(value).__name__}, not a PIL image, an array or a tensor")
    if value.dtype != np.uint8:
        raise TypeError(f"it is of type {value.dtype}, not uint8")
    if not is_image_shape(value.shape):
        raise ValueError(f"it has the shape {list(value.shape)}, which is not that of an image")
    return Image.fromarray(value[:, :, 0] if value.shape[2:] == (1,) else value)


def is_image_shape(shape: tuple[int, ...]) -> bool:
    """Return whether an array of ``shape`` can be an image [H, W], [H, W, 1] or [H, W, 3]."""
    return min(shape, default=0) > 0 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)))


def as_pixels(picture: Image.Image, size: Size) -> Pixels:
    """Return ``picture`` [C, H, W] resized to ``size`` with antialiasing; C is 1 if it is grey, else 3.

    As by torchvision's ``Resize((H, W))``, all of the picture is kept, stretched to other proportions if need be, and
    nothing is added. Grey is what has equal channels, whatever the file says. What is transparent in parts is laid on a
    ground (see `on_ground`), and grey of 16 bits becomes grey of 8, on one scale for all pictures.

    Raises:
        ValueError: its pixels are floating-point numbers or have more than 16 bits; OSError: its file is damaged.
    """
    picture = in_8_bits(picture)
    height, width = size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels: Pixels = np.asarray(picture).reshape(height, width, -1).transpose(2, 0, 1)
    is_grey = bool((pixels == pixels[:1]).all())
    return np.ascontiguousarray(pixels[:1] if is_grey else pixels)


def in_8_bits(picture: Image.Image) -> Image.Image:
    """Return ``picture`` in PIL's mode L, if it has no colours, or RGB, laid on a ground if it is transparent in parts.

    Raises:
        ValueError: its pixels are floating-point numbers or have more than 16 bits; OSError: its file is damaged.
    """
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 bits")
    if picture.mode.startswith("I"):
        picture = _of_8_bits(picture)
    if picture.has_transparency_data:
        picture = on_ground(picture)
    return picture.convert("L" if picture.mode in GREY_MODES else "RGB")


def on_ground(picture: Image.Image) -> Image.Image:
    """Return ``picture``, which has transparency, as RGB: laid on white or, if what it shows is bright, on black.

    So what it shows stays visible, whatever colours a program left where nothing is to be seen. Transparency that is
    the same everywhere, none or all, says nothing and is ignored.
    """
    layers = with_alpha(picture)
    alpha = layers.getchannel("A")
    if alpha.getextrema() in SAME_EVERYWHERE:
        return layers.convert("RGB")
    luma = np.average(np.asarray(layers.convert("L")), weights=np.asarray(alpha))
    ground = Image.new("RGBA", layers.size, "black" if luma > BRIGHT else "white")
    return Image.alpha_composite(ground, layers).convert("RGB")


def with_alpha(picture: Image.Image) -> Image.Image:
    """Return ``picture`` as RGBA."""
    return (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")


def oddities_of(picture: Image.Image, pixels: Pixels | Image.Image) -> Iterator[str]:
    """Yield which of `REMARKS` are to be made on ``picture``, which became ``pixels`` of any shape."""
    if SEVERAL in picture.info:
        yield "several"
    deep = picture.mode.startswith("I")
    if (deep or DEEP in picture.info) and np.asarray(pixels).max() <= DARKEST:
        yield "dark"
    layered = picture.has_transparency_data and not deep
    if layered and with_alpha(picture).getchannel("A").getextrema() not in SAME_EVERYWHERE:
        yield "transparent"


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """Return ``pixels`` [1 or 3, H, W] as an image of ``channels``, 1 or 3: grey gets equal ones, colours become grey.

    A colour's grey is its luma (ITU-R BT.601), as PIL converts it.
    """
    if channels == 1 and len(pixels) > 1:
        grey: Pixels = np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).convert("L"))
        return grey[None]
    return np.broadcast_to(pixels, (channels, *pixels.shape[1:]))


def _of_8_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels have more than 16 bits: save it with 8 bits")
    return Image.fromarray(np.round(values / 257).astype(np.uint8))


def usual_size(sizes: Counter[Size]) -> Size:
    """Return the size at which pictures of these ``sizes`` are learned: that of most, if one size is (see `fitted`).

    Otherwise it has the proportions that the most of them keep (see `is_stretched`), and then those that distort them
    the least in all; its longer side is the median one. So a few odd pictures decide nothing.
    """
    commonest, count = max(sizes.items(), key=lambda entry: (entry[1], entry[0]), default=((LARGEST, LARGEST), 1))
    if 2 * count > sizes.total():
        return fitted(commonest)
    longer = min(LARGEST, median_high(max(size) for size in sizes.elements()))

    def fit(shape: Size) -> tuple[int, float, Size]:
        kept = sum(count for size, count in sizes.items() if not is_stretched(size, shape))
        distortion = sum(count * abs(math.log(stretch(size, shape))) for size, count in sizes.items())
        return kept, -distortion, shape

    return max({sides(size, longer / max(size)) for size in sizes}, key=fit)


def fitted(size: Size) -> Size:
    """Return the size at which pictures of ``size`` are learned: sides from 8 to 32, and multiples of 4.

    Larger pictures come down to 32 at their longer side; beyond that, sides change as little as possible.
    """
    return sides(size, min(1.0, LARGEST / max(size)))


def sides(size: Size, scale: float) -> Size:
    """Return ``size`` times ``scale``, with sides of at least 8 that are multiples of 4."""
    height, width = (max(SMALLEST, STEP * int(side * scale / STEP + 0.5)) for side in size)
    return height, width


def is_stretched(before: Size, after: Size) -> bool:
    """Return whether the proportions of ``after`` differ from those of ``before`` by more than a tenth."""
    return not 1 / 1.1 <= stretch(before, after) <= 1.1


def stretch(before: Size, after: Size) -> float:
    """Return by how much pictures of the size ``before`` are stretched across when they get the size ``after``."""
    return (before[0] * after[1]) / (before[1] * after[0])


def reason(error: BaseException) -> str:
    """Return in one line why something could not be read."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture of a format that is known"
    message = getattr(error, "strerror", None) or str(error)
    return textwrap.shorten(f"{type(error).__name__}: {message}", 200)
