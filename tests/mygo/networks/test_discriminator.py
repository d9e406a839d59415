"""The discriminator as it trains."""

import copy

import torch

from mygo.networks.discriminator import Discriminator, constant
from mygo.training.checkpoint import restore, tensors_of


def test_a_discriminator_that_is_held_constant_scores_as_it_is_and_learns_nothing() -> None:
    torch.manual_seed(0)
    discriminator, labels = Discriminator(2, (1, 12, 12), width=8), torch.arange(4) % 2
    before = copy.deepcopy(discriminator.state_dict())
    images = torch.randn(4, 1, 12, 12, requires_grad=True)
    with constant(discriminator):
        scores = discriminator(images, labels)
    scores.sum().backward()
    assert images.grad is not None
    assert all(parameter.grad is None for parameter in discriminator.parameters())
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())
    discriminator(images, labels).sum().backward()
    assert all(parameter.grad is not None for parameter in discriminator.parameters())
    vectors = [name for name in before if name.endswith("._u")]
    assert len(vectors) == 6
    moved = [name for name in vectors if not torch.equal(discriminator.state_dict()[name], before[name])]
    assert moved == [name for name in vectors if before[name].numel() > 1], "an iteration for each layer"


def test_weights_are_normalised_in_float32_whatever_the_rest_is_multiplied_in() -> None:
    torch.manual_seed(0)
    one = Discriminator(2, (1, 12, 12), width=8)
    other, images, labels = copy.deepcopy(one), torch.randn(4, 1, 12, 12), torch.arange(4) % 2
    one(images, labels)
    with torch.autocast("cpu", torch.bfloat16):
        other(images, labels)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


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
