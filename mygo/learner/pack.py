"""The memories of a life as one file, to be merged with others elsewhere."""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from mygo.errors import InputError
from mygo.files import write_atomically
from mygo.learner.learner import Learner
from mygo.learner.records import Record
from mygo.learner.saved import SavedLife
from mygo.memory.quality import Quality, stored_tensors

L = TypeVar("L", bound=Learner)
SUFFIX = ".mygo"
SCHEMA = 1
"""Version of the file."""
KEY = "mygo"
"""Where the metadata of the file say what is in it."""


def pack(life: Learner, path: Path) -> None:
    """Write the memories of ``life`` to ``path``, a safetensors file, with what is needed to merge them.

    Behind a frozen encoder those are the teachers of its lessons; else, its network, which teaches its dreams. Nothing
    that was measured on real data is in it, but for the quality of memories.

    Raises:
        InputError: the life has no memories, or is in the middle of a lesson.
        StorageError: the file cannot be written.
    """
    if life.current is not None:
        raise InputError(f"This life is in the middle of the lesson {life.lessons[life.current].name!r}: finish it.")
    if not life.lessons or len(life.memories) < len(life.lessons):
        raise InputError("This life has no memories that could be packed: let a life of mygo learn a lesson first.")
    bare = copy.copy(life)
    measured = {each.name: getattr(life.record, each.name) for each in fields(Quality)}
    bare.record = Record(**measured, replaced_data_bytes=life.record.replaced_data_bytes)
    bare.lessons = [
        replace(lesson, class_il=None, task_il=None, recall=None, calibration_error=None) for lesson in life.lessons
    ]
    parts = {f"memory-{number}": stored_tensors(memory) for number, memory in enumerate(life.memories)}
    parts |= {f"teacher-{number}": stored_tensors(teacher) for number, teacher in enumerate(life.teachers)}
    if not (life.order_free and life.config.backbone == "linear"):
        parts["neocortex"] = life.neocortex.state_dict()
    tensors = {
        f"{part}/{name}": t.detach().cpu().contiguous() for part, own in parts.items() for name, t in own.items()
    }
    manifest = {**bare.facts(), "pack": SCHEMA}
    manifest["checksum"] = checksum(manifest, tensors)
    write_atomically(
        path, safetensors.torch.save(tensors, {KEY: json.dumps(manifest)}), "make room, or name another file"
    )


def unpack(kind: type[L], path: Path) -> L:
    """Return the life of this ``kind`` that `pack` wrote to ``path``, to be merged with others.

    It has no folder. Behind a frozen encoder its own network answers nothing: that is for a sleep to teach.

    Raises:
        InputError: it cannot be read, is damaged or of another version, or names code that lies beside it.
    """
    try:
        content = path.read_bytes()
        tensors = safetensors.torch.load(content)
        manifest = json.loads(metadata_of(content)[KEY])
        schema, found = manifest.pop("pack"), manifest.pop("checksum")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}).") from error
    except (safetensors.SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not a life that was packed ({error}).") from error
    if schema != SCHEMA:
        raise InputError(f"{path} was packed by another version of MyGO: merge it with that one.")
    if found != checksum({**manifest, "pack": schema}, tensors):
        raise InputError(f"{path} is damaged: its content is not what was packed.")

    def read(part: str) -> dict[str, Tensor]:
        own = {name.partition("/")[2]: t for name, t in tensors.items() if name.partition("/")[0] == part}
        return own if own or part != "neocortex" else blank_heads(tensors, len(saved.head_sizes))

    try:
        saved = SavedLife.of(path, manifest)
        numbers = range(len(saved.head_sizes))
        files = {
            "neocortex": "neocortex",
            "fast_learner": None,
            "memories": [f"memory-{number}" for number in numbers],
            "teachers": [f"teacher-{number}" for number in numbers if f"teacher-{number}/weight" in tensors],
            "exemplars": [],
        }
        return kind.restored(saved, files, read)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} does not describe a life ({error}).") from error


def blank_heads(tensors: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return the weights of a linear network with ``count`` heads that say nothing, as large as its memories."""
    found = {}
    for number in range(count):
        means = tensors[f"memory-{number}/means"]
        found[f"classifiers.{number}.weight"] = torch.zeros(means.shape)
        found[f"classifiers.{number}.bias"] = torch.zeros(len(means))
    return found


def metadata_of(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata


def checksum(manifest: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """Return a hash of all that a packed life is."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode() + safetensors.torch.save(tensors)).hexdigest()
