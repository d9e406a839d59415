import pytest
from rich import filesize
from rich.console import Console

from mygo.events import Event, Notice, Pace, PhaseEnded, Place, Progress, tee
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.reporting.console import ConsoleLogger, results_table


@pytest.fixture(scope="module")
def lived(tiny_life) -> tuple[dict, str]:
    """Results and terminal output of a short experiment."""
    console = Console(record=True, width=120)
    config = ExperimentConfig(num_tasks=2, strategies=("mygo", "finetune"), life=tiny_life)
    with ConsoleLogger(console) as bars:
        results = Experiment(config).run(on_event=bars)
        bars(Notice("A sentence to see [/path/in.cc:7]."))
    console.print(results_table(results))
    return results, console.export_text()


def test_the_terminal_shows_phases_rows_notices_and_the_table(lived) -> None:
    results, text = lived
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
    with ConsoleLogger(console) as bars:
        place = Place("mygo", 1, "consolidate")
        bars(Progress(place, 0, 50, {"own_head": 1.5}, when=100.0))
        bars(Progress(place, 40, 50, {"own_head": 0.25}, when=104.0))
        (task,) = bars._bars.tasks
        assert (task.description, task.completed, task.total) == ("mygo, task 2, consolidate", 41, 50)
        assert (task.fields["rate"], task.fields["losses"]) == ("10 steps/s", "own_head 0.250")


def test_lives_that_go_on_at_the_same_time_have_a_bar_and_a_pace_each() -> None:
    with ConsoleLogger(Console(record=True, width=160, force_terminal=True)) as bars:
        for step in (0, 10):
            for number in (1, 2):
                place = Place(f"mygo-wake-{number}", 0, "learn")
                bars(Progress(place, step * number, 50, {}, when=100.0 + step))
        one, two = bars._bars.tasks
        assert (one.fields["rate"], two.fields["rate"]) == ("1 steps/s", "2 steps/s")
        bars(PhaseEnded(place, 1.0))
        assert bars._bars.tasks == [one]


def test_the_pace_is_that_of_the_phase_since_it_began_or_went_on() -> None:
    pace = Pace()

    def follow(task: int, step: int, when: float) -> tuple[int, float]:
        return pace.follow(Progress(Place("mygo", task, "adapt"), step, 600, {}, when))

    assert follow(0, 0, 10.0) == (1, 0.0)
    assert follow(0, 20, 10.0) == (20, 0.0)  # a clock that stands still
    assert follow(0, 40, 14.0) == (20, 10.0)
    assert follow(0, 30, 99.0) == (1, 0.0)  # again, from the last saved point
    assert follow(0, 40, 100.0) == (10, 10.0)
    assert follow(1, 340, 200.0) == (1, 0.0)  # another phase, which goes on in its middle
    assert follow(1, 360, 201.0) == (20, 20.0)


def test_a_tee_tells_everyone() -> None:
    one: list[Event] = []
    two: list[Event] = []
    tee(one.append, two.append)(Notice("x"))
    assert one == two == [Notice("x")]
