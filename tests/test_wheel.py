"""What is installed is `mygo` alone, with its command, so that Dask's package `distributed` can stand beside it."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import mygo

REPOSITORY = Path(__file__).resolve().parent.parent
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


def run(*command: object, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, **variables}
    return subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the wheel is made of, and of what must stay out of it, with a sub-package besides."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    for name in ("mygo", "distributed", "tune", "benchmarks", "examples"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
    (copy / "mygo" / "within").mkdir()
    (copy / "mygo" / "within" / "__init__.py").write_text("")
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = run(
        *PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("site")
    done = run(*PIP, "install", "--no-deps", "--no-index", "--target", folder, wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_mygo_whole_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"mygo", f"mygo-{mygo.__version__}.dist-info"}
    modules = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "mygo").rglob("*.py")}
    held = {name for name in names if name.startswith("mygo/")}
    templates = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "mygo").glob("reporting/templates/*")}
    assert "mygo/reporting/templates/report.html" in templates
    assert held == modules | templates | {"mygo/py.typed", "mygo/within/__init__.py"}
    assert any(name.endswith("LICENSE") for name in names)


def test_a_wheel_can_be_made_of_the_source_archive(source: Path, tmp_path: Path) -> None:
    code = f"from setuptools.build_meta import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    done = run(sys.executable, "-c", code, cwd=source)
    assert done.returncode == 0, done.stderr
    with tarfile.open(tmp_path / done.stdout.split()[-1]) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "mygo/py.typed", "mygo/__main__.py"} <= names
    assert "mygo/reporting/templates/style.css" in names
    assert not [name for name in names if name.startswith(("distributed", "tune", "benchmarks"))]


def check_beside(site: Path, folder: Path, what: str) -> None:
    """Make sure that the command runs, and that ``distributed`` is ``what`` lies in ``site``, seen from ``folder``."""
    helped = run(site / "bin" / "mygo", "--help", cwd=folder, PYTHONPATH=str(site))
    assert (helped.returncode, helped.stderr) == (0, "")
    same = run(sys.executable, "-m", "mygo", "--help", cwd=folder, PYTHONPATH=str(site))
    assert helped.stdout == same.stdout
    refused = run(site / "bin" / "mygo", "show", "--life", "nowhere", cwd=folder, PYTHONPATH=str(site))
    assert refused.returncode == 2
    assert refused.stderr.startswith("mygo: nowhere is not there")
    code = f"import distributed, mygo; print({what}); print(distributed.__file__); print(mygo.__file__)"
    done = run(sys.executable, "-c", code, cwd=folder, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    own, *files = done.stdout.split()
    assert own == "Client"
    assert files == [str(site / name / "__init__.py") for name in ("distributed", "mygo")]


def test_the_command_runs_beside_another_package_called_distributed(site: Path, tmp_path: Path) -> None:
    there = shutil.copytree(site, tmp_path / "site")
    (there / "distributed").mkdir()
    (there / "distributed" / "__init__.py").write_text("class Client: ...\n")
    check_beside(there, tmp_path, "distributed.Client.__name__")


def test_the_command_runs_beside_dask_s_distributed(site: Path, tmp_path: Path) -> None:
    there = shutil.copytree(site, tmp_path / "site")
    done = run(*PIP, "install", "--target", there, "--no-warn-conflicts", "distributed==2025.1.0", cwd=tmp_path)
    if done.returncode:
        pytest.skip(f"needs a package index: {done.stderr.strip().splitlines()[-1]}")
    check_beside(there, tmp_path, "distributed.Client.__name__")


def test_the_repository_s_commands_run_where_only_the_wheel_is_installed(site: Path, tmp_path: Path) -> None:
    (tmp_path / "distributed").mkdir()
    (tmp_path / "distributed" / "__init__.py").write_text("raise SystemExit('Dask')\n")
    for script in ("distributed/run.py", "tune/sweep.py"):
        path = f"{tmp_path}{os.pathsep}{site}"
        done = run(sys.executable, REPOSITORY / script, "--help", cwd=tmp_path, PYTHONPATH=path)
        assert (done.returncode, done.stderr) == (0, ""), script
