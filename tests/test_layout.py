"""Who may import whom: packages in one direction, the floors of mygo from the top down, and no circle."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("mygo", "distributed", "tune")

MAY_NOT_IMPORT = {
    "mygo": {"ray", "distributed", "tune"},
    "distributed": {"tune"},
}
FLOORS = (
    ("errors", "events", "extras", "files", "seeding"),
    ("config",),
    ("data",),
    ("networks", "encoders", "adapting"),
    ("training",),
    ("memory",),
    ("unknown",),
    ("learner",),
    ("replay",),
    ("phase", "wake", "sleep", "evaluate", "cycle", "baselines"),
    ("unlabelled",),
    ("jobs",),
    ("service",),
    ("reporting",),
    ("cli", "__main__"),
)
"""The modules and packages of mygo, from the ground up: each may import what is on its own floor or below."""
MOST_FILES, LONGEST_CLASS, LONGEST_FUNCTION = 12, 200, 60


def modules(package: str) -> dict[str, Path]:
    """Return the files of a package, by the names of their modules."""
    files = sorted((REPOSITORY / package).rglob("*.py"))
    assert len(files) > 3
    parts = {path: path.relative_to(REPOSITORY).with_suffix("").parts for path in files}
    return {".".join(parts[path]).removesuffix(".__init__"): path for path in files}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports anywhere, also for type checking alone, and the names that may be some."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", sorted(MAY_NOT_IMPORT))
def test_imports_go_one_way(package: str) -> None:
    for path in modules(package).values():
        assert not {name.split(".")[0] for name in imports(path)} & MAY_NOT_IMPORT[package], path


def test_every_module_imports_from_its_own_floor_or_below() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    known = modules("mygo")
    for module, path in known.items():
        here = module.split(".")[1:2]
        if not here:  # mygo/__init__.py has the public names, from anywhere
            continue
        for name in imports(path):
            there = name.split(".")[1:2]
            if name.startswith("mygo.") and (name in known or name.rpartition(".")[0] in known):
                assert floor[there[0]] <= floor[here[0]], f"{module} imports {name}, which is on a floor above"


def test_no_module_imports_itself_through_others() -> None:
    files = {name: path for package in PACKAGES for name, path in modules(package).items()}
    graph = {name: {each for each in imports(path) if each in files} for name, path in files.items()}
    graph = {name: {each for each in found if not name.startswith(each)} for name, found in graph.items()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join([*above[above.index(module) :], module])
        if module not in done:
            for each in sorted(graph[module]):
                visit(each, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_classes_and_functions_stay_small_enough_to_be_seen_whole(package: str) -> None:
    files = modules(package)
    folders = [path.parent for path in files.values()]
    assert max(map(folders.count, set(folders))) <= MOST_FILES
    for module, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                longest = LONGEST_CLASS if isinstance(node, ast.ClassDef) else LONGEST_FUNCTION
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= longest, f"{module}.{node.name} has {length} lines"


PRIVATE_NAMES_OF_RAY = REPOSITORY / "distributed" / "cluster" / "ray_internals.py"
PRIVATE_PATH = re.compile(r"ray(\.\w+)*\._\w+(\.\w+)*")


def private_names_of_ray(source: str) -> set[str]:
    """Return the private names of Ray that ``source`` imports, reaches for, or spells out for a later import."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            found.add(ast.unparse(node))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
        elif isinstance(node, ast.keyword) and node.arg is not None and node.arg.startswith("_"):
            found.add(f"ray.{node.arg}")  # ray.init and others have private settings
    return {name for name in found if PRIVATE_PATH.fullmatch(name) and not name.endswith("__")}


@pytest.mark.parametrize(
    "line",
    [
        "import ray._raylet",
        "from ray import _private",
        "from ray._private.state import jobs",
        "from ray.train.v2._internal import callbacks",
        "from ray.experimental.internal_kv import _internal_kv_get",
        "ray._private.worker.global_worker",
        "import_module('ray._private.utils')",
        "ray.init('local', _temp_dir='/tmp')",
    ],
)
def test_a_private_name_of_ray_is_found_in(line: str) -> None:
    assert private_names_of_ray(line)


def test_private_names_of_ray_stand_in_one_file() -> None:
    assert (
        private_names_of_ray("import ray.train\nfrom ray import tune\nray.get(self._private)\nray.__version__") == set()
    )
    assert len(private_names_of_ray(PRIVATE_NAMES_OF_RAY.read_text())) > 9
    sources = [file for package in ("mygo", "distributed", "tune") for file in (REPOSITORY / package).rglob("*.py")]
    found = {source: private_names_of_ray(source.read_text()) for source in sources if source != PRIVATE_NAMES_OF_RAY}
    assert {source: names for source, names in found.items() if names} == {}


def test_every_benchmark_finds_what_it_imports() -> None:
    """Avalanche's, which has an environment of its own, excepted."""
    names = sorted(path.stem for path in (REPOSITORY / "benchmarks").glob("*.py") if path.stem != "avalanche_life")
    code = f"import importlib, sys; sys.path.insert(0, {str(REPOSITORY)!r})\n"
    code += "".join(f"importlib.import_module('benchmarks.{name}')\n" for name in names)
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stderr


def test_constraints_are_plain_pins() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in lines
    for line in lines:
        name, _, version = line.partition("==")
        assert name
        assert version[:1].isdigit()
        assert not set("/@+ ") & set(line), line
