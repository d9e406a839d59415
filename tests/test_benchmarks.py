"""What benchmarks put a clock on runs; how long it takes is theirs to say."""

from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import eyes, unknown, unlabelled
from benchmarks.lives import NO_FLOORS, PHASES, run_phase, with_batch
from mygo.config.presets import preset
from mygo.config.settings import change


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
