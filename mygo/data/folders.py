"""Folders of images as people have them: which are classes, which the parts of a split, and what is left out."""

import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image

from mygo.data.images import SUFFIXES, Size, open_picture, size_of
from mygo.data.spelling import composed
from mygo.errors import InputError
from mygo.files import LOCK, MANIFEST

SYSTEMS_FOLDERS = (
    *("__macosx", "@eadir", "@tmp", "@recycle", "#recycle", "#snapshot", "$recycle.bin", "system volume information"),
    *("lost+found", "__pycache__"),
)
"""Folders, in small letters, that archives, network storage, operating systems and Python make for themselves; besides,
there are those whose names begin with a dot."""
SYSTEMS_FILES = (".ds_store", "thumbs.db", "desktop.ini", ".directory")
"""Files of the same kind, of which nothing is said."""

TRAIN, VALID, TEST = "train", "valid", "test"
PARTS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VALID),
    **dict.fromkeys(("test", "testing"), TEST),
}
"""Which part of a split a folder holds that has one of these names, in letters of any size."""
_PART = re.compile(rf"(?P<part>{'|'.join(PARTS)})([ _-]?(set|data|images))?", re.IGNORECASE)

NO_IMAGES = "no images"

Inode = tuple[int, int]


@dataclass(frozen=True)
class Folder:
    """Image files and the classes that their folders are named after."""

    names: tuple[str, ...]
    files: tuple[tuple[Path, str], ...]
    kind: Literal["image"] = "image"
    concurrent = True

    def __len__(self) -> int:
        return len(self.files)

    def where(self, index: int) -> str:
        """Return the path of the file."""
        return str(self.files[index][0])

    def size(self, index: int) -> Size:
        """Return the size that stands at the beginning of the file."""
        return size_of(self.files[index][0])

    def label(self, index: int) -> str:
        """Return the name of the folder."""
        return self.files[index][1]

    def read(self, index: int, at_least: Size | None = None) -> tuple[Image.Image, str]:
        """Open the file."""
        path, name = self.files[index]
        return open_picture(path, at_least), name


@dataclass(frozen=True)
class Listing:
    """What is in a folder, in order, and may be meant."""

    folders: tuple[Path, ...]
    images: tuple[Path, ...]
    """Image files, and links to nothing that are called like such."""


