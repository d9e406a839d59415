"""A life whose network and whose memories are made of one's own modules.

python examples/own_networks.py

Here they are made known by names, which whoever opens a life of them has to do again. A command needs nothing but the
folder of this file on PYTHONPATH to use them, and so do lives that keep these names, as --backbone
own_networks:two_layers and --memory.gan.generator own_networks:PlainGenerator.
"""

import torch
from torch import Tensor, nn

import mygo
from mygo import Generator


class PlainGenerator(Generator):
    """Maps noise and label to an image with two linear layers."""

    def __init__(self, num_classes: int, image_shape: tuple[int, int, int], *, latent_dim: int, width: int) -> None:
        super().__init__(num_classes, image_shape, latent_dim=latent_dim, width=width)
        self.embed = nn.Embedding(num_classes, latent_dim)
        pixels = torch.Size(image_shape).numel()
        self.layers = nn.Sequential(nn.Linear(2 * latent_dim, 8 * width), nn.ReLU(), nn.Linear(8 * width, pixels))

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Return images [N, C, H, W] for ``noise`` [N, latent_dim] and ``labels`` [N]."""
        code = torch.cat([noise, self.embed(labels)], dim=1)
        return torch.tanh(self.layers(code)).unflatten(1, self.image_shape)


def two_layers(image_shape: tuple[int, int, int]) -> nn.Module:
    """Return a network from images [N, C, H, W] to features [N, 200]."""
    pixels = torch.Size(image_shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU())


def main() -> None:
    """Live through digits in five tasks of two classes."""
    torch.set_num_threads(1)  # more are slower on images of 8×8
    mygo.use_backbone("two-layers", two_layers)
    mygo.use_generator("plain", PlainGenerator)
    settings = {"backbone": "two-layers", "memory.gan.generator": "plain", "memory.gan.generator_width": 64}
    config = mygo.ExperimentConfig(strategies=("mygo",), life=mygo.change(mygo.preset("digits"), settings))
    results = mygo.Experiment(config).run()["strategies"]["mygo"]
    print(f"Right among all ten, of images that it never saw: {results['average_accuracy']['class_il']:.1%}")


if __name__ == "__main__":
    main()
