"""Ctrl-C and SIGTERM in the middle of a phase, as a person sends them."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from pathlib import Path

from distributed.run import parse
from mygo.experiment import Experiment, ExperimentConfig
from mygo.life import Life

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SETTINGS = {
    "strategies": "mygo",
    "num-tasks": "2",
    "wake.head-steps": "20",
    "wake.adapt-steps": "20",
    "memory.gan.steps": "200",
    "memory.fidelity-floor": "0",
    "memory.diversity-floor": "0",
    "sleep.steps": "200",
}
SHORT = [part for name, value in SETTINGS.items() for part in (f"--{name}", value)]


def processes_with(mark: str) -> list[str]:
    """Return the command lines of all processes that were started with the environment variable ``MARK=mark``."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may be gone by now
            if f"MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def run_until(phase: str, number: signal.Signals, out: Path, *flags: str) -> tuple[int, str, float, list[str]]:
    """Run the short life, send it ``number`` within ``phase`` of its second task, and wait for its end.

    Returns the exit code, what it said, the seconds that it took to end, and the processes that it left behind.
    """
    mark = uuid.uuid4().hex
    command = [sys.executable, "distributed/run.py", *SHORT, "--out", str(out), "--save-every", "0.2", *flags]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Started with `&`, a shell would have it ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        while place_of(out / "life" / "mygo") != (1, phase):
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.05)
        process.send_signal(number)
        sent = time.monotonic()
        said, _ = process.communicate(timeout=60)
        took = time.monotonic() - sent
    return process.returncode, said, took, processes_with(mark)


def place_of(folder: Path) -> tuple[int, str] | None:
    """Return the tasks learned and the phase within which the life in ``folder`` was saved last, if it was."""
    if not Life.exists(folder):
        return None
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest["tasks_learned"], manifest.get("checkpoint", {}).get("phase", "")


def test_signals_within_phases_save_the_step_and_resume_ends_as_undisturbed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for phase, number, flags in (("memorise", signal.SIGINT, ()), ("consolidate", signal.SIGTERM, ("--resume",))):
        code, said, took, left = run_until(phase, number, out, *flags)
        assert code == 128 + number, said
        assert took < 30
        assert left == []
        assert "Saved: run again with the same flags, --out and --resume" in said
        assert "Traceback" not in said
        assert place_of(out / "life" / "mygo") == (1, phase)
    resumed = subprocess.run(
        [sys.executable, "distributed/run.py", *SHORT, "--out", str(out), "--resume"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert resumed.returncode == 0, resumed.stderr
    found = json.loads((out / "results.json").read_text())["strategies"]["mygo"]
    config = ExperimentConfig(num_tasks=2, strategies=("mygo",), life=parse(SHORT).life)
    expected = Experiment(config).run()["strategies"]["mygo"]  # without Ray: one worker gives the same bits
    for key in ("accuracy_matrix", "label_fidelity", "frechet_distance"):
        assert found[key] == expected[key], key
