import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mygo.config.learner import LifeConfig
from mygo.data.examples import to_unit_range
from mygo.data.tasks import Task
from mygo.encoders.exported import OnnxModel
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ImagePreprocessing, VectorPreprocessing
from mygo.encoders.registry import ENCODERS, use_encoder
from mygo.errors import InputError, StorageError
from mygo.jobs.life import Life
from mygo.learner.export import export_onnx, export_program, why_not_inside
from mygo.memory.gaussian import to_length

EXPORTS = [export_onnx, export_program]
NAMES = ("four", "seven", "one", "two", "naïve")


def noise(count: int, image_shape: tuple[int, int, int]) -> Tensor:
    rng = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, *image_shape), dtype=torch.uint8, generator=rng)


def grown(config: LifeConfig, image_shape: tuple[int, int, int] = (1, 8, 8)) -> Life:
    """Return a life with random weights and two tasks, of two and of three classes."""
    life = Life("mygo", config, image_shape)
    life.begin(Task(0, (4, 7)))
    life.begin(Task(1, (1, 2, 3)))
    return life


@pytest.fixture(scope="module")
def life(tiny_life: LifeConfig) -> Life:
    return grown(dataclasses.replace(tiny_life, backbone="mlp"))


@torch.no_grad()
def logits(life: Life, images: Tensor) -> Tensor:
    """Return what the life itself answers."""
    answers: Tensor = life.neocortex(to_unit_range(images))
    return answers


def open_onnx(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    ("backbone", "image_shape"),
    [("mlp", (1, 8, 8)), ("conv", (3, 12, 8)), ("resnet18", (3, 8, 8))],
)
def test_what_is_exported_answers_as_the_life_does(
    tiny_life: LifeConfig, tmp_path: Path, backbone: str, image_shape: tuple[int, int, int]
) -> None:
    life = grown(dataclasses.replace(tiny_life, backbone=backbone), image_shape)
    session = open_onnx(export_onnx(life, tmp_path / "life.onnx"))
    program = torch.export.load(export_program(life, tmp_path / "life.pt2")).module()
    for count in (1, 7):
        images = noise(count, image_shape)
        expected = logits(life, images)
        assert expected.shape == (count, 5)
        assert torch.allclose(program(images), expected, rtol=0, atol=1e-6)
        (answers,) = session.run(["logits"], {"images": images.numpy()})
        assert np.abs(answers - expected.numpy()).max() < 1e-4


def test_exporting_changes_nothing_in_the_life(life: Life, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in life.neocortex.state_dict().items()}
    for run in EXPORTS:
        run(life, tmp_path / "life")
    assert life.neocortex.training
    assert all(parameter.requires_grad for parameter in life.neocortex.parameters())
    assert all(torch.equal(value, before[name]) for name, value in life.neocortex.state_dict().items())


