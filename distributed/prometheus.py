"""Prometheus: events as metrics, exported by Ray's metrics agent on the driver's node, under names ``ray_mygo_…``."""

import threading

from ray.util.metrics import Counter, Gauge

from mygo.evaluate import average_accuracy
from mygo.events import Dreamt, Evaluated, Event, Notice, Pace, PhaseEnded, Place, Progress, Restarted

REFRESH_SECONDS = 4.0
"""How often all gauges are set again. Every 10 s Ray exports those that were set since, and forgets the others."""

GAUGES = {
    "mygo_steps_per_second": ("Mean speed of the phase that is running.", ("strategy", "phase", "task")),
    "mygo_loss": ("Terms of the loss of the phase that is running.", ("strategy", "phase", "task", "term")),
    "mygo_tasks_learned": ("Tasks that were learned and evaluated.", ("strategy",)),
    "mygo_average_accuracy": ("Mean held-out accuracy over the tasks so far, as a fraction.", ("strategy", "kind")),
    "mygo_task_accuracy": ("Held-out accuracy on each task so far, as a fraction.", ("strategy", "kind", "task")),
    "mygo_memory_quality": ("How good each memory's dreams are.", ("strategy", "task", "measure")),
    "mygo_phase_seconds": ("Wall seconds that each phase took.", ("strategy", "phase", "task")),
}
"""What has a value at any time: description and tags by name."""

COUNTERS = {
    "mygo_steps": ("Training steps made.", ("strategy", "phase", "task")),
    "mygo_dreams": ("Dreams that students learned from.", ("strategy",)),
    "mygo_notices": ("Sentences for a person to see.", ()),
    "mygo_restarts": ("How often workers or dreamers started again.", ("who",)),
}
"""What only grows; Prometheus appends ``_total`` to these names."""

OF_THE_RUNNING_PHASE = ("mygo_steps_per_second", "mygo_loss")

Labels = tuple[str, ...]


class PrometheusLogger:
    """An event handler (a callback) that exports events through Ray's metrics, inside its block.

    An event costs nothing but a dictionary's entry: a thread passes the values on. Where Ray exports no metrics, nobody
    sees them, and nothing else changes.
    """

    def __init__(self, run: str, dreams_per_step: int) -> None:
        """Tag everything with ``run``; each step of the phase consolidate learns from ``dreams_per_step`` dreams."""
        self._dreams_per_step = dreams_per_step
        self._gauges = {name: Gauge(name, text, ("run", *tags)) for name, (text, tags) in GAUGES.items()}
        self._counters = {name: Counter(name, text, ("run", *tags)) for name, (text, tags) in COUNTERS.items()}
        for metric in (*self._gauges.values(), *self._counters.values()):
            metric.set_default_tags({"run": run})
        self._values: dict[tuple[str, Labels], float] = {}
        self._lock = threading.Lock()
        self._pace = Pace()
        self._done = threading.Event()
        self._refresher = threading.Thread(target=self._refresh_until_done, name="metrics", daemon=True)

    def __enter__(self) -> "PrometheusLogger":
        self._refresher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._refresher.join()

    def __call__(self, event: Event) -> None:
        """Take ``event`` in."""
        match event:
            case Progress():
                self._progress(event)
            case PhaseEnded(place, seconds):
                self._forget(*OF_THE_RUNNING_PHASE)
                self._set("mygo_phase_seconds", seconds, *labels(place))
            case Dreamt(place, _, _, quality):
                for measure, value in quality.items():
                    self._set("mygo_memory_quality", value, place.strategy, str(place.task + 1), measure)
            case Evaluated(strategy, task, task_il, class_il):
                self._set("mygo_tasks_learned", task + 1, strategy)
                for kind, matrix in (("task_il", task_il), ("class_il", class_il)):
                    self._set("mygo_average_accuracy", average_accuracy(matrix), strategy, kind)
                    for number, accuracy in enumerate(matrix[-1], start=1):
                        self._set("mygo_task_accuracy", accuracy, strategy, kind, str(number))
            case Notice():
                self._count("mygo_notices", 1)
                if isinstance(event, Restarted):
                    self._count("mygo_restarts", 1, event.who)

    def _progress(self, event: Progress) -> None:
        where = labels(event.place)
        steps, per_second = self._pace.follow(event)
        self._count("mygo_steps", steps, *where)
        if event.place.phase == "consolidate":
            self._count("mygo_dreams", steps * self._dreams_per_step, event.place.strategy)
        if per_second:
            self._set("mygo_steps_per_second", per_second, *where)
        for term, value in event.scalars.items():
            self._set("mygo_loss", value, *where, term)

    def _set(self, name: str, value: float, *values: str) -> None:
        with self._lock:
            self._values[name, values] = value

    def _forget(self, *names: str) -> None:
        with self._lock:
            self._values = {key: value for key, value in self._values.items() if key[0] not in names}

    def _count(self, name: str, more: int, *values: str) -> None:
        self._counters[name].inc(more, dict(zip(COUNTERS[name][1], values, strict=True)))

    def _refresh_until_done(self) -> None:
        done = False
        while not done:  # and once more at the end: Ray exports the last values when the driver disconnects
            done = self._done.wait(REFRESH_SECONDS)
            with self._lock:
                current = list(self._values.items())
            for (name, values), value in current:
                self._gauges[name].set(value, dict(zip(GAUGES[name][1], values, strict=True)))


def labels(place: Place) -> Labels:
    """Return the values of the tags strategy, phase and task; tasks are counted from 1, as everywhere."""
    return place.strategy, place.phase, str(place.task + 1)
