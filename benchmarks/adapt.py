"""Accuracy of lives that adapt their encoder asleep, beside frozen ones, joint training and replay of JPEGs.

python benchmarks/adapt.py --clothing DIR --cifar100 DIR
python benchmarks/adapt.py --cifar100 DIR --validation-share 0.1 --rows mygo --change sleep.steps=400

The data is that of eyes.py. results/adapt.json holds the cells of the tables with a hash of their settings: what is
there is not measured again, and what was measured with others is not shown. Each finished cell is kept in --out too, so
that several commands with the same --out, for different rows, orders or data, can run side by side. With a validation
share, settings are tried on that part of the training data, and nothing is kept.

Joint fine-tuning and replay see each class as often, and are mixed with linear discriminant analysis, as sleep is.
Joint fine-tuning takes 2,550 steps, replay those of a wake, 150, and of the last sleep, 24 a class and at most 2,400.
JPEGs are drawn at random, and counted without the tables that all of them have in common. Of CIFAR-100 in five tasks
there is every fifth class by name, with the first N training images of each.
"""

import io
import shutil
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import tyro
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.adapt_strategies import JPEGS, adapt_first, register
from benchmarks.report import RESULTS, table
from benchmarks.streams import cell_with, class_order, fingerprint, keep_cells, kept_cells, settings_to_try, spread
from mygo.adapting.front import PREFIX as FRONT
from mygo.baselines.registry import ASLEEP
from mygo.config.learner import Adapt, LifeConfig
from mygo.config.presets import behind_encoder
from mygo.config.settings import change
from mygo.data.survey import Survey, survey
from mygo.events import Event, PhaseEnded, Place
from mygo.files import read_json, write_json
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.shared_features import shared_features
from mygo.memory.forms import blank_memory
from mygo.memory.quality import stored_bytes
from mygo.phase import PhaseContext
from mygo.reporting.style import GREEN, INK, LINE, SKY, WIDTH, png, tidy
from mygo.training.process_group import SingleProcess

TABLES = RESULTS / "adapt.md"
CELLS = RESULTS / "adapt.json"
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "adapt.png"
ENCODING = PhaseContext(SingleProcess(), place=Place("benchmark", 0, "encode"))
ORDERS = 3
JPEG_QUALITY = 85
SAMPLED = 300
"""Pictures whose size as JPEG is measured."""
PAYS = ("frozen", "frozen-joint", "mygo")
"""The rows that say whether adapting pays."""
AT_THE_END = ("joint", "joint-once", "at-once", "replay-jpegs", "labels", "unmirrored")
"""The strategies whose forgetting says nothing: they train on all tasks at once."""


@dataclass(frozen=True)
class Row:
    """A row of a table: a strategy, what sleep adapts, and settings that it changes."""

    title: str
    strategy: str = "mygo"
    changes: tuple[tuple[str, Any], ...] = ()
    orders: int = ORDERS
    adapt: Adapt = "late"


ROWS = {
    "frozen": Row("frozen, mygo", adapt="none"),
    "frozen-joint": Row("frozen, joint training of a head", "joint", adapt="none"),
    "frozen-slda": Row("frozen, slda", "slda", adapt="none"),
    "frozen-ranpac": Row("frozen, ranpac", "ranpac", adapt="none"),
    "mygo": Row("**mygo --adapt late**"),
    "joint": Row("joint fine-tuning of the late blocks, real maps", "joint-once"),
    "at-once": Row("all dreams at once, taught by each lesson's fast learner", "at-once"),
    "replay": Row("replay of JPEGs in as many bytes", "replay-jpegs"),
    "adapt-first": Row("the first lesson adapts, then frozen", "adapt-first"),
    "labels": Row("at once, without teachers: labels alone", "labels", orders=1),
    "unmirrored": Row("at once, without mirror images", "unmirrored", orders=1),
    "no-directions": Row("at once, without own directions", "at-once", (("memory.gaussian.rank", 0),), orders=1),
    "temperature-1": Row("at once, at temperature 1", "at-once", (("sleep.temperature", 1.0),), orders=1),
    "half": Row(
        "at once, in half the steps", "at-once", (("sleep.steps", 1200), ("sleep.steps_per_class", 12)), orders=1
    ),
    "warm": Row("each sleep goes on from the last", "warm", orders=1),
}


@dataclass(frozen=True)
class Stream:
    """A data set, dealt into tasks, and the size at which EfficientNet-lite0 sees it."""

    title: str
    data: str
    """Which of the flags names it."""
    size: int
    num_classes: int
    num_tasks: int
    every: int = 1
    """Every how manieth class is learned."""
    most: int | None = None
    """Training images of a class; by default all."""
    rows: tuple[str, ...] = PAYS
    shrinkage: float = 1e-4
    """Of slda: the one that eyes.py has for this data, where it is the best on validation data."""

    @property
    def key(self) -> str:
        """What the names of its cells begin with."""
        return f"{self.data}-{self.size}-{self.most or 'all'}"

    @property
    def encoder(self) -> str:
        """The encoder, as --encoder has it."""
        return "efficientnet-lite0" if self.size == 224 else f"efficientnet-lite0@{self.size}"


