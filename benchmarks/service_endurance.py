"""The parts of benchmarks/serve.py that last: kills, hostile requests, and a soak."""

import itertools
import signal
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks.service import TITLES, Service, as_json, form, start_service
from benchmarks.service_load import Load, loading, made, rate_of
from benchmarks.service_parts import HALF, Bench, Found, references, wrong_among
from mygo.errors import MygoError
from mygo.jobs.life import Life

TARGETS = ("predictor", "lesson", "driver")
PHOTOS = 40
"""Photos that are asked about while processes are killed; each version is asked about them too."""
LOST_SECONDS = 120.0
"""An answer that takes longer than this was lost without an error: the service itself gives up after 60 s."""
SAMPLE_SECONDS = 10.0
"""How often the memory is looked at."""
MOST_GROWN = 4
"""Processes that are named."""


# -- kills ------------------------------------------------------------------------------------------------------------


def kills(bench: Bench) -> Found:
    """Kill processes in turn while a lesson is learned, under load, and look for what was lost."""
    bench = bench.with_few(PHOTOS)
    targets = list(itertools.islice(itertools.cycle(TARGETS), bench.sizes["kills"]))
    others = itertools.cycle(bench.some_others(2))
    inbox_lost = half_written = unanswered = wrong = 0
    statuses: Counter[int] = Counter()
    with bench.copied("kills") as folder, ExitStack() as stack:
        log = folder.with_suffix(".log")
        service = start_service(folder, log, *bench.flags)
        stack.callback(lambda: end(service))
        for target, (name, photos) in zip(targets, others, strict=False):
            client = service.client
            with loading(Load(service.port, bench.bodies(), 4, rate=10.0)) as running:
                item = client.teach(name, form(photos[: bench.sizes["taught"]]))
                work = client.do("POST", "/sleep")
                if target == "driver":
                    time.sleep(2.0)  # into the lesson
                    service.end(signal.SIGKILL)
                    half_written += is_half_written(folder)
                    answers = running.end()
                    service.wait_until_gone()
                    service = start_service(folder, log, *bench.flags)
                else:
                    service.kill(target)
                    half_written += is_half_written(folder)
                service.client.learned(work)
                answers = running.end()
            client = service.client
            inbox_lost += item["id"] in str(client.get("/inbox")) or name not in str(client.get("/life")["classes"])
            wrong += len(wrong_among(answers, references(folder, answers, bench, 1)))
            client.learned(client.do("POST", "/forget", as_json(**{"class": name})))
            statuses.update(asked.status for asked in answers)
            unanswered += sum(asked.seconds > LOST_SECONDS for asked in answers)
            print(f"{target} killed: {dict(statuses)}", flush=True)
    shown = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    return Found(
        f"{len(targets)} kills in turn of {', '.join(TARGETS)}, each in a lesson under load: answers lost without an "
        "error; inbox items lost; states half-written",
        f"{unanswered}; {inbox_lost}; {half_written}",
        f"{statuses.total()} requests by status, 0 for a connection that ended: {shown}; {wrong} answers were wrong.",
    )


def end(service: Service) -> None:
    """End ``service``, if it has not ended, and wait until nothing is left of it."""
    if service.process.poll() is None:
        service.end()
    service.wait_until_gone()


def is_half_written(folder: Path) -> bool:
    """Return whether the life in ``folder`` or one of its versions cannot be opened."""
    versions = [path for path in (folder / "service" / "versions").iterdir() if path.name.isdecimal()]
    return not all(map(opens, (folder, *versions)))


def opens(folder: Path) -> bool:
    """Return whether the life in ``folder`` can be opened, or was deleted in the meantime."""
    try:
        Life.open(folder)
    except (OSError, MygoError) as error:
        if folder.exists():
            print(f"half-written: {error}", flush=True)
            return False
    return True


# -- hostile requests -------------------------------------------------------------------------------------------------


