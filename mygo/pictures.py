"""Pictures of any size, format and mode, as a person has them, and the small uint8 images that a life learns from."""

import functools
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]
"""Height and width in pixels."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "AVIF")
"""What is opened, whatever a file is called. Others that PIL knows start programs or need files of their own."""

SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
)
"""Files that are meant as pictures; HEIC, which PIL cannot read, is among them so that it is not overlooked."""

SMALLEST, LARGEST = 8, 32
"""The sides of images that MyGO learns, in pixels."""
STEP = 4
"""The sides are multiples of this, which the backbone conv needs."""

GREY_MODES = ("1", "L", "LA", "La")
"""PIL's modes of pictures without colours and of at most 8 bits."""
TURNED = (5, 6, 7, 8)
"""The orientations in which a camera notes that height and width are to be exchanged."""


def open_picture(path: Path) -> Image.Image:
    """Read the picture in ``path``, of several the first, and turn it upright as its camera noted.

    Raises:
        Exception: it cannot be read; PIL raises anything on a damaged file. A picture that takes far more memory than
            its file (a decompression bomb) is refused as PIL does, and also where PIL only warns.
    """
    with _opened(path) as picture:
        return ImageOps.exif_transpose(picture)


def size_of(path: Path) -> Size:
    """Return the size that `open_picture` would find, from the beginning of the file alone; it raises the same."""
    with _opened(path) as picture:
        width, height = picture.size
        turned = picture.getexif().get(ExifTags.Base.Orientation) in TURNED
        return (width, height) if turned else (height, width)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
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

    Arrays are uint8 [H, W] or [H, W, C], tensors [H, W] or [C, H, W], uint8 or floating-point from 0 to 1.

    Raises:
        TypeError, ValueError: it is none of these.
    """
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
    """Tell whether an array of ``shape`` can be an image [H, W], [H, W, 1] or [H, W, 3]."""
    return min(shape, default=0) > 0 and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)))


def as_pixels(picture: Image.Image, size: Size) -> Pixels:
    """Return ``picture`` [C, H, W] resized to ``size`` with antialiasing; C is 1 if it is grey, else 3.

    As by torchvision's ``Resize((H, W))``, all of the picture is kept, stretched to other proportions if need be, and
    nothing is added. Grey is what has equal channels, whatever the file says. Transparency is ignored, as by
    torchvision's ImageFolder, and grey of 16 bits becomes grey of 8.

    Raises:
        ValueError: its pixels are floating-point numbers or have more than 16 bits; OSError: its file is damaged.
    """
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers: save it with 8 bits")
    if picture.mode.startswith("I"):
        picture = _of_8_bits(picture)
    picture = picture.convert("L" if picture.mode in GREY_MODES else "RGB")
    height, width = size
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    pixels: Pixels = np.asarray(picture).reshape(height, width, -1).transpose(2, 0, 1)
    is_grey = bool((pixels == pixels[:1]).all())
    return np.ascontiguousarray(pixels[:1] if is_grey else pixels)


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


def fitted(size: Size) -> Size:
    """Return the size at which pictures of ``size`` are learned: sides from 8 to 32, and multiples of 4.

    Larger pictures come down to 32 at their longer side; beyond that, sides change as little as possible.
    """
    scale = min(1.0, LARGEST / max(size))
    height, width = (max(SMALLEST, STEP * int(side * scale / STEP + 0.5)) for side in size)
    return height, width


def is_stretched(before: Size, after: Size) -> bool:
    """Tell whether the proportions of ``after`` differ from those of ``before`` by more than a tenth."""
    change = (before[0] * after[1]) / (before[1] * after[0])
    return not 1 / 1.1 <= change <= 1.1


def reason(error: BaseException) -> str:
    """Return in one line why something could not be read."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture of a format that is known"
    told = getattr(error, "strerror", None) or str(error)
    return textwrap.shorten(f"{type(error).__name__}: {told}", 200)
