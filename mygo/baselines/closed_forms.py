"""What a person would use instead behind a frozen encoder: classifiers in closed form, from sums over the features.

Each sees a task's features once and keeps sums, which are added over the workers of the group. To ncm and slda all
classes are as frequent; ranpac's regression weighs them by their examples, as in the paper.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mygo.data.examples import Examples
from mygo.data.tasks import Task
from mygo.learner.learner import Learner
from mygo.phase import PhaseContext
from mygo.training.process_group import ProcessGroup, share

RIDGES = tuple(10.0**exponent for exponent in range(-2, 7))
"""Ridge penalties that RanPAC chooses from."""
CHOOSING_EVERY = 5
"""Of each task's examples, every so manieth is left out while the penalty is chosen."""
ROWS_AT_ONCE = 2000
"""Examples whose random features are in memory together."""


def nearest_class_mean(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Keep each class's mean; an input is of the class with the nearest one."""
    means, _ = class_means(data, len(task.classes), context.group)
    set_head(life, task.index, means, -0.5 * means.square().sum(1))


def streaming_lda(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Keep each class's mean and one covariance within classes (SLDA: Hayes & Kanan 2020, arXiv:1909.01520).

    The share of the identity in it is a setting; the paper's, section 3, is the default.
    """
    means, counts = class_means(data, len(task.classes), context.group)
    known = life.statistics
    dim = means.shape[1]
    scatter = torch.zeros(dim, dim, dtype=torch.float64)
    for inputs, labels in own_parts(data, context.group):
        deviations = inputs.double() - means[labels]
        scatter.addmm_(deviations.T, deviations)
    total = context.group.sum(scatter) + known.get("scatter", 0)
    seen = counts.sum() + known.get("count", 0)
    every = torch.cat([*([known["means"]] if "means" in known else []), means])
    life.statistics = {"scatter": total, "count": seen, "means": every}
    shrinkage = life.config.closed_form.shrinkage
    covariance = (1 - shrinkage) * total / seen + shrinkage * torch.eye(dim, dtype=torch.float64)
    weights = torch.linalg.solve(covariance, every.T).T
    biases = -0.5 * (weights * every).sum(1)
    start = 0
    for index, size in enumerate(life.neocortex.head_sizes):
        set_head(life, index, weights[start : start + size], biases[start : start + size])
        start += size


def ranpac(life: Learner, task: Task, data: Examples, context: PhaseContext) -> None:
    """Fit ridge regression on random features (RanPAC, without its first phase: McDonnell et al. 2023).

    Source: arXiv:2307.02251. The backbone ``random-features`` draws them; the penalty is chosen anew for each task on a
    part of its examples, which takes part in the sums afterwards.
    """
    group, sizes = context.group, life.neocortex.head_sizes
    classes = sum(sizes)
    data = Examples(data.inputs, data.labels + classes - sizes[-1])
    left_out = torch.zeros(len(data), dtype=torch.bool)
    left_out[::CHOOSING_EVERY] = True
    gram, products = (life.statistics.get(name) for name in ("gram", "products"))
    fitted, chosen = (sums(life, data[rows], classes, group) for rows in (~left_out, left_out))
    before = torch.zeros_like(fitted[0]) if gram is None else gram
    old = torch.zeros_like(fitted[1])
    if products is not None:
        old[:, : products.shape[1]] = products
    ridge = min(RIDGES, key=lambda penalty: held_out_error(before + fitted[0], old + fitted[1], penalty, chosen))
    gram, products = before + fitted[0] + chosen[0], old + fitted[1] + chosen[1]
    life.statistics = {"gram": gram, "products": products}
    weights = solved(gram, products, ridge).T
    for index, part in enumerate(weights.split(sizes)):
        set_head(life, index, part, torch.zeros(len(part)))


def sums(life: Learner, data: Examples, classes: int, group: ProcessGroup) -> tuple[Tensor, Tensor, Tensor]:
    """Return ΦᵀΦ [M, M], ΦᵀY [M, K] and ΣY² of random features Φ [N, M] and one-hot labels Y [N, K], over all ranks."""
    count = life.neocortex.feature_dim
    gram, products = torch.zeros(count, count), torch.zeros(count, classes)
    with torch.no_grad():
        for inputs, labels in own_parts(data, group):
            features = life.neocortex.features(inputs.to(group.device)).cpu()
            gram.addmm_(features.T, features)
            products.addmm_(features.T, F.one_hot(labels, classes).float())
    return group.sum(gram), group.sum(products), torch.tensor(float(len(data)))


def held_out_error(gram: Tensor, products: Tensor, ridge: float, left_out: tuple[Tensor, Tensor, Tensor]) -> float:
    """Return the squared error, on examples with the sums ``left_out``, of the weights fitted to other sums."""
    weights = solved(gram, products, ridge)
    if not weights.isfinite().all():
        return math.inf
    other_gram, other_products, squares = left_out
    return float((weights * (other_gram @ weights)).sum() - 2 * (weights * other_products).sum() + squares)


def solved(gram: Tensor, products: Tensor, ridge: float) -> Tensor:
    """Return the weights [M, K] of ridge regression; infinite ones where the penalty is too small for float32."""
    penalised = gram.clone()
    penalised.diagonal().add_(ridge)
    factor, failed = torch.linalg.cholesky_ex(penalised)
    if failed:
        return torch.full_like(products, torch.inf)
    return torch.cholesky_solve(products, factor)


def class_means(data: Examples, num_classes: int, group: ProcessGroup) -> tuple[Tensor, Tensor]:
    """Return the mean [K, D] of each class and its number of examples [K], float64, over all ranks."""
    total = torch.zeros(num_classes, data.inputs.shape[1], dtype=torch.float64)
    counts = torch.zeros(num_classes, dtype=torch.float64)
    for inputs, labels in own_parts(data, group):
        total.index_add_(0, labels, inputs.double())
        counts += labels.bincount(minlength=num_classes)
    total, counts = group.sum(total), group.sum(counts)
    return total / counts[:, None], counts


def own_parts(data: Examples, group: ProcessGroup) -> list[tuple[Tensor, Tensor]]:
    """Return this rank's share of ``data`` in parts of inputs and labels."""
    mine = data[share(len(data), group.rank, group.size)]
    return list(zip(mine.inputs.split(ROWS_AT_ONCE), mine.labels.split(ROWS_AT_ONCE), strict=True))


@torch.no_grad()
def set_head(life: Learner, index: int, weights: Tensor, biases: Tensor) -> None:
    """Let the head of a task answer with ``weights`` [K, D] and ``biases`` [K]."""
    head = life.neocortex.classifiers[index]
    head.get_parameter("weight").copy_(weights)
    head.get_parameter("bias").copy_(biases)
