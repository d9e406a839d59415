import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, Subset, random_split

from mygo.data import sources
from mygo.data.examples import Examples
from mygo.data.images import as_picture, as_pixels, fitted
from mygo.data.sources import Source, read_source
from mygo.errors import InputError

COLOURS = {"robin": (200, 40, 30), "sparrow": (120, 90, 60), "wren": (90, 60, 20)}


def paint(path: Path, colour: int | tuple[int, int, int], size: tuple[int, int] = (16, 12), **options: Any) -> Path:
    """Save an image of one colour, ``size`` across and down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size, colour).save(path, **options)
    return path


def class_folders(folder: Path, count: int = 10, suffix: str = ".png") -> Path:
    for name, (red, green, blue) in COLOURS.items():
        for number in range(count):
            paint(folder / name / f"{number:02}{suffix}", (red, green, blue + number))
    return folder


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Three classes of ten images, 16 across and 12 down, whose blue tells which image it is."""
    return class_folders(tmp_path / "birds")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, for modules to be imported from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def read(path: Path | str, image_shape: tuple[int, int, int] | None = None, **options: Any) -> Source:
    return read_source(str(path), image_shape, **options)


def refusal(path: Path | str, image_shape: tuple[int, int, int] | None = None, **options: Any) -> str:
    """Return the one sentence with which a source is refused."""
    with pytest.raises(InputError) as raised:
        read(path, image_shape, **options)
    text = str(raised.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def pictures(part: Examples) -> list[bytes]:
    return [image.numpy().tobytes() for image in part.inputs]


# -- folders ----------------------------------------------------------------------------------------------------------


def test_a_folder_of_class_folders_becomes_a_data_set(birds: Path) -> None:
    source = read(birds)
    dataset = source.dataset
    assert dataset.name == "birds"
    assert dataset.class_names == ("robin", "sparrow", "wren")
    assert dataset.input_shape == (3, 12, 16)
    assert dataset.train.labels.tolist() == [0] * 9 + [1] * 9 + [2] * 9
    assert dataset.test.labels.tolist() == [0, 1, 2]
    for image, label in zip(dataset.train.inputs, dataset.train.labels, strict=True):
        red, green, _ = COLOURS[dataset.class_names[label]]
        assert image[:2, 5, 5].tolist() == [red, green]
    assert (source.unreadable, source.notes) == ((), ())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".bmp", ".gif", ".webp", ".tif", ".ppm"])
def test_the_usual_formats_are_read(tmp_path: Path, suffix: str) -> None:
    images = read(class_folders(tmp_path / "birds", suffix=suffix)).dataset.train.inputs
    assert (images[0, :, 6, 8].int() - torch.tensor(COLOURS["robin"])).abs().max() <= 20


def test_what_is_held_out_is_the_same_each_time_and_whatever_other_classes_there_are(birds: Path) -> None:
    whole = read(birds, held_out=0.3).dataset
    assert len(whole.test) == 9
    assert len(set(pictures(whole.train) + pictures(whole.test))) == 30
    again = read(birds, held_out=0.3).dataset
    assert pictures(again.test) == pictures(whole.test)
    for image in (birds / "robin").iterdir():
        image.unlink()
    (birds / "robin").rmdir()
    assert pictures(read(birds, held_out=0.3).dataset.test) == pictures(whole.test)[3:]


def test_a_folder_with_train_and_test_keeps_its_split(tmp_path: Path) -> None:
    class_folders(tmp_path / "birds" / "train", 12)
    class_folders(tmp_path / "birds" / "test", 2)
    dataset = read(tmp_path / "birds").dataset
    assert (len(dataset.train), len(dataset.test)) == (36, 6)
    assert dataset.test.inputs[:2, 2, 0, 0].tolist() == [30, 31]
    for image in (tmp_path / "birds" / "test" / "wren").iterdir():
        image.unlink()
    assert "Class wren" in (text := refusal(tmp_path / "birds"))
    assert "no readable test image" in text


