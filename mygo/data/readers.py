"""The forms in which a person's images come: a folder (see `mygo.data.folders`), arrays in files, or a data set."""

import importlib
import operator
import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from mygo.data.folders import folder_readers
from mygo.data.images import Size, as_picture, is_image_shape, reason
from mygo.data.spelling import composed
from mygo.errors import InputError

if TYPE_CHECKING:
    from torch.utils.data import Dataset

    Data: TypeAlias = str | os.PathLike[str] | Dataset[Any]

FORMS = "a folder with one sub-folder per class, an .npz or .npy file, or module:function"
"""What a source can be."""

ARRAYS = {
    "images": "numbers (dtype=uint8)",
    "labels": "numbers (dtype=int)",
    "class_names": "text (dtype=str)",
    "test_images": "numbers (dtype=uint8)",
    "test_labels": "numbers (dtype=int)",
}
"""What a file of arrays can hold, and as what that is saved."""

_FUNCTION = re.compile(r"(?P<module>\w+(\.\w+)*):(?P<function>\w+(\.\w+)*)")


class Reader(Protocol):
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


def readers_of(source: "Data") -> tuple[str, Sequence[Reader], tuple[str, ...]]:
    """Return the name of ``source``, its training images and, if it has them apart, its test images, and notes on it.

    Raises:
        InputError: there is no such source, or it has another form than those of `FORMS`.
    """
    if not isinstance(source, str | os.PathLike):
        return title_of(source), [pairs_of(source, title_of(source))], ()
    path = Path(os.fsdecode(source))
    match = _FUNCTION.fullmatch(source) if isinstance(source, str) else None
    if path.is_dir():
        return path.resolve().name, *folder_readers(path)
    if path.is_file() and path.suffix.lower() in (".npz", ".npy"):
        return path.stem, arrays(path), ()
    if path.exists():
        raise InputError(f"{source} is not what images can be read from: name {FORMS}.")
    if match is None:
        raise InputError(f"{source} is not there: name {FORMS}.")
    return match["function"], [pairs(match["module"], match["function"])], ()


def title_of(source: "Data") -> str:
    """Return what ``source`` is called in messages."""
    return os.fsdecode(source) if isinstance(source, str | os.PathLike) else type(source).__name__


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


def arrays(path: Path) -> list[Reader]:
    """Return the images in an ``.npz`` or ``.npy`` file as one reader or, if it has test images, as two.

    Raises:
        InputError: an array is missing, damaged, or of another type or shape.
    """
    content = _npz(path) if path.suffix.lower() == ".npz" else _npy(path)
    names = _class_names(path, content["class_names"]) if "class_names" in content else None
    readers: list[Reader] = []
    for part in ("", "test_"):
        here = [part + name in content for name in ("images", "labels")]
        if all(here):
            readers.append(_arrays(path, content[part + "images"], content[part + "labels"], names))
        elif any(here) or not part:
            raise InputError(f"{path} does not hold both {part}images and {part}labels: save both of them in it.")
    return readers


def _npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    name = ""
    content = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in ARRAYS:
                if name in archive:
                    content[name] = archive[name]
    except Exception as error:  # whatever a damaged file makes the parser raise
        refuse_objects(path, name, error)
        raise InputError(f"{path} cannot be read ({reason(error)}): save it again with numpy.savez.") from error
    return content


def _npy(path: Path) -> dict[str, npt.NDArray[Any]]:
    content = {}
    for name, file in (("images", path), ("labels", path.with_name(f"{path.stem}-labels.npy"))):
        if not file.is_file():
            raise InputError(f"{file} is not there: save the labels of {path} in it with numpy.save.")
        try:
            content[name] = np.load(file, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # as above
            refuse_objects(file, name, error)
            raise InputError(f"{file} cannot be read ({reason(error)}): save it again with numpy.save.") from error
    return content


def refuse_objects(path: Path, name: str, error: Exception) -> None:
    """Check that ``error`` is not that of numpy on an array of Python objects.

    Raises:
        InputError: it is.
    """
    if name in ARRAYS and isinstance(error, ValueError) and "object" in str(error).lower():
        raise InputError(
            f"{path} cannot be read (its {name} are Python objects, and nothing is unpickled here): save {name} as "
            f"{ARRAYS[name]}."
        ) from error


def _class_names(path: Path, names: npt.NDArray[Any]) -> tuple[str, ...]:
    if names.dtype.kind != "U" or names.ndim != 1:
        raise InputError(
            f"{path}: class_names must be an array of text [K], not {names.dtype} {list(names.shape)}: save them with "
            "dtype=str."
        )
    return _each_once(str(path), tuple(composed(name) for name in names.tolist()))


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
class DatasetReader:
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


def pairs(module: str, function: str) -> DatasetReader:
    """Import ``function`` from ``module``, call it, and return a reader of its data set.

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


def pairs_of(dataset: Any, source: str) -> DatasetReader:
    """Return ``dataset``, which messages call ``source``, as a reader.

    Raises:
        InputError: it has no length, or its ``classes`` are not names.
    """
    try:
        with importable_here():
            len(dataset)
            names = classes_of(dataset, source)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{source} is not a data set of known length ({reason(error)}): put it right.") from error
    return DatasetReader(source, dataset, None if names is None else _each_once(source, names))


def classes_of(dataset: Any, source: str, outer: tuple[int, ...] = ()) -> tuple[str, ...] | None:
    """Return the names of the labels of ``dataset``, if it tells them in ``classes`` or a data set within it does.

    Those within are what torch's Subset has as ``dataset`` and its ConcatDataset as ``datasets``, and so wrappers like
    them; ``outer`` are the identities of those that were looked through.

    Raises:
        InputError: it joins data sets that have different classes.
    """
    if (classes := getattr(dataset, "classes", None)) is not None:
        return tuple(composed(str(name)) for name in classes)
    if id(dataset) in outer:
        return None
    joined = getattr(dataset, "datasets", None)
    inner = list(joined) if isinstance(joined, list | tuple) else [getattr(dataset, "dataset", None)]
    found = {classes_of(each, source, (*outer, id(dataset))) for each in inner if each is not None}
    if len(found) > 1:
        raise InputError(f"{source} joins data sets with different classes: learn them one after another.")
    return next(iter(found), None)


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
        return composed(label)
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
