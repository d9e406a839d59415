"""One of each that can be made known, from a module of one's own, and nothing else of MyGO touched."""

import sys
from pathlib import Path

import pytest

from mygo import Experiment, ExperimentConfig, LifeConfig, change
from mygo.baselines.registry import STRATEGIES
from mygo.data.datasets import DATASETS
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
