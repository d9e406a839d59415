"""A disk that fills up while a life goes on."""

import dataclasses
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mygo.errors import StorageError
from mygo.events import Event, PhaseEnded
from mygo.jobs.experiment import Experiment
from mygo.jobs.life import Life


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("phase", ["adapt", "memorise"])
def test_a_full_disk_ends_the_run_with_one_sentence_and_the_last_state_can_be_gone_on_with(
    tiny_experiment: Experiment, small_disk: Path, phase: str
) -> None:
    filler = small_disk / "filler"
    experiment = dataclasses.replace(tiny_experiment, out=small_disk / "out")

    def fill_up(event: Event) -> None:
        if isinstance(event, PhaseEnded) and (event.place.task, event.place.phase) == (1, phase):
            with suppress(OSError), filler.open("wb") as file:
                while True:
                    file.write(bytes(4096))

    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\)") as told:
        experiment.run(on_event=fill_up)
    assert "\n" not in str(told.value)
    folder = small_disk / "out" / "life" / "mygo"
    saved = Life.open(folder, pytest.fail)
    assert saved.tasks_learned == 1
    assert saved.phases_done[-1] == phase
    assert not list(folder.glob(".*"))
    filler.unlink()
    found, expected = (each.run()["strategies"]["mygo"] for each in (experiment, tiny_experiment))
    assert found["accuracy_matrix"] == expected["accuracy_matrix"]
    assert found["label_fidelity"] == expected["label_fidelity"]
