import pytest
import torch
from torch import nn

from mygo.config.learner import LifeConfig, SleepConfig
from mygo.config.settings import change
from mygo.encoders.efficientnet_lite import HEAD
from mygo.learner.learner import Learner
from mygo.learner.records import TaskRecord
from mygo.memory.gaussian import ClassGaussians, GaussianMemory
from mygo.networks.neocortex import NeocortexNet, own_outputs
from mygo.replay.schedule import Dreams
from mygo.sleep import (
    Ensemble,
    Student,
    discriminant_weight,
    distillation_losses,
    feature_losses,
    mix_discriminant,
    ratio_of_sizes,
)
from mygo.training.process_group import SingleProcess


def dreams_of(teacher_logits: list[list[float]], tasks: list[int]) -> Dreams:
    count = len(tasks)
    images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    labels = torch.zeros(count, dtype=torch.int64)
    return Dreams(images, torch.tensor(tasks), labels, torch.tensor(teacher_logits), torch.zeros(count, 3))


def test_each_tasks_own_outputs() -> None:
    outputs = own_outputs([1, 2, 3])
    assert outputs.real.tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert outputs.positions.tolist() == [[0, 0, 0], [1, 2, 0], [3, 4, 5]]


def test_losses_computed_by_hand() -> None:
    config = SleepConfig(batch_size=2, own_head_weight=0.5, all_heads_weight=2.0, temperature=1.0)
    dreams = dreams_of([[1.0, 3.0], [0.0, 0.0]], [0, 1])
    logits = torch.tensor([[2.0, 2.0, 0.0, 0.0], [0.0, 0.0, 1.0, 3.0]])
    losses = distillation_losses(logits, dreams, own_outputs([2, 2]), config, SingleProcess())
    # Off by (1, -1) and (1, 3) on their own heads, so by (1, -1) and (-1, 1) once centred; other heads do not count.
    assert float(losses["own_head"]) == pytest.approx(0.5 * ((1 + 1) / 2 + (1 + 1) / 2) / 2)
    log_probs = torch.log_softmax(logits, 1)
    targets = torch.tensor([[0.1192029, 0.8807971, 0, 0], [0, 0, 0.5, 0.5]])
    assert float(losses["all_heads"]) == pytest.approx(2 * float(-(targets * log_probs).sum() / 2), rel=1e-5)


def test_a_student_that_equals_its_teacher_within_tasks_still_learns_across_them() -> None:
    config = SleepConfig(batch_size=1, temperature=2.0)
    logits = torch.tensor([[4.0, 0.0, 9.0, 0.0]], requires_grad=True)
    losses = distillation_losses(logits, dreams_of([[4.0, 0.0]], [0]), own_outputs([2, 2]), config, SingleProcess())
    assert losses["own_head"].item() == 0
    losses["all_heads"].backward()
    assert logits.grad is not None
    assert logits.grad[0, 2] > 0  # the other head's confident output is pushed down


def test_a_task_of_one_class_can_be_distilled() -> None:
    losses = distillation_losses(
        torch.zeros(1, 2), dreams_of([[3.0]], [0]), own_outputs([1, 1]), SleepConfig(batch_size=1), SingleProcess()
    )
    assert float(losses["own_head"]) == 0  # nothing to tell apart within the task
    assert float(losses["all_heads"]) == pytest.approx(0.6931, abs=1e-3)


def test_heads_of_different_sizes_are_distilled_as_they_would_be_alone() -> None:
    config = SleepConfig(batch_size=1, temperature=2.0)
    logits = torch.tensor([[1.0, -2.0, 0.5, 3.0, -1.0]])
    padded = distillation_losses(
        logits, dreams_of([[2.0, 1.0, 0.0]], [0]), own_outputs([2, 3]), config, SingleProcess()
    )
    alone = distillation_losses(logits, dreams_of([[2.0, 1.0]], [0]), own_outputs([2, 2, 1]), config, SingleProcess())
    assert padded == alone


def test_a_step_among_some_classes_tells_those_apart_alone() -> None:
    """As if the others were not known, and what is left of a head were all of it."""
    config, classes = SleepConfig(batch_size=1, temperature=2.0, own_head_weight=0.3), torch.tensor([1, 2, 4])
    torch.manual_seed(0)
    net = NeocortexNet((6,), "linear")
    for size in (2, 3):
        net.add_task_head(size)
    student, inputs = Student(net), torch.randn(1, 6)
    logits = student(inputs, classes)[1]
    assert torch.allclose(logits, student(inputs)[1][:, classes])
    dreams = dreams_of([[2.0, 1.0, 0.5]], [1])
    sampled = distillation_losses(logits, dreams, own_outputs([2, 3]).among(classes), config, SingleProcess())
    alone = distillation_losses(logits, dreams_of([[2.0, 0.5]], [1]), own_outputs([1, 2]), config, SingleProcess())
    assert {name: loss.item() for name, loss in sampled.items()} == pytest.approx(
        {name: loss.item() for name, loss in alone.items()}
    )


def test_features_are_distilled_only_where_they_weigh_something() -> None:
    dreams = dreams_of([[0.0], [0.0]], [0, 0])  # whose teacher's features are 0
    features = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 4.0]])
    weighed = feature_losses(features, dreams, SleepConfig(batch_size=2, feature_weight=0.5), SingleProcess())
    assert float(weighed["features"]) == pytest.approx(0.5 * (5 / 3 + 16 / 3) / 2)
    assert feature_losses(features, dreams, SleepConfig(batch_size=2), SingleProcess()) == {}


