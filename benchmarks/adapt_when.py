"""When `--adapt late` pays: its lives beside those behind the frozen encoder, by data, size and images a class.

python benchmarks/adapt_when.py --clothing DIR --cifar100 DIR

The data is that of eyes.py, in five tasks; of CIFAR-100 every fifth class by name, the first N training images of
each, and all of their test images. Each finished cell is kept in --out: what was interrupted goes on; several commands
with the same --out, for different data, can run side by side. results/adapt_when.json holds the cells of the table
with a hash of their settings: what is there is not measured again, and what was measured with others is not shown.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import tyro

from benchmarks.report import RESULTS, check_data_is_named, table, write_report
from benchmarks.streams import cell_with, class_order, fingerprint, keep_cells, kept_cells, spread
from mygo.config.learner import Adapt, LifeConfig
from mygo.config.presets import behind_encoder
from mygo.data.survey import survey
from mygo.events import Place
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.shared_features import shared_features
from mygo.phase import PhaseContext
from mygo.training.process_group import SingleProcess

CELLS = RESULTS / "adapt_when.json"
NUM_TASKS = 5
ORDERS = 3
ROWS: dict[str, tuple[Adapt, str]] = {
    "frozen": ("none", "mygo"),
    "joint": ("none", "joint"),
    "late": ("late", "mygo"),
}
"""What sleep adapts, and the strategy."""


@dataclass(frozen=True)
class Setting:
    """Data, and the size at which EfficientNet-lite0 sees it."""

    data: str
    """Which of the flags names it."""
    size: int
    every: int = 1
    """Every how manieth class is learned."""
    most: int | None = None
    """Training images of a class; by default all."""

    @property
    def key(self) -> str:
        """What the files of its cells begin with."""
        return f"{self.data}-{self.size}-{self.most or 'all'}"

    @property
    def encoder(self) -> str:
        """The encoder, as --encoder has it."""
        return f"efficientnet-lite0@{self.size}"


SETTINGS = (
    *(Setting("cifar100", 96, every=5, most=most) for most in (50, 250, 500)),
    Setting("cifar100", 224, every=5, most=50),
    Setting("clothing", 96),
    Setting("clothing", 160),
)
"""Clothing photos at 224 px are in adapt.py's table."""


@dataclass(frozen=True)
class Flags:
    """Which data there is, and where results are kept."""

    clothing: Path | None = None
    cifar100: Path | None = None
    out: Path = Path("runs/adapt_when")
    threads: int = 2
    settings: tuple[str, ...] = tuple(setting.key for setting in SETTINGS)
    """What is measured now: data, size and images a class."""
    orders: tuple[int, ...] = tuple(range(ORDERS))
    """Class orders, each with its own seed; the first is by name."""


