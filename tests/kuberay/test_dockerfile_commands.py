import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent / "dockerfile_commands.sh"


@pytest.mark.timeout(1800)
def test_the_commands_of_the_dockerfile_do_what_they_say_in_a_fresh_environment() -> None:
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHON": sys.executable}
    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "its commands do what they say" in done.stdout
