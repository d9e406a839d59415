"""A map of what a life behind an encoder remembers: dreams, and real inputs only while they are given."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mygo.config.learner import LifeConfig
from mygo.data.examples import Examples
from mygo.data.tasks import Task
from mygo.events import Evaluated, Event, Mapped
from mygo.jobs.experiment import Experiment
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.learner import map as maps
from mygo.learner.map import map_of
from mygo.memory.gaussian import GaussianMemory


def remembering(config: LifeConfig, tasks: int, classes: int) -> Life:
    """Return a life of ``tasks`` with as many ``classes`` each, whose means lie on a line in the order of labels."""
    life = Life("mygo", config, (12,))
    for index in range(tasks):
        labels = tuple(range(index * classes, (index + 1) * classes))
        life.begin(Task(index, labels, tuple(f"class {label}" for label in labels)))
        memory = GaussianMemory(classes, 12, 2)
        for place, label in enumerate(labels):
            mean = torch.ones(12)
            mean[0] = float(label)
            memory.set_class(place, mean, torch.eye(2, 12), torch.full((12,), 0.1))
        life.memories.append(memory)
        life.finish_cycle()
    return life


def test_a_map_shows_dreams_of_each_class_and_is_always_the_same(tiny_on_vectors: LifeConfig) -> None:
    life = remembering(tiny_on_vectors, 2, 2)
    shown, again = map_of(life, [0]), map_of(life, [0])
    assert shown.class_names == [f"class {label}" for label in range(4)]
    assert (shown.strategy, shown.task, shown.classes) == ("mygo", 1, [0, 1, 2, 3])
    assert shown.dream_labels.bincount().tolist() == [maps.DREAMS] * 4
    assert shown.dreams.shape == (4 * maps.DREAMS, 2)
    assert torch.equal(shown.dreams, again.dreams)
    assert len(shown.held_out) == len(shown.held_out_labels) == 0


def test_held_out_examples_lie_where_their_class_does(tiny_on_vectors: LifeConfig) -> None:
    life = remembering(tiny_on_vectors, 2, 2)
    means = torch.cat([memory.means for memory in life.gaussians])
    tests = [(task, Examples(means[2 * task : 2 * task + 2], torch.tensor([0, 1]))) for task in range(2)]
    shown = map_of(life, [0], tests)
    assert torch.allclose(shown.held_out, shown.means, atol=1e-5)
    assert shown.held_out_labels.tolist() == [0, 1, 2, 3]


def test_of_many_classes_the_nearest_are_shown_and_of_many_examples_some(
    tiny_on_vectors: LifeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "MOST_CLASSES", 4)
    monkeypatch.setattr(maps, "HELD_OUT", 5)
    life = remembering(tiny_on_vectors, 5, 2)
    tests = [(task, Examples(torch.ones(30, 12), torch.arange(30) % 2)) for task in range(5)]
    shown = map_of(life, [4, 5], tests)
    assert shown.classes == [3, 4, 5, 6]
    assert shown.class_names[0] == "class 3"
    assert shown.held_out_labels.bincount().tolist() == [5] * 4
    assert map_of(life, range(10)).classes == [0, 1, 2, 3]


def test_every_evaluation_tells_a_map_with_the_held_out_examples(experiment_on_vectors: Experiment) -> None:
    events: list[Event] = []
    experiment_on_vectors.run(on_event=events.append)
    shown = [event for event in events if isinstance(event, Mapped)]
    evaluated = [event for event in events if isinstance(event, Evaluated)]
    assert [event.task for event in shown] == [0, 1]
    assert [len(event.class_names) for event in shown] == [2, 4]
    assert [len(event.held_out) for event in shown] == [sum(map(sum, event.confusion)) for event in evaluated]


def test_a_lesson_tells_a_map_and_none_of_it_is_kept(
    tiny_on_vectors: LifeConfig, write_vectors: Callable[..., str], tmp_path: Path
) -> None:
    events: list[Event] = []
    data = write_vectors(tmp_path / "trees.npz", ("ash", "birch"))
    Lesson(tmp_path / "trees", data, config=tiny_on_vectors).run(on_event=events.append)
    (shown,) = (event for event in events if isinstance(event, Mapped))
    assert shown.held_out_labels.bincount().tolist() == [2, 2]
    points = shown.held_out.numpy().astype(np.float32).tobytes()
    for path in (tmp_path / "trees").rglob("*"):
        if path.is_file():
            assert points[:8] not in path.read_bytes(), path


def test_a_life_over_pixels_has_no_map(tiny_experiment: Experiment) -> None:
    events: list[Event] = []
    tiny_experiment.run(on_event=events.append)
    assert not any(isinstance(event, Mapped) for event in events)
