import dataclasses
import gzip
import struct
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch

from mygo.data import datasets as data
from mygo.data.datasets import DEBIAN_CLASSES, TORCHVISION_CLASSES, load_dataset, load_digits
from mygo.data.examples import Examples, LabelledDataset, to_pixels, to_unit_range, with_validation
from mygo.errors import InputError


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">I{values.ndim}I", 0x0800 + values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


@pytest.fixture
def debian_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "debian"
    folder.mkdir()
    for prefix, count in (("train", 30), ("t10k", 10)):
        images = np.arange(count * 28 * 28).reshape(count, 28, 28) % 251
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(count) % 10)))
    monkeypatch.setitem(data.DEBIAN_FOLDERS, "fashion-mnist", folder)
    return folder


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits as theirs

    images, labels = theirs(return_X_y=True)
    digits = load_digits()
    for label in range(10):
        ours = torch.cat([part.inputs[part.labels == label] for part in (digits.test, digits.train)]).flatten(1)
        expected = torch.from_numpy(images[labels == label] * (255 / 16)).round()
        assert sorted(ours.tolist()) == sorted(expected.to(torch.uint8).tolist())


def test_names_of_debians_classes_are_torchvisions() -> None:
    from mygo.data.torchvision_shim import torchvision

    for name, classes in DEBIAN_CLASSES.items():
        assert classes == tuple(getattr(torchvision.datasets, TORCHVISION_CLASSES[name]).classes)


def test_digits_hold_out_a_fifth_of_each_class_and_share_no_image() -> None:
    digits = load_digits()
    assert digits.input_shape == (1, 8, 8)
    assert len(digits.train) + len(digits.test) == 1797
    for label in range(10):
        held_out = int((digits.test.labels == label).sum())
        assert held_out == pytest.approx(0.2 * (held_out + int((digits.train.labels == label).sum())), abs=1)
    train = {image.numpy().tobytes() for image in digits.train.inputs}
    assert not any(image.numpy().tobytes() in train for image in digits.test.inputs)


def test_pixels_survive_the_way_there_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    unit = to_unit_range(pixels)
    assert unit.min() == -1
    assert unit.max() == 1
    assert torch.equal(to_pixels(unit), pixels)


def test_debians_files_are_read(debian_folder: Path, tmp_path: Path) -> None:
    dataset = load_dataset("fashion-mnist", tmp_path / "nothing")
    assert dataset.train.inputs.shape == (30, 1, 28, 28)
    assert dataset.test.labels.tolist() == list(range(10))
    assert dataset.class_names[9] == "Ankle boot"
    assert dataset.train.inputs[0, 0, 0, :3].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: content[: len(content) // 2], "cannot be read"),
        (lambda content: b"not gzip", "cannot be read"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-5]), "cut short"),
        (lambda content: gzip.compress(b"\0\0\x0d\x03" + gzip.decompress(content)[4:]), "not an IDX file"),
    ],
)
def test_a_damaged_file_is_named(debian_folder: Path, tmp_path: Path, damage, complaint: str) -> None:
    path = debian_folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=complaint) as raised:
        load_dataset("fashion-mnist", tmp_path / "nothing")
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_images_and_labels_must_be_as_many(debian_folder: Path, tmp_path: Path) -> None:
    (debian_folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(9))))
    with pytest.raises(InputError, match="10 t10k images but 9 labels"):
        load_dataset("fashion-mnist", tmp_path / "nothing")


def test_torchvisions_layout_under_data_root_comes_first(debian_folder: Path, tmp_path: Path) -> None:
    raw = tmp_path / "root" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, count in (("train", 20), ("t10k", 10)):
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(idx(np.zeros((count, 28, 28))))
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    dataset = load_dataset("fashion-mnist", tmp_path / "root")
    assert len(dataset.train) == 20
    assert dataset.input_shape == (1, 28, 28)
    (raw / "train-images-idx3-ubyte").write_bytes(b"garbage")
    with pytest.raises(InputError, match="damaged"):
        load_dataset("fashion-mnist", tmp_path / "root")


def test_without_network_one_sentence_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise urllib.error.URLError("unreachable")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
    with pytest.raises(InputError, match=r"mnist is not in .* and cannot be downloaded .* pass --data-root") as raised:
        load_dataset("mnist", tmp_path / "root")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_colour_images_of_torchvision_become_channels_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads: list[str] = []

    class FakeCifar:
        """Colour images [N, H, W, C] and a list of labels, as torchvision's CIFAR has; missing until downloaded."""

        classes = ("cat", "dog")

        def __init__(self, root: object, train: bool, download: bool = False) -> None:
            if download:
                downloads.append(str(root))
            elif not downloads:
                raise RuntimeError("Dataset not found or corrupted.")
            self.data = np.zeros((6 if train else 2, 32, 32, 3), np.uint8)
            self.data[..., 2] = 7
            self.targets = [0, 1] * (3 if train else 1)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", FakeCifar)
    dataset = load_dataset("cifar10", tmp_path)
    assert len(downloads) == 2
    assert dataset.input_shape == (3, 32, 32)
    assert dataset.train.inputs[0, :, 0, 0].tolist() == [0, 0, 7]
    assert dataset.test.labels.tolist() == [0, 1]


def test_labelled_images_refuse_other_types_and_shapes() -> None:
    with pytest.raises(ValueError, match="uint8"):
        Examples(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels"):
        Examples(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))


def test_validation_images_are_training_images_that_are_not_trained_on() -> None:
    digits = load_digits()
    cut = with_validation(digits, 0.2)
    assert len(cut.train) + len(cut.test) == len(digits.train)

    def pictures(part: Examples) -> list[bytes]:
        return [image.numpy().tobytes() for image in part.inputs]

    assert sorted(pictures(cut.train) + pictures(cut.test)) == sorted(pictures(digits.train))
    for label in range(10):
        share = int((cut.test.labels == label).sum()) / int((digits.train.labels == label).sum())
        assert share == pytest.approx(0.2, abs=0.01)
    again = with_validation(digits, 0.2)
    assert torch.equal(cut.test.inputs, again.test.inputs)


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_both_sides_of_the_cut_hold_every_class(coloured_squares: LabelledDataset, share: float) -> None:
    cut = with_validation(coloured_squares, share)
    for part in (cut.train, cut.test):
        assert part.labels.unique().tolist() == [0, 1, 2, 3]


def test_a_class_of_one_image_cannot_be_cut(coloured_squares: LabelledDataset) -> None:
    few = dataclasses.replace(coloured_squares, train=coloured_squares.train[19:])
    with pytest.raises(InputError, match="Class a has one training image"):
        with_validation(few, 0.5)


def test_a_fingerprint_depends_on_every_pixel_and_label(coloured_squares: LabelledDataset) -> None:
    data = coloured_squares.train
    pixels, labels = data.inputs.clone(), data.labels.clone()
    pixels[7, 0, 3, 3] += 1
    labels[0] = 1
    prints = {part.fingerprint for part in (data, Examples(pixels, data.labels), Examples(data.inputs, labels))}
    assert len(prints) == 3
    assert data[:].fingerprint == data.fingerprint
