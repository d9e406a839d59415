"""What a life knows of its limits: does it find inputs of classes that it never learned, and is it right to be sure?

python benchmarks/unknown.py --clothing runs/eyes/clothing.npz --cifar100 runs/eyes/cifar100.npz --clinc150 FILE

The features of photos are those that eyes.py leaves in its --out; the file is clinc/oos-eval's data/data_full.json.
Each seed shuffles the classes: of clothing 7 are learned and 3 are not, of CIFAR-100 80 and 20; of CLINC150 all 150
are, and its out-of-scope test sentences are not. A life learns them in lessons, from training data alone; it is
measured on test data. Beside its own score: the maximum softmax and the energy of its network, and the Mahalanobis and
the relative Mahalanobis distance, fitted to the real features of the training data. ECE is the expected calibration
error in 15 bins, of each life and of the predictions of all seeds together. With few inputs it is not small even where
confidence is right, so beside it stands what it would be if it were: the mean over 200 draws of which predictions are
right, by their probabilities. Lives that learned from few examples of a class are measured on the same test data.

Finished cells are kept in --out, and what was interrupted goes on.
"""

import itertools
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import tyro
from sklearn.metrics import roc_auc_score
from torch import Tensor

from benchmarks.report import check_data_is_named
from mygo.config.presets import behind_encoder
from mygo.data.readers.pairs import DatasetReader
from mygo.data.readers.reader import PLURAL
from mygo.jobs.encoding import encode_inputs
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.jobs.perception import CPU, Unlabelled, open_encoder, ready
from mygo.jobs.side_by_side import learn_together
from mygo.learner.predict import classify
from mygo.memory.gaussian import to_length
from mygo.training.precision import resolved
from mygo.unknown.calibration import Reliability, expected_calibration_error

RESULTS = Path(__file__).resolve().parent / "results" / "unknown.md"
UNLABELLED = "# Inputs without labels"
"""Where the results of unlabelled.py begin, which stay."""
RATES = (0.01, 0.05, 0.1)
"""Wanted rates of false alarms."""
DRAWS = 200
"""Of which predictions are right, if confidence is."""
RIDGE, RIDGE_OF_FEW = 1e-6, 1e-2
"""Of the mean variance, added to that of each dimension of real features before a covariance is inverted; the
second where there are fewer examples than dimensions."""


@dataclass(frozen=True)
class Set:
    """A data set, and how much of it is learned."""

    title: str
    flag: str
    known: int | None
    """Classes that are learned; None where other inputs are unknown."""
    per_lesson: int


SETS = (
    Set("CLINC150: 150 intents, and out-of-scope sentences; MiniLM", "clinc150", None, 15),
    Set("clothing photos: 7 classes known, 3 not; EfficientNet-lite0", "clothing", 7, 2),
    Set("CIFAR-100: 80 classes known, 20 not; EfficientNet-lite0 at 96 px", "cifar100", 80, 10),
)


@dataclass(frozen=True)
class Flags:
    """What is measured."""

    clothing: Path | None = None
    """Features with labels and class names, and a test part, as eyes.py writes them."""
    cifar100: Path | None = None
    """The same."""
    clinc150: Path | None = None
    """CLINC150's JSON."""
    out: Path = Path("runs/unknown")
    """Where features, lives and finished cells are kept."""
    few: tuple[int, ...] = (30, 10)
    """Also lives that learned from so few examples of each class."""
    seeds: int = 3
    threads: int = 2


@dataclass(frozen=True)
class Data:
    """What there is of a set, as features of one length."""

    train: Tensor
    labels: Tensor
    test: Tensor
    test_labels: Tensor
    class_names: list[str]
    others: Tensor
    """Inputs of no class at all, [0, D] where there are none."""


# -- data -------------------------------------------------------------------------------------------------------------


def data_of(chosen: Set, source: Path, out: Path) -> Data:
    """Return the data of a set; texts are encoded if they were not."""
    file = np.load(encoded_texts(source, out) if source.suffix == ".json" else source)
    vectors = {name: to_length(torch.from_numpy(file[name])) for name in file if name.endswith("features")}
    none = torch.empty(0, vectors["features"].shape[1])
    return Data(
        train=vectors["features"],
        labels=torch.from_numpy(file["labels"]),
        test=vectors["test_features"],
        test_labels=torch.from_numpy(file["test_labels"]),
        class_names=file["class_names"].tolist(),
        others=none if chosen.known else vectors["other_features"],
    )


def encoded_texts(source: Path, out: Path) -> Path:
    """Return the file with the features of CLINC150's sentences, out-of-scope ones among them."""
    file = out / "clinc150.npz"
    if file.exists():
        return file
    encoder = open_encoder("minilm", None)
    ready(encoder, resolved("auto", CPU), CPU)
    content = json.loads(source.read_text())
    names = sorted({name for _, name in content["train"]})
    arrays: dict[str, Any] = {"class_names": np.array(names)}
    for prefix, split in (("", "train"), ("test_", "test"), ("other_", "oos_test")):
        texts = [text for text, _ in content[split]]
        parts = encode_inputs(DatasetReader(PLURAL["text"], Unlabelled(texts), None), encoder, [])
        arrays[f"{prefix}features"] = torch.cat([part.vectors for part in parts]).numpy()
        if split != "oos_test":
            arrays[f"{prefix}labels"] = np.array([names.index(name) for _, name in content[split]])
    np.savez(file, **arrays)
    return file


