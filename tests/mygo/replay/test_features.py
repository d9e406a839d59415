"""What a sleep behind an encoder dreams: of each class as much, in blocks that know nothing of one another."""

import dataclasses

import pytest
import torch
from torch import nn

from mygo.config.learner import GaussianConfig
from mygo.memory.gaussian import ClassGaussians, GaussianMemory, fit_gaussians, noise_dim_of
from mygo.networks.neocortex import NeocortexNet
from mygo.replay.features import CERTAIN, FeatureDreamer, FeatureSchedule, Labels, LessonTeachers, NetworkTeachers
from mygo.replay.schedule import SampleRequest
from mygo.training.process_group import SingleProcess

CPU = torch.device("cpu")
DIM, RANK = 6, 2
SIZES = (2, 3)
NIGHT = FeatureSchedule(
    key=(0, "sleep"),
    head_sizes=SIZES,
    current=1,
    noise_dim=3 * RANK + DIM,
    steps=10,
    batch_size=12,
    steps_per_block=4,
    classes_per_block=sum(SIZES),
)


def remembered(num_classes: int, seed: int) -> GaussianMemory:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(num_classes).repeat_interleave(20)
    vectors = 5 * torch.randn(num_classes, DIM, generator=rng)[labels] + torch.randn(len(labels), DIM, generator=rng)
    return fit_gaussians(vectors, labels, num_classes, GaussianConfig(rank=RANK), SingleProcess())


@pytest.fixture(scope="module")
def memories() -> list[GaussianMemory]:
    return [remembered(size, seed) for seed, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def teachers() -> list[nn.Linear]:
    torch.manual_seed(0)
    return [nn.Linear(DIM, size) for size in SIZES]


def classes_of(request: SampleRequest) -> torch.Tensor:
    return request.labels + torch.tensor([0, SIZES[0]])[request.tasks]


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("block", [0, 2])
def test_the_shares_of_all_ranks_make_up_each_steps_global_batch(size: int, block: int) -> None:
    whole, steps = NIGHT.request(block), NIGHT.steps_in(block)
    shares = [NIGHT.request(block, rank, size) for rank in range(size)]
    for number, tensor in enumerate(whole.tensors):
        parts = [share.tensors[number].view(steps, -1, *tensor.shape[1:]) for share in shares]
        assert torch.equal(torch.cat(parts, 1), tensor.view(steps, 12, *tensor.shape[1:]))


def test_a_block_is_the_same_whenever_it_is_drawn_and_whatever_the_task_that_was_learned_last() -> None:
    once = NIGHT.request(1)
    for again in (NIGHT.request(1), dataclasses.replace(NIGHT, current=0).request(1)):
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(once.tensors, again.tensors, strict=True))
    other = NIGHT.request(0)
    assert not any(torch.equal(mine, theirs) for mine, theirs in zip(once.tensors, other.tensors, strict=True))
    assert len(NIGHT.request(2).tasks) == 2 * 12, "the last block is shorter"


@pytest.mark.parametrize("batch_size", [5, 12, 13])
def test_of_each_class_there_are_as_many_dreams_as_far_as_they_go(batch_size: int) -> None:
    for block in range(NIGHT.blocks):
        request = dataclasses.replace(NIGHT, batch_size=batch_size).request(block)
        counts = classes_of(request).bincount(minlength=sum(SIZES))
        assert counts.max() - counts.min() <= 1
        assert (request.labels < torch.tensor(SIZES)[request.tasks]).all()


def test_a_class_borrows_from_the_same_donors_within_a_block_which_are_drawn_among_all_classes() -> None:
    night = dataclasses.replace(NIGHT, steps=4000)
    counts = torch.zeros(sum(SIZES))
    for block in range(night.blocks):
        request = night.request(block)
        pairs = {tuple(row) for row in torch.cat([classes_of(request)[:, None], request.donors], 1).tolist()}
        assert len(pairs) == sum(SIZES)
        counts += torch.tensor([donor for _, *donors in pairs for donor in donors]).bincount(minlength=sum(SIZES))
    assert (counts / counts.sum()).tolist() == pytest.approx([0.2] * 5, abs=0.03)


