"""Dockerfile: what hadolint says of it, and that what it names is there."""

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from distributed.serving.settings import ServeArguments
from mygo.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCKERFILE = REPOSITORY / "Dockerfile"
PROJECT = (REPOSITORY / "pyproject.toml").read_text()
HADOLINT = Path(sys.executable).parent / "hadolint"


def extras() -> set[str]:
    """Return the names of the extras in pyproject.toml."""
    (section,) = re.findall(r"^\[project\.optional-dependencies\]\n(.*?)^\[", PROJECT, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^(\w+) = \[", section, re.MULTILINE))


def lint(content: str) -> list[str]:
    """Return the rules that ``content`` breaks."""
    command = [str(HADOLINT), "--no-color", "--format", "json", "-"]
    done = subprocess.run(command, input=content, capture_output=True, text=True, timeout=60)
    return [found["code"] for found in json.loads(done.stdout)]


def instructions(name: str) -> list[str]:
    """Return what stands after each instruction of this ``name``; lines that go on are one."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    return re.findall(rf"^{name} (.+)$", text, re.MULTILINE)


def test_hadolint_finds_nothing() -> None:
    assert lint(DOCKERFILE.read_text()) == []


def test_hadolint_would_find_what_is_careless() -> None:
    careless = "FROM python:latest\nRUN pip install torch | cat\nCOPY . .\nUSER root\nCMD python serve.py\n"
    assert {"DL3007", "DL3013", "DL3042", "DL4006", "DL3002"} <= set(lint(careless))


def test_the_base_is_one_version_of_a_python_that_is_admitted() -> None:
    (base,) = instructions("FROM")
    found = re.fullmatch(r"python:(\d+\.\d+\.\d+)-slim-[a-z]+", base)
    assert found, base
    (admitted,) = re.findall(r'^requires-python = "(.+)"$', PROJECT, re.MULTILINE)
    assert found[1] in SpecifierSet(admitted)


def test_packages_are_those_of_the_constraints_and_of_extras_that_there_are() -> None:
    (install,) = [line for line in instructions("RUN") if "pip" in line]
    assert "--constraint constraints.txt" in install
    assert not re.search(r"https?://|index-url|--trusted", install)
    (default,) = re.findall(r"^EXTRAS=(.+)$", "\n".join(instructions("ARG")), re.MULTILINE)
    assert {"ray", "serve"} <= set(default.split(","))
    for page in ("Dockerfile", "docs/kubernetes.md"):
        for named in re.findall(r"EXTRAS=([\w,]+)", (REPOSITORY / page).read_text()):
            assert set(named.split(",")) <= extras()


def test_all_of_our_code_goes_in_and_nothing_else_is_sent_to_the_builder() -> None:
    copied = {source for line in instructions("COPY") for source in line.split()[:-1]}
    assert {"mygo", "distributed", "tune", "pyproject.toml", "constraints.txt"} <= copied
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    assert sent == {source.split("/")[0] for source in copied}
    for source in copied:
        assert (REPOSITORY / source).exists(), source
    assert any(fnmatch.fnmatch("mygo/__pycache__", rule) for rule in rules[1:])


def test_it_runs_as_nobody_s_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", instructions("USER")[-1])
    last = [line.split()[0] for line in DOCKERFILE.read_text().splitlines() if re.match(r"[A-Z]+ ", line)]
    assert "RUN" not in last[last.index("USER") :]


def test_its_command_is_the_service_and_is_refused_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    python, script, *flags = json.loads(instructions("CMD")[-1])
    assert python == "python"
    assert (REPOSITORY / script).exists()
    arguments = ServeArguments.parse(flags)
    arguments.check()
    assert str(arguments.port) == instructions("EXPOSE")[-1]
    monkeypatch.delenv("MYGO_TOKEN", raising=False)
    with pytest.raises(InputError, match="MYGO_TOKEN"):
        arguments.access()
