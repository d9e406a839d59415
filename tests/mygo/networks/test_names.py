"""Networks of one's own by name: what is imported, from where, and that nothing else is."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.errors import InputError
from mygo.files import MANIFEST
from mygo.jobs.experiment import ExperimentConfig
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.learner.saved import SCHEMA, SavedLife
from mygo.learner.state import check_networks
from mygo.learner.storage import read_manifest, write_manifest
from mygo.networks import names
from mygo.networks.generator import GENERATORS, build_generator
from mygo.networks.neocortex import BACKBONES

REPOSITORY = Path(__file__).resolve().parents[3]
OWN = """
from pathlib import Path
from torch import nn
from mygo.networks.generator import ConvGenerator

Path(__file__).with_name("imported").touch()


def flat(image_shape):
    channels, height, width = image_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, 16), nn.ReLU())


def nothing(image_shape):
    return None


class Small(ConvGenerator):
    pass


def numbers(num_classes, image_shape, *, latent_dim, width):
    return [num_classes]


alias = flat
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with networks of one's own, which this process has not imported."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "own_nets.py").write_text(OWN)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr("mygo.networks.neocortex.BACKBONES", dict(BACKBONES))
    monkeypatch.setattr("mygo.networks.generator.GENERATORS", dict(GENERATORS))
    yield tmp_path / "work"
    for module in ("own_nets", "broken"):
        sys.modules.pop(module, None)


def write(path: Path, *classes: str) -> str:
    """Write an .npz source of noisy squares."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20 * len(classes), 8, 8), dtype=np.uint8)
    np.savez(path, images=images, labels=np.repeat(range(len(classes)), 20), class_names=np.array(classes))
    return str(path)


def own(tiny_life: LifeConfig, backbone: str = "own_nets:flat", generator: str = "own_nets:Small") -> LifeConfig:
    changed: LifeConfig = change(tiny_life, {"backbone": backbone, "memory.gan.generator": generator})
    return changed


def in_a_process(folder: Path, *argv: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m mygo`` in ``folder``, without the working folder on Python's own path."""
    env = {**os.environ, "PYTHONPATH": "", "COLUMNS": "300", **environment}
    start = "from mygo.__main__ import main; sys.exit(main(sys.argv[1:]))"
    code = f"import sys; sys.path[0] = {str(REPOSITORY)!r}; {start}"  # in place of the working folder
    command = [sys.executable, "-c", code, *map(str, argv)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_a_life_of_ones_own_networks_is_used_where_their_file_is_and_shown_anywhere(
    here: Path, tiny_life: LifeConfig, tmp_path: Path
) -> None:
    life = Life.create((1, 8, 8), tmp_path / "life", own(tiny_life))
    life.learn(write(tmp_path / "birds.npz", "robin", "wren"))
    assert type(life.memories[0]).__name__ == "Small"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")
    for folder, environment in ((here, {}), (tmp_path, {"PYTHONPATH": str(here)})):
        ended = in_a_process(folder, "predict", "--life", tmp_path / "life", tmp_path / "a.png", **environment)
        assert ended.returncode == 0, ended.stderr
        (here / "imported").unlink()
    for command in (["predict", tmp_path / "a.png"], ["dream", "--class", "wren", tmp_path / "wren.png"]):
        ended = in_a_process(tmp_path, command[0], "--life", tmp_path / "life", *command[1:])
        assert ended.returncode == 2
        assert re.search(r"'own_nets:flat': there is no own_nets.py .* make the name known with", ended.stderr)
        assert "mygo.use_backbone" in ended.stderr
        assert ended.stderr.count("\n") == 1
    for folder in (here, tmp_path):
        ended = in_a_process(folder, "show", "--life", tmp_path / "life")
        assert ended.returncode == 0, ended.stderr
        assert "robin" in ended.stdout
        assert "the backbone own_nets:flat" in ended.stdout
        assert not (here / "imported").exists(), "to show a life takes none of its networks"
    saved = SavedLife.open(tmp_path / "life")
    assert saved.memory_bytes == life.memory_bytes
    assert saved.lessons == life.lessons


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("own_nets:missing", "defines no class or function missing"),
        ("own_nets:alias", "defines no class or function alias"),
        ("own_nets:Path", "defines no class or function Path"),
        ("os:system", "there is no os.py in the working folder"),
        ("own_nets.deeper:flat", "there is no own_nets/deeper.py"),
        ("json:loads", "there is no json.py"),
        ("torch.nn:Linear", "there is no torch/nn.py"),
    ],
)
def test_what_a_persons_own_module_does_not_define_is_refused_and_nothing_is_imported(
    here: Path, name: str, complaint: str
) -> None:
    for setting in ("backbone", "memory.gan.generator"):
        with pytest.raises(InputError, match=re.escape(name)) as refused:
            ExperimentConfig(life=change(LifeConfig(), {setting: name}))
        assert complaint in str(refused.value)
    assert not (here / "imported").exists()


def test_a_module_that_fails_or_has_a_taken_name_is_refused_in_one_sentence(here: Path) -> None:
    (here / "broken.py").write_text("def flat(shape): ...\nimport no_such_module\n")
    (here / "json.py").write_text("def flat(shape): ...\n")
    for name, complaint in (
        ("broken:flat", r"cannot be imported \(ModuleNotFoundError: No module named 'no_such_module'\)"),
        ("json:flat", "another module is called json too"),
    ):
        with pytest.raises(InputError, match=complaint):
            check_networks(LifeConfig(backbone=name))


def test_what_is_no_network_is_refused(here: Path, tiny_life: LifeConfig) -> None:
    with pytest.raises(InputError, match=r"must be a torch\.nn\.Module, not NoneType"):
        Life.create((1, 8, 8), None, own(tiny_life, backbone="own_nets:nothing"))
    with pytest.raises(InputError, match=r"must be a mygo\.networks\.generator\.Generator, not list"):
        build_generator(own(tiny_life, generator="own_nets:numbers").memory.gan, 2, (1, 8, 8))


def test_code_in_the_folder_of_a_life_is_not_run(
    here: Path, tiny_life: LifeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life.create((1, 8, 8), here / "life", change(tiny_life, {"backbone": "mlp"}))
    life.save()
    manifest = read_manifest(here / "life" / MANIFEST, SCHEMA)
    manifest["config"]["backbone"] = "evil:flat"
    write_manifest(here / "life", manifest)
    (here / "life" / "evil.py").write_text(OWN)
    for folder, environment in ((here, ""), (here / "life", ""), (tmp_path, str(here / "life"))):
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PYTHONPATH", environment)
        with pytest.raises(InputError, match="evil:flat"):
            Life.open(here / "life")
        assert not (here / "life" / "imported").exists()
    (here / "life" / "elsewhere.py").symlink_to(here / "own_nets.py")
    monkeypatch.chdir(here / "life")
    with pytest.raises(InputError, match="names code that lies in it"):
        names.refuse_code_in(here / "life", "elsewhere:flat")


def test_a_life_keeps_its_generator_for_good(here: Path, tiny_life: LifeConfig, tmp_path: Path) -> None:
    """Its memories are read back into the generator that its settings name."""
    Lesson(tmp_path / "life", write(tmp_path / "a.npz", "owl"), config=change(tiny_life, {})).run()
    lesson = Lesson(tmp_path / "life", write(tmp_path / "b.npz", "wren"), config=own(tiny_life, "conv"))
    with pytest.raises(InputError, match=r"has --memory\.gan\.generator conv for good"):
        lesson.check()