def taught(data: Data, classes: Sequence[int], per_lesson: int, seed: int, folder: Path) -> Life:
    """Return a life that learned ``classes``, so many a lesson, or the one that did so before.

    Lessons are learned side by side, with one sleep: to the bit what they become one after another.
    """
    if not Life.exists(folder) or Life.open(folder).current is not None:
        lessons = []
        config = replace(behind_encoder(), encoder="none", seed=seed)  # features came through theirs
        for first in range(0, len(classes), per_lesson):
            part = torch.tensor(classes[first : first + per_lesson])
            file = folder.parent / f"{folder.name}-{first}.npz"
            arrays: dict[str, Any] = {"class_names": np.array([data.class_names[label] for label in part])}
            for prefix, vectors, labels in (("", data.train, data.labels), ("test_", data.test, data.test_labels)):
                rows, place = (labels[:, None] == part).nonzero().unbind(1)
                arrays |= {f"{prefix}features": vectors[rows].numpy(), f"{prefix}labels": place.numpy()}
            np.savez(file, **arrays)
            lessons.append(Lesson(folder, data=file, config=config))
        learn_together(lessons)
        for lesson in lessons:
            Path(str(lesson.data)).unlink()
    return Life.open(folder)


# -- limits -----------------------------------------------------------------------------------------------------------


def with_few(data: Data, count: int | None, seed: int) -> Data:
    """Return ``data`` with at most ``count`` training examples of each class, drawn by ``seed``."""
    if count is None:
        return data
    drawn = torch.randperm(len(data.labels), generator=torch.Generator().manual_seed(seed))
    rows = torch.cat([drawn[data.labels[drawn] == label][:count] for label in range(len(data.class_names))])
    return replace(data, train=data.train[rows], labels=data.labels[rows])


def limits(chosen: Set, data: Data, seed: int, folder: Path) -> dict[str, Any]:
    """Return how well the life in ``folder``, or one that is taught there, knows its limits."""
    order = torch.randperm(len(data.class_names), generator=torch.Generator().manual_seed(seed)).tolist()
    known = order[: chosen.known]
    life = taught(data, known, chosen.per_lesson, seed, folder)
    place = torch.full((len(order),), -1)
    place[known] = torch.tensor([life.class_names.index(data.class_names[label]) for label in known])
    labels = place[data.test_labels]
    inside, outside = data.test[labels >= 0], torch.cat([data.test[labels < 0], data.others])
    answers, others = classify(life, inside), classify(life, outside)
    assert answers.out_of_distribution is not None
    assert others.out_of_distribution is not None
    rows = place[data.labels] >= 0
    baselines = {**of_network(life), **of_real_features(data.train[rows], place[data.labels[rows]])}
    auroc = {name: area(score(inside), score(outside)) for name, score in baselines.items()}
    auroc["mygo"] = area(answers.out_of_distribution, others.out_of_distribution)
    labels = labels[labels >= 0]
    logits = answers.probabilities.clamp_min(1e-30).log()
    return {
        "auroc": auroc,
        "called_unknown": {str(rate): float(answers.unknown(rate).double().mean()) for rate in RATES},
        "accuracy": float((logits.argmax(1) == labels).double().mean()),
        "temperature": life.temperature,
        "bins": bins_of(logits, labels),
        "bins_uncalibrated": bins_of(logits * life.temperature, labels),
        "ece_by_chance": statistics.mean(expected_calibration_error(right) for right in bins_by_chance(logits)),
    }


def area(inside: Tensor, outside: Tensor) -> float:
    """Return the AUROC of a score that is to be higher ``outside``."""
    truth = [0] * len(inside) + [1] * len(outside)
    return float(roc_auc_score(truth, torch.cat([inside, outside]).double().numpy()))


@torch.no_grad()
def of_network(life: Life) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the scores that a network alone gives."""

    def logits(vectors: Tensor) -> Tensor:
        found: Tensor = life.neocortex(vectors).detach()
        return found

    return {
        "maximum softmax": lambda vectors: -logits(vectors).softmax(1).amax(1),
        "energy": lambda vectors: -logits(vectors).logsumexp(1),
    }


def of_real_features(vectors: Tensor, labels: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the distances that are fitted to real ``vectors`` [N, D] with ``labels`` [N]."""
    counts = labels.bincount()
    means = torch.zeros(len(counts), vectors.shape[1]).index_add_(0, labels, vectors) / counts[:, None]
    mean = vectors.mean(0, keepdim=True)
    to_class = distances_from(means, vectors - means[labels])
    to_all = distances_from(mean, vectors - mean)
    return {
        "Mahalanobis": lambda some: to_class(some).amin(1),
        "relative Mahalanobis": lambda some: to_class(some).amin(1) - to_all(some).squeeze(1),
    }


