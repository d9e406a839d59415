"""What the commands say of lives that do not see pixels."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from mygo.__main__ import main
from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ImagePreprocessing
from mygo.encoders.registry import ENCODERS, use_encoder
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life

SIGHTS = {"trees": "sees vectors of 12 values", "photos": "sees through the encoder eyes, which gives 48 features"}


def eyes() -> FrozenEncoder:
    return FrozenEncoder(
        "eyes", nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), ImagePreprocessing(size=8), feature_dim=48
    )


class Letters:
    """An encoder of texts by their letters."""

    name, input_kind, feature_dim, at_least, checksum = "letters", "text", 6, None, "ab" * 32

    def preprocess(self, item: str) -> Tensor:
        return torch.tensor([float(item.count(letter)) for letter in "abcdef"])

    def collate(self, items: list[Tensor]) -> Tensor:
        return torch.stack(list(items))

    def encode(self, batch: Tensor) -> Tensor:
        return batch

    def to(self, device: torch.device) -> "Letters":
        return self


@pytest.fixture(autouse=True)
def encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mygo.encoders.registry.ENCODERS", ENCODERS.copy())
    monkeypatch.setenv("COLUMNS", "400")
    use_encoder("eyes", eyes)
    use_encoder("letters", Letters)  # type: ignore[arg-type]


@pytest.fixture
def lives(tiny_on_vectors: LifeConfig, write_vectors: Callable[..., str], tmp_path: Path) -> Path:
    """A folder with a life of vectors, one of photos and one of texts."""
    Lesson(tmp_path / "trees", write_vectors(tmp_path / "trees.npz", ("ash", "birch")), config=tiny_on_vectors).run()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 9, 9, 3), dtype=np.uint8)
    np.savez(tmp_path / "photos.npz", images=pixels, labels=np.arange(40) % 2, class_names=np.array(["red", "blue"]))
    behind = change(tiny_on_vectors, {"encoder": "eyes"})
    Lesson(tmp_path / "photos", tmp_path / "photos.npz", config=behind).run()
    rows = "".join(f"{'ab'[n % 2] * (n + 1)} cde,{'xy'[n % 2]}\n" for n in range(30))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}")
    behind = change(tiny_on_vectors, {"encoder": "letters"})
    Lesson(tmp_path / "words", tmp_path / "texts.csv", config=behind).run()
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Return what a command says once it has done well."""
    assert main([str(word) for word in argv]) == 0
    return capsys.readouterr().out


def test_show_says_what_a_life_sees_through(lives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, sight in SIGHTS.items():
        text = said(capsys, "show", "--life", lives / name)
        facts = json.loads(said(capsys, "show", "--life", lives / name, "--json"))
        assert sight in text
        assert facts["image_shape"] is None
        assert facts["encoder"] == (None if name == "trees" else "eyes")
        assert facts["input_shape"] == [12 if name == "trees" else 48]
        each = facts["memory_bytes_per_class"]
        assert each == facts["memory_bytes"] // 2
        raw = "vectors" if name == "trees" else "features"
        assert f"({each:,} a class), in place of {facts['replaced_data_bytes']:,} bytes of training {raw}." in text


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_dreams_of_a_life_behind_an_encoder_are_vectors(
    lives: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    for name, class_name, dim, through in (("trees", "ash", 12, ""), ("photos", "red", 48, " of the encoder eyes")):
        path = lives / f"dreams.{suffix}"
        text = said(capsys, "dream", "--life", lives / name, "--class", class_name, "-n", 5, "--seed", 2, path)
        assert text == f"Dreams of {class_name}, 5 vectors of {dim} features{through}: {path}\n"
        found = np.load(path, allow_pickle=False)
        found = found["features"] if suffix == "npz" else found
        assert found.dtype == np.float32
        assert np.array_equal(found, Life.open(lives / name).dream(class_name, 5, seed=2).numpy())
        assert np.linalg.norm(found, axis=1) == pytest.approx(dim**0.5, abs=1e-4)


def test_vectors_make_no_picture(lives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lives / "dreams.png"
    assert main(["dream", "--life", str(lives / "photos"), "--class", "red", str(path)]) == 2
    told = capsys.readouterr().err
    assert told == "mygo: This life dreams vectors, not pictures: name a file in .npz or .npy, not dreams.png.\n"
    assert not path.exists()


@pytest.mark.parametrize(
    ("name", "flags", "takes", "sentence"),
    [
        ("photos", (), "images", "2 classes with the encoder eyes inside, which takes images as its preprocessing mak"),
        ("photos", ("--head-alone",), "features", "2 classes without the encoder; it takes the 48 features of eyes"),
        (
            "words",
            (),
            "features",
            "2 classes without the encoder, since its tokenizer is no network; it takes the 6 features of letters",
        ),
        ("trees", (), "features", "2 classes, which takes vectors of 12 values"),
    ],
)
def test_export_says_what_the_model_takes(
    lives: Path, capsys: pytest.CaptureFixture[str], name: str, flags: tuple[str, ...], takes: str, sentence: str
) -> None:
    path = lives / "life.onnx"
    assert f"Model of {sentence}" in said(capsys, "export", "--life", lives / name, *flags, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_inputs()] == [takes]


def test_weights_for_an_encoder_that_is_not_there_are_refused(lives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lives / "life.onnx"
    assert main(["export", "--life", str(lives / "trees"), "--encoder-weights", "w", str(path)]) == 2
    assert "sees through no encoder: leave out --encoder-weights" in capsys.readouterr().err
    assert not path.exists()


def test_forget_and_report_speak_of_them_too(lives: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, class_name in (("trees", "ash"), ("photos", "red")):
        text = said(capsys, "report", "--life", lives / name)
        assert text == f"Report: {lives / name / 'report.html'}\n"
        assert SIGHTS[name] in said(capsys, "forget", "--life", lives / name, "--class", class_name)
        assert main(["dream", "--life", str(lives / name), "--class", class_name, str(lives / "d.npz")]) == 2
        assert f"knows no class '{class_name}'" in capsys.readouterr().err