def test_train_without_test_is_not_taken_for_a_class(tmp_path: Path) -> None:
    class_folders(tmp_path / "birds" / "train")
    assert f"name {tmp_path / 'birds' / 'train'}" in refusal(tmp_path / "birds")


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    for name in ("test", "train"):
        for number in range(10):
            paint(tmp_path / "words" / name / f"{number}.png", number)
    assert read(tmp_path / "words").dataset.class_names == ("test", "train")


def test_hidden_and_other_files_are_passed_over_and_inner_folders_are_not(birds: Path) -> None:
    for name in ("Thumbs.db", ".DS_Store", "._00.png", "notes.txt"):
        (birds / "robin" / name).write_bytes(b"no image")
    for name in (".git", "__MACOSX"):
        (birds / name).mkdir()
        (birds / name / "00.png").write_bytes(b"no image")
    paint(birds / "robin" / "more" / "again" / "10.png", (200, 40, 99))
    (birds / "robin" / "folder.png").mkdir()
    source = read(birds)
    assert source.dataset.class_names == ("robin", "sparrow", "wren")
    assert len(source.dataset.train) + len(source.dataset.test) == 31
    assert source.unreadable == ()


def test_a_folder_that_may_not_be_read_is_named(birds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(folder: str) -> None:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr("os.scandir", forbidden)
    assert "PermissionError: Permission denied" in refusal(birds)


def test_unreadable_images_are_listed_with_the_reason(birds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    content = (birds / "robin" / "00.png").read_bytes()
    (birds / "robin" / "cut.png").write_bytes(content[: len(content) // 2])
    (birds / "sparrow" / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    paint(birds / "wren" / "warned.png", 7, (40, 30))
    paint(birds / "wren" / "bomb.png", 7, (400, 300))
    for number in range(10, 20):
        paint(birds / "wren" / f"{number}.png", (90, 60, number))
    source = read(birds)
    assert len(source.dataset.train) + len(source.dataset.test) == 40
    cut, photo, bomb, warned = source.unreadable
    assert cut.startswith(f"{birds / 'robin' / 'cut.png'}: ")
    assert "not a picture of a format that is known" in photo
    assert "DecompressionBombError" in bomb
    assert "DecompressionBombWarning" in warned


def test_too_many_unreadable_images_are_refused(birds: Path) -> None:
    for number in range(4):
        (birds / "robin" / f"x{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert f"4 of 34 images in {birds} cannot be read, the first being {birds / 'robin' / 'x0.png'}: " in refusal(birds)
    (birds / "robin" / "x0.png").unlink()
    assert len(read(birds).unreadable) == 3


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_a_damaged_image_is_read_or_listed(birds: Path, data: st.DataObject) -> None:
    suffix = data.draw(st.sampled_from([".png", ".jpg", ".gif", ".webp", ".tif", ".bmp", ".avif"]))
    whole = paint(birds.parent / f"whole{suffix}", COLOURS["robin"]).read_bytes()
    content = bytearray(whole[: data.draw(st.integers(0, len(whole)))] or b"?")
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for old in (birds / "robin").glob("damaged*"):
        old.unlink()
    (birds / "robin" / f"damaged{suffix}").write_bytes(content)
    source = read(birds, (3, 12, 16))
    assert len(source.dataset.train) + len(source.dataset.test) + len(source.unreadable) == 31


def test_postscript_that_pretends_to_be_a_picture_is_not_run(birds: Path) -> None:
    (birds / "robin" / "x.png").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    )
    assert "format" in read(birds).unreadable[0]


def test_a_class_of_few_images_is_named(birds: Path) -> None:
    (birds / "wren" / "00.png").unlink()
    assert f"Class wren in {birds} has 9 readable training images, fewer than 10" in refusal(birds)
    assert len(read(birds, least=9).dataset.train) == 26
    (birds / "owl").mkdir()
    assert "Class owl" in refusal(birds, least=9)


def test_a_class_that_is_known_is_refused_before_images_are_read(birds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "read_part", pytest.fail)
    text = refusal(birds, known=("owl", "sparrow"))
    assert "class sparrow" in text
    assert "--update" in text


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    assert "is not there: name a folder" in refusal(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("birds")
    assert "is not what images can be read from: name a folder" in refusal(tmp_path / "notes.txt")
    assert "is not what images" in refusal("/dev/null")
    assert "cannot be read" in refusal("x" * 5000)
    paint(tmp_path / "flat" / "0.png", 1)
    assert "has no class folders" in refusal(tmp_path / "flat")


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_a_new_life_takes_the_most_common_size(birds: Path) -> None:
    for number in range(4):
        paint(birds / "robin" / f"tall{number}.png", COLOURS["robin"], (24, 32))
    source = read(birds)
    assert source.dataset.input_shape == (3, 12, 16)
    assert source.notes == (
        "4 of 34 images were resized to 16 pixels across and 12 down.",
        "4 of them had other proportions and were stretched or squeezed.",
    )


@pytest.mark.parametrize(
    ("size", "learned"), [((28, 28), (28, 28)), ((30, 5), (8, 32)), ((400, 300), (24, 32)), ((3, 999), (32, 8))]
)
def test_a_new_lifes_images_are_of_a_size_that_networks_take(
    tmp_path: Path, size: tuple[int, int], learned: tuple[int, int]
) -> None:
    for number in range(2):
        paint(tmp_path / "dots" / "dot" / f"{number}.png", number, size)
    assert read(tmp_path / "dots", least=2).dataset.input_shape == (1, *learned)


@given(st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)))
def test_sizes_are_limited_and_stay_once_they_fit(size: tuple[int, int]) -> None:
    learned = fitted(size)
    assert all(8 <= side <= 32 and side % 4 == 0 for side in learned)
    assert fitted(learned) == learned
    assert (learned[0] - learned[1]) * (size[0] - size[1]) >= 0, "the longer side stays the longer"


def test_images_get_the_shape_of_the_life(birds: Path) -> None:
    source = read(birds, (3, 8, 8))
    assert source.dataset.train.inputs.shape == (27, 3, 8, 8)
    assert "30 of 30 images were resized to 8 pixels across and 8 down." in source.notes


def test_resizing_is_that_of_torchvision() -> None:
    from mygo.data.torchvision_shim import torchvision

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 40, 3), dtype=np.uint8))
    resized = torchvision.transforms.Resize((8, 12))(noise)
    assert np.array_equal(as_pixels(noise, (8, 12)), np.asarray(resized).transpose(2, 0, 1))


def test_grey_is_what_looks_grey(tmp_path: Path) -> None:
    for number in range(5):
        paint(tmp_path / "dots" / "dot" / f"{number}.png", (number, number, number))
        paint(tmp_path / "dots" / "dot" / f"{number}.gif", number)
        paint(tmp_path / "dots" / "dot" / f"{number}.jpg", (number, number, number))
    assert read(tmp_path / "dots").dataset.input_shape == (1, 12, 16)
    source = read(tmp_path / "dots", (3, 12, 16))
    assert source.dataset.input_shape == (3, 12, 16)
    assert source.notes == ("15 of 15 images are grey and got 3 equal channels.",)
    assert (source.dataset.train.inputs == source.dataset.train.inputs[:, :1]).all()


def test_a_grey_life_takes_no_colours(birds: Path) -> None:
    text = refusal(birds, (1, 8, 8))
    assert f"30 images in {birds} have colours, the first being {birds / 'robin' / '00.png'}" in text
    assert "convert them to grey" in text


def test_one_colourful_image_makes_a_new_life_see_colours(tmp_path: Path) -> None:
    for number in range(10):
        paint(tmp_path / "dots" / "dot" / f"{number}.png", number)
    paint(tmp_path / "dots" / "dot" / "red.png", (255, 0, 0))
    dataset = read(tmp_path / "dots").dataset
    assert dataset.input_shape == (3, 12, 16)
    assert len(set(pictures(dataset.train) + pictures(dataset.test))) == 11


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    photograph = Image.new("RGB", (16, 12), "blue")
    photograph.paste("red", (0, 0, 8, 12))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    for number in range(2):
        (tmp_path / "photos" / "phone").mkdir(parents=True, exist_ok=True)
        photograph.save(tmp_path / "photos" / "phone" / f"{number}.png", exif=exif)
    image = read(tmp_path / "photos", least=2).dataset.train.inputs[0]
    assert image.shape == (3, 16, 12)
    assert image[:, 0, 5].tolist() == [255, 0, 0]
    assert image[:, 15, 5].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("mode", "colour", "pixel"),
    [
        ("1", 1, [255]),
        ("LA", (7, 0), [7]),
        ("P", (1, 2, 3), [1, 2, 3]),
        ("RGBA", (1, 2, 3, 0), [1, 2, 3]),
        ("CMYK", (0, 255, 255, 0), [255, 0, 0]),
        ("I;16", 257 * 9, [9]),
        ("I", 257 * 9, [9]),
    ],
)
def test_every_mode_becomes_grey_or_colours(mode: str, colour: int | tuple[int, ...], pixel: list[int]) -> None:
    assert as_pixels(Image.new(mode, (4, 4), colour), (8, 8))[:, 0, 0].tolist() == pixel