STREAMS = (
    Stream("clothing photos 224 px, 5 tasks of 2", "clothing", 224, 10, 5, rows=tuple(ROWS), shrinkage=0.1),
    Stream("CIFAR-100 at 96 px, 10 tasks of 10", "cifar100", 96, 100, 10, rows=tuple(ROWS)),
    Stream(
        "clothing photos 160 px, 5 tasks of 2",
        "clothing",
        160,
        10,
        5,
        rows=(*PAYS, "frozen-slda", "joint"),
        shrinkage=0.1,
    ),
    Stream("clothing photos 96 px, 5 tasks of 2", "clothing", 96, 10, 5),
    *(
        Stream(f"20 classes of CIFAR-100 at 96 px, {most} images each", "cifar100", 96, 20, 5, every=5, most=most)
        for most in (50, 250, 500)
    ),
    Stream("20 classes of CIFAR-100 at 224 px, 50 images each", "cifar100", 224, 20, 5, every=5, most=50),
)


@dataclass(frozen=True)
class Flags:
    """Which data there is, and where results are kept."""

    clothing: Path | None = None
    cifar100: Path | None = None
    out: Path = Path("runs/adapt")
    threads: int = 2
    streams: tuple[str, ...] = tuple(stream.key for stream in STREAMS)
    """Data, size and images a class."""
    rows: str = ",".join(ROWS)
    """Comma list of the rows."""
    orders: str = "0,1,2"
    """Comma list of the class orders; the first is by name."""
    validation_share: float = 0.0
    """Share of the training data to try settings on."""
    change: tuple[str, ...] = ()
    """Settings to try, each as its flag and value: sleep.steps=400."""


# -- cells ------------------------------------------------------------------------------------------------------------

Cell = dict[str, Any]
"""What was found of a row in one order of classes."""
Cells = dict[str, Cell]
"""Cells by their names."""


def name_of(stream: Stream, row: str, order: int) -> str:
    """Return the name of a cell."""
    return f"{stream.key}-{row}-{order}"


def life_of(stream: Stream, row: Row, order: int, tried: Sequence[str] = ()) -> LifeConfig:
    """Return what the life of a cell is, with settings that are ``tried``."""
    changes = dict(row.changes) | ({"closed_form.shrinkage": stream.shrinkage} if row.strategy == "slda" else {})
    life = change(behind_encoder(row.adapt), changes | settings_to_try(tried))
    return replace(life, seed=order, encoder=stream.encoder)


def settings_of(stream: Stream, row: Row, order: int) -> str:
    """Return a hash of what a cell is measured with."""
    data = {name: getattr(stream, name) for name in ("data", "num_classes", "num_tasks", "every", "most")}
    lives = [life_of(stream, row, order), *([behind_encoder()] if row.strategy == "adapt-first" else [])]
    return fingerprint({"data": data, "strategy": row.strategy, "lives": [asdict(life) for life in lives]})


def cell_of(kept: Cells, stream: Stream, name: str, order: int) -> Cell | None:
    """Return a cell of the row called ``name`` if it was measured with the settings of today."""
    return cell_with(kept, name_of(stream, name, order), settings_of(stream, ROWS[name], order))


def cells_of(kept: Cells, stream: Stream, name: str) -> list[Cell]:
    """Return the cells of a row, one for each order that was measured."""
    found = [cell_of(kept, stream, name, order) for order in range(ROWS[name].orders)]
    return [cell for cell in found if cell]


def all_cells(out: Path) -> Cells:
    """Return all cells that were measured, by name: those of the tables, and newer ones in ``out``."""
    return kept_cells(CELLS, out.glob("*.json"))


@dataclass
class LastSleep:
    """Handles the events of a life: how long the sleep after a ``task`` took."""

    task: int
    seconds: float = 0.0

    def __call__(self, event: Event) -> None:
        """Add up the phases of that sleep."""
        if isinstance(event, PhaseEnded) and event.place.task == self.task and event.place.phase in ASLEEP:
            self.seconds += event.seconds


