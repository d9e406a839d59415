"""The parts of benchmarks/serve.py: what each does to a life in service, and what it finds."""

import shutil
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.service import Asked, Body, Client, Service, as_json, form, service_on
from benchmarks.service_load import Load, loading, made, percentile, rate_of
from distributed.cluster.session import usable_cores
from mygo.jobs.features import batches_of, encoded_batches
from mygo.service.config import ExampleLimits
from mygo.service.examples import Inputs
from mygo.service.predictor import Predictor

HALF = 0.5


@dataclass(frozen=True)
class Found:
    """What a part found: a row of the table, and a sentence on how."""

    what: str
    value: str
    note: str


@dataclass(frozen=True)
class Bench:
    """What all parts need."""

    life: Path
    """A life that knows ten classes; parts work on copies."""
    photos: Sequence[bytes]
    """Photos of its classes that it was not taught."""
    others: Mapping[str, Sequence[bytes]]
    """Photos of other classes."""
    workplace: Path
    sizes: Mapping[str, Any]
    """The flags of the command."""
    flags: Sequence[str]
    """Flags of serve.py."""

    @contextmanager
    def copied(self, name: str) -> Iterator[Path]:
        """Yield the folder of a copy of the life."""
        folder = self.workplace / name
        shutil.copytree(self.life, folder)
        yield folder
        shutil.rmtree(folder)

    @contextmanager
    def served(self, name: str) -> Iterator[tuple[Service, Path]]:
        """Have a copy of the life in service; yields its folder too."""
        with self.copied(name) as folder, service_on(folder, folder.with_suffix(".log"), *self.flags) as service:
            service.client.predict(0, form(self.photos[:1]))  # the first takes longer
            yield service, folder

    def bodies(self, at_once: int = 1) -> list[Body]:
        """Return the photos as requests of so many each."""
        return [form(self.photos[start : start + at_once]) for start in range(0, len(self.photos), at_once)]

    def with_few(self, photos: int) -> "Bench":
        """Return the same with so many of the photos that are asked about."""
        return replace(self, photos=self.photos[:photos])

    def some_others(self, count: int) -> list[tuple[str, Sequence[bytes]]]:
        """Return so many classes that the life does not know, with their photos, to be taught and to be asked about."""
        assert len(self.others) >= count, f"--others needs {count} classes"
        return list(self.others.items())[:count]


# -- how fast ---------------------------------------------------------------------------------------------------------


class Bare:
    """The encoder of a life in this process, alone, with all cores."""

    def __init__(self, bench: Bench) -> None:
        torch.set_num_threads(usable_cores())
        self._encoder = Predictor.open(bench.life).encoder
        self._photos = bench.photos
        self.seconds_of(len(self._photos))  # the first pass takes longer

    def seconds_of(self, at_once: int, requests: int = 1) -> list[float]:
        """Return the seconds that each of so many passes takes, of ``at_once`` photos each."""
        seconds = []
        for number in range(requests):
            photos = [self._photos[(number * at_once + place) % len(self._photos)] for place in range(at_once)]
            reader = Inputs("image", photos, ExampleLimits())
            began = time.perf_counter()
            for _ in encoded_batches(reader, batches_of(reader, range(at_once)), self._encoder):
                pass
            seconds.append(time.perf_counter() - began)
        return seconds


def answered(load: Load) -> list[Asked]:
    """Make ``load``, all of which must be answered."""
    answers = made(load)
    assert all(asked.status == 200 for asked in answers), Counter(asked.status for asked in answers)
    return answers


