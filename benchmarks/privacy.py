"""Membership inference: does a life, or a memory in it, tell whether an example was among those that it learned from?

python benchmarks/privacy.py --features runs/eyes/cifar100.npz

The attacker has the life, an example and its class, and gives a score: how likely the example is under the memory of
its class, or how small the network's loss is (Yeom et al. 2018, arXiv:1709.01604). Members are training examples, the
others are test examples of the same class. AUC 0.5 is a guess; TPR at 1 % FPR is what counts for those few of whom the
attacker is sure (Carlini et al. 2022, arXiv:2112.03570). Scores are compared within a class. Then classes are
forgotten, one after another, and their examples are attacked again: by their likelihood under the likeliest memory that
is left, by how sure the network is of anything, and by its energy. Behind an encoder the life is then, to the bit, one
that never learned them, so that what differs from 0.5 is chance.

The features are those that eyes.py leaves in its --out: CIFAR-100 at 96 pixels through EfficientNet-lite0.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import tyro
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor
from torch.nn import functional as F

from mygo.config.presets import behind_encoder, preset
from mygo.data.datasets import load_digits
from mygo.data.examples import network_input
from mygo.jobs.life import Life
from mygo.memory.gaussian import GaussianMemory, to_length

RESULTS = Path(__file__).resolve().parent / "results" / "privacy.md"
LOW = 0.01
"""The share of examples never seen that the attacker may take for members."""
LEAST = 1e-3
"""Added to each dimension's variance, beside squares of about 1."""


@dataclass(frozen=True)
class Flags:
    """What is attacked."""

    features: Path
    """Features with labels and class names, and a test part, as eyes.py writes them."""
    lessons: int = 4
    per_lesson: int = 5
    forgotten: int = 5
    threads: int = 2


@dataclass(frozen=True)
class Class:
    """A class, as those who attack have it."""

    name: str
    seen: Tensor
    unseen: Tensor


Score = Callable[[Life, Tensor, str], Tensor]
"""Of a life, inputs [N, …] and what class they are of: the higher, the more likely an input was learned from, [N]."""


# -- attacks ----------------------------------------------------------------------------------------------------------


def log_density(memory: GaussianMemory, label: int, vectors: Tensor) -> Tensor:
    """Return the log-density of ``vectors`` [N, D] under a class of ``memory``, but for a constant, [N]."""
    factors, rest = memory.factors[label].double(), memory.rest[label].double() + LEAST
    apart = vectors.double() - memory.means[label].double()
    inner = torch.eye(len(factors), dtype=torch.float64) + (factors / rest) @ factors.T
    along = (apart / rest) @ factors.T
    squares = (apart.square() / rest).sum(1) - (along * torch.linalg.solve(inner, along.T).T).sum(1)
    found: Tensor = -0.5 * (squares + torch.logdet(inner) + rest.log().sum())
    return found


def by_own_memory(life: Life, inputs: Tensor, name: str) -> Tensor:
    """Score by the density under the memory of the class itself."""
    task = next(task for task, lesson in enumerate(life.lessons) if name in lesson.classes)
    return log_density(life.gaussians[task], life.lessons[task].classes.index(name), to_length(inputs))


def by_likeliest_memory(life: Life, inputs: Tensor, _: str) -> Tensor:
    """Score by the density under the memory that gives most."""
    vectors = to_length(inputs)
    found = [log_density(memory, label, vectors) for memory in life.gaussians for label in range(memory.num_classes)]
    return torch.stack(found).amax(0)


@torch.no_grad()
def logits_of(life: Life, inputs: Tensor) -> Tensor:
    """Return what the life says of ``inputs``, [N, K]."""
    logits: Tensor = life.neocortex(network_input(to_length(inputs) if life.on_features else inputs))
    return logits


def by_loss(life: Life, inputs: Tensor, name: str) -> Tensor:
    """Score by how small the loss is."""
    label = torch.full((len(inputs),), life.class_names.index(name))
    return -F.cross_entropy(logits_of(life, inputs), label, reduction="none")


def by_confidence(life: Life, inputs: Tensor, _: str) -> Tensor:
    """Score by how sure the network is of anything."""
    return logits_of(life, inputs).softmax(1).amax(1)


def by_energy(life: Life, inputs: Tensor, _: str) -> Tensor:
    """Score by how large the outputs are together."""
    return logits_of(life, inputs).logsumexp(1)


