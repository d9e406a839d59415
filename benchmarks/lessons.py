"""Lessons over pixels that wait: side by side beside in turn, two lives merged, and sixteen on a simulated cluster.

python benchmarks/lessons.py      about 40 minutes on two cores; writes benchmarks/results/lessons.md

Fashion-MNIST's classes are cut into four lessons. A life learns them in turn, with two workers; another side by side,
one process for each wake, and two workers for the sleep; and two lives learn two lessons each, as the first does, and
are merged. All is done by the commands that a person gives, whose seconds are counted from beginning to end. Accuracy
is class-IL on the test images of all classes that a life knows. docs/scaling.md says what the model is.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

import numpy as np  # noqa: E402
import tyro  # noqa: E402

from benchmarks.lives import prepare_process  # noqa: E402
from benchmarks.merging import Lessons, cut  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402
from benchmarks.scaling_model import (  # noqa: E402
    LifePlan,
    cluster_of,
    live_on_ray,
    measure_parts,
    momentary,
    predict,
    predict_together,
)
from mygo.config.presets import preset  # noqa: E402
from mygo.data.datasets import DATASETS  # noqa: E402
from mygo.events import Event, Notice, Progress  # noqa: E402
from mygo.jobs.experiment import ExperimentConfig  # noqa: E402
from mygo.jobs.lesson import Lesson  # noqa: E402
from mygo.jobs.life import Life  # noqa: E402
from mygo.jobs.side_by_side import learn_together  # noqa: E402

DATASET = "fashion-mnist"
COUNT, NODES = 4, 16
WORKERS = 2


@dataclass(frozen=True)
class Flags:
    """Where the data lies, and what is measured."""

    data_root: Path = Path("data")
    keep: Path | None = None
    """Folder for the lives, to look at them or to go on with what was interrupted; by default a temporary one."""


def seconds_of(*words: object) -> float:
    """Run Python with ``words`` as a person does, and return the seconds that it took."""
    environment = {**os.environ, "RAY_ADDRESS": "local"}
    started = time.perf_counter()
    subprocess.run([sys.executable, *map(str, words)], cwd=REPOSITORY, env=environment, check=True)
    return time.perf_counter() - started


def learn(life: Path, *files: str) -> float:
    """Let ``life`` learn ``files``, side by side if they are several."""
    data = [word for file in files for word in ("--data", file)]
    return seconds_of("distributed/run.py", "learn", "--life", life, *data, "--num-workers", WORKERS)


def phases_of(life: Life) -> str:
    """Return the seconds of all that ``life`` did awake and asleep, in words."""
    seconds = life.record.seconds
    waking = sum(seconds.get(name, 0.0) for name in ("learn", "adapt", "memorise"))
    return f"{waking:.0f}, {seconds.get('consolidate', 0.0):.0f}"


def over_pixels(lessons: Lessons, out: Path) -> dict[str, list[object]]:
    """Return the rows of a table by their folders in ``out``, where what was measured is kept."""
    kept = out / "measured.json"
    rows: dict[str, list[object]] = json.loads(kept.read_text()) if kept.exists() else {}
    half = len(lessons.files) // 2

    def note(folder: str, what: str, measure: Callable[[Path], float]) -> None:
        if folder not in rows:
            shutil.rmtree(out / folder, ignore_errors=True)
            seconds = measure(out / folder)
            life = Life.open(out / folder)
            rows[folder] = [what, f"{lessons.class_il(life):.4f}", round(seconds), phases_of(life)]
            kept.write_text(json.dumps(rows))
            print(rows[folder], flush=True)

    def in_turn(folder: Path) -> float:
        shutil.copytree(out / "first-half", folder)
        return int(str(rows["first-half"][2])) + sum(learn(folder, file) for file in lessons.files[half:])

    def merge(folder: Path) -> float:
        return seconds_of("-m", "mygo", "merge", out / "first-half", out / "second-half", "--out", folder)

    first, second = lessons.files[:half], lessons.files[half:]
    note("first-half", "the first two lessons, their classes alone", lambda to: sum(learn(to, file) for file in first))
    note("in-turn", "all lessons in turn, two workers", in_turn)
    note("together", "all lessons side by side", lambda to: learn(to, *lessons.files))
    note("second-half", "the last two lessons, their classes alone", lambda to: sum(learn(to, each) for each in second))
    note("merged", "both halves merged", merge)
    return rows


def predicted(plan: LifePlan) -> tuple[float, float]:
    """Return the seconds that the model has for the lessons of ``plan`` in turn and side by side, here."""
    from distributed.cluster.session import ray_session

    small = momentary(ExperimentConfig(num_tasks=4, strategies=("mygo",), life=preset("digits")))
    with ray_session():
        live_on_ray(small, 1, 1)  # the first start reads all packages from disk
        one, two = (live_on_ray(small, workers, 1).start for workers in (1, 2))
    parts = measure_parts(plan.config, (1, 28, 28), one, max(0.0, two - one) * 2)
    in_turn = predict(plan, parts, WORKERS, 1)
    in_turn["start"] *= plan.tasks  # each lesson is a command of its own
    together = predict_together(plan, parts, int(parts.cores), WORKERS, 1)
    return sum(in_turn.values()), sum(together.values())


def on_nodes(out: Path) -> list[list[object]]:
    """Learn a lesson for each node of a cluster that Ray simulates here, and return a table's row."""
    from distributed.side_by_side import wake_on_ray

    config = momentary(ExperimentConfig(num_tasks=2, strategies=("mygo",), life=preset("digits"))).life
    placed: dict[str, float] = {}
    stepped: dict[str, float] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Notice) and " wakes on " in event.text:
            placed.setdefault(event.text, time.time())
        if isinstance(event, Progress) and event.place.phase == "learn":
            stepped.setdefault(event.place.strategy, event.when)

    with cluster_of(NODES, 1):
        began = time.time()
        lessons = [Lesson(out / "life", file, config=config, log_every=1) for file in noise(out)]
        complaints = learn_together(lessons, listen, lambda wakings: wake_on_ray(wakings, listen))
        seconds = time.time() - began
    assert complaints == []
    assert len(placed) == len(stepped) == NODES
    first, last = min(placed.values()), max(placed.values())
    steps = max(stepped.values()) - min(stepped.values())
    return [[NODES, f"{first - began:.0f}", f"{last - first:.0f}", f"{steps:.0f}", f"{seconds:.0f}"]]


