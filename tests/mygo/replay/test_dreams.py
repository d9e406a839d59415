import dataclasses

import pytest
import torch

from mygo.data.examples import to_unit_range
from mygo.networks.generator import ConvGenerator
from mygo.networks.neocortex import NeocortexNet
from mygo.replay.dreamer import DREAM_CHUNK, Dreamer, in_chunks, shifted
from mygo.replay.schedule import Dreams, ReplaySchedule, by_step

NIGHT = ReplaySchedule(
    key=(0, "sleep", 1),
    head_sizes=(2, 3),
    current=1,
    noise_dim=6,
    steps=10,
    batch_size=12,
    steps_per_block=4,
    max_shift=1,
)

CPU = torch.device("cpu")


def two_teachers() -> tuple[NeocortexNet, NeocortexNet]:
    """The neocortex and the fast learner, with a head of two and one of three classes each."""
    torch.manual_seed(0)
    teachers = NeocortexNet((1, 8, 8), "mlp"), NeocortexNet((1, 8, 8), "mlp")
    for net in teachers:
        net.add_task_head(2)
        net.add_task_head(3)
    return teachers


@pytest.fixture(scope="module")
def dreamer() -> Dreamer:
    neocortex, fast_learner = two_teachers()
    # Memories may differ in the length of their noise.
    memories = [ConvGenerator(size, (1, 8, 8), latent_dim=dim, width=8) for size, dim in ((2, 4), (3, 6))]
    return Dreamer(memories, (neocortex, fast_learner), (0, 1), CPU)


def test_blocks_cover_the_night() -> None:
    assert NIGHT.blocks == 3
    assert [NIGHT.steps_in(block) for block in range(3)] == [4, 4, 2]
    assert len(NIGHT.request(2).tasks) == 2 * 12


def test_a_block_is_the_same_whenever_it_is_drawn_and_differs_from_others() -> None:
    once, again, other = NIGHT.request(1), NIGHT.request(1), NIGHT.request(0)
    assert torch.equal(once.noise, again.noise)
    assert torch.equal(once.labels, again.labels)
    assert not torch.equal(once.noise, other.noise)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_the_shares_of_all_ranks_make_up_each_steps_global_batch(size: int) -> None:
    whole = NIGHT.request(0)
    shares = [NIGHT.request(0, rank, size) for rank in range(size)]
    by_rank = [share.noise.view(4, -1, 6) for share in shares]
    assert torch.equal(torch.cat(by_rank, dim=1), whole.noise.view(4, 12, 6))
    assert torch.equal(torch.cat([share.tasks.view(4, -1) for share in shares], dim=1), whole.tasks.view(4, 12))


def test_every_class_has_the_same_share_of_dreams_unless_told_otherwise() -> None:
    def counts(current_share: float | None) -> list[float]:
        schedule = ReplaySchedule(
            key=(0,),
            head_sizes=(2, 3),
            current=1,
            noise_dim=1,
            steps=500,
            batch_size=40,
            steps_per_block=500,
            current_share=current_share,
        )
        order = schedule.request(0)
        classes = order.labels + torch.tensor([0, 2])[order.tasks]
        return (torch.bincount(classes, minlength=5) / len(classes)).tolist()

    assert counts(None) == pytest.approx([0.2] * 5, abs=0.02)
    assert counts(0.6) == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.2], abs=0.02)
    assert counts(0.9) == pytest.approx([0.05, 0.05, 0.3, 0.3, 0.3], abs=0.02)


def test_a_shift_moves_down_and_right_and_repeats_edges() -> None:
    images = torch.arange(12.0).view(1, 1, 3, 4).repeat(3, 1, 1, 1)
    still, down, up_left = shifted(images, torch.tensor([[0, 0], [1, 0], [-1, -2]]))
    assert torch.equal(still, images[0])
    assert down[0].tolist() == [[0, 1, 2, 3], [0, 1, 2, 3], [4, 5, 6, 7]]
    assert up_left[0].tolist() == [[6, 7, 7, 7], [10, 11, 11, 11], [10, 11, 11, 11]]


def test_every_batch_mixes_tasks(dreamer: Dreamer) -> None:
    for block in range(NIGHT.blocks):
        for step in by_step(dreamer.dream(NIGHT.request(block)), NIGHT.steps_in(block)):
            assert len(step) == 12
            assert set(step.tasks.tolist()) == {0, 1}


def test_the_teacher_is_the_old_network_for_old_tasks_and_the_fast_learner_for_the_newest(dreamer: Dreamer) -> None:
    neocortex, fast_learner = two_teachers()
    dreams = dreamer.dream(NIGHT.request(0))
    images = to_unit_range(dreams.inputs)
    for task, teacher in ((0, neocortex), (1, fast_learner)):
        rows, size = dreams.tasks == task, NIGHT.head_sizes[task]
        answers = teacher.classifiers[task](teacher.features(images[rows]))
        assert torch.allclose(dreams.teacher_logits[rows, :size], answers, atol=1e-5)
        assert (dreams.teacher_logits[rows, size:] == 0).all()
    assert not torch.allclose(neocortex(images), fast_learner(images), atol=1e-2)


