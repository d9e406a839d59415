"""A life in service answers as `mygo predict` does, each input for itself, from the version that is current."""

import io
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.errors import ConflictError, InputError
from mygo.files import MANIFEST
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.service.config import ExampleLimits, ServiceConfig
from mygo.service.keeper import Keeper
from mygo.service.predictor import CurrentPredictor, Predictor
from tests.mygo.service.lives import learn_waiting, picture, vectors


def assert_answers(folder: Path, inputs: Any, shown: Any, config: ServiceConfig) -> Predictor:
    """Make sure that the life in ``folder`` answers ``inputs`` as `Life.predict` does what it is ``shown``."""
    predictor = Predictor.open(folder, config)
    expected = Life.open(folder).predict(shown)
    answers = predictor.answer(inputs)
    unknown = expected.unknown(config.unknown).tolist()
    names = [None if is_unknown else name for name, is_unknown in zip(expected.names, unknown, strict=True)]
    assert [answer.class_name for answer in answers] == names
    assert [answer.unknown for answer in answers] == unknown
    assert [answer.out_of_distribution for answer in answers] == pytest.approx(expected.out_of_distribution.tolist())
    for answer, row in zip(answers, expected.probabilities, strict=True):
        found = [answer.probabilities[name] for name in expected.class_names]
        assert torch.allclose(torch.tensor(found), row, atol=1e-6)
        assert list(answer.probabilities.values()) == sorted(found, reverse=True)
        assert answer.confidence == max(found)
        assert answer.error is None
    return predictor


def test_vectors_are_answered_as_ever(school: Path, on_vectors: ServiceConfig) -> None:
    inputs = np.concatenate([vectors(name, 3, seed=1) for name in ("ash", "birch", "cedar")])
    predictor = assert_answers(school, inputs, inputs, on_vectors)
    assert (predictor.version, predictor.kind, predictor.class_names) == (2, "vector", ("ash", "birch", "cedar"))
    assert predictor.answer(inputs.tolist()) == predictor.answer(list(inputs)) == predictor.answer(inputs)
    assert [list(answer.probabilities) for answer in predictor.answer(inputs[:1], top=1)] == [["ash"]]
    assert predictor.answer([]) == []


def test_vectors_that_cannot_be_seen_say_so_and_the_others_are_answered(
    school: Path, on_vectors: ServiceConfig
) -> None:
    predictor = Predictor.open(school, on_vectors)
    good = vectors("ash", 2)
    bad = [[0.0] * 12, [float("nan")] * 12, [1.0] * 3, [], [[1.0] * 12], ["a"] * 12, [1e300] * 12, None]
    answers = predictor.answer([good[0], *bad, good[1]])  # type: ignore[list-item]
    assert [answers[0], answers[-1]] == predictor.answer(good)
    reasons = ["zero", "not finite", "3 values", "shape", "shape", "float", "not finite", "shape"]
    for number, (answer, why) in enumerate(zip(answers[1:-1], reasons, strict=True), start=2):
        assert (answer.class_name, answer.confidence, answer.probabilities) == (None, 0.0, {})
        assert answer.error is not None
        assert why in answer.error
        assert answer.error.startswith(f"Vector {number} cannot be seen (")
        assert answer.error.endswith(".")


def test_below_a_confidence_a_class_is_not_named(school: Path, on_vectors: ServiceConfig) -> None:
    inputs = vectors("ash", 4)
    sure = Predictor.open(school, on_vectors).answer(inputs)
    bound = sorted(answer.confidence for answer in sure)[2]
    unsure = Predictor.open(school, replace(on_vectors, unknown_below=bound)).answer(inputs)
    for before, answer in zip(sure, unsure, strict=True):
        assert answer.unknown == (before.confidence < bound)
        assert answer.class_name == (None if answer.unknown else before.class_name)
        assert answer.probabilities == before.probabilities
    assert 0 < sum(answer.confidence < bound for answer in sure) < 4


