"""One of each that can be made known, from a module of one's own, and nothing else of MyGO touched."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mygo import Examples, Experiment, ExperimentConfig, LabelledDataset, Life, LifeConfig, change
from mygo.__main__ import main
from mygo.baselines.registry import STRATEGIES
from mygo.cli.registry import COMMANDS
from mygo.data.datasets import DATASETS, Dataset
from mygo.encoders.registry import ENCODERS
from mygo.errors import InputError
from mygo.networks.generator import GENERATORS
from mygo.networks.neocortex import BACKBONES

OWN = """
import torch
from torch import nn

import mygo


def stripes(data_root):
    labels = torch.arange(4).repeat_interleave(20)
    images = (labels * 60 + 20).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    part = mygo.Examples(images, labels)
    return mygo.LabelledDataset("stripes", part, part, ("a", "b", "c", "d"))


def flat(image_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU())


class Plain(mygo.Generator):
    def __init__(self, num_classes, image_shape, *, latent_dim, width):
        super().__init__(num_classes, image_shape, latent_dim=latent_dim, width=width)
        self.embed = nn.Embedding(num_classes, latent_dim)
        self.layer = nn.Linear(latent_dim, 64)

    def forward(self, noise, labels):
        return torch.tanh(self.layer(noise + self.embed(labels))).view(-1, *self.image_shape)


def idle(life, task, data, context):
    pass


mygo.use_dataset("stripes", stripes, num_classes=4)
mygo.use_backbone("flat", flat)
mygo.use_generator("plain", Plain)
mygo.use_strategy("idle", idle, description="learns nothing")
"""


def test_a_data_set_a_backbone_a_generator_and_a_strategy_are_added_by_one_call_each(
    tiny_life: LifeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for registry, name in ((DATASETS, "stripes"), (BACKBONES, "flat"), (GENERATORS, "plain"), (STRATEGIES, "idle")):
        monkeypatch.setitem(registry, name, None)  # so that it is taken out again
        monkeypatch.delitem(registry, name)
    with pytest.raises(InputError, match="--dataset stripes is not known: choose from digits, "):
        ExperimentConfig(dataset="stripes")
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_parts", raising=False)
    __import__("own_parts")
    life = change(tiny_life, {"backbone": "flat", "memory.gan.generator": "plain"})
    config = ExperimentConfig(dataset="stripes", num_tasks=2, strategies=("mygo", "idle"), life=life)
    results = Experiment(config, tmp_path / "out").run()
    assert results["class_names"] == ["a", "b", "c", "d"]
    assert list(results["strategies"]) == ["mygo", "idle"]


OWN_ENCODER = """
import torch

import mygo


class Reversed:
    name, input_kind, feature_dim, checksum, at_least = "reversed", "vector", 6, "1", None

    def preprocess(self, vector):
        return vector.flip(0)

    def collate(self, items):
        return torch.stack(items)

    def encode(self, batch):
        return batch

    def to(self, device):
        return self


mygo.use_encoder("reversed", Reversed)
"""


def test_an_encoder_is_added_by_one_call(
    tiny_on_vectors: LifeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENCODERS, "reversed", None)  # so that it is taken out again
    monkeypatch.delitem(ENCODERS, "reversed")
    with pytest.raises(InputError, match=r"--encoder .reversed. is not known"):
        Life.behind("reversed")
    (tmp_path / "own_encoder.py").write_text(OWN_ENCODER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_encoder", raising=False)
    __import__("own_encoder")
    life = Life.behind("reversed", config=tiny_on_vectors)
    rows = np.eye(6, dtype=np.float32)[[0, 1]].repeat(12, 0)
    np.savez(tmp_path / "two.npz", features=rows, labels=np.repeat([0, 1], 12))
    life.learn(tmp_path / "two.npz")
    assert [int(mean.argmax()) for mean in life.gaussians[0].means] == [5, 4]


def test_a_data_set_of_vectors_is_known_by_name_and_seen_as_one_in_a_file(
    tiny_on_vectors: LifeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is scaled to one length, and closed forms learn it too."""
    rng = np.random.default_rng(0)
    labels = torch.arange(4).repeat_interleave(20)
    vectors = torch.from_numpy(9 * rng.normal(size=(4, 12))[labels] + rng.normal(size=(80, 12))).float()
    part = Examples(vectors, labels)
    monkeypatch.setitem(
        DATASETS, "points", Dataset(4, lambda root: LabelledDataset("points", part, part, tuple("abcd")), "vector")
    )
    np.savez(
        tmp_path / "points.npz",
        **{f"{where}features": vectors.numpy() for where in ("", "test_")},
        **{f"{where}labels": labels.numpy() for where in ("", "test_")},
        class_names=np.array(list("abcd")),
    )
    found = [
        Experiment(
            ExperimentConfig(dataset=dataset, num_tasks=2, strategies=("mygo", "slda"), life=tiny_on_vectors)
        ).run()["strategies"]
        for dataset in ("points", str(tmp_path / "points.npz"))
    ]
    for named, in_a_file in zip(found[0].values(), found[1].values(), strict=True):
        assert named["accuracy_matrix"] == in_a_file["accuracy_matrix"]
        assert named["average_accuracy"]["class_il"] > 0.9
    with pytest.raises(InputError, match="is not needed for vectors"):
        ExperimentConfig(
            dataset="points", strategies=("slda",), num_tasks=2, life=replace(tiny_on_vectors, encoder="minilm")
        )


OWN_COMMAND = """
from dataclasses import dataclass

from mygo.cli.folders import LifeFolder, open_life
from mygo.cli.registry import COMMANDS


@dataclass(frozen=True, kw_only=True)
class Count:
    \"\"\"Count the classes of a life.\"\"\"

    life: LifeFolder
    at_least: int = 0

    def run(self, console):
        console.print(max(self.at_least, len(open_life(self.life).class_names)))


COMMANDS["count"] = Count
"""


def test_a_command_is_added_by_one_entry(
    tiny_life: LifeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "count", None)  # so that it is taken out again
    monkeypatch.delitem(COMMANDS, "count")
    with pytest.raises(SystemExit):
        main(["count", "--life", str(tmp_path)])
    (tmp_path / "own_command.py").write_text(OWN_COMMAND)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_command", raising=False)
    __import__("own_command")
    Life("mygo", tiny_life, (1, 8, 8), tmp_path / "life").save()
    assert main(["count", "--life", str(tmp_path / "life"), "--at-least", "3"]) == 0
    assert capsys.readouterr().out == "3\n"
    assert main(["count", "--life", str(tmp_path / "nowhere")]) == 2
    assert "nowhere is not there: name the folder of a life" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "count" in capsys.readouterr().out
