"""The report on a run or a life: one HTML page that needs no network, and its pictures beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mygo.baselines.registry import STRATEGIES
from mygo.config.settings import flat
from mygo.files import write_atomically
from mygo.reporting.page import Picture, Table, render
from mygo.reporting.remembered import Remembered, confused_most, remembered_in
from mygo.reporting.results import KINDS, PER_CLASS, QUALITIES, RunResults, StrategyResults, read_folder
from mygo.reporting.terminal import printable

ADVICE = "make room there, or allow writing to it, and make the report again"
MOST_COUNTED = 20
"""Classes of the largest confusion matrix that is also written as a table."""
Pictures = Mapping[str, bytes]


@dataclass(frozen=True)
class Illustrated:
    """A picture, and the numbers that it shows."""

    picture: Picture
    table: Table


@dataclass(frozen=True)
class Compared:
    """Pictures to compare, and their numbers."""

    title: str
    pictures: Sequence[Picture]
    tables: Sequence[Table]


@dataclass(frozen=True)
class Dreams:
    """What the memories of a strategy dream: a picture for each or, of vectors, a map of all."""

    strategy: str
    pictures: Sequence[Picture]
    features: str = ""
    """What vectors are, in words; of pictures nothing."""


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and ``pictures/`` into ``folder``, a run's ``--out`` or a life's folder; returns the page.

    The page holds its pictures itself and loads nothing; those in ``pictures/`` are the same, to use elsewhere.

    Raises:
        InputError: ``folder`` holds neither a run's results nor a life, or something damaged.
        StorageError: it cannot be written to.
    """
    from mygo.reporting.plots import draw_all  # matplotlib takes a second to import

    run = read_folder(folder)
    remembered = remembered_in(run)
    pictures, numbered = draw_all(run, remembered)
    for name, png in pictures.items():
        write_atomically(folder / "pictures" / f"{name}.png", png, ADVICE)
    path = folder / "report.html"
    write_atomically(path, report_on(run, remembered, pictures, numbered).encode(), ADVICE)
    return path


def report_on(
    run: RunResults, remembered: Mapping[str, Remembered], pictures: Pictures, numbered: Mapping[str, str]
) -> str:
    """Return the whole page; ``numbered`` are the names that the pictures show as numbers, by these."""
    sections = {
        "results": ("Results", results_of(run) if run.measured else lessons_of(run)),
        "learning": ("Learning curves", learning_of(run, pictures) if run.measured else None),
        "tasks": ("Accuracy matrices", tasks_of(run, pictures) if run.measured else None),
        "confusions": ("Confusion matrices", confusions_of(run, pictures)),
        "nearest": ("Nearest confusions", nearest_of(run, remembered)),
        "dreams": ("Dreams", [*dreams_of(run, pictures), *maps_of(run, remembered, pictures)]),
        "memories": ("Quality of the memories", memories_of(run, pictures)),
        "time": ("Time", time_of(run, pictures)),
        "bytes": ("Bytes", bytes_of(run, pictures)),
        "settings": ("Settings", settings_of(run)),
    }
    return render(
        "report.html",
        title=f"{run.dataset}, {counted(len(run.tasks), 'task')}",
        measured=run.measured,
        facts=facts_of(run),
        notices=[printable(notice) for notice in run.notices],
        shares=shares_of(run) if run.measured else "",
        numbered=Table(
            "In the pictures, numbers stand for these names", ("number", "name"), [*numbered.items()], "words"
        ),
        contents={anchor: title for anchor, (title, content) in sections.items() if content},
        **{anchor: content for anchor, (_, content) in sections.items()},
        described={name: described(name) for name in run.strategies},
        classes_of_tasks=classes_of(run),
        versions=Table("Versions", ("package", "version"), [*run.versions.items()], "words"),
        version=run.versions.get("mygo"),
    )


def facts_of(run: RunResults) -> str:
    """Return in a line what was learned and when."""
    so_far = "" if learned(run) == len(run.tasks) else f", {learned(run)} of {len(run.tasks)} tasks learned so far"
    held_out = "the test set" if run.evaluated_on == "test" else "a held-out share of the training images"
    evaluated = f" · evaluated on {held_out}" if run.measured else ""
    when = run.when.strftime("%Y-%m-%d %H:%M UTC")
    return f"{counted(len(run.learned), 'class', 'classes')}{so_far}{evaluated} · {when}"


def learned(run: RunResults) -> int:
    """Return how many tasks were learned."""
    if not run.measured:
        return max(life.tasks_learned for life in run.lives.values())
    return max(len(entry.accuracy["class_il"]) for entry in run.strategies.values())


def shares_of(run: RunResults) -> str:
    """Return how the strategies compare, as a list of their accuracies."""
    return listed([f"{name} {100 * entry.average['class_il']:.1f} %" for name, entry in run.strategies.items()])


