from pathlib import Path

import pytest
import torch
from PIL import Image

from mygo.adapting import frequencies
from mygo.adapting.front import FrontEncoder
from mygo.encoders.efficientnet_lite import HEAD
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.registry import encoder_named, refuse_encoder_in
from mygo.errors import InputError
from mygo.memory.gaussian import to_length
from mygo.networks.neocortex import NeocortexNet


def test_front_and_late_blocks_together_are_the_whole_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frequencies, "HIGHEST", 4)  # all that maps of 3 × 3 pixels have
    whole, front = encoder_named("efficientnet-lite0@96"), encoder_named("front:efficientnet-lite0@96")
    assert isinstance(whole, FrozenEncoder)
    assert isinstance(front, FrontEncoder)
    shades = torch.randint(256, (4, 6, 6, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8).numpy()
    batch = front.collate([front.preprocess(Image.fromarray(each).resize((120, 110))) for each in shades])[:1]
    vectors, wanted = front.encode(batch), whole.encode(batch)
    assert vectors.shape == (1, front.feature_dim) == (1, HEAD + 192 * 9)
    torch.testing.assert_close(vectors[:, :HEAD], to_length(wanted), rtol=1e-3, atol=1e-3)
    maps = front.network.front(*front.preprocessing.inputs(batch))  # type: ignore[operator, union-attr]
    monkeypatch.setattr(frequencies, "AMPLITUDE", float(maps.norm()) / 192**0.5 / 3)  # which a life does not see
    net = NeocortexNet((front.feature_dim,), "late:efficientnet-lite0@96")
    net.features[-1].load_state_dict(front.late_weights)
    with torch.no_grad():
        features = net.features(vectors)
    assert features.shape == (1, net.feature_dim) == (1, 2 * HEAD)
    torch.testing.assert_close(features[:, :HEAD].sqrt(), wanted, rtol=1e-3, atol=1e-3)


def test_a_front_is_another_encoder_than_the_whole() -> None:
    whole, front = encoder_named("efficientnet-lite0@64"), encoder_named("front:efficientnet-lite0@64")
    assert front.name == "front:efficientnet-lite0@64"
    assert front.feature_dim == HEAD + 192 * 4
    assert front.checksum != whole.checksum
    assert front.checksum == encoder_named("front:efficientnet-lite0@64").checksum


@pytest.mark.parametrize("name", ["front:resnet18", "front:timm/resnet18", "front:minilm", "front:efficientnet-lite9"])
def test_other_encoders_have_no_front(name: str) -> None:
    with pytest.raises(InputError, match="--adapt late trains late blocks of efficientnet-lite0, "):
        encoder_named(name)


def test_late_blocks_see_the_vectors_of_their_front_alone() -> None:
    with pytest.raises(InputError, match="sees vectors of 2432 values, not 12"):
        NeocortexNet((12,), "late:efficientnet-lite0@96")
    with pytest.raises(InputError, match="sees vectors, not images"):
        NeocortexNet((3, 32, 32), "late:efficientnet-lite0@32")


def test_a_front_lies_in_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refuse_encoder_in(tmp_path, "front:efficientnet-lite0")