def test_a_block_dreams_of_some_of_many_classes_and_of_all_of_them_as_often() -> None:
    night = dataclasses.replace(NIGHT, steps=4000, classes_per_block=3)
    counts = torch.zeros(sum(SIZES))
    for block in range(night.blocks):
        among = night.classes_in(block)
        assert classes_of(night.request(block)).unique().tolist() == among.tolist()
        assert len(among) == 3
        first = block * night.steps_per_block
        for step in range(first, first + night.steps_in(block)):
            told_apart = night.classes_at(step)
            assert told_apart is not None
            assert torch.equal(told_apart, among)
        counts[among] += 1
    assert (counts / counts.sum()).tolist() == pytest.approx([0.2] * 5, abs=0.02)
    assert NIGHT.classes_at(0) is None


def test_dreams_come_from_their_own_memory_and_are_judged_by_their_own_teacher(
    memories: list[GaussianMemory], teachers: list[nn.Linear]
) -> None:
    request = NIGHT.request(0)
    dreams = FeatureDreamer(memories, LessonTeachers(teachers, CPU), CPU).dream(request)
    assert torch.equal(dreams.tasks, request.tasks)
    assert torch.equal(dreams.labels, classes_of(request))
    assert dreams.inputs.norm(dim=1).numpy() == pytest.approx(DIM**0.5, rel=1e-5)
    assert dreams.teacher_features.shape == (48, 0)
    for task, teacher in enumerate(teachers):
        rows = dreams.tasks == task
        answers = teacher(dreams.inputs[rows])
        assert torch.allclose(dreams.teacher_logits[rows, : SIZES[task]], answers, atol=1e-6)
        assert (dreams.teacher_logits[rows, SIZES[task] :] == 0).all()
    assert not dreams.teacher_logits.requires_grad
    means = torch.cat([memory.means for memory in memories])
    nearest = torch.cdist(dreams.inputs, nn.functional.normalize(means) * DIM**0.5).argmin(1)
    assert (nearest == dreams.labels).float().mean() > 0.9


def test_a_dream_does_not_depend_on_what_else_is_asked_for(memories: list[GaussianMemory]) -> None:
    """Up to the rounding of a product of another size."""
    whole, gaussians = NIGHT.request(0), ClassGaussians(memories)
    classes, donors = classes_of(whole), whole.donors
    together = gaussians.recall(classes, donors, whole.noise)
    for row in (0, 17, 47):
        one = slice(row, row + 1)
        alone = gaussians.recall(classes[one], donors[one], whole.noise[one])
        assert torch.allclose(alone, together[one], atol=1e-5)


def test_each_lesson_is_taught_by_the_network_that_knows_it(
    memories: list[GaussianMemory],
) -> None:
    torch.manual_seed(0)
    before, fast_learner = NeocortexNet((DIM,), "mlp"), NeocortexNet((DIM,), "mlp")
    for size in SIZES:
        before.add_task_head(size)
        fast_learner.add_task_head(size)
    request = NIGHT.request(0)
    answers = NetworkTeachers((before, fast_learner), (0, 1), CPU, "float32")
    dreams = FeatureDreamer(memories, answers, CPU).dream(request)
    for task, teacher in enumerate((before, fast_learner)):
        rows = dreams.tasks == task
        wanted = teacher.classifiers[task](teacher.features(dreams.inputs[rows]))
        torch.testing.assert_close(dreams.teacher_logits[rows, : SIZES[task]], wanted.detach())
        assert (dreams.teacher_logits[rows, SIZES[task] :] == 0).all()


def test_without_a_teacher_a_dream_is_of_its_own_class(memories: list[GaussianMemory]) -> None:
    request = NIGHT.request(0)
    dreams = FeatureDreamer(memories, Labels(SIZES), CPU).dream(request)
    assert dreams.teacher_logits.shape == (48, max(SIZES))
    assert torch.equal(dreams.teacher_logits.argmax(1), request.labels)
    assert (dreams.teacher_logits.amax(1) == CERTAIN).all()


def test_a_teacher_that_learns_on_does_not_change_what_is_dreamt(
    memories: list[GaussianMemory], teachers: list[nn.Linear]
) -> None:
    dreamer = FeatureDreamer(memories, LessonTeachers(teachers, CPU), CPU)
    before = dreamer.dream(NIGHT.request(0))
    kept = teachers[0].weight.detach().clone()
    with torch.no_grad():
        teachers[0].weight.add_(1.0)
    after = dreamer.dream(NIGHT.request(0))
    with torch.no_grad():
        teachers[0].weight.copy_(kept)
    assert torch.equal(after.teacher_logits, before.teacher_logits)


def test_noise_is_as_long_as_a_memory_needs(memories: list[GaussianMemory]) -> None:
    assert noise_dim_of(memories[0]) == ClassGaussians(memories).noise_dim == 3 * RANK + DIM == NIGHT.noise_dim