def distances_from(means: Tensor, deviations: Tensor) -> Callable[[Tensor], Tensor]:
    """Return what gives the squared Mahalanobis distances [N, K] from ``means`` [K, D]."""
    covariance = (deviations.T @ deviations / len(deviations)).double()
    ridge = RIDGE if len(deviations) > len(covariance) else RIDGE_OF_FEW
    covariance.diagonal().add_(ridge * covariance.diagonal().mean())
    factor = torch.linalg.inv(torch.linalg.cholesky(covariance)).T.float()
    return lambda some: torch.cdist(some @ factor, means @ factor).square()


def bins_of(logits: Tensor, labels: Tensor) -> list[list[float]]:
    """Return the bins of `Reliability` of ``logits``."""
    counted = Reliability()
    counted.add(logits, labels)
    found: list[list[float]] = counted.bins.tolist()
    return found


def bins_by_chance(logits: Tensor) -> list[Tensor]:
    """Return such bins for draws of the right class by its probability."""
    rng, found = torch.Generator().manual_seed(0), []
    draws = torch.multinomial(logits.double().softmax(1), DRAWS, replacement=True, generator=rng)
    for drawn in draws.T:
        counted = Reliability()
        counted.add(logits, drawn)
        found.append(counted.bins)
    return found


# -- tables -----------------------------------------------------------------------------------------------------------


def lines_of(cells: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the tables of all ``cells``, by the titles of their sets."""
    title, _, text, _ = (__doc__ or "").split("\n\n")
    lines = ["# Limits", "", title, "", *text.splitlines(), "", "## Unknown inputs: AUROC", ""]
    names = ("maximum softmax", "energy", "Mahalanobis", "relative Mahalanobis", "mygo")
    lines += [f"| data | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for title, found in cells.items():
        lines.append(row(title, *([cell["auroc"][name] for cell in found] for name in names)))
    lines += ["", "## Known inputs that are called unknown, at a wanted share", ""]
    lines += [f"| data | {' | '.join(map(str, RATES))} |", "|---" * (len(RATES) + 1) + "|"]
    for title, found in cells.items():
        lines.append(row(title, *([cell["called_unknown"][str(rate)] for cell in found] for rate in RATES)))
    lines += ["", "## Expected calibration error, after the last lesson", ""]
    header = "ECE", "of all seeds together", "by chance", "uncalibrated", "class-IL", "temperature"
    lines += [f"| data | {' | '.join(header)} |", "|---" * (len(header) + 1) + "|"]
    for title, found in cells.items():
        together = expected_calibration_error(sum(torch.tensor(cell["bins"]) for cell in found))  # type: ignore[arg-type]
        of_each = [[expected_calibration_error(torch.tensor(cell[of])) for cell in found] for of in BINS_OF]
        others = ([cell[of] for cell in found] for of in ("ece_by_chance", "accuracy", "temperature"))
        chance, accuracy, temperature = others
        lines.append(row(title, of_each[0], [together], chance, of_each[1], accuracy, temperature))
    return [*lines, "", "Mean ± standard deviation over seeds.", ""]


BINS_OF = ("bins", "bins_uncalibrated")


def row(title: str, *columns: Sequence[float]) -> str:
    """Return a row of a table."""
    cells = [
        f"{statistics.mean(each):.3f}" + (f" ± {statistics.stdev(each):.3f}" if len(each) > 1 else "")
        for each in columns
    ]
    return f"| {title} | {' | '.join(cells)} |"


def main() -> None:
    """Measure what is not measured yet, and write the tables."""
    flags = tyro.cli(Flags)
    check_data_is_named(clothing=flags.clothing, cifar100=flags.cifar100, clinc150=flags.clinc150)
    torch.set_num_threads(flags.threads)
    (flags.out / "lives").mkdir(parents=True, exist_ok=True)
    cells: dict[str, list[dict[str, Any]]] = {}
    for chosen in SETS:
        source: Path | None = getattr(flags, chosen.flag)
        if source is None:
            continue
        data = None
        for few, seed in itertools.product((None, *flags.few), range(flags.seeds)):
            title = chosen.title if few is None else f"{chosen.title.partition(':')[0]}, {few} examples a class"
            name = f"{chosen.flag}-{seed}" if few is None else f"{chosen.flag}-{few}-{seed}"
            kept = flags.out / f"limits-{name}.json"
            if not kept.exists():
                data = data or data_of(chosen, source, flags.out)
                found = limits(chosen, with_few(data, few, seed), seed, flags.out / "lives" / name)
                kept.write_text(json.dumps(found))
            cells.setdefault(title, []).append(json.loads(kept.read_text()))
            print(title, seed, {part: v for part, v in cells[title][-1].items() if "bins" not in part}, flush=True)
    of_others = RESULTS.read_text().partition(UNLABELLED)[1:] if RESULTS.exists() else ()
    RESULTS.write_text("\n".join([*lines_of(cells), "".join(of_others)]))


if __name__ == "__main__":
    main()
