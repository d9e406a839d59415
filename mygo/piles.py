"""The forms in which a person's images come: a folder, arrays in files, or a data set that a function returns."""

import importlib
import itertools
import operator
import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from mygo.errors import InputError
from mygo.pictures import SUFFIXES, Size, as_picture, is_image_shape, open_picture, reason, size_of

if TYPE_CHECKING:
    from torch.utils.data import Dataset

FORMS = "a folder with one sub-folder per class, an .npz or .npy file, or module:function"
"""What a source can be."""

LEFT_OVER = ("__MACOSX",)
"""Folders that are no classes: what unpacking an archive of macOS leaves."""

_FUNCTION = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<function>\w+(\.\w+)*)")


class Pile(Protocol):
    """The images of one part of a source, training or test, before they are read."""

    @property
    def names(self) -> Collection[str]:
        """The classes, as far as they are known before the images are read."""

    def __len__(self) -> int: ...

    def where(self, index: int) -> str:
        """Return what an image is called in messages."""

    def size(self, index: int) -> Size:
        """Return the size of an image; raises what `read` raises."""

    def read(self, index: int) -> tuple[Image.Image, str]:
        """Return an image and the name of its class.

        Raises:
            InputError: the source cannot be used; any other Exception: this image cannot be read.
        """


def piles_of(source: "str | Dataset[Any]") -> tuple[str, list[Pile]]:
    """Return the name of ``source`` and its training images and, if it has them apart, its test images.

    Raises:
        InputError: there is no such source, or it has another form than those of `FORMS`.
    """
    if not isinstance(source, str):
        return title_of(source), [pairs_of(source, title_of(source))]
    path = Path(source)
    match = _FUNCTION.fullmatch(source)
    if path.is_dir():
        return path.resolve().name, folders(path)
    if path.is_file() and path.suffix.lower() in (".npz", ".npy"):
        return path.stem, arrays(path)
    if path.exists():
        raise InputError(f"{source} is not what images can be read from: name {FORMS}.")
    if match is None:
        raise InputError(f"{source} is not there: name {FORMS}.")
    return match["function"], [pairs(match["module"], match["function"])]


def title_of(source: "str | Dataset[Any]") -> str:
    """Return what ``source`` is called in messages."""
    return source if isinstance(source, str) else type(source).__name__


# -- folders ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """Image files and the classes that their folders are named after."""

    names: tuple[str, ...]
    files: tuple[tuple[Path, str], ...]

    def __len__(self) -> int:
        return len(self.files)

    def where(self, index: int) -> str:
        """Return the path of the file."""
        return str(self.files[index][0])

    def size(self, index: int) -> Size:
        """Return the size that the beginning of the file tells."""
        return size_of(self.files[index][0])

    def read(self, index: int) -> tuple[Image.Image, str]:
        """Open the file."""
        path, name = self.files[index]
        return open_picture(path), name


def folders(folder: Path) -> list[Pile]:
    """Return the class folders of ``folder`` as one pile or, of a folder with ``train`` and ``test``, as two.

    Raises:
        InputError: there are no class folders, there is ``train`` without ``test``, or a folder is a link, which might
            lead round in a circle.
        OSError: a folder cannot be read.
    """
    classes = _class_folders(folder)
    parts = {part.name: part for part in classes if part.name in ("train", "test") and _class_folders(part)}
    if parts.keys() == {"train", "test"}:
        return [_folder(_class_folders(parts[name])) for name in ("train", "test")]
    if "train" in parts:
        raise InputError(
            f"{folder} has a folder train but no test with the same classes: add it, or name {parts['train']} to have "
            "some of its images held out."
        )
    if not classes:
        raise InputError(f"{folder} has no class folders: put the images of each class into a folder of its name.")
    return [_folder(classes)]


def _folder(classes: list[Path]) -> Folder:
    return Folder(tuple(c.name for c in classes), tuple((path, c.name) for c in classes for path in _image_files(c)))


