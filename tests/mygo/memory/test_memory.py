import pytest
import torch
from torch import Tensor

from mygo.config.learner import GanConfig, MemoryConfig
from mygo.data.examples import Examples
from mygo.errors import NonFiniteError
from mygo.memory.gan import train_gan
from mygo.memory.quality import (
    Quality,
    frechet_distance,
    measure_quality,
    nearest_neighbour_ratio,
    round_to_half_,
    stored_bytes,
)
from mygo.networks.discriminator import Discriminator
from mygo.networks.generator import ConvGenerator, Generator
from mygo.networks.neocortex import NeocortexNet
from mygo.phase import PhaseContext
from mygo.training.process_group import SingleProcess
from mygo.wake import quality_in_words


class Judge(NeocortexNet):
    """Sees only the mean grey of an image; class 1 is the brighter one."""

    def __init__(self) -> None:
        super().__init__((1, 8, 8), "mlp")
        mean = torch.nn.Linear(64, 1)
        torch.nn.init.constant_(mean.weight, 1 / 64)
        torch.nn.init.zeros_(mean.bias)
        self.features = torch.nn.Sequential(torch.nn.Flatten(), mean)
        self.feature_dim = 1
        head = self.add_task_head(2)
        with torch.no_grad():
            head.weight.copy_(torch.tensor([[-1.0], [1.0]]))
            head.bias.zero_()


class Greys(Generator):
    """Dreams flat images: of its class's brightness, with a given spread and share of wrong labels."""

    def __init__(self, spread: float, obeys: bool = True) -> None:
        super().__init__(2, (1, 8, 8), latent_dim=2, width=8)
        self.spread = spread
        self.obeys = obeys

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        sign = (labels * 2 - 1) * (1 if self.obeys else -1)
        grey = 0.5 * sign + self.spread * noise[:, 0].clamp(-2, 2)
        return grey.view(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def real_greys() -> Examples:
    noise = torch.randn(1000, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)
    labels = torch.arange(2).repeat_interleave(500)
    grey = 0.5 * (labels * 2 - 1) + 0.1 * noise
    pixels = ((grey + 1) * 127.5).round().to(torch.uint8).view(-1, 1, 1, 1)
    return Examples(pixels.expand(-1, 1, 8, 8).contiguous(), labels)


@pytest.mark.parametrize(
    ("generator", "fidelity", "diversity"),
    [(Greys(0.1), 1.0, 1.0), (Greys(0.0), 1.0, 0.0), (Greys(0.1, obeys=False), 0.0, 1.0), (Greys(0.05), 1.0, 0.25)],
    ids=["as real", "collapsed", "disobedient", "half as spread"],
)
def test_quality_tells_good_memories_from_bad(generator: Greys, fidelity: float, diversity: float) -> None:
    quality = measure_quality(generator, Judge(), 0, real_greys(), (0,), SingleProcess())
    assert quality.label_fidelity == pytest.approx(fidelity, abs=0.01)
    assert quality.diversity == pytest.approx(diversity, abs=0.12)


def test_the_frechet_distance_is_that_of_two_gaussians() -> None:
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(200_000, 2, generator=rng) * torch.tensor([1.0, 2.0])
    other = torch.randn(200_000, 2, generator=rng) * torch.tensor([3.0, 2.0]) + torch.tensor([0.0, 1.0])
    # Means 1 apart, standard deviations 1 and 3 in one direction: 1 + (3 - 1)², over 1 + 4.
    assert frechet_distance(other, real) == pytest.approx(1.0, abs=0.02)
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]])
    assert frechet_distance(other @ turn, real @ turn) == pytest.approx(frechet_distance(other, real), rel=1e-3)
    assert frechet_distance(real, real) < 1e-6


