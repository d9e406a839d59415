"""How many lives end as an undisturbed one does when a process of theirs is killed at a random moment.

python benchmarks/faults.py --count 20     about a minute each; writes benchmarks/results/faults.md

Each life is a short one on digits under `run.py`. A training worker, all dreamers, or the driver with everything that
it started is killed (SIGKILL) once; after the driver's death the same command is run with --resume. Beside it stands
what saving costs: the seconds that undisturbed lives spend in it, with the default --save-every.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import torch

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.processes import processes_of, start_run  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402
from distributed.run import parse  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.jobs.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.jobs.life import Life  # noqa: E402

NUM_TASKS = 3
OVER = "its end"
FLAGS = ["--strategies", "mygo", "--num-tasks", str(NUM_TASKS), "--memory.gan.steps", "500", "--sleep.steps", "400"]
WHAT_COUNTS = ("accuracy_matrix", "label_fidelity", "diversity", "frechet_distance", "memory_bytes")
TARGETS = {"worker": "ray::RayTrainWorker", "dreamers": "ray::DreamerActor", "driver": ""}


def kill(pids: Iterable[int]) -> None:
    """SIGKILL processes that may be gone already."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def start(out: Path, *flags: str) -> "subprocess.Popen[str]":
    """Start the short life."""
    return start_run([*FLAGS, "--save-every", "2", "--out", str(out), *flags])


def lived(out: Path) -> dict[str, Any]:
    """Return what counts of a life's results."""
    entry = json.loads((out / "results.json").read_text())["strategies"]["mygo"]
    return {key: entry[key] for key in WHAT_COUNTS}


def live_with_a_kill(target: str, moment: float, out: Path) -> tuple[str, str]:
    """Live, kill ``target`` ``moment`` seconds after training began; returns where the life was, and how it ended."""
    running = start(out)
    try:
        while not Life.exists(out / "life" / "mygo"):
            time.sleep(0.05)
        time.sleep(moment)
        place = place_of(out / "life" / "mygo")
        if target == "driver":
            kill(processes_of(running.pid))
            running.communicate()
            running = start(out, "--resume")
        else:
            kill(processes_of(running.pid, TARGETS[target]))
        said, _ = running.communicate(timeout=300)
        return place, "ended" if running.returncode == 0 else f"exit code {running.returncode}: {said[-500:]}"
    finally:
        kill(processes_of(running.pid))


def place_of(folder: Path) -> str:
    """Return how far the life in ``folder`` is, in words."""
    manifest = json.loads((folder / "manifest.json").read_text())
    if manifest["tasks_learned"] == NUM_TASKS:
        return OVER
    done = f"task {manifest['tasks_learned'] + 1}, after {(manifest['phases_done'] or ['nothing'])[-1]}"
    point = manifest.get("checkpoint")
    return f"{done}, {point['phase']} step {point['steps']}" if point else done


def cost_of_saving(name: str, config: ExperimentConfig, out: Path) -> list[object]:
    """Live in this process, and return a row with the share of the life's seconds that went into saving."""
    spent: list[float] = []

    def timed(save: Callable[..., None]) -> Callable[..., None]:
        def wrapper(*arguments: Any) -> None:
            started = time.perf_counter()
            save(*arguments)
            spent.append(time.perf_counter() - started)

        return wrapper

    started = time.perf_counter()
    with mock.patch.multiple(Life, save=timed(Life.save), keep_checkpoint=timed(Life.keep_checkpoint)):
        Experiment(config, out).run()
    seconds = time.perf_counter() - started
    return [name, f"{seconds:.0f}", len(spent), f"{sum(spent):.2f}", f"{100 * sum(spent) / seconds:.2f} %"]


def lives_that_save() -> dict[str, ExperimentConfig]:
    """Return the default life on digits, and the first two tasks of a shorter one on Fashion-MNIST."""
    shorter = change(preset("fashion-mnist"), {"memory.gan.steps": 700, "sleep.steps": 300})
    return {
        "digits, default life": ExperimentConfig(strategies=("mygo",), life=preset("digits")),
        "Fashion-MNIST, two tasks of five classes": ExperimentConfig(
            dataset="fashion-mnist", num_tasks=2, strategies=("mygo",), life=shorter
        ),
    }


def main() -> None:
    """Kill, compare, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    draw = random.Random(flags.seed)
    torch.set_num_threads(1)  # as a training worker on a machine whose other core is a dreamer's
    with tempfile.TemporaryDirectory(prefix="mygo-faults-") as name:
        folder = Path(name)
        start(folder / "undisturbed", "").communicate()
        expected = lived(folder / "undisturbed")
        alone = Experiment(
            ExperimentConfig(num_tasks=NUM_TASKS, strategies=("mygo",), life=parse(FLAGS).experiment.life)
        )
        results = alone.run()["strategies"]["mygo"]
        assert expected == {key: results[key] for key in WHAT_COUNTS}, "the same life without Ray differs"
        seconds = Life.open(folder / "undisturbed" / "life" / "mygo").record.seconds
        length = sum(seconds.values())
        rows: list[list[object]] = []
        while len(rows) < flags.count:
            target, moment = list(TARGETS)[len(rows) % len(TARGETS)], draw.uniform(0.0, 0.9 * length)
            out = folder / f"{target}-{moment}"
            place, end = live_with_a_kill(target, moment, out)
            if place == OVER:
                continue  # nothing was disturbed: it counts for nothing
            same = end == "ended" and lived(out) == expected
            rows.append([len(rows) + 1, target, f"{moment:.1f}", place, end, "yes" if same else "NO"])
            print(rows[-1], flush=True)
        costs = [cost_of_saving(name, config, folder / name) for name, config in lives_that_save().items()]
    same = sum(row[-1] == "yes" for row in rows)
    body = "\n\n".join(
        [
            f"{same} of {len(rows)} lives ended with exactly the accuracies and memories of the undisturbed one, "
            f"which trains for {length:.0f} s.",
            table(["", "killed", "seconds into training", "last saved point", "run", "same result"], rows),
            "What saving costs (one process and thread, `--save-every 60`):",
            table(["life", "seconds", "saves", "seconds in them", "share"], costs),
        ]
    )
    print(write_report("faults", "Lives with a process killed", "python benchmarks/faults.py", body).read_text())


if __name__ == "__main__":
    main()
