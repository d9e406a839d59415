"""The benchmark of adapting an encoder: its rivals learn, and its tables show what has the settings of today."""

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import adapt, adapt_strategies
from mygo import wake
from mygo.baselines.registry import STRATEGIES
from mygo.config.learner import LifeConfig
from mygo.config.presets import behind_encoder
from mygo.config.settings import change
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life
from tests.mygo.jobs.knowledge import assert_same_weights


@pytest.fixture
def registered() -> Iterator[None]:
    """What adapt.py makes known, and how many threads it wants, is as before afterwards."""
    before, threads = dict(STRATEGIES), torch.get_num_threads()
    adapt_strategies.register()
    yield
    STRATEGIES.clear()
    STRATEGIES.update(before)
    torch.set_num_threads(threads)


@pytest.fixture
def stream(registered: None, tiny_adapting: LifeConfig, photos: Callable[..., Path]) -> ExperimentConfig:
    """A stream of two tasks for the strategies of adapt.py."""
    data = str(photos("red", "green", "blue", "white"))
    life = change(tiny_adapting, {"wake.adapt_steps": 40, "sleep.steps": 60, "sleep.temperature": 1.0})
    return ExperimentConfig(dataset=data, num_tasks=2, strategies=("mygo",), life=life)


def test_an_experiment_compares_strategies_on_the_same_late_blocks(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    strategies = ("mygo", "mygo-nosleep", "finetune", "joint", "lwf", "replay")
    data = str(photos("red", "green", "blue", "white"))
    config = ExperimentConfig(dataset=data, num_tasks=2, strategies=strategies, life=tiny_adapting)
    results = Experiment(config, tmp_path / "out").run()
    assert set(results["strategies"]) == set(strategies)
    kept = {name: each["memory_bytes"] for name, each in results["strategies"].items()}
    assert 0 < kept["replay"] <= kept["mygo"] < kept["joint"]
    again = Experiment(config, tmp_path / "out").run()
    assert again["strategies"]["mygo"]["accuracy_matrix"] == results["strategies"]["mygo"]["accuracy_matrix"]


def test_strategies_of_adapt_learn_all_tasks(stream: ExperimentConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt_strategies, "JPEGS", adapt_strategies.Jpegs(size=100.0, budget=700.0, num_classes=4))
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
    jpegs = adapt_strategies.Jpegs(size=100.0, budget=750.0, num_classes=4)
    assert [jpegs.count(label) for label in range(4)] == [2, 2, 2, 1]
    assert adapt_strategies.Jpegs(size=100.0, budget=50.0, num_classes=2).count(1) == 1, (
        "one of each is kept in any case"
    )


def test_a_cell_is_measured_once_and_not_shown_where_settings_are_others(
    registered: None,
    tmp_path: Path,
    photos: Callable[..., Path],
    tiny_adapting: LifeConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for part in ("train", "test"):
        shutil.copytree(photos("red", "green", "blue", "white"), tmp_path / "data" / part)
    few = {"wake.head_steps": 20, "wake.adapt_steps": 20, "sleep.steps": 20, "sleep.batch_size": 32}
    learners = {"none": change(behind_encoder(), few), "late": tiny_adapting}
    stream = adapt.Stream("two colours", "clothing", 64, 2, 2, every=2, most=10, rows=(*adapt.PAYS, "adapt-first"))
    out, table = tmp_path / "out", tmp_path / "adapt.md"
    monkeypatch.setattr(adapt, "behind_encoder", lambda adapt="none": learners[adapt])
    monkeypatch.setattr(adapt, "STREAMS", (stream,))
    for name, suffix in (("TABLES", "md"), ("CELLS", "json"), ("PICTURE", "png")):
        monkeypatch.setattr(adapt, name, tmp_path / f"adapt.{suffix}")
    command = ["adapt.py", "--clothing", str(tmp_path / "data"), "--out", str(out), "--streams", stream.key]
    monkeypatch.setattr("sys.argv", [*command, "--orders", "0", "--threads", "1"])
    adapt.main()
    assert {path.name for path in out.iterdir()} == {f"{stream.key}-{row}-0.json" for row in stream.rows}
    assert re.search(r"\| two colours \|( \d\.\d{3} \|){3} -?\d\.\d{3} \| 1 \|", table.read_text())
    shutil.rmtree(out)
    monkeypatch.setattr(adapt, "measure", lambda *_: pytest.fail("it is kept"))
    adapt.main()
    assert "| two colours |" in table.read_text()
    monkeypatch.setitem(learners, "late", change(tiny_adapting, {"sleep.steps": 16}))
    monkeypatch.setattr("sys.argv", ["adapt.py", "--out", str(out), "--streams", stream.key, "--threads", "1"])
    adapt.main()
    assert "| two colours |" not in table.read_text()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--rows", "mygo,replays"], "There is no replays"),
        (["--streams", "clothing-3"], "There is no clothing-3"),
        (["--change", "sleep.steps=9"], "add --validation-share"),
    ],
)
def test_flags_of_adapt_that_cannot_be_meant_are_refused(
    flags: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["adapt.py", *flags])
    with pytest.raises(SystemExit) as ended:
        adapt.main()
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