def lessons_of(run: RunResults) -> Table:
    """Return the table of what a life was taught by hand, and how well it knows it."""
    header = "lesson", "classes", "images", "learned, UTC", "class-IL", "task-IL", "recall", "ECE"
    rows = [
        (
            printable(lesson.name),
            listed([printable(name) for name in lesson.classes]),
            f"{sum(lesson.images):,}",
            printable(lesson.learned[:16].replace("T", " ") or "not yet"),
            *("" if share is None else f"{share:.3f}" for share in lesson.shares),
        )
        for life in run.lives.values()
        for lesson in life.lessons
    ]
    return Table("Everything that it was taught", header, rows, "wide")


def results_of(run: RunResults) -> Table:
    """Return the table of all strategies."""
    header = (
        "strategy",
        "task-IL",
        "class-IL",
        "ECE",
        "forgetting",
        "BWT",
        "seconds",
        "bytes kept",
        "raw bytes replaced",
    )
    rows = [
        (
            name,
            f"{entry.average['task_il']:.3f}",
            f"{entry.average['class_il']:.3f}",
            f"{entry.calibration_error[-1]:.3f}" if entry.calibration_error else "",
            f"{entry.forgetting['class_il']:.3f}",
            signed(entry.backward_transfer["class_il"]),
            f"{entry.seconds:,.1f}",
            f"{entry.memory_bytes:,}",
            f"{entry.replaced_bytes:,}",
        )
        for name, entry in run.strategies.items()
    ]
    return Table("All strategies, on held-out data", header, rows, "wide")


def described(strategy: str) -> str:
    """Return what the ``strategy`` does, as far as this process knows it."""
    known = STRATEGIES.get(strategy)
    return known.description if known is not None and known.description else "a strategy of one's own"


def learning_of(run: RunResults, pictures: Pictures) -> Illustrated:
    """Return the curves of average accuracy, and their numbers."""
    rows = [
        (f"{name}, {title}", *(f"{sum(row) / len(row):.3f}" for row in entry.accuracy[kind]))
        for kind, title in KINDS.items()
        for name, entry in run.strategies.items()
    ]
    alt = f"Average accuracy on the tasks so far, after each task, of {listed(list(run.strategies))}."
    header = ["strategy", *(f"after task {task + 1}" for task in range(learned(run)))]
    table = Table("Average accuracy after each task", header, rows)
    return Illustrated(Picture(pictures["average-accuracy"], alt), table)


def classes_of(run: RunResults) -> Table:
    """Return the table of the classes of each task."""
    rows = [(f"task {task.index + 1}", listed(run.names_of(task))) for task in run.tasks]
    return Table("In the order of learning", ("task", "classes"), rows, "words")


def tasks_of(run: RunResults, pictures: Pictures) -> list[Compared]:
    """Return the accuracy matrices of all strategies, by kind of accuracy."""
    parts = []
    for kind, title in KINDS.items():
        shown, tables = [], []
        for name, entry in run.strategies.items():
            last = ", ".join(f"{value:.2f}" for value in entry.accuracy[kind][-1])
            alt = f"Accuracy matrix of {name}, {title}. After the last task: {last}."
            rows = [
                (f"after task {task + 1}", *(f"{value:.3f}" for value in row), *[""] * (len(run.tasks) - len(row)))
                for task, row in enumerate(entry.accuracy[kind])
            ]
            header = ["", *(f"on task {task.index + 1}" for task in run.tasks)]
            tables.append(Table(f"{name}, {title}", header, rows))
            shown.append(Picture(pictures[f"{title.lower()}-{name}"], alt))
        parts.append(Compared(title, shown, tables))
    return parts


def confusions_of(run: RunResults, pictures: Pictures) -> Compared | None:
    """Return the confusion matrices of the strategies that have one, as numbers too where they are small."""
    measured = {name: entry.confusion for name, entry in run.strategies.items() if entry.confusion}
    if not measured:
        return None
    shown, tables = [], []
    for name, confusion in measured.items():
        classes = run.learned[: len(confusion)]
        alt = f"Confusion matrix of {name}. {mistakes(confusion, classes)}"
        rows = [(true, *(str(count) for count in row)) for true, row in zip(classes, confusion, strict=True)]
        tables.append(Table(f"{name}: true classes by row, what they were taken for by column", ["", *classes], rows))
        shown.append(Picture(pictures[f"confusion-{name}"], alt))
    return Compared("", shown, tables if len(run.learned) <= MOST_COUNTED else [])