def thinned(source: Path, folder: Path, every: int, most: int | None) -> Path:
    """Copy every so manieth class of ``source`` to ``folder``, ``most`` of its training images, and return that."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("train", "test"):
        for name in sorted(each.name for each in (source / part).iterdir())[::every]:
            images = sorted((source / part / name).iterdir())
            (folder / part / name).mkdir(parents=True)
            for image in images[: most if part == "train" else None]:
                shutil.copyfile(image, folder / part / name / image.name)
    return folder


def life_of(setting: Setting, row: str, order: int) -> LifeConfig:
    """Return what the life of one cell is."""
    return replace(behind_encoder(ROWS[row][0]), seed=order, encoder=setting.encoder)


def settings_of(setting: Setting, row: str, order: int) -> str:
    """Return a hash of what a cell is measured with."""
    return fingerprint({"data": asdict(setting), "life": asdict(life_of(setting, row, order)), "tasks": NUM_TASKS})


def accuracy(setting: Setting, row: str, order: int, source: Path, num_classes: int, index: Path) -> float:
    """Return class-IL accuracy after the last task."""
    strategy = ROWS[row][1]
    config = ExperimentConfig(
        dataset=str(source),
        num_tasks=NUM_TASKS,
        class_order=class_order(num_classes, order),
        strategies=(strategy,),
        life=life_of(setting, row, order),
    )
    found: float = Experiment(config, features=index).run()["strategies"][strategy]["average_accuracy"]["class_il"]
    return found


def measure(setting: Setting, data: Path, out: Path, orders: Sequence[int]) -> None:
    """Keep the accuracy of each row in each of ``orders``, unless it is kept already."""
    kept = all_cells(out)
    missing = [(row, order) for order in orders for row in ROWS if found_in(kept, setting, row, order) is None]
    if not missing:
        return
    copied = out / f"data-{setting.key}"
    is_whole = setting.every == 1 and setting.most is None
    source = data if is_whole else thinned(data, copied, setting.every, setting.most)
    context = PhaseContext(SingleProcess(), place=Place("benchmark", 0, "encode"))
    found = survey(str(source), least=2)
    with ExitStack() as stack:
        index = {
            adapt: stack.enter_context(
                shared_features(found, str(source), encoder, None, out / f"vectors-{setting.key}-{adapt}", context)
            )
            for adapt, encoder in (("none", setting.encoder), ("late", f"front:{setting.encoder}"))
        }
        for row, order in missing:
            score = accuracy(setting, row, order, source, len(found.class_names), index[ROWS[row][0]])
            cell = {"class_il": score, "settings": settings_of(setting, row, order)}
            (out / f"{name_of(setting, row, order)}.json").write_text(json.dumps(cell))
            print(setting.key, row, order, score, flush=True)
    shutil.rmtree(copied, ignore_errors=True)


def name_of(setting: Setting, row: str, order: int) -> str:
    """Return the name of one cell."""
    return f"{setting.key}-{row}-{order}"


def all_cells(out: Path) -> dict[str, Any]:
    """Return all cells that were measured, by name."""
    return kept_cells(CELLS, out.glob("*.json"))


def found_in(kept: Mapping[str, Any], setting: Setting, row: str, order: int) -> float | None:
    """Return the accuracy of one cell if it was measured with the settings of today."""
    cell = cell_with(kept, name_of(setting, row, order), settings_of(setting, row, order))
    return cell["class_il"] if cell else None


def line(setting: Setting, kept: Mapping[str, Any]) -> list[str]:
    """Return one line of the table, of the orders of which all rows are ``kept``; an empty list if there is none."""
    by_order = [[found_in(kept, setting, row, order) for row in ROWS] for order in range(ORDERS)]
    orders = [[score for score in scores if score is not None] for scores in by_order if None not in scores]
    if not orders:
        return []
    found = dict(zip(ROWS, zip(*orders, strict=True), strict=True))
    gains = [late - max(others) for late, *others in zip(found["late"], found["frozen"], found["joint"], strict=True)]
    data = f"{setting.data}, {setting.most or 'all'} images a class"
    return [data, str(setting.size), *map(spread, (*found.values(), gains)), str(len(orders))]


def main() -> None:
    """Measure what is not measured yet, and write the table."""
    flags = tyro.cli(Flags)
    check_data_is_named(clothing=flags.clothing, cifar100=flags.cifar100)
    torch.set_num_threads(flags.threads)
    flags.out.mkdir(parents=True, exist_ok=True)
    for setting in SETTINGS:
        data: Path | None = getattr(flags, setting.data)
        if data is not None and setting.key in flags.settings:
            measure(setting, data, flags.out, flags.orders)
    header = [
        "data",
        "px",
        "frozen",
        "joint training of a head",
        "`--adapt late`",
        "above the better of both",
        "orders",
    ]
    kept = all_cells(flags.out)
    keep_cells(CELLS, kept)
    rows = table(header, [found for setting in SETTINGS if (found := line(setting, kept))])
    note = "Class-IL on test images; mean ± standard deviation over orders of classes, each with its own seed."
    command = "python benchmarks/adapt_when.py --clothing DIR --cifar100 DIR"
    write_report("adapt_when", "When adapting pays", command, f"{rows}\n\n{note}")


if __name__ == "__main__":
    main()
