"""As a person would do it: a life learns photos folder by folder, which are deleted in between, and is then used."""

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
from PIL import Image

from mygo.data.datasets import load_dataset
from mygo.data.examples import Examples
from mygo.jobs.life import Life

REPOSITORY = Path(__file__).resolve().parent.parent
NAMES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker")
"""Fashion-MNIST's first classes; each is the name of a folder."""
SITTINGS = {"summer": range(3), "autumn": range(3, 6), "sport": range(6, 8)}
"""Which classes come in which sitting."""
FORGOTTEN = "dress"
TRAINED_ON, ASKED_ABOUT = 3000, 200
"""Images of each class."""
SETTINGS = ["--memory.gan.steps", "1200", "--sleep.steps", "800", "--wake.adapt-steps", "400"]

pytestmark = [pytest.mark.scenario, pytest.mark.timeout(3000)]


def write_pictures(folder: Path, data: Examples, classes: Sequence[int], count: int) -> Path:
    """Write ``count`` images of each class as PNG files, one folder per class, and return the folder."""
    for label in classes:
        (folder / NAMES[label]).mkdir(parents=True)
        for number, image in enumerate(data.inputs[data.labels == label][:count]):
            Image.fromarray(image[0].numpy()).save(folder / NAMES[label] / f"{number:04}.png")
    return folder


def command(*words: object, fails: bool = False) -> str:
    """Run a command of the repository in a process of its own; return what it prints, or how it ``fails``."""
    line = [sys.executable, *map(str, words)]
    done = subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if fails else 0), done.stdout[-2000:] + done.stderr[-2000:]
    return done.stderr if fails else done.stdout


@dataclass
class Person:
    """Who has a life, and pictures to ask it about."""

    life: Path
    pictures: Path

    def learn(self, *words: object, fails: bool = False) -> str:
        """Teach the life."""
        return command("distributed/run.py", "learn", "--life", self.life, *words, fails=fails)

    def use(self, what: str, *words: object, fails: bool = False) -> str:
        """Use the life."""
        return command("-m", "mygo", what, "--life", self.life, *words, fails=fails)

    def accuracies(self) -> dict[str, float]:
        """Ask about all pictures, without the task; return the share of each class that is named right."""
        answers: list[dict[str, Any]] = json.loads(self.use("predict", self.pictures, "--json"))
        right: dict[str, list[bool]] = {}
        for answer in answers:
            name = Path(answer["file"]).parent.name
            right.setdefault(name, []).append(answer["class"] == name)
        return {name: sum(hits) / len(hits) for name, hits in right.items()}


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    """One whose life has learned in three sittings, and who has no picture left that it learned from."""
    try:
        data = load_dataset("fashion-mnist")
    except Exception as error:  # whatever keeps it from being there
        pytest.skip(f"needs Fashion-MNIST: {error}")
    folder = tmp_path_factory.mktemp("person")
    person = Person(folder / "life", write_pictures(folder / "asked", data.test, range(8), ASKED_ABOUT))
    for name, classes in SITTINGS.items():
        source = write_pictures(folder / name, data.train, classes, TRAINED_ON)
        print(person.learn("--data", source, *SETTINGS))
        shutil.rmtree(source)
    return person


def test_images_of_all_sittings_are_told_apart_without_being_told_the_sitting(person: Person) -> None:
    accuracies = person.accuracies()
    print(accuracies)
    assert set(accuracies) == set(NAMES)
    assert sum(accuracies.values()) / len(accuracies) >= 0.80


def test_it_shows_dreams_reports_and_exports_what_it_knows(person: Person, tmp_path: Path) -> None:
    import onnxruntime

    shown = json.loads(person.use("show", "--json"))
    assert [task["name"] for task in shown["tasks"]] == list(SITTINGS)
    assert [task["images"] for task in shown["tasks"]] == [0.9 * TRAINED_ON * len(each) for each in SITTINGS.values()]
    assert shown["memory_bytes"] < shown["replaced_data_bytes"] / 8

    person.use("dream", "--class", "sandal", "-n", 64, tmp_path / "sandals.png")
    assert np.asarray(Image.open(tmp_path / "sandals.png")).std() > 30

    person.use("report")
    assert "pullover" in (person.life / "report.html").read_text()

    person.use("export", tmp_path / "life.onnx")
    images = load_dataset("fashion-mnist").test.inputs[:100]
    (logits,) = onnxruntime.InferenceSession(tmp_path / "life.onnx").run(None, {"images": images.numpy()})
    ours = Life.open(person.life).predict(images).probabilities
    assert torch.allclose(torch.tensor(logits).softmax(1), ours, atol=1e-4)


def test_mistakes_get_one_sentence_that_says_what_to_do(person: Person, tmp_path: Path) -> None:
    data = load_dataset("fashion-mnist").train
    known = write_pictures(tmp_path / "known", data, [3], 20)
    single = write_pictures(tmp_path / "single", data, [3], 1).rename(tmp_path / "one")
    (single / NAMES[3]).rename(single / "something new")
    coloured = tmp_path / "coloured"
    (coloured / "sky").mkdir(parents=True)
    for number in range(20):
        Image.new("RGB", (28, 28), (number, 90, 200)).save(coloured / "sky" / f"{number}.png")
    for source, sentence in [
        (tmp_path / "nowhere", "is not there"),
        (single, "has 1 readable training images, fewer than 10: add some"),
        (coloured, "the life sees in grey: convert them to grey"),
        (known, "knows class dress already: leave it out, or pass --update"),
    ]:
        complaint = person.learn("--data", source, fails=True)
        assert sentence in complaint
        assert len(complaint.splitlines()) == 1
    other = shutil.copytree(person.life, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    for name in ("manifest.json", "manifest.previous.json"):
        (other / name).write_text(json.dumps(manifest | {"schema": 1}))
    assert "open it with the version of MyGO that wrote it" in Person(other, known).use("show", fails=True)


def test_what_is_forgotten_is_gone_and_the_rest_stays(person: Person) -> None:
    before = person.accuracies()
    files = {path.name for path in person.life.glob("memory-1-*")}
    person.use("forget", "--class", FORGOTTEN)
    answers = json.loads(person.use("predict", person.pictures, "--json"))
    assert all(FORGOTTEN not in answer["probabilities"] for answer in answers)
    assert not files & {path.name for path in person.life.iterdir()}
    after = person.accuracies()
    others = [name for name in before if name != FORGOTTEN]
    lost = sum(before[name] - after[name] for name in others) / len(others)
    print(f"the others lost {100 * lost:.1f} points")
    assert lost <= 0.02
