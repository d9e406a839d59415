"""Small sweeps as a person runs them: the command, on a Ray of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.processes import processes_of
from distributed.run import parse as parse_run
from mygo.files import locked
from tune.space import search_space, settings_of
from tune.sweep import main, parse
from tune.trial import Point

REPOSITORY = Path(__file__).resolve().parent.parent.parent

TINY = [
    *("--num-tasks", "3", "--wake.head-steps", "5", "--wake.adapt-steps", "10", "--sleep.steps", "40"),
    *("--finalists", "1", "--finalist-seeds", "1", "--test-seeds", "1", "--memory.gan.steps", "40"),
    *("--memory.fidelity-floor", "0", "--memory.diversity-floor", "0"),
]


def command(out: Path, *flags: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / "tune" / "sweep.py"), "--out", str(out), *TINY, *flags]


def environment() -> dict[str, str]:
    return os.environ | {"RAY_ADDRESS": "local", "COLUMNS": "200"}


def sweep(out: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, *flags), env=environment(), capture_output=True, text=True, timeout=400)


def trials_in(out: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in (out / "trials").glob("*/trial.json")]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("sweep") / "out"
    ended = sweep(out, "--num-samples", "5")
    assert ended.returncode == 0, ended.stderr[-3000:]
    return out, ended.stdout


def test_a_sweep_leaves_results_a_configuration_pictures_and_curves(swept) -> None:
    out, text = swept
    results = json.loads((out / "results.json").read_text())
    assert len(results["trials"]) == 5
    assert results["defaults"] in [trial["settings"] for trial in results["trials"]]
    finished = [trial for trial in results["trials"] if trial["status"] == "finished"]
    assert finished
    assert all(len(trial["class_il"]) == 3 for trial in finished)
    assert results["winner"] in [finalist["settings"] for finalist in results["finalists"]]
    means = [finalist["mean"] for finalist in results["finalists"]]
    assert results["winner"] == results["finalists"][0]["settings"]
    assert max(means) == means[0]
    assert 0.3 < results["test"]["winner"]["mean"] <= 1
    for expected in ("Search, on validation images", "Test class-IL of the winner", "--config", "own"):
        assert expected in text, expected
    for noise in ("Traceback", "WARNING", "Configuration for experiment", "A new study"):
        assert noise not in text, noise
    assert (out / "parallel_coordinates.png").stat().st_size > 10_000
    assert not (out / "ray").exists()
    runs = {path.name for path in (out / "tensorboard").iterdir()}
    assert {trial["name"] for trial in results["trials"]} <= runs
    curves = EventAccumulator(str(out / "tensorboard" / finished[0]["name"])).Reload()
    assert {"accuracy/class_il", "hparam/class_il"} <= set(curves.Tags()["scalars"])
    assert "_hparams_/session_start_info" in curves.summary_metadata


def test_the_winner_is_what_the_main_command_takes(swept) -> None:
    out, _ = swept
    best = json.loads((out / "best.json").read_text())
    winner = json.loads((out / "results.json").read_text())["winner"]
    arguments = parse_run(["--config", str(out / "best.json"), "--sleep.lr", "0.5"]).experiment
    assert arguments.num_tasks == 3
    assert arguments.life.sleep.lr == 0.5
    assert arguments.life.sleep.steps == winner["sleep.steps"] == best["life"]["sleep"]["steps"]
    assert arguments.life.memory.gan.steps == 40


def test_trials_of_one_seed_share_their_memories(swept) -> None:
    out, _ = swept
    # Three tasks for each of the seeds of search, finalists and test.
    assert len(list((out / "memories").glob("*.safetensors"))) == 9


def test_validation_images_decide_and_test_images_are_read_for_the_last_stage_alone(swept) -> None:
    out, _ = swept
    evaluated = {}
    for path in (out / "trials").glob("*/results.json"):
        trial = json.loads((path.parent / "trial.json").read_text())
        evaluated.setdefault(json.loads(path.read_text())["evaluated_on"], set()).add(trial["seed"])
    assert evaluated == {"validation": {0, 1}, "test": {2}}


def test_a_sweep_that_was_killed_goes_on_without_repeating_what_was_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wait_until: Callable[..., None]
) -> None:
    out = tmp_path / "out"
    flags = ("--num-samples", "5", "--scheduler", "none")
    process = subprocess.Popen(command(out, *flags), env=environment(), start_new_session=True)

    def two_are_finished() -> bool:
        assert process.poll() is None
        return sum(trial["status"] == "finished" for trial in trials_in(out)) >= 2

    wait_until(two_are_finished, 200)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The workers of a driver that died take a moment to end; Ray's agents, which write nothing, take minutes.
    wait_until(lambda: all("Agent" in line for line in processes_of(process.pid, "ray::").values()))
    before = {trial["name"]: trial for trial in trials_in(out)}
    finished = {name for name, trial in before.items() if trial["status"] == "finished"}
    assert 2 <= len(finished) < 5
    written = {name: (out / "trials" / name / "results.json").stat().st_mtime_ns for name in finished}

    assert main(["--out", str(out), *TINY, *flags]) == 2
    assert "pass --resume" in capsys.readouterr().err
    assert main(["--out", str(out), *TINY, *flags, "--resume", "--sleep.lr", "2e-3"]) == 2
    assert "begun with other settings" in capsys.readouterr().err
    resumed = sweep(out, *flags, "--resume")
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    after = {trial["name"]: trial for trial in json.loads((out / "results.json").read_text())["trials"]}
    assert len(after) == 5
    assert before.keys() <= after.keys()
    for name in finished:
        assert (out / "trials" / name / "results.json").stat().st_mtime_ns == written[name]
        assert after[name]["class_il"] == before[name]["class_il"]
        assert after[name]["seconds"] == before[name]["seconds"]
    assert all(trial["status"] == "finished" for trial in after.values())


def test_a_failed_trial_is_reported_and_the_sweep_goes_on(tmp_path: Path) -> None:
    life = parse(TINY).stream.life
    defaults = Point(settings_of(life, search_space("sleep", life)), life.seed, 0.2)
    damaged = tmp_path / "out" / "trials" / defaults.name / "life" / "mygo" / "manifest.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    search_only = ("--finalists", "0", "--test-seeds", "0")
    ended = sweep(tmp_path / "out", *search_only, "--num-samples", "3", "--scheduler", "none")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert f"failed: {damaged} is damaged" in ended.stdout
    trials = json.loads((tmp_path / "out" / "results.json").read_text())["trials"]
    assert sorted(trial["status"] for trial in trials) == ["failed", "finished", "finished"]


def test_a_sweep_without_any_finished_trial_says_so(tmp_path: Path) -> None:
    ended = sweep(tmp_path / "out", "--num-samples", "2", "--memory.diversity-floor", "1e9")
    assert ended.returncode == 1
    assert "No trial of the search came to its end" in ended.stderr
    assert "stayed below the floor" in ended.stdout
    assert {trial["status"] for trial in trials_in(tmp_path / "out")} == {"failed"}


def test_random_search_within_a_time_budget(tmp_path: Path) -> None:
    out = tmp_path / "out"
    search_only = ("--finalists", "0", "--test-seeds", "0")
    ended = sweep(
        out, *search_only, "--search", "random", "--num-samples", "200", "--time-budget", "25", "--num-tasks", "2"
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    results = json.loads((out / "results.json").read_text())
    assert 1 <= len(results["trials"]) < 200
    assert results["seconds"]["search"] < 60
    assert "running" not in {trial["status"] for trial in (*results["trials"], *trials_in(out))}
    assert results["test"] is None
    assert (
        results["winner"]
        == max(results["trials"], key=lambda t: (t["status"] == "finished", t["class_il"][-1:]))["settings"]
    )


FEW = [
    *("--num-tasks", "2", "--wake.head-steps", "20", "--sleep.steps", "40", "--sleep.batch-size", "64"),
    *("--memory.fidelity-floor", "0", "--memory.diversity-floor", "0"),
    *("--num-samples", "3", "--finalists", "1", "--finalist-seeds", "1", "--test-seeds", "1"),
]
"""A small sweep behind an encoder."""
COUNTING = """
import hashlib
import numpy as np
import torch


