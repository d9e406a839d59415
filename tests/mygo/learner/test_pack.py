"""Packed lives: one file of memories, which merges as the life does, and is refused where it is not whole."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from mygo.config.learner import LifeConfig
from mygo.errors import InputError
from mygo.jobs.life import Life
from mygo.learner.pack import KEY, checksum, metadata_of, pack, unpack

Write = Callable[..., str]


@pytest.fixture
def lives(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> list[Life]:
    found = [Life("mygo", tiny_on_vectors, (12,)) for _ in range(2)]
    for life, classes in zip(found, (("ash", "birch"), ("cedar",)), strict=True):
        life.learn(write_vectors(tmp_path / f"{classes[0]}.npz", classes))
    return found


def networks(life: Life) -> list[torch.Tensor]:
    kept = [life.neocortex, *life.memories, *life.teachers]
    return [tensor for module in kept for tensor in module.state_dict().values()]


def test_a_packed_life_is_merged_as_the_life_is(lives: list[Life], tmp_path: Path) -> None:
    one, other = lives
    for name, life in zip("ab", lives, strict=True):
        pack(life, tmp_path / f"{name}.mygo")
    packed = [unpack(Life, tmp_path / f"{name}.mygo") for name in "ab"]
    wanted = networks(one.merge(other))
    for pair in ((packed[0], packed[1]), (packed[0], other), (one, packed[1])):
        assert all(map(torch.equal, networks(pair[0].merge(pair[1])), wanted))
    assert packed[0].class_names == ["ash", "birch"]
    assert packed[0].lessons[0].images == one.lessons[0].images


def test_it_holds_memories_and_teachers_and_nothing_that_was_measured_on_examples(
    lives: list[Life], tmp_path: Path
) -> None:
    life = lives[0]
    life.lessons[0].class_il = 0.5
    pack(life, tmp_path / "a.mygo")
    content = (tmp_path / "a.mygo").read_bytes()
    parts = {name.split("/")[0] for name in safetensors.torch.load(content)}
    assert parts == {"memory-0", "teacher-0"}
    manifest = json.loads(metadata_of(content)[KEY])
    assert manifest["lessons"][0]["class_il"] is None
    assert manifest["record"]["seconds"] == {}
    assert life.lessons[0].class_il == 0.5, "the life stays as it is"
    assert len(content) < life.memory_bytes + 6000


def test_over_pixels_the_network_goes_with_its_memories(tiny_life: LifeConfig, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 8, 8), dtype=np.uint8)
    lives = [Life("mygo", tiny_life, (1, 8, 8)) for _ in range(2)]
    for life, classes in zip(lives, (("a", "b"), ("c", "d")), strict=True):
        np.savez(tmp_path / "x.npz", images=pixels, labels=np.arange(48) % 2, class_names=np.array(classes))
        life.learn(str(tmp_path / "x.npz"), classes[0])
    pack(lives[1], tmp_path / "b.mygo")
    packed = unpack(Life, tmp_path / "b.mygo")
    merged, wanted = lives[0].merge(packed), lives[0].merge(lives[1])
    assert all(map(torch.equal, networks(merged), networks(wanted)))


def rewritten(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None], *, honest: bool) -> None:
    """Change what is in a packed life, with the checksum of that if ``honest``."""
    content = path.read_bytes()
    tensors, manifest = safetensors.torch.load(content), json.loads(metadata_of(content)[KEY])
    change(manifest, tensors)
    if honest:
        manifest.pop("checksum", None)
        manifest["checksum"] = checksum(manifest, tensors)
    path.write_bytes(safetensors.torch.save(tensors, {KEY: json.dumps(manifest)}))


@pytest.mark.parametrize(
    ("change", "honest", "complaint"),
    [
        (lambda manifest, tensors: tensors["memory-0/means"].add_(1), False, "is damaged"),
        (lambda manifest, tensors: manifest["lessons"][0].update(name="other"), False, "is damaged"),
        (lambda manifest, tensors: manifest.update(pack=2), True, "packed by another version"),
        (lambda manifest, tensors: manifest.pop("pack"), False, "is not a life that was packed"),
        (lambda manifest, tensors: tensors.pop("memory-0/means"), True, "does not describe a life"),
        (lambda manifest, tensors: tensors.pop("teacher-0/bias"), True, "does not describe a life"),
        (lambda manifest, tensors: manifest.update(head_sizes=[10**9]), True, "does not describe a life"),
        (lambda manifest, tensors: manifest.update(config={"sleep": {"steps": -1}}), True, "does not describe a life"),
        (lambda manifest, tensors: manifest.update(image_shape=[10**9]), True, "does not describe a life"),
    ],
)
def test_what_is_not_whole_is_refused(
    lives: list[Life], tmp_path: Path, change: Callable[..., None], honest: bool, complaint: str
) -> None:
    pack(lives[0], tmp_path / "a.mygo")
    rewritten(tmp_path / "a.mygo", change, honest=honest)
    with pytest.raises(InputError, match=complaint):
        unpack(Life, tmp_path / "a.mygo")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x10" + bytes(7) + b"{}" * 8, bytes(100)])
def test_what_is_no_packed_life_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mygo").write_bytes(content)
    with pytest.raises(InputError, match="is not a life that was packed"):
        unpack(Life, tmp_path / "a.mygo")
    with pytest.raises(InputError, match="cannot be read"):
        unpack(Life, tmp_path / "b.mygo")


def test_what_has_no_memories_or_is_learning_is_not_packed(
    lives: list[Life], tiny_on_vectors: LifeConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="has no memories"):
        pack(Life("mygo", tiny_on_vectors, (12,)), tmp_path / "a.mygo")
    lives[0].current = 0
    with pytest.raises(InputError, match="in the middle of the lesson"):
        pack(lives[0], tmp_path / "a.mygo")
    assert not (tmp_path / "a.mygo").exists()