def throughput(bench: Bench) -> Found:
    """Ask as fast as it is answered, several photos at once, by turns with bare passes."""
    at_once, clients, rounds = bench.sizes["at_once"], bench.sizes["clients"], bench.sizes["rounds"]
    bare, found = list[float](), list[float]()
    alone = Bare(bench)
    before = len(bench.photos) / statistics.median(alone.seconds_of(len(bench.photos), rounds))
    with bench.served("throughput") as (service, _):
        load = Load(service.port, bench.bodies(at_once), clients, requests=bench.sizes["requests"] // rounds)
        for _ in range(rounds):
            bare.append(len(bench.photos) / alone.seconds_of(len(bench.photos))[0])
            answers = answered(load)
            found.append(sum(len(asked.classes) for asked in answers) / len(answers) * rate_of(answers))
    shares = [each / beside for each, beside in zip(found, bare, strict=True)]
    return Found(
        "photos per second of /predict, against the encoder's bare pass",
        f"{statistics.median(shares):.2f}",
        f"{statistics.median(found):.1f} photos/s, requests of {at_once} by {clients} clients; "
        f"{statistics.median(bare):.1f} in bare passes, {before:.1f} before the service was started; {rounds} rounds "
        f"by turns, {spread(shares, '.2f')}.",
    )


def latency(bench: Bench) -> Found:
    """Ask about one photo at a time: alone, by turns with bare passes; as fast as it goes; and at half of that."""
    requests, clients, rounds = bench.sizes["requests"], bench.sizes["clients"], bench.sizes["rounds"]
    above, bare, found = list[float](), list[float](), list[float]()
    encoder = Bare(bench)
    with bench.served("latency") as (service, _):
        for _ in range(rounds):
            bare.append(statistics.median(encoder.seconds_of(1, requests // rounds)) * 1000)
            alone = answered(Load(service.port, bench.bodies(), 1, requests=requests // rounds))
            found.append(percentile(alone, 50) * 1000)
            above.append(found[-1] - bare[-1])
        top = rate_of(answered(Load(service.port, bench.bodies(), clients, requests=requests)))
        half = answered(Load(service.port, bench.bodies(), 4 * clients, rate=top * HALF, requests=requests))
    p50, p99 = percentile(half, 50), percentile(half, 99)
    return Found(
        "p50 of a single photo above the bare pass; p99 at half of the top load",
        f"{statistics.median(above):.0f} ms; {p99 / p50:.1f} × p50",
        f"p50 {statistics.median(found):.0f} ms by one client, {statistics.median(bare):.0f} in bare passes; {rounds} "
        f"rounds by turns, {spread(above, '.0f')} ms above. At {top * HALF:.1f} requests/s, half of {top:.1f}: p50 "
        f"{p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms.",
    )


def spread(values: Sequence[float], digits: str) -> str:
    """Return the least and the most of ``values``."""
    return f"{min(values):{digits}} to {max(values):{digits}}"


# -- lessons under load -----------------------------------------------------------------------------------------------


Reference = list[tuple[str | None, ...]]
"""What a version answers to each request."""


def references(folder: Path, answers: Sequence[Asked], bench: Bench, at_once: int) -> dict[int, Reference]:
    """Return what each version that is among ``answers`` says when it is asked in this process."""
    found = {}
    for version in {asked.version for asked in answers if asked.version is not None}:
        predictor = Predictor.open(folder / "service" / "versions" / str(version))
        names = [answer.class_name for answer in predictor.answer(bench.photos, 1)]
        found[version] = [tuple(names[start : start + at_once]) for start in range(0, len(names), at_once)]
    return found


def wrong_among(answers: Sequence[Asked], expected: Mapping[int, Reference]) -> list[Asked]:
    """Return the answers that are not those of the version that they name."""
    return [asked for asked in answers if asked.version and asked.classes != expected[asked.version][asked.number]]


def swap(bench: Bench) -> Found:
    """Teach a class under load, and look at each answer for whether it is that of one version."""
    at_once = 4
    ((name, photos),) = bench.some_others(1)
    with bench.served("swap") as (service, folder):
        client = service.client
        top = made(Load(service.port, bench.bodies(at_once), bench.sizes["clients"], requests=60))
        load = Load(service.port, bench.bodies(at_once), 4 * bench.sizes["clients"], rate=rate_of(top) * HALF)
        with loading(load) as running:
            began = time.monotonic()
            client.teach(name, form(photos[: bench.sizes["taught"]]))
            client.sleep()
            learned = time.monotonic()
            after = bench.sizes["swap_requests"] / (rate_of(top) * HALF) - (learned - began)
            time.sleep(max(5.0, after))
            answers = running.end()
        expected = references(folder, answers, bench, at_once)
    dropped = sum(asked.status != 200 for asked in answers)
    wrong = wrong_among(answers, expected)
    mixed = sum(is_mixed(asked, list(expected.values())) for asked in wrong)
    by_version = Counter(asked.version for asked in answers)
    return Found(
        f"{len(answers)} requests while a lesson is learned and swapped in: wrong, dropped or mixed answers",
        f"{len(wrong) - mixed}, {dropped}, {mixed}",
        f"{at_once} photos a request, at half of the top load; the lesson took {learned - began:.0f} s; by version: "
        f"{', '.join(f'{by_version[version]} of {version}' for version in sorted(by_version, key=str))}.",
    )


def is_mixed(asked: Asked, expected: Sequence[Reference]) -> bool:
    """Return whether each class of an answer is what some version answers, though no version answers all of them."""
    by_version = [version[asked.number] for version in expected]
    return all(any(names[place] == name for names in by_version) for place, name in enumerate(asked.classes))


def teach(bench: Bench) -> Found:
    """Teach classes one after the other, and wait for the first right answer about each."""
    seconds = []
    with bench.served("teach") as (service, _):
        client = service.client
        for name, photos in bench.some_others(bench.sizes["times"]):
            taught = photos[: bench.sizes["taught"]]
            held_out = [form([photo]) for photo in photos[bench.sizes["taught"] :]] or [form([taught[-1]])]
            began = time.monotonic()
            client.teach(name, form(taught))
            work = client.do("POST", "/sleep")
            first_right(client, held_out, name)
            seconds.append(time.monotonic() - began)
            client.learned(work)
            client.learned(client.do("POST", "/forget", as_json(**{"class": name})))  # ten are known again
    shown = ", ".join(f"{each:.1f}" for each in seconds)
    return Found(
        f"from /teach of {bench.sizes['taught']} photos of a new class to its first right answer, 10 classes known",
        f"{statistics.median(seconds):.1f} s",
        f"{len(seconds)} classes, {shown} s; the median counts.",
    )


def first_right(client: Client, bodies: Sequence[Body], name: str) -> Asked:
    """Ask about photos of a class in turn, until one is called so."""
    number = 0
    while True:
        found = client.predict(number, bodies[number % len(bodies)])
        if found.classes == (name,):
            return found
        number += 1
