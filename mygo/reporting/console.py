"""What a person sees in the terminal: a progress bar per phase, accuracies after each task, a table at the end."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import filesize
from rich.box import SIMPLE
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as ProgressBar,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mygo.events import ENCODE, Dreamt, Evaluated, Event, Notice, Pace, PhaseEnded, Place, Progress
from mygo.reporting.terminal import printable, printable_lines


class PlainConsole(Console):
    """A console whose own orders alone reach the terminal: whatever text it is to show is shown as it is."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of ``renderable``, those of text without control characters."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable_lines(segment.text))


def new_console() -> Console:
    """Return the console of a command, on stdout as it is now (see `mygo.reporting.terminal.standard_streams`)."""
    return PlainConsole(file=getattr(sys.stdout, "orders", None))


class ConsoleLogger:
    """Listens to a life and shows it; use it as a context manager, and call it with each event."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or new_console()
        self._bars = ProgressBar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[losses]}"),
            console=self.console,
            transient=True,
        )
        self._bar_of: dict[str, tuple[Place, TaskID]] = {}
        """By life, of which several may go on at the same time."""
        self._pace = Pace()

    def __enter__(self) -> "ConsoleLogger":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Show ``event``."""
        match event:
            case Progress():
                self._advance(event)
            case PhaseEnded():
                self._finish(event)
            case Evaluated():
                self._show_row(event)
            case Notice(text):
                self._bars.console.print(plain(text), style="yellow")
            case Dreamt(place, _, _, quality):
                measured = f"label fidelity {quality['label_fidelity']:.3f}, diversity {quality['diversity']:.3f}"
                self._bars.console.print(f"[dim]{place}: {measured}", highlight=False)

    def _advance(self, event: Progress) -> None:
        life = event.place.strategy
        if life not in self._bar_of or self._bar_of[life][0] != event.place:
            self._remove_bar(life)
            bar = self._bars.add_task(str(event.place), total=event.steps, rate="", losses="")
            self._bar_of[life] = (event.place, bar)
        _, per_second = self._pace.follow(event)
        unit = "examples" if event.place.phase == ENCODE else "steps"
        rate = f"{per_second:.0f} {unit}/s" if per_second else ""
        losses = "  ".join(f"{name} {value:.3f}" for name, value in event.scalars.items())
        self._bars.update(self._bar_of[life][1], completed=event.step + 1, rate=rate, losses=losses)

    def _finish(self, event: PhaseEnded) -> None:
        self._remove_bar(event.place.strategy)
        if event.place.phase == "evaluate" or event.seconds < 0.01:
            return
        self._bars.console.print(f"[dim]{event.place}: {event.seconds:.1f} s", highlight=False)

    def _remove_bar(self, life: str) -> None:
        if life in self._bar_of:
            self._bars.remove_task(self._bar_of.pop(life)[1])

    def _show_row(self, event: Evaluated) -> None:
        for kind, matrix in (("class-IL", event.class_il), ("task-IL", event.task_il)):
            row = matrix[-1]
            mean, cells = sum(row) / len(row), "  ".join(f"{accuracy:.3f}" for accuracy in row)
            self._bars.console.print(
                f"{event.strategy} after task {event.task + 1}: {kind} [bold]{mean:.3f}[/bold]  ({cells})",
                highlight=False,
            )


def results_table(results: Mapping[str, Any]) -> Table:
    """Return the comparison of all strategies of ``results`` (the content of ``results.json``)."""
    config = results["config"]
    title = f"{config['dataset']}, {config['num_tasks']} tasks, on held-out test data"
    headers = "\ntask-IL", "\nclass-IL", "forget-\nting", "\nBWT", "\nseconds", "bytes\nkept", "raw data\nreplaced"
    table = new_table(("\nstrategy",), headers, title)
    for name, entry in results["strategies"].items():
        table.add_row(
            name,
            f"{entry['average_accuracy']['task_il']:.3f}",
            f"{entry['average_accuracy']['class_il']:.3f}",
            f"{entry['forgetting']['class_il']:.3f}",
            f"{entry['backward_transfer']['class_il']:+.3f}",
            f"{entry['seconds']['total']:.1f}",
            filesize.decimal(entry["memory_bytes"]),
            filesize.decimal(entry["replaced_data_bytes"]),
        )
    table.caption = "forgetting and BWT are of class-IL"
    return table


def new_table(words: Sequence[str], numbers: Sequence[str], title: str | None = None) -> Table:
    """Return a table without rows: columns of ``words``, which may be folded, and of ``numbers``, which may not."""
    table = Table(title=title, box=SIMPLE, show_edge=False, padding=(0, 0, 0, 1))
    for header in words:
        table.add_column(header, overflow="fold")
    for header in numbers:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def plain(text: str) -> Text:
    """Return ``text`` to print as it is: names of files and classes are neither markup nor orders to the terminal."""
    return Text(printable(text))


def print_json(console: Console, content: object) -> None:
    """Print ``content`` as JSON, in ASCII and without a line's end in its lines, wherever it goes."""
    console.file.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