def test_a_block_may_be_too_small_to_hold_a_dream_of_every_task() -> None:
    net = NeocortexNet((1, 8, 8), "conv")
    for size in NIGHT.head_sizes:
        net.add_task_head(size)
    memories = [ConvGenerator(size, (1, 8, 8), latent_dim=6, width=8) for size in NIGHT.head_sizes]
    order = dataclasses.replace(NIGHT, batch_size=1, steps_per_block=1).request(0)
    assert len(Dreamer(memories, (net,), (0, 0), CPU).dream(order)) == 1


def test_labels_count_over_all_heads_and_images_come_from_the_tasks_own_generator(dreamer: Dreamer) -> None:
    order = NIGHT.request(0)
    dreams = dreamer.dream(order)
    assert dreams.inputs.dtype == torch.uint8
    assert torch.equal(dreams.labels, order.labels + 2 * (order.tasks == 1))
    row = int((order.tasks == 0).nonzero()[0])
    image = dreamer.memories[0](order.noise[row : row + 1, :4], order.labels[row : row + 1])
    moved = shifted(image, order.shifts[row : row + 1])
    assert torch.allclose(to_unit_range(dreams.inputs[row : row + 1]), moved, atol=0.02)


def test_dreaming_builds_no_graph_and_a_changing_student_changes_no_teacher(dreamer: Dreamer) -> None:
    student = NeocortexNet((1, 8, 8), "mlp")
    student.add_task_head(2)
    student.add_task_head(3)
    own = Dreamer(dreamer.memories, (student,), (0, 0), CPU)
    before = own.dream(NIGHT.request(0))
    assert not before.teacher_logits.requires_grad
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1.0)
    assert torch.equal(own.dream(NIGHT.request(0)).teacher_logits, before.teacher_logits)
    assert isinstance(before[0:2], Dreams)


def test_teacher_features_are_what_its_heads_saw() -> None:
    neocortex, fast_learner = two_teachers()
    memories = [ConvGenerator(size, (1, 8, 8), latent_dim=6, width=8) for size in (2, 3)]
    teachers = neocortex, fast_learner
    dreams = Dreamer(memories, teachers, (0, 1), CPU, with_features=True).dream(NIGHT.request(0))
    assert dreams.teacher_features.shape == (4 * 12, 400)
    for task, teacher in enumerate((neocortex, fast_learner)):
        mine = dreams.tasks == task
        answers = teacher.classifiers[task](dreams.teacher_features[mine])
        assert torch.allclose(answers, dreams.teacher_logits[mine, : NIGHT.head_sizes[task]], atol=1e-5)
    without = Dreamer(memories, teachers, (0, 1), CPU).dream(NIGHT.request(0))
    assert without.teacher_features.shape == (4 * 12, 0)
    assert torch.equal(without.teacher_logits, dreams.teacher_logits)


@pytest.mark.parametrize("share", [None, 1.0])
def test_dreams_in_fixed_shapes_as_on_a_gpu_are_the_same(share: float | None) -> None:
    memories = [ConvGenerator(size, (1, 8, 8), latent_dim=6, width=8) for size in (2, 3)]
    dreamer = Dreamer(memories, two_teachers(), (0, 1), CPU, eager=True)
    order = dataclasses.replace(NIGHT, current_share=share).request(0)
    dreams, padded = dreamer.dream(order), dreamer._dream_padded(order)
    for some, others in zip(dreams.tensors, padded.tensors, strict=True):
        assert torch.allclose(some.double(), others.double(), atol=1e-5)
    crowded = dreamer._dream_padded(dataclasses.replace(order, room=(1, 1)))
    assert torch.equal(crowded.inputs, padded.inputs)


def test_there_is_room_for_the_dreams_of_each_task() -> None:
    schedule = dataclasses.replace(NIGHT, head_sizes=(1, 2, 3), steps=400, batch_size=32)
    for block in range(schedule.blocks):
        order = schedule.request(block)
        assert all(count <= room for count, room in zip(order.tasks.bincount(minlength=3), order.room, strict=True))
    assert all(room < 4 * 32 for room in order.room)


def test_no_chunk_of_images_is_a_remainder_of_one() -> None:
    chunks = in_chunks(torch.arange(2 * DREAM_CHUNK + 1))
    assert [len(rows) for rows in chunks] == [86, 86, 85]
    assert torch.equal(torch.cat(chunks), torch.arange(2 * DREAM_CHUNK + 1))
    assert in_chunks(torch.arange(0)) == ()
