"""Lives that are merged, and lessons learned side by side, beside one life that learned all of it in turn.

python benchmarks/merging.py --features runs/eyes/clothing.npz runs/eyes/cifar100.npz

Classes are halved, and a life learns each half in so many lessons; they are merged, another life learns all lessons in
turn, and one learns them side by side, in this process, so that its time is the sum of what machines would share.
Accuracy is class-IL on the test examples of all classes that a life knows. Behind a frozen encoder, whose features
eyes.py leaves in its --out, networks and memories are also compared to the bit.
"""

import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import tyro

from mygo.config.learner import LifeConfig
from mygo.config.presets import behind_encoder
from mygo.data.examples import Examples, LabelledDataset, network_input
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.jobs.merge import merge
from mygo.jobs.side_by_side import learn_together

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Flags:
    """What is learned."""

    features: tuple[Path, ...]
    """Features with labels, class names and a test part."""
    lessons: int = 4
    """Of all classes, an even number."""
    threads: int = 2


@dataclass(frozen=True)
class Lessons:
    """Lessons as files, and what they are learned with."""

    files: list[str]
    config: LifeConfig
    test: Examples
    class_names: tuple[str, ...]

    def taught(self, folder: Path, numbers: Sequence[int]) -> float:
        """Teach the life in ``folder``, and return the seconds that took."""
        started = time.perf_counter()
        for number in numbers:
            Lesson(folder, self.files[number], config=self.config).run()
        return time.perf_counter() - started

    @torch.no_grad()
    def class_il(self, life: Life) -> float:
        """Return the share of all test examples of classes that ``life`` knows which it gives their class."""
        places = torch.tensor([self.class_names.index(name) for name in life.class_names])
        known = torch.isin(self.test.labels, places)
        rows = known.nonzero().squeeze(1).split(1000)
        right = [
            int(
                (
                    places[life.neocortex(network_input(self.test.inputs[part])).argmax(1)] == self.test.labels[part]
                ).sum()
            )
            for part in rows
        ]
        return sum(right) / int(known.sum())


def cut(data: LabelledDataset, config: LifeConfig, count: int, folder: Path) -> Lessons:
    """Cut ``data`` into ``count`` lessons, as files in ``folder``."""
    kind = "features" if len(data.input_shape) == 1 else "images"
    files = []
    for number, classes in enumerate(torch.arange(len(data.class_names)).tensor_split(count)):
        arrays = {"class_names": np.array([data.class_names[label] for label in classes.tolist()])}
        for prefix, part in (("", data.train), ("test_", data.test)):
            rows = torch.isin(part.labels, classes).nonzero().squeeze(1)
            arrays[f"{prefix}labels"] = (part.labels[rows] - classes[0]).numpy()
            arrays[f"{prefix}{kind}"] = part.inputs[rows].squeeze(1).numpy()
        files.append(f"{folder}/lesson-{number}.npz")
        np.savez(files[-1], **arrays)  # type: ignore[arg-type]
    return Lessons(files, config, data.test, data.class_names)


def are_equal(life: Life, other: Life) -> bool:
    """Return whether two lives have the same bits in networks, memories and teachers, class by class."""

    def known(life: Life) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}
        for number, lesson in enumerate(life.lessons):
            for part, modules in (("head", life.neocortex.classifiers), ("memory", life.memories)):
                for name, tensor in modules[number].state_dict().items():
                    found |= {f"{each} {part} {name}": row for each, row in zip(lesson.classes, tensor, strict=True)}
        return found

    mine, theirs = known(life), known(other)
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def measure(lessons: Lessons, out: Path) -> list[str]:
    """Return the rows of one data set's table."""
    count = len(lessons.files)
    halves = {"first half": range(count // 2), "second half": range(count // 2, count)}
    lines = []

    def note(what: str, life: Life, seconds: float, equal: str = "") -> None:
        lines.append(f"| {what} | {lessons.class_il(life):.4f} | {seconds:.0f} s | {equal} |")
        print(lines[-1], flush=True)

    for name, numbers in halves.items():
        seconds = lessons.taught(out / name, numbers)
        note(f"{name}, its own classes alone", Life.open(out / name), seconds)
    started = time.perf_counter()
    merged = merge(Life, [Life.open(out / name) for name in halves], out / "merged")
    seconds = time.perf_counter() - started
    seconds_in_turn = lessons.taught(out / "in turn", range(count))
    whole = Life.open(out / "in turn")

    def as_whole(life: Life) -> str:
        return "" if not life.order_free else "yes" if are_equal(life, whole) else "no"

    note("merged", merged, seconds, as_whole(merged))
    note("all lessons in turn", whole, seconds_in_turn)
    started = time.perf_counter()
    learn_together([Lesson(out / "together", file, config=lessons.config) for file in lessons.files])
    together = Life.open(out / "together")
    note("all lessons side by side, one sleep", together, time.perf_counter() - started, as_whole(together))
    return lines


def main() -> None:
    """Measure, and write a table."""
    flags = tyro.cli(Flags)
    torch.set_num_threads(flags.threads)
    lines = ["# Merged lives", "", *(__doc__ or "").split("\n\n")[2].splitlines(), ""]
    for file in flags.features:
        arrays = np.load(file)
        parts = [
            Examples(torch.from_numpy(arrays[f"{prefix}features"]), torch.from_numpy(arrays[f"{prefix}labels"]))
            for prefix in ("", "test_")
        ]
        data = LabelledDataset(file.stem, parts[0], parts[1], tuple(arrays["class_names"].tolist()))
        with tempfile.TemporaryDirectory() as folder:
            lessons = cut(data, replace(behind_encoder(), encoder="none"), flags.lessons, Path(folder))
            lines += [
                f"## {file.stem}, features, {flags.lessons} lessons",
                "",
                "| life | class-IL | time | the same bits as in turn |",
            ]
            lines += ["|---|---|---|---|", *measure(lessons, Path(folder)), ""]
    (RESULTS / "merging.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