def mistakes(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Return in a sentence what is confused most."""
    most = confused_most(confusion)[:3]
    if not most:
        return "Nothing is confused."
    named = [f"{classes[pair.true]} taken for {classes[pair.taken]} ({pair.count})" for pair in most]
    return f"Confused most: {listed(named)}."


def nearest_of(run: RunResults, remembered: Mapping[str, Remembered]) -> list[Table]:
    """Return what is confused most behind an encoder: held-out inputs or, where there are none any more, dreams."""
    tables = []
    for name, life in remembered.items():
        measured = run.strategies[name].confusion
        of = "held-out examples" if measured else "dreams"
        pairs = confused_most(measured or life.confusion)
        rows = [
            (run.learned[pair.true], run.learned[pair.taken], f"{pair.count:,}", f"{100 * pair.share:.1f} %")
            for pair in pairs
        ]
        header = "class", "taken for", of, "share of the class"
        if measured or life.confusion:
            tables.append(Table(f"{name}: {of}" if rows else f"{name}: no {of} are confused", header, rows))
    return tables


def dreams_of(run: RunResults, pictures: Pictures) -> list[Dreams]:
    """Return what every memory dreams."""
    parts = []
    for name, life in run.lives.items():
        shown = []
        for task, _ in zip(run.tasks, life.generators, strict=False):
            alt = f"Dreams of {listed(run.names_of(task))}, a row for each."
            png = pictures[f"dreams-{name}-task-{task.index + 1}"]
            shown.append(Picture(png, alt, caption=f"Task {task.index + 1}"))
        if shown:
            parts.append(Dreams(name, shown))
    return parts


def maps_of(run: RunResults, remembered: Mapping[str, Remembered], pictures: Pictures) -> list[Dreams]:
    """Return a map of what every life behind an encoder dreams."""
    parts = []
    for name, life in remembered.items():
        names = listed([run.learned[label] for label in life.shown.classes])
        alt = f"Map of dreams of {names}: the closer two classes lie, the more alike they are."
        config = run.lives[name].config
        features = f"{run.lives[name].input_shape[0]:,} numbers"
        through = "" if config.encoder == "none" else f", features of the encoder {printable(config.encoder)}"
        known = len(run.learned[: sum(memory.num_classes for memory in run.lives[name].gaussians)])
        caption = "" if known == len(life.shown.classes) else f"{len(life.shown.classes)} of {known} classes"
        parts.append(Dreams(name, [Picture(pictures[f"map-{name}"], alt, caption)], features + through))
    return parts


def memories_of(run: RunResults, pictures: Pictures) -> list[Illustrated]:
    """Return the quality of every memory."""
    parts = []
    for name, entry in run.strategies.items():
        if not (values := entry.quality["diversity"]):
            continue
        rows = [(title, *(f"{value:.3f}" for value in entry.quality[measure])) for measure, title in QUALITIES.items()]
        per_class = {measure: found for measure in PER_CLASS if any(found := entry.quality_per_class[measure])}
        rows += [lowest_of(run, measure, measured) for measure, measured in per_class.items()]
        header = ["", *(f"task {task + 1}" for task in range(len(values)))]
        least = min(entry.quality["label_fidelity"])
        alt = f"Quality of the memories of {name}, per task; the lowest label fidelity is {least:.2f}."
        parts.append(Illustrated(Picture(pictures[f"quality-{name}"], alt), Table(f"Memories of {name}", header, rows)))
    return parts


def lowest_of(run: RunResults, measure: str, per_class: Sequence[Sequence[float]]) -> tuple[str, ...]:
    """Return the row of the class with the lowest ``measure`` in each task, where it was measured."""
    cells = []
    for task, values in zip(run.tasks, per_class, strict=False):
        lowest = min(zip(values, run.names_of(task), strict=True), default=None)
        cells.append("" if lowest is None else f"{lowest[0]:.3f} ({lowest[1]})")
    return f"lowest {QUALITIES[measure]} of a class", *cells


def time_of(run: RunResults, pictures: Pictures) -> Illustrated:
    """Return how long each phase took."""
    rows = [
        (f"{name}, {phase}", f"{seconds:,.1f}")
        for name, entry in run.strategies.items()
        for phase, seconds in entry.phases.items()
    ]
    totals = listed([f"{name} {entry.seconds:,.0f} s" for name, entry in run.strategies.items()])
    picture = Picture(pictures["seconds"], f"Seconds of each phase, stacked. In all: {totals}.")
    return Illustrated(picture, Table("Seconds per phase, over all tasks", ("phase", "seconds"), rows))


def bytes_of(run: RunResults, pictures: Pictures) -> Illustrated:
    """Return what is kept to remember with, beside what it replaces."""
    kept = listed([f"{name} {entry.memory_bytes:,}" for name, entry in run.strategies.items()])
    alt = f"Bytes kept to remember with: {kept}; beside those of the training data that was seen."
    rows = [
        (name, f"{entry.memory_bytes / classes_learned(run, entry):,.0f}", f"{entry.kept_once:,}")
        for name, entry in run.strategies.items()
    ]
    table = Table("What is kept to remember with", ("strategy", "bytes for each class", "bytes once"), rows)
    return Illustrated(Picture(pictures["bytes"], alt), table)


def classes_learned(run: RunResults, entry: StrategyResults) -> int:
    """Return how many classes were learned when the bytes of ``entry`` were counted."""
    tasks = len(entry.accuracy["class_il"]) if entry.accuracy else learned(run)
    return sum(len(task.classes) for task in run.tasks[:tasks])


def settings_of(run: RunResults) -> Table:
    """Return the whole configuration."""
    rows = [(name, json.dumps(value)) for name, value in flat(run.config)]
    return Table("Settings", ("setting", "value"), rows, "words")


def listed(items: Sequence[str]) -> str:
    """Return ``items`` as a sentence lists them."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return ``count`` with its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def signed(value: float) -> str:
    """Return ``value`` with its sign."""
    return f"{value:+.3f}".replace("-", "−")