class Colours:
    name, input_kind, feature_dim, checksum, at_least = "colours", "image", 6, "ab" * 32, (8, 8)

    def preprocess(self, item):
        return torch.from_numpy(np.array(item.resize((8, 8)))).permute(2, 0, 1)

    def collate(self, items):
        return torch.stack(list(items))

    def encode(self, batch):
        with open("encoded.txt", "a") as file:
            for image in batch:
                file.write(hashlib.sha256(image.numpy().tobytes()).hexdigest() + "\\n")
        means = batch.float().mean(3)
        return torch.cat([means[:, :, :4].mean(2), means[:, :, 4:].mean(2)], 1)

    def to(self, device):
        return self
"""


def sweep_in(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Sweep over data in ``folder``, started there."""
    words = [sys.executable, str(REPOSITORY / "tune" / "sweep.py"), "--out", "out", *FEW, *flags]
    return subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, timeout=400)


def test_vectors_are_swept_and_their_memories_fitted_once(write_vectors: Callable[..., str], tmp_path: Path) -> None:
    data = write_vectors(tmp_path / "four.npz", ("ash", "birch", "cedar", "date"))
    killed = tmp_path / "out" / "features" / "of-a-sweep-that-was-killed"
    killed.mkdir(parents=True)
    (killed / "train.f32").write_bytes(bytes(400))
    ended = sweep_in(tmp_path, "--dataset", "four.npz")
    assert (ended.returncode, ended.stderr) == (0, "")
    out = tmp_path / "out"
    assert not (out / "features").exists()
    assert not list((out / "trials").glob("*/features"))
    results = json.loads((out / "results.json").read_text())
    assert len(results["trials"]) == 3
    assert results["dataset"] == data
    assert "sleep.discriminant_examples" in results["winner"]
    assert not any(name.startswith("memory.gan") for name in results["space"])
    # Of two tasks, less the validation examples and whole; the seed does not count.
    assert len(list((out / "memories").glob("*.safetensors"))) == 4
    config = parse_run(["--config", str(out / "best.json")]).experiment
    assert (config.dataset, config.num_tasks, config.encoder) == (data, 2, "none")
    assert config.life.sleep.lr == results["winner"]["sleep.lr"]


