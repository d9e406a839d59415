import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mygo.data.examples import LabelledDataset
from mygo.data.tasks import TaskStream, deal_classes
from mygo.errors import DataGoneError, InputError
from mygo.training.batches import EpochBatches


@given(st.integers(1, 30), st.data())
def test_every_class_is_dealt_once_in_order(num_classes: int, data: st.DataObject) -> None:
    num_tasks = data.draw(st.integers(1, num_classes))
    order = data.draw(st.permutations(range(num_classes)))
    tasks = deal_classes(num_classes, num_tasks, order)
    assert [task.index for task in tasks] == list(range(num_tasks))
    assert [c for task in tasks for c in task.classes] == order
    sizes = [len(task.classes) for task in tasks]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ([0, 1, 2, 2], "class 2 more than once"),
        ([0, 1, 2, 9], "class 9, which the data set does not have"),
        ([0, 1, 2, -1], "class -1, which the data set does not have"),
        ([0, 1, 2], "leaves out class 3"),
    ],
)
def test_a_bad_class_order_is_named(order: list[int], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        deal_classes(4, 2, order)


@pytest.mark.parametrize("num_tasks", [0, 5, -1])
def test_the_number_of_tasks_must_fit(num_tasks: int) -> None:
    with pytest.raises(InputError, match="--num-tasks must be from 1 to 4"):
        deal_classes(4, num_tasks)


def test_data_is_handed_out_once_with_labels_within_the_task(coloured_squares: LabelledDataset) -> None:
    first, second = deal_classes(4, 2, [3, 1, 0, 2])
    stream = TaskStream(coloured_squares, [first, second])
    data = stream.take_training_data(first)
    assert data.inputs[data.labels == 0].unique().tolist() == [200]  # class 3
    assert data.inputs[data.labels == 1].unique().tolist() == [80]  # class 1
    assert len(data) == 40
    with pytest.raises(DataGoneError, match="task 1"):
        stream.take_training_data(first)
    assert stream.test[1].labels.tolist() == [0] * 5 + [1] * 5


def test_skipped_tasks_are_gone(coloured_squares: LabelledDataset) -> None:
    tasks = deal_classes(4, 2)
    stream = TaskStream(coloured_squares, tasks)
    (left,) = stream.skip(1)
    assert (left.index, left.classes, left.names) == (1, (2, 3), ("c", "d"))
    with pytest.raises(DataGoneError):
        stream.take_training_data(tasks[0])
    assert len(stream.take_training_data(tasks[1])) == 40


@given(st.integers(1, 50), st.integers(1, 50))
def test_an_epoch_sees_each_example_at_most_once_and_batches_are_full(size: int, batch_size: int) -> None:
    batches = EpochBatches(size, batch_size, (0, "test"))
    seen = torch.cat([batches.indices(step) for step in range(batches.per_epoch)])
    assert len(seen) == batches.per_epoch * batch_size
    assert int(seen.min()) >= 0
    assert int(seen.max()) < size
    if batch_size <= size:
        assert len(seen.unique()) == len(seen)


def test_batches_depend_on_the_step_alone() -> None:
    forwards, backwards = EpochBatches(10, 4, (1,)), EpochBatches(10, 4, (1,))
    late = backwards.indices(7)
    assert torch.equal(forwards.indices(0), backwards.indices(0))
    assert torch.equal(forwards.indices(7), late)
    assert not torch.equal(EpochBatches(10, 4, (2,)).indices(0), forwards.indices(0))


def test_classes_of_like_size_are_drawn_as_if_nothing_was_balanced() -> None:
    labels = torch.tensor([0] * 20 + [1] * 11 + [2] * 16)
    plain, balanced = EpochBatches(47, 8, (1,)), EpochBatches.of(labels, 8, (1,), balanced=True)
    assert all(torch.equal(plain.indices(step), balanced.indices(step)) for step in range(12))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_rare_classes_are_drawn_about_as_often_as_others_and_each_of_their_examples_alike(sizes: list[int]) -> None:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    batches = EpochBatches.of(labels, 1, (1,), balanced=True)
    epoch = torch.cat([batches.indices(step) for step in range(batches.per_epoch)])
    drawn = labels[epoch].bincount()
    assert 2 * drawn.min() > drawn.max() == max(sizes)
    per_example = epoch.bincount(minlength=len(labels))
    assert all(len(per_example[labels == label].unique()) == 1 for label in range(len(sizes)))
    unbalanced = EpochBatches.of(labels, 1, (1,), balanced=False)
    assert unbalanced.per_epoch == len(labels)
