"""A life that an earlier version of MyGO saved is opened and goes on: lives/ has one of version 0.1.0."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mygo import Life
from mygo.config.presets import behind_encoder
from mygo.data.spelling import composed
from mygo.learner.saved import SavedLife, migrated

LIVES = Path(__file__).resolve().parent / "lives"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(LIVES / "life-schema-3", tmp_path / "life"))


def test_a_life_of_0_1_0_sees_and_dreams_as_it_did(old: Path) -> None:
    then = json.loads((LIVES / "life-schema-3.json").read_text())
    life = Life.open(old)
    seen = life.predict(torch.tensor(then["images"], dtype=torch.uint8))
    assert seen.names == [composed(name) for name in then["names"]]
    assert torch.allclose(seen.probabilities, torch.tensor(then["probabilities"]), atol=1e-3)
    dream = life.dream("robin", 1)[0, 0].float()
    assert torch.allclose(dream, torch.tensor(then["dream"]).float(), atol=2)


def test_a_life_of_0_1_0_is_shown_and_learns_on_in_the_precision_that_it_was_begun_in(old: Path) -> None:
    saved = SavedLife.open(old)
    assert [lesson.name for lesson in saved.lessons] == ["birds", "insects"]
    assert saved.precision == "bfloat16"
    life = Life.open(old)
    assert life.class_names == ["robin", "wren", "bee", "caf\u00e9"], "which was written with a combining accent"
    images = np.random.default_rng(2).integers(0, 255, (2, 1, 8, 8)).repeat(10, axis=0).astype(np.uint8)
    np.savez(old.parent / "trees.npz", images=images[:, 0], labels=np.repeat(range(2), 10))
    life.learn(old.parent / "trees.npz")
    again = Life.open(old)
    assert again.class_names == ["robin", "wren", "bee", "caf\u00e9", "0", "1"]
    assert again.precision == "bfloat16"


def test_a_sleep_that_was_mixed_by_a_fixed_weight_is_mixed_by_the_examples() -> None:
    assert "sleep" not in migrated({})
    assert migrated({"sleep": {"steps": 9, "discriminant_weight": 0.0}})["sleep"] == {"steps": 9}
    default = behind_encoder().sleep.discriminant_examples
    assert migrated({"sleep": {"discriminant_weight": 0.2}})["sleep"] == {"discriminant_examples": default}
