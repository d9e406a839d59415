import pytest
import torch

from mygo.neocortex import BACKBONES, NeocortexNet


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
