"""What a folder says of the learner in it, without its networks."""

import functools
import itertools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from mygo.config.learner import AnyPrecision, LifeConfig
from mygo.config.presets import behind_encoder
from mygo.config.settings import overlay
from mygo.data.examples import InputShape
from mygo.errors import InputError
from mygo.files import MANIFEST
from mygo.learner.records import Record, TaskRecord
from mygo.learner.storage import PREVIOUS, read_manifest
from mygo.networks.weights import read_tensors
from mygo.training.checkpoint import Checkpoint

T = TypeVar("T")
SCHEMA = 3
"""Version of the life folder."""
SHAPE = "image_shape"
"""Where a manifest has the shape of what a life sees, of images as of vectors."""


@dataclass(frozen=True)
class SavedLife:
    """What a folder says of the life in it, without its networks; the fields are those of `Life`.

    To read it takes no code but MyGO's, whatever networks the life is made of.
    """

    folder: Path
    strategy: str
    stream: str
    config: LifeConfig
    precision: AnyPrecision
    input_shape: InputShape
    head_sizes: list[int]
    lessons: list[TaskRecord]
    record: Record
    tasks_learned: int
    cycles: int
    current: int | None
    phases_done: list[str]
    encoder_checksum: str
    encoder_precision: AnyPrecision
    checkpoint: Checkpoint | None
    """Without its tensors."""
    bytes_kept: tuple[int, ...] = ()
    """To remember each task with; empty unless the files were read."""

    @property
    def memory_bytes(self) -> int:
        """Bytes kept to remember with: generators as stored and real exemplars, the network itself not counted."""
        return sum(self.bytes_kept)

    def memory_bytes_for(self, task: int) -> int:
        """Return the part of `memory_bytes` that is kept for the task with the index ``task``."""
        return sum(self.bytes_kept[task : task + 1])

    @classmethod
    def open(cls, folder: Path | str, on_notice: Callable[[str], None] = warnings.warn) -> "SavedLife":
        """Read the state that `Life.open` would, and make sure that its files are whole.

        Raises:
            InputError: as `Life.open`.
        """
        folder = Path(folder)

        def read(manifest: Mapping[str, Any]) -> SavedLife:
            files, tensors = manifest["files"], functools.partial(read_tensors, folder)
            for role in ("neocortex", "fast_learner", "statistics", "detector", "checkpoint"):
                if files.get(role):
                    tensors(files[role])
            for guest in files.get("guests", ()):
                tensors(guest["file"])
            teachers = files.get("teachers", ())
            memories, heads = (
                [sum(tensor.nbytes for tensor in tensors(name).values()) for name in names]
                for names in (files["memories"], teachers)
            )
            exemplars = [tensors(name)["images"].nbytes for name in files["exemplars"]]
            kept = tuple(map(sum, itertools.zip_longest(memories, heads, exemplars, fillvalue=0)))
            return replace(cls.of(folder, manifest), bytes_kept=kept)

        return newest(folder, read, on_notice)

    @classmethod
    def of(cls, folder: Path, manifest: Mapping[str, Any]) -> "SavedLife":
        """Return what ``manifest`` says.

        Raises:
            LookupError, TypeError, ValueError, AttributeError: it does not describe a life.
        """
        try:
            config = overlay(LifeConfig(encoder="none"), migrated(manifest["config"]))
        except InputError as error:
            raise ValueError(str(error)) from error
        precision = manifest.get("precision", config.precision)
        encoder_precision = manifest.get("encoder_precision", "auto")
        for each in (precision, encoder_precision):
            if each not in get_args(AnyPrecision):
                raise ValueError(f"it is computed in {each!r}")
        sizes = [int(size) for size in manifest["head_sizes"]]
        lessons = [TaskRecord.read(entry) for entry in manifest["lessons"]]
        if [len(lesson.classes) for lesson in lessons] != sizes:
            raise ValueError("its lessons are not those of its heads")
        current = manifest["current"]
        point = manifest.get("checkpoint")
        return cls(
            folder=folder,
            strategy=manifest["strategy"],
            stream=str(manifest["stream"]),
            config=config,
            precision=precision,
            input_shape=tuple(int(size) for size in manifest[SHAPE]),
            head_sizes=sizes,
            lessons=lessons,
            record=Record.read(manifest["record"]),
            tasks_learned=int(manifest["tasks_learned"]),
            cycles=int(manifest["cycles"]),
            current=None if current is None else range(len(sizes))[int(current)],
            encoder_checksum=str(manifest.get("encoder_checksum", "")),
            encoder_precision=encoder_precision,
            phases_done=[str(phase) for phase in manifest["phases_done"]],
            checkpoint=None
            if point is None
            else Checkpoint(
                str(point["phase"]), int(point["attempt"]), int(point["steps"]), float(point["seconds"]), {}
            ),
        )


def migrated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a life that an earlier version wrote as this one has them.

    Raises:
        InputError: nothing here does what one of them says.
    """
    settings = dict(config)
    if settings.pop("dream_level", "pixels") != "pixels":
        raise InputError("it dreams feature maps, which MyGO does no more: open it with version 0.1.0")
    if "discriminant_weight" in settings.get("sleep", {}):
        sleep = dict(settings["sleep"])
        if sleep.pop("discriminant_weight"):
            sleep["discriminant_examples"] = behind_encoder().sleep.discriminant_examples
        settings["sleep"] = sleep
    return settings


def newest(folder: Path, read: Callable[[Mapping[str, Any]], T], on_notice: Callable[[str], None]) -> T:
    """Return what ``read`` makes of the manifest in ``folder`` or, where that is damaged, of the one before.

    Raises:
        InputError: neither describes a life that is whole; the message names the file.
    """

    def of(name: str) -> T:
        manifest = read_manifest(folder / name, SCHEMA)
        try:
            return read(manifest)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
            raise InputError(f"{folder / name} does not describe a life ({error}).") from error

    try:
        return of(MANIFEST)
    except InputError as error:
        try:
            found = of(PREVIOUS)
        except InputError:
            raise error from None
        on_notice(f"{error} The state before it is used instead.")
        return found