@pytest.mark.parametrize(("mode", "colour"), [("F", 0.5), ("I", 70_000), ("I", -1)])
def test_pixels_without_a_known_range_are_refused(mode: str, colour: float) -> None:
    with pytest.raises(ValueError, match="save it with 8 bits"):
        as_pixels(Image.new(mode, (4, 4), colour), (8, 8))


# -- arrays -----------------------------------------------------------------------------------------------------------

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 8, 12), dtype=np.uint8)
LABELS = np.arange(20) % 2


def save(path: Path, **arrays: npt.NDArray[Any]) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_arrays_are_read_as_they_are(tmp_path: Path) -> None:
    dataset = read(save(tmp_path / "noise.npz", images=IMAGES, labels=LABELS + 9)).dataset
    assert dataset.name == "noise"
    assert dataset.class_names == ("10", "9"), "in the order of text"
    assert dataset.input_shape == (1, 8, 12)
    assert sorted(pictures(dataset.train) + pictures(dataset.test)) == sorted(image.tobytes() for image in IMAGES)
    for image, label in zip(dataset.train.inputs, dataset.train.labels, strict=True):
        (row,) = np.flatnonzero((image.numpy() == IMAGES).all(axis=(1, 2)))
        assert dataset.class_names[label] == str(LABELS[row] + 9)


