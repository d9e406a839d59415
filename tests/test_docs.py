"""The API page can be made, and holds what it is for."""

import subprocess
import sys
from pathlib import Path

import mygo

REPOSITORY = Path(__file__).resolve().parent.parent


def test_the_api_page_has_every_public_name_and_is_made_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, str(REPOSITORY / "docs" / "build_api.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    front = (tmp_path / "mygo.html").read_text()
    for name in mygo.__all__:
        assert f">{name}<" in front, name
    for module in (REPOSITORY / "mygo").glob("[!_]*.py"):
        assert (tmp_path / "mygo" / f"{module.stem}.html").exists(), module
