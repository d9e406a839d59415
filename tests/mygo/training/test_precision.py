"""Training and dreaming in bfloat16: what is computed in it, and what stays float32."""

import pytest
import torch
from torch import nn

from mygo.config.learner import GanConfig, Precision
from mygo.data.examples import Examples
from mygo.memory.gan import train_gan
from mygo.networks.discriminator import Discriminator
from mygo.phase import PhaseContext
from mygo.training import precision
from mygo.training.loop import Losses, Network, train
from mygo.training.precision import agreed, native_precision, resolved
from mygo.training.process_group import SingleProcess


class Spy(nn.Module):
    """A linear layer that notes in which numbers it answered."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(8, 1)
        self.answered: set[torch.dtype] = set()

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        answer = self.layer(inputs)
        self.answered.add(answer.dtype)
        return answer, answer


def trained(numbers: Precision) -> Spy:
    spy = Spy()
    inputs = torch.randn(32, 8, generator=torch.Generator().manual_seed(1))

    def losses_of(network: Network) -> Losses:
        outputs = network(inputs)
        assert all(output.dtype == torch.float32 for output in outputs)
        return {"squares": (outputs[0] - 1).square().mean()}

    train(spy, losses_of, lambda step: (), steps=20, lr=0.01, context=PhaseContext(SingleProcess(), precision=numbers))
    return spy


def test_networks_multiply_in_bfloat16_and_weights_and_losses_stay_float32() -> None:
    exact, rounded = trained("float32"), trained("bfloat16")
    assert exact.answered == {torch.float32}
    assert rounded.answered == {torch.bfloat16}
    assert rounded.layer.weight.dtype == torch.float32
    assert not torch.equal(exact.layer.weight, rounded.layer.weight)
    assert torch.allclose(exact.layer.weight, rounded.layer.weight, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 8, 8), (64, 2, 2), (3, 12, 8)])
def test_gans_of_the_smallest_images_train_in_bfloat16(shape: tuple[int, int, int]) -> None:
    data = Examples(torch.randint(0, 256, (32, *shape), dtype=torch.uint8), torch.arange(32) % 2)
    config = GanConfig(latent_dim=8, generator_width=8, discriminator_width=8, steps=30, batch_size=8)
    generator = train_gan(data, 2, config, (0, "small"), PhaseContext(SingleProcess(), precision="bfloat16"))
    assert all(torch.isfinite(weight).all() for weight in generator.parameters())
    assert all(weight.dtype == torch.float32 for weight in generator.parameters())


@pytest.mark.parametrize("sides", [(2, 2), (5, 5), (12, 8)])
def test_discriminators_of_the_smallest_maps_have_whole_gradients_in_bfloat16(sides: tuple[int, int]) -> None:
    discriminator = Discriminator(2, (64, *sides), width=8)
    for _ in range(20):
        spoilt = [torch.full((size,), torch.nan) for size in (100, 1000, 10_000)]
        del spoilt  # memory that is not written to would show
        discriminator.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            scores = discriminator(torch.ones(16, 64, *sides), torch.arange(16) % 2)
        scores.float().sum().backward()
        assert all(torch.isfinite(weight.grad).all() for weight in discriminator.parameters())


@pytest.mark.parametrize(("has_it", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_only_where_the_device_multiplies_it(
    monkeypatch: pytest.MonkeyPatch, *, has_it: bool, expected: Precision
) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    monkeypatch.setattr(precision.torch.cpu, "_is_avx512_bf16_supported", lambda: has_it)
    monkeypatch.setattr(precision.torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(precision.torch.cuda, "is_bf16_supported", lambda including_emulation: not has_it)
    assert native_precision() == resolved("auto", cpu) == expected
    assert resolved("auto", gpu) != expected, "the GPU decides for itself"
    for explicit in ("float32", "bfloat16"):
        assert resolved(explicit, cpu) == resolved(explicit, gpu) == explicit


@pytest.mark.parametrize(("have_it", "expected"), [(2, "bfloat16"), (1, "float32"), (0, "float32")])
def test_workers_agree_on_what_all_of_them_multiply(
    monkeypatch: pytest.MonkeyPatch, have_it: int, expected: Precision
) -> None:
    class Pair(SingleProcess):
        """Two workers, as seen by one of them."""

        size = 2

        def sum(self, values: torch.Tensor) -> torch.Tensor:
            return values * 0 + have_it

    monkeypatch.setattr(precision, "native_precision", lambda: "bfloat16" if have_it else "float32")
    assert agreed("auto", Pair()) == expected
    assert agreed("bfloat16", Pair()) == "bfloat16"
