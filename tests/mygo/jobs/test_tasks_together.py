"""The tasks of a stream that are learned side by side."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mygo.errors import InputError
from mygo.events import Event, Progress
from mygo.jobs.experiment import Experiment
from mygo.jobs.life import Life
from mygo.jobs.side_by_side import FOLDER, learn_together
from mygo.jobs.tasks_together import RESULTS, is_learned, lessons_of_stream, results_in, write_results
from tests.mygo.jobs.knowledge import assert_same


def learned(experiment: Experiment, *, resume: bool = False) -> Life:
    assert learn_together(lessons_of_stream(experiment, resume=resume)) == []
    assert experiment.out is not None
    return Life.open(experiment.out / "life" / "mygo")


def test_behind_a_frozen_encoder_they_are_to_the_bit_those_learned_in_turn(
    experiment_on_vectors: Experiment, tmp_path: Path
) -> None:
    config = replace(experiment_on_vectors.config, class_order=(3, 0, 2, 1))
    in_turn, together = (Experiment(config, tmp_path / name) for name in ("in turn", "together"))
    results = in_turn.run()["strategies"]["mygo"]
    life = learned(together)
    assert_same(life, Life.open(tmp_path / "in turn" / "life" / "mygo"))
    assert [lesson.classes for lesson in life.lessons] == [("date", "ash"), ("cedar", "birch")]
    written = write_results(together, 1.5)
    assert written["average_accuracy"] == results["average_accuracy"]
    assert "not sequential" in written["what"]
    assert results_in(tmp_path / "together") == json.loads((tmp_path / "together" / RESULTS).read_text())


def test_over_pixels_each_task_wakes_alone(tiny_experiment: Experiment) -> None:
    life = learned(tiny_experiment)
    assert [len(lesson.classes) for lesson in life.lessons] == [5, 5]
    assert all(sum(lesson.images) > 200 for lesson in life.lessons)
    written = write_results(tiny_experiment, None)
    assert set(written["lessons"]) == {"task 1", "task 2"}
    assert 0.1 < written["average_accuracy"]["class_il"] <= written["average_accuracy"]["task_il"]


def test_what_is_there_is_gone_on_with_if_it_is_to_be(experiment_on_vectors: Experiment) -> None:
    with pytest.raises(InputError, match="holds no life to resume"):
        lessons_of_stream(experiment_on_vectors, resume=True)
    first, _ = lessons_of_stream(experiment_on_vectors, resume=False)
    (first.folder / FOLDER).mkdir(parents=True)
    with pytest.raises(InputError, match="already holds a life: pass --resume"):
        lessons_of_stream(experiment_on_vectors, resume=False)
    learned(experiment_on_vectors, resume=True)
    assert is_learned(experiment_on_vectors)


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("place", [("mygo-wake-2", "teach"), ("mygo", "consolidate")], ids="/".join)
def test_an_interrupted_one_refuses_other_settings_and_loses_nothing(
    experiment_on_vectors: Experiment, place: tuple[str, str]
) -> None:
    def power_cut(event: Event) -> None:
        if isinstance(event, Progress) and (event.place.strategy, event.place.phase) == place:
            raise PowerCutError

    with pytest.raises(PowerCutError):
        learn_together(lessons_of_stream(experiment_on_vectors, resume=False), power_cut)
    assert not is_learned(experiment_on_vectors)
    config = experiment_on_vectors.config
    for other in (
        replace(config, life=replace(config.life, seed=9)),
        replace(config, class_order=(3, 0, 2, 1)),
        replace(config, num_tasks=4),
    ):
        with pytest.raises(InputError, match="was begun with other settings"):
            lessons_of_stream(replace(experiment_on_vectors, config=other), resume=True)
    learned(experiment_on_vectors, resume=True)
    assert is_learned(experiment_on_vectors)
    assert len(lessons_of_stream(experiment_on_vectors, resume=True)) == 2


def test_it_shows_what_one_strategy_would_give_on_a_whole_stream(experiment_on_vectors: Experiment) -> None:
    for changes, sentence in (
        ({"strategies": ("mygo", "joint")}, "add --strategies mygo"),
        ({"validation_share": 0.2}, "leave out --validation-share"),
    ):
        experiment = replace(experiment_on_vectors, config=replace(experiment_on_vectors.config, **changes))
        with pytest.raises(InputError, match=sentence):
            lessons_of_stream(experiment, resume=False)
