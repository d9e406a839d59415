import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.util.metrics import Gauge

from distributed import prometheus
from distributed.prometheus import COUNTERS, GAUGES, PrometheusLogger
from distributed.serving.metrics import METRICS, PREFIX, RayMeter
from mygo.events import Dreamt, Evaluated, Event, Notice, PhaseEnded, Place, Progress, Restarted
from mygo.memory.quality import MEANS

REPOSITORY = Path(__file__).resolve().parent.parent.parent

ADAPT, CONSOLIDATE = Place("mygo", 1, "adapt"), Place("mygo", 1, "consolidate")
QUALITY = {"label_fidelity": 0.9, "diversity": 0.8, "frechet_distance": 0.1, "nearest_neighbour_ratio": 1.0}
TOLD: list[Event] = [
    Progress(ADAPT, 0, 40, {"cross_entropy": 2.0}, when=100.0),
    Progress(ADAPT, 20, 40, {"cross_entropy": 1.0}, when=102.0),
    PhaseEnded(ADAPT, 4.5),
    Dreamt(Place("mygo", 1, "memorise"), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), 2, QUALITY),
    Restarted("Worker 0 was lost.", "workers"),
    Notice("A sentence to see."),
    Evaluated("mygo", 1, [[1.0], [0.75, 1.0]], [[1.0], [0.5, 1.0]], [[1, 1], [0, 2]]),
    Progress(CONSOLIDATE, 0, 40, {"own_head": 0.5, "all_heads": 0.25}, when=110.0),
    Progress(CONSOLIDATE, 10, 40, {"own_head": 0.375, "all_heads": 0.125}, when=112.0),
]
EXPORTED = {f"ray_{name}": {"run", *tags} for name, (_, tags) in GAUGES.items()}
EXPORTED |= {f"ray_{name}_total": {"run", *tags} for name, (_, tags) in COUNTERS.items()}
"""The labels of every metric of a run, by the name that Prometheus sees."""
SUFFIXES = {"counter": "_total", "gauge": "", "histogram": "_bucket"}
OF_A_SERVICE = {
    f"ray_{PREFIX}{name}{'_total' if name == 'lessons' else SUFFIXES[kind]}": {
        *labels,
        *(["le"] if kind == "histogram" else []),
    }
    for name, (kind, _, labels) in METRICS.items()
}
"""The same of a life in service, whose `lessons` are told as a total in each state."""

Samples = dict[tuple[str, frozenset[str]], float]
"""Values by name and, written name=value, labels."""


def exported() -> str:
    """Return what Ray exports on this node."""
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def scrape(run: str) -> Samples:
    """Return what Ray exports of ``run`` on this node, without the labels that Ray adds."""
    samples: Samples = {}
    for name, labels, value in re.findall(r"^(ray_mygo_\w+)\{(.*)\} (\S+)$", exported(), re.MULTILINE):
        found = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if found.get("run") == run:
            samples[name, frozenset(f"{tag}={found[tag]}" for tag in EXPORTED[name] - {"run"})] = float(value)
    return samples


def sample(name: str, **labels: str) -> tuple[str, frozenset[str]]:
    return f"ray_mygo_{name}", frozenset(f"{tag}={value}" for tag, value in labels.items())


