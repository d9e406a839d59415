"""Runs that are begun at the same time on one machine, each with a Ray of its own, or on a Ray that they share.

python benchmarks/side_by_side.py        about 20 minutes on two cores; writes benchmarks/results/side_by_side.md

Every run must end with exit code 0 and with what it reaches alone. On a shared Ray of two cores, which one run takes
whole, the others must wait for it, hold nothing, and say for what they wait.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.report import table, write_report  # noqa: E402

WITHIN_SECONDS = 5.0
"""The runs of a group begin within so many seconds of each other."""
LONGEST_SECONDS = 1800.0
WAITING = "Waiting for room"
"""How a run that waits begins to say so."""


@dataclass(frozen=True)
class Ended:
    """What became of a command."""

    code: int | None
    """Its exit code; None if it did not end in time."""
    seconds: float
    said: str
    results: dict[str, Any] | None
    """Its ``results.json`` without what depends on the clock, if it wrote one."""

    @property
    def waited_for(self) -> str:
        """What it said that it waited for, first; nothing if it said nothing."""
        text = " ".join(self.said.split())
        return "" if WAITING not in text else WAITING + text.split(WAITING)[1].split(". ")[0]


def without_seconds(results: Any) -> Any:
    """Return ``results`` without what differs between two runs of the same command: times, and where it was run."""
    if isinstance(results, dict):
        return {name: without_seconds(value) for name, value in results.items() if name != "seconds"}
    return results


def run_together(
    commands: Sequence[Sequence[str]], outs: Sequence[Path], address: str | None, longest: float = LONGEST_SECONDS
) -> list[Ended]:
    """Start the Python ``commands`` at once, each with its ``--out``, wait for all, and say what became of them.

    With ``address`` they find the Ray there, without it none that a person started.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "COLUMNS")}
    if address is not None:
        environment["RAY_ADDRESS"] = address
    began = time.monotonic()
    running = []
    for command, out in zip(commands, outs, strict=True):
        log = out.with_suffix(".log")
        with log.open("w") as file:
            arguments = [sys.executable, *command, "--out", str(out)]
            process = subprocess.Popen(
                arguments,
                cwd=REPOSITORY,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running.append((process, log, out))
    assert time.monotonic() - began < WITHIN_SECONDS
    ended: dict[int, tuple[int | None, float]] = {}
    while len(ended) < len(running):
        for index, (process, _, _) in enumerate(running):
            if index not in ended and process.poll() is not None:
                ended[index] = process.returncode, time.monotonic() - began
            elif index not in ended and time.monotonic() - began > longest:
                process.terminate()
                process.wait()
                ended[index] = None, time.monotonic() - began
        time.sleep(0.2)
    return [
        Ended(*ended[index], log.read_text(errors="replace"), results_of(out))
        for index, (_, log, out) in enumerate(running)
    ]


def results_of(out: Path) -> dict[str, Any] | None:
    """Return what counts of the results in ``out``, if there are any."""
    file = out / "results.json"
    if not file.exists():
        return None
    results = json.loads(file.read_text())
    counted: dict[str, Any] = without_seconds({name: results[name] for name in ("strategies",) if name in results})
    return counted


@contextmanager
def shared_ray(num_cpus: int) -> Iterator[str]:
    """Start a Ray by hand, as a person does, and yield its address; only it is ended, and no other on the machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        start = [f"--port={port}", f"--num-cpus={num_cpus}", f"--temp-dir={folder}", "--include-dashboard=false"]
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", *start],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + 60
            while not (Path(folder) / "ray_current_cluster").exists():
                assert process.poll() is None, "ray start ended"
                assert time.monotonic() < deadline, "ray start takes too long"
                time.sleep(0.2)
            yield (Path(folder) / "ray_current_cluster").read_text().strip()
        finally:
            process.terminate()
            process.wait(60)


def main() -> None:
    """Run all groups and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    run = ["distributed/run.py", "--dataset", "digits"]
    sweep = ["tune/sweep.py", "--dataset", "digits", "--num-samples", "4", "--finalists", "0", "--test-seeds", "0"]
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory(prefix="mygo-side-by-side-") as name:
        folder = Path(name)

        def group(title: str, commands: Sequence[Sequence[str]], address: str | None = None) -> list[Ended]:
            outs = [folder / f"{len(rows)}-{index}" for index in range(len(commands))]
            ended = run_together(commands, outs, address)
            for command, each in zip(commands, ended, strict=True):
                same = each.results == alone.results if command is run else "–"
                waited = each.waited_for.replace(sys.executable, "python").replace(str(REPOSITORY) + "/", "")
                waited = waited.replace(name + "/", "")
                rows.append([title, Path(command[0]).name, each.code, f"{each.seconds:.0f}", same, waited or "–"])
                print(*rows[-1], sep=" | ", flush=True)
            return ended

        (alone,) = run_together([run], [folder / "alone"], None)
        rows.append(["alone", "run.py", alone.code, f"{alone.seconds:.0f}", "–", "–"])
        group("two, each with its own Ray", [run] * 2)
        group("four, each with its own Ray", [run] * 4)
        with shared_ray(2) as address:
            group("two on one Ray of two cores", [run] * 2, address)
            group("a run beside a sweep there", [sweep, run], address)
    header = ["begun at once", "command", "exit code", "seconds", "results as alone", "said that it waits"]
    print(
        write_report(
            "side_by_side", "Runs side by side", "python benchmarks/side_by_side.py", table(header, rows)
        ).read_text()
    )


if __name__ == "__main__":
    main()
