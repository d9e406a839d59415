"""What examples/ shows works, as it is."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.py"))
PROMISES = {
    "own_images": (r"never saw: (\d+\.\d)%", 90),
    "own_networks": (r"never saw: (\d+\.\d)%", 90),
    "own_strategy": (r"mygo: (\d+\.\d)%", 90),
}
"""Where an example prints what share it got right, and the least that it must be."""


@pytest.mark.parametrize("example", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_runs_and_keeps_what_it_promises(example: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(example)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    where, least = PROMISES[example.stem]
    found = re.search(where, done.stdout)
    assert found is not None
    assert float(found[1]) > least
