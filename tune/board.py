"""What a person sees of a sweep while it runs, and what is written down of each trial."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import ray.tune
from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter

from mygo.files import read_json, write_json
from mygo.reporting.tensorboard import add_row
from tune.trial import Plan, Point

Status = Literal["running", "finished", "stopped", "failed", "cut"]
"""A stopped trial was weak; a cut one ran when its time, or the sweep, ended, and ``--resume`` goes on with it."""


@dataclass
class TrialRecord:
    """One trial so far: ``class_il`` is the mean over the tasks so far, as a fraction, after each of them."""

    number: int
    point: Point
    status: Status = "running"
    class_il: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    error: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the record as plain values."""
        return {
            "number": self.number,
            "name": self.point.name,
            "settings": dict(self.point.settings),
            "seed": self.point.seed,
            "validation_share": self.point.validation_share,
            "status": self.status,
            "class_il": self.class_il,
            "seconds": self.seconds,
            "error": self.error,
        }


class TrialBoard(ray.tune.Callback):
    """Follows the trials of one stage: a live table, each one's ``trial.json`` and row in TensorBoard's HParams."""

    def __init__(
        self,
        title: str,
        plan: Plan,
        console: Console,
        point_of: Callable[[dict[str, Any]], Point],
    ) -> None:
        """Follow trials whose configuration ``point_of`` turns into points; those that run at the end were cut."""
        self.title = title
        self.plan = plan
        self.console = console
        self.records: dict[str, TrialRecord] = {}
        self._point_of = point_of
        self._live: Live | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles callbacks for a way of resuming that is not ours."""
        return {}

    def __enter__(self) -> "TrialBoard":
        self._live = Live(self.table(), console=self.console, refresh_per_second=4, transient=True)
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        # Tune tells callbacks nothing of the trials that it ends with the time budget.
        for record in self.records.values():
            if record.status == "running":
                self._end(record, "cut")
        self.console.print(self.table())

    # -- what Tune calls ----------------------------------------------------------------------------------------------

    def on_trial_start(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Add a row, and note the trial for a sweep that goes on with it."""
        record = self._record_of(trial)
        if not self._ended_before(record):
            write_json(self.plan.record_file(record.point), record.as_json())
        self._show()

    def on_trial_result(
        self, iteration: int, trials: Sequence[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Fill in the newest task."""
        record = self._record_of(trial)
        if result["tasks"] > len(record.class_il):
            record.class_il.append(result["class_il"])
        self._show()

    def on_trial_complete(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Distinguish a finished trial from one that the scheduler stopped."""
        record = self._record_of(trial)
        self._end(record, "finished" if len(record.class_il) == self.plan.base.num_tasks else "stopped")

    def on_trial_error(self, iteration: int, trials: Sequence[Any], trial: Any, **info: Any) -> None:
        """Say what went wrong; the sweep goes on. A trial that could not start has left no word of its own."""
        started = trial.trial_id in self.records
        record = self._record_of(trial)
        file = self.plan.error_file(record.point)
        said = read_json(file)["error"] if file.exists() else "its process died."
        record.error = said if started else "its process could not start."
        self._end(record, "failed")
        self.console.print(
            f"Trial {record.number} failed: {record.error}", style="red", highlight=False, markup=False, soft_wrap=True
        )

    # -- what is shown and written ------------------------------------------------------------------------------------

    def _record_of(self, trial: Any) -> TrialRecord:
        """Return the record of ``trial``, which is made when Tune first speaks of it."""
        if trial.trial_id not in self.records:
            self.records[trial.trial_id] = TrialRecord(len(self.records) + 1, self._point_of(trial.config))
        return self.records[trial.trial_id]

    def _end(self, record: TrialRecord, status: Status) -> None:
        record.status = status
        if earlier := self._ended_before(record):
            record.status, record.seconds, record.class_il = (earlier[key] for key in ("status", "seconds", "class_il"))
        else:
            record.seconds = time.monotonic() - record.started
            write_json(self.plan.record_file(record.point), record.as_json())
            self._write_hparams(record)
        self._show()

    def _ended_before(self, record: TrialRecord) -> dict[str, Any] | None:
        """Return what an interrupted sweep wrote down of this trial, if it ended there."""
        file = self.plan.record_file(record.point)
        earlier = read_json(file) if file.exists() else {"status": "unknown"}
        return earlier if earlier["status"] in ("finished", "stopped") else None

    def _write_hparams(self, record: TrialRecord) -> None:
        writer = SummaryWriter(str(self.plan.tensorboard(record.point)))
        settings = {**record.point.settings, "seed": record.point.seed}
        tasks = len(record.class_il)
        add_row(writer, settings, {"class_il": record.class_il[-1] if tasks else 0.0, "tasks": tasks}, step=tasks)
        writer.close()

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(self.table())

    def table(self) -> Table:
        """Return the trials so far, one a row."""
        table = Table(title=self.title, box=SIMPLE, show_edge=False, padding=(0, 1, 0, 0))
        names = sorted({name for record in self.records.values() for name in record.point.settings})
        seeds = len({record.point.seed for record in self.records.values()}) > 1
        short = [name.rpartition(".")[2].replace("_", "\n") for name in names]
        for header in ("#", "status", "tasks", "class-IL", *(["seed"] if seeds else []), *short, "seconds"):
            table.add_column(header, justify="left" if header == "status" else "right", vertical="bottom")
        for record in self.records.values():
            settings = [shown(record.point.settings.get(name)) for name in names]
            table.add_row(
                str(record.number),
                {"failed": "[red]failed", "finished": "[green]finished"}.get(record.status, record.status),
                str(len(record.class_il)),
                f"{record.class_il[-1]:.3f}" if record.class_il else "",
                *([str(record.point.seed)] if seeds else []),
                *settings,
                f"{record.seconds:.0f}" if record.seconds else "",
            )
        return table


def shown(value: Any) -> str:
    """Return ``value`` as the table shows it."""
    return f"{value:.3g}" if isinstance(value, float) else "–" if value is None else str(value)