def test_the_onnx_file_says_what_goes_in_and_what_comes_out(life: Life, tmp_path: Path) -> None:
    session = open_onnx(export_onnx(life, tmp_path / "life.onnx", NAMES))
    (images,), (answers,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["N", 1, 8, 8])
    assert (answers.name, answers.type, answers.shape) == ("logits", "tensor(float)", ["N", 5])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(NAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["life.onnx"], "weights included"


def test_the_program_carries_the_class_names_too(life: Life, tmp_path: Path) -> None:
    extra = {"class_names": ""}
    torch.export.load(export_program(life, tmp_path / "life.pt2", NAMES), extra_files=extra)
    assert json.loads(extra["class_names"]) == list(NAMES)


@pytest.mark.parametrize("run", EXPORTS)
def test_a_failed_export_leaves_what_was_there(
    life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Path]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator")

    (tmp_path / "old").write_bytes(b"old")
    for name in ("torch.onnx.export", "torch.export.save", "torch.export.export"):
        monkeypatch.setattr(name, fail)
        if (run, name) == (export_program, "torch.onnx.export"):
            continue
        for path in (tmp_path / "old", tmp_path / "new"):
            with pytest.raises(RuntimeError, match="no such operator"):
                run(life, path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


@pytest.mark.parametrize("run", EXPORTS)
def test_a_file_that_cannot_be_written_is_named(life: Life, tmp_path: Path, run: Callable[..., Path]) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"folder cannot be written .*export to another folder") as raised:
        run(life, tmp_path / "folder")
    assert "--resume" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named(life: Life, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"the package {package}, .* pip install 'mygo\[export\]'"):
        export_onnx(life, tmp_path / "life.onnx")


@pytest.mark.parametrize("run", EXPORTS)
def test_class_names_must_be_as_many_as_classes(life: Life, tmp_path: Path, run: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="4 class names were given for 5 classes"):
        run(life, tmp_path / "life", NAMES[:4])


@pytest.mark.parametrize("run", EXPORTS)
def test_a_life_without_classes_is_not_exported(
    tiny_life: LifeConfig, tmp_path: Path, run: Callable[..., Path]
) -> None:
    with pytest.raises(InputError, match="has learned no class"):
        run(Life("mygo", tiny_life, (1, 8, 8)), tmp_path / "life")


# -- behind an encoder ------------------------------------------------------------------------------------------------


def eyes(network: nn.Module | None = None) -> FrozenEncoder:
    """Return an encoder of photos of 12 pixels that uses all that one can: fused layers and square roots."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    preprocessing = ImagePreprocessing(size=12, crop=0.8)
    return FrozenEncoder(
        "eyes", network or layers, preprocessing, fused=None if network else layers, square_roots=network is None
    )


@pytest.fixture
def seeing(monkeypatch: pytest.MonkeyPatch) -> Life:
    """A life with random weights behind `eyes`."""
    monkeypatch.setattr("mygo.encoders.registry.ENCODERS", ENCODERS.copy())
    use_encoder("eyes", eyes)
    life = Life.behind("eyes")
    life.begin(Task(0, (4, 7)))
    life.begin(Task(1, (1, 2, 3)))
    return life


@pytest.fixture
def knowing_vectors(tiny_on_vectors: LifeConfig) -> Life:
    life = Life("mygo", tiny_on_vectors, (12,))
    life.begin(Task(0, (4, 7)))
    life.begin(Task(1, (1, 2, 3)))
    return life


def test_encoder_and_head_are_one_model_for_pixels(seeing: Life, tmp_path: Path) -> None:
    assert seeing.encoder is not None
    session = open_onnx(export_onnx(seeing, tmp_path / "life.onnx", NAMES, seeing.encoder))
    program = torch.export.load(export_program(seeing, tmp_path / "life.pt2", NAMES, seeing.encoder)).module()
    (images,) = session.get_inputs()
    assert (images.name, images.type, images.shape) == ("images", "tensor(uint8)", ["N", 3, 12, 12])
    for count in (1, 7):
        seen = noise(count, (3, 12, 12))
        pictures = [Image.fromarray(each.permute(1, 2, 0).numpy()) for each in seen]
        expected = seeing.predict(pictures).probabilities
        seen = torch.stack([seeing.encoder.preprocess(picture) for picture in pictures])
        (answers,) = session.run(["logits"], {"images": seen.numpy()})
        assert torch.allclose(torch.from_numpy(answers).softmax(1), expected, rtol=0, atol=1e-5)
        assert torch.allclose(program(seen).softmax(1), expected, rtol=0, atol=1e-5)
        vectors = to_length(seeing.encoder.encode(seen))
        with torch.no_grad():
            assert np.abs(answers - seeing.neocortex(vectors).numpy()).max() < 1e-4


def test_a_model_with_its_encoder_says_how_images_are_prepared(seeing: Life, tmp_path: Path) -> None:
    wanted = {"input": "image", "size": 12, "crop": 0.8, "squash": False, "interpolation": "bicubic"}
    session = open_onnx(export_onnx(seeing, tmp_path / "life.onnx", NAMES, seeing.encoder))
    extra = dict.fromkeys(("preprocessing", "encoder", "class_names"), "")
    torch.export.load(export_program(seeing, tmp_path / "life.pt2", NAMES, seeing.encoder), extra_files=extra)
    for metadata in (session.get_modelmeta().custom_metadata_map, extra):
        assert json.loads(metadata["preprocessing"]) == wanted, "mean and deviation are inside"
        assert json.loads(metadata["encoder"]) == {"name": "eyes", "checksum": seeing.encoder_checksum}
        assert json.loads(metadata["class_names"]) == list(NAMES)


def test_a_head_alone_takes_features_of_any_length(knowing_vectors: Life, seeing: Life, tmp_path: Path) -> None:
    for life, dim in ((knowing_vectors, 12), (seeing, 6)):
        session = open_onnx(export_onnx(life, tmp_path / "life.onnx", NAMES))
        program = torch.export.load(export_program(life, tmp_path / "life.pt2", NAMES)).module()
        (features,) = session.get_inputs()
        assert (features.name, features.type, features.shape) == ("features", "tensor(float)", ["N", dim])
        metadata = session.get_modelmeta().custom_metadata_map
        assert ("encoder" in metadata, "preprocessing" in metadata) == (life is seeing, False)
        for count in (1, 7):
            vectors = torch.rand(count, dim, generator=torch.Generator().manual_seed(count)) * 9
            with torch.no_grad():
                expected = life.neocortex(to_length(vectors))
            (answers,) = session.run(["logits"], {"features": vectors.numpy()})
            assert np.abs(answers - expected.numpy()).max() < 1e-4
            assert torch.allclose(program(vectors), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("run", EXPORTS)
def test_what_cannot_be_a_part_of_a_model_is_refused(seeing: Life, tmp_path: Path, run: Callable[..., Path]) -> None:
    path = tmp_path / "eyes.onnx"
    torch.onnx.export(
        nn.Sequential(nn.AvgPool2d(4), nn.Flatten()).eval(),
        (torch.zeros(2, 3, 12, 12),),
        path,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("N", min=1)},),
        verbose=False,
    )
    of_vectors = FrozenEncoder("halves", nn.Linear(4, 2), VectorPreprocessing(size=4))
    for encoder, why in ((eyes(OnnxModel(path)), "ONNX"), (of_vectors, "does not see images")):
        assert why in why_not_inside(encoder)
        with pytest.raises(InputError, match=rf"{why}.*: leave it out"):
            run(seeing, tmp_path / "life", NAMES, encoder)
    assert not (tmp_path / "life").exists()


class Undecided(nn.Module):
    """A network that no trace can follow, since what it does depends on what it sees."""

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N, 3]."""
        return images.mean((2, 3)) if float(images.mean()) > 0 else images.amax((2, 3))


@pytest.mark.parametrize("run", EXPORTS)
def test_an_encoder_that_cannot_be_traced_is_named(seeing: Life, tmp_path: Path, run: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match=r"encoder eyes cannot be exported \(.*: export the head alone, with --head-a"):
        run(seeing, tmp_path / "life", NAMES, eyes(Undecided()))
    assert not (tmp_path / "life").exists()
