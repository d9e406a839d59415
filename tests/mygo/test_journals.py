from pathlib import Path

import pytest
import torch
from rich import filesize
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mygo.console import ConsoleJournal, results_table
from mygo.experiment import Experiment
from mygo.journal import Event, Notice, Place, Progress, tee
from mygo.tensorboard import CELL, TensorBoardJournal, matrix_picture, tile


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, tiny_life) -> tuple[dict, Path, str]:
    """Results, TensorBoard folder and terminal output of a short experiment."""
    from mygo.experiment import ExperimentConfig

    folder = tmp_path_factory.mktemp("board")
    console = Console(record=True, width=120)
    board = TensorBoardJournal(folder)
    config = ExperimentConfig(num_tasks=2, strategies=("mygo", "finetune"), life=tiny_life)
    with ConsoleJournal(console) as bars:
        results = Experiment(config).run(journal=tee(bars, board))
        bars(Notice("A sentence to see [/path/in.cc:7]."))
    board.close()
    console.print(results_table(results))
    return results, folder, console.export_text()


def test_the_terminal_shows_phases_rows_notices_and_the_table(lived) -> None:
    results, _, text = lived
    for expected in (
        "mygo, task 2, memorise:",
        "label fidelity",
        "mygo after task 2: class-IL",
        "finetune after task 1: task-IL",
        "A sentence to see [/path/in.cc:7].",
        "strategy",
        "forget-",
        "raw data",
    ):
        assert expected in text, expected
    assert f"{results['strategies']['mygo']['average_accuracy']['class_il']:.3f}" in text
    assert filesize.decimal(results["strategies"]["mygo"]["memory_bytes"]) in text


def test_the_bar_counts_steps_with_rate_and_losses() -> None:
    console = Console(record=True, width=160, force_terminal=True)
    with ConsoleJournal(console) as bars:
        place = Place("mygo", 1, "consolidate")
        bars(Progress(place, 0, 50, {"own_head": 1.5}))
        bars(Progress(place, 40, 50, {"own_head": 0.25}))
        (task,) = bars._bars.tasks
        assert (task.description, task.completed, task.total) == ("mygo, task 2, consolidate", 41, 50)
        assert task.fields["losses"] == "own_head 0.250"


def test_tensorboard_has_losses_rates_accuracies_and_pictures_per_strategy(lived) -> None:
    results, folder, _ = lived
    assert sorted(path.name for path in folder.iterdir()) == ["finetune", "mygo"]
    events = EventAccumulator(str(folder / "mygo")).Reload()
    scalars, images = set(events.Tags()["scalars"]), set(events.Tags()["images"])
    assert {
        "learn/cross_entropy",
        "memorise/discriminator",
        "memorise/generator",
        "memorise/steps_per_second",
        "consolidate/own_head",
        "consolidate/all_heads",
        "memory/label_fidelity",
        "memory/diversity",
        "memory/frechet_distance",
        "memory/nearest_neighbour_ratio",
        "seconds/memorise",
        "accuracy/class_il",
        "accuracy_class_il/task_1",
    } <= scalars
    assert {"dreams/task_1", "dreams/task_2", "accuracy_matrix/class_il", "accuracy_matrix/task_il"} <= images
    averages = [event.value for event in events.Scalars("accuracy/class_il")]
    assert averages[-1] == pytest.approx(results["strategies"]["mygo"]["average_accuracy"]["class_il"])
    steps = [event.step for event in events.Scalars("memorise/generator")]
    assert steps == sorted(steps)
    assert steps[-1] == 2 * 20 - 1  # one curve over both tasks


def test_pictures() -> None:
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 2, 3)
    assert tile(images, 2).shape == (1, 4, 6)
    assert tile(images, 2)[0, ::2, ::3].tolist() == [[0, 1], [2, 3]]
    picture = matrix_picture([[1.0], [0.5, 0.0]])
    assert picture.shape == (1, 2 * CELL, 2 * CELL)
    assert picture[0, ::CELL, ::CELL].tolist() == [[255, 0], [128, 0]]


def test_a_tee_tells_everyone() -> None:
    one: list[Event] = []
    two: list[Event] = []
    tee(one.append, two.append)(Notice("x"))
    assert one == two == [Notice("x")]
