"""What lives know of their limits: fitted after each sleep, kept with them, and fitted at need where it was not."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from mygo.config.learner import LifeConfig
from mygo.errors import InputError
from mygo.files import MANIFEST, read_json
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.learner.export import export_onnx, export_program
from mygo.learner.limits import detector_of, fit_detector
from mygo.learner.saved import SavedLife
from mygo.learner.storage import write_manifest
from mygo.unknown.rates import RATES

Write = Callable[..., str]
CLASSES = ("ash", "birch", "cedar", "date", "elm", "fir", "gum")
CPU = torch.device("cpu")


@pytest.fixture
def life(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> Life:
    """A life of vectors that learned seven classes in two lessons."""
    config = replace(tiny_on_vectors, sleep=replace(tiny_on_vectors.sleep, steps=100))
    for number, classes in enumerate((CLASSES[:5], CLASSES[5:])):
        data = write_vectors(tmp_path / f"{number}.npz", classes, 40)
        Lesson(tmp_path / "life", data=data, config=config).run()
    return Life.open(tmp_path / "life")


def vectors(write_vectors: Write, folder: Path, *classes: str) -> Tensor:
    """Return vectors of ``classes`` that no lesson had."""
    return torch.from_numpy(np.load(write_vectors(folder / "others.npz", classes, 100, seed=1))["features"])


def without_detector(folder: Path) -> Path:
    """Let the life in ``folder`` be as an earlier version saved it."""
    manifest = read_json(folder / MANIFEST)
    del manifest["checksum"], manifest["files"]["detector"]
    write_manifest(folder, manifest)
    return folder


def test_a_life_finds_inputs_of_a_class_that_it_never_learned(life: Life, write_vectors: Write, tmp_path: Path) -> None:
    known = life.predict(vectors(write_vectors, tmp_path, *CLASSES).numpy())
    others = life.predict(vectors(write_vectors, tmp_path, "hazel", "iris").numpy())
    assert known.out_of_distribution is not None
    assert others.out_of_distribution is not None
    assert float((known.out_of_distribution[:, None] < others.out_of_distribution).double().mean()) > 0.95
    assert float(known.unknown(0.05).double().mean()) < 0.15
    assert float(others.unknown(0.05).double().mean()) > 0.6


def test_probabilities_are_those_of_logits_over_the_temperature(
    life: Life, write_vectors: Write, tmp_path: Path
) -> None:
    seen = vectors(write_vectors, tmp_path, *CLASSES)
    found = life.predict(seen.numpy())
    seen = seen * (seen.shape[1] ** 0.5 / seen.norm(dim=1, keepdim=True))
    with torch.no_grad():
        expected = (life.neocortex(seen) / life.temperature).softmax(1)
    assert life.temperature != 1
    torch.testing.assert_close(found.probabilities, expected)
    of_lesson = life.predict(seen.numpy(), life.lessons[0].name)
    torch.testing.assert_close(of_lesson.probabilities, expected[:, :5] / expected[:, :5].sum(1, keepdim=True))
    torch.testing.assert_close(of_lesson.out_of_distribution, found.out_of_distribution)


def test_it_is_read_back_to_the_bit_and_a_lesson_begun_takes_it_back(
    life: Life, write_vectors: Write, tmp_path: Path
) -> None:
    assert life.folder is not None
    again, fitted = Life.open(life.folder).detector, fit_detector(life, CPU)
    for name, tensor in life.detector.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
        assert torch.equal(fitted.state_dict()[name], tensor), "it is a function of memories and network"
    life.learn(write_vectors(tmp_path / "new.npz", ("hazel",)))
    assert life.detector.relative.weights.shape[0] == 8
    life.forget("hazel")
    for name, tensor in life.detector.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), "what was forgotten leaves no trace"


def test_a_life_saved_without_is_as_sure_as_it_was_and_its_score_is_fitted_at_need(
    life: Life, write_vectors: Write, tmp_path: Path
) -> None:
    seen = vectors(write_vectors, tmp_path, *CLASSES).numpy()
    expected = life.predict(seen)
    old = Life.open(without_detector(Path(shutil.copytree(life.folder, tmp_path / "old"))))
    assert old.detector is None
    found = old.predict(seen)
    assert torch.equal(found.out_of_distribution, expected.out_of_distribution)
    assert torch.equal(found.unknown(0.05), expected.unknown(0.05))
    assert found.names == expected.names
    assert old.temperature == 1
    assert not torch.allclose(found.probabilities, expected.probabilities)


def test_a_life_of_one_class_cannot_tell(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> None:
    life = Life("mygo", tiny_on_vectors, (12,))
    life.learn(write_vectors(tmp_path / "one.npz", ("ash",)))
    found = life.predict(torch.ones(2, 12).numpy())
    assert (life.detector, found.out_of_distribution) == (None, None)
    with pytest.raises(InputError, match="cannot tell what it does not know: that takes memories of two classes"):
        found.unknown(0.05)


def test_damage_to_it_is_found(life: Life) -> None:
    file = next(life.folder.glob("detector-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-4])
    (life.folder / "manifest.previous.json").unlink()
    for kind in (Life, SavedLife):
        with pytest.raises(InputError, match="is damaged: its content is not what its name says"):
            kind.open(life.folder)


def test_a_life_over_pixels_knows_the_features_of_its_dreams(tiny_life: LifeConfig, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (2, 8, 8)).astype(np.uint8)
    noisy = images.repeat(10, 0) // 2 + np.random.default_rng(1).integers(0, 127, (20, 8, 8)).astype(np.uint8)
    np.savez(tmp_path / "two.npz", images=noisy, labels=np.repeat(range(2), 10))
    life = Life("mygo", tiny_life, (1, 8, 8))
    life.learn(tmp_path / "two.npz", "first")
    detector = life.detector
    assert detector.feature_dim == life.neocortex.feature_dim
    seen = torch.from_numpy(noisy[:, None])
    found = life.predict(seen)
    features = life.neocortex.features(seen.float() / 127.5 - 1)
    expected = detector(features, life.neocortex.classify(features))
    torch.testing.assert_close(found.out_of_distribution, expected.detach(), rtol=1e-4, atol=1e-4)
    assert detector_of(life) is detector


def test_models_for_other_programs_have_the_score_and_what_it_means(life: Life, tmp_path: Path) -> None:
    seen = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    expected = life.predict(seen.numpy())
    session = onnxruntime.InferenceSession(export_onnx(life, tmp_path / "life.onnx"))
    assert [each.name for each in session.get_outputs()] == ["logits", "out_of_distribution"]
    logits, scores = session.run(None, {"features": seen.numpy()})
    limits = json.loads(session.get_modelmeta().custom_metadata_map["limits"])
    assert list(limits["thresholds"]) == list(map(str, RATES))
    unknown = torch.from_numpy(scores) > limits["thresholds"]["0.05"]
    assert torch.equal(unknown, expected.unknown(0.05))
    probabilities = torch.from_numpy(logits / limits["temperature"]).softmax(1)
    torch.testing.assert_close(probabilities, expected.probabilities, rtol=0, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(scores), expected.out_of_distribution, rtol=0, atol=1e-3)
    extra = {"limits": ""}
    program = torch.export.load(export_program(life, tmp_path / "life.pt2"), extra_files=extra).module()
    assert json.loads(extra["limits"]) == limits
    for found, same in zip(program(seen), (logits, scores), strict=True):
        torch.testing.assert_close(found, torch.from_numpy(same), rtol=0, atol=1e-3)
