"""A learner and the folder that it is saved in."""

import copy
import functools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from mygo.config.learner import LifeConfig
from mygo.data.examples import Examples, InputShape
from mygo.errors import InputError
from mygo.files import MANIFEST
from mygo.learner.saved import SCHEMA, SHAPE, SavedLife, newest
from mygo.learner.state import Guest, LearnerState, detector_dim
from mygo.learner.storage import PREVIOUS, checksum, read_manifest, write_manifest
from mygo.memory.forms import blank_memory
from mygo.memory.quality import stored_tensors
from mygo.networks import names
from mygo.networks.neocortex import NeocortexNet
from mygo.networks.weights import fill, read_tensors, write_tensors
from mygo.training.checkpoint import Checkpoint
from mygo.training.precision import agreed
from mygo.training.process_group import ProcessGroup
from mygo.unknown.detector import UnknownDetector

L = TypeVar("L", bound="Learner")
Tensors: TypeAlias = dict[str, Tensor]


class Learner(LearnerState):
    """A learner with a ``folder``, if it has one.

    Every `save` leaves there a whole state that `Learner.open` reads back; the state counts from the moment its
    manifest replaces the one before.
    """

    def __init__(
        self,
        strategy: str,
        config: LifeConfig,
        input_shape: InputShape,
        folder: Path | None = None,
        stream: str = "",
    ) -> None:
        super().__init__(strategy, config, input_shape, stream)
        self.folder = folder
        self._written: dict[str, Any] = {}
        """The manifest that was written or read last."""

    def settle(self, group: ProcessGroup) -> None:
        """Agree with all of ``group`` on the precision, if this life has none yet, and note how it is computed now.

        Where the folder says otherwise, of a life that was begun with other settings of that kind, it is put right, so
        that dreamers read the same.
        """
        self.precision = agreed(self.precision, group)
        self.record.computed = {
            "precision": self.precision,
            "eager": self.config.eager,
            "device": group.device.type,
            "workers": group.size,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        now = {**self._written, "config": asdict(self.config), "precision": self.precision}
        if group.rank == 0 and self.saved and now != self._written:
            self._write(now)
        group.barrier()

    @property
    def saved(self) -> bool:
        """Whether a state of this life was saved or read."""
        return bool(self._written)

    @property
    def saved_checksum(self) -> str:
        """The checksum of the state that was written or read last, as its manifest has it."""
        return checksum(self._written)

    def save(self) -> None:
        """Write the whole state to the folder, if there is one; either all of it counts or nothing."""
        self.checkpoint = None
        if self.folder is None:
            return
        write = functools.partial(write_tensors, self.folder)
        manifest = {
            **self.facts(),
            "files": {
                "neocortex": write("neocortex", self.neocortex.state_dict()),
                "fast_learner": write("fast-learner", self.fast_learner.state_dict()) if self.fast_learner else None,
                "guests": [
                    {"file": write(f"guest-{number}", guest.network.state_dict()), "lessons": list(guest.lessons)}
                    for number, guest in enumerate(self.guests)
                ],
                "memories": [
                    write(f"memory-{task}", stored_tensors(memory)) for task, memory in enumerate(self.memories)
                ],
                "teachers": [
                    write(f"teacher-{task}", stored_tensors(teacher)) for task, teacher in enumerate(self.teachers)
                ],
                "statistics": write("statistics", self.statistics) if self.statistics else None,
                "detector": write("detector", self.detector.state_dict()) if self.detector else None,
                "exemplars": [
                    write(f"exemplars-{task}", {"images": kept.inputs, "labels": kept.labels})
                    for task, kept in enumerate(self.exemplars)
                ],
            },
        }
        self._write(manifest)

    def save_as(self, folder: Path) -> None:
        """Save the whole state to another ``folder`` from now on; the one before stays as it is."""
        self.folder, self._written = folder, {}
        self.save()

    def replace(self, other: "Learner") -> None:
        """Save this state to the folder of ``other``, in place of the state that this one has there."""
        self.folder, self._written = other.folder, other._written
        self.save()

    def facts(self) -> dict[str, Any]:
        """Return all that a manifest says but for the files, as JSON has it."""
        return {
            "schema": SCHEMA,
            "strategy": self.strategy,
            "stream": self.stream,
            "config": asdict(self.config),
            "precision": self.precision,
            "encoder_checksum": self.encoder_checksum,
            "encoder_precision": self.encoder_precision,
            SHAPE: list(self.input_shape),
            "head_sizes": self.neocortex.head_sizes,
            "tasks_learned": self.tasks_learned,
            "cycles": self.cycles,
            "current": self.current,
            "phases_done": self.phases_done,
            "lessons": [asdict(lesson) for lesson in self.lessons],
            "record": asdict(self.record),
        }

    def keep_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Add ``checkpoint`` to what the last `save` wrote, in place of the one before, if there is a folder."""
        if self.folder is None:
            return
        file = write_tensors(self.folder, "checkpoint", checkpoint.tensors)
        entry = {name: getattr(checkpoint, name) for name in ("phase", "attempt", "steps", "seconds")}
        files = {**self._written["files"], "checkpoint": file}
        self._write({**self._written, "files": files, "checkpoint": entry})

    def _write(self, manifest: dict[str, Any]) -> None:
        if self.folder is not None:
            write_manifest(self.folder, manifest, self._written or None)
            self._written = manifest

    def check_newest(self) -> None:
        """Make sure that the folder still holds the state that this life was read from, or that it wrote last.

        Raises:
            InputError: another process has changed it.
        """
        if self.folder is None or not self.exists(self.folder):
            return
        newest = read_manifest(self.folder / MANIFEST, SCHEMA)
        if checksum(newest) != checksum(self._written):
            raise InputError(f"{self.folder} was changed since this life was opened: open it again.")

    @staticmethod
    def exists(folder: str | os.PathLike[str]) -> bool:
        """Return whether ``folder`` holds a saved life."""
        return any((Path(folder) / name).exists() for name in (MANIFEST, PREVIOUS))

    @classmethod
    def open(cls: type[L], folder: str | os.PathLike[str], on_notice: Callable[[str], None] = warnings.warn) -> L:
        """Read the state that was saved last in ``folder`` or, where that is damaged, the one before.

        ``on_notice`` is then called with a sentence that says so.

        Raises:
            InputError: there is none, or all are damaged or of another version; the message names the file.
        """
        return newest(Path(folder), functools.partial(cls._from_manifest, Path(folder)), on_notice)

    @classmethod
    def _from_manifest(cls: type[L], folder: Path, manifest: Mapping[str, Any]) -> L:
        saved = SavedLife.of(folder, manifest)
        names.refuse_code_in(folder, saved.config.backbone, saved.config.memory.gan.generator)
        life = cls.restored(saved, manifest["files"], functools.partial(read_tensors, folder))
        life.folder = folder
        life._written = copy.deepcopy(dict(manifest))  # the record goes on changing
        return life

    @classmethod
    def restored(
        cls: type[L], saved: SavedLife, files: Mapping[str, Any], read: Callable[[str], dict[str, Tensor]]
    ) -> L:
        """Return the learner that was ``saved``, without a folder; ``read`` gives the tensors of each of ``files``.

        Raises:
            LookupError, TypeError, ValueError: they are not those of its networks.
        """
        config, sizes = saved.config, saved.head_sizes
        life = cls(saved.strategy, config, saved.input_shape, None, saved.stream)
        life.precision = saved.precision
        life.encoder_checksum, life.encoder_precision = saved.encoder_checksum, saved.encoder_precision
        blank = functools.partial(with_heads, saved.input_shape, config.backbone, sizes)
        life.neocortex = fill(blank, read(files["neocortex"]))
        if files["fast_learner"]:
            life.fast_learner = fill(blank, read(files["fast_learner"]))
        for guest in files.get("guests", ()):
            known = tuple(range(len(sizes))[int(number)] for number in guest["lessons"])
            life.guests.append(Guest(fill(blank, read(guest["file"])), known))
        for name, size in zip(files["memories"], sizes, strict=False):
            build = functools.partial(blank_memory, config.memory, size, life.input_shape)
            life.memories.append(fill(build, read(name), torch.half).eval().requires_grad_(False))
        for name, size in zip(files.get("teachers", ()), sizes, strict=False):
            head = functools.partial(nn.Linear, life.input_shape[0], size)
            life.teachers.append(fill(head, read(name), torch.half).eval().requires_grad_(False))
        if files.get("statistics"):
            life.statistics = read(files["statistics"])
        if files.get("detector"):  # which lives of an earlier version have not
            life.detector = UnknownDetector.of_tensors(read(files["detector"]), sum(sizes), detector_dim(life))
        for name in files["exemplars"]:
            kept = read(name)
            life.exemplars.append(Examples(kept["images"], kept["labels"]))
        for field_name in ("record", "lessons", "tasks_learned", "cycles", "current", "phases_done"):
            setattr(life, field_name, getattr(saved, field_name))
        if saved.checkpoint is not None:
            life.checkpoint = replace(saved.checkpoint, tensors=read(files["checkpoint"]))
        return life


def with_heads(input_shape: InputShape, backbone: str, head_sizes: Sequence[int]) -> NeocortexNet:
    """Return a new network with heads of ``head_sizes``."""
    net = NeocortexNet(input_shape, backbone)
    for size in head_sizes:
        net.add_task_head(size)
    return net