# -- images -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["L", "RGB"])
def over_pixels(
    request: pytest.FixtureRequest, tiny_life: LifeConfig, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a life over pixels, in grey or in colour."""
    folder = tmp_path_factory.mktemp("pixels")
    shape = (24, 8, 8) if request.param == "L" else (24, 8, 8, 3)
    pixels = np.concatenate([np.random.default_rng(level).normal(level, 20, shape) for level in (60, 190)])
    np.savez(
        folder / "two.npz",
        images=pixels.clip(0, 255).astype(np.uint8),
        labels=np.repeat([0, 1], 24),
        class_names=np.array(["night", "noon"]),
    )
    Lesson(folder / "life", str(folder / "two.npz"), config=tiny_life).run()
    return folder / "life"


def test_images_over_pixels_are_answered_as_ever(over_pixels: Path) -> None:
    turned = io.BytesIO()
    noted = Image.Exif()
    noted[0x0112] = 6
    Image.open(io.BytesIO(picture((200, 60, 10), side=30))).resize((30, 20)).save(turned, "JPEG", exif=noted)
    files = [picture(60), picture((10, 200, 90), side=40, kind="JPEG"), turned.getvalue(), picture(190, kind="WEBP")]
    predictor = assert_answers(over_pixels, files, [Image.open(io.BytesIO(file)) for file in files], ServiceConfig())
    assert (predictor.version, predictor.kind) == (None, "image")


def test_images_that_cannot_be_seen_say_so_and_the_others_are_answered(over_pixels: Path) -> None:
    predictor = Predictor.open(over_pixels, ServiceConfig(examples=ExampleLimits(max_pixels=1000)))
    good = picture(60)
    answers = predictor.answer([b"", good[: len(good) // 2], picture(60, side=32), b"<svg/>", good, "text"])  # type: ignore[list-item]
    assert answers[4] == predictor.answer([good])[0]
    assert answers[4].error is None
    for place, why in {0: "format", 1: "truncated", 2: "1024 pixels", 3: "format", 5: "type str"}.items():
        assert why in str(answers[place].error)


def test_images_that_are_too_large_together_are_refused(over_pixels: Path) -> None:
    limits = ExampleLimits(max_pixels_together=2000)
    predictor = Predictor.open(over_pixels, ServiceConfig(examples=limits))
    assert predictor.refusal_of("image", [picture(60, side=30), b"junk", picture(90, side=30)]) is None
    refusal = str(predictor.refusal_of("image", [picture(60, side=30)] * 3))
    assert refusal == "The images have 2,700 pixels together, more than 2,000: send fewer at once."
    assert "sees images, not texts" in str(predictor.refusal_of("text", ["a"]))


class Colours:
    """An encoder of pictures by their mean colours, and of texts by their letters; it fails on what is all black."""

    at_least, name, feature_dim, checksum = None, "fake", 4, "0" * 64

    def __init__(self, kind: str) -> None:
        self.input_kind = kind
        self.sees = self.reads = 0

    def preprocess(self, item: Any) -> torch.Tensor:
        self.sees += 1
        if isinstance(item, str):
            return torch.tensor([float(item.count(letter)) + 1 for letter in "abcd"])
        pixels = torch.from_numpy(np.array(item.resize((8, 8)))).float()
        return torch.cat([pixels.mean((0, 1)), torch.tensor([float(pixels.any())])])

    def collate(self, items: Any) -> torch.Tensor:
        return torch.stack(list(items))

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        if not batch.any(1).all():
            raise RuntimeError("all black")
        return batch

    def to(self, device: torch.device) -> "Colours":
        return self


@pytest.fixture(params=["image", "text"])
def behind(
    request: pytest.FixtureRequest, on_vectors: ServiceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, ServiceConfig, list[Colours]]:
    """A life in service behind an encoder of one's own, and the encoders that were made."""
    made: list[Colours] = []

    def make(name: str, weights: Path | None) -> Colours:
        made.append(Colours(request.param))
        return made[-1]

    monkeypatch.setattr("mygo.jobs.perception.open_encoder", make)
    monkeypatch.setattr("mygo.jobs.lesson.open_encoder", make)
    monkeypatch.setattr("mygo.service.view.open_encoder", make)
    assert on_vectors.learner is not None
    learner = change(on_vectors.learner, {"encoder": "fake"})
    config = replace(on_vectors, encoder="fake", learner=learner)
    with Keeper(tmp_path / "life", config) as keeper:
        teach(keeper, request.param, "red", "blue")
        learn_waiting(keeper)
        assert keeper.status()["kind"] == request.param
    return tmp_path / "life", config, made


COLOURS = {"red": (220, 40, 40), "blue": (40, 40, 220), "green": (30, 200, 30)}


def examples_of(kind: str, name: str, count: int = 12) -> list[Any]:
    if kind == "text":
        return [f"{name[0] * (3 + number % 3)} {'abcd'[number % 4]}" for number in range(count)]
    return [picture(COLOURS[name], number) for number in range(count)]


def teach(keeper: Keeper, kind: Any, *names: str) -> None:
    for name in names:
        keeper.teach(name, kind, examples_of(kind, name))


def test_what_is_behind_an_encoder_is_answered_as_ever(
    behind: tuple[Path, ServiceConfig, list[Colours]],
) -> None:
    folder, config, _ = behind
    kind = Predictor.open(folder, config).kind
    inputs = [*examples_of(kind, "red", 20), *examples_of(kind, "blue", 20)]
    shown = inputs if kind == "text" else [Image.open(io.BytesIO(file)) for file in inputs]
    predictor = assert_answers(folder, inputs, shown, config)
    black = io.BytesIO()
    Image.new("RGB", (8, 8)).save(black, "PNG")
    bad = [" ", "x" * 200_000, "\ud800"] if kind == "text" else [b"junk", black.getvalue()]
    answers = predictor.answer([*bad, *inputs[:3]])
    assert [answer.class_name for answer in answers[len(bad) :]] == [
        each.class_name for each in predictor.answer(inputs[:3])
    ]
    assert all(answer.error and answer.error.endswith("leave it out.") for answer in answers[: len(bad)])
    assert kind == "text" or "all black" in str(answers[1].error)


def test_an_encoder_is_read_once_for_all_versions(behind: tuple[Path, ServiceConfig, list[Colours]]) -> None:
    folder, config, made = behind
    current = CurrentPredictor(folder, config)
    first = current.get()
    assert current.get() is first
    with Keeper(folder, config) as keeper:
        teach(keeper, first.kind, "green")
        learn_waiting(keeper)
    count = len(made)
    second = current.get()
    assert (first.version, second.version) == (1, 2)
    assert second.class_names == (*first.class_names, "green")
    assert second.encoder is first.encoder
    assert len(made) == count
    made[0].checksum = "1" * 64
    assert Predictor.open(folder, config, made[0]).encoder is made[-1], "another encoder is not taken for it"  # type: ignore[arg-type]


def test_images_behind_an_adapted_encoder_are_answered_as_ever(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    config = ServiceConfig(encoder="efficientnet-lite0@32", learner=tiny_adapting)
    with Keeper(tmp_path / "life", config) as keeper:
        files = {name: [path.read_bytes() for path in sorted(photos(name).rglob("*.png"))] for name in ("red", "blue")}
        for name, examples in files.items():
            keeper.teach(name, "image", examples)
        learn_waiting(keeper)
        assert keeper.status()["kind"] == "image"
    inputs = [*files["red"][:10], *files["blue"][:3]]
    predictor = assert_answers(
        tmp_path / "life", inputs, [Image.open(io.BytesIO(file)) for file in inputs], ServiceConfig()
    )
    assert predictor.encoder is not None
    assert predictor.encoder.name == "front:efficientnet-lite0@32"


# -- the current version ----------------------------------------------------------------------------------------------


def test_a_life_without_a_class_answers_nothing_until_it_learned_one(
    on_vectors: ServiceConfig, school: Path, tmp_path: Path
) -> None:
    current = CurrentPredictor(tmp_path / "life", on_vectors)
    for _ in range(2):
        with pytest.raises(ConflictError, match="learned no class yet"):
            current.get()
    shutil.copytree(school, tmp_path / "life")
    assert current.get().version == 2


def test_a_life_that_comes_into_service_later_gets_its_number(life: Path, on_vectors: ServiceConfig) -> None:
    shutil.rmtree(life / "service")
    current = CurrentPredictor(life, on_vectors)
    assert current.get().version is None
    with Keeper(life, on_vectors):
        assert current.get().version == 1


def test_a_new_version_that_cannot_be_opened_does_not_stop_the_answers(
    life: Path, learned: Path, on_vectors: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices: list[str] = []
    current = CurrentPredictor(life, on_vectors, notices.append)
    before = current.get()
    answers = before.answer(vectors("ash", 2))
    (life / "manifest.previous.json").unlink()
    whole = (learned / MANIFEST).read_bytes()
    (life / MANIFEST).write_bytes(whole[: len(whole) // 2])
    for _ in range(3):
        assert current.get() is before
    assert current.get().answer(vectors("ash", 2)) == answers
    assert len(notices) == 1, "it is not tried at every request"
    assert "cannot be opened, and the one before goes on answering: " in notices[0]
    assert str(life / MANIFEST) in notices[0]
    monkeypatch.setattr("mygo.service.predictor.RETRY_SECONDS", 0.0)
    current._retry_at = 0.0
    shutil.copytree(learned, life, dirs_exist_ok=True)
    after = current.get()
    assert (after.version, after.class_names[-1]) == (3, "elm")
    with pytest.raises(InputError):
        Predictor.open(life / "service")


def test_a_class_that_was_forgotten_is_never_named_again(
    life: Path, on_vectors: ServiceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = CurrentPredictor(life, on_vectors)
    assert "cedar" in current.get().class_names

    def fail(*_: object) -> Predictor:
        raise MemoryError("no room")

    opened = Predictor.open
    with Keeper(life, on_vectors) as keeper:
        keeper.roll_back(1)
    monkeypatch.setattr(Predictor, "open", fail)
    with pytest.raises(InputError, match="without a class that was forgotten cannot be opened: "):
        current.get()
    with pytest.raises(MemoryError):
        current.get()
    monkeypatch.setattr(Predictor, "open", opened)
    assert current.get().class_names == ("ash", "birch")


def test_answers_change_with_the_version_and_back(
    life: Path, on_vectors: ServiceConfig, names_in: Callable[[Path, str], list[str]]
) -> None:
    current = CurrentPredictor(life, on_vectors)
    assert "cedar" in current.get().class_names
    with Keeper(life, on_vectors) as keeper:
        keeper.roll_back(1)
        assert (current.get().version, current.get().class_names) == (3, ("ash", "birch"))
        keeper.roll_back(2)
        assert (current.get().version, current.get().class_names) == (4, ("ash", "birch", "cedar"))
