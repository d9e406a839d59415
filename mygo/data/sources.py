"""A person's own images, from any source that `mygo.data.readers` knows, as a `LabelledDataset` for a life to learn."""

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mygo.data.checks import LEAST_EXAMPLES, check_classes, check_readable, refuse_known
from mygo.data.examples import Examples, LabelledDataset, with_held_out
from mygo.data.folders import Folder, picture_files
from mygo.data.images import (
    REMARKS,
    Pixels,
    Size,
    as_picture,
    as_pixels,
    is_stretched,
    oddities_of,
    reason,
    usual_size,
    with_channels,
)
from mygo.data.readers.find import lesson_of, title_of
from mygo.data.readers.reader import PLURAL, Reader
from mygo.data.spelling import composed
from mygo.errors import InputError

if TYPE_CHECKING:
    from mygo.data.readers.find import Data


@dataclass(frozen=True)
class Source:
    """What was read, and what a person should know about it."""

    dataset: LabelledDataset
    unreadable: tuple[str, ...] = ()
    """The images that could not be read, each with the reason."""
    notes: tuple[str, ...] = ()
    """What was done with the others, in sentences."""
    folder: Path | None = None
    """Where the vectors lie, if these are in files."""
    encoder_checksum: str = ""
    """Of the encoder that they were seen through, if there was one."""

    @property
    def name(self) -> str:
        """What the data is called."""
        return self.dataset.name

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that there are examples of, sorted."""
        return self.dataset.class_names


@dataclass
class Part:
    """What a reader has read."""

    images: dict[str, list[Pixels]]
    """By class: images [C, H, W] of one size, with C 1 if they are grey, else 3."""
    coloured: list[str] = field(default_factory=list)
    """Which images have colours."""
    sizes: Counter[Size] = field(default_factory=Counter)
    """How many images had which size."""
    unreadable: list[str] = field(default_factory=list)
    oddities: Counter[str] = field(default_factory=Counter)
    """How many images there are for each of `mygo.data.images.REMARKS`."""

    def __len__(self) -> int:
        return self.sizes.total()


def read_source(
    data: "Data",
    image_shape: tuple[int, int, int] | None,
    *,
    known: Collection[str] = (),
    held_out: float = 0.1,
    least: int = LEAST_EXAMPLES,
) -> Source:
    """Read the images of ``data`` for a life that sees ``image_shape`` (C, H, W), or for a new life if it is None.

    ``data`` is

    - a folder with one sub-folder of images per class, as for torchvision's ImageFolder, or a split into such folders
      called ``train`` and ``test`` or like (see `mygo.data.folders.folder_readers`),
    - an ``.npz`` file with ``images`` (uint8 [N, H, W] or [N, H, W, C]) and ``labels`` (integers [N]); it may also have
      ``class_names`` (text, indexed by the labels), ``test_images`` and ``test_labels``,
    - an ``.npy`` file of images with a file ``<stem>-labels.npy`` beside it,
    - a table of images' paths and labels (see `mygo.data.readers.tables.table_readers`), or a data set of Hugging
      Face's (see `mygo.data.readers.huggingface`),
    - a `torch.utils.data.Dataset` of (image, label) pairs (images as `mygo.data.images.as_picture` takes them) whose
      ``classes``, or those of the data set in it, name the labels; for a new life every pair is requested twice, or
    - ``module:function``, a function that can be imported from the current folder and returns such a data set.

    All images are resized to the life's shape (see `mygo.data.images.as_pixels`). A new life's is the usual size (see
    `mygo.data.images.usual_size`), with sides from 8 to 32 that are multiples of 4, and it sees in grey if all images
    are grey. A life that sees in colour takes grey images too. Where the source has no test images, ``held_out`` of
    each class, at least one image, takes their place, the same each time. Labels are positions in the sorted class
    names, whose letters are composed (see `mygo.data.spelling`).

    Raises:
        InputError: there is no such source or it is of another form, a class is ``known`` or has fewer than ``least``
            readable training images, colours come to a life that sees in grey, or too many images are unreadable.
    """
    source = title_of(data)
    try:
        name, readers, notes = lesson_of(data, known, least)
        check_images(source, readers)
        refuse_known(known, *(reader.names for reader in readers))
        size = common_size(readers[0]) if image_shape is None else image_shape[1:]
        parts = [read_part(reader, size) for reader in readers]
    except OSError as error:
        raise InputError(f"{source} cannot be read ({reason(error)}): put it right or name another.") from error
    refuse_known(known, *(part.images for part in parts))
    unreadable = tuple(entry for part in parts for entry in part.unreadable)
    check_readable(source, sum(map(len, parts)) + len(unreadable), unreadable)
    names = check_classes(source, [{name: len(each) for name, each in part.images.items()} for part in parts], least)
    channels = check_channels(source, parts, image_shape)
    train, *test = (labelled(part, names, (channels, *size)) for part in parts)
    dataset = LabelledDataset(composed(name), train, test[0] if test else train[:0], names)
    if not test:
        dataset = with_held_out(dataset, held_out, lambda label: ("held out", names[label]))
    return Source(dataset, unreadable, (*notes, *notes_on(parts, size, channels)))


@dataclass(frozen=True)
class Pictures:
    """Images without classes, as a life sees them, and what a person should know about them."""

    files: tuple[str, ...]
    images: Tensor
    """uint8 [N, C, H, W], one for each of the files."""
    unreadable: tuple[str, ...]
    """The files that could not be read, each with the reason."""
    notes: tuple[str, ...]
    """What was done with the others, in sentences."""


def read_pictures(given: Sequence[Path], image_shape: tuple[int, int, int]) -> Pictures:
    """Read the image files of ``given``, and those at any depth of its folders, for a life that sees ``image_shape``.

    They are changed as `read_source` changes them; besides, for a life that sees in grey, colours are turned grey.

    Raises:
        InputError: there is no image that can be read, or a folder cannot be.
    """
    channels, size = image_shape[0], image_shape[1:]
    try:
        files, left_out = picture_files(given)
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}): name others.") from error
    part = read_part(Folder((), tuple((file, str(file)) for file in files)), size)  # each is a class of its own
    if not part.images:
        raise InputError(
            f"No image can be read, the first of {len(files)} being {part.unreadable[0]}: convert or name others."
        )
    notes = (*left_out, *notes_on([part], size, channels))
    if channels == 1 and part.coloured:
        notes += (f"{len(part.coloured)} of {len(part)} images have colours and were turned grey.",)
    images = np.stack([with_channels(pixels, channels) for (pixels,) in part.images.values()])
    return Pictures(tuple(part.images), torch.from_numpy(images), tuple(part.unreadable), notes)


def check_images(source: str, readers: Sequence[Reader]) -> None:
    """Check that ``readers`` of ``source`` read images.

    Raises:
        InputError: one reads something else.
    """
    if other := [reader.kind for reader in readers if reader.kind != "image"]:
        raise InputError(
            f"{source} holds {PLURAL[other[0]]}, but the life sees images: name images, or begin a life that sees "
            f"{PLURAL[other[0]]} with another --life."
        )


def common_size(reader: Reader) -> Size:
    """Return the size at which a new life learns the images (see `usual_size`)."""
    sizes: Counter[Size] = Counter()
    for index in range(len(reader)):
        with suppress(Exception):  # it will come up again when the image is read
            sizes[reader.size(index)] += 1
    return usual_size(sizes)


def read_part(reader: Reader, size: Size) -> Part:
    """Read all images of ``reader`` and resize them to ``size``.

    Raises:
        InputError: the source as a whole cannot be used.
    """
    part = Part({name: [] for name in reader.names})
    for index in range(len(reader)):
        try:
            item, name = reader.read(index)
            picture = as_picture(item)
            pixels = as_pixels(picture, size)
        except InputError:
            raise
        except Exception as error:  # whatever a damaged image makes its reader raise
            part.unreadable.append(f"{reader.where(index)}: {reason(error)}")
            continue
        part.images.setdefault(name, []).append(pixels)
        part.sizes[picture.height, picture.width] += 1
        part.oddities.update(oddities_of(picture, pixels))
        if len(pixels) > 1:
            part.coloured.append(reader.where(index))
    return part


def check_channels(source: str, parts: Sequence[Part], image_shape: tuple[int, int, int] | None) -> int:
    """Return how many channels the images will have: those of the life or, if it is new, of its images.

    Raises:
        InputError: there are colours, and the life sees in grey.
    """
    coloured = [entry for part in parts for entry in part.coloured]
    if image_shape is None:
        return 3 if coloured else 1
    if coloured and image_shape[0] == 1:
        raise InputError(
            f"{len(coloured)} images in {source} have colours, the first being {coloured[0]}, but the life sees in "
            "grey: convert them to grey, or begin a new life with another --life."
        )
    return image_shape[0]


def labelled(part: Part, names: Sequence[str], image_shape: tuple[int, int, int]) -> Examples:
    """Return the images of ``part``, class after class; grey ones get three equal channels where there are colours."""
    counts = torch.tensor([len(part.images[name]) for name in names])
    images = np.empty((len(part), *image_shape), np.uint8)
    for row, pixels in enumerate(itertools.chain.from_iterable(part.images[name] for name in names)):
        images[row] = pixels
    return Examples(torch.from_numpy(images), torch.arange(len(names)).repeat_interleave(counts))


def notes_on(parts: Sequence[Part], size: Size, channels: int) -> tuple[str, ...]:
    """Return in sentences what was done with the images that became ``size``."""
    sizes = sum((part.sizes for part in parts), Counter[Size]())
    total = sizes.total()
    resized = total - sizes[size]
    stretched = sum(count for before, count in sizes.items() if is_stretched(before, size))
    grey = total - sum(len(part.coloured) for part in parts)
    notes = []
    if resized:
        notes.append(f"{resized} of {total} images were resized to {size[1]} pixels across and {size[0]} down.")
    if stretched:
        notes.append(f"{stretched} of them had other proportions and were stretched or squeezed.")
    if channels > 1 and grey:
        notes.append(f"{grey} of {total} images are grey and got {channels} equal channels.")
    oddities = sum((part.oddities for part in parts), Counter[str]())
    notes += [remark.format(count=oddities[what], total=total) for what, remark in REMARKS.items() if oddities[what]]
    return tuple(notes)
