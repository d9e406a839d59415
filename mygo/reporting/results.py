"""What a run or a life left in its folder, read back and checked: what a report is made of."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mygo.baselines.registry import STRATEGIES
from mygo.data.datasets import DATASETS
from mygo.data.tasks import Task, deal_classes
from mygo.errors import InputError
from mygo.evaluate import Matrix
from mygo.files import MANIFEST, read_json
from mygo.jobs.experiment import RESULTS_SCHEMA, costs, summary
from mygo.learner.learner import Learner
from mygo.reporting.terminal import printable

KINDS = {"class_il": "class-IL", "task_il": "task-IL"}
"""The two ways in which accuracy is measured, and how they are written."""
QUALITIES = {
    "label_fidelity": "label fidelity",
    "diversity": "diversity",
    "frechet_distance": "Fréchet distance",
    "nearest_neighbour_ratio": "nearest-neighbour ratio",
}
"""What is measured of a memory, and how it is written."""
PER_CLASS = ("label_fidelity", "diversity")
"""What is measured of a single class, too."""


@dataclass(frozen=True)
class StrategyResults:
    """What one strategy reached; accuracies are fractions, by kind.

    A life that was taught by hand has none, since the images that it could be measured on are gone.
    """

    accuracy: Mapping[str, Matrix]
    average: Mapping[str, float]
    forgetting: Mapping[str, float]
    backward_transfer: Mapping[str, float]
    confusion: Sequence[Sequence[int]]
    """Class-IL: images of each true class (row) taken for each class (column), in the order in which classes were
    learned; empty where it was not measured."""
    calibration_error: Sequence[float]
    """Expected calibration error of class-IL after each task; empty where it was not measured."""
    phases: Mapping[str, float]
    """Wall seconds per phase."""
    seconds: float
    memory_bytes: int
    replaced_bytes: int
    kept_once: int
    """Bytes of statistics that are kept once for all classes, beside those of `memory_bytes`."""
    quality: Mapping[str, Sequence[float]]
    """Per field of `mygo.memory.quality.Quality`, a number for each memory; empty without memories."""
    quality_per_class: Mapping[str, Sequence[Sequence[float]]]
    """Per measure that there is of a single class, and memory, a number for each of its classes; none for a memory of a
    life that an earlier version wrote."""


@dataclass(frozen=True)
class RunResults:
    """What a run, or a single life, left in its folder."""

    dataset: str
    tasks: Sequence[Task]
    class_names: Sequence[str]
    """In the order of labels."""
    evaluated_on: str
    """``test`` or ``validation``."""
    config: Mapping[str, Any]
    versions: Mapping[str, str]
    when: datetime
    strategies: Mapping[str, StrategyResults]
    lives: Mapping[str, Learner]
    """Lives whose memories can dream."""
    notices: Sequence[str]
    """Sentences on what is missing or was damaged."""

    @property
    def measured(self) -> bool:
        """Whether there are accuracies on the test images of all tasks: a life that was taught by hand has none."""
        return all(entry.accuracy for entry in self.strategies.values())

    @property
    def learned(self) -> list[str]:
        """Names of all classes in the order in which they are learned."""
        return [name for task in self.tasks for name in self.names_of(task)]

    def names_of(self, task: Task) -> list[str]:
        """Return the names of the classes of ``task``."""
        return [self.class_names[label] for label in task.classes]


def read_folder(folder: Path) -> RunResults:
    """Read what a run (``results.json`` and ``life/``) or a life (``manifest.json``) left in ``folder``.

    Raises:
        InputError: it holds neither, or something damaged; the message names the file.
    """
    if (folder / "results.json").exists():
        return _read_run(folder)
    if Learner.exists(folder):
        return _read_life(folder)
    raise InputError(
        f"{folder} holds neither results.json nor {MANIFEST}: name the --out of a run that has ended, or a life in it."
    )


def _read_run(folder: Path) -> RunResults:
    path = folder / "results.json"
    content = read_json(path)
    if content.get("schema") != RESULTS_SCHEMA:
        raise InputError(f"{path} is not of schema {RESULTS_SCHEMA}: read it with the version of MyGO that wrote it.")
    lives: dict[str, Learner] = {}
    notices: list[str] = []

    def check() -> RunResults:
        config = content["config"]
        dataset = printable(config["dataset"])
        names = content.get("class_names") or range(DATASETS[dataset].num_classes)
        tasks = deal_classes(len(names), config["num_tasks"], config["class_order"])
        results = _results(path, content, dataset, tasks, names, lives, notices)
        if not results.measured:
            raise ValueError("a strategy without accuracies")
        return results

    results = _checked(path, check)
    for name in results.strategies:
        if "memorise" not in STRATEGIES[name].wake:
            continue
        if not Learner.exists(folder / "life" / name):
            notices.append(f"The life of {name} is not in this folder, so its dreams cannot be shown.")
            continue
        lives[name] = Learner.open(folder / "life" / name, notices.append)
        _check_memories(folder / "life" / name, lives[name], results.tasks)
    return _checked(path, lambda: _with_fitting_measures(results))


def _read_life(folder: Path) -> RunResults:
    notices: list[str] = []
    life = Learner.open(folder, notices.append)
    path = folder / MANIFEST
    if not life.tasks_learned:
        raise InputError(f"{folder} holds a life that has not finished its first task: come back when it has.")

    def check() -> RunResults:
        sizes = [len(lesson.classes) for lesson in life.lessons]
        tasks = [Task(index, tuple(range(sum(sizes[:index]), sum(sizes[: index + 1])))) for index in range(len(sizes))]
        content = {
            "config": asdict(life.config),
            "evaluated_on": "validation" if "for validation" in life.stream else "test",
            "versions": {},
            "strategies": {known(life.strategy): summary(life) if was_measured(life) else costs(life)},
        }
        words = life.stream.replace(":", " ").split() if was_measured(life) else []
        dataset = words[0] if words else folder.resolve().name
        return _results(path, content, printable(dataset), tasks, life.class_names, {life.strategy: life}, notices)

    results = _checked(path, check)
    _check_memories(folder, life, results.tasks)
    return results


def _with_fitting_measures(results: RunResults) -> RunResults:
    """Return ``results`` if what was measured of single classes is of those of its tasks."""
    sizes = [len(task.classes) for task in results.tasks]
    for entry in results.strategies.values():
        for rows in entry.quality_per_class.values():
            if any(len(row) not in (0, size) for row, size in zip(rows, sizes, strict=False)):
                raise ValueError("measures of classes that do not fit the tasks")
    return results


def was_measured(life: Learner) -> bool:
    """Return whether ``life`` lived through a stream of tasks and nothing else, measured on test images of all."""
    return len(life.record.class_il) == life.tasks_learned


def _checked(path: Path, check: Callable[[], RunResults]) -> RunResults:
    try:
        return check()
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, InputError) as error:
        detail = str(error).rstrip(".")
        raise InputError(f"{path} is damaged: it does not hold the results of a run ({detail}).") from error


def _check_memories(folder: Path, life: Learner, tasks: Sequence[Task]) -> None:
    """Make sure that the memories of ``life`` are of ``tasks``.

    Raises:
        InputError: they are not.
    """
    dreamt = [memory.num_classes for memory in life.memories]
    if dreamt != [len(task.classes) for task in tasks[: len(dreamt)]]:
        raise InputError(f"{folder} holds memories of another stream of tasks than its results: leave it out.")


def _results(
    path: Path,
    content: Mapping[str, Any],
    dataset: str,
    tasks: Sequence[Task],
    class_names: Sequence[object],
    lives: Mapping[str, Learner],
    notices: Sequence[str],
) -> RunResults:
    strategies = {known(name): _strategy(entry, tasks) for name, entry in content["strategies"].items()}
    if not strategies:
        raise ValueError("no strategy")
    return RunResults(
        dataset=dataset,
        tasks=tasks,
        class_names=[printable(str(name)) for name in class_names],
        evaluated_on=printable(content["evaluated_on"]),
        config=dict(content["config"]),
        versions={printable(name): printable(text) for name, text in content["versions"].items()},
        when=datetime.fromtimestamp(path.stat().st_mtime, timezone.utc),
        strategies=strategies,
        lives=lives,
        notices=notices,
    )


def _strategy(entry: Mapping[str, Any], tasks: Sequence[Task]) -> StrategyResults:
    kinds = KINDS if "accuracy_matrix" in entry else {}
    accuracy = {kind: triangle(entry["accuracy_matrix"][kind], len(tasks)) for kind in kinds}
    confusion = [[int(count) for count in numbers(row)] for row in entry.get("confusion_matrix", [])]
    size = sum(len(task.classes) for task in tasks[: len(accuracy["class_il"])]) if accuracy else 0
    if confusion and [len(row) for row in confusion] != [size] * size:
        raise ValueError("a confusion matrix of another size than the classes")
    if any(count < 0 for row in confusion for count in row):
        raise ValueError("a confusion matrix with less than nothing")
    calibration = numbers(entry.get("expected_calibration_error", []))
    if len(calibration) > len(tasks) or not all(0 <= error <= 1 for error in calibration):
        raise ValueError("a calibration error that does not fit the tasks, or is not from 0 to 1")
    quality = {name: numbers(entry[name]) for name in QUALITIES}
    if len({len(values) for values in quality.values()}) > 1 or len(quality["diversity"]) > len(tasks):
        raise ValueError("memories that do not fit the tasks")
    per_class = {name: [numbers(row) for row in entry.get(f"{name}_per_class", [])] for name in PER_CLASS}
    return StrategyResults(
        accuracy=accuracy,
        average={kind: number(entry["average_accuracy"][kind]) for kind in kinds},
        forgetting={kind: number(entry["forgetting"][kind]) for kind in kinds},
        backward_transfer={kind: number(entry["backward_transfer"][kind]) for kind in kinds},
        confusion=confusion,
        calibration_error=calibration,
        phases={printable(name): number(value) for name, value in entry["seconds"]["phases"].items()},
        seconds=number(entry["seconds"]["total"]),
        memory_bytes=int(number(entry["memory_bytes"])),
        replaced_bytes=int(number(entry["replaced_data_bytes"])),
        kept_once=int(number(entry.get("statistics_bytes", 0))),
        quality=quality,
        quality_per_class=per_class,
    )


def known(strategy: str) -> str:
    """Return ``strategy``, which also names a folder, if it is one.

    Raises:
        ValueError: it is not.
    """
    if strategy not in STRATEGIES:
        raise ValueError(f"there is no strategy {strategy!r}")
    return strategy


def triangle(rows: Any, num_tasks: int) -> Matrix:
    """Return a lower-triangular matrix of fractions.

    Raises:
        ValueError: ``rows`` are not one, or more than there are tasks.
    """
    matrix = [numbers(row) for row in rows]
    lengths = [len(row) for row in matrix]
    if not 1 <= len(matrix) <= num_tasks or lengths != list(range(1, len(matrix) + 1)):
        raise ValueError(f"an accuracy matrix with rows of {lengths} for {num_tasks} tasks")
    if not all(0 <= value <= 1 for row in matrix for value in row):
        raise ValueError("an accuracy that is not from 0 to 1")
    return matrix


def numbers(values: Any) -> list[float]:
    """Return a list of numbers.

    Raises:
        ValueError: ``values`` are something else.
    """
    if not isinstance(values, list):
        raise ValueError(f"{values!r} where a list of numbers should be")
    return [number(value) for value in values]


def number(value: Any) -> float:
    """Return a finite number.

    Raises:
        ValueError: ``value`` is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} where a number should be")
    return value