def test_a_memory_that_repeats_what_it_was_trained_on_is_told_from_one_that_does_not() -> None:
    images, pending = torch.randn(2, 300, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert nearest_neighbour_ratio(pending, images) == pytest.approx(1.0, abs=0.02)
    assert nearest_neighbour_ratio(images + 0.01, images) < 0.02
    assert nearest_neighbour_ratio(pending, images[:1]) == 1.0


def test_the_floor_holds_for_both_measures() -> None:
    floor = MemoryConfig(fidelity_floor=0.8, diversity_floor=0.3)
    assert Quality(0.8, 0.3).reaches(floor)
    assert not Quality(0.79, 1.0).reaches(floor)
    assert not Quality(1.0, 0.29).reaches(floor)


def test_the_floor_holds_for_each_class() -> None:
    floor = MemoryConfig(fidelity_floor=0.7, diversity_floor=0.2)
    rest = {"label_fidelity": 0.9, "diversity": 0.9, "frechet_distance": 0.0, "nearest_neighbour_ratio": 1.0}
    good = Quality(**rest, label_fidelity_per_class=(1.0, 0.7), diversity_per_class=(0.2, 1.6))
    assert good.reaches(floor)
    assert good.means == rest
    unheard = Quality(**rest, label_fidelity_per_class=(1.0, 0.69), diversity_per_class=(0.9, 0.9))
    collapsed = Quality(**rest, label_fidelity_per_class=(1.0, 1.0), diversity_per_class=(0.19, 1.61))
    assert (unheard.classes_below(floor), collapsed.classes_below(floor)) == ([1], [0])
    assert not unheard.reaches(floor)
    assert not collapsed.reaches(floor)
    words = quality_in_words(collapsed, floor, ("owl", "wren"))
    assert "of class owl: label fidelity 1.000, diversity 0.190" in words
    assert "wren" not in words


def test_quality_is_measured_of_each_class_too() -> None:
    class Half(Greys):
        """Obeys for class 1 alone, and spreads class 0 alone."""

        def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
            grey = 0.5 + self.spread * noise[:, 0].clamp(-2, 2) * (labels == 0)
            return grey.view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

    quality = measure_quality(Half(0.1), Judge(), 0, real_greys(), (0,), SingleProcess())
    assert quality.label_fidelity_per_class == pytest.approx((0.0, 1.0), abs=0.01)
    assert quality.diversity_per_class == pytest.approx((1.0, 0.0), abs=0.2)
    assert quality.label_fidelity == pytest.approx(sum(quality.label_fidelity_per_class) / 2)
    assert quality.diversity == pytest.approx(sum(quality.diversity_per_class) / 2)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (64, 2, 2), (64, 7, 7)])
@pytest.mark.parametrize("num_classes", [1, 5])
def test_networks_fit_the_image_and_keep_examples_apart(shape: tuple[int, int, int], num_classes: int) -> None:
    generator = ConvGenerator(num_classes, shape, latent_dim=8, width=16)
    noise, labels = torch.randn(6, 8), torch.arange(6) % num_classes
    images = generator(noise, labels)
    assert images.shape == (6, *shape)
    assert images.abs().max() <= 1
    discriminator = Discriminator(num_classes, shape, width=16).eval()
    scores = discriminator(images, labels)
    assert scores.shape == (6,)
    # Nothing may depend on the rest of the batch: a rank sees only its share.
    assert torch.allclose(generator(noise[:2], labels[:2]), images[:2], atol=1e-5)
    assert torch.allclose(discriminator(images[:2], labels[:2]), scores[:2], atol=1e-4)


def test_a_memory_is_used_as_it_is_stored() -> None:
    generator = ConvGenerator(2, (1, 8, 8), latent_dim=8, width=16)
    round_to_half_(generator)
    for value in generator.state_dict().values():
        assert torch.equal(value, value.half().float())
    assert stored_bytes(generator) == 2 * sum(p.numel() for p in generator.parameters())


def test_a_gan_learns_two_greys() -> None:
    config = GanConfig(
        steps=150, latent_dim=4, generator_width=8, discriminator_width=8, generator_lr=2e-3, discriminator_lr=4e-3
    )
    generator = train_gan(real_greys(), 2, config, (0,), PhaseContext(SingleProcess()))
    quality = measure_quality(generator, Judge(), 0, real_greys(), (0,), SingleProcess())
    assert quality.label_fidelity > 0.95


def test_a_loss_that_is_not_finite_stops_before_the_update() -> None:
    config = GanConfig(steps=5, latent_dim=4, generator_width=8, discriminator_width=8)
    object.__setattr__(config, "generator_lr", 1e38)  # which no flag can have
    with pytest.raises(NonFiniteError, match=r"step \d: .* is (nan|inf|-inf) on worker 0"):
        train_gan(real_greys(), 2, config, (0,), PhaseContext(SingleProcess()))
