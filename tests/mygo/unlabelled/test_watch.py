"""A life in use is tested for drift, so many inputs at a time."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mygo.config.learner import LifeConfig
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.learner.predict import classify
from mygo.unlabelled.drift import Drift, DriftTest, Observed
from mygo.unlabelled.watch import DriftWatch

Write = Callable[..., str]
NAMES = ("ash", "birch", "cedar")


@pytest.fixture
def life(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> Life:
    Lesson(tmp_path / "life", write_vectors(tmp_path / "one.npz", NAMES), config=tiny_on_vectors).run()
    return Life.open(tmp_path / "life")


def more(write_vectors: Write, folder: Path, names: tuple[str, ...] = NAMES) -> Tensor:
    """Return 40 vectors of each class that the life was not taught."""
    return torch.from_numpy(np.load(write_vectors(folder / "more.npz", names, 40, seed=7))["features"])


def ended(watch: DriftWatch) -> Drift | None:
    """Return what the test that runs finds."""
    assert watch.running is not None
    watch.running.join(30)
    return watch.take()


def test_so_many_inputs_are_tested_together_and_then_others(life: Life, write_vectors: Write, tmp_path: Path) -> None:
    watch, seen = DriftWatch(life, every=90), more(write_vectors, tmp_path)
    for part in seen[:80].split(20):
        watch.see(part, classify(life, part))
    assert watch.running is None
    watch.see(seen[80:100], classify(life, seen[80:100]))
    found = ended(watch)
    test = DriftTest(life)
    assert found == test.test(test.look(seen[:100]))
    assert found.inputs == 100
    assert watch.take() is None
    watch.see(seen[:20], classify(life, seen[:20]))
    assert watch.take() is None


def test_inputs_of_another_class_are_a_drift(life: Life, write_vectors: Write, tmp_path: Path) -> None:
    watch, seen = DriftWatch(life, every=60), more(write_vectors, tmp_path, ("oak", "pine"))
    watch.see(seen, classify(life, seen))
    found = ended(watch)
    assert found is not None
    assert found.drifted


def test_what_comes_while_a_test_runs_is_answered_at_once(
    life: Life, write_vectors: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, test = threading.Event(), DriftTest.test

    def slow(self: DriftTest, looked: Observed, alpha: float) -> Drift:
        go_on.wait(30)
        return test(self, looked, alpha)

    monkeypatch.setattr(DriftTest, "test", slow)
    watch, seen = DriftWatch(life, every=40), more(write_vectors, tmp_path)
    for part in seen.split(40):
        watch.see(part, classify(life, part))
    assert watch.take() is None
    go_on.set()
    found = ended(watch)
    assert found is not None
    assert found.inputs == 40


def test_a_life_that_cannot_be_tested_goes_on_answering(
    life: Life, write_vectors: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watch, seen = DriftWatch(life, every=40), more(write_vectors, tmp_path)
    predictions = classify(life, seen)
    life.memories.clear()
    watch.see(seen, predictions)
    assert ended(watch) is None
    assert "not tested for drift" in caplog.text
