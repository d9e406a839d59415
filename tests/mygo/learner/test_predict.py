import numpy as np
import pytest
import torch
from PIL import Image

from mygo.config.learner import LifeConfig
from mygo.data.tasks import Task
from mygo.errors import InputError
from mygo.jobs.life import Life
from mygo.memory.quality import Quality
from mygo.networks.generator import build_generator


def life_of(config: LifeConfig) -> Life:
    """Return a life of two lessons: a and b, then c, d and e."""
    life = Life("mygo", config, (1, 8, 8))
    for index, names in enumerate((("a", "b"), ("c", "d", "e"))):
        life.begin(Task(index, tuple(range(len(names))), names))
        life.keep_memory(index, build_generator(config.memory.gan, len(names), life.image_shape), Quality(0.9, 0.8))
    return life


@pytest.fixture
def life(tiny_life: LifeConfig) -> Life:
    return life_of(tiny_life)


def some_images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_without_a_lesson_all_classes_compete_and_with_one_its_own(life: Life) -> None:
    images = some_images(7)
    everything, second = life.predict(images), life.predict(images, "task 2")
    assert everything.class_names == ("a", "b", "c", "d", "e")
    assert second.class_names == ("c", "d", "e")
    assert torch.allclose(everything.probabilities.sum(1), torch.ones(7))
    of_second = everything.probabilities[:, 2:]
    assert torch.allclose(second.probabilities, of_second / of_second.sum(1, keepdim=True), atol=1e-6)
    assert all(
        everything.probabilities[i, "abcde".index(name)] == everything.confidences[i]
        for i, name in enumerate(everything.names)
    )


def test_no_image_has_no_prediction(life: Life) -> None:
    assert life.predict(some_images(0)).names == []


@pytest.mark.parametrize(
    ("images", "lesson", "complaint"),
    [
        (torch.zeros(2, 1, 8, 8), None, r"sees images uint8 \[N, 1, 8, 8\], not float32 \[2, 1, 8, 8\]"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), None, r"not uint8 \[2, 3, 8, 8\]"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "birds", "no lesson 'birds': choose from 'task 1', 'task 2'"),
    ],
)
def test_what_cannot_be_predicted_is_said(life: Life, images: torch.Tensor, lesson: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        life.predict(images, lesson)
    with pytest.raises(InputError, match="no class yet"):
        Life("mygo", life.config, (1, 8, 8)).predict(some_images(1))


def test_dreams_are_of_the_class_and_the_same_for_the_same_seed(life: Life) -> None:
    dreams = life.dream("d", 5)
    assert (dreams.shape, dreams.dtype) == ((5, 1, 8, 8), torch.uint8)
    assert torch.equal(dreams, life.dream("d", 5))
    assert not torch.equal(dreams, life.dream("d", 5, seed=1))
    assert not torch.equal(dreams, life.dream("e", 5))


def test_what_cannot_be_dreamt_is_said(life: Life) -> None:
    with pytest.raises(InputError, match="no class 'z': choose from a, b, c, d, e"):
        life.dream("z", 1)
    life.memories.clear()
    with pytest.raises(InputError, match="dreams nothing of this class"):
        life.dream("a", 1)


def test_arrays_and_pil_images_are_seen_as_files_are(life: Life) -> None:
    tensor = some_images(5)
    rows = tensor.numpy()
    expected = life.predict(tensor).probabilities
    pictures = [Image.fromarray(row[0]) for row in rows]
    forms = [rows, rows[:, 0], rows.transpose(0, 2, 3, 1), rows[::-1][::-1], pictures, list(rows[:, 0]), list(tensor)]
    for images in forms:
        assert torch.equal(life.predict(images).probabilities, expected)
    assert torch.allclose(life.predict(pictures[3]).probabilities, expected[3:4], atol=1e-6)
    assert life.predict([]).names == []
    large = [picture.resize((16, 24)).convert("RGB") for picture in pictures]
    assert len(life.predict(large).names) == len(life.predict(np.stack([np.asarray(p) for p in large])).names) == 5


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (np.zeros((2, 1, 8, 8)), r"not float64 \[2, 1, 8, 8\]"),
        (np.zeros((8, 8), np.uint8), r"not uint8 \[8, 8\]: put a single image into a list"),
        (np.zeros((8, 9, 3), np.uint8), r"not uint8 \[8, 9, 3\]: put a single image into a list"),
        (np.zeros((3, 9, 9), np.uint8), r"not uint8 \[3, 9, 9\]"),
        (np.zeros((2, 8, 8, 4), np.uint8), r"not uint8 \[2, 8, 8, 4\]"),
        ("photos/a.jpg", "the type str: open files with PIL.Image.open"),
        (7, "the type int"),
        (["a.jpg"], "Image 0 cannot be seen .*type str"),
        ([np.zeros((8, 8))], "Image 0 cannot be seen .*float64, not uint8"),
    ],
)
def test_what_is_no_image_is_refused_with_its_type(life: Life, images: object, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        life.predict(images)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [-1, 0, 2.0, "x", None])
def test_dreams_are_counted_from_one(life: Life, count: object) -> None:
    with pytest.raises(InputError, match="count of dreams must be"):
        life.dream("a", count)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"seed of dreams must be an integer, not 0\.5, a float"):
        life.dream("a", 1, seed=0.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="knows no class 3"):
        life.dream(3, 1)  # type: ignore[arg-type]


def test_names_are_found_however_they_are_spelt(life: Life) -> None:
    life.lessons[1].name, life.lessons[1].classes = "caf\u00e9", ("caf\u00e9", "d", "e")
    assert torch.equal(life.dream("cafe\u0301", 2), life.dream("caf\u00e9", 2))
    assert life.predict(some_images(1), "cafe\u0301").class_names == ("caf\u00e9", "d", "e")