def attack(life: Life, classes: Sequence[Class], score: Score) -> str:
    """Return AUC and TPR at 1 % FPR of an attack, over all examples of ``classes``, as cells of a table."""
    scores, members = [], []
    for each in classes:
        seen, unseen = (score(life, part, each.name) for part in (each.seen, each.unseen))
        both = torch.cat([seen, unseen])
        scores += ((both - unseen.mean()) / unseen.std().clamp_min(1e-9)).tolist()
        members += [1] * len(seen) + [0] * len(unseen)
    false, true, _ = roc_curve(members, scores)
    auc, size = roc_auc_score(members, scores), min(sum(members), len(members) - sum(members))
    error = 0.5 / (size * 3) ** 0.5  # of an AUC of 0.5, about
    return f"{auc:.3f} ± {error:.3f} | {true[false <= LOW].max():.3f}"


# -- lives ------------------------------------------------------------------------------------------------------------


def taught(life: Life, classes: Sequence[Class], per_lesson: int) -> Life:
    """Teach ``life`` what is seen of ``classes``, so many a lesson."""
    kind = "features" if life.on_features else "images"
    with tempfile.TemporaryDirectory() as folder:
        for first in range(0, len(classes), per_lesson):
            part = classes[first : first + per_lesson]
            arrays: dict[str, Any] = {"class_names": np.array([each.name for each in part])}
            for prefix, inputs in (("", [each.seen for each in part]), ("test_", [each.unseen for each in part])):
                counts = torch.tensor([len(each) for each in inputs])
                arrays[f"{prefix}labels"] = torch.arange(len(part)).repeat_interleave(counts).numpy()
                arrays[f"{prefix}{kind}"] = torch.cat(inputs).squeeze(1).numpy()
            np.savez(f"{folder}/{first}.npz", **arrays)
            life.learn(f"{folder}/{first}.npz")
    return life


def lines_of(title: str, life: Life, classes: Sequence[Class], forgotten: int, before: dict[str, Score]) -> list[str]:
    """Return the table of attacks on ``life`` before and after it forgets the first of ``classes``."""
    lines = [f"## {title}", "", "| attack | AUC | TPR at 1 % FPR |", "|---|---|---|"]
    lines += [f"| {name} | {attack(life, classes, score)} |" for name, score in before.items()]
    for each in classes[:forgotten]:
        life.forget(each.name)
    after: dict[str, Score] = {"the network's confidence": by_confidence, "its energy": by_energy}
    if life.on_features:
        after |= {"the likeliest memory": by_likeliest_memory}
    lines += [f"| forgotten: {name} | {attack(life, classes[:forgotten], score)} |" for name, score in after.items()]
    return [*lines, ""]


def classes_of(data: dict[str, Tensor], names: Sequence[str], count: int) -> list[Class]:
    """Return the first ``count`` classes of ``data``."""
    return [
        Class(names[label], data["inputs"][data["labels"] == label], data["test_inputs"][data["test_labels"] == label])
        for label in range(count)
    ]


def main() -> None:
    """Attack lives, and write the tables."""
    flags = tyro.cli(Flags)
    torch.set_num_threads(flags.threads)
    file = np.load(flags.features)
    data = {name.replace("features", "inputs"): torch.from_numpy(file[name]) for name in file if name != "class_names"}
    classes = classes_of(data, file["class_names"].tolist(), flags.lessons * flags.per_lesson)
    config = replace(behind_encoder(), encoder="none")  # which its features came through
    life = taught(Life("mygo", config, (data["inputs"].shape[1],)), classes, flags.per_lesson)
    before: dict[str, Score] = {"its class's memory": by_own_memory, "the network's loss": by_loss}
    title = f"{len(classes)} classes of {flags.features.stem}, of which {flags.forgotten} are forgotten"
    lines = ["# Membership inference", "", *(__doc__ or "").split("\n\n")[2].splitlines(), ""]
    lines += lines_of(title, life, classes, flags.forgotten, before)
    digits = load_digits()
    of_digits = {"inputs": digits.train.inputs, "labels": digits.train.labels}
    of_digits |= {"test_inputs": digits.test.inputs, "test_labels": digits.test.labels}
    classes = classes_of(of_digits, digits.class_names, 10)
    life = taught(Life("mygo", replace(preset("digits"), encoder="none"), (1, 8, 8)), classes, 2)
    lines += lines_of(
        "Ten digits over pixels, of which 4 are forgotten", life, classes, 4, {"the network's loss": by_loss}
    )
    RESULTS.write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
