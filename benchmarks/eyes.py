"""Accuracy behind encoders: MyGO beside joint training and the closed forms, on the same features.

python benchmarks/eyes.py --clothing DIR --cifar100 DIR --clinc150 FILE
python benchmarks/eyes.py --clothing DIR --validation-share 0.2 --strategies slda --change closed-form.shrinkage=0.1

The data: alexeygrigorev/clothing-dataset-small (photos, CC0) and cyizhuo/CIFAR-100-dataset (PNG), exported as folders
with train and test of one folder per class; clinc/oos-eval's data/data_full.json (CC BY 3.0). What is left out is not
measured now. Features are encoded once and kept in --out, and so is each finished cell: what was interrupted goes on;
several commands with the same --out, for different data, can run side by side. With a validation share, settings are
tried on that part of the training data, and nothing is kept.
"""

import csv
import json
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import tyro

from benchmarks.report import check_data_is_named
from benchmarks.streams import class_order, settings_to_try, spread
from mygo.config.presets import behind_encoder
from mygo.config.settings import change
from mygo.data.survey import survey
from mygo.events import Place
from mygo.jobs.encoding import encoded
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.perception import open_encoder, ready
from mygo.training.precision import resolved
from mygo.training.process_group import SingleProcess

RESULTS = Path(__file__).resolve().parent / "results" / "eyes.md"
STRATEGIES = ("mygo", "joint", "replay", "finetune", "ncm", "slda", "ranpac")
ORDERS = 3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Stream:
    """A data set, dealt into tasks, and the encoder that it is seen through."""

    title: str
    data: str
    """Which of the flags names it."""
    encoder: str
    num_tasks: int
    shrinkage: float = 1e-4
    """Of slda: the best of 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2 and 0.4 with a validation share of 0.2."""


STREAMS = (
    Stream("clothing photos 224 px, 5 tasks of 2", "clothing", "efficientnet-lite0", 5, 0.1),
    Stream("CIFAR-100 at 96 px, 10 tasks of 10", "cifar100", "efficientnet-lite0@96", 10),
    Stream("CIFAR-100 at 96 px, 20 tasks of 5", "cifar100", "efficientnet-lite0@96", 20),
    Stream("CLINC150, 15 tasks of 10", "clinc150", "minilm", 15),
)


@dataclass(frozen=True)
class Flags:
    """Which data there is, and where results are kept."""

    clothing: Path | None = None
    cifar100: Path | None = None
    clinc150: Path | None = None
    out: Path = Path("runs/eyes")
    threads: int = 2
    strategies: str = ",".join(STRATEGIES)
    """Comma list of the rows."""
    orders: int = ORDERS
    """Class orders; the first is by name."""
    validation_share: float = 0.0
    """Share of the training data to try settings on."""
    change: tuple[str, ...] = ()
    """Settings to try, each as its flag and value: sleep.steps=400."""


def features_of(stream: Stream, source: Path, out: Path) -> Path:
    """Return the file with the features of a data set, which are encoded if they were not."""
    file = out / f"{stream.data}.npz"
    if file.exists():
        return file
    if source.suffix == ".json":
        source = table_of(source, out)
    encoder = open_encoder(stream.encoder, None)
    ready(encoder, resolved("auto", CPU), CPU)
    place = Place("benchmark", 0, "encode")
    with encoded(
        survey(str(source), least=2), encoder, SingleProcess(), out / f"features-{stream.data}", place=place
    ) as found:
        data = found.dataset
        parts = {"": data.train, "test_": data.test}
        arrays = {f"{part}features": each.inputs.numpy() for part, each in parts.items()}
        labels = {f"{part}labels": each.labels.numpy() for part, each in parts.items()}
        np.savez(file, **arrays, **labels, class_names=np.array(data.class_names))
    return file


def table_of(source: Path, out: Path) -> Path:
    """Write CLINC150's JSON as a table of texts, labels and splits, and return it."""
    table = out / "clinc150.csv"
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label", "split"])
        for split, found in json.loads(source.read_text()).items():
            if split in ("train", "test"):
                rows.writerows([*pair, split] for pair in found)
    return table


def measure(stream: Stream, strategy: str, order: int, features: Path, flags: Flags) -> None:
    """Keep the results of one strategy on one order of classes, if they are not kept yet."""
    kept = flags.out / f"{stream.data}-{stream.num_tasks}-{strategy}-{order}.json"
    if kept.exists() and not flags.validation_share:
        return
    names = np.load(features)["class_names"]
    changes = {"closed_form.shrinkage": stream.shrinkage} | settings_to_try(flags.change)
    config = ExperimentConfig(
        dataset=str(features),
        num_tasks=stream.num_tasks,
        class_order=class_order(len(names), order),
        strategies=(strategy,),
        validation_share=flags.validation_share,
        life=replace(change(behind_encoder(), changes), seed=order),
    )
    results = Experiment(config).run()["strategies"][strategy]
    matrix = results["accuracy_matrix"]
    found = {
        "class_il": results["average_accuracy"]["class_il"],
        "task_il": results["average_accuracy"]["task_il"],
        "forgetting": results["forgetting"]["class_il"],
        "bytes_a_class": results["memory_bytes"] / len(names),
        "bytes_once": results["statistics_bytes"],
        "seconds": results["seconds"]["total"],
        "tasks": len(matrix["class_il"]),
    }
    print(stream.title, strategy, order, *flags.change, found, flush=True)
    if not flags.validation_share:
        kept.write_text(json.dumps(found))


def row(strategy: str, cells: list[dict[str, Any]]) -> str:
    """Return one row of the table."""
    measured = " | ".join(spread([each[name] for each in cells]) for name in ("class_il", "task_il", "forgetting"))
    seconds = statistics.median(each["seconds"] for each in cells)
    kept = f"{cells[0]['bytes_a_class']:,.0f} | {cells[0]['bytes_once']:,.0f}"
    return f"| {strategy} | {measured} | {kept} | {seconds:.0f} s | {len(cells)} |"


def main() -> None:
    """Measure what is not measured yet, and write the tables."""
    flags = tyro.cli(Flags)
    check_data_is_named(clothing=flags.clothing, cifar100=flags.cifar100, clinc150=flags.clinc150)
    torch.set_num_threads(flags.threads)
    flags.out.mkdir(parents=True, exist_ok=True)
    strategies = flags.strategies.split(",")
    for stream in STREAMS:
        source: Path | None = getattr(flags, stream.data)
        if source is not None:
            features = features_of(stream, source, flags.out)
            for order in range(flags.orders):
                for strategy in strategies:
                    measure(stream, strategy, order, features, flags)
    if not flags.validation_share:
        RESULTS.write_text("\n".join(lines_of(flags.out)))


def lines_of(out: Path) -> list[str]:
    """Return the tables of all cells that are kept in ``out``."""
    lines = ["# Behind encoders", "", (__doc__ or "").split("\n\n")[1], ""]
    for stream in STREAMS:
        lines += [f"## {stream.title}, {stream.encoder}", ""]
        lines += ["| strategy | class-IL | task-IL | forgetting | bytes a class | bytes once | time | orders |"]
        lines += ["|---" * 8 + "|"]
        for strategy in STRATEGIES:
            files = sorted(out.glob(f"{stream.data}-{stream.num_tasks}-{strategy}-*.json"))
            if files:
                lines.append(row(strategy, [json.loads(file.read_text()) for file in files]))
        lines += [""]
    lines += [
        "Mean ± standard deviation over orders of classes, each with its own seed; time is the median of a life's."
    ]
    return [*lines, ""]


if __name__ == "__main__":
    main()
