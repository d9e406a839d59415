import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
from PIL import Image
from rich.console import Console

from distributed.run import main, parse, show_report
from mygo.config.presets import behind_encoder, preset
from mygo.errors import StorageError

REPOSITORY = Path(__file__).resolve().parent.parent.parent


def test_help_explains_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        parse(["--help"])
    assert exited.value.code == 0
    text = capsys.readouterr().out
    for flag in (
        "--dataset",
        "--num-tasks",
        "--class-order",
        "--strategies",
        "--num-workers",
        "--num-dreamers",
        "--seed",
        "--out",
        "--data-root",
        "--resume",
        "--verbose",
        "--sleep.steps",
        "--memory.gan.steps",
    ):
        assert flag in text, flag


def test_a_data_sets_preset_is_the_default_and_flags_change_it() -> None:
    assert parse([]).experiment.life == preset("digits")
    assert parse(["--dataset=fashion-mnist"]).experiment.life == preset("fashion-mnist")
    life = parse(["--dataset", "cifar10", "--seed", "7", "--sleep.steps", "3"]).experiment.life
    assert life.backbone == preset("cifar10").backbone
    assert (life.seed, life.sleep.steps) == (7, 3)


def test_comma_lists_are_read_with_spaces_around_their_items() -> None:
    config = parse(["--class-order", "9, 8,7,6,5,4,3,2,1,0", "--strategies=joint , mygo"]).experiment
    assert config.class_order == tuple(range(9, -1, -1))
    assert config.strategies == ("joint", "mygo")


def test_a_file_with_an_unknown_data_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "best.json").write_text('{"dataset": "imagenet"}')
    assert main(["--config", str(tmp_path / "best.json")]) == 2
    assert "imagenet is not there" in capsys.readouterr().err


