"""A lesson on Ray, and the command for it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from distributed.cluster.placement import place
from distributed.learn import parse
from distributed.run import main
from distributed.training.trainer import run_on_ray
from mygo.config.learner import LifeConfig
from mygo.events import Event, Progress
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life

Where = tuple[str, int, int]
"""A phase, a task and a step."""


def write(path: Path, *classes: str) -> str:
    """Write 20 noisy squares of each class as an .npz source."""
    rng = np.random.default_rng(len(classes))
    images = rng.integers(0, 256, (20 * len(classes), 8, 8)).astype(np.uint8)
    np.savez(path, images=images, labels=np.repeat(np.arange(len(classes)), 20), class_names=np.array(classes))
    return str(path)


@pytest.fixture
def young(tiny_life: LifeConfig, tmp_path: Path) -> Path:
    """The folder of a life that had one lesson."""
    Lesson(tmp_path / "young", write(tmp_path / "first.npz", "cat", "dog"), config=tiny_life).run()
    return tmp_path / "young"


def test_a_lesson_on_ray_is_the_lesson_without(ray_cluster: None, young: Path, tmp_path: Path) -> None:
    other = shutil.copytree(young, tmp_path / "other")
    source = write(tmp_path / "second.npz", "owl")
    here, there = (Lesson(folder, source, save_every=0.0) for folder in (young, other))
    alone = here.run()
    on_ray = run_on_ray(there, place({"CPU": 2}, 1, 1))
    for results in (alone, on_ray):
        for lesson in results["lessons"].values():
            lesson.pop("learned")
    assert on_ray == alone
    ours, theirs = (Life.open(folder).neocortex.state_dict() for folder in (young, other))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize(("workers", "dreamers"), [(1, 2), (2, 1)])
def test_lessons_of_vectors_on_ray_are_the_lessons_without(
    ray_cluster: None,
    tiny_on_vectors: LifeConfig,
    write_vectors: Callable[..., str],
    tmp_path: Path,
    workers: int,
    dreamers: int,
) -> None:
    """One worker has the same bits, and two the same losses but for rounding."""
    sources = [write_vectors(tmp_path / f"{names[0]}.npz", names) for names in (("ash", "birch"), ("cedar",))]
    alone, on_ray = [], []
    for source in sources:
        here, there = (
            Lesson(tmp_path / name, source, config=tiny_on_vectors, log_every=1) for name in ("here", "there")
        )
        here.run(on_event=alone.append)
        run_on_ray(there, place({"CPU": 2}, workers, dreamers), on_ray.append)
    losses = [losses_in(events) for events in (alone, on_ray)]
    assert {phase for phase, _, _ in losses[0]} == {"teach", "consolidate"}
    assert losses[0].keys() == losses[1].keys()
    for key, of_one in losses[0].items():
        assert losses[1][key] == pytest.approx(of_one, abs=1e-4 if workers > 1 else 0), key
    ours, theirs = (Life.open(tmp_path / name) for name in ("here", "there"))
    for one, other in zip(ours.memories, theirs.memories, strict=True):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    pairs = [(ours.neocortex, theirs.neocortex), *zip(ours.teachers, theirs.teachers, strict=True)]
    for network, another in pairs:
        for name, value in network.state_dict().items():
            assert torch.allclose(value, another.state_dict()[name], rtol=0, atol=1e-3 if workers > 1 else 0), name
    assert not (tmp_path / "there" / "features").exists()


def losses_in(events: Sequence[Event]) -> dict[Where, dict[str, float]]:
    """Return all losses that ``events`` tell."""
    return {
        (e.place.phase, e.place.task, e.step): dict(e.scalars) for e in events if isinstance(e, Progress) and e.scalars
    }


def test_settings_are_those_of_the_life_unless_they_are_given(young: Path, tiny_life: LifeConfig) -> None:
    flags = parse(["--life", str(young), "--data", "photos", "--sleep.steps", "7"])
    assert (flags.learner.sleep.steps, flags.learner.wake) == (7, tiny_life.wake)
    assert parse(["--life", str(young / "none")]).learner == LifeConfig()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--data", "{here}"], "keep them in folders apart"),
        (["--data", "x" * 5000], "cannot be read"),
        (["--data", "nowhere"], "nowhere is not there: name a folder with one sub-folder per class"),
        (["--data", "{first}"], "knows class cat already: leave it out, or pass --update"),
        (["--data", "{first}", "--update", "--backbone", "mlp"], "has --backbone conv for good"),
        (["--data", "{first}", "--update", "--num-workers", "none"], "is neither a number nor a range"),
        (["--data", "{first}", "--update", "--save-every", "-1"], "--save-every must be at least 0.0, not -1.0"),
        ([], "has no lesson to finish: pass --data"),
    ],
)
def test_a_mistake_gets_one_sentence_and_exit_code_2(
    young: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    before = {path: path.read_bytes() for path in young.iterdir()}
    given = [word.format(first=young.parent / "first.npz", here=young.parent) for word in words]
    assert main(["learn", "--life", str(young), *given]) == 2
    complaint = capsys.readouterr().err
    assert sentence in complaint
    assert len(complaint.splitlines()) == 1
    assert {path: path.read_bytes() for path in young.iterdir()} == before
