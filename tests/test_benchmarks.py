"""What benchmarks put a clock on runs; how long it takes is theirs to say."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import adapt, eyes, unknown, unlabelled
from benchmarks.lives import NO_FLOORS, PHASES, run_phase, with_batch
from mygo import wake
from mygo.baselines.registry import STRATEGIES
from mygo.config.learner import LifeConfig
from mygo.config.presets import preset
from mygo.config.settings import change
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life
from tests.mygo.jobs.knowledge import assert_same_weights


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_of_a_life_can_be_timed_alone(phase: str) -> None:
    run_phase(phase, change(with_batch(preset("digits"), 4, 2), NO_FLOORS), (1, 8, 8))


@pytest.mark.parametrize("benchmark", [unknown, unlabelled, eyes], ids=lambda module: module.__name__)
def test_without_data_results_that_are_there_stay(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.md"
    results.write_text("# Measured\n")
    monkeypatch.setattr(benchmark, "RESULTS", results)
    monkeypatch.setattr("sys.argv", ["benchmark", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 2
    assert "name data with --clothing or --cifar100 or --clinc150." in capsys.readouterr().err
    assert results.read_text() == "# Measured\n"
    assert not (tmp_path / "out").exists()


# -- strategies of adapt.py -------------------------------------------------------------------------------------------


@pytest.fixture
def stream(tiny_adapting: LifeConfig, photos: Callable[..., Path]) -> Iterator[ExperimentConfig]:
    """A stream of two tasks for the strategies that adapt.py makes known."""
    before = dict(STRATEGIES)
    adapt.register()
    data = str(photos("red", "green", "blue", "white"))
    life = change(tiny_adapting, {"wake.adapt_steps": 40, "sleep.steps": 60, "sleep.temperature": 1.0})
    yield ExperimentConfig(dataset=data, num_tasks=2, strategies=("mygo",), life=life)
    STRATEGIES.clear()
    STRATEGIES.update(before)


def test_strategies_of_adapt_learn_all_tasks(stream: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt, "JPEGS", adapt.Jpegs(size=100.0, budget=700.0, num_classes=4))
    mirrored, names = wake.mirrored, ("joint-once", "replay-jpegs", "at-once", "labels", "warm", "unmirrored")
    results = Experiment(replace(stream, strategies=names)).run()["strategies"]
    for name, found in results.items():
        assert found["average_accuracy"]["class_il"] >= 0.7, name
        assert len(found["accuracy_matrix"]["class_il"]) == 2
    kept = {name: found["memory_bytes"] for name, found in results.items()}
    assert kept["joint-once"] / kept["replay-jpegs"] == pytest.approx(4 * 11 / 7), "of 12 photos 11 are learned"
    assert wake.mirrored is mirrored


def test_with_one_task_all_dreams_at_once_are_those_of_its_sleep(stream: ExperimentConfig, tmp_path: Path) -> None:
    Experiment(replace(stream, num_tasks=1, strategies=("mygo", "at-once")), tmp_path).run()
    lives = [Life.open(tmp_path / "life" / name) for name in ("mygo", "at-once")]
    lives[0].detector = None  # which at-once does not fit
    assert_same_weights(*lives)


def test_jpegs_take_the_bytes_that_there_are() -> None:
    jpegs = adapt.Jpegs(size=100.0, budget=750.0, num_classes=4)
    assert [jpegs.count(label) for label in range(4)] == [2, 2, 2, 1]
    assert adapt.Jpegs(size=100.0, budget=50.0, num_classes=2).count(1) == 1, "one of each is kept in any case"