def test_defaults_suit_what_a_file_says_of_the_encoder(tmp_path: Path) -> None:
    life = {"encoder": "efficientnet-lite0@96", "adapt": "auto"}
    (tmp_path / "part.json").write_text(json.dumps({"dataset": "cifar10", "life": life}))
    found = parse(["--config", str(tmp_path / "part.json")]).experiment
    assert found.learner.adapt == "late"
    assert found.learner.memory == behind_encoder("late").memory
    found = parse(["--config", str(tmp_path / "part.json"), "--adapt", "none"]).experiment
    assert found.learner.memory == behind_encoder().memory


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--colour", "blue"], "--colour"),
        (["--num-tasks", "many"], "many"),
    ],
)
def test_flags_that_do_not_exist_or_parse_end_with_2(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(argv)
    assert exited.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--dataset", "imagenet"], "--dataset imagenet is not known: choose from digits, fashion-mnist"),
        (["--strategies", "mygo,magic"], "'magic'"),
        (["--class-order", "0,1,2,3,4,5,6,7,8,8"], "class 8 more than once"),
        (["--class-order", "0,1,2,3,4,5,6,7,8,17"], "class 17, which the data set does not have"),
        (["--class-order", "0,1,2"], "leaves out class 3"),
        (["--class-order", "a,b"], "--class-order a,b is not a comma list"),
        (["--class-order", "None"], "--class-order None is not a comma list"),
        (["--strategies", "mygo,"], "--strategies names '', which is not one of"),
        (["--strategies", ""], "--strategies must name at least one"),
        (["--num-tasks", "0"], "--num-tasks must be from 1 to 10"),
        (["--resume"], "--resume needs --out"),
        (["--sleep.batch-size", "0"], "--sleep.batch-size must be at least 1, not 0"),
        (["--memory.fidelity-floor", "nan"], "--memory.fidelity-floor must be from 0.0 to 1.0, not nan"),
        (["--wake.lr", "inf"], "--wake.lr must be at most 10.0, not inf"),
        (["--wake.lr", "-1"], "--wake.lr must be at least 1e-09, not -1.0"),
        (["--max-failures", "-1"], "--max-failures must be at least 0, not -1"),
        (["--save-every", "-1"], "--save-every must be at least 0.0, not -1.0"),
        (["--memory.gan.steps", "-3"], "--memory.gan.steps must be at least 1, not -3"),
    ],
)
def test_bad_values_get_one_sentence_and_2_and_nothing_is_written(
    argv: list[str], complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    message = capsys.readouterr().err
    assert complaint in message
    assert message.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def own_data(write_vectors: Callable[..., str], tmp_path: Path) -> Path:
    """A folder with data of one's own."""
    write_vectors(tmp_path / "four.npz", ("ash", "birch", "cedar", "date"))
    write_vectors(tmp_path / "one.npz", ("ash",))
    (tmp_path / "texts.csv").write_text("text,label\n" + "hello,x\nworld,y\n" * 10)
    (tmp_path / "columns.csv").write_text("sentence,kind\nhello,x\n")
    (tmp_path / "empty").mkdir()
    for name in ("robin", "wren"):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (40, 40), (number, 9, 200)).save(tmp_path / "birds" / name / f"{number}.png")
        (tmp_path / "birds" / name / "3.png").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--dataset", "nowhere/four.npz"], "nowhere/four.npz is not known: choose from digits, fashion-mnist"),
        (["--dataset", "no_module:data"], "no_module"),
        (["--dataset", "four.npz", "--num-tasks", "5"], "--num-tasks must be from 1 to 4"),
        (["--dataset", "one.npz", "--num-tasks", "2"], "--num-tasks must be from 1 to 1"),
        (["--dataset", "birds", "--num-tasks", "3"], "--num-tasks must be from 1 to 2"),
        (["--dataset", "four.npz", "--num-tasks", "2", "--class-order", "0,1,2,9"], "class 9, which the data set does"),
        (["--dataset", "four.npz", "--num-tasks", "2", "--encoder", "minilm"], "minilm is not needed for vectors"),
        (["--dataset", "four.npz", "--num-tasks", "2", "--backbone", "conv"], "choose linear or mlp behind an encoder"),
        (["--dataset", "texts.csv", "--num-tasks", "2", "--encoder", "none"], "--encoder none cannot read texts"),
        (["--dataset", "texts.csv", "--num-tasks", "2", "--encoder", "efficientnet-lite0"], "takes images"),
        (["--dataset", "birds", "--num-tasks", "2", "--encoder", "nonsense"], "'nonsense' is not known"),
        (["--dataset", "columns.csv"], "column"),
        (["--dataset", "empty"], "has no class folders"),
        (["--num-tasks", "2", "--encoder", "none", "--encoder-weights", "w"], "--encoder-weights needs an --encoder"),
    ],
)
def test_mistakes_with_data_of_ones_own_get_one_sentence_and_2_and_nothing_is_written(
    own_data: Path,
    argv: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(own_data)
    before = sorted(own_data.rglob("*"))
    assert main([*argv, "--out", "out"]) == 2
    message = capsys.readouterr().err
    assert complaint in message
    assert message.count("\n") == 1
    assert sorted(own_data.rglob("*")) == before


def test_a_stream_of_ones_own_vectors_is_lived_through(own_data: Path) -> None:
    few = ["--wake.head-steps", "20", "--wake.adapt-steps", "20", "--sleep.steps", "20", "--num-workers", "1"]
    argv = ["--dataset", "four.npz", "--num-tasks", "2", "--strategies", "mygo,joint", "--out", "out", *few]
    command = [sys.executable, str(REPOSITORY / "distributed" / "run.py"), *argv]
    done = subprocess.run(command, cwd=own_data, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    results = json.loads((own_data / "out" / "results.json").read_text())
    assert results["class_names"] == ["ash", "birch", "cedar", "date"]
    assert results["config"]["dataset"] == str(own_data / "four.npz")
    assert results["config"]["life"]["backbone"] == "linear"
    assert results["strategies"]["joint"]["average_accuracy"]["task_il"] > 0.5
    assert not (own_data / "out" / "features").exists()


def test_a_life_in_out_and_an_unwritable_out_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    life = tmp_path / "taken" / "life" / "mygo"
    life.mkdir(parents=True)
    (life / "manifest.json").write_text("{}")
    assert main(["--out", str(tmp_path / "taken")]) == 2
    assert "pass --resume" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file")]) == 2
    assert "cannot be written to" in capsys.readouterr().err
    assert main(["--out", str(tmp_path / "fresh"), "--resume"]) == 2
    assert "no life to resume" in capsys.readouterr().err
    assert not (tmp_path / "fresh").exists()


def test_a_report_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full_disk(folder: Path) -> Path:
        raise StorageError(f"{folder} cannot be written.")

    monkeypatch.setattr("mygo.reporting.report.write_report", full_disk)
    show_report(tmp_path, Console(width=80))
    expected = f"There is no report (StorageError: {tmp_path} cannot be written), but the results are whole.\n"
    assert capsys.readouterr().out == expected


def test_more_workers_than_the_cluster_has_are_refused_before_anything_is_written(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", ray.get_runtime_context().gcs_address)
    command = [sys.executable, "-m", "distributed.run", "--num-workers", "99", "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "--num-workers 99 needs 99 CPUs" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_ray_address_without_a_cluster_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    command = [sys.executable, "-m", "distributed.run", "--out", str(tmp_path / "out")]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "No Ray cluster answers at RAY_ADDRESS=127.0.0.1:1" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_script_ends_with_2_and_no_traceback_from_any_folder(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "distributed" / "run.py"), "--num-tasks", "99"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 2
    assert "run.py: --num-tasks must be from 1 to 10" in ended.stderr
    assert "Traceback" not in ended.stderr
