"""Whatever is given as flags, of any command: it is taken, or refused with exit code 2 before anything starts.

The flags are those that the commands' own --help shows, so a new one is tried without being named here.
"""

import contextlib
import io
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import distributed.cluster.session
import distributed.command
import distributed.learn
import distributed.run
import mygo.__main__
import tune.sweep
from mygo.baselines.registry import STRATEGIES
from mygo.cli.commands.predict import Predict
from mygo.cli.registry import COMMANDS as COMMANDS_OF_MYGO
from mygo.config.learner import LifeConfig
from mygo.data.datasets import DATASETS
from mygo.errors import InputError
from mygo.reporting.terminal import exit_code_of


class Reached(BaseException):
    """All checks were passed: from here on, something would be started."""


@dataclass(frozen=True)
class Command:
    main: Callable[[list[str]], int]
    words: tuple[str, ...] = ()
    """What has to be there besides flags."""


USE = mygo.__main__.main
COMMANDS = {
    "run.py": Command(distributed.run.main),
    "run.py learn": Command(distributed.run.main, ("learn", "--life", "life", "--data", "data")),
    "sweep.py": Command(tune.sweep.main),
    "predict": Command(USE, ("predict", "--life", "life", "image.png")),
    "predict --url": Command(USE, ("predict", "--url", "http://127.0.0.1:1", "image.png")),
    "show": Command(USE, ("show", "--life", "life")),
    "dream": Command(USE, ("dream", "--life", "life", "--class", "robin", "out.png")),
    "export": Command(USE, ("export", "--life", "life", "out.onnx")),
    "report": Command(USE, ("report", "--life", "life")),
    "forget": Command(USE, ("forget", "--life", "life", "--class", "robin")),
    "merge": Command(USE, ("merge", "life", "life", "--out", "merged")),
    "pack": Command(USE, ("pack", "--life", "life", "out.mygo")),
    "drift": Command(USE, ("drift", "--life", "life", "image.png")),
    "suggest": Command(USE, ("suggest", "--life", "life", "image.png")),
}


