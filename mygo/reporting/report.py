"""The report on a run or a life: one HTML page that needs no network, and its pictures beside it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mygo.baselines.registry import STRATEGIES
from mygo.config.settings import flat
from mygo.files import write_atomically
from mygo.reporting.page import Html, details, element, figure, gallery, joined, page, section, table
from mygo.reporting.results import KINDS, QUALITIES, RunResults, read_folder
from mygo.reporting.terminal import printable

ADVICE = "make room there, or allow writing to it, and make the report again"
MOST_COUNTED = 20
"""Classes of the largest confusion matrix that is also written as a table."""
Pictures = Mapping[str, bytes]


def write_report(folder: Path) -> Path:
    """Write ``report.html`` and ``pictures/`` into ``folder``, a run's ``--out`` or a life's folder; returns the page.

    The page holds its pictures itself and loads nothing; those in ``pictures/`` are the same, to use elsewhere.

    Raises:
        InputError: ``folder`` holds neither a run's results nor a life, or something damaged.
        StorageError: it cannot be written to.
    """
    from mygo.reporting.plots import draw_all  # matplotlib takes a second to import

    run = read_folder(folder)
    pictures, numbered = draw_all(run)
    for name, png in pictures.items():
        write_atomically(folder / "pictures" / f"{name}.png", png, ADVICE)
    path = folder / "report.html"
    write_atomically(path, report_on(run, pictures, numbered).encode(), ADVICE)
    return path


def report_on(run: RunResults, pictures: Pictures, numbered: Mapping[str, str]) -> Html:
    """Return the whole page; ``numbered`` are the names that the pictures show as numbers, by these."""
    parts = {
        "results": ("Results", results_of(run) if run.measured else lessons_of(run)),
        "learning": ("Learning curves", learning_of(run, pictures) if run.measured else []),
        "tasks": ("Accuracy matrices", tasks_of(run, pictures) if run.measured else []),
        "confusions": ("Confusion matrices", confusions_of(run, pictures)),
        "dreams": ("Dreams", dreams_of(run, pictures)),
        "memories": ("Quality of the memories", memories_of(run, pictures)),
        "time": ("Time", time_of(run, pictures)),
        "bytes": ("Bytes", bytes_of(run, pictures)),
        "settings": ("Settings", settings_of(run)),
    }
    shown = {anchor: (title, content) for anchor, (title, content) in parts.items() if content}
    links = [element("li", element("a", title, href=f"#{anchor}")) for anchor, (title, _) in shown.items()]
    title = f"{run.dataset}, {counted(len(run.tasks), 'task')}"
    head = element(
        "header",
        element("h1", f"MyGO: {title}"),
        element("p", facts_of(run), class_="facts"),
        *(element("p", printable(notice), class_="notice") for notice in run.notices),
        lead_of(run),
        numbered_of(numbered),
        element("nav", element("ul", joined(links)), aria_label="Contents"),
    )
    sections = [section(anchor, title, *content) for anchor, (title, content) in shown.items()]
    return page(f"MyGO: {title}", head, element("main", joined(sections)), foot_of(run))


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


def lead_of(run: RunResults) -> Html:
    """Return in a paragraph how the strategies compare."""
    if not run.measured:
        return Html("")
    text = "Held-out images recognised among all classes that were learned, without being told their task: "
    shares = [f"{name} {100 * entry.average['class_il']:.1f} %" for name, entry in run.strategies.items()]
    return element("p", text, element("strong", listed(shares)), ".", class_="lead")


def numbered_of(numbered: Mapping[str, str]) -> Html:
    """Return the table of the names that the pictures show as numbers, if there are any."""
    if not numbered:
        return Html("")
    return table("In the pictures, numbers stand for these names", ("number", "name"), list(numbered.items()), "words")


def lessons_of(run: RunResults) -> list[Html]:
    """Return the table of what a life was taught by hand, and how well it knows it."""
    header = "lesson", "classes", "images", "learned, UTC", "class-IL", "task-IL", "recall"
    rows = [
        (
            printable(lesson.name),
            listed([printable(name) for name in lesson.classes]),
            f"{sum(lesson.images):,}",
            printable(lesson.learned[:16].replace("T", " ") or "not yet"),
            *("" if share is None else f"{share:.3f}" for share in (lesson.class_il, lesson.task_il, lesson.recall)),
        )
        for life in run.lives.values()
        for lesson in life.lessons
    ]
    notes = (
        "Class-IL and task-IL are the shares of a lesson's held-out images that were recognised just after it, among "
        "all classes known then and among its own: those images are gone since. Recall is the share of a lesson's "
        "dreams that are recognised now, among all classes."
    )
    return [table("Everything that it was taught", header, rows, "wide"), element("p", notes)]


def results_of(run: RunResults) -> list[Html]:
    """Return the table of all strategies, and what they do."""
    header = "strategy", "task-IL", "class-IL", "forgetting", "BWT", "seconds", "bytes kept", "raw bytes replaced"
    rows = [
        (
            name,
            f"{entry.average['task_il']:.3f}",
            f"{entry.average['class_il']:.3f}",
            f"{entry.forgetting['class_il']:.3f}",
            signed(entry.backward_transfer["class_il"]),
            f"{entry.seconds:,.1f}",
            f"{entry.memory_bytes:,}",
            f"{entry.replaced_bytes:,}",
        )
        for name, entry in run.strategies.items()
    ]
    notes = (
        "Accuracies are means over the tasks learned, after the last one. Task-IL picks among the classes of the "
        "given task, class-IL among all classes learned, without being told the task. Forgetting is how far class-IL "
        "fell from its best, BWT (backward transfer) from what it was just after learning, on average over "
        "earlier tasks."
    )
    terms = [joined([element("dt", name), element("dd", described(name))]) for name in run.strategies]
    return [
        table("All strategies, on held-out data", header, rows, "wide"),
        element("p", notes),
        element("dl", joined(terms)),
    ]


def described(strategy: str) -> str:
    """Return what the ``strategy`` does, as far as this process knows it."""
    known = STRATEGIES.get(strategy)
    return known.description if known is not None and known.description else "a strategy of one's own"


def learning_of(run: RunResults, pictures: Pictures) -> list[Html]:
    """Return the curves of average accuracy, and their numbers."""
    rows = [
        (f"{name}, {title}", *(f"{sum(row) / len(row):.3f}" for row in entry.accuracy[kind]))
        for kind, title in KINDS.items()
        for name, entry in run.strategies.items()
    ]
    alt = f"Average accuracy on the tasks so far, after each task, of {listed(list(run.strategies))}."
    text = "The mean over the tasks learned so far; it falls where earlier ones are forgotten."
    header = ["strategy", *(f"after task {task + 1}" for task in range(learned(run)))]
    numbers = details("The numbers", table("Average accuracy after each task", header, rows))
    return [element("p", text), figure(pictures["average-accuracy"], alt, numbers)]


def tasks_of(run: RunResults, pictures: Pictures) -> list[Html]:
    """Return the accuracy matrices of all strategies."""
    text = "Each row is the state after a task, each column a task's held-out images; the diagonal is the newest task."
    deal = [(f"task {task.index + 1}", listed(run.names_of(task))) for task in run.tasks]
    parts = [
        element("p", text),
        details("The classes of each task", table("In the order of learning", ("task", "classes"), deal, "words")),
    ]
    for kind, title in KINDS.items():
        figures, tables = [], []
        for name, entry in run.strategies.items():
            last = ", ".join(f"{value:.2f}" for value in entry.accuracy[kind][-1])
            alt = f"Accuracy matrix of {name}, {title}. After the last task: {last}."
            rows = [
                (f"after task {task + 1}", *(f"{value:.3f}" for value in row), *[""] * (len(run.tasks) - len(row)))
                for task, row in enumerate(entry.accuracy[kind])
            ]
            header = ["", *(f"on task {task.index + 1}" for task in run.tasks)]
            tables.append(table(f"{name}, {title}", header, rows))
            figures.append(figure(pictures[f"{title.lower()}-{name}"], alt))
        parts += [element("h3", title), gallery(figures), details("The numbers", *tables)]
    return parts


def confusions_of(run: RunResults, pictures: Pictures) -> list[Html]:
    """Return the confusion matrices of the strategies that have one."""
    measured = {name: entry.confusion for name, entry in run.strategies.items() if entry.confusion}
    if not measured:
        return []
    figures, tables = [], []
    for name, confusion in measured.items():
        classes = run.learned[: len(confusion)]
        alt = f"Confusion matrix of {name}. {mistakes(confusion, classes)}"
        rows = [(true, *(str(count) for count in row)) for true, row in zip(classes, confusion, strict=True)]
        tables.append(table(f"{name}: true classes by row, what they were taken for by column", ["", *classes], rows))
        figures.append(figure(pictures[f"confusion-{name}"], alt))
    text = (
        "Class-IL after the last evaluation: how many held-out images of each class were taken for which, in the order "
        "in which classes were learned. Lines part the tasks; colour is the share of the row."
    )
    numbers = details("The numbers", *tables) if len(run.learned) <= MOST_COUNTED else Html("")
    return [element("p", text), gallery(figures), numbers]


def mistakes(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Return in a sentence what is confused most."""
    wrong = [
        (count, classes[true], classes[taken])
        for true, row in enumerate(confusion)
        for taken, count in enumerate(row)
        if count and taken != true
    ]
    if not wrong:
        return "Nothing is confused."
    most = sorted(wrong, key=lambda item: -item[0])[:3]
    return f"Confused most: {listed([f'{true} taken for {taken} ({count})' for count, true, taken in most])}."


