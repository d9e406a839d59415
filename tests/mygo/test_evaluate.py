import pytest
import torch

from mygo.data.examples import Examples
from mygo.evaluate import accuracy_rows, average_accuracy, backward_transfer, forgetting
from mygo.networks.neocortex import NeocortexNet
from mygo.training.process_group import SingleProcess
from mygo.unknown.calibration import Reliability

MATRIX = [[0.9], [0.8, 0.7], [0.5, 0.75, 0.6]]


def test_metrics_of_a_matrix_computed_by_hand() -> None:
    assert average_accuracy(MATRIX) == pytest.approx((0.5 + 0.75 + 0.6) / 3)
    assert forgetting(MATRIX) == pytest.approx(((0.9 - 0.5) + (0.7 - 0.75)) / 2)
    assert backward_transfer(MATRIX) == pytest.approx(((0.5 - 0.9) + (0.75 - 0.7)) / 2)


def test_forgetting_counts_from_the_best_row_and_transfer_from_the_first() -> None:
    matrix = [[0.5], [0.9, 1.0], [0.6, 1.0, 1.0]]
    assert forgetting(matrix) == pytest.approx((0.3 + 0.0) / 2)
    assert backward_transfer(matrix) == pytest.approx((0.1 + 0.0) / 2)


def test_one_task_forgets_and_transfers_nothing() -> None:
    assert forgetting([[0.3]]) == 0
    assert backward_transfer([[0.3]]) == 0


class Answers(NeocortexNet):
    """Reads its logits off the first four pixels: two heads of two classes."""

    def __init__(self) -> None:
        super().__init__((1, 8, 8), "mlp")
        self.add_task_head(2)
        self.add_task_head(2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :4]


def test_class_il_lets_all_heads_compete_and_task_il_only_the_tasks_own() -> None:
    logits = torch.tensor([[9, 1, 0, 0], [3, 1, 7, 0], [0, 5, 1, 2], [0, 1, 2, 9]], dtype=torch.uint8)
    images = torch.zeros(4, 64, dtype=torch.uint8)
    images[:, :4] = logits * 20
    images = images.view(4, 1, 8, 8)
    first = Examples(images[:2], torch.tensor([0, 0]))  # the second loses to the other head
    second = Examples(images[2:], torch.tensor([1, 1]))  # the first of these loses to the other head
    task_il, class_il, confusion = accuracy_rows(Answers(), [first, second], SingleProcess())
    assert task_il == [1.0, 1.0]
    assert class_il == [0.5, 0.5]
    assert confusion == [[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]]


class OneOfTwo(SingleProcess):
    """A rank of a group of two that keeps its part of every sum to itself."""

    size = 2

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank


def test_the_ranks_of_a_team_share_the_test_data_and_their_counts_add_up() -> None:
    images = torch.randint(0, 255, (7, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tests = [Examples(images, torch.arange(7) % 2), Examples(images.flip(0), torch.arange(7) % 2)]
    whole, *parts = (accuracy_rows(Answers(), tests, group) for group in (SingleProcess(), OneOfTwo(0), OneOfTwo(1)))
    for expected, one, other in zip(whole, *parts, strict=True):
        torch.testing.assert_close(torch.tensor(one) + torch.tensor(other), torch.tensor(expected))
    assert torch.tensor(whole[2]).sum() == 14


def test_the_ranks_count_the_reliability_of_their_shares_and_these_add_up() -> None:
    images = torch.randint(0, 255, (7, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tests = [Examples(images, torch.arange(7) % 2), Examples(images.flip(0), torch.arange(7) % 2)]
    counted = []
    for group in (SingleProcess(), OneOfTwo(0), OneOfTwo(1)):
        counted.append(Reliability(0.7))
        accuracy_rows(Answers(), tests, group, counted[-1])
    whole, one, other = (each.bins for each in counted)
    torch.testing.assert_close(one + other, whole)
    assert float(whole[:, 0].sum()) == 14
    assert sorted(float(each[:, 0].sum()) for each in (one, other)) == [6, 8]
    logits = torch.cat([Answers()(images / 127.5 - 1), Answers()(images.flip(0) / 127.5 - 1)])
    labels = torch.cat([torch.arange(7) % 2, 2 + torch.arange(7) % 2])
    assert float(whole[:, 1].sum()) == float((logits.argmax(1) == labels).sum())
    torch.testing.assert_close(whole[:, 2].sum(), (logits.double() / 0.7).softmax(1).amax(1).sum())


def test_a_task_without_test_data_has_no_accuracy() -> None:
    empty = Examples(torch.empty(0, 1, 8, 8, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    with pytest.raises(ValueError, match="no test data"):
        accuracy_rows(Answers(), [empty], SingleProcess())