@pytest.mark.parametrize("registry", [DATASETS, STRATEGIES], ids=["data sets", "strategies"])
def test_what_is_known_by_name_is_named_in_the_help_and_in_the_table_of_flags(
    registry: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        distributed.run.main(["--help"])
    told = set(re.findall(r"[\w-]+", capsys.readouterr().out))
    written = (Path(__file__).resolve().parent.parent / "docs" / "flags.md").read_text()
    assert [name for name in registry if name not in told or f"`{name}`" not in written] == []


def reach(*_: object, **__: object) -> None:
    raise Reached


@pytest.fixture(autouse=True, scope="module")
def nothing_starts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Let no command go beyond its checks, in an empty folder."""
    folder = tmp_path_factory.mktemp("here")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COLUMNS", "80")
        patch.setenv("RAY_ADDRESS", "127.0.0.1:1")
        for module in (distributed.run, distributed.learn):
            patch.setattr(module, "run_job_on_ray", reach)
        patch.setattr(distributed.run, "run_on_cluster", reach)
        patch.setattr(distributed.cluster.session, "ray_session", reach)
        patch.setattr("mygo.jobs.experiment.Experiment.check_data", lambda _: None)  # or some would be downloaded
        patch.setattr("mygo.jobs.lesson.Lesson.check", reach)
        for command in COMMANDS_OF_MYGO.values():
            patch.setattr(command, "run", reach)
        patch.setattr("signal.signal", lambda *_: None)
        yield folder


def outcome(name: str, *flags: str) -> tuple[int | str | None, str, str]:
    """Return the exit code of a command with ``flags``, or "reached", and what it printed to stdout and stderr."""
    command, out, err = COMMANDS[name], io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: int | str | None = command.main([*command.words, *flags])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        except Reached:
            code = "reached"
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def flags(nothing_starts: Path) -> dict[str, dict[str, str]]:
    """For each command its flags, and what they take: INT, FLOAT, STR, PATH, choices, or nothing."""
    found = {}
    for name in COMMANDS:
        code, shown, _ = outcome(name, "--help")
        assert code == 0
        lines = re.findall(r"^[│ ] ?(?:-\w[ \w]*, )?(--[a-z][a-z.-]*) ?(\S*)", shown, re.MULTILINE)
        found[name] = {flag: kind for flag, kind in lines if flag != "--help"}
    assert {"--wake.lr", "--memory.gan.steps", "--num-dreamers", "--out"} <= found["run.py"].keys()
    assert {"--held-out", "--name", "--sleep.steps"} <= found["run.py learn"].keys()
    assert {"--finalist-seeds", "--time-budget"} <= found["sweep.py"].keys()
    assert {"--count", "--seed", "--class"} <= found["dream"].keys()
    return found


def numbers_among(kinds: dict[str, str]) -> list[str]:
    """Return the flags that take a number."""
    return [flag for flag, kind in kinds.items() if re.search(r"INT|FLOAT|^P$", kind)] + [
        flag
        for flag in kinds
        if flag == "--num-workers"  # which may be a range
    ]


def test_every_number_out_of_range_is_refused_by_its_name(flags: dict[str, dict[str, str]]) -> None:
    tried = 0
    for name, kinds in flags.items():
        for flag in numbers_among(kinds):
            for value in ("nan", "inf", "-inf", "-1", str(-(10**30)), "1e30", str(10**30), "9" * 5000):
                code, out, err = outcome(name, flag, value)
                assert code == 2, f"{name} {flag} {value[:40]}: {code} {err[-300:]}"
                assert out == ""
                assert flag in err or flag == "--count", err  # which is also -n
                assert "Traceback" not in err
                tried += 1
    assert tried > 8 * 60


def test_zero_is_refused_where_something_has_to_be_done(flags: dict[str, dict[str, str]]) -> None:
    at_least_one = re.compile(
        r"steps|batch|\blr|-lr|width|dim|workers|dreamers|samples|temperature|attempts|held|count"
    )
    for name, kinds in flags.items():
        for flag in numbers_among(kinds):
            code, _, err = outcome(name, flag, "0")
            assert code in ((2,) if at_least_one.search(flag) else (2, "reached")), f"{name} {flag}: {code} {err}"


def test_what_is_called_none_or_auto_or_a_number_is_called_so(flags: dict[str, dict[str, str]]) -> None:
    for word in ("None", "auto", "3", "true"):
        assert mygo.__main__.parse(["predict", "--life", word, "--task", word, word]) == Predict(
            inputs=(word,), life=Path(word), task=word
        )
        dream = mygo.__main__.parse(["dream", "--life", "life", "--class", word, "a.png"])
        assert dream.class_name == word
        lesson = distributed.learn.parse(["--life", word, "--data", word, "--name", word])
        assert (lesson.folder, lesson.data, lesson.name) == (Path(word), [word], word)
    run = distributed.run.parse(["--out", "None", "--memory-cache", "None", "--cluster", "None", "--attach", "None"])
    assert (run.out, run.memory_cache, run.cluster, run.attach) == (Path("None"),) * 3 + ("None",)
    sweep = tune.sweep.parse(["--out", "None", "--memory-cache", "None"])
    assert (sweep.out, sweep.memory_cache) == (Path("None"),) * 2


ODD = (
    *(
        "nan",
        "inf",
        "-inf",
        "-1",
        "0",
        "1",
        "1e999",
        "-0.0",
        "1e-400",
        "9" * 30,
        "0x10",
        "1_000",
        "٣",
        "½",
        "1:4",
        "5:1",
    ),
    *(
        "",
        " ",
        "-",
        "--",
        "-n",
        "None",
        "auto",
        "True",
        "[]",
        "{}",
        "猫",
        "👨‍👩‍👧",
        "e\u0301",
        "\udce9",
        "\x1b[2J\x1b]0;x\x07",
    ),
    *(
        "x" * 300,
        "a/" * 3000,
        "..",
        "~",
        "a\nb",
        "a\rb",
        "%s%n",
        "{0.__class__}",
        "[bold]",
        "$x$",
        "mygo,mygo",
        "0,1,2",
    ),
)
VALUES = (
    st.sampled_from(ODD)
    | st.integers().map(str)
    | st.floats().map(str)
    | st.text(st.characters(exclude_characters="\0"), max_size=8)
)


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_flags_are_taken_or_refused_without_a_traceback(
    flags: dict[str, dict[str, str]], nothing_starts: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(list(COMMANDS)), label="command")
    words: list[str] = []
    for _ in range(data.draw(st.integers(1, 4))):
        flag = data.draw(st.sampled_from([*flags[name], "--help", "--nonsense", ""]))
        value = data.draw(VALUES)
        words += data.draw(st.sampled_from([[flag, value], [f"{flag}={value}"], [flag], [value]]))
    code, out, err = outcome(name, *words)
    assert code in (0, 2, "reached"), f"{name} {words}: {code} {err}"
    assert "Traceback" not in out + err
    assert (code == 2) == bool(err), f"{name} {words}: {code} {err}"
    assert list(nothing_starts.iterdir()) == []


def test_a_traceback_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed.run, "parse", lambda argv: 1 / 0)
    code, _, err = outcome("run.py")
    assert code == 1
    assert "ZeroDivisionError" in err


# -- the Python API ---------------------------------------------------------------------------------------------------


def configs_in(config: Any) -> Iterator[Any]:
    """Yield ``config`` and all configurations within it."""
    yield config
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            yield from configs_in(value)


def test_a_configuration_refuses_numbers_out_of_range_and_of_other_types() -> None:
    tried = 0
    for config in configs_in(LifeConfig()):
        hints = get_type_hints(type(config))
        for name in [name for name, hint in hints.items() if hint in (int, float, float | None)]:
            whole = hints[name] is int
            bad = [math.nan, math.inf, -math.inf, -1, 10**30, True, "3", [1], *([1.5] if whole else [])]
            for value in bad:
                with pytest.raises(InputError, match=name.replace("_", "-")):
                    replace(config, **{name: value})
                tried += 1
    assert tried > 200


def test_an_error_of_a_folder_that_cannot_be_used_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(lambda: Path("x" * 300).stat(), "mygo") == 2  # type: ignore[arg-type,return-value]
    err = capsys.readouterr().err
    assert err.startswith("mygo: xxx")
    assert "File name too long" in err
    assert err.count("\n") == 1
