"""Ctrl-C and SIGTERM in the middle of a phase, as a person sends them, and SIGKILL, which nothing can be done about."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.processes import processes_of, start_run
from distributed.run import parse
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life

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


def run_until(place: tuple[int, str], number: signal.Signals, out: Path, *flags: str) -> tuple[int, str, float, int]:
    """Run the short life, send it ``number`` within the ``place``, a task's index and a phase, and wait for its end.

    Returns the exit code, what it said, the seconds that it took to end, and its process id.
    """
    with start_run([*SHORT, "--out", str(out), "--save-every", "0.2", *flags]) as process:
        while place_of(out / "life" / "mygo") != place:
            assert process.poll() is None, process.stdout and process.stdout.read()
            time.sleep(0.05)
        process.send_signal(number)
        sent = time.monotonic()
        said, _ = process.communicate(timeout=60)
        took = time.monotonic() - sent
    return process.returncode, said, took, process.pid


def left_of(leader: int, patience: float) -> dict[int, str]:
    """Return the processes that ``leader`` began and that are still there after ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while (left := processes_of(leader)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def place_of(folder: Path) -> tuple[int, str] | None:
    """Return the tasks learned and the phase within which the life in ``folder`` was saved last, if it was."""
    if not Life.exists(folder):
        return None
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest["tasks_learned"], manifest.get("checkpoint", {}).get("phase", "")


def test_signals_within_phases_save_the_step_and_resume_ends_as_undisturbed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, _, _, killed = run_until((0, "memorise"), signal.SIGKILL, out)
    assert code == -signal.SIGKILL
    for place, number in (((1, "memorise"), signal.SIGINT), ((1, "consolidate"), signal.SIGTERM)):
        code, said, took, ended = run_until(place, number, out, "--resume")
        assert code == 128 + number, said
        assert took < 30
        assert left_of(ended, 30 - took) == {}
        assert "Saved: run again with the same flags, --out and --resume" in said
        assert "Traceback" not in said
        assert place_of(out / "life" / "mygo") == place
    resumed = subprocess.run(
        [sys.executable, "distributed/run.py", *SHORT, "--out", str(out), "--resume"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (resumed.returncode, resumed.stderr) == (0, "")
    # Ray's agents saw within seconds that they were alone, and then tried for a minute to tell a Ray that was gone.
    assert left_of(killed, 90) == {}
    found = json.loads((out / "results.json").read_text())["strategies"]["mygo"]
    config = ExperimentConfig(num_tasks=2, strategies=("mygo",), life=parse(SHORT).life)
    expected = Experiment(config).run()["strategies"]["mygo"]  # without Ray: one worker gives the same bits
    for key in ("accuracy_matrix", "label_fidelity", "frechet_distance"):
        assert found[key] == expected[key], key
