"""Arrays in ``.npz`` and ``.npy`` files: images, or feature vectors."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mygo.data.images import Size, as_picture, is_image_shape, reason
from mygo.data.readers.reader import PLURAL, Item, Kind, each_once, named
from mygo.data.spelling import composed
from mygo.errors import InputError

ARRAYS = {
    "images": "numbers (dtype=uint8)",
    "features": "numbers (dtype=float32)",
    "labels": "numbers (dtype=int)",
    "class_names": "text (dtype=str)",
    "test_images": "numbers (dtype=uint8)",
    "test_features": "numbers (dtype=float32)",
    "test_labels": "numbers (dtype=int)",
}
"""What a file of arrays can hold, and as what that is saved."""

ROWS_AT_ONCE = 4096
"""Vectors that are looked at together."""

Content = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Arrays:
    """Images [N, H, W] or [N, H, W, C], or vectors [N, D], from a file, and the name of each one's class."""

    file: Path
    items: npt.NDArray[Any]
    classes: tuple[str, ...]
    kind: Kind = "image"
    concurrent = True

    @property
    def names(self) -> Collection[str]:
        """The classes that there are items of."""
        return set(self.classes)

    def __len__(self) -> int:
        return len(self.classes)

    def where(self, index: int) -> str:
        """Return the file and the position in it."""
        return f"{self.file}, {'image' if self.kind == 'image' else 'row'} {index}"

    def label(self, index: int) -> str:
        """Return the name that the label stands for."""
        return self.classes[index]

    def size(self, index: int) -> Size:
        """Return the size that all items have."""
        _, *size = self.items.shape
        return (size[0], size[1]) if self.kind == "image" else (1, size[0])

    def read(self, index: int, at_least: Size | None = None) -> tuple[Item, str]:
        """Take the item out of the array."""
        row = np.asarray(self.items[index])
        return as_picture(row) if self.kind == "image" else row.astype(np.float32), self.classes[index]


def arrays(path: Path) -> list[Arrays]:
    """Return the images or vectors in an ``.npz`` or ``.npy`` file as one reader or, if it has test items, as two.

    Raises:
        InputError: an array is missing, damaged, or of another type or shape, or a vector is not finite or is zero.
    """
    content = _npz(path) if path.suffix.lower() == ".npz" else _npy(path)
    names = _class_names(path, content["class_names"]) if "class_names" in content else None
    held = "features" if "features" in content else "images"
    if "features" in content and "images" in content:
        raise InputError(f"{path} holds both images and features: save one of them in it.")
    readers: list[Arrays] = []
    for part in ("", "test_"):
        here = [part + name in content for name in (held, "labels")]
        if all(here):
            items, labels = content[part + held], content[part + "labels"]
            read = _vectors if held == "features" else _images
            readers.append(read(path, items, labels, names))
        elif any(here) or not part:
            raise InputError(f"{path} does not hold both {part}{held} and {part}labels: save both of them in it.")
    if len({reader.items.shape[1:] for reader in readers}) > 1 and held == "features":
        raise InputError(f"{path}: features and test_features must be of one length.")
    return readers


def unlabelled(path: Path) -> Arrays:
    """Return the vectors in an ``.npz`` file with ``features``, or in an ``.npy`` file, without their classes.

    Raises:
        InputError: as `arrays`.
    """
    if path.suffix.lower() == ".npz":
        content = _npz(path)
        if "features" not in content:
            raise InputError(f"{path} does not hold features: save vectors [N, D] in it under that name.")
        vectors = content["features"]
    else:
        vectors = _load_npy("features", path)
    return _vectors(path, vectors, np.zeros(len(vectors), int) if vectors.ndim else np.zeros(1, int), ("",))


def _npz(path: Path) -> Content:
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


def _npy(path: Path) -> Content:
    content = {}
    for name, file in (("images", path), ("labels", path.with_name(f"{path.stem}-labels.npy"))):
        if not file.is_file():
            raise InputError(f"{file} is not there: save the labels of {path} in it with numpy.save.")
        content[name] = _load_npy(name, file)
    if content["images"].dtype.kind == "f" and content["images"].ndim == 2:
        content["features"] = content.pop("images")
    return content


def _load_npy(name: str, file: Path) -> npt.NDArray[Any]:
    try:
        loaded: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # as above
        refuse_objects(file, name, error)
        raise InputError(f"{file} cannot be read ({reason(error)}): save it again with numpy.save.") from error
    return loaded


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
    return each_once(str(path), tuple(composed(name) for name in names.tolist()))


def _images(path: Path, images: npt.NDArray[Any], labels: npt.NDArray[Any], names: tuple[str, ...] | None) -> Arrays:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not is_image_shape(images.shape[1:]):
        raise InputError(
            f"{path}: images must be uint8 [N, H, W] or [N, H, W, C] with C 1 or 3, not {images.dtype} "
            f"{list(images.shape)}."
        )
    return Arrays(path, images, _classes(path, "image", len(images), labels, names))


def _vectors(path: Path, vectors: npt.NDArray[Any], labels: npt.NDArray[Any], names: tuple[str, ...] | None) -> Arrays:
    if vectors.dtype.kind != "f" or vectors.ndim != 2 or not vectors.shape[1]:
        raise InputError(
            f"{path}: features must be floating-point [N, D], not {vectors.dtype} {list(vectors.shape)}: save them "
            "with dtype=float32."
        )
    classes = _classes(path, "vector", len(vectors), labels, names)
    for start in range(0, len(vectors), ROWS_AT_ONCE):
        with np.errstate(over="ignore"):  # what is too large becomes infinite
            rows = np.asarray(vectors[start : start + ROWS_AT_ONCE]).astype(np.float32)
        for what, bad in (("not finite", ~np.isfinite(rows).all(1)), ("zero", ~rows.any(1))):
            if bad.any():
                raise InputError(f"{path}: row {start + int(bad.argmax())} of its features is {what}: leave it out.")
    return Arrays(path, vectors, classes, "vector")


def _classes(
    path: Path, kind: Kind, count: int, labels: npt.NDArray[Any], names: tuple[str, ...] | None
) -> tuple[str, ...]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise InputError(f"{path}: labels must be integers [N], not {labels.dtype} {list(labels.shape)}.")
    if count != len(labels):
        raise InputError(
            f"{path} comes with {count} {PLURAL[kind]} but {len(labels)} labels: save one label per {kind}."
        )
    return tuple(named(label, names, str(path)) for label in labels.tolist())