@dataclass
class Walk:
    """A walk through folders, which notes what it leaves out. Links are followed, but never round in a circle."""

    left_out: dict[str, dict[Path, None]] = field(default_factory=dict)
    """By what they are: paths, each once."""
    _listed: dict[Path, Listing] = field(default_factory=dict)

    def leave_out(self, what: str, *paths: Path) -> None:
        """Note that ``paths`` were left out, since they are ``what``."""
        self.left_out.setdefault(what, {}).update(dict.fromkeys(paths))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, in sentences."""
        return tuple(
            f"Left out as {what}: {next(iter(paths))}{f' and {len(paths) - 1} more' * (len(paths) > 1)}."
            for what, paths in self.left_out.items()
            if paths
        )

    def listing(self, folder: Path) -> Listing:
        """Return what is in ``folder``, as it was when this was requested first.

        Raises:
            OSError: it cannot be read.
        """
        if folder not in self._listed:
            with os.scandir(str(folder)) as entries:
                inside = sorted((Path(entry.path), is_folder(entry)) for entry in entries)
            folders = tuple(path for path, there in inside if there and self._counts(path))
            images = tuple(path for path, there in inside if not there and self._is_image(path))
            self._listed[folder] = Listing(folders, images)
        return self._listed[folder]

    def _counts(self, folder: Path) -> bool:
        if folder.name.startswith(".") or folder.name.lower() in SYSTEMS_FOLDERS:
            self.leave_out("hidden or made by a system", folder)
        elif is_of_mygo(folder):
            self.leave_out("a life or a run of MyGO", folder)
        else:
            return True
        return False

    def _is_image(self, path: Path) -> bool:
        called_image = path.suffix.lower() in SUFFIXES
        if path.name.startswith(".") or path.name.lower() in SYSTEMS_FILES:
            if called_image:
                self.leave_out("hidden files", path)
        elif called_image and (path.is_file() or leads_nowhere(path)):
            return True
        else:
            self.leave_out("links to nothing" if leads_nowhere(path) else NO_IMAGES, path)
        return False

    def folders_in(self, folder: Path, above: frozenset[Inode] = frozenset()) -> list[Path]:
        """Return the folders in ``folder`` that may be meant and are none of those ``above``."""
        round_about = above | {inode(folder)}
        inner = self.listing(folder).folders
        back = [path for path in inner if inode(path) in round_about]
        self.leave_out("links that lead round in a circle", *back)
        return [path for path in inner if path not in back]

    def images_below(self, folder: Path, above: frozenset[Inode] = frozenset()) -> list[Path]:
        """Return the images at any depth of ``folder``, in order; of a circle of links, each once."""
        found: list[Path] = []
        waiting = [(folder, above)]
        while waiting:
            parent, round_about = waiting.pop()
            found += self.listing(parent).images
            inside = round_about | {inode(parent)}
            waiting += [(inner, inside) for inner in self.folders_in(parent, round_about)]
        return sorted(found)

    def reader(self, folder: Path) -> Folder:
        """Return the images in the class folders of ``folder``; those beside them are left out."""
        self.leave_out("images beside the class folders", *self.listing(folder).images)
        above = frozenset({inode(folder)})
        files = [(path, c) for c in self.folders_in(folder) for path in self.images_below(c, above)]
        names = dict.fromkeys(composed(c.name) for c in self.folders_in(folder))
        return Folder(tuple(names), tuple((path, composed(c.name)) for path, c in files))


def folder_readers(folder: Path) -> tuple[list[Folder], tuple[str, ...]]:
    """Return the class folders of ``folder`` as one reader or, of a split, as two, and notes on what was made of it.

    A split is folders with class folders in them that are called as in `PARTS`. What a model is chosen by, its
    validation images, are the test images where there are no others, and else are left out.

    Raises:
        InputError: there are no class folders, a split without training or without other images, or a single folder
            that can be a class as well as the folder of all classes.
        OSError: a folder cannot be read.
    """
    if is_of_mygo(folder):
        raise InputError(f"{folder} is a life or a run of MyGO: name the folder of the images.")
    walk = Walk()
    inner = unwrapped(walk, folder)
    notes = [] if inner == folder else [f"The classes are the folders in {inner}, which is all that {folder} holds."]
    if parts := parts_of(walk, inner):
        train, test, note = chosen(inner, parts)
        notes += note
        beside = [path for path in walk.folders_in(inner) if path not in parts]
        walk.leave_out("folders beside those of a split", *beside)
        walk.leave_out("images beside the class folders", *walk.listing(inner).images)
        readers = [walk.reader(unwrapped(walk, part)) for part in (train, test)]
        return readers, (*notes, *walk.notes)
    classes = walk.folders_in(inner)
    if not classes:
        raise InputError(f"{folder} has no class folders: put the images of each class into a folder of its name.")
    if all(part_of(path) for path in classes) and len(classes) > 1:
        names = " and ".join(path.name for path in classes)
        notes.append(f"The folders {names} are taken for classes, since they hold no class folders.")
    if len(classes) == 1 and walk.folders_in(classes[0]):
        notes.append(f"All images in {classes[0]}, at any depth, are taken for one class: {composed(classes[0].name)}.")
    return [walk.reader(inner)], (*notes, *walk.notes)


def unwrapped(walk: Walk, folder: Path) -> Path:
    """Return the folder that holds the classes: ``folder``, or one that is all that is in it, as archives unpack.

    That is certain of a folder of the same name and of one that holds a split.

    Raises:
        InputError: the only folder in it holds folders alone, so that it may be a class, or the classes are in it.
    """
    above: frozenset[Inode] = frozenset()
    while len(only := walk.folders_in(folder, above)) == 1:
        (inner,) = only
        above |= {inode(folder)}
        same = inner.name.casefold() in (folder.name.casefold(), folder.resolve().name.casefold())
        within = walk.folders_in(inner, above)
        if not within or walk.listing(inner).images or (part_of(inner) and not same):
            break  # it is a class, perhaps with folders of its own, or a part of a split
        if not same and not parts_of(walk, inner):
            raise InputError(
                f"{folder} holds one folder, {inner.name}, with {len(within)} folders and no image of its own: name "
                f"{inner} if those are the classes or, if they are all of one class, put images into {inner}."
            )
        walk.leave_out("images beside the class folders", *walk.listing(folder).images)
        folder = inner
    return folder


def parts_of(walk: Walk, folder: Path) -> dict[Path, str]:
    """Return which folders in ``folder`` are parts of a split; none, unless it is one.

    It is one if one is called like training images, or all are called like parts.
    """
    inside = walk.folders_in(folder)
    parts = {path: part for path in inside if (part := part_of(path)) and walk.folders_in(path)}
    return parts if TRAIN in parts.values() or len(parts) == len(inside) else {}


def part_of(folder: Path) -> str | None:
    """Return of which part of a split ``folder`` has the name, if of any."""
    return part_named(folder.name)


def part_named(name: str) -> str | None:
    """Return of which part of a split ``name`` is a name, if of any."""
    match = _PART.fullmatch(name)
    return None if match is None else PARTS[match["part"].lower()]


def chosen(folder: Path, parts: dict[Path, str]) -> tuple[Path, Path, list[str]]:
    """Return which of the ``parts`` in ``folder`` are for training and for testing, and notes on the choice.

    Raises:
        InputError: there are none for one of them, or two.
    """
    kinds: dict[str, Path] = {}
    for path, part in parts.items():
        if part in kinds:
            raise InputError(f"{folder} has two folders of one kind, {kinds[part].name} and {path.name}: join them.")
        kinds[part] = path
    seen = " and ".join(path.name for path in parts)
    if TRAIN not in kinds:
        raise InputError(
            f"{folder} has {seen} but no folder of training images: add one called train, or name one of them to learn "
            "from it."
        )
    if len(kinds) == 1:
        raise InputError(
            f"{folder} has a folder {seen} but no test with the same classes: add it, or name {kinds[TRAIN]} to have "
            "some of its images held out."
        )
    if TEST not in kinds:
        return kinds[TRAIN], kinds[VALID], [f"Accuracy is measured on the images in {kinds[VALID].name}."]
    if VALID not in kinds:
        return kinds[TRAIN], kinds[TEST], []
    left = f"The images in {kinds[VALID].name} are left out: accuracy is measured on those in {kinds[TEST].name}."
    return kinds[TRAIN], kinds[TEST], [left]


def picture_files(given: Sequence[Path]) -> tuple[list[Path], tuple[str, ...]]:
    """Return the files of ``given`` and the images at any depth of its folders, in order, each once; and notes.

    Nothing is said of other files in them, since it is the images that are requested.

    Raises:
        InputError: there are none.
        OSError: a folder cannot be read.
    """
    walk = Walk()
    found: Iterator[list[Path]] = (walk.images_below(path) if path.is_dir() else [path] for path in given)
    if not (files := list(dict.fromkeys(itertools.chain.from_iterable(found)))):
        raise InputError(f"There are no images in {', '.join(map(str, given))}: name files, or a folder of images.")
    walk.left_out.pop(NO_IMAGES, None)
    return files, walk.notes


def is_of_mygo(folder: Path) -> bool:
    """Return whether ``folder`` is a life or a run's ``--out``, whose pictures are plots and dreams."""
    is_life = (folder / MANIFEST).is_file() and ((folder / LOCK).exists() or any(folder.glob("neocortex-*")))
    return is_life or ((folder / "results.json").is_file() and (folder / "life").is_dir())


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether ``entry`` is a folder, or a link to one that is there."""
    return Path(entry.path).is_dir() if entry.is_symlink() else entry.is_dir()  # of a ring of links, it would raise


def leads_nowhere(path: Path) -> bool:
    """Return whether ``path`` is a link to something that is not there."""
    return path.is_symlink() and not path.exists()


def inode(folder: Path) -> Inode:
    """Return what a folder is known by, whatever links led to it."""
    found = folder.stat()
    return found.st_dev, found.st_ino
