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


def start_run(flags: Sequence[str]) -> "subprocess.Popen[str]":
    """Start `run.py` with ``flags`` in a session of its own, by which all that it starts is found."""
    return subprocess.Popen(
        [sys.executable, "distributed/run.py", *flags],
        cwd=REPOSITORY,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Started with `&`, a shell would have it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def processes_of(leader: int, title: str = "") -> dict[int, str]:
    """Return the command lines, by process id, of all that have ``title`` in them and come from process ``leader``.

    They descend from it or, when it has ended, are left of the session that it led.
    """
    lines: dict[int, str] = {}
    parents: dict[int, int] = {}
    sessions: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may be gone by now
            pid = int(folder.name)
            _, parent, _, session, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[pid], sessions[pid] = int(parent), int(session)
            lines[pid] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()

    def comes_from_leader(pid: int) -> bool:
        return leader in (pid, sessions.get(pid)) or (pid in parents and comes_from_leader(parents[pid]))

    # One that has ended, and that nobody asked how, has no command line.
    return {pid: line for pid, line in lines.items() if line and title in line and comes_from_leader(pid)}


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
