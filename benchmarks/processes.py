"""Lives as commands: one whose descendants can be found, whatever becomes of it, and one to put a clock on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent


def start_run(flags: Sequence[str], mark: str) -> "subprocess.Popen[str]":
    """Start `run.py` with ``flags`` and the environment variable ``MARK=mark``, which all that it starts inherit."""
    return subprocess.Popen(
        [sys.executable, "distributed/run.py", *flags],
        cwd=REPOSITORY,
        env={**os.environ, "MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Started with `&`, a shell would have it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def processes_of(mark: str, title: str = "") -> dict[int, str]:
    """Return the command lines, by process id, of all with ``MARK=mark`` that have ``title`` in them."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may be gone by now
            marked = f"MARK={mark}".encode() in (folder / "environ").read_bytes()
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if marked and title in line:
                found[int(folder.name)] = line
    return found


def seconds_of_life(command: Sequence[str], flags: Sequence[str], out: Path) -> dict[str, Any]:
    """Run ``command`` with ``flags`` on ``out``, one thread each process; return the seconds of its life of mygo."""
    subprocess.run(
        [*command, *flags, "--out", str(out)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
    )
    seconds: dict[str, Any] = json.loads((out / "results.json").read_text())["strategies"]["mygo"]["seconds"]
    return seconds