def dreams_of(run: RunResults, pictures: Pictures) -> list[Html]:
    """Return what every memory dreams."""
    parts = []
    for name, life in run.lives.items():
        figures = []
        for task, _ in zip(run.tasks, life.generators, strict=False):
            names = listed(run.names_of(task))
            caption = element("figcaption", f"Task {task.index + 1}")
            alt = f"Dreams of {names}, a row for each."
            figures.append(figure(pictures[f"dreams-{name}-task-{task.index + 1}"], alt, above=caption))
        if figures:
            text = f"What the memories of {name} recall of each class. No image below is real."
            parts += [element("p", text), gallery(figures)]
    return parts


def memories_of(run: RunResults, pictures: Pictures) -> list[Html]:
    """Return the quality of every memory."""
    parts = []
    for name, entry in run.strategies.items():
        if not (values := entry.quality["diversity"]):
            continue
        rows = [(title, *(f"{value:.3f}" for value in entry.quality[measure])) for measure, title in QUALITIES.items()]
        header = ["", *(f"task {task + 1}" for task in range(len(values)))]
        least = min(entry.quality["label_fidelity"])
        alt = f"Quality of the memories of {name}, per task; the lowest label fidelity is {least:.2f}."
        parts += [figure(pictures[f"quality-{name}"], alt, table(f"Memories of {name}", header, rows))]
    text = (
        "Label fidelity is the share of dreams whose label a judge trained on the real images confirms; diversity, the "
        "variance of dreams over that of real images; the Fréchet distance lies between the two, in units of the real "
        "variance, 0 being as good as real; a nearest-neighbour ratio clearly below 1 would mean that dreams repeat "
        "training images."
    )
    return [element("p", text), *parts] if parts else []


