"""Output goes where it is sent, whatever is there, and names are no orders to the terminal: of every command."""

import os
import pty
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
import torch

from mygo import extras
from mygo.config.learner import LifeConfig
from mygo.data.examples import Examples
from mygo.extras import EXTRAS, how_to_install
from mygo.jobs.life import Life
from mygo.reporting.console import new_console, plain
from mygo.reporting.terminal import CLOSED_PIPE, Sink, printable

REPOSITORY = Path(__file__).resolve().parent.parent
FULL = Path("/dev/full")
ORDER = "\x1b[2J\x1b]0;owned\x07"
"""Clears a screen and names a window."""

RUN = ["distributed/run.py"]
USE = ["-m", "mygo"]
HELP = [[*RUN, "--help"], [*RUN, "learn", "--help"], ["tune/sweep.py", "--help"], [*USE, "--help"]]


@pytest.fixture(scope="module")
def life(tiny_life: LifeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a life that learned a robin and a wren, and something with an order in its name."""
    folder = tmp_path_factory.mktemp("life") / f"life{ORDER}"
    images = torch.randint(0, 256, (60, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    names = ("robin", "wren", f"猫 é{ORDER}")

    class Birds(torch.utils.data.Dataset):  # type: ignore[type-arg]
        classes = names
        pairs = Examples(images, torch.arange(60) % 3)

        def __len__(self) -> int:
            return 60

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return self.pairs.inputs[index], int(self.pairs.labels[index])

    Life.create((1, 8, 8), folder, tiny_life).learn(Birds(), f"birds{ORDER}")
    return folder


def command(argv: Sequence[object], **options: object) -> "subprocess.CompletedProcess[str]":
    """Run Python with ``argv`` in the repository; ``options`` of `subprocess.run`, and variables of the environment."""
    environment = {name: str(options.pop(name)) for name in list(options) if name.isupper()}
    env = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1", **environment}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    words = [sys.executable, *map(str, argv)]
    return subprocess.run(words, cwd=REPOSITORY, env=env, text=True, errors="replace", timeout=120, **streams)  # type: ignore[call-overload,no-any-return]


# -- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", HELP, ids=" ".join)
def test_help_goes_anywhere(argv: list[str]) -> None:
    done = command(argv, PYTHONIOENCODING="ascii", COLUMNS="0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "show this help message" in done.stdout
    with FULL.open("w") as full:
        done = command(argv, stdout=full)
    assert done.returncode == 1
    assert done.stderr.endswith(
        "The output cannot be written (No space left on device): send it to where there is room.\n"
    )
    assert done.stderr.count("\n") == 1
    reader, writer = os.pipe()
    os.close(reader)
    done = command(argv, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


@pytest.mark.parametrize(
    "variables",
    [
        {"COLUMNS": "0", "TERM": "dumb", "PYTHONIOENCODING": "utf-8:surrogateescape"},
        {"COLUMNS": "²", "LC_ALL": "C", "LANG": "C"},
        {"COLUMNS": "9" * 30, "LINES": "0", "PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "1"},
        {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"},
    ],
    ids=str,
)
def test_a_life_is_shown_on_any_terminal(life: Path, variables: dict[str, str]) -> None:
    done = command([*USE, "show", "--life", life], **variables)
    assert (done.returncode, done.stderr) == (0, "")
    letters = "".join(done.stdout.split())
    assert "robin" in letters or variables.get("COLUMNS") == "1"
    assert ORDER not in done.stdout
    assert "\x1b" not in done.stdout or "FORCE_COLOR" in variables


def test_streams_that_are_closed_or_take_nothing_change_no_exit_code(life: Path, tmp_path: Path) -> None:
    shell = f"{sys.executable} -m mygo"
    with FULL.open("w") as full:
        for wrong, code in ((["show", "--life", "nowhere"], 2), (["sing"], 2), (["show", "--life", str(life)], 0)):
            assert command([*USE, *wrong], stderr=full).returncode == code, wrong
            for closed in (">&-", "<&- >&- 2>&-"):
                words = ["bash", "-c", f'{shell} "$@" {closed}', "_", *wrong]
                done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
                assert done.returncode == code, (wrong, closed)
                assert "Traceback" not in done.stderr + done.stdout
        with FULL.open("w") as another:
            done = command([*USE, "report", "--life", life], stdout=full, stderr=another)
    assert done.returncode == 1  # nobody could be told
    assert (life / "report.html").exists()  # but the work was done


def test_a_pipe_that_does_not_wait_gets_everything(life: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    text = "x" * 1_000_000
    code = (
        "from mygo.reporting.terminal import exit_code_of; "
        "raise SystemExit(exit_code_of(lambda: print('x' * 1_000_000), 'x'))"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=writer) as process:
        os.close(writer)
        with os.fdopen(reader, "rb") as pipe:
            assert pipe.read().decode() == text + "\n"
        assert process.wait() == 0


def test_what_is_printed_through_python_and_through_rich_keeps_its_order(tmp_path: Path) -> None:
    code = (
        "from mygo.reporting.terminal import exit_code_of; from mygo.reporting.console import new_console\n"
        "def command():\n"
        "    console = new_console()\n"
        "    for number in range(3):\n"
        "        print('python', number)\n"
        "        console.print('rich', number)\n"
        "raise SystemExit(exit_code_of(command, 'x'))"
    )
    done = command(["-c", code])
    assert done.stdout.split() == [word for number in "012" for word in ("python", number, "rich", number)]


@pytest.mark.parametrize(
    ("words", "package", "extra"),
    [
        ([*RUN, "--dataset", "digits"], "ray", "ray"),
        (["tune/sweep.py", "--dataset", "digits"], "ray", "ray"),
        (["distributed/serve.py", "--life", "LIFE"], "starlette", "serve"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_extra_that_brings_it(
    life: Path, words: list[str], package: str, extra: str
) -> None:
    words = [str(life) if word == "LIFE" else word for word in words]
    code = (
        "import runpy, sys\n"
        f"sys.modules[{package!r}], sys.argv = None, {words!r}\n"
        f"runpy.run_path({words[0]!r}, run_name='__main__')"
    )
    done = command(["-c", code])
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert said.endswith(f": The package {package} is not installed: {how_to_install(extra)}.")


def test_every_extra_that_is_named_is_there() -> None:
    assert set(EXTRAS.values()) <= set(metadata("mygo").get_all("Provides-Extra", []))


def test_another_project_of_that_name_is_never_recommended(monkeypatch: pytest.MonkeyPatch) -> None:
    assert how_to_install("serve") == "pip install 'mygo[serve]'"

    def unknown(name: str) -> object:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "distribution", unknown)
    assert how_to_install("serve") == "pip install -e '.[serve]' in the folder of MyGO"


def test_a_sink_that_failed_takes_the_rest_silently() -> None:
    with FULL.open("w") as full:
        sink = Sink(full.fileno())
        assert [sink.write(b"one"), sink.write(b"two")] == [3, 3]
    assert sink.failure is not None
    assert sink.failure.strerror == "No space left on device"


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("猫 é e\u0301 ß", "猫 é e\u0301 ß"),
        ("Screenshot 1.00\u202fPM, 東京\u3000駅", "Screenshot 1.00\u202fPM, 東京\u3000駅"),
        ("👨‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿 می‌خواهم", "👨‍👩‍👧 🏴󠁧󠁢󠁳󠁣󠁴󠁿 می‌خواهم"),
        ("a\x1b[31m", "a\ufffd[31m"),
        ("a\nb\rc\td", "a\ufffdb\ufffdc\ufffdd"),
        ("\x9b2J\x7f\udce9", "\ufffd2J\ufffd\ufffd"),
        ("\u202egnp.exe", "\ufffdgnp.exe"),
        ("\u2028\u2029\ufeff", "\ufffd\ufffd\ufffd"),
    ],
)
def test_a_name_keeps_its_letters_and_loses_its_orders(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert plain(text).plain == shown


def on_a_terminal(argv: Sequence[object]) -> str:
    """Return what Python with ``argv`` writes to a terminal, on stdout and stderr."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "RAY_ADDRESS": "127.0.0.1:1"}
    words = [sys.executable, *map(str, argv)]
    with subprocess.Popen(words, cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 10_000)
            except OSError:  # how Linux says that nobody has the terminal open any more
                break
            if not part:
                break
            shown += part
        process.wait(timeout=120)
    os.close(ours)
    return shown.decode()


def test_no_command_sends_a_name_s_orders_to_a_terminal(life: Path, tmp_path: Path) -> None:
    picture = tmp_path / f"bad{ORDER}.png"
    picture.write_text("x")
    latin = tmp_path / os.fsdecode(b"caf\xe9.png")
    latin.write_text("x")
    good = tmp_path / "good.png"
    from PIL import Image

    Image.new("L", (8, 8)).save(good)
    data = tmp_path / "data"
    for name in ("a", "b", f"c{ORDER}"):
        (data / name).mkdir(parents=True)
        for index in range(14):
            Image.new("L", (8, 8), index).save(data / name / f"{index}{ORDER}.png")
        (data / name / f"bad{ORDER}.png").write_text("x")
    shown = [
        on_a_terminal(argv)
        for argv in (
            [*USE, "show", "--life", life],
            [*USE, "predict", "--life", life, picture, latin, good],
            [*USE, "predict", "--life", life, good, "--task", f"x{ORDER}"],
            [*USE, "dream", "--life", life, "--class", f"猫 é{ORDER}", tmp_path / f"out{ORDER}.png"],
            [*USE, "export", "--life", life, tmp_path / f"out{ORDER}.txt"],
            [*USE, f"sing{ORDER}"],
            [*USE, "dream", "--life", life, "--class", "robin", "-n", f"1{ORDER}", "out.png"],
            [*RUN, f"--nonsense{ORDER}"],
            [*RUN, "--class-order", f"1{ORDER}"],
            [*RUN, "--out", tmp_path / f"out{ORDER}"],
            [*RUN, "learn", "--life", tmp_path / f"new{ORDER}", "--data", data],
            [*RUN, "learn", "--life", tmp_path / f"new{ORDER}", "--help"],
            ["tune/sweep.py", "--only", f"x{ORDER}"],
        )
    ]
    for text in shown:
        assert text.strip()
        assert "Traceback" not in text
        for part in ("\x1b[2J", "\x1b]", "\x07"):
            assert part not in text, repr(text)
    assert "caf\ufffd.png" in shown[1].replace("\r\n", "")
    assert "good.png" in shown[1]
    assert list(tmp_path.glob("out*.png"))


def test_a_console_of_its_own_sends_colours_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    new_console().print(f"[b]one{ORDER}", f"two{ORDER}")
    printed = capsys.readouterr().out
    assert printed.startswith("one\ufffd[2J\ufffd]0;owned")
    assert not {"\x1b", "\x07"} & set(printed)
