import pytest
import torch

from mygo.data.examples import LabelledImages, to_unit_range
from mygo.errors import InputError
from mygo.networks.neocortex import BACKBONES, Encoder, NeocortexNet, behind, split


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_heads_stand_side_by_side_and_examples_apart(backbone: str, shape: tuple[int, int, int]) -> None:
    net = NeocortexNet(shape, backbone)  # type: ignore[arg-type]
    net.add_task_head(2)
    net.add_task_head(3)
    assert net.head_sizes == [2, 3]
    images = torch.rand(4, *shape) * 2 - 1
    logits = net(images)
    assert logits.shape == (4, 5)
    assert torch.allclose(net.classifiers[1](net.features(images)), logits[:, 2:], atol=1e-5)
    assert torch.allclose(net(images[:1]), logits[:1], atol=1e-4)


@pytest.mark.parametrize("backbone", ["conv", "resnet18"])
def test_a_split_network_answers_as_the_whole_one_did(backbone: str) -> None:
    torch.manual_seed(0)
    net = NeocortexNet((1, 28, 28), backbone)  # type: ignore[arg-type]
    net.add_task_head(2)
    images = torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8)
    with torch.no_grad():
        before = net(to_unit_range(images))
    encoder, rest = split(net, images)
    data = encoder.encoded(LabelledImages(images, torch.zeros(40, dtype=torch.int64)))
    assert data.image_shape == rest.image_shape == encoder.map_shape
    assert data.images.amax(dim=(0, 2, 3)).min() == 255, "every channel uses its whole range"
    with torch.no_grad():
        after = rest(to_unit_range(data.images))
    assert torch.allclose(after, before, atol=0.05 * float(before.abs().max())), "up to rounding to 256 levels"
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert all(parameter.requires_grad for parameter in rest.parameters())
    again = behind(encoder, (1, 28, 28), backbone)  # type: ignore[arg-type]
    again.add_task_head(2)
    again.load_state_dict(rest.state_dict())
    with torch.no_grad():
        assert torch.equal(again(to_unit_range(data.images)), after)


def test_a_network_without_a_convolutional_front_cannot_be_split() -> None:
    with pytest.raises(InputError, match="not mlp"):
        Encoder((1, 28, 28), "mlp")