def test_arrays_may_have_colours_names_and_test_images(tmp_path: Path) -> None:
    coloured = np.stack([IMAGES, IMAGES // 2, IMAGES // 3], axis=3)
    names = np.array(["zebra", "ape", "unseen"])
    path = save(
        tmp_path / "zoo.npz",
        images=coloured,
        labels=LABELS.astype(np.uint8),
        class_names=names,
        test_images=IMAGES[:3],
        test_labels=LABELS[:3],
    )
    dataset = read(path).dataset
    assert dataset.class_names == ("ape", "zebra")
    assert dataset.input_shape == (3, 8, 12)
    assert dataset.train.labels.tolist() == [0] * 10 + [1] * 10
    assert np.array_equal(dataset.train.inputs[0].permute(1, 2, 0), coloured[1])
    assert dataset.test.labels.tolist() == [0, 1, 1]
    assert "class zebra" in refusal(path, known=["zebra"])


def test_images_and_labels_may_lie_side_by_side(tmp_path: Path) -> None:
    np.save(tmp_path / "noise.npy", IMAGES[..., None])
    assert "noise-labels.npy is not there" in refusal(tmp_path / "noise.npy")
    np.save(tmp_path / "noise-labels.npy", LABELS)
    dataset = read(tmp_path / "noise.npy").dataset
    assert dataset.input_shape == (1, 8, 12)
    assert len(dataset.train) == 18


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"labels": LABELS[:19]}, "20 images but 19 labels"),
        ({"labels": LABELS.astype(float)}, r"labels must be integers \[N\], not float64"),
        ({"labels": LABELS > 0}, r"labels must be integers \[N\], not bool"),
        ({"labels": LABELS[:, None]}, r"not int64 \[20, 1\]"),
        ({"images": IMAGES.astype(float)}, r"images must be uint8 .* not float64"),
        ({"images": IMAGES[0]}, r"images must be uint8 .* \[8, 12\]"),
        ({"images": IMAGES[:, None]}, r"images must be uint8 .* \[20, 1, 8, 12\]"),
        ({"images": IMAGES[:, :0]}, r"images must be uint8 .* \[20, 0, 12\]"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "holds no images"),
        ({"images": IMAGES.astype(object)}, "cannot be read .*pickle"),
        ({"test_images": IMAGES}, "both test_images and test_labels"),
        ({"class_names": np.array(["ape"])}, "the label 1 but 1 class names"),
        ({"class_names": np.array(["ape", "ape"])}, "two classes ape"),
        ({"class_names": np.array([1, 2])}, "class_names must be an array of text.*dtype=str"),
        (
            {"class_names": np.array(["ape", "owl"], object)},
            r"its class_names are .* save class_names as text \(dtype=str",
        ),
        ({"labels": LABELS.astype(object)}, r"save labels as numbers \(dtype=int"),
        ({"class_names": np.array(["caf\u00e9", "cafe\u0301"])}, "two classes caf\u00e9"),
        ({"labels": LABELS - 1, "class_names": np.array(["ape", "owl"])}, "the label -1"),
        ({"test_images": IMAGES, "test_labels": LABELS + 1}, "Class 0 .* has no readable test image"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, npt.NDArray[Any]], complaint: str
) -> None:
    path = save(tmp_path / "noise.npz", **{"images": IMAGES, "labels": LABELS, **change})
    with pytest.raises(InputError, match=complaint):
        read(path)