def _class_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _counts(path))


def _image_files(folder: Path) -> list[Path]:
    """Return the image files at any depth of ``folder``, in order; hidden ones and other files are passed over."""

    def stop(error: OSError) -> None:
        raise error

    files = []
    for parent, inner, names in os.walk(folder, onerror=stop):
        inner[:] = [name for name in inner if _counts(Path(parent, name))]
        paths = [Path(parent, name) for name in names if not name.startswith(".")]
        files += [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
    return sorted(files)


def picture_files(given: Sequence[Path]) -> list[Path]:
    """Return the files of ``given`` and the image files at any depth of its folders, in order, each once.

    Raises:
        InputError: there are none, or a folder in one of them is a link.
        OSError: a folder cannot be read.
    """
    found = (_image_files(path) if path.is_dir() else [path] for path in given)
    if not (files := list(dict.fromkeys(itertools.chain.from_iterable(found)))):
        raise InputError(f"There are no images in {', '.join(map(str, given))}: name files, or a folder of images.")
    return files


def _counts(folder: Path) -> bool:
    """Tell whether ``folder`` can hold images that are meant.

    Raises:
        InputError: it is a link.
    """
    if folder.name.startswith(".") or folder.name in LEFT_OVER:
        return False
    if folder.is_symlink():
        raise InputError(f"{folder} is a link to a folder, which is not followed: put the folder itself there.")
    return True


# -- arrays -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arrays:
    """Images [N, H, W] or [N, H, W, C] from a file, and the name of each one's class."""

    file: Path
    images: npt.NDArray[np.uint8]
    classes: tuple[str, ...]

    @property
    def names(self) -> Collection[str]:
        """The classes that there are images of."""
        return set(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def where(self, index: int) -> str:
        """Return the file and the position in it."""
        return f"{self.file}, image {index}"

    def size(self, index: int) -> Size:
        """Return the size that all images have."""
        return self.images.shape[1], self.images.shape[2]

    def read(self, index: int) -> tuple[Image.Image, str]:
        """Take the image out of the array."""
        return as_picture(np.asarray(self.images[index])), self.classes[index]


def arrays(path: Path) -> list[Pile]:
    """Return the images in an ``.npz`` or ``.npy`` file as one pile or, if it has test images, as two.

    Raises:
        InputError: an array is missing, damaged, or of another type or shape.
    """
    content = _npz(path) if path.suffix.lower() == ".npz" else _npy(path)
    names = _class_names(path, content["class_names"]) if "class_names" in content else None
    piles: list[Pile] = []
    for part in ("", "test_"):
        here = [part + name in content for name in ("images", "labels")]
        if all(here):
            piles.append(_arrays(path, content[part + "images"], content[part + "labels"], names))
        elif any(here) or not part:
            raise InputError(f"{path} does not hold both {part}images and {part}labels: save both of them in it.")
    return piles


def _npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            wanted = ("images", "labels", "class_names", "test_images", "test_labels")
            return {name: archive[name] for name in wanted if name in archive}
    except Exception as error:  # whatever a damaged file makes the parser raise
        raise InputError(f"{path} cannot be read ({reason(error)}): save it again with numpy.savez.") from error


def _npy(path: Path) -> dict[str, npt.NDArray[Any]]:
    content = {}
    for name, file in (("images", path), ("labels", path.with_name(f"{path.stem}-labels.npy"))):
        if not file.is_file():
            raise InputError(f"{file} is not there: save the labels of {path} in it with numpy.save.")
        try:
            content[name] = np.load(file, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # as above
            raise InputError(f"{file} cannot be read ({reason(error)}): save it again with numpy.save.") from error
    return content


def _class_names(path: Path, names: npt.NDArray[Any]) -> tuple[str, ...]:
    if names.dtype.kind != "U" or names.ndim != 1:
        raise InputError(f"{path}: class_names must be an array of text, not {names.dtype} {list(names.shape)}.")
    return _each_once(str(path), tuple(map(str, names)))


def _arrays(path: Path, images: npt.NDArray[Any], labels: npt.NDArray[Any], names: tuple[str, ...] | None) -> Arrays:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not is_image_shape(images.shape[1:]):
        raise InputError(
            f"{path}: images must be uint8 [N, H, W] or [N, H, W, C] with C 1 or 3, not {images.dtype} "
            f"{list(images.shape)}."
        )
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(f"{path}: labels must be integers [N], not {labels.dtype} {list(labels.shape)}.")
    if len(images) != len(labels):
        raise InputError(f"{path} comes with {len(images)} images but {len(labels)} labels: save one label per image.")
    return Arrays(path, images, tuple(named(label, names, str(path)) for label in labels.tolist()))


# -- data sets --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pairs:
    """A data set of (image, label) pairs."""

    source: str
    dataset: Any
    classes: tuple[str, ...] | None
    """The names of the labels, if the data set tells them."""
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.dataset)

    def where(self, index: int) -> str:
        """Return the position in the data set."""
        return f"{self.source}, item {index}"

    def size(self, index: int) -> Size:
        """Read the image for its size."""
        picture, _ = self.read(index)
        return picture.height, picture.width

    def read(self, index: int) -> tuple[Image.Image, str]:
        """Ask for the pair."""
        with importable_here():
            pair = self.dataset[index]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(f"{self.where(index)} is not an (image, label) pair: return such pairs.")
        image, label = pair
        return as_picture(image), named(label, self.classes, self.source)


def pairs(module: str, function: str) -> Pairs:
    """Import ``function`` from ``module``, call it, and return its data set as a pile.

    Raises:
        InputError: one of these steps fails.
    """
    source = f"{module}:{function}"
    importlib.invalidate_caches()
    try:
        with importable_here():
            made = operator.attrgetter(function)(importlib.import_module(module))
    except (Exception, SystemExit) as error:  # whatever a person's module does
        raise InputError(f"{source} cannot be imported ({reason(error)}): put it right or name another.") from error
    if not callable(made):
        raise InputError(f"{source} is not a function: name one that returns a data set.")
    try:
        with importable_here():
            dataset = made()
    except (Exception, SystemExit) as error:
        raise InputError(f"{source} does not return a data set ({reason(error)}): put it right.") from error
    return pairs_of(dataset, source)


def pairs_of(dataset: Any, source: str) -> Pairs:
    """Return ``dataset``, which messages call ``source``, as a pile.

    Raises:
        InputError: it has no length, or its ``classes`` are not names.
    """
    try:
        with importable_here():
            len(dataset)
            classes = getattr(dataset, "classes", None)
            names = None if classes is None else tuple(map(str, classes))
    except (Exception, SystemExit) as error:
        raise InputError(f"{source} is not a data set of known length ({reason(error)}): put it right.") from error
    return Pairs(source, dataset, None if names is None else _each_once(source, names))


@contextmanager
def importable_here() -> Iterator[None]:
    """Let a person's code import modules from the current folder, as ``python -m`` does."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


# -- names ------------------------------------------------------------------------------------------------------------


def named(label: object, names: tuple[str, ...] | None, source: str) -> str:
    """Return the name of the class with ``label``: of ``names``, or the label as text.

    Raises:
        InputError: the label is neither an integer nor text, or there is no name for it.
    """
    if isinstance(label, str):
        return label
    try:
        index = operator.index(label)  # type: ignore[arg-type]
    except TypeError:
        raise InputError(f"{source} has the label {label!r}: labels must be integers or class names.") from None
    if names is None:
        return str(index)
    if not 0 <= index < len(names):
        raise InputError(f"{source} has the label {index} but {len(names)} class names: name every class.")
    return names[index]


def _each_once(source: str, names: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"{source} names two classes {repeated[0]}: give each its own name.")
    return names
