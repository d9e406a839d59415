"""Accuracy of lives that adapt their encoder asleep, beside joint training, replay of JPEGs, and less of the method.

python benchmarks/adapt.py --clothing DIR --cifar100 DIR --eyes runs/eyes
python benchmarks/adapt.py --cifar100 DIR --validation-share 0.1 --rows mygo --change sleep.steps=400

The data is that of eyes.py, whose kept cells are read for the rows behind a frozen encoder. Maps are encoded once for
all cells of a data set; each finished cell is kept in --out, so what was interrupted goes on, and several commands with
the same --out, for different rows or data, can run side by side. results/adapt.json holds the cells of the table with a
hash of their settings: what is there is not measured again, and what was measured with others is not shown. With a
validation share, settings are tried on that part of the training data, and nothing is kept.

Joint fine-tuning and replay see each class as often, and are mixed with linear discriminant analysis, as sleep is. They
train for 2,550 steps; the last sleep has 2,400, or 24 a class. JPEGs are counted without the tables that all of them
have in common.
"""

import copy
import io
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from benchmarks.streams import cell_with, class_order, fingerprint, keep_cells, kept_cells, settings_to_try, spread
from mygo import seeding, sleep, wake
from mygo.baselines.registry import ASLEEP, STRATEGIES, Phases, Strategy
from mygo.config.presets import behind_encoder
from mygo.config.settings import change
from mygo.data.examples import Examples, with_validation
from mygo.data.survey import Survey, survey
from mygo.data.tasks import Task
from mygo.encoders.efficientnet_lite import HEAD
from mygo.events import Event, PhaseEnded, Place
from mygo.jobs.experiment import Experiment, ExperimentConfig, features_in
from mygo.jobs.perception import encoder_of
from mygo.jobs.shared_features import shared_features
from mygo.learner.learner import Learner
from mygo.memory.forms import blank_memory
from mygo.memory.gaussian import ClassGaussians, fit_gaussians
from mygo.memory.quality import stored_bytes
from mygo.networks.neocortex import NeocortexNet, unstack_heads
from mygo.phase import PhaseContext
from mygo.replay.features import FeatureDreamer, NetworkTeachers
from mygo.replay.schedule import Dreams
from mygo.replay.spec import ReplaySpec
from mygo.reporting.style import GREEN, INK, LINE, SKY, WIDTH, png, tidy
from mygo.training.loop import Losses, Network, train
from mygo.training.precision import resolved
from mygo.training.process_group import ProcessGroup, SingleProcess, batch_mean

RESULTS = Path(__file__).resolve().parent / "results" / "adapt.md"
CELLS = RESULTS.with_suffix(".json")
PICTURE = Path(__file__).resolve().parent.parent / "docs" / "pictures" / "adapt.png"
ORDERS = 3
CPU = torch.device("cpu")
JPEG_QUALITY = 85
SAMPLED = 300
"""Pictures whose size as JPEG is measured."""


@dataclass(frozen=True)
class Stream:
    """A data set, dealt into tasks, and the encoder that is adapted."""

    title: str
    data: str
    """Which of the flags names it."""
    encoder: str
    num_classes: int
    num_tasks: int
    eyes: str
    """What the cells of eyes.py on it begin with."""


STREAMS = (
    Stream("clothing photos 224 px, 5 tasks of 2", "clothing", "efficientnet-lite0", 10, 5, "clothing-5"),
    Stream("CIFAR-100 at 96 px, 10 tasks of 10", "cifar100", "efficientnet-lite0@96", 100, 10, "cifar100-10"),
)
FROZEN = ("mygo", "joint", "slda", "ranpac")
AT_THE_END = ("joint-once", "at-once", "replay-jpegs", "labels", "unmirrored")
"""The strategies that train after the last task alone, and so have no forgetting."""


@dataclass(frozen=True)
class Row:
    """A row of the table: a strategy, and settings that it changes."""

    title: str
    strategy: str = "mygo"
    changes: tuple[tuple[str, Any], ...] = ()
    orders: int = ORDERS


