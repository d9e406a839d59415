import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from rich import filesize
from torch import Tensor

import mygo
from mygo.__main__ import main
from mygo.cli.folders import life_folder
from mygo.cli.registry import COMMANDS
from mygo.config.learner import LifeConfig
from mygo.data.datasets import load_digits
from mygo.data.images import with_channels
from mygo.data.tasks import Task
from mygo.errors import InputError
from mygo.files import MANIFEST
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life
from mygo.training.checkpoint import Checkpoint
from mygo.unknown.threshold import threshold_at

MANY = "x" * 300
"""A name that no file can have."""


@pytest.fixture(scope="module")
def out(tiny_life: LifeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run of two strategies: digits 0 to 4 as task 1, the others as task 2."""
    out = tmp_path_factory.mktemp("run") / "out"
    config = ExperimentConfig(
        num_tasks=2,
        class_order=tuple(range(10)),
        strategies=("mygo", "finetune"),
        life=dataclasses.replace(tiny_life, backbone="mlp"),
    )
    Experiment(config, out).run()
    return out


@pytest.fixture(scope="module")
def life(out: Path) -> Life:
    return Life.open(out / "life" / "mygo", pytest.fail)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A folder of six digits as PNG files, two of them in a folder of their own."""
    images = load_digits().test.inputs[::62]
    names = ["a.png", "b/one.png", "b/two.png", "c.png", "d.PNG", "e.png"]
    for name, image in zip(names, images, strict=True):
        path = tmp_path / "digits" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)
    return tmp_path / "digits"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def answers(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[list[dict], str]:
    """Return what ``predict --json`` prints to stdout and to stderr."""
    assert main(["predict", "--json", *map(str, argv)]) == 0
    printed = capsys.readouterr()
    return json.loads(printed.out), printed.err


def pixels_of(path: Path) -> Tensor:
    """Return a picture as uint8 [C, H, W]."""
    with Image.open(path) as picture:
        pixels = torch.from_numpy(np.array(picture))
    return pixels.movedim(2, 0) if pixels.dim() == 3 else pixels[None]


def content_of(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# -- the command as a whole -------------------------------------------------------------------------------------------


def test_help_names_every_command_without_importing_torch() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "mygo", "--help"]
    ended = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0
    assert all(f"• {name} " in ended.stdout for name in COMMANDS)
    assert "mygo.cli.registry" in ended.stderr
    assert "torch" not in ended.stderr


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "Missing subcommand"),
        (["sing"], "sing"),
        (["show"], "--life"),
        (["dream", "--life", "x", "--class", "a", "-n", "many", "out.png"], "many"),
    ],
)
def test_commands_and_flags_that_do_not_exist_or_parse_end_with_2(
    argv: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(argv)
    assert exited.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["show", "--life", "nowhere"], "nowhere is not there: name the folder of a life, or the --out of a run"),
        (["show", "--life", "empty"], "empty holds no life: name the folder of a life"),
        (["show", "--life", "text"], "text holds no life"),
        (["show", "--life", MANY], "File name too long"),
        (["show", "--life", "old"], "is not a life of schema 3: open it with the version of MyGO that wrote it"),
        (["report", "--life", "empty"], "empty holds no life"),
        (["report", "--life", MANY], "File name too long"),
        (["predict", "--life", "OUT"], "name files, or a folder of images"),
        (["predict", "--life", "OUT", "empty"], "There are no images in empty: name files, or a folder of images"),
        (["predict", "--life", "OUT", "text"], "first of 1 being text: not a picture of a format that is known: conv"),
        (["predict", "--life", "OUT", "nowhere.png", "text"], "first of 2 being nowhere.png: FileNotFoundError"),
        (["predict", "--life", "OUT", MANY], "File name too long"),
        (
            ["predict", "--life", "OUT", "grey.png", "text", "--task", "birds"],
            "no lesson 'birds': choose from 'task 1'",
        ),
        (["predict", "--life", "OUT", "grey.png", "--unknown-below", "1.5"], "--unknown-below must be from 0 to 1"),
        (["predict", "--life", "OUT", "grey.png", "--unknown-below", "nan"], "must be from 0 to 1, not nan"),
        (["predict", "--life", "OUT", "grey.png", "--unknown", "0"], "--unknown must be from 0.001 to 0.5, not 0.0"),
        (["predict", "--life", "OUT", "grey.png", "--unknown", "nan"], "must be from 0.001 to 0.5, not nan"),
        (
            ["predict", "--life", "OUT", "grey.png", "--unknown", "0.05", "--unknown-below", "0.5"],
            "--unknown and --unknown-below both say what is unknown: leave one of them out",
        ),
        (["predict", "--life", "untaught", "grey.png"], "learned no class yet: let it learn a task first"),
        (["dream", "--life", "OUT", "--class", "boot", "new.png"], "no class 'boot': choose from 0, 1, 2"),
        (["dream", "--life", "untaught", "--class", "boot", "new.png"], "learned no class yet"),
        (["dream", "--life", "OUT", "--class", "3", "-n", "0", "new.png"], "-n must be from 1 to 10000 dreams, not 0"),
        (["dream", "--life", "OUT", "--class", "3", "-n", "10001", "new.png"], "not 10001"),
        (["dream", "--life", "OUT", "--class", "3", "new.jpg"], "new.jpg is of no kind .* name a file in .png"),
        (["dream", "--life", "OUT", "--class", "3", "new.npz"], "dreams pictures, not vectors: name a file in .png"),
        (["dream", "--life", "OUT", "--class", "3", "nowhere/new.png"], "nowhere is not a folder that is there: make"),
        (["dream", "--life", "OUT", "--class", "3", "folder.png"], "folder.png is a folder: name a file"),
        (["dream", "--life", "OUT", "--class", "3", "/proc/new.png"], "/proc cannot be written to .* allow writing"),
        (["dream", "--life", "OUT", "--class", "3", f"{MANY}.png"], "File name too long"),
        (["export", "--life", "OUT", "new.txt"], "name a file in .onnx or .pt2"),
        (["export", "--life", "OUT", "text/new.onnx"], "text is not a folder that is there"),
        (["export", "--life", "untaught", "new.onnx"], "learned no class yet"),
        (["export", "--life", "untaught", "new.pt2"], "learned no class yet"),
        (["report", "--life", "untaught"], "has not finished its first task: come back when it has"),
    ],
)
def test_mistakes_get_one_sentence_and_2_and_nothing_is_written(
    out: Path,
    tiny_life: LifeConfig,
    argv: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("empty", "old", "folder.png"):
        (tmp_path / name).mkdir()
    (tmp_path / "text").write_text("no picture")
    (tmp_path / "old" / MANIFEST).write_text('{"schema": 1}')
    Image.new("L", (8, 8)).save(tmp_path / "grey.png")
    Life("mygo", tiny_life, (1, 8, 8), tmp_path / "untaught").save()
    monkeypatch.chdir(tmp_path)
    before = content_of(tmp_path) | content_of(out)
    assert main([str(out) if word == "OUT" else word for word in argv]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("mygo: ")
    assert printed.err.endswith(".\n")
    assert printed.err.count("\n") == 1
    assert re.search(complaint, printed.err), printed.err
    assert content_of(tmp_path) | content_of(out) == before


def test_the_life_of_a_run_is_found_and_others_are_named(out: Path, tmp_path: Path) -> None:
    own = out / "life" / "mygo"
    assert life_folder(own) == life_folder(out) == own
    assert life_folder(out / "life" / "finetune") == out / "life" / "finetune"
    for folder in (out / "life", shutil.copytree(out, tmp_path / "out")):
        shutil.rmtree(tmp_path / "out" / "life" / "mygo", ignore_errors=True)
        with pytest.raises(InputError, match=r"is not one life, but holds some: choose from \S+/life/finetune"):
            life_folder(folder)


# -- predict ----------------------------------------------------------------------------------------------------------


def test_images_are_answered_as_the_life_answers_them(
    out: Path, life: Life, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, told = answers(capsys, "--life", out, digits)
    assert told == ""
    assert [Path(answer["file"]) for answer in found] == [
        digits / name for name in ("a.png", "b/one.png", "b/two.png", "c.png", "d.PNG", "e.png")
    ]
    expected = life.predict(torch.stack([pixels_of(Path(answer["file"])) for answer in found]))
    assert [answer["class"] for answer in found] == expected.names
    rows = zip(found, expected.confidences, expected.probabilities, expected.out_of_distribution, strict=True)
    for answer, confidence, row, score in rows:
        fields = ["file", "class", "confidence", "probabilities", "unknown", "out_of_distribution"]
        assert list(answer) == fields
        assert answer["unknown"] is False
        assert answer["out_of_distribution"] == pytest.approx(float(score), abs=1e-4)
        assert list(answer["probabilities"]) == life.class_names
        assert answer["confidence"] == max(answer["probabilities"].values()) == pytest.approx(float(confidence))
        assert list(answer["probabilities"].values()) == pytest.approx(row.tolist())


def test_a_table_has_a_line_for_each_image_as_it_is_called(
    out: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = (digits / "a.png").rename(digits / "[red]\x1b[31m.png")
    assert main(["predict", "--life", str(out), str(odd), str(digits / "b"), str(digits / "c.png")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[0].rpartition("/")[2] for line in lines] == ["[red]\ufffd[31m.png", "one.png", "two.png", "c.png"]
    assert all(0 < float(line[2]) <= 1 for line in lines)


def test_with_a_task_its_classes_compete_alone(out: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = answers(capsys, "--life", out, digits, "--task", "task 2")
    assert all(list(answer["probabilities"]) == ["5", "6", "7", "8", "9"] for answer in found)


def test_what_the_life_is_not_sure_of_is_unknown(out: Path, digits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sure, _ = answers(capsys, "--life", out, digits)
    bound = sorted(answer["confidence"] for answer in sure)[3]
    found, _ = answers(capsys, "--life", out, digits, "--unknown-below", bound)
    for before, after in zip(sure, found, strict=True):
        is_known = before["confidence"] >= bound
        assert after == before | {"class": before["class"] if is_known else "unknown", "unknown": not is_known}


def test_what_looks_like_nothing_known_is_unknown_at_the_share_of_mistakes_that_is_asked_for(
    out: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sure, _ = answers(capsys, "--life", out, digits)
    life = Life.open(out / "life" / "mygo")
    for share in (0.05, 0.5):
        found, _ = answers(capsys, "--life", out, digits, "--unknown", share)
        bound = threshold_at(life.detector.thresholds, share)
        for before, after in zip(sure, found, strict=True):
            is_known = before["out_of_distribution"] <= bound
            assert after == before | {"class": before["class"] if is_known else "unknown", "unknown": not is_known}


def test_images_that_cannot_be_read_are_listed_and_left_out(
    out: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (digits / "c.png").write_bytes((digits / "c.png").read_bytes()[:40])
    (digits / "b" / "one.png").write_text("no picture")
    (digits / "notes.txt").write_text("passed over")
    found, told = answers(capsys, "--life", out, digits, digits / "e.png")
    assert [Path(answer["file"]).name for answer in found] == ["a.png", "two.png", "d.PNG", "e.png"]
    lines = told.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"mygo: Left out, since it cannot be read: {digits / 'b' / 'one.png'}: not a picture")
    assert str(digits / "c.png") in lines[1]


def test_sizes_and_channels_become_those_of_the_life(
    out: Path, life: Life, tiny_life: LifeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 20), (250, 10, 30)).save(tmp_path / "red.png")
    ((answer,), told) = answers(capsys, "--life", out, tmp_path / "red.png")
    assert "1 of 1 images were resized to 8 pixels across and 8 down." in told
    assert "1 of 1 images have colours and were turned grey." in told
    luma = round(0.299 * 250 + 0.587 * 10 + 0.114 * 30)
    expected = life.predict(torch.full((1, 1, 8, 8), luma, dtype=torch.uint8))
    assert list(answer["probabilities"].values()) == pytest.approx(expected.probabilities[0].tolist())

    sees_colours = Life("mygo", tiny_life, (3, 12, 8), tmp_path / "life")
    sees_colours.begin(Task(0, (0, 1), ("a", "b")))
    sees_colours.save()
    Image.new("L", (8, 12), 77).save(tmp_path / "grey.png")
    ((answer,), told) = answers(capsys, "--life", tmp_path / "life", tmp_path / "grey.png")
    assert told == "mygo: 1 of 1 images are grey and got 3 equal channels.\n"
    expected = sees_colours.predict(torch.full((1, 3, 12, 8), 77, dtype=torch.uint8))
    assert list(answer["probabilities"].values()) == pytest.approx(expected.probabilities[0].tolist())


def test_an_image_that_has_the_channels_stays_as_it_is() -> None:
    for channels in (1, 3):
        pixels = torch.randint(0, 256, (channels, 5, 4), dtype=torch.uint8).numpy()
        assert (with_channels(pixels, channels) == pixels).all()


# -- show -------------------------------------------------------------------------------------------------------------


def shown(capsys: pytest.CaptureFixture[str], folder: Path) -> tuple[dict, str]:
    """Return what ``show`` prints as JSON and for a person."""
    printed = []
    for flags in (["--json"], []):
        assert main(["show", "--life", str(folder), *flags]) == 0
        printed.append(capsys.readouterr().out)
    return json.loads(printed[0]), printed[1]


def test_a_life_shows_what_it_learned_and_what_it_keeps(
    out: Path, life: Life, capsys: pytest.CaptureFixture[str]
) -> None:
    facts, text = shown(capsys, out)
    assert facts["folder"] == str(out / "life" / "mygo")
    assert (facts["strategy"], facts["backbone"], facts["image_shape"]) == ("mygo", "mlp", [1, 8, 8])
    assert (facts["encoder"], facts["input_shape"]) == (None, [1, 8, 8])
    assert facts["stream"] == "digits: 0,1,2,3,4 5,6,7,8,9"
    assert facts["unfinished"] is None
    assert facts["memory_bytes"] == life.memory_bytes == sum(task["memory_bytes"] for task in facts["tasks"])
    assert facts["replaced_data_bytes"] == sum(task["images"] for task in facts["tasks"]) * 64
    assert [task["name"] for task in facts["tasks"]] == ["task 1", "task 2"]
    for index, task in enumerate(facts["tasks"]):
        assert task["classes"] == [str(5 * index + label) for label in range(5)]
        assert task["learned"] == life.lessons[index].learned
        assert task["class_il"] == life.record.class_il[-1][index]
        assert task["task_il"] == life.record.task_il[-1][index]
        row = next(line for line in text.splitlines() if f" {task['name']} " in line)
        for part in (", ".join(task["classes"]), f"{task['class_il']:.3f}", filesize.decimal(task["memory_bytes"])):
            assert part in row
    each = round(life.memory_bytes / 10)
    assert facts["memory_bytes_per_class"] == each
    assert f"keeps {life.memory_bytes:,} bytes to remember with ({each:,} a class), in place of {64 * 1433:,}" in text
    assert "8 × 8 pixels in grey" in text
    assert "in the middle" not in text


def test_only_the_newest_tasks_of_a_life_are_shown_to_who_asks_for_these(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = out / "life" / "mygo"
    assert main(["show", "--life", str(folder), "--newest", "1"]) == 0
    text = capsys.readouterr().out
    assert " task 2 " in text
    assert " task 1 " not in text
    assert f"1 more, begun before, are shown by: python -m mygo show --life {folder}" in " ".join(text.split())
    assert main(["show", "--life", str(folder), "--newest", "1", "--json"]) == 0
    assert [task["name"] for task in json.loads(capsys.readouterr().out)["tasks"]] == ["task 2"]
    assert main(["show", "--life", str(folder), "--newest", "0"]) == 2


def test_a_life_in_the_middle_of_a_task_shows_how_far_it_came(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(out / "life" / "mygo", tmp_path / "life")
    life = Life.open(folder, pytest.fail)
    life.keep_checkpoint(Checkpoint("learn", 0, 5, 0.5, {"weight": torch.zeros(2)}))
    facts, text = shown(capsys, folder)
    assert facts["unfinished"] == {"task": "task 3", "phases_done": [], "interrupted": "learn", "steps_done": 5}
    assert "It is in the middle of task 3, learn interrupted after 5 steps." in text

    life.begin(Task(2, (0, 1), ("boot", "[b]bag")))
    life.phases_done = ["learn", "adapt"]
    life.save()
    facts, text = shown(capsys, folder)
    expected = {"task": "task 3", "phases_done": ["learn", "adapt"], "interrupted": None, "steps_done": None}
    assert facts["unfinished"] == expected
    newest = facts["tasks"][2]
    assert (newest["learned"], newest["class_il"], newest["task_il"], newest["memory_bytes"]) == (None, None, None, 0)
    assert "boot, [b]bag" in text
    assert "not yet" in text
    assert "It is in the middle of task 3, learn done, adapt done." in text


def test_a_life_that_has_learned_nothing_says_so(
    tiny_life: LifeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Life("mygo", tiny_life, (3, 8, 8), tmp_path).save()
    facts, text = shown(capsys, tmp_path)
    assert facts["tasks"] == []
    assert "8 × 8 pixels in colour" in text
    assert "It has learned nothing yet." in text


def test_a_damaged_state_is_told_and_the_one_before_shown(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(out / "life" / "mygo", tmp_path / "life")
    (folder / MANIFEST).write_text("{")
    assert main(["show", "--life", str(folder)]) == 0
    printed = capsys.readouterr()
    assert "in the middle of task 2" in printed.out
    assert "manifest.json is damaged" in printed.err
    assert "The state before it is used instead." in printed.err


# -- dream, export and report -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (10, 4, 3), (64, 8, 8)])
def test_dreams_become_a_square_of_pictures(
    out: Path,
    life: Life,
    tmp_path: Path,
    count: int,
    columns: int,
    rows: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "dreams.png"
    assert main(["dream", "--life", str(out), "--class", "7", "-n", str(count), "--seed", "5", str(path)]) == 0
    assert capsys.readouterr().out == f"Dreams of 7: {path}\n"
    assert list(tmp_path.iterdir()) == [path]
    grid = pixels_of(path)
    margin = 0 if count == 1 else 1
    side = 8 + margin
    assert grid.shape == (3, rows * side + margin, columns * side + margin)
    for index, dream in enumerate(life.dream("7", count, seed=5)):
        top, left = index // columns * side + margin, index % columns * side + margin
        assert torch.equal(grid[:, top : top + 8, left : left + 8], dream.expand(3, -1, -1))


def test_a_life_is_exported_with_the_names_of_its_classes(
    out: Path, life: Life, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("life.onnx", "life.pt2"):
        assert main(["export", "--life", str(out), str(tmp_path / name)]) == 0
        assert capsys.readouterr().out == f"Model of 10 classes: {tmp_path / name}\n"
    metadata = onnxruntime.InferenceSession(tmp_path / "life.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == life.class_names
    names = {"class_names": ""}
    torch.export.load(tmp_path / "life.pt2", extra_files=names)
    assert json.loads(names["class_names"]) == life.class_names
    assert {path.name for path in tmp_path.iterdir()} == {"life.onnx", "life.pt2"}


def test_a_missing_package_is_named(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "--life", str(out), str(tmp_path / "life.onnx")]) == 2
    assert "mygo: ONNX needs the package onnx, which is not installed: pip install" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_and_a_life_have_a_report(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = shutil.copytree(out, tmp_path / "out")
    for given, written in ((run, run), (run / "life" / "mygo", run / "life" / "mygo")):
        assert main(["report", "--life", str(given)]) == 0
        assert capsys.readouterr().out == f"Report: {written / 'report.html'}\n"
        assert ("finetune" in (written / "report.html").read_text()) == (written == run)
    (run / "results.json").unlink()  # a run that has not ended
    assert main(["report", "--life", str(run)]) == 0
    assert capsys.readouterr().out == f"Report: {run / 'life' / 'mygo' / 'report.html'}\n"


# -- the library ------------------------------------------------------------------------------------------------------


def test_the_library_imports_what_is_asked_for_when_it_is_asked_for() -> None:
    from mygo import Life as ByName

    assert ByName is Life
    assert not hasattr(mygo, "Death")
    code = "import mygo, sys; sys.exit('torch' in sys.modules or mygo.__version__ == '')"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
