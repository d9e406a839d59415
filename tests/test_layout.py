import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

MAY_NOT_IMPORT = {
    "mygo": {"ray", "distributed", "tune"},
    "distributed": {"tune"},
}


def imported_packages(path: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            packages.add((node.module or "").split(".")[0])
    return packages


@pytest.mark.parametrize("package", sorted(MAY_NOT_IMPORT))
def test_imports_go_one_way(package: str) -> None:
    sources = sorted((REPOSITORY / package).rglob("*.py"))
    assert len(sources) > 3
    for source in sources:
        assert not imported_packages(source) & MAY_NOT_IMPORT[package], source


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


def test_constraints_are_plain_pins() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in lines
    for line in lines:
        name, _, version = line.partition("==")
        assert name
        assert version[:1].isdigit()
        assert not set("/@+ ") & set(line), line
