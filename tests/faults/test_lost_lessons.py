"""Lessons side by side: what is lost with a process or a machine is one lesson's wake, and it goes on elsewhere."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mygo.jobs.life import Life
from mygo.jobs.side_by_side import learn_together
from tests.faults.lost_lessons import lessons_for
from tests.mygo.jobs.knowledge import assert_same_weights

SCRIPT = Path(__file__).with_name("lost_lessons.py")


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """Two lessons over pixels, of two classes each."""
    paths = []
    for number in range(2):
        rng = np.random.default_rng(number)
        shown = [rng.normal(40 + 50 * (2 * number + label), 20, (24, 8, 8)) for label in range(2)]
        pixels = np.concatenate(shown).clip(0, 255).astype(np.uint8)
        names = np.array([f"class {2 * number + label}" for label in range(2)])
        paths.append(str(tmp_path / f"lesson-{number}.npz"))
        np.savez(paths[-1], images=pixels, labels=np.repeat(np.arange(2), 24), class_names=names)
    return paths


def test_a_process_and_a_machine_that_are_lost_cost_one_lesson_its_wake_alone(
    sources: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, SCRIPT, tmp_path / "disturbed", *sources]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["complaints"] == []
    assert seen["done"] == [100, 300]
    begun = [text for text in seen["notices"] if " wakes on " in text]
    assert 3 <= len(begun) <= 4, "two lessons, and each loss begins at most one again"
    assert learn_together(lessons_for(tmp_path / "undisturbed", sources)) == []
    assert_same_weights(Life.open(tmp_path / "disturbed"), Life.open(tmp_path / "undisturbed"))
