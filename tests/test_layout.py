import ast
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


def test_constraints_are_plain_pins() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in lines
    for line in lines:
        name, _, version = line.partition("==")
        assert name
        assert version[:1].isdigit()
        assert not set("/@+ ") & set(line), line