def measure(stream: Stream, name: str, order: int, source: Path, index: Path, flags: Flags) -> Cell:
    """Return the results of one cell on the data ``source``, of which an ``index`` has the features or maps."""
    row, last_sleep = ROWS[name], LastSleep(stream.num_tasks - 1)
    config = ExperimentConfig(
        dataset=str(source),
        num_tasks=stream.num_tasks,
        class_order=class_order(stream.num_classes, order),
        strategies=("mygo" if row.strategy == "adapt-first" else row.strategy,),
        validation_share=flags.validation_share,
        life=life_of(stream, row, order, flags.change),
    )
    if row.strategy == "adapt-first":
        results = adapt_first(config, index, flags.out)
    else:
        (results,) = Experiment(config, features=index).run(on_event=last_sleep)["strategies"].values()
    kept = results["memory_bytes"]
    if row.strategy == "replay-jpegs":
        kept = JPEGS.size * sum(map(JPEGS.count, range(stream.num_classes)))
    return {
        "class_il": results["average_accuracy"]["class_il"],
        "task_il": results["average_accuracy"]["task_il"],
        "forgetting": results["forgetting"]["class_il"],
        "task_forgetting": results["forgetting"]["task_il"],
        "bytes_a_class": kept / stream.num_classes,
        "seconds": results["seconds"]["total"],
        "sleep": results["seconds"]["sleep"],
        "last_sleep": last_sleep.seconds,
        "threads": flags.threads,
        "settings": settings_of(stream, row, order),
    }


def measure_stream(stream: Stream, data: Path, flags: Flags) -> None:
    """Keep the results of each cell of ``stream`` that is asked for, unless they are kept already."""
    kept = {} if flags.validation_share else all_cells(flags.out)
    missing = [
        (name, order)
        for order in map(int, flags.orders.split(","))
        for name in flags.rows.split(",")
        if name in stream.rows and order < ROWS[name].orders and not cell_of(kept, stream, name, order)
    ]
    if not missing:
        return
    with TemporaryDirectory(dir=flags.out) as folder, ExitStack() as stack:
        source = data if stream.most is None else thinned(data, Path(folder) / "data", stream.every, stream.most)
        found = survey(str(source), least=2)
        index = {
            adapt: stack.enter_context(
                shared_features(found, str(source), encoder, None, Path(folder) / adapt, ENCODING)
            )
            for adapt, encoder in (("none", stream.encoder), ("late", FRONT + stream.encoder))
            if any(ROWS[name].adapt == adapt for name, _ in missing)
        }
        if "late" in index:
            JPEGS.size, JPEGS.num_classes = jpeg_bytes(found, stream.size), stream.num_classes
            JPEGS.budget = bytes_a_class(index["late"]) * stream.num_classes
        for name, order in missing:
            cell = measure(stream, name, order, source, index[ROWS[name].adapt], flags)
            print(stream.title, name, order, *flags.change, cell, flush=True)
            if not flags.validation_share:
                write_json(flags.out / f"{name_of(stream, name, order)}.json", cell)


def thinned(source: Path, folder: Path, every: int, most: int) -> Path:
    """Copy every so manieth class of ``source`` to ``folder``, ``most`` of its training images, and return that."""
    for part in ("train", "test"):
        for name in sorted(each.name for each in (source / part).iterdir())[::every]:
            (folder / part / name).mkdir(parents=True)
            for image in sorted((source / part / name).iterdir())[: most if part == "train" else None]:
                shutil.copyfile(image, folder / part / name / image.name)
    return folder


def bytes_a_class(index: Path) -> int:
    """Return the bytes that a memory of one class takes, of maps that ``index`` lists."""
    memory = blank_memory(behind_encoder("late").memory, 1, (read_json(index)["feature_dim"],))
    return stored_bytes(memory)


def jpeg_bytes(found: Survey, side: int) -> float:
    """Return the mean size of training pictures as JPEGs, none larger than ``side`` pixels.

    Without the tables that all of them have in common, which would be kept once.
    """
    part, sizes = found.parts[0], []
    for index in part.indices[torch.linspace(0, len(part.indices) - 1, SAMPLED).long()].tolist():
        picture = part.reader.read(index, None)[0]
        assert isinstance(picture, Image.Image)
        picture = picture.convert("RGB")
        picture.thumbnail((side, side))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=JPEG_QUALITY, streamtype=2)
        sizes.append(len(file.getvalue()))
    return statistics.mean(sizes)


# -- tables -----------------------------------------------------------------------------------------------------------


def line(name: str, cells: Sequence[Cell]) -> list[str]:
    """Return the line of a row of the table of one stream."""
    row = ROWS[name]
    measured = [spread([cell[what] for cell in cells]) for what in ("class_il", "task_il")]
    forgetting = [spread([cell[what] for cell in cells]) for what in ("forgetting", "task_forgetting")]
    measured += ["", ""] if row.strategy in AT_THE_END else forgetting
    seconds = statistics.median(cell["seconds"] for cell in cells)
    return [row.title, *measured, f"{cells[0]['bytes_a_class']:,.0f}", f"{seconds:.0f} s", str(len(cells))]


