import pytest
import torch

from mygo.data.examples import network_input
from mygo.errors import InputError
from mygo.networks.neocortex import BACKBONES, MANY_HEADS, NeocortexNet, answering


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


@pytest.mark.parametrize("backbone", ["linear", "mlp"])
def test_vectors_pass_as_they_are(backbone: str) -> None:
    net = NeocortexNet((12,), backbone)
    net.add_task_head(2)
    net.add_task_head(1)
    vectors = torch.randn(5, 12)
    assert net(network_input(vectors)).shape == (5, 3)
    assert backbone == "mlp" or torch.equal(net.features(vectors), vectors)


@pytest.mark.parametrize("backbone", ["conv", "resnet18"])
def test_what_sees_images_refuses_vectors(backbone: str) -> None:
    with pytest.raises(InputError, match="choose linear or mlp behind an encoder"):
        NeocortexNet((12,), backbone)


@pytest.mark.parametrize("heads", [2, MANY_HEADS])
def test_many_heads_answer_as_one_layer(heads: int) -> None:
    net = NeocortexNet((6,), "linear")
    for size in range(heads):
        net.add_task_head(1 + size % 3)
    inputs = torch.randn(5, 6)
    with torch.no_grad():
        torch.testing.assert_close(answering(net)(inputs), net(inputs))
