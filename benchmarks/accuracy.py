"""How accurate a life is: MyGO beside its baselines, on several streams and networks, and with each ingredient changed.

python benchmarks/accuracy.py            Fashion-MNIST, three seeds (one where a table says so); hours on two cores
python benchmarks/accuracy.py --only "Split mnist" --data-root DIR     MNIST, as torchvision has it in DIR
python benchmarks/accuracy.py --quick    digits, one seed; minutes, writes nothing

Every cell (one life of one strategy with one seed) runs in a process of its own, through plain `mygo`, and is kept in
--cells: what was interrupted goes on from there. Lives whose memories are the same share them.
"""

import argparse
import hashlib
import inspect
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from statistics import mean, median, stdev
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.progress import Progress, TimeElapsedColumn

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.inference import class_il_by_rule  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402
from mygo import sleep, wake  # noqa: E402
from mygo.baselines import methods as baselines  # noqa: E402
from mygo.baselines import registry as strategies  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.files import read_json, write_json  # noqa: E402
from mygo.jobs.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.jobs.life import Life  # noqa: E402
from mygo.memory import cache  # noqa: E402
from mygo.networks import neocortex  # noqa: E402
from mygo.replay import dreamer, schedule, spec  # noqa: E402
from mygo.training.process_group import SingleProcess  # noqa: E402

CODE = (*map(import_module, cache.CODE), baselines, dreamer, neocortex, schedule, sleep, spec, strategies, wake)
"""The modules whose source decides what a life becomes."""
MIXED = {0: (3, 8, 1, 6, 0, 9, 4, 2, 7, 5), 1: (7, 2, 5, 0, 8, 4, 9, 1, 6, 3), 2: (4, 6, 9, 3, 2, 8, 1, 5, 0, 7)}
"""A random class order for each seed; shirts and what looks like them fall into other tasks than in label order."""


@dataclass(frozen=True)
class Row:
    """One line of a table: a strategy on a stream, with settings changed from the data set's defaults."""

    name: str
    strategy: str
    dataset: str = "fashion-mnist"
    num_tasks: int = 5
    mixed: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    one_seed: bool = False

    def config(self, seed: int, data_root: Path) -> ExperimentConfig:
        """Return the experiment of this row with ``seed``."""
        life = change(preset(self.dataset), {**self.changes, "seed": seed})
        return ExperimentConfig(
            dataset=self.dataset,
            num_tasks=self.num_tasks,
            class_order=MIXED[seed] if self.mixed else None,
            strategies=(self.strategy,),
            data_root=data_root,
            life=life,
        )


def with_baselines(name: str, strategies: Sequence[str], **stream: Any) -> list[Row]:
    """Return a row for each of ``strategies`` on one stream."""
    return [Row(f"{strategy}, {name}", strategy, **stream) for strategy in strategies]