def table_of(kept: Cells, stream: Stream) -> str:
    """Return the table of one stream, and how long its last sleep took."""
    header = ["", "class-IL", "task-IL", "forgetting, class-IL", "task-IL", "bytes a class", "time", "orders"]
    lines = [line(name, cells) for name in stream.rows if (cells := cells_of(kept, stream, name))]
    slept = [cell for cell in cells_of(kept, stream, "mygo") if "last_sleep" in cell]  # which was not always measured
    timed = [f"{cell['last_sleep']:.0f} s ({cell['threads']})" for cell in slept]
    took = (
        f"\n\nOf --adapt late, the sleep after the last task took {', '.join(timed)} (on so many cores)."
        if timed
        else ""
    )
    return f"## {stream.title}, {stream.encoder}\n\n{table(header, lines)}{took}"


def gain_of(kept: Cells, stream: Stream) -> list[str]:
    """Return the line of the table of when adapting pays, of the orders in which all that it compares was measured."""
    by_order = [[cell_of(kept, stream, name, order) for name in PAYS] for order in range(ORDERS)]
    orders = [[cell["class_il"] for cell in cells if cell] for cells in by_order if all(cells)]
    if not orders:
        return []
    gains = [late - max(frozen, joint) for frozen, joint, late in orders]
    return [stream.title, *map(spread, (*zip(*orders, strict=True), gains)), str(len(orders))]


def draw(kept: Cells) -> Figure:
    """Return a picture of class-IL accuracy of all rows that were measured in each order, with standard deviations."""
    streams = [stream for stream in STREAMS if stream.rows != PAYS]
    found = {(stream.key, name): cells_of(kept, stream, name) for stream in streams for name in ROWS}
    whole = {key: [cell["class_il"] for cell in cells] for key, cells in found.items() if len(cells) == ORDERS}
    names = [name for name in reversed(ROWS) if any(name == row for _, row in whole)]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.25 * len(names)), layout="constrained")
    (places,) = figure.subplots(1, len(streams), sharey=True, squeeze=False)
    for axes, stream in zip(places, streams, strict=True):
        for place, name in enumerate(names):
            if scores := whole.get((stream.key, name)):
                colour = GREEN if ROWS[name].adapt == "late" else SKY
                mean, deviation = statistics.mean(scores), statistics.stdev(scores)
                axes.errorbar(mean, place, xerr=deviation, fmt="o", color=colour, ecolor=INK, capsize=2)
        axes.set_yticks(range(len(names)), [ROWS[name].title.strip("*") for name in names])
        axes.grid(axis="x", color=LINE)
        tidy(axes, f"{stream.data}, {stream.size} px")
    return figure


def report_on(kept: Cells) -> str:
    """Return the tables of all cells that are ``kept``."""
    _, commands, _, how = (__doc__ or "").split("\n\n")
    parts = ["# Sleep that adapts the encoder", commands, how.rstrip()]
    parts += [table_of(kept, stream) for stream in STREAMS if stream.rows != PAYS]
    header = ["data", *(ROWS[name].title for name in PAYS), "above the better of both", "orders"]
    gains = [found for stream in STREAMS if (found := gain_of(kept, stream))]
    parts += ["## When adapting pays", table(header, gains)]
    parts.append(
        "On test images: mean ± standard deviation over orders of classes, each with its own seed; one order without. "
        "Seconds were measured beside other jobs, most on one core."
    )
    return "\n\n".join(parts) + "\n"


def check(flags: Flags) -> None:
    """End here, with exit code 2, if a flag names what is not there, or settings that would not be those of a table."""
    wrong = sorted({*flags.rows.split(","), *flags.streams} - {*ROWS, *(stream.key for stream in STREAMS)})
    complaint = f"There is no {wrong[0]}: see --help for --rows and --streams." if wrong else ""
    if flags.change and not flags.validation_share:
        complaint = "--change is for trying settings: add --validation-share 0.1."
    if complaint:
        print(complaint, file=sys.stderr)
        sys.exit(2)


def main() -> None:
    """Measure what is not measured yet, and write the tables."""
    flags = tyro.cli(Flags)
    check(flags)
    torch.set_num_threads(flags.threads)
    flags.out.mkdir(parents=True, exist_ok=True)
    register()
    for stream in STREAMS:
        data: Path | None = getattr(flags, stream.data)
        if data is not None and stream.key in flags.streams:
            measure_stream(stream, data, flags)
    if not flags.validation_share:
        kept = all_cells(flags.out)
        keep_cells(CELLS, kept)
        TABLES.write_text(report_on(kept))
        PICTURE.write_bytes(png(draw(kept)))


if __name__ == "__main__":
    main()