def test_an_array_of_objects_beside_another_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "noise.npy", IMAGES)
    np.save(tmp_path / "noise-labels.npy", LABELS.astype(object))
    text = refusal(tmp_path / "noise.npy")
    assert f"{tmp_path / 'noise-labels.npy'} cannot be read" in text
    assert "save labels as numbers (dtype=int)" in text


def test_names_are_composed_however_they_are_spelt(tmp_path: Path, squares: Callable[..., str]) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    names = np.array([apart, "tea"])
    assert read(save(tmp_path / "drinks.npz", images=IMAGES, labels=LABELS, class_names=names)).dataset.class_names == (
        composed,
        "tea",
    )
    assert read(squares(grey, classes=[apart, "tea"])).dataset.class_names == (composed, "tea")
    mixed = squares(grey, label=lambda i: (composed, apart)[i % 2])
    assert read(mixed).dataset.class_names == (composed,)
    assert f"class {composed} already" in refusal(mixed, (1, 8, 8), known=[composed])


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    assert "both images and labels" in refusal(save(tmp_path / "noise.npz", labels=LABELS))


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"garbage", lambda c: c[::-1]])
@pytest.mark.parametrize("name", ["noise.npz", "noise.npy", "noise-labels.npy"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    save(tmp_path / "noise.npz", images=IMAGES, labels=LABELS)
    np.save(tmp_path / "noise.npy", IMAGES)
    np.save(tmp_path / "noise-labels.npy", LABELS)
    path = tmp_path / name
    path.write_bytes(damage(path.read_bytes()))
    text = refusal(tmp_path / name.replace("-labels", ""))
    assert f"{path} cannot be read" in text


# -- data sets --------------------------------------------------------------------------------------------------------


class Squares(Dataset[Any]):
    """Twenty squares of two classes, in whatever form ``made`` gives them."""

    def __init__(self, made: Callable[[int], object], label: Callable[[int], object] = lambda i: i % 2) -> None:
        self.made = made
        self.label = label

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> tuple[object, object]:
        return self.made(index), self.label(index)


@pytest.fixture
def squares(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Names a source that returns the `Squares` that it is told to."""

    def source(made: Callable[[int], object], classes: object = None, **options: Any) -> str:
        dataset = Squares(made, **options)
        if classes is not None:
            dataset.classes = classes  # type: ignore[attr-defined]
        monkeypatch.setattr(sys.modules[__name__], "returned", lambda: dataset, raising=False)
        monkeypatch.setitem(sys.modules, "squares_of_a_test", sys.modules[__name__])
        return "squares_of_a_test:returned"

    return source


def grey(index: int) -> npt.NDArray[np.uint8]:
    return np.full((8, 8), 10 * index, np.uint8)


@pytest.mark.parametrize(
    "made",
    [
        lambda i: Image.fromarray(grey(i)),
        grey,
        lambda i: grey(i)[..., None],
        lambda i: grey(i)[..., None].repeat(3, axis=2),
        lambda i: torch.from_numpy(grey(i)),
        lambda i: torch.from_numpy(grey(i))[None],
        lambda i: torch.from_numpy(grey(i))[None].repeat(3, 1, 1).float() / 255,
        lambda i: torch.from_numpy(grey(i))[None].double() / 255,
    ],
)
def test_a_data_set_may_return_images_in_many_forms(squares: Callable[..., str], made: Callable[[int], object]) -> None:
    dataset = read(squares(made)).dataset
    assert dataset.name == "returned"
    assert dataset.class_names == ("0", "1")
    assert dataset.input_shape == (1, 8, 8)
    whole = Examples.concatenate([dataset.train, dataset.test])
    assert sorted(whole.inputs[whole.labels == 0][:, 0, 0, 0].tolist()) == list(range(0, 200, 20))


@pytest.mark.parametrize("label", [lambda i: i % 2, lambda i: torch.tensor(i % 2), lambda i: np.int32(i % 2)])
def test_a_data_sets_classes_name_its_labels(squares: Callable[..., str], label: Callable[[int], object]) -> None:
    source = squares(grey, classes=["zebra", "ape"], label=label)
    dataset = read(source).dataset
    assert dataset.class_names == ("ape", "zebra")
    assert dataset.train.inputs[dataset.train.labels == 1].max() == 180, "the even ones"
    assert "class ape" in refusal(source, (1, 8, 8), known=["ape"])


def test_labels_may_be_names(squares: Callable[..., str]) -> None:
    dataset = read(squares(grey, label=lambda i: "even" if i % 2 == 0 else "odd")).dataset
    assert dataset.class_names == ("even", "odd")


def test_what_is_made_of_data_sets_has_their_class_names() -> None:
    whole = Squares(grey)
    whole.classes = ["zebra", "ape"]  # type: ignore[attr-defined]
    even = Subset(whole, range(0, 20, 2))
    for wrapped in (even, Subset(even, range(10)), ConcatDataset([even, whole]), random_split(whole, [0.5, 0.5])[0]):
        dataset = read_source(wrapped, None, least=1).dataset
        assert set(dataset.class_names) <= {"ape", "zebra"}
        assert "zebra" in dataset.class_names
    assert read_source(Subset(Squares(grey), range(20)), None, least=1).dataset.class_names == ("0", "1")
    own = Subset(whole, range(20))
    own.classes = ["first", "second"]  # type: ignore[attr-defined]
    assert read_source(own, None, least=1).dataset.class_names == ("first", "second")
    within_itself = Squares(grey)
    within_itself.dataset = within_itself  # type: ignore[attr-defined]
    assert read_source(within_itself, None, least=1).dataset.class_names == ("0", "1")
    for other in (["owl", "ape"], None):
        another = Squares(grey)
        another.classes = other  # type: ignore[attr-defined]
        with pytest.raises(InputError, match="ConcatDataset joins data sets with different classes"):
            read_source(ConcatDataset([whole, another]), None)


def test_a_path_is_a_source_as_its_text_is(birds: Path) -> None:
    class Named(os.PathLike[str]):
        def __fspath__(self) -> str:
            return str(birds)

    for source in (birds, Named()):
        assert pictures(read_source(source, None).dataset.train) == pictures(read(birds).dataset.train)
    with pytest.raises(InputError, match="nothing is not there: name a folder"):
        read_source(birds / "nothing", None)
    with pytest.raises(InputError, match="int is not a data set of known length"):
        read_source(3, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "options", "complaint"),
    [
        (lambda i: torch.randn(3, 8, 8), {}, "ValueError: its values are not from 0 to 1"),
        (lambda i: torch.full((1, 8, 8), torch.nan), {}, "ValueError: its values are not from 0 to 1"),
        (lambda i: np.zeros((8, 8)), {}, "TypeError: it is of type float64, not uint8"),
        (lambda i: torch.zeros(8, 8, dtype=torch.int64), {}, "TypeError: it is of type int64, not uint8"),
        (lambda i: "x.png", {}, "holds texts, but the life sees images"),
        (lambda i: b"x.png", {}, "TypeError: it is of type bytes"),
        (lambda i: np.zeros((3, 8, 8), np.uint8), {}, r"ValueError: it has the shape \[3, 8, 8\]"),
        (lambda i: torch.zeros(0, 8, 8), {}, "ValueError"),
        (lambda i: [][i], {}, "20 of 20 images .* item 0: IndexError"),
        (grey, {"label": float}, "the label 0.0: labels must be integers"),
        (grey, {"classes": ["ape"]}, "the label 1 but 1 class names"),
        (grey, {"classes": ["ape", "ape"]}, "two classes ape"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(
    squares: Callable[..., str], made: Callable[[int], object], options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        read(squares(made, **options))


MODULE = """
from helper_of_a_module import Few

not_a_function = 3

class Nested:
    few = Few

def few():
    return Few()

def broken():
    raise RuntimeError("no disk\\nhere")

def single():
    return [1, 2, 3]

def endless():
    from torch.utils.data import IterableDataset
    return IterableDataset()
"""

HELPER = """
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, random_split

class Few(Dataset):
    classes = ("dot",)

    def __len__(self):
        return 12

    def __getitem__(self, index):
        import late_helper_of_a_module
        return torch.full((3, 8, 8), index, dtype=torch.uint8), 0
"""


def test_functions_are_imported_from_the_current_folder(here: Path) -> None:
    (here / "module_of_a_test.py").write_text(MODULE)
    (here / "helper_of_a_module.py").write_text(HELPER)
    (here / "late_helper_of_a_module.py").write_text("")
    (here / "broken_module_of_a_test.py").write_text("import nothing_of_that_name")
    (here / "quitting_module_of_a_test.py").write_text("raise SystemExit(3)")
    path = list(sys.path)
    for function in ("few", "Nested.few"):
        dataset = read(f"module_of_a_test:{function}").dataset
        assert dataset.class_names == ("dot",)
        assert len(dataset.train) == 11
    assert "cannot be imported (ModuleNotFoundError: No module named 'absent_mod" in refusal("absent_module:few")
    assert "cannot be imported (ModuleNotFoundError: No module" in refusal("broken_module_of_a_test:few")
    assert "cannot be imported (SystemExit: 3)" in refusal("quitting_module_of_a_test:few")
    assert "cannot be imported (AttributeError: " in refusal("module_of_a_test:fewer")
    assert "is not a function" in refusal("module_of_a_test:not_a_function")
    assert "(RuntimeError: no disk here)" in refusal("module_of_a_test:broken")
    assert "is not an (image, label) pair" in refusal("module_of_a_test:single")
    assert "does not return a data set (TypeError: " in refusal("module_of_a_test:endless")
    assert sys.path == path


def test_reading_files_imports_nothing_from_the_current_folder(birds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mygo.data.readers.pairs.importable_here", pytest.fail)
    read(birds)
    read(save(birds / "noise.npz", images=IMAGES, labels=LABELS))


def test_as_picture_leaves_pil_images_alone() -> None:
    picture = Image.new("RGB", (3, 3))
    assert as_picture(picture) is picture