def test_prometheus_reads_what_a_life_tells_and_as_long_as_it_holds(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    monkeypatch.setattr(prometheus, "REFRESH_SECONDS", 0.3)
    life = {"strategy": "mygo"}
    here = life | {"phase": "consolidate", "task": "2"}
    loss = sample("loss", **here, term="own_head")
    with PrometheusLogger("first", dreams_per_step=64) as on_event:
        for event in TOLD:
            on_event(event)
        wait_until(lambda: loss in scrape("first"))
        # Until Ray has forgotten a gauge that was set once.
        Gauge("test_set_once").set(1)
        wait_until(lambda: "ray_test_set_once" in exported())
        wait_until(lambda: "ray_test_set_once" not in exported())
        assert scrape("first") == pytest.approx(
            {
                sample("steps_total", **life, phase="adapt", task="2"): 21,
                sample("steps_total", **here): 11,
                sample("dreams_total", **life): 11 * 64,
                sample("notices_total"): 2,
                sample("restarts_total", who="workers"): 1,
                sample("steps_per_second", **here): 5,
                loss: 0.375,
                sample("loss", **here, term="all_heads"): 0.125,
                sample("tasks_learned", **life): 2,
                sample("average_accuracy", **life, kind="task_il"): 0.875,
                sample("average_accuracy", **life, kind="class_il"): 0.75,
                sample("task_accuracy", **life, kind="task_il", task="1"): 0.75,
                sample("task_accuracy", **life, kind="task_il", task="2"): 1.0,
                sample("task_accuracy", **life, kind="class_il", task="1"): 0.5,
                sample("task_accuracy", **life, kind="class_il", task="2"): 1.0,
                **{sample("memory_quality", **life, task="2", measure=name): v for name, v in QUALITY.items()},
                sample("phase_seconds", **life, phase="adapt", task="2"): 4.5,
            }
        )
        on_event(PhaseEnded(CONSOLIDATE, 8.0))
        wait_until(lambda: loss not in scrape("first"))  # the phase no longer runs
        assert scrape("first")[sample("phase_seconds", **here)] == 8.0
        assert scrape("first")[sample("average_accuracy", **life, kind="class_il")] == 0.75


def test_prometheus_reads_what_is_counted_of_a_service(ray_cluster: None, wait_until: Callable[..., None]) -> None:
    meter = RayMeter()
    for name, (kind, _, labels) in METRICS.items():
        tags = {"path": "/predict", "code": "200", "state": "done", "drifted": "no"}
        note = {"counter": meter.count, "gauge": meter.set, "histogram": meter.observe}[kind]
        note(name, 0.2, **{label: tags[label] for label in labels})
    wait_until(lambda: all(f"\n{name}{{" in exported() for name in OF_A_SERVICE))
    lines = [line for line in exported().splitlines() if line.startswith("ray_mygo_service_")]
    for name, labels in OF_A_SERVICE.items():
        found = [set(re.findall(r'(\w+)="', line)) for line in lines if line.startswith(f"{name}{{")]
        assert all(labels <= each for each in found), name


def test_ray_tells_prometheus_where_to_look(ray_cluster: None, wait_until: Callable[..., None]) -> None:
    (node,) = ray.nodes()
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    found = session / "prom_metrics_service_discovery.json"
    wait_until(found.exists)
    (group,) = json.loads(found.read_text())
    assert f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" in group["targets"]
    assert str(found) in (session / "metrics" / "prometheus" / "prometheus.yml").read_text()


def test_without_ray_nothing_is_exported_and_nothing_fails() -> None:
    code = """
from distributed.prometheus import PrometheusLogger
from mygo.events import Notice, Place, Progress
with PrometheusLogger("alone", dreams_per_step=64) as on_event:
    on_event(Progress(Place("mygo", 0, "adapt"), 0, 40, {"cross_entropy": 2.0}))
    on_event(Notice("A sentence to see."))
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads((REPOSITORY / "docs" / "grafana.json").read_text())
    return content


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def test_the_grafana_dashboard_can_be_imported_anywhere(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] >= 38  # Grafana 10
    assert dashboard["uid"]
    assert dashboard["title"] == "MyGO"
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] == "row":
            continue
        assert panel["title"]
        assert panel["description"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    used = {name for query in queries(dashboard) for name in re.findall(r"\$(\w+)", query)}
    assert used - {"__rate_interval"} == variables.keys() - {"datasource"}


def test_the_grafana_dashboard_shows_what_is_exported_and_all_of_it(dashboard: dict[str, Any]) -> None:
    words = {word for query in queries(dashboard) for word in re.findall(r"\bray_\w+", query)}
    assert words == EXPORTED.keys() | OF_A_SERVICE.keys()
    for query in queries(dashboard):
        names = re.findall(r"\bray_\w+", query)
        assert names, query
        used = [*re.findall(r"(\w+)=", query), *re.findall(r"\w+", "".join(re.findall(r"by \((.*?)\)", query)))]
        for name in names:
            assert set(used) <= (EXPORTED | OF_A_SERVICE)[name], query
    shown = {measure for query in queries(dashboard) for measure in re.findall(r'measure="(\w+)"', query)}
    assert shown == set(MEANS)
