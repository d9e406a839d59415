"""Classifiers in closed form: they are what a direct computation on all data gives, and survive being cut off."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestCentroid
from torch import Tensor

from mygo.baselines import closed_forms
from mygo.baselines.registry import STRATEGIES
from mygo.config.learner import LifeConfig
from mygo.cycle import live
from mygo.data.examples import Examples, LabelledDataset
from mygo.data.tasks import TaskStream, deal_classes
from mygo.errors import InputError
from mygo.events import Event, PhaseEnded
from mygo.jobs.experiment import Experiment
from mygo.jobs.life import Life
from mygo.memory.gaussian import to_length
from mygo.networks import neocortex
from mygo.phase import PhaseContext
from mygo.training.process_group import SingleProcess

CLOSED = ("ncm", "slda", "ranpac")
DIM, CLASSES = 12, 4


@pytest.fixture(autouse=True)
def _few_random_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neocortex, "RANDOM_FEATURES", 40)


@pytest.fixture
def dataset() -> LabelledDataset:
    rng = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, DIM, generator=rng)
    mixing = torch.randn(DIM, DIM, generator=rng) / 4

    def part(per_class: int) -> Examples:
        labels = torch.arange(CLASSES).repeat_interleave(per_class)
        return Examples(to_length(centres[labels] + torch.randn(len(labels), DIM, generator=rng) @ mixing), labels)

    return LabelledDataset("clouds", part(50), part(25), ("a", "b", "c", "d"))


def lived(strategy: str, dataset: LabelledDataset, settings: LifeConfig, order: tuple[int, ...] = (0, 1, 2, 3)) -> Life:
    stream = TaskStream(dataset, deal_classes(CLASSES, 2, order))
    backbone = STRATEGIES[strategy].backbone or "linear"
    life = Life(strategy, dataclasses.replace(settings, backbone=backbone), stream.input_shape)
    live(life, STRATEGIES[strategy], stream, PhaseContext(SingleProcess()))
    return life


@torch.no_grad()
def answers(life: Life, inputs: Tensor) -> list[str]:
    return [life.class_names[best] for best in life.neocortex(inputs).argmax(1).tolist()]


def test_the_nearest_mean_is_that_of_scikit_learn(dataset: LabelledDataset, tiny_on_vectors: LifeConfig) -> None:
    life = lived("ncm", dataset, tiny_on_vectors)
    direct = NearestCentroid().fit(dataset.train.inputs.numpy(), dataset.train.labels.numpy())
    expected = [dataset.class_names[label] for label in direct.predict(dataset.test.inputs.numpy())]
    assert answers(life, dataset.test.inputs) == expected


def test_lda_task_by_task_is_lda_on_all_data(dataset: LabelledDataset, tiny_on_vectors: LifeConfig) -> None:
    life = lived("slda", dataset, tiny_on_vectors)
    inputs, labels = dataset.train.inputs.double().numpy(), dataset.train.labels.numpy()
    means = np.stack([inputs[labels == label].mean(0) for label in range(CLASSES)])
    deviations = inputs - means[labels]
    covariance = (1 - 1e-4) * deviations.T @ deviations / len(inputs) + 1e-4 * np.eye(DIM)
    weights = np.linalg.solve(covariance, means.T)
    expected = dataset.test.inputs.double().numpy() @ weights - 0.5 * (means.T * weights).sum(0)
    with torch.no_grad():
        found = life.neocortex(dataset.test.inputs)
    assert np.allclose(found.numpy(), expected, rtol=1e-3, atol=1e-2)


def test_ranpac_task_by_task_is_ridge_regression_on_all_data(
    dataset: LabelledDataset, tiny_on_vectors: LifeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_forms, "RIDGES", (1.0,))
    life = lived("ranpac", dataset, tiny_on_vectors)
    with torch.no_grad():
        train, test = (life.neocortex.features(part.inputs).double() for part in (dataset.train, dataset.test))
        targets = torch.nn.functional.one_hot(dataset.train.labels).double()
        weights = torch.linalg.solve(train.T @ train + torch.eye(40, dtype=torch.float64), train.T @ targets)
        found = life.neocortex(dataset.test.inputs).double()
    assert torch.allclose(found, test @ weights, atol=1e-3)


def test_too_small_a_penalty_is_not_chosen(
    dataset: LabelledDataset, tiny_on_vectors: LifeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closed_forms, "RIDGES", (0.0, 10.0))
    monkeypatch.setattr(neocortex, "RANDOM_FEATURES", 400)  # more than a task has examples: singular without a penalty
    life = lived("ranpac", dataset, tiny_on_vectors)
    right = [
        name == dataset.class_names[label]
        for name, label in zip(answers(life, dataset.test.inputs), dataset.test.labels.tolist(), strict=True)
    ]
    assert sum(right) > 0.8 * len(right)


@pytest.mark.parametrize("strategy", ["ncm", "slda"])
def test_the_order_of_tasks_does_not_matter(
    dataset: LabelledDataset, tiny_on_vectors: LifeConfig, strategy: str
) -> None:
    one, other = (lived(strategy, dataset, tiny_on_vectors, order) for order in ((0, 1, 2, 3), (2, 3, 0, 1)))
    assert answers(one, dataset.test.inputs) == answers(other, dataset.test.inputs)


def test_two_ranks_have_the_sums_of_one(dataset: LabelledDataset, tiny_on_vectors: LifeConfig) -> None:
    life = lived("ranpac", dataset, tiny_on_vectors)

    class OneOfTwo(SingleProcess):
        size = 2

    parts = []
    for rank in range(2):
        group = OneOfTwo()
        group.rank = rank
        parts.append(closed_forms.sums(life, dataset.train, CLASSES, group))
    whole = closed_forms.sums(life, dataset.train, CLASSES, SingleProcess())
    for index in range(2):
        assert torch.allclose(parts[0][index] + parts[1][index], whole[index], rtol=1e-4, atol=1e-3)


class PowerCutError(Exception):
    pass


@pytest.mark.parametrize("strategy", CLOSED)
def test_a_life_that_was_cut_off_between_tasks_goes_on_to_the_same_end(
    experiment_on_vectors: Experiment, strategy: str, tmp_path: object
) -> None:
    config = dataclasses.replace(experiment_on_vectors.config, strategies=(strategy,))
    whole = dataclasses.replace(experiment_on_vectors, config=config)
    expected = whole.run()["strategies"][strategy]
    assert whole.out is not None
    cut = dataclasses.replace(whole, out=whole.out.with_name("cut"))

    def power_cut(event: Event) -> None:
        if isinstance(event, PhaseEnded) and event.place.phase == "evaluate":
            raise PowerCutError

    with pytest.raises(PowerCutError):
        cut.run(on_event=power_cut)
    found = cut.run()["strategies"][strategy]
    for key in ("accuracy_matrix", "confusion_matrix", "statistics_bytes"):
        assert found[key] == expected[key]


@pytest.mark.parametrize("strategy", CLOSED)
def test_pixels_are_refused(tiny_experiment: Experiment, strategy: str) -> None:
    with pytest.raises(InputError, match="is for lives behind an encoder"):
        dataclasses.replace(tiny_experiment.config, strategies=("mygo", strategy))