def ablations(dataset: str) -> list[Row]:
    """Return rows that each change one thing in the default life, those of the GAN with a quarter of its steps."""
    default = preset(dataset)
    changes: dict[str, dict[str, Any]] = {
        "no term over all heads": {"sleep.all_heads_weight": 0.0},
        "no term over the own head": {"sleep.own_head_weight": 0.0},
        "no features distilled": {"sleep.feature_weight": 0.0},
        "features distilled, weight 0.5": {"sleep.feature_weight": 0.5},
        "temperature 1": {"sleep.temperature": 1.0},
        "temperature 2": {"sleep.temperature": 2.0},
        "dreams not shifted": {"sleep.max_shift": 0},
        "half of the dreams are of the newest task": {"sleep.current_share": 0.5},
    }
    if dataset != "digits":  # whose memories would be below the floors
        fewer = {"memory.gan.steps": default.memory.gan.steps // 4}
        changes |= {
            "a quarter of the GAN steps": fewer,
            "a quarter of the GAN steps, no warm start of generators": {**fewer, "memory.gan.warm_start": False},
            "a quarter of the GAN steps, no moving average of generators": {**fewer, "memory.gan.ema_decay": 0.0},
        }
    rows = [
        Row(name, "mygo", dataset, changes=settings, one_seed=True)
        for name, settings in changes.items()
        if change(default, settings) != default  # else the default has nothing to leave out
    ]
    whole, no_sleep = Row("whole", "mygo", dataset), Row("no sleep", "mygo-nosleep", dataset)
    return [replace(whole, one_seed=True), *rows, replace(no_sleep, one_seed=True)]


def sections(quick: bool) -> dict[str, list[Row]]:
    """Return the tables' rows by title; rows of like content share their cells."""
    dataset: str = "digits" if quick else "fashion-mnist"
    pair, three = ("mygo", "joint"), ("mygo", "joint", "replay")
    mlp = {"backbone": "mlp"}
    return {
        f"Split {dataset}, 5 tasks of 2 classes": [
            *with_baselines("conv", three, dataset=dataset),
            *with_baselines("conv", ("lwf", "finetune"), dataset=dataset, one_seed=True),
            *with_baselines("MLP 2×400", three, dataset=dataset, changes=mlp),
        ],
        "Split mnist, 5 tasks of 2 classes": []
        if quick
        else [
            *with_baselines("conv", pair, dataset="mnist"),
            *with_baselines("MLP 2×400", pair, dataset="mnist", changes=mlp),
        ],
        "Other streams, conv": [
            *with_baselines(f"{dataset}, 2 tasks of 5", pair, dataset=dataset, num_tasks=2, one_seed=True),
            *with_baselines(f"{dataset}, 5 of 2, mixed class order", pair, dataset=dataset, mixed=True, one_seed=True),
            *with_baselines("digits, 10 tasks of 1", pair, dataset="digits", num_tasks=10),
        ],
        f"Changed in one ingredient, {dataset}, conv": ablations(dataset),
    }


@dataclass(frozen=True)
class Cell:
    """One life: a row with one seed, lived on ``device``."""

    config: ExperimentConfig
    device: str
    folder: Path

    @property
    def file(self) -> Path:
        """Where the result is kept: another configuration, device kind, version of torch or code is another file."""
        settings = asdict(self.config) | {"data_root": ""}
        digest = hashlib.sha256(repr((settings, torch.device(self.device).type, torch.__version__)).encode())
        for module in CODE:
            digest.update(inspect.getsource(module).encode())
        return self.folder / f"{digest.hexdigest()[:16]}.json"


def run_cell(cell: Cell, threads: int) -> None:
    """Live the life of ``cell`` in this process, and keep its results and what they took."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    with TemporaryDirectory() as out:
        experiment = Experiment(cell.config, Path(out), memory_cache=cell.folder / "memories")
        results = experiment.run(SingleProcess(cell.device))
        ((strategy, found),) = results["strategies"].items()
        found["wall_seconds"] = time.perf_counter() - began
        if strategy == "mygo":
            life = Life.open(Path(out) / "life" / strategy)
            found["class_il_by_rule"] = class_il_by_rule(life, experiment.open_stream().test)
    write_json(cell.file, found)


def run_missing(cells: Sequence[Cell], processes: int, threads: int) -> None:
    """Run those of ``cells`` that are not kept yet, ``processes`` at a time."""
    missing = list({cell.file: cell for cell in cells if not cell.file.exists()}.values())
    with Progress(*Progress.get_default_columns(), TimeElapsedColumn()) as bars:
        bar = bars.add_task(f"{len(missing)} lives of {len({cell.file for cell in cells})}", total=len(missing))
        with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
            for future in as_completed([pool.submit(run_cell, cell, threads) for cell in missing]):
                future.result()
                bars.advance(bar)


# -- tables -----------------------------------------------------------------------------------------------------------


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean and, of several values, the standard deviation."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def cells_of(found: Sequence[dict[str, Any]]) -> list[str]:
    """Return the columns of one row, from its results with all seeds."""
    accuracies = [[each["average_accuracy"][kind] for each in found] for kind in ("class_il", "task_il")]
    quality = [
        spread([mean(each[name]) for each in found]) if found[0][name] else ""
        for name in ("label_fidelity", "diversity", "frechet_distance", "nearest_neighbour_ratio")
    ]
    kept = mean(each["memory_bytes"] for each in found)
    raw = mean(each["replaced_data_bytes"] for each in found)
    share = "0" if not kept else f"1/{raw / kept:.0f}" if kept <= raw else f"{kept / raw:.0f} times"
    # One life alone is no measure of time: whatever else ran meanwhile is in it.
    minutes = f"{median(each['wall_seconds'] for each in found) / 60:.0f}" if len(found) > 1 else ""
    return [*map(spread, accuracies), share, *quality, minutes]


HEADER = [
    "",
    "class-IL",
    "task-IL",
    "kept",
    "label fidelity",
    "diversity",
    "Fréchet",
    "neighbours",
    "minutes",
]
LEGEND = """Class-IL and task-IL: average accuracy on the test set after the last task, mean ± standard deviation over
seeds {seeds}; without a deviation, seed 0 alone. Kept: bytes to remember with (generators, or real images) against
those of the raw images. Label fidelity, diversity, Fréchet (distance) and neighbours: quality of the memories, means
over tasks, as in results.json. Minutes: median of the lives, where there are several, each in one process with
{threads} thread(s) on {device}, {processes} at a time; MLPs found the memories of conv trained, and took that much
less."""


def report(rows: dict[str, list[tuple[str, list[dict[str, Any]]]]], legend: str) -> str:
    """Return all tables; ``rows`` has the name and the results of each row that is complete, by title."""
    parts = []
    for title, lines in rows.items():
        parts += [f"## {title}", table(HEADER, [[name, *cells_of(found)] for name, found in lines])]
    by_rule = {name: [each["class_il_by_rule"] for each in found] for name, found in mains(rows)}
    if by_rule:
        parts += ["## Ways to name a class, fitted on dreams alone: class-IL"]
        rules = list(next(iter(by_rule.values()))[0])
        body = [[rule, *(spread([each[rule] for each in found], 4) for found in by_rule.values())] for rule in rules]
        parts += [table(["", *by_rule], body)]
    return "\n\n".join([*parts, legend])


def mains(rows: dict[str, list[tuple[str, list[dict[str, Any]]]]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the first table's lines of MyGO, name and results."""
    return [line for line in next(iter(rows.values())) if "class_il_by_rule" in line[1][0]]


def main() -> None:
    """Run what is missing, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=3, choices=(1, 2, 3))
    parser.add_argument("--cells", type=Path, default=Path("runs/accuracy"), help="folder of finished cells, memories")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="lives at a time")
    parser.add_argument("--threads", type=int, default=1, help="of each life")
    parser.add_argument("--only", default="", help="run only rows whose name or title has this in it")
    flags = parser.parse_args()
    seeds = range(1 if flags.quick else flags.seeds)
    cells = {
        title: [
            (
                row.name,
                [
                    Cell(row.config(seed, flags.data_root), flags.device, flags.cells)
                    for seed in seeds[: 1 if row.one_seed else None]
                ],
            )
            for row in rows
            if flags.only in row.name or flags.only in title
        ]
        for title, rows in sections(flags.quick).items()
    }
    run_missing([cell for rows in cells.values() for _, row in rows for cell in row], flags.processes, flags.threads)
    found = {
        title: [(name, [read_json(cell.file) for cell in row]) for name, row in rows] for title, rows in cells.items()
    }
    legend = LEGEND.format(
        seeds=", ".join(map(str, seeds)), threads=flags.threads, device=flags.device, processes=flags.processes
    )
    text = report({title: rows for title, rows in found.items() if rows}, legend)
    print(text)
    if not flags.quick and not flags.only:
        write_report("accuracy", "Accuracy without stored data", "python benchmarks/accuracy.py", text)


if __name__ == "__main__":
    main()
