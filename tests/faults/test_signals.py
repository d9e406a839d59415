"""Ctrl-C and SIGTERM in the middle of a phase, as a person sends them, and SIGKILL, which nothing can be done about."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


def run_until(
    wait_until: Callable[..., None], place: tuple[int, str], number: signal.Signals, out: Path, *flags: str
) -> tuple[int, str, int]:
    """Run the short life, send it ``number`` within the ``place``, a task's index and a phase, and wait for its end.

    Returns the exit code, what it said, and its process id.
    """
    with start_run([*SHORT, "--out", str(out), "--save-every", "0.2", *flags]) as process:

        def is_there() -> bool:
            assert process.poll() is None, process.stdout and process.stdout.read()
            return place_of(out / "life" / "mygo") == place

        wait_until(is_there, 300)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    return process.returncode, said, process.pid


def place_of(folder: Path) -> tuple[int, str] | None:
    """Return the tasks learned and the phase within which the life in ``folder`` was saved last, if it was."""
    if not Life.exists(folder):
        return None
    manifest = json.loads((folder / "manifest.json").read_text())
    return manifest["tasks_learned"], manifest.get("checkpoint", {}).get("phase", "")


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Any]:
    """What the short life comes to without Ray and without a signal: one worker gives the same bits."""
    config = ExperimentConfig(num_tasks=2, strategies=("mygo",), life=parse(SHORT).experiment.life)
    result: dict[str, Any] = Experiment(config).run()["strategies"]["mygo"]
    return result


def assert_it_ends_as(undisturbed: dict[str, Any], out: Path) -> None:
    """Resume the run in ``out`` to its end and compare what came of it."""
    resumed = subprocess.run(
        [sys.executable, "distributed/run.py", *SHORT, "--out", str(out), "--resume"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert (resumed.returncode, resumed.stderr) == (0, "")
    found = json.loads((out / "results.json").read_text())["strategies"]["mygo"]
    for key in ("accuracy_matrix", "label_fidelity", "frechet_distance"):
        assert found[key] == undisturbed[key], key


def test_signals_within_phases_save_the_step_and_resume_ends_as_undisturbed(
    tmp_path: Path, undisturbed: dict[str, Any], wait_until: Callable[..., None]
) -> None:
    out = tmp_path / "out"
    for place, number, flags in (
        ((0, "memorise"), signal.SIGINT, ()),
        ((1, "consolidate"), signal.SIGTERM, ("--resume",)),
    ):
        code, said, ended = run_until(wait_until, place, number, out, *flags)
        assert code == 128 + number, said
        wait_until(lambda leader=ended: not processes_of(leader))
        assert "Saved: run again with the same flags, --out and --resume" in said
        assert "Traceback" not in said
        assert place_of(out / "life" / "mygo") == place
    assert_it_ends_as(undisturbed, out)


def test_a_run_that_was_killed_ends_as_undisturbed_and_leaves_no_process(
    tmp_path: Path, undisturbed: dict[str, Any], wait_until: Callable[..., None]
) -> None:
    out = tmp_path / "out"
    code, _, killed = run_until(wait_until, (0, "memorise"), signal.SIGKILL, out)
    assert code == -signal.SIGKILL
    # At once, while workers of the killed run may still train and save: the resumed one waits for them, and goes on.
    assert_it_ends_as(undisturbed, out)
    # Ray's agents saw within seconds that they were alone, and then tried for a minute to tell a Ray that was gone.
    wait_until(lambda: not processes_of(killed), 120)
