"""What a life makes of inputs without labels: has what comes drifted, what should be labelled, what is mislabelled?

python benchmarks/unlabelled.py --clothing runs/eyes/clothing.npz --cifar100 runs/eyes/cifar100.npz --clinc150 FILE

Data and seeds are those of unknown.py. All inputs of a set, of training and test, are dealt anew for each seed, since
drift is about what is the same: 0.6 of them to lessons, a tenth of these held out, and the rest to what comes today.

drift: 200 draws over the three seeds of as many inputs of today as stand in the table, without replacement, all of
known classes, and of as many of which a tenth is new; over 20 deals of clothing, which has so few photos that all draws
from one are much the same. For each draw what was held out is dealt anew too, among all that no lesson saw. Constants
were chosen on deals of the training data alone. "own test": the set's own test inputs of known classes in place of
those, for a life that learned from the set's own training data.
suggest: how many inputs of today a person must label until the life, taught what is new among them, has 0.9 of the
accuracy on new classes that it has with all labels; suggested at once, in rounds of 25, or at random. What is labelled
with a known class costs as much, and a new class is learned from ten examples on.
labels: lessons of ten classes, 5 % of whose labels are those of others of the ten: the share found in the first tenth.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import tyro
from torch import Tensor

from benchmarks.report import check_data_is_named
from benchmarks.unknown import RESULTS, SETS, Data, Set, data_of, taught
from mygo.data.examples import Examples
from mygo.jobs.life import Life
from mygo.learner.predict import classify
from mygo.unlabelled.drift import Drift, DriftTest
from mygo.unlabelled.ranking import suggest
from mygo.unlabelled.suspicious import judge_labels

TITLE = "# Inputs without labels"
"""Where this part of the results begins."""
KNOWN = {"clinc150": 120, "clothing": 7, "cifar100": 80}
SIZES = {"clinc150": (200, 400), "clothing": (200, 400, 600), "cifar100": (1000, 2000, 4000)}
"""Inputs of a draw."""
DRAWS = 200
DEALS = {"clothing": 20}
"""Lives that draws are of, where not as many as seeds: of few photos all draws from one deal are much the same."""
NEW = 0.1
LESSONS = 0.6
HELD_OUT = 0.1
ROUND = 25
STEPS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 140, 160, 180, 200, 240, 280, 320, 400, 480, 560, 640)
"""Numbers of labels at which accuracy is measured."""
ENOUGH = 0.9
LEAST = 10
"""Examples from which `learn` takes a class."""
WRONG = 0.05


@dataclass(frozen=True)
class Flags:
    """What is measured."""

    clothing: Path | None = None
    cifar100: Path | None = None
    clinc150: Path | None = None
    out: Path = Path("runs/unknown")
    """Where features, lives and finished cells are kept."""
    parts: tuple[str, ...] = ("drift", "suggest", "labels")
    seeds: int = 3
    threads: int = 2


@dataclass(frozen=True)
class Dealt:
    """A life, and what no lesson of it saw."""

    life: Life
    known: Examples
    """Of its classes, with labels in the order in which it has them."""
    new: Examples
    """Of others."""
    held_out: int
    """How many of the known ones a lesson would have held out."""


def dealt(chosen: Set, data: Data, seed: int, out: Path, *, own_test: bool = False) -> Dealt:
    """Return a life that learned some classes of ``data``, dealt anew or, with ``own_test``, as it comes."""
    rng = torch.Generator().manual_seed(1000 + seed)
    order = torch.randperm(len(data.class_names), generator=torch.Generator().manual_seed(seed)).tolist()
    classes = order[: KNOWN[chosen.flag]]
    vectors, labels = torch.cat([data.train, data.test]), torch.cat([data.labels, data.test_labels])
    draws = torch.rand(len(vectors), generator=rng)
    to_lessons, unseen = draws < LESSONS * (1 - HELD_OUT), draws >= LESSONS * (1 - HELD_OUT)
    if own_test:
        from_train = torch.arange(len(vectors)) < len(data.train)
        to_lessons, unseen = from_train & (draws < 1 - HELD_OUT), ~from_train
    held = from_train & ~to_lessons if own_test else unseen & (draws < LESSONS)
    parts = Data(vectors[to_lessons], labels[to_lessons], vectors[held], labels[held], data.class_names, data.others)
    name = f"{'own' if own_test else 'dealt'}-{chosen.flag}-{seed}"
    life = taught(parts, classes, chosen.per_lesson, seed, out / "lives" / name)
    place = torch.full((len(order),), -1)
    place[classes] = torch.tensor([life.class_names.index(data.class_names[label]) for label in classes])
    is_known = place[labels] >= 0
    return Dealt(
        life,
        Examples(vectors[unseen & is_known], place[labels[unseen & is_known]]),
        Examples(vectors[unseen & ~is_known], labels[unseen & ~is_known]),
        int((held & is_known).sum()),
    )


def deals(chosen: Set, flags: Flags) -> int:
    """Return how many lives draws for drift are of."""
    return DEALS.get(chosen.flag, flags.seeds)


# -- drift ------------------------------------------------------------------------------------------------------------


def drift(chosen: Set, data: Data, seed: int, flags: Flags) -> dict[str, Any]:
    """Return for each size of a draw what is said of unchanged inputs, and of those of which a tenth is new."""
    given = dealt(chosen, data, seed, flags.out)
    test, rng = DriftTest(given.life), torch.Generator().manual_seed(seed)
    known, new = test.look(given.known.inputs), test.look(given.new.inputs)
    found: dict[str, Any] = {}
    for size in SIZES[chosen.flag]:
        verdicts: dict[str, list[Drift]] = {"same": [], "changed": []}
        for _ in range(-(-DRAWS // deals(chosen, flags))):
            drawn = torch.randperm(len(known), generator=rng)
            hold_out(given, known.strange, drawn[: given.held_out])
            today = drawn[given.held_out : given.held_out + size]
            assert len(today) == size
            count = round(NEW * size)
            others = new[torch.randperm(len(new), generator=rng)[:count]]
            verdicts["same"].append(test.test(known[today]))
            verdicts["changed"].append(test.test(known[today[count:]] + others))
        found[str(size)] = {name: [each.p_value for each in each_of] for name, each_of in verdicts.items()}
        found[str(size)] |= {
            f"{name}_classes": statistics.mean(sum(one.changed for one in each.classes) for each in each_of)
            for name, each_of in verdicts.items()
        }
    return found


def hold_out(given: Dealt, strange: Tensor, rows: Tensor) -> None:
    """Let the lessons of a life have held out the ``rows`` of the known inputs, which look so ``strange`` [N]."""
    start = 0
    for lesson in given.life.lessons:
        measured = []
        for label in range(start, start + len(lesson.classes)):
            own = strange[rows[given.known.labels[rows] == label]].double()
            spread = float(own.var()) if len(own) > 1 else 0.0
            measured.append((float(len(own)), float(own.mean()) if len(own) else 0.0, spread))
        lesson.held_out = tuple(measured)
        start += len(lesson.classes)


def own_test(chosen: Set, data: Data, seed: int, flags: Flags) -> dict[str, Any]:
    """Return what is said of the set's own test inputs, to a life that learned from its own training data."""
    given = dealt(chosen, data, seed, flags.out, own_test=True)
    test, rng = DriftTest(given.life), torch.Generator().manual_seed(seed)
    known, size = test.look(given.known.inputs), SIZES[chosen.flag][0]
    draws = [torch.randperm(len(known), generator=rng)[:size] for _ in range(-(-DRAWS // flags.seeds))]
    return {"size": size, "p": [test.test(known[rows]).p_value for rows in draws]}


# -- suggest ----------------------------------------------------------------------------------------------------------


def suggestions(chosen: Set, data: Data, seed: int, flags: Flags) -> dict[str, Any]:
    """Return how many labels are needed to learn what is new, in three ways of choosing them."""
    given = dealt(chosen, data, seed, flags.out)
    rng = torch.Generator().manual_seed(seed)
    held = torch.rand(len(given.new), generator=rng) < 1 / 3  # to measure accuracy on
    pool = torch.cat(
        [given.known.inputs[torch.rand(len(given.known), generator=rng) >= 1 / 3], given.new.inputs[~held]]
    )
    labels = torch.cat([torch.full((len(pool) - int((~held).sum()),), -1), given.new.labels[~held]])
    tests = Examples(given.new.inputs[held], given.new.labels[held])
    folder = flags.out / "lives" / f"dealt-{chosen.flag}-{seed}"

    def life_with(rows: Sequence[int]) -> Life:
        return taught_new(folder, pool[list(rows)], labels[list(rows)], data.class_names)

    full = accuracy(life_with(range(len(pool))), tests, data.class_names)
    random = [torch.randperm(len(pool), generator=rng).tolist() for _ in range(3)]
    at_once = [each.row for each in suggest(given.life, pool, len(pool)).chosen]

    def needed(rows_of: Callable[[int], Sequence[int]], counts: Sequence[int]) -> int:
        for count in counts:
            rows = rows_of(count)
            enough = any(
                int((labels[rows] == label).sum()) >= LEAST for label in labels.unique().tolist() if label >= 0
            )
            if enough and accuracy(life_with(rows), tests, data.class_names) >= ENOUGH * full:
                return count
        return len(pool)

    def in_rounds() -> int:
        rows: list[int] = []
        life = given.life
        while len(rows) < len(pool):
            left = [row for row in range(len(pool)) if row not in set(rows)]
            rows += [left[each.row] for each in suggest(life, pool[left], ROUND).chosen]
            life = life_with(rows)
            if accuracy(life, tests, data.class_names) >= ENOUGH * full:
                break
        return len(rows)

    steps = [count for count in STEPS if count < len(pool)]
    return {
        "full": full,
        "pool": len(pool),
        "new": int((labels >= 0).sum()),
        "at random": statistics.mean(needed(lambda count, order=order: order[:count], steps) for order in random),
        "at once": needed(lambda count: at_once[:count], steps),
        "in rounds": in_rounds(),
    }


def taught_new(folder: Path, vectors: Tensor, labels: Tensor, names: Sequence[str]) -> Life:
    """Return the life in ``folder``, taught the classes of which there are enough among ``labels`` [N]; -1 is known."""
    life = Life.open(folder)
    life.folder = None
    present, counts = labels[labels >= 0].unique(return_counts=True)
    classes = present[counts >= LEAST].tolist()
    if classes:
        rows, place = (labels[:, None] == torch.tensor(classes)).nonzero().unbind(1)
        with tempfile.TemporaryDirectory() as temporary:
            file = f"{temporary}/new.npz"
            kept = np.array([names[label] for label in classes])
            np.savez(file, features=vectors[rows].numpy(), labels=place.numpy(), class_names=kept)
            life.learn(file, "new")
    return life


def accuracy(life: Life, tests: Examples, names: Sequence[str]) -> float:
    """Return the mean over new classes of the share of ``tests`` that ``life`` gives their class."""
    found = classify(life, tests.inputs).names
    right = torch.tensor([names[label] == name for label, name in zip(tests.labels.tolist(), found, strict=True)])
    return statistics.mean(float(right[tests.labels == label].float().mean()) for label in tests.labels.unique())


# -- labels -----------------------------------------------------------------------------------------------------------


def wrong_labels(data: Data, seed: int) -> dict[str, Any]:
    """Return which share of wrong labels of a lesson is in the first tenth of the list."""
    rng = torch.Generator().manual_seed(100 + seed)
    classes = torch.randperm(len(data.class_names), generator=rng)[:10]
    rows, labels = (data.labels[:, None] == classes).nonzero().unbind(1)
    wrong = torch.randperm(len(rows), generator=rng)[: round(WRONG * len(rows))]
    given = labels.clone()
    given[wrong] = (labels[wrong] + torch.randint(1, 10, (len(wrong),), generator=rng)) % 10
    first = judge_labels(data.train[rows], given, 10, (seed, "wrong")).order[: len(rows) // 10]
    found = len(set(first.tolist()) & set(wrong.tolist()))
    return {"examples": len(rows), "found": found / len(wrong)}


# -- tables -----------------------------------------------------------------------------------------------------------


def share_below(cells: Sequence[dict[str, Any]], size: str, name: str) -> str:
    """Return how often drift was said of draws, over all seeds, and of each."""
    each = [statistics.mean(p < 0.05 for p in cell[size][name]) for cell in cells]
    return f"{100 * statistics.mean(each):.1f} ({of_each(each)})"


def of_each(shares: Sequence[float]) -> str:
    """Return the ``shares`` of a few lives in percent, or the least and the most of many."""
    shown = [f"{100 * one:.0f}" for one in shares]
    return ", ".join(shown) if len(shares) <= 3 else f"{100 * min(shares):.0f} to {100 * max(shares):.0f}"


def lines_of(cells: dict[str, dict[str, list[dict[str, Any]]]]) -> list[str]:
    """Return this part of the results, given ``cells`` by part and title."""
    lines = [TITLE, "", *(__doc__ or "").split("\n\n", 2)[2].splitlines(), ""]
    if found := cells.get("drift"):
        lines += ["## Drift: said of so many draws, in %, at a wanted 5 % of false alarms (of each seed)", ""]
        lines += ["| data | inputs | of unchanged inputs | a tenth is new | classes named, then |", "|---" * 5 + "|"]
        for title, each in found.items():
            for size in each[0]:
                named = statistics.mean(cell[size]["changed_classes"] for cell in each)
                both = " | ".join(share_below(each, size, name) for name in ("same", "changed"))
                lines.append(f"| {title} | {size} | {both} | {named:.1f} |")
        for title, each in cells.get("own", {}).items():
            shares = [statistics.mean(p < 0.05 for p in cell["p"]) for cell in each]
            told = f"{100 * statistics.mean(shares):.1f} ({of_each(shares)})"
            lines.append(f"| {title}, own test | {each[0]['size']} | {told} | | |")
        lines.append("")
    if found := cells.get("suggest"):
        ways = ("at random", "at once", "in rounds")
        lines += ["## Labels needed for 0.9 of the accuracy on new classes that all labels give", ""]
        lines += [f"| data, seed | pool, new ones in it | accuracy with all | {' | '.join(ways)} | ratios |"]
        lines += ["|---" * 7 + "|"]
        for title, each in found.items():
            for seed, cell in enumerate(each):
                ratios = ", ".join(f"{cell[way] / cell['at random']:.2f}" for way in ways[1:])
                counts = " | ".join(f"{cell[way]:.0f}" for way in ways)
                sizes = f"{cell['pool']}, {cell['new']} | {cell['full']:.3f}"
                lines.append(f"| {title}, {seed} | {sizes} | {counts} | {ratios} |")
            means = [statistics.mean(cell[way] for cell in each) for way in ways]
            told = ", ".join(f"{mean / means[0]:.2f}" for mean in means[1:])
            lines.append(f"| mean | | | {' | '.join(f'{mean:.0f}' for mean in means)} | {told} |")
        lines.append("")
    if found := cells.get("labels"):
        lines += ["## Wrong labels: share in the first tenth of the list", "", "| data | found |", "|---|---|"]
        for title, each in found.items():
            shares = [cell["found"] for cell in each]
            lines.append(f"| {title} | {statistics.mean(shares):.3f} ± {statistics.stdev(shares):.3f} |")
        lines.append("")
    return lines


def main() -> None:
    """Measure what is not measured yet, and write the tables."""
    flags = tyro.cli(Flags)
    check_data_is_named(clothing=flags.clothing, cifar100=flags.cifar100, clinc150=flags.clinc150)
    torch.set_num_threads(flags.threads)
    (flags.out / "lives").mkdir(parents=True, exist_ok=True)
    cells: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for chosen in SETS:
        source: Path | None = getattr(flags, chosen.flag)
        if source is None:
            continue
        data = data_of(chosen, source, flags.out)
        measures: dict[str, Callable[[int], dict[str, Any]]] = {
            "drift": lambda seed, chosen=chosen, data=data: drift(chosen, data, seed, flags),
            "own": lambda seed, chosen=chosen, data=data: own_test(chosen, data, seed, flags),
            "labels": lambda seed, data=data: wrong_labels(data, seed),
        }
        if chosen.flag == "clothing":
            measures["suggest"] = lambda seed, chosen=chosen, data=data: suggestions(chosen, data, seed, flags)
        for part, measure in measures.items():
            if part not in flags.parts and not (part == "own" and "drift" in flags.parts):
                continue
            for seed in range(deals(chosen, flags) if part == "drift" else flags.seeds):
                kept = flags.out / f"{part}-{chosen.flag}-{seed}.json"
                if not kept.exists():
                    kept.write_text(json.dumps(measure(seed)))
                cell = json.loads(kept.read_text())
                cells.setdefault(part, {}).setdefault(chosen.title.split(":")[0], []).append(cell)
                print(chosen.title, part, seed, flush=True)
    before = RESULTS.read_text().partition(TITLE)[0].rstrip() if RESULTS.exists() else ""
    RESULTS.write_text("\n".join([before, "", *lines_of(cells)]).lstrip())


if __name__ == "__main__":
    main()