def fuzz(bench: Bench) -> Found:
    """Send well-formed and malformed requests that are made up from the service's own description."""
    import schemathesis
    from hypothesis import HealthCheck, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode

    statuses: Counter[int] = Counter()
    with bench.served("fuzz") as (service, _):
        described = schemathesis.openapi.from_url(f"http://127.0.0.1:{service.port}/openapi.json")
        operations = [found.ok() for found in described.get_all_operations()]
        for operation, mode in itertools.product(operations, GenerationMode):
            if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
                continue  # there is nothing that could be wrong

            @settings(
                max_examples=bench.sizes["examples"],
                suppress_health_check=list(HealthCheck),
                deadline=None,
                database=None,
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case) -> None:
                statuses[case.call().status_code] += 1

            with suppress(Unsatisfiable):  # nothing that is wrong could be said here
                ask()
            print(f"{operation.label}, {mode.value}: {dict(sorted(statuses.items()))}", flush=True)
        assert service.client.get("/healthz")["status"] == "ok"
    faults = sum(count for status, count in statuses.items() if status >= 500)
    shown = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    return Found(
        f"{statuses.total()} hostile requests: answers of 5xx",
        str(faults),
        f"schemathesis, {bench.sizes['examples']} of each kind for each operation; by status: {shown}.",
    )


# -- a soak -----------------------------------------------------------------------------------------------------------


def soak(bench: Bench) -> Found:
    """Ask at half of the top load for hours, with a lesson every few minutes, and watch the memory."""
    ((name, photos),) = bench.some_others(1)
    samples: list[tuple[float, Mapping[str, float]]] = []
    lessons = 0
    with bench.served("soak") as (service, _):
        client = service.client
        client.teach(name, form(photos[: bench.sizes["taught"]]))
        client.sleep()
        top = made(Load(service.port, bench.bodies(), bench.sizes["clients"], requests=bench.sizes["requests"]))
        load = Load(service.port, bench.bodies(), 4 * bench.sizes["clients"], rate=rate_of(top) * HALF)
        with loading(load) as running:
            began = time.monotonic()
            while (now := time.monotonic() - began) < bench.sizes["soak_seconds"]:
                if now >= lessons * bench.sizes["lesson_every"]:
                    client.teach(name, form(photos[: bench.sizes["taught"]]))
                    client.do("POST", "/sleep")
                    lessons += 1
                if not service.processes("lesson"):  # which comes and goes
                    samples.append((now / bench.sizes["soak_seconds"], megabytes(service)))
                time.sleep(SAMPLE_SECONDS)
            answers = running.end()
    statuses = Counter(asked.status for asked in answers)
    early_by_name = mean_of([sizes for when, sizes in samples if 0.25 <= when < 0.35])
    late_by_name = mean_of([sizes for when, sizes in samples if when >= 0.9])
    early, late = sum(early_by_name.values()), sum(late_by_name.values())
    grown = sorted(late_by_name, key=lambda name: early_by_name.get(name, 0.0) - late_by_name[name])[:MOST_GROWN]
    shown = ", ".join(f"{name} {late_by_name[name] - early_by_name.get(name, 0.0):+.0f}" for name in grown)
    return Found(
        f"{bench.sizes['soak_seconds'] / 60:.0f} minutes at half of the top load, a lesson every "
        f"{bench.sizes['lesson_every']:.0f} s: growth of memory after the first quarter",
        f"{(late / early - 1) * 100:+.1f} %",
        f"{early:.0f} MB in all processes after a quarter, {late:.0f} MB at the end (proportional set size); {lessons} "
        f"lessons; {len(answers)} requests, {rate_of(answers):.1f} a second, of which "
        f"{len(answers) - statuses[200]} had no answer. By process, in MB: {shown}.",
    )


def megabytes(service: Service) -> Mapping[str, float]:
    """Return the memory of all processes of ``service`` by what they are called.

    What several share is counted once (proportional set size).
    """
    found: defaultdict[str, float] = defaultdict(float)
    for pid, command in service.processes().items():
        name = next((name for name, title in TITLES.items() if title in command), "")
        words = [Path(word).name for word in command.split() if not word.startswith("-")]
        found[name or " ".join(words[: 2 if words[0].startswith("python") else 1])] += memory_of(pid) / 2**10
    return found


def mean_of(samples: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each number over all ``samples``."""
    return {name: statistics.fmean(each.get(name, 0.0) for each in samples) for name in set().union(*samples)}


def memory_of(pid: int) -> float:
    """Return the proportional set size of a process in kilobytes, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(float(line.split()[1]) for line in lines if line.startswith("Pss:"))
