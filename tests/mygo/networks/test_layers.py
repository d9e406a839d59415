"""The discriminator's own ways to normalise and to convolve, held against PyTorch's."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from mygo.networks.discriminator import Discriminator
from mygo.networks.layers import convolved
from mygo.networks.spectral import normalised
from mygo.training.checkpoint import restore, tensors_of

FORMATS = (torch.contiguous_format, torch.channels_last)


def loss(outputs: tuple[Tensor, ...]) -> Tensor:
    return sum(((torch.arange(w.numel()) % 7 - 3).view_as(w) * w).sum() for w in outputs)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_weights_normalised_together_are_those_that_pytorch_normalises(memory_format: torch.memory_format) -> None:
    layers = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 4), nn.Linear(6, 1), nn.Embedding(2, 6)]
    theirs = nn.ModuleList([spectral_norm(layer) for layer in layers])
    ours = copy.deepcopy(theirs).to(memory_format=memory_format)
    for _ in range(3):
        expected = tuple(layer.weight for layer in theirs)
        found = normalised(list(ours))
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other)
        loss(expected).backward()
        loss(found).backward()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_fixed_weights_are_constants_of_vectors_that_stay() -> None:
    layers = nn.ModuleList([spectral_norm(nn.Conv2d(3, 8, 3))])
    before = copy.deepcopy(layers.state_dict())
    (weight,) = normalised(list(layers), fixed=True)
    assert not weight.requires_grad
    torch.testing.assert_close(weight, layers.eval()[0].weight)
    assert all(torch.equal(value, before[name]) for name, value in layers.state_dict().items())


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding"), [(4, 3, 2, 1), (3, 3, 2, 1), (4, 4, 2, 1), (2, 2, 1, 0)]
)
def test_a_convolution_as_a_matrix_product_is_pytorchs(side: int, kernel: int, stride: int, padding: int) -> None:
    layer = nn.Conv2d(5, 7, kernel, stride, padding).to(memory_format=torch.channels_last)
    maps = torch.randn(6, 5, side, side).contiguous(memory_format=torch.channels_last).requires_grad_()
    inputs = [maps, layer.weight, layer.bias]
    found, expected = convolved(maps, layer, layer.weight, layer.bias), layer(maps)
    assert "Convolution" not in type(found.grad_fn).__name__
    torch.testing.assert_close(found, expected)
    gradient = torch.randn_like(expected)
    for one, other in zip(
        torch.autograd.grad(found, inputs, gradient), torch.autograd.grad(expected, inputs, gradient), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_an_optimiser_goes_on_from_files_that_do_not_keep_the_layout_of_weights() -> None:
    torch.manual_seed(0)
    images, labels = torch.randn(4, 1, 28, 28), torch.arange(4) % 2

    def step(discriminator: Discriminator, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        discriminator(images, labels).sum().backward()
        optimiser.step()

    def build() -> tuple[Discriminator, torch.optim.Optimizer]:
        discriminator = Discriminator(2, (1, 28, 28), width=8)
        return discriminator, torch.optim.Adam(discriminator.parameters(), 1e-2, fused=True)

    straight, restored = build(), build()
    step(*straight)
    parts = [{"discriminator": network, "optimiser": optimiser} for network, optimiser in (straight, restored)]
    restore(
        parts[1],
        {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors_of(parts[0]).items()},
    )
    step(*straight)
    step(*restored)
    for one, other in zip(straight[0].parameters(), restored[0].parameters(), strict=True):
        assert torch.equal(one, other)
