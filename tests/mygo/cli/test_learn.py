"""Mistakes with data behind an encoder, made at a terminal: one sentence, 2, and nothing is written."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mygo.__main__ import main
from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.encoders.registry import ENCODERS, use_encoder
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life

COLOURS = {"robin": (200, 40, 30), "wren": (90, 60, 20), "sparrow": (120, 90, 60)}


class Colours:
    """An encoder of pictures: their mean colours, and how they differ from left to right."""

    name, input_kind, feature_dim, at_least = "colours", "image", 6, (8, 8)

    def __init__(self, checksum: str = "ab" * 32) -> None:
        self.checksum = checksum

    def preprocess(self, item: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(item.resize((8, 8)))).permute(2, 0, 1)

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(items))

    def encode(self, batch: Tensor) -> Tensor:
        means = batch.float().mean(3)
        return torch.cat([means[:, :, :4].mean(2), means[:, :, 4:].mean(2)], 1)

    def to(self, device: torch.device) -> "Colours":
        return self


class Letters(Colours):
    """An encoder of texts by their letters."""

    name, input_kind, feature_dim, at_least = "letters", "text", 6, None  # type: ignore[assignment]

    def preprocess(self, item: Any) -> Tensor:
        return torch.tensor([float(item.count(letter)) for letter in "abcdef"])

    def encode(self, batch: Tensor) -> Tensor:
        return batch


@pytest.fixture(autouse=True)
def encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mygo.encoders.registry.ENCODERS", ENCODERS.copy())
    use_encoder("colours", Colours)
    use_encoder("letters", Letters)


def photos(folder: Path, *classes: str, count: int = 12, side: int = 48) -> Path:
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.normal(COLOURS[name], 20, (side, side, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.jpg")
    return folder


@pytest.fixture
def lives(tiny_on_vectors: LifeConfig, write_vectors: Callable[..., str], tmp_path: Path) -> Path:
    """A folder with a life of photos, one of texts and one of vectors, and what they could be taught."""
    behind = {name: change(tiny_on_vectors, {"encoder": name}) for name in ("colours", "letters")}
    Lesson(tmp_path / "birds", photos(tmp_path / "first", "robin", "wren"), config=behind["colours"]).run()
    rows = "".join(f"{'ab'[n % 2] * (n + 1)} cde,{'xy'[n % 2]}\n" for n in range(30))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}")
    Lesson(tmp_path / "words", tmp_path / "texts.csv", config=behind["letters"]).run()
    Lesson(tmp_path / "trees", write_vectors(tmp_path / "trees.npz", ("ash", "birch")), config=tiny_on_vectors).run()
    write_vectors(tmp_path / "other.npz", ("cedar", "date"), dim=7)
    write_vectors(tmp_path / "more.npz", ("cedar", "date"))
    photos(tmp_path / "second", "sparrow")
    (tmp_path / "columns.csv").write_text("sentence,kind\nhello,x\n")
    (tmp_path / "empty").mkdir()
    damaged = photos(tmp_path / "damaged", "sparrow")
    for number in range(6):
        (damaged / "sparrow" / f"{number:02}.jpg").write_bytes(b"\xff\xd8 no photo")
    hollow = photos(tmp_path / "hollow", "sparrow", count=9)
    (hollow / "sparrow" / "09.jpg").touch()
    return tmp_path


def tree(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("life", "data", "flags", "sentence"),
    [
        ("birds", "texts.csv", (), "holds texts, but the encoder colours takes images"),
        ("birds", "more.npz", (), "holds vectors, but the encoder colours takes images"),
        ("words", "second", (), "holds images, but the encoder letters takes texts"),
        ("trees", "second", (), "holds images, but a life without an encoder takes vectors"),
        ("trees", "texts.csv", (), "holds texts, but a life without an encoder takes vectors"),
        ("trees", "other.npz", (), "has vectors of 7 values, but this life sees 12"),
        ("birds", "second", ("--encoder", "letters"), "This life sees through --encoder colours for good"),
        ("birds", "second", ("--encoder", "none"), "This life sees through --encoder colours for good"),
        ("trees", "more.npz", ("--encoder", "colours"), "This life sees through --encoder none for good"),
        ("trees", "more.npz", ("--memory.gaussian.rank", "5"), "has --memory.gaussian.rank 2 for good"),
        ("birds", "nowhere", (), "nowhere is not there: name a folder with one sub-folder per class"),
        ("birds", "empty", (), "has no class folders: put the images of each class into a folder"),
        ("birds", "columns.csv", (), "column"),
        ("birds", "damaged", (), "6 of 12 images in {data} cannot be read, the first being"),
        ("birds", "hollow", (), "Class sparrow in {data} has 9 readable training images, fewer than 10: add some"),
        ("birds", "first", (), "knows class robin already: leave it out, or pass --update"),
        ("birds", "second", ("--update",), "does not know class sparrow: leave out --update"),
        ("new", "texts.csv", ("--encoder", "none"), "--encoder none cannot read texts"),
        ("new", "texts.csv", ("--encoder", "colours"), "holds texts, but the encoder colours takes images"),
        ("new", "more.npz", ("--encoder", "colours"), "--encoder colours is not needed for vectors"),
        (
            "new",
            "second",
            ("--encoder", "nonsense"),
            "--encoder 'nonsense' is not known: choose from",
        ),
        ("new", "second", ("--encoder", "no_module:thing"), "no_module"),
        ("new", "second", ("--encoder", "colours", "--encoder-weights", "w"), "leave --encoder-weights out"),
        ("new", "second", ("--encoder", "colours", "--backbone", "conv"), "choose linear or mlp behind an encoder"),
        ("new", "more.npz", ("--held-out", "1"), "--held-out must be above 0 and below 1"),
        ("new", "more.npz", ("--memory.gaussian.rank", "-1"), "--memory.gaussian.rank must be at least 0, not -1"),
    ],
)
def test_a_mistake_gets_one_sentence_and_2_and_nothing_is_written(
    lives: Path, capsys: pytest.CaptureFixture[str], life: str, data: str, flags: Sequence[str], sentence: str
) -> None:
    before = tree(lives)
    assert main(["learn", "--life", str(lives / life), "--data", str(lives / data), *flags]) == 2
    said = capsys.readouterr()
    assert sentence.format(data=lives / data) in said.err
    assert len(said.err.splitlines()) == 1
    after = tree(lives)
    assert {path: content for path, content in after.items() if path.name != "in-use.lock"} == {
        path: content for path, content in before.items() if path.name != "in-use.lock"
    }
    assert not (lives / life / "features").exists()


def test_an_encoder_that_changed_since_is_refused(lives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    use_encoder("colours", lambda: Colours("cd" * 32))
    before = tree(lives)
    for words in (["learn", "--data", str(lives / "second")], ["predict", str(lives / "second")]):
        assert main([words[0], "--life", str(lives / "birds"), *words[1:]]) == 2
        said = capsys.readouterr().err
        assert "colours is not the one that this life was begun with (its checksum is cdcdcdcdcdcd, not abab" in said
        assert len(said.splitlines()) == 1
    assert tree(lives) == before


def test_one_class_alone_is_learned(lives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--wake.head-steps", "20", "--sleep.steps", "20", "--memory.diversity-floor", "0"]
    for life in ("birds", "new"):
        flags = ["--encoder", "colours", *few] if life == "new" else few
        assert main(["learn", "--life", str(lives / life), "--data", str(lives / "second"), *flags]) == 0
    assert "Taught in" in capsys.readouterr().out
    assert Life.open(lives / "birds").class_names == ["robin", "wren", "sparrow"]
    assert Life.open(lives / "new").class_names == ["sparrow"]


def test_a_few_damaged_photos_are_named_and_left_out(lives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        shutil.copy(lives / "second" / "sparrow" / "05.jpg", lives / "second" / "sparrow" / f"copy-{number}.jpg")
    (lives / "second" / "sparrow" / "03.jpg").write_bytes(b"")
    (lives / "second" / "sparrow" / "04.jpg").write_bytes(b"\xff\xd8 no photo")
    assert main(["learn", "--life", str(lives / "birds"), "--data", str(lives / "second")]) == 0
    said = capsys.readouterr().out.replace("\n", "")
    assert said.count("Not read:") == 2
    for name in ("03.jpg", "04.jpg"):
        assert name in said
    assert sum(Life.open(lives / "birds").lessons[1].images) == 36


def test_a_life_that_was_opened_reads_its_encoder_when_it_learns(lives: Path) -> None:
    Life.open(lives / "birds").learn(lives / "second")
    life = Life.open(lives / "birds")
    life.forget("robin")
    life.learn(photos(lives / "third", "robin"))
    assert life.class_names == ["wren", "sparrow", "robin"]