def test_the_discriminant_weighs_less_the_more_examples_there_were(tiny_on_vectors: LifeConfig) -> None:
    life = Learner("mygo", change(tiny_on_vectors, {"sleep.discriminant_examples": 10.0}), (12,))
    assert discriminant_weight(life, 12) == 1, "nothing was seen"
    life.lessons = [TaskRecord("a", ("x", "y"), (40, 80)), TaskRecord("b", ("z",), (0,))]
    assert discriminant_weight(life, 12) == pytest.approx(1 / 2), "10 for each of 12 features"
    life.lessons[1].images = (9 * 120 - 120,)
    assert discriminant_weight(life, 12) == pytest.approx(1 / 4)
    life.config = change(tiny_on_vectors, {"sleep.discriminant_examples": 0.0})
    assert discriminant_weight(life, 12) == 0


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_answers_are_moved_to_those_of_linear_discriminant_analysis(weight: float) -> None:
    torch.manual_seed(0)
    memory = GaussianMemory(3, 6, 2)
    for label in range(3):
        memory.set_class(label, torch.randn(6), torch.randn(2, 6), torch.rand(6))
    heads, gaussians, inputs = nn.Linear(6, 3), ClassGaussians([memory]), torch.randn(50, 6)

    def answers(weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
        found = inputs @ weights.T + biases
        return found - found.mean(1, keepdim=True)

    before, theirs = answers(heads.weight, heads.bias).detach(), answers(*gaussians.discriminant())
    mix_discriminant(heads, gaussians, weight)
    after = answers(heads.weight, heads.bias).detach()
    moved = after - (1 - weight) * before
    assert torch.allclose(moved, theirs * (moved.norm() / theirs.norm()), atol=1e-5)
    assert (float(moved.norm()) > 0.1) == (weight > 0)


@pytest.fixture
def ensemble() -> Ensemble:
    """A student of three classes behind the front of an encoder of small pictures, whose heads say something."""
    torch.manual_seed(0)
    net = NeocortexNet((HEAD + 192,), "late:efficientnet-lite0@32")
    net.add_task_head(3)
    student = Ensemble(Student(net))
    student.network.centre_on(torch.randn(5, HEAD + 192))
    for head in (student.on_late, student.on_pretrained):
        nn.init.normal_(head.weight, std=0.1)
        nn.init.normal_(head.bias)
    return student


@torch.no_grad()
def test_what_is_kept_of_an_ensemble_answers_with_the_mean_of_both_in_one_size(ensemble: Ensemble) -> None:
    vectors = torch.randn(4, HEAD + 192)
    features, of_late, of_pretrained = ensemble(vectors)
    sizes = [(each - each.mean(1, keepdim=True)).std() for each in (of_late, of_pretrained)]
    wanted = (of_late + sizes[0] / sizes[1] * of_pretrained) / 2
    torch.testing.assert_close(ensemble.merged(vectors)(features), wanted, rtol=1e-4, atol=1e-4)
    chosen = torch.tensor([2, 0])
    for some, whole in zip(ensemble(vectors, chosen)[1:], (of_late, of_pretrained), strict=True):
        torch.testing.assert_close(some, whole[:, chosen])


@torch.no_grad()
def test_answers_that_are_of_one_class_alone_stay_in_their_size() -> None:
    first, second = torch.randn(1, 1), torch.randn(1, 1)
    assert float(ratio_of_sizes(first, second)) == 1


def test_each_half_of_an_ensemble_learns_to_answer_alone(ensemble: Ensemble) -> None:
    _, of_late, of_pretrained = ensemble(torch.randn(4, HEAD + 192))
    of_pretrained.sum().backward(retain_graph=True)
    assert not any(parameter.grad.any() for parameter in ensemble.features.parameters() if parameter.grad is not None)
    assert ensemble.on_late.weight.grad is None
    of_late.sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in ensemble.features.parameters())


@torch.no_grad()
def test_the_half_on_pretrained_features_is_mixed_with_the_discriminant_of_those_alone(ensemble: Ensemble) -> None:
    memory = GaussianMemory(3, HEAD + 192, 2)
    memory.means.normal_()
    memory.means[:, :HEAD] *= HEAD**0.5 / memory.means[:, :HEAD].norm(dim=1, keepdim=True)
    memory.variances.uniform_(0.5, 1.5)
    vectors = torch.randn(6, HEAD + 192)
    vectors[:, :HEAD] *= HEAD**0.5 / vectors[:, :HEAD].norm(dim=1, keepdim=True)
    _, late_before, before = ensemble(vectors)
    ensemble.mix_discriminant(ClassGaussians([memory]), 1.0)
    _, late_after, after = ensemble(vectors)
    assert torch.equal(late_before, late_after)
    of_features = GaussianMemory(3, HEAD, 2)
    for name in ("means", "variances"):
        setattr(of_features, name, getattr(memory, name)[:, :HEAD])
    weights, biases = ClassGaussians([of_features]).discriminant()
    wanted = vectors[:, :HEAD] @ weights.T + biases
    wanted, found = (each - each.mean(1, keepdim=True) for each in (wanted, after))
    ratio = (wanted * found).sum() / wanted.square().sum()
    torch.testing.assert_close(found, ratio * wanted, rtol=1e-3, atol=1e-3)
    assert ratio > 0
    assert not torch.allclose(before, after)
