"""What is counted of a service: at /metrics as ``mygo_service_…``, and by Ray's agents as ``ray_mygo_service_…``."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

import prometheus_client
from ray.util import metrics as ray_metrics
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distributed.serving.calls import Snapshot

PREFIX = "mygo_service_"
LATENCIES = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of latencies, in seconds."""
LESSON_STATES = ("waiting", "running", "done", "failed")

Kind = Literal["counter", "gauge", "histogram"]
METRICS: Mapping[str, tuple[Kind, str, tuple[str, ...]]] = {
    "requests": ("counter", "Requests, by path and status.", ("path", "code")),
    "latency_seconds": ("histogram", "Seconds from a request to the end of its answer.", ("path",)),
    "predictions": ("counter", "Inputs that were answered.", ()),
    "unknown": ("counter", "Inputs that were answered with unknown.", ()),
    "drift_tests": ("counter", "Tests of the last inputs for drift, by whether they say so.", ("drifted",)),
    "drift_p_value": ("gauge", "The p-value of the last test for drift; 1 before the first one of a version.", ()),
    "drift_classes": ("gauge", "Classes whose inputs have changed, by the last test for drift.", ()),
    "version": ("gauge", "Version of the life.", ()),
    "classes": ("gauge", "Classes that the life knows.", ()),
    "inbox_examples": ("gauge", "Examples that wait to be learned.", ()),
    "inbox_bytes": ("gauge", "Bytes of the examples that wait to be learned.", ()),
    "lessons_total": ("gauge", "Lessons, and classes to forget, by state.", ("state",)),
    "lesson_progress": ("gauge", "Part of the lesson that is running that is done, from 0 to 1.", ()),
}
"""Kind, description and labels by name. Prometheus appends ``_total`` to counters."""

PATHS = (
    *("/", "/predict", "/teach", "/inbox", "/sleep", "/lessons", "/forget", "/rollback", "/life", "/life/map"),
    *("/healthz", "/metrics", "/docs", "/openapi.json"),
)
FOLDERS = {"/inbox/": "/inbox/{id}", "/lessons/": "/lessons/{id}", "/page/": "/page/{file}", "/docs/": "/docs/{file}"}
GONE = 499
"""The status of a request whose asker did not wait for the answer, as nginx counts it."""
OTHER = "other"
"""What all other paths are counted as, so that nobody can make up new ones without end."""


class Meter(Protocol):
    """Takes measurements; names and labels are those of `METRICS`."""

    def count(self, name: str, more: float = 1, **labels: str) -> None:
        """Let a counter grow."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""

    def set(self, name: str, value: float, **labels: str) -> None:
        """Give a gauge its value."""


class PageMeter:
    """Keeps measurements for /metrics."""

    def __init__(self) -> None:
        self.registry = prometheus_client.CollectorRegistry()
        kinds: dict[Kind, Any] = {
            "counter": prometheus_client.Counter,
            "gauge": prometheus_client.Gauge,
            "histogram": prometheus_client.Histogram,
        }
        self._metrics: dict[str, Any] = {}
        for name, (kind, text, labels) in METRICS.items():
            full = f"{PREFIX}{name}"
            buckets = {"buckets": LATENCIES} if kind == "histogram" else {}
            self._metrics[name] = kinds[kind](full, text, labels, registry=self.registry, **buckets)

    def count(self, name: str, more: float = 1, **labels: str) -> None:
        """Let a counter grow."""
        self._of(name, labels).inc(more)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self._of(name, labels).observe(value)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Give a gauge its value."""
        self._of(name, labels).set(value)

    def _of(self, name: str, labels: Mapping[str, str]) -> Any:
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric

    def page(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)


class RayMeter:
    """Passes measurements on to Ray, which exports them from each node."""

    def __init__(self) -> None:
        self._metrics: dict[str, Any] = {}
        for name, (kind, text, labels) in METRICS.items():
            full = f"{PREFIX}{name}"
            if kind == "histogram":
                self._metrics[name] = ray_metrics.Histogram(full, text, boundaries=list(LATENCIES), tag_keys=labels)
            else:
                made = ray_metrics.Counter if kind == "counter" else ray_metrics.Gauge
                self._metrics[name] = made(full, text, tag_keys=labels)

    def count(self, name: str, more: float = 1, **labels: str) -> None:
        """Let a counter grow."""
        if more:  # Ray takes no 0
            self._metrics[name].inc(more, labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self._metrics[name].observe(value, labels)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Give a gauge its value."""
        self._metrics[name].set(value, labels)


class Meters:
    """Several meters as one."""

    def __init__(self, *meters: Meter) -> None:
        self._meters = meters

    def count(self, name: str, more: float = 1, **labels: str) -> None:
        """Let a counter grow."""
        for meter in self._meters:
            meter.count(name, more, **labels)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        for meter in self._meters:
            meter.observe(name, value, **labels)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Give a gauge its value."""
        for meter in self._meters:
            meter.set(name, value, **labels)


def note_snapshot(meter: Meter, snapshot: Snapshot) -> None:
    """Give all gauges their values."""
    meter.set("version", snapshot.version or 0)
    meter.set("classes", snapshot.classes)
    meter.set("inbox_examples", snapshot.inbox_examples)
    meter.set("inbox_bytes", snapshot.inbox_bytes)
    meter.set("lesson_progress", snapshot.progress)
    for state in LESSON_STATES:
        meter.set("lessons_total", snapshot.lessons.get(state, 0), state=state)


class Measured:
    """ASGI middleware that counts what ``app`` answers, and how long it takes."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app, self._meter = app, meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, code = time.perf_counter(), 500

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except asyncio.CancelledError:
            code = GONE
            raise
        finally:
            path = counted_as(scope["path"])
            self._meter.count("requests", path=path, code=str(code))
            self._meter.observe("latency_seconds", time.perf_counter() - began, path=path)


def counted_as(path: str) -> str:
    """Return the path under which a request for ``path`` is counted."""
    if path in PATHS:
        return path
    return next((name for folder, name in FOLDERS.items() if path.startswith(folder)), OTHER)