def time_of(run: RunResults, pictures: Pictures) -> list[Html]:
    """Return how long each phase took."""
    rows = [
        (f"{name}, {phase}", f"{seconds:,.1f}")
        for name, entry in run.strategies.items()
        for phase, seconds in entry.phases.items()
    ]
    totals = listed([f"{name} {entry.seconds:,.0f} s" for name, entry in run.strategies.items()])
    numbers = details("The numbers", table("Seconds per phase, over all tasks", ("phase", "seconds"), rows))
    return [figure(pictures["seconds"], f"Seconds of each phase, stacked. In all: {totals}.", numbers)]


def bytes_of(run: RunResults, pictures: Pictures) -> list[Html]:
    """Return what is kept to remember with, beside what it replaces."""
    kept = listed([f"{name} {entry.memory_bytes:,}" for name, entry in run.strategies.items()])
    alt = f"Bytes kept to remember with: {kept}; beside those of the raw training images that were seen."
    text = "What is kept to remember with, the network itself not counted, beside the training images that were seen."
    return [element("p", text), figure(pictures["bytes"], alt)]


def settings_of(run: RunResults) -> list[Html]:
    """Return the whole configuration and the versions."""
    rows = [(name, json.dumps(value)) for name, value in flat(run.config)]
    parts = [details("The whole configuration", table("Settings", ("setting", "value"), rows, "words"))]
    if run.versions:
        versions = table("Versions", ("package", "version"), list(run.versions.items()), "words")
        parts.append(details("Versions", versions))
    return parts


def foot_of(run: RunResults) -> Html:
    """Return the page's last line."""
    version = run.versions.get("mygo")
    made = f"Made by MyGO{f' {version}' if version else ''}. The pictures lie beside this page, in "
    return element("footer", made, element("code", "pictures/"), ".")


def listed(items: Sequence[str]) -> str:
    """Return ``items`` as a sentence lists them."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def counted(count: int, one: str, many: str = "") -> str:
    """Return ``count`` with its noun."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def signed(value: float) -> str:
    """Return ``value`` with its sign."""
    return f"{value:+.3f}".replace("-", "−")