ROWS = {
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
class Flags:
    """Which data there is, and where results are kept."""

    clothing: Path | None = None
    cifar100: Path | None = None
    eyes: Path = Path("runs/eyes")
    out: Path = Path("runs/adapt")
    threads: int = 2
    rows: str = ",".join(ROWS)
    """Comma list of the rows."""
    orders: str = "0,1,2"
    """Comma list of the class orders; the first is by name."""
    validation_share: float = 0.0
    """Share of the training data to try settings on."""
    change: tuple[str, ...] = ()
    """Settings to try, each as its flag and value: sleep.steps=400."""


# -- strategies -------------------------------------------------------------------------------------------------------


def is_last(life: Learner, task: Task) -> bool:
    """Return whether ``task`` is the last of the stream of ``life``, which is named after all of them."""
    return task.index == life.stream.partition(": ")[2].count(" ")


def joint_once(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Keep all data, and train on it after the last task alone: before, joint training would begin anew each time."""
    life.exemplars.append(data)
    if is_last(life, task):
        fit_on_real(life, life.exemplars, context)


def fit_on_real(life: Learner, parts: Sequence[Examples], context: PhaseContext) -> None:
    """Train what a sleep trains on real examples of each task, as often of each class, and mix in what it mixes in."""
    sizes, config = life.neocortex.head_sizes, life.config.sleep
    mirrored = [wake.mirrored(life, part) for part in parts]
    inputs = torch.cat([part.inputs for part in mirrored])
    labels = torch.cat([part.labels + sum(sizes[:task]) for task, part in enumerate(mirrored)])
    form = life.config.memory.gaussian
    gaussians = ClassGaussians(
        [
            fit_gaussians(part.inputs, part.labels, size, form, context.group)
            for part, size in zip(mirrored, sizes, strict=True)
        ],
        CPU,
    )
    student = sleep.Ensemble(sleep.blank_student(life, range(len(sizes))))
    student.network.centre_on(gaussians.means)
    weights = 1 / labels.bincount()[labels]

    def inputs_at(step: int) -> tuple[Tensor]:
        rng = seeding.stream(life.config.seed, "real", step)
        return (torch.multinomial(weights, config.batch_size, replacement=True, generator=rng),)

    def losses_of(network: Network, rows: Tensor) -> Losses:
        _, *answers = network(inputs[rows].float())
        errors = torch.stack([F.cross_entropy(logits, labels[rows], reduction="none") for logits in answers]).sum(0)
        return {"labels": batch_mean(errors, config.batch_size, context.group)}

    train(student, losses_of, inputs_at, steps=life.config.baseline_steps, lr=config.lr, context=context)
    student.mix_discriminant(gaussians, sleep.discriminant_weight(life, HEAD))
    life.neocortex.features = student.features
    unstack_heads(student.merged(gaussians.means), life.neocortex, range(len(sizes)))


@dataclass
class Jpegs:
    """What ``replay-jpegs`` keeps of all classes; set for each data set."""

    size: float = 0.0
    """Mean bytes of a picture."""
    budget: float = 0.0
    """Bytes of all pictures together."""
    num_classes: int = 1

    def count(self, label: int) -> int:
        """Return how many pictures are kept of a class, at least one; the first have those that are left over."""
        affordable = int(self.budget / self.size)
        return max(1, affordable // self.num_classes + (label < affordable % self.num_classes))


JPEGS = Jpegs()


def replay_jpegs(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Keep some pictures of each class, as if their JPEGs had lost nothing; train after the last task, anew."""
    if is_last(life, task):
        fit_on_real(life, [*life.exemplars, data], context)
    first = sum(life.neocortex.head_sizes[: task.index])
    rows = [
        (data.labels == label).nonzero().squeeze(1)[: JPEGS.count(first + label)]
        for label in data.labels.unique().tolist()
    ]
    life.exemplars.append(data[torch.cat(rows)])


@dataclass(frozen=True)
class TaughtByAll:
    """Dreams that the fast learner of each lesson labels."""

    learners: Sequence[NeocortexNet]
    precision: Any

    def dreams(self, spec: ReplaySpec, group: ProcessGroup, first_step: int = 0) -> Iterator[Dreams]:
        """Return the dreams of each step."""
        schedule, numbers = spec.schedule, range(len(self.learners))
        answers = NetworkTeachers(self.learners, numbers, CPU, self.precision)
        dreamer = FeatureDreamer(spec.memories, answers, CPU)  # type: ignore[arg-type]
        requests = (schedule.request(block, group.rank, group.size) for block in schedule.blocks_from(first_step))
        return schedule.steps_of(map(dreamer.dream, requests), first_step)


LEARNERS: list[NeocortexNet] = []
"""The fast learners of the life that sleeps once."""


def sleep_once(life: Learner, task: Task, context: PhaseContext) -> None:
    """Keep the fast learner of each lesson, and sleep after the last one alone."""
    if task.index == 0:
        LEARNERS.clear()
    assert life.fast_learner is not None
    LEARNERS.append(copy.deepcopy(life.fast_learner).cpu())
    if is_last(life, task):
        precision = resolved(life.precision, CPU)
        for learner in LEARNERS:  # each has the heads that there were: the others are asked nothing
            for head in life.neocortex.classifiers[len(learner.classifiers) :]:
                learner.classifiers.append(copy.deepcopy(head))
        sleep.consolidate(life, task, replace(context, dreams=TaughtByAll(LEARNERS, precision)))


def by_labels(life: Learner, task: Task, context: PhaseContext) -> None:
    """Sleep without teachers, after the last lesson alone."""
    if is_last(life, task):
        life.fast_learner = None
        sleep.consolidate(life, task, context)


def going_on(life: Learner, task: Task, context: PhaseContext) -> None:
    """Sleep from the weights that the last sleep left."""
    anew = sleep.blank_student
    sleep.blank_student = lambda life, order: sleep.Student(life.neocortex)
    try:
        sleep.consolidate(life, task, context)
    finally:
        sleep.blank_student = anew


def unmirrored(phase: Callable[..., None]) -> Callable[..., None]:
    """Return ``phase`` without mirror images."""

    def run(*arguments: Any) -> None:
        mirrored = wake.mirrored
        wake.mirrored = lambda life, data: data
        try:
            phase(*arguments)
        finally:
            wake.mirrored = mirrored

    return run


def register() -> None:
    """Make the strategies of the rows known."""
    awake: dict[str, Callable[..., None]]
    awake = {"learn": wake.learn_late, "adapt": wake.adapt_late, "remember": wake.remember}
    plainly: dict[str, Callable[..., None]] = {name: unmirrored(phase) for name, phase in awake.items()}
    found = {
        "joint-once": Phases({"joint": joint_once}, {}),
        "replay-jpegs": Phases({"replay": replay_jpegs}, {}),
        "at-once": Phases(awake, {"consolidate": sleep_once}),
        "labels": Phases(awake, {"consolidate": by_labels}),
        "warm": Phases(awake, {"consolidate": going_on}),
        "unmirrored": Phases(plainly, {"consolidate": sleep_once}),
    }
    for name, phases in found.items():
        STRATEGIES[name] = Strategy(phases.wake, phases.sleep)


# -- cells ------------------------------------------------------------------------------------------------------------


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


def config_of(
    stream: Stream, row: Row, order: int, source: str, validation_share: float = 0.0, tried: Sequence[str] = ()
) -> ExperimentConfig:
    """Return the experiment of one cell on the data ``source``, with settings that are ``tried``."""
    changes = dict(row.changes) | settings_to_try(tried)
    return ExperimentConfig(
        dataset=source,
        num_tasks=stream.num_tasks,
        class_order=class_order(stream.num_classes, order),
        strategies=("mygo" if row.strategy == "adapt-first" else row.strategy,),
        validation_share=validation_share,
        life=replace(change(behind_encoder("late"), changes), seed=order, encoder=stream.encoder),
    )


def adapt_first(config: ExperimentConfig, index: Path, out: Path) -> dict[str, Any]:
    """Let a life adapt to the first task's real maps, and another live on the features that come out of it."""
    experiment = Experiment(config, features=index)
    data = features_in(index, config).dataset
    life = Learner("mygo", experiment.learner, data.input_shape, None, experiment.stream)
    encoder_of(life)
    stream = experiment.open_stream(data)
    task = stream.tasks[0]
    context = PhaseContext(SingleProcess(), precision=resolved("auto", CPU))
    life.begin(task)
    wake.learn_late(life, task, stream.take_training_data(task), context)
    data = with_validation(data, config.validation_share) if config.validation_share else data
    arrays: dict[str, Any] = {}
    for prefix, part in (("", data.train), ("test_", data.test)):
        features = wake.extract_features(life.neocortex, part, CPU)[:, :HEAD].sqrt()
        arrays |= {f"{prefix}features": features.numpy(), f"{prefix}labels": part.labels.numpy()}
    file = out / f"adapted-{config.life.seed}.npz"
    np.savez(file, class_names=np.array(data.class_names), **arrays)
    frozen = replace(
        config, dataset=str(file), validation_share=0.0, life=replace(behind_encoder(), seed=config.life.seed)
    )
    results: dict[str, Any] = Experiment(frozen).run()["strategies"]["mygo"]
    file.unlink()
    return results


@dataclass
class LastSleep:
    """Handles the events of a life: how long the sleep after a ``task`` took."""

    task: int
    seconds: float = 0.0

    def __call__(self, event: Event) -> None:
        """Add up the phases of that sleep."""
        if isinstance(event, PhaseEnded) and event.place.task == self.task and event.place.phase in ASLEEP:
            self.seconds += event.seconds


def settings_of(config: ExperimentConfig) -> str:
    """Return a hash of all settings but where the data lies."""
    return fingerprint({name: value for name, value in asdict(config).items() if name not in ("dataset", "data_root")})


def measure(stream: Stream, name: str, order: int, source: Path, index: Path, flags: Flags) -> None:
    """Keep the results of one cell, if they are not kept yet."""
    kept, row = flags.out / f"{stream.data}-{name}-{order}.json", ROWS[name]
    config = config_of(stream, row, order, str(source), flags.validation_share, flags.change)
    settings = settings_of(config)
    if not flags.validation_share and cell_with(all_cells(flags), kept.stem, settings):
        return
    last_sleep = LastSleep(stream.num_tasks - 1)
    if row.strategy == "adapt-first":
        results = adapt_first(config, index, flags.out)
    else:
        (results,) = Experiment(config, features=index).run(on_event=last_sleep)["strategies"].values()
    found = {
        "class_il": results["average_accuracy"]["class_il"],
        "task_il": results["average_accuracy"]["task_il"],
        "forgetting": results["forgetting"]["class_il"],
        "task_forgetting": results["forgetting"]["task_il"],
        "bytes_a_class": results["memory_bytes"] / stream.num_classes,
        "seconds": results["seconds"]["total"],
        "sleep": results["seconds"]["sleep"],
        "last_sleep": last_sleep.seconds,
        "threads": flags.threads,
        "settings": settings,
    }
    if name == "replay":
        found["bytes_a_class"] = JPEGS.size * sum(map(JPEGS.count, range(stream.num_classes))) / stream.num_classes
    print(stream.title, name, order, *flags.change, found, flush=True)
    if not flags.validation_share:
        kept.write_text(json.dumps(found))


# -- tables -----------------------------------------------------------------------------------------------------------


def line(title: str, cells: list[dict[str, Any]], *, whole_life: bool) -> str:
    """Return one row of the table; what was trained once after all tasks has no forgetting."""
    names = ["class_il", "task_il", *(("forgetting", "task_forgetting") if whole_life else ())]
    measured = [spread([each[name] for each in cells]) if name in cells[0] else "" for name in names]
    measured += [""] * (4 - len(names))
    seconds = statistics.median(each["seconds"] for each in cells)
    return f"| {title} | {' | '.join(measured)} | {cells[0]['bytes_a_class']:,.0f} | {seconds:.0f} s | {len(cells)} |"


def sleeps_in_words(cells: list[dict[str, Any]]) -> str:
    """Return how long the sleep after the last task took in each of ``cells``."""
    found = [f"{cell['last_sleep']:.0f} s on {cell['threads']}" for cell in cells]
    return f"the sleep after the last task took {', '.join(found)} cores"


Cells = dict[str, dict[str, Any]]
"""What was found of each cell, by its name."""


def frozen_cells(kept: Cells, stream: Stream, name: str) -> list[dict[str, Any]]:
    """Return the cells of a row behind a frozen encoder, one for each order."""
    return [kept[key] for key in sorted(kept) if key.rpartition("-")[0] == f"{stream.eyes}-{name}"]


def cells_of(kept: Cells, stream: Stream, name: str) -> list[dict[str, Any]]:
    """Return the cells of a row, one for each order, that were measured with the settings of today."""
    like_it = f"cifar{stream.num_classes}"  # settings need a data set of as many classes; their hash leaves it out
    settings = [settings_of(config_of(stream, ROWS[name], order, like_it)) for order in range(ROWS[name].orders)]
    found = [cell_with(kept, f"{stream.data}-{name}-{order}", each) for order, each in enumerate(settings)]
    return [cell for cell in found if cell]


def draw(kept: Cells) -> Figure:
    """Return a picture of class-IL accuracy of all rows that were measured in each order, with standard deviations."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    for axes, stream in zip(figure.subplots(1, len(STREAMS)), STREAMS, strict=True):
        rows = {f"frozen, {name}": (frozen_cells(kept, stream, name), SKY) for name in FROZEN}
        rows |= {row.title.strip("*"): (cells_of(kept, stream, name), GREEN) for name, row in ROWS.items()}
        shown = {title: row for title, row in reversed(rows.items()) if len(row[0]) == ORDERS}
        for place, (cells, colour) in enumerate(shown.values()):
            found = [cell["class_il"] for cell in cells]
            spread = statistics.stdev(found)
            axes.errorbar(statistics.mean(found), place, xerr=spread, fmt="o", color=colour, ecolor=INK, capsize=2)
        axes.set_yticks(range(len(shown)), list(shown))
        axes.grid(axis="x", color=LINE)
        tidy(axes, f"{stream.title}: class-IL")
    return figure


def lines_of(kept: Cells) -> list[str]:
    """Return the tables of all cells that are ``kept``."""
    _, commands, _, how = (__doc__ or "").split("\n\n")
    lines = ["# Sleep that adapts the encoder", "", commands, "", how.rstrip(), ""]
    for stream in STREAMS:
        lines += [f"## {stream.title}, {stream.encoder}", ""]
        lines += ["| | class-IL | task-IL | forgetting, class-IL | task-IL | bytes a class | time | orders |"]
        lines += ["|---" * 8 + "|"]
        for name in FROZEN:
            cells = frozen_cells(kept, stream, name)
            lines += [line(f"frozen, {name}", cells, whole_life=name != "joint")] if cells else []
        for name, row in ROWS.items():
            cells = cells_of(kept, stream, name)
            lines += [line(row.title, cells, whole_life=row.strategy not in AT_THE_END)] if cells else []
        timed = [cell for cell in cells_of(kept, stream, "mygo") if "last_sleep" in cell]
        lines += [""]
        lines += [f"Of --adapt late, {sleeps_in_words(timed)}.", ""] if timed else []
    lines += ["Mean ± standard deviation over orders of classes, each with its own seed; one order without."]
    return [*lines, "Seconds were measured beside other jobs, most on one core.", ""]


def all_cells(flags: Flags) -> Cells:
    """Return all cells that were measured, by name: those of the table, and newer ones in the folders."""
    frozen = [f"{stream.eyes}-{name}-*.json" for stream in STREAMS for name in FROZEN]
    files = [file for pattern in frozen for file in flags.eyes.glob(pattern)]
    files += [file for stream in STREAMS for file in flags.out.glob(f"{stream.data}-*.json")]
    return kept_cells(CELLS, files)


def main() -> None:
    """Measure what is not measured yet, and write the tables."""
    flags = tyro.cli(Flags)
    torch.set_num_threads(flags.threads)
    flags.out.mkdir(parents=True, exist_ok=True)
    register()
    names = flags.rows.split(",")
    for stream in STREAMS:
        source: Path | None = getattr(flags, stream.data)
        if source is None:
            continue
        found, front = survey(str(source), least=2), f"front:{stream.encoder}"
        context = PhaseContext(SingleProcess(), place=Place("benchmark", 0, "encode"))
        folder = flags.out / f"maps-{stream.data}-{'-'.join(names)}"
        with shared_features(found, str(source), front, None, folder, context) as index:
            side = int(stream.encoder.partition("@")[2] or 224)
            memory = blank_memory(behind_encoder("late").memory, 1, (json.loads(index.read_text())["feature_dim"],))
            JPEGS.size, JPEGS.num_classes = jpeg_bytes(found, side), stream.num_classes
            JPEGS.budget = stored_bytes(memory) * stream.num_classes
            print(stream.title, JPEGS, flush=True)
            for order in map(int, flags.orders.split(",")):
                for name in names:
                    if order < ROWS[name].orders:
                        measure(stream, name, order, source, index, flags)
    if not flags.validation_share:
        kept = all_cells(flags)
        keep_cells(CELLS, kept)
        RESULTS.write_text("\n".join(lines_of(kept)))
        PICTURE.write_bytes(png(draw(kept)))


if __name__ == "__main__":
    main()
