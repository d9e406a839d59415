"""Continual-learning metrics over a lower-triangular accuracy matrix.

Row i of a matrix holds the test accuracies, as fractions, on tasks 0…i after task i was learned. Task-IL picks among
the classes of the given task; class-IL is the argmax over all heads' outputs, without the task (van de Ven & Tolias
2019, arXiv:1904.07734).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mygo import seeding
from mygo.data.examples import Examples, network_input
from mygo.data.mapped import let_go
from mygo.learner.learner import Learner
from mygo.memory.gaussian import ClassGaussians
from mygo.networks.neocortex import NeocortexNet, answering
from mygo.training.process_group import ProcessGroup, share
from mygo.unknown.calibration import Reliability

Matrix = Sequence[Sequence[float]]


def average_accuracy(matrix: Matrix) -> float:
    """Return the mean of the last row (Chaudhry et al. 2018, arXiv:1801.10112, eq. 1)."""
    return sum(matrix[-1]) / len(matrix[-1])


def forgetting(matrix: Matrix) -> float:
    """Return the mean over earlier tasks of the best past accuracy minus the last (Chaudhry et al. 2018, eq. 3).

    A life of one task has forgotten nothing: 0.
    """
    last = len(matrix) - 1
    drops = [max(matrix[row][task] for row in range(task, last)) - matrix[last][task] for task in range(last)]
    return sum(drops) / len(drops) if drops else 0.0


def backward_transfer(matrix: Matrix) -> float:
    """Return the mean over earlier tasks of last accuracy minus that just after learning (Lopez-Paz & Ranzato 2017).

    Source: arXiv:1706.08840, eq. 3. A life of one task transfers nothing: 0.
    """
    last = len(matrix) - 1
    changes = [matrix[last][task] - matrix[task][task] for task in range(last)]
    return sum(changes) / len(changes) if changes else 0.0


@torch.no_grad()
def accuracy_rows(
    net: NeocortexNet, tests: Sequence[Examples], group: ProcessGroup, reliability: Reliability | None = None
) -> tuple[list[float], list[float], list[list[int]]]:
    """Return the (task-IL, class-IL) accuracies on each task's test data, measured in shares over the group's ranks.

    The third value is class-IL's confusion matrix: how many images of each true class (row) were taken for each class
    (column), in the order of the heads' outputs side by side. In ``reliability`` this rank's share of class-IL's
    predictions is counted.

    Raises:
        ValueError: a task has no test data.
    """
    confusion = torch.zeros(sum(net.head_sizes), sum(net.head_sizes), dtype=torch.int64)
    counts, answer = [], answering(net)
    for task, test in enumerate(tests):
        correct, true, taken = answers_on(answer, net.head_sizes, task, test, group, reliability)
        counts.append(correct)
        confusion.index_put_((true, taken), torch.ones_like(true), accumulate=True)
    correct = torch.stack(counts, 1)
    sizes = torch.tensor([len(test) for test in tests])
    task_il, class_il = (group.sum(correct) / sizes).tolist()
    return task_il, class_il, group.sum(confusion).tolist()


@torch.no_grad()
def accuracy_on(
    net: NeocortexNet, task: int, test: Examples, group: ProcessGroup, reliability: Reliability | None = None
) -> tuple[float, float]:
    """Return the (task-IL, class-IL) accuracies on the ``test`` data of one task, as `accuracy_rows` does.

    Raises:
        ValueError: there is none.
    """
    correct, _, _ = answers_on(answering(net), net.head_sizes, task, test, group, reliability)
    task_il, class_il = (group.sum(correct) / len(test)).tolist()
    return task_il, class_il


def answers_on(
    answer: Callable[[Tensor], Tensor],
    head_sizes: Sequence[int],
    task: int,
    test: Examples,
    group: ProcessGroup,
    reliability: Reliability | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return how ``answer`` does on this rank's share, N examples, of the ``test`` data of a task.

    It gives the logits [N, sum(head_sizes)] of all heads side by side for inputs as networks take them. In
    ``reliability`` they are counted, too.

    Returns:
        How many are right, task-IL and class-IL, float64 [2]; their true classes, and those that they are taken for
        among all, both int64 [N] and counted over all heads side by side.

    Raises:
        ValueError: there is no test data.
    """
    if len(test) == 0:
        raise ValueError(f"task {task + 1} has no test data")
    correct = torch.zeros(2, dtype=torch.float64)
    start = sum(head_sizes[:task])
    stop = start + head_sizes[task]
    mine = test[share(len(test), group.rank, group.size)]
    true, taken = mine.labels + start, torch.empty_like(mine.labels)
    for images, labels, found in zip(*(part.split(1000) for part in (mine.inputs, mine.labels, taken)), strict=True):
        logits = answer(network_input(images.to(group.device))).cpu()
        correct[0] += count_equal(logits[:, start:stop].argmax(1), labels)
        found.copy_(logits.argmax(1))
        if reliability is not None:
            reliability.add(logits, labels + start)
        let_go(images)
    correct[1] = count_equal(taken, true)
    return correct, true, taken


def count_equal(predictions: Tensor, labels: Tensor) -> int:
    """Return how many of ``predictions`` [N] equal ``labels`` [N]."""
    return int((predictions == labels).sum())


RECALLED = 200
"""Dreams of each class that recall is measured on."""
MOST_RECALLED = 10_000
"""Vectors that it is measured on at most; of each class it is a twentieth of `RECALLED` at the least."""


def measure_recall(life: Learner, group: ProcessGroup) -> None:
    """Measure which share of each memory's dreams the network gives their class, and note it in their lessons."""
    sizes = life.neocortex.head_sizes
    if life.on_features:
        recalled = recall_all_vectors(life)
    else:
        keys = [(*life.key("recall"), task) for task in range(len(sizes))]
        recalled = [life.recall(task, [RECALLED] * size, keys[task]) for task, size in enumerate(sizes)]
    _, shares, _ = accuracy_rows(life.neocortex, recalled, group)
    for lesson, recalled_share in zip(life.lessons, shares, strict=True):
        lesson.recall = recalled_share


def recall_all_vectors(life: Learner) -> list[Examples]:
    """Return dreams of all lessons of ``life``, as many of each class; all classes lend to all."""
    sizes, order = life.neocortex.head_sizes, life.lessons_in_order()
    gaussians = ClassGaussians([life.gaussians[number] for number in order])
    count = max(RECALLED // 20, min(RECALLED, MOST_RECALLED // sum(sizes)))
    found: dict[int, Examples] = {}
    start = 0
    for number in order:
        labels = torch.arange(sizes[number]).repeat_interleave(count)
        key: seeding.Key = (life.config.seed, "recall", *life.lessons[number].classes)
        found[number] = Examples(gaussians.dream(start + labels, key), labels)
        start += sizes[number]
    return [found[number] for number in range(len(sizes))]
