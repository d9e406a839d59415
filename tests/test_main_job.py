"""The main job as a person runs it: one command, a whole life of digits on Ray, with the figures it must show."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mygo.config.presets import preset
from mygo.jobs.experiment import Experiment, ExperimentConfig

REPOSITORY = Path(__file__).resolve().parent.parent


def run(*flags: str, cwd: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run the command on a Ray of its own; returns how it ended and after how many seconds."""
    command = [sys.executable, str(REPOSITORY / "distributed" / "run.py"), *flags]
    started = time.monotonic()
    environment = os.environ | {"RAY_ADDRESS": "local", "COLUMNS": "160"}
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=580)
    return ended, time.monotonic() - started


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, float]:
    folder = tmp_path_factory.mktemp("main-job")
    ended, seconds = run("--out", "out", cwd=folder)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return folder / "out", ended.stdout, seconds


@pytest.mark.figures
def test_the_default_run_ends_in_time(main_job) -> None:
    assert main_job[2] <= 150


def test_mygo_remembers_without_data_what_finetuning_forgets(main_job) -> None:
    strategies = json.loads((main_job[0] / "results.json").read_text())["strategies"]
    assert list(strategies) == ["mygo", "finetune", "joint"]
    mygo, finetune, joint = (entry["average_accuracy"] for entry in strategies.values())
    assert mygo["class_il"] >= 0.85
    assert mygo["task_il"] >= 0.97
    assert mygo["class_il"] >= finetune["class_il"] + 0.30
    assert joint["class_il"] >= mygo["class_il"] - 0.02
    # Fine-tuning is no straw man: given the task it is nearly as good.
    assert finetune["task_il"] >= 0.9
    assert min(strategies["mygo"]["label_fidelity"]) >= 0.7


def test_without_sleep_it_is_clearly_worse(main_job) -> None:
    config = ExperimentConfig(strategies=("mygo-nosleep",), life=preset("digits"))
    awake = Experiment(config).run()["strategies"]["mygo-nosleep"]
    whole = json.loads((main_job[0] / "results.json").read_text())["strategies"]["mygo"]
    assert awake["average_accuracy"]["class_il"] <= whole["average_accuracy"]["class_il"] - 0.10


def test_the_terminal_shows_rows_and_table_and_no_noise_of_ray(main_job) -> None:
    _, text, _ = main_job
    for expected in ("mygo after task 5: class-IL", "finetune", "forget-", "raw data", "results.json", "report.html"):
        assert expected in text, expected
    for noise in ("INFO", "WARNING", "(TrainController", "(RayTrainWorker", "Traceback"):
        assert noise not in text, noise


def test_what_is_left_is_a_life_and_curves(main_job) -> None:
    out = main_job[0]
    assert sorted(path.name for path in (out / "life").iterdir()) == ["finetune", "joint", "mygo"]
    assert len(list((out / "life" / "mygo").glob("memory-*.safetensors"))) == 5
    assert "Dreams" in (out / "report.html").read_text()
    assert sorted(path.name for path in (out / "tensorboard").iterdir()) == ["finetune", "joint", "mygo"]
    pickles = [p for p in out.rglob("*") if p.suffix in {".pt", ".pth", ".pkl", ".pickle"}]
    assert pickles == []


def test_a_finished_life_is_refused_without_resume_and_shown_again_with_it(main_job) -> None:
    out = main_job[0]
    refused, _ = run("--out", "out", cwd=out.parent)
    assert refused.returncode == 2
    assert "pass --resume" in refused.stderr
    before = json.loads((out / "results.json").read_text())
    (out / "results.json").unlink()
    Experiment(ExperimentConfig(life=preset("digits")), out).run()  # nothing is left to do
    assert json.loads((out / "results.json").read_text())["strategies"] == before["strategies"]