def test_images_behind_an_encoder_are_encoded_once_for_all_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counting.py").write_text(COUNTING)
    rng = np.random.default_rng(0)
    for number, name in enumerate(("robin", "sparrow", "wren")):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for count in range(12):
            pixels = rng.normal(60 * number + 50, 20, (40, 40, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "birds" / name / f"{count}.png")
    ended = sweep_in(
        tmp_path, "--dataset", "birds", "--encoder", "counting:Colours", "--space", "all", "--only", "backbone,sleep.lr"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    encoded = (tmp_path / "encoded.txt").read_text().split()
    assert len(encoded) == len(set(encoded)) == 36
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert set(results["space"]) == {"backbone", "sleep.lr"}
    assert {trial["status"] for trial in results["trials"]} <= {"finished", "stopped"}
    assert not (tmp_path / "out" / "features").exists()
    monkeypatch.chdir(tmp_path)
    config = parse_run(["--config", "out/best.json"]).experiment
    assert config.encoder == "counting:Colours"
    assert config.dataset == str(tmp_path / "birds")


def test_a_class_that_leaves_nothing_for_validation_is_refused_before_any_trial(
    write_vectors: Callable[..., str], tmp_path: Path
) -> None:
    write_vectors(tmp_path / "few.npz", ("ash", "birch"), count=2)
    ended = sweep_in(tmp_path, "--dataset", "few.npz")
    assert ended.returncode == 2
    assert "Class ash has one training image: none can be held out" in ended.stderr
    assert not (tmp_path / "out" / "features").exists()
    assert not (tmp_path / "out" / "sweep.json").exists()


def test_a_folder_in_which_another_sweep_is_running_is_refused(
    ray_cluster: None, write_vectors: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    write_vectors(tmp_path / "four.npz", ("ash", "birch", "cedar", "date"))
    with locked(tmp_path / "out", 0):
        vectors = tmp_path / "out" / "features" / "in-use" / "train.f32"
        vectors.parent.mkdir(parents=True)
        vectors.touch()
        words = [sys.executable, str(REPOSITORY / "tune" / "sweep.py"), "--out", "out", *FEW, "--dataset", "four.npz"]
        ended = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "is in use by another run" in ended.stderr
    assert vectors.exists()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--dataset", "four.npz", "--encoder", "minilm"], "minilm is not needed for vectors"),
        (["--dataset", "four.npz", "--num-tasks", "5"], "--num-tasks must be from 1 to 4"),
        (["--dataset", "four.npz", "--only", "memory.gan.steps"], "--only names memory.gan.steps"),
        (["--dataset", "four.npz", "--backbone", "conv"], "choose linear or mlp behind an encoder"),
        (["--encoder", "nonsense"], "'nonsense' is not known"),
        (["--encoder-weights", "w"], "--encoder-weights needs an --encoder"),
    ],
)
def test_mistakes_with_data_of_ones_own_get_one_sentence_and_2_and_nothing_is_written(
    flags: list[str],
    complaint: str,
    write_vectors: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_vectors(tmp_path / "four.npz", ("ash", "birch", "cedar", "date"))
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    message = capsys.readouterr().err
    assert complaint in message
    assert message.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["four.npz"]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--num-tasks", "1"], "--num-tasks must be at least 2"),
        (["--num-samples", "0"], "--num-samples must be at least 1, not 0"),
        (["--finalists", "-1"], "--finalists must be at least 0, not -1"),
        (["--validation-share", "0"], "--validation-share must be above 0"),
        (["--search", "grid"], "--search grid needs --only"),
        (["--only", "sleep.naps"], "--only names sleep.naps"),
        (["--sleep.lr", "7"], "sleep.lr is 7.0, which the search does not reach"),
        (["--time-budget", "-1"], "--time-budget must be at least 0.001, not -1.0"),
        (["--resume"], "--resume needs --out"),
        (["--resume", "--out", "nothing"], "holds no sweep to resume"),
    ],
)
def test_bad_values_get_one_sentence_and_2_and_nothing_is_written(
    flags: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(flags) == 2
    message = capsys.readouterr().err
    assert complaint in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_does_not_fit_is_refused_before_it_starts(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    ended = subprocess.run(command(tmp_path / "out", "--num-workers", "3"), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "--num-workers 3 needs 3 CPUs and as many CPUs, but the cluster has 2 CPUs" in ended.stderr
    assert not (tmp_path / "out").exists()