def noise(folder: Path) -> Sequence[str]:
    """Write a lesson of two classes of noise for each node, and return the files."""
    shutil.rmtree(folder, ignore_errors=True)  # what an earlier run left
    folder.mkdir()
    files = []
    for number in range(NODES):
        images = np.random.default_rng(number).integers(0, 256, (40, 8, 8)).astype(np.uint8)
        names = np.array([f"{number} {letter}" for letter in "ab"])
        files.append(f"{folder}/lesson-{number}.npz")
        np.savez(files[-1], images=images, labels=np.arange(40) % 2, class_names=names)
    return files


def main() -> None:
    """Measure everything, and write a report."""
    flags = tyro.cli(Flags)
    prepare_process()
    config = replace(preset(DATASET), encoder="none")
    with tempfile.TemporaryDirectory(prefix="mygo-lessons-") as temporary:
        out = flags.keep or Path(temporary)
        out.mkdir(parents=True, exist_ok=True)
        lessons = cut(DATASETS[DATASET].load(flags.data_root), config, COUNT, out)
        rows = over_pixels(lessons, out)
        nodes = on_nodes(out / "nodes")
    plan = LifePlan(config, tasks=COUNT, classes_per_task=3, train_images=15_000, test_images=2_500)
    expected = predicted(plan)
    in_turn, together = (int(str(rows[folder][2])) for folder in ("in-turn", "together"))
    model = [
        [what, f"{model:.0f} / {found}", f"{model / found:.2f}"]
        for what, model, found in zip(("in turn", "side by side"), expected, (in_turn, together), strict=True)
    ]
    model.append(["in turn ÷ side by side", f"{expected[0] / expected[1]:.2f} / {in_turn / together:.2f}", ""])
    sections = [
        f"## {DATASET}, {COUNT} lessons",
        table(["life", "class-IL", "seconds", "of which awake, asleep"], list(rows.values())),
        "## The model; predicted / measured seconds",
        table(["lessons", "seconds", "quotient"], model),
        f"## {NODES} lessons on a cluster of {NODES} nodes of one CPU, simulated on this machine",
        table(
            ["lessons", "first wake begun after, s", "last begun later, s", "first steps within, s", "learned, s"],
            nodes,
        ),
    ]
    path = write_report("lessons", "Lessons that wait", "python benchmarks/lessons.py", "\n\n".join(sections))
    print(path.read_text())


if __name__ == "__main__":
    main()
