import copy

import pytest
import torch
from torch import Tensor, nn

from mygo.adapting.late import LateBlocks, PixelMatrix
from mygo.encoders.efficientnet_lite import EfficientNetLite, SamePadConv
from mygo.networks.weights import fill


@pytest.fixture(scope="module")
def network() -> EfficientNetLite:
    """A network whose batch norm does something."""
    torch.manual_seed(0)
    network = EfficientNetLite(1.0, 1.0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.8, 1.2)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(cast_tensor(module.running_mean), std=0.1)
            nn.init.uniform_(cast_tensor(module.running_var), 0.5, 1.5)
    return network.eval().folded()


def cast_tensor(buffer: Tensor | None) -> Tensor:
    assert buffer is not None
    return buffer


@pytest.mark.parametrize(("kernel", "stride", "side"), [(3, 1, 3), (5, 1, 3), (5, 1, 7), (3, 2, 6), (5, 2, 7)])
def test_a_matrix_between_pixels_is_a_depthwise_convolution(kernel: int, stride: int, side: int) -> None:
    conv = SamePadConv(4, 4, kernel, stride, groups=4)
    conv.bias = nn.Parameter(torch.randn(4))
    maps = torch.randn(3, 4, side, side, requires_grad=True)
    wanted = conv(maps)
    matrix = PixelMatrix(conv, side)
    found = matrix(maps.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(wanted)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(wanted)
    for own, theirs in zip(
        torch.autograd.grad((found * weights).sum(), [matrix.weight, matrix.bias]),
        torch.autograd.grad((wanted * weights).sum(), [conv.weight, conv.bias]),
        strict=True,
    ):
        torch.testing.assert_close(own, theirs.view_as(own))


@pytest.mark.parametrize(("cut", "channels", "side"), [(11, 112, 6), (12, 192, 3), (13, 192, 5)])
def test_late_blocks_answer_as_those_of_the_encoder(
    network: EfficientNetLite, cut: int, channels: int, side: int
) -> None:
    late = network.late(cut)
    copied = LateBlocks(list(late), side)
    maps = torch.randn(2, channels, side, side)
    torch.testing.assert_close(copied(maps), late(maps), rtol=1e-4, atol=1e-5)


def test_late_blocks_are_copies_that_can_be_trained(network: EfficientNetLite) -> None:
    before = copy.deepcopy(network.state_dict())
    copied = LateBlocks(list(network.late(12)), 3)
    optimiser = torch.optim.SGD(copied.parameters(), lr=0.1)
    copied(torch.randn(2, 192, 3, 3)).square().sum().backward()
    optimiser.step()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in copied.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_late_blocks_are_filled_with_weights_that_were_kept(network: EfficientNetLite) -> None:
    kept = LateBlocks(list(network.late(12)), 3)
    filled = fill(lambda: LateBlocks(list(EfficientNetLite(1.0, 1.0).folded().late(12)), 3), kept.state_dict())
    maps = torch.randn(2, 192, 3, 3)
    assert torch.equal(filled(maps), kept(maps))
