"""A life in service, measured: throughput, latency, lessons swapped in, kills, a fuzz, and a soak.

python benchmarks/serve.py --clothing DIR --others DIR               all parts; a soak takes --soak-seconds
python benchmarks/serve.py --clothing DIR --parts throughput,latency some; the table keeps what was measured before

The data: alexeygrigorev/clothing-dataset-small (photos, CC0), a folder with train and test of one folder per class; and
--others, a folder with one folder of photos per class, of which classes are taught in addition: CIFAR-100's, say. The
life sees photos through EfficientNet-lite0. The load comes from a process of its own, on the same cores. What each part
finds is kept in --out, and benchmarks/results/serve.md is written from all that is there.
"""

import itertools
import json
import random
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

import tyro  # noqa: E402

from benchmarks.report import table, write_report  # noqa: E402
from benchmarks.service_endurance import fuzz, kills, soak  # noqa: E402
from benchmarks.service_parts import Bench, Found, latency, swap, teach, throughput  # noqa: E402
from mygo.data.images import SUFFIXES  # noqa: E402
from mygo.errors import InputError  # noqa: E402
from mygo.jobs.lesson import Lesson  # noqa: E402

PARTS: Mapping[str, Callable[[Bench], Found]] = {
    part.__name__: part for part in (throughput, latency, swap, teach, kills, fuzz, soak)
}
MUST = {
    "throughput": ("≥ 0.7", "≥ 0.9"),
    "latency": ("≤ 25 ms; ≤ 5 × p50", "≤ 15 ms; ≤ 3 × p50"),
    "swap": ("0", ""),
    "teach": ("≤ 60 s", "≤ 20 s"),
    "kills": ("0; 0; 0", ""),
    "fuzz": ("0", ""),
    "soak": ("≤ 5 %", ""),
}
"""What each part must show, and what is aimed at."""


@dataclass(frozen=True)
class Flags:
    """Which data there is, what is measured, and how much of it."""

    clothing: Path
    others: Path | None = None
    """Photos of other classes, in a folder each; teach, swap, kills and soak need some."""
    parts: str = ",".join(MUST)
    """Comma list."""
    out: Path = Path("runs/serve")
    """Folder for the life that the parts begin with, and for what they found."""
    known: int = 40
    """Photos of each class of clothing that the life was taught."""
    photos: int = 200
    """Photos that are asked about, in turn."""
    at_once: int = 8
    """Photos in one request, where the throughput is measured."""
    clients: int = 8
    """Requests at once, at most."""
    requests: int = 400
    """Requests to measure a throughput or a latency from."""
    rounds: int = 5
    """Parts of these, between which the bare pass is measured."""
    swap_requests: int = 1000
    taught: int = 30
    """Photos of a new class."""
    times: int = 3
    """Classes that are taught one after the other."""
    kills: int = 20
    examples: int = 200
    """Requests that are made up for each operation, well-formed and not."""
    soak_seconds: float = 7200.0
    lesson_every: float = 300.0
    """Seconds between two lessons of the soak."""
    serve: str = ""
    """More flags of serve.py."""


def photos_in(folder: Path) -> list[Path]:
    """Return the photos in ``folder``, in an order of chance that is always the same."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    random.Random(folder.name).shuffle(found)
    return found


def classes_in(folder: Path) -> dict[str, list[Path]]:
    """Return the photos of each class in ``folder``, by its name."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not there: name the folder of the data.")
    return {path.name: photos_in(path) for path in sorted(folder.iterdir()) if path.is_dir()}


def begin_life(flags: Flags) -> Path:
    """Return the folder of the life that knows clothing, which is taught if it is not there yet."""
    folder = flags.out.resolve() / f"clothing-{flags.known}"
    if not (folder / "manifest.json").exists():
        with tempfile.TemporaryDirectory() as temporary:
            for name, photos in classes_in(flags.clothing / "train").items():
                (Path(temporary) / name).mkdir()
                for photo in photos[: flags.known]:
                    (Path(temporary) / name / photo.name).symlink_to(photo.resolve())
            Lesson(folder, temporary, name="clothing").run()
    return folder


def bench_of(flags: Flags, workplace: Path) -> Bench:
    """Return what all parts need."""
    asked = classes_in(flags.clothing / "test")
    in_turn = itertools.chain.from_iterable(itertools.zip_longest(*asked.values()))
    photos = [path.read_bytes() for path in itertools.islice(filter(None, in_turn), flags.photos)]
    others = {} if flags.others is None else classes_in(flags.others)
    return Bench(
        life=begin_life(flags),
        photos=photos,
        others={name: [path.read_bytes() for path in paths[: 2 * flags.taught]] for name, paths in others.items()},
        workplace=workplace,
        sizes=asdict(flags),
        flags=("--rate", "100000", "--burst", "100000", *flags.serve.split()),
    )


def report(found: Mapping[str, Any]) -> str:
    """Return the table of all that was found."""
    rows = [[part, found[part]["what"], found[part]["value"], *MUST[part]] for part in MUST if part in found]
    notes = "\n".join(f"- {part}: {found[part]['note']}" for part in MUST if part in found)
    return f"{table(['part', 'what', 'found', 'must', 'aim'], rows)}\n\n{notes}"


def main() -> None:
    """Measure the parts that are wanted, and write all that was found."""
    flags = tyro.cli(Flags, description=__doc__)
    flags.out.mkdir(parents=True, exist_ok=True)
    wanted = flags.parts.split(",")
    if unknown := set(wanted) - set(PARTS):
        raise SystemExit(f"There is no part {min(unknown)}: name some of {', '.join(PARTS)}.")
    with tempfile.TemporaryDirectory(dir=flags.out) as temporary:
        bench = bench_of(flags, Path(temporary).resolve())
        for part in wanted:
            print(f"{part} …", flush=True)
            found = PARTS[part](bench)
            (flags.out / f"{part}.json").write_text(json.dumps(asdict(found), indent=2, ensure_ascii=False) + "\n")
            print(json.dumps(asdict(found), ensure_ascii=False), flush=True)
    found_before = {path.stem: json.loads(path.read_text()) for path in flags.out.glob("*.json")}
    command = "python benchmarks/serve.py --clothing DIR --others DIR"
    print(write_report("serve", "A life in service", command, report(found_before)).read_text())


if __name__ == "__main__":
    main()
