"""Labelled images, held as uint8 tensors, and the data sets that they come from."""

import gzip
import hashlib
import importlib.util
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mygo import seeding
from mygo.errors import InputError, check_share

DatasetName = Literal["digits", "fashion-mnist", "mnist", "kmnist", "cifar10", "cifar100"]
DATASETS: tuple[str, ...] = get_args(DatasetName)

DEBIAN_FOLDERS = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}
"""Where Debian's packages put a data set."""
DEBIAN_CLASSES = {
    "fashion-mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
}
"""Names of its classes, as torchvision has them, which takes seconds to import."""

TORCHVISION_CLASSES = {
    "fashion-mnist": "FashionMNIST",
    "mnist": "MNIST",
    "kmnist": "KMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}

ImageShape = tuple[int, int, int]
"""(C, H, W)."""

DIGITS_TEST_EVERY = 5
"""Of scikit-learn's digits, which come without a split, every fifth image of each class is held out for testing."""


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 [N, C, H, W] and their integer labels [N]."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.dim() != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], not {self.images.dtype} {list(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{len(self.images)}], not {self.labels.dtype} {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: Tensor | slice) -> "LabelledImages":
        return LabelledImages(self.images[index], self.labels[index])

    @property
    def nbytes(self) -> int:
        """Bytes of the raw images, one per pixel and channel."""
        return self.images.numel()

    @property
    def fingerprint(self) -> str:
        """A hash of all pixels and labels, in their order."""
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        for part in (self.images, self.labels):
            digest.update(part.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def to(self, device: torch.device) -> "LabelledImages":
        """Return the same on ``device``."""
        return LabelledImages(self.images.to(device), self.labels.to(device))

    @staticmethod
    def concatenate(parts: "list[LabelledImages]") -> "LabelledImages":
        """Return all examples of ``parts`` in order."""
        return LabelledImages(torch.cat([p.images for p in parts]), torch.cat([p.labels for p in parts]))


@dataclass(frozen=True)
class ImageDataset:
    """Training and held-out test images of the same classes; labels index ``class_names``."""

    name: str
    train: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.train.image_shape


def to_unit_range(images: Tensor) -> Tensor:
    """Return uint8 ``images`` as float32 in [-1, 1], which is what every network here reads and writes."""
    return images.float().div_(127.5).sub_(1.0)


def to_pixels(images: Tensor) -> Tensor:
    """Return float ``images`` in [-1, 1] as uint8; the inverse of `to_unit_range` up to rounding."""
    return images.add(1.0).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)


def with_validation(dataset: ImageDataset, share: float) -> ImageDataset:
    """Return ``dataset`` without its test images: a ``share`` of each class's training images takes their place.

    The cut is the same whatever a life's seed is. Both parts keep at least one image of every class.

    Raises:
        InputError: a class has a single training image, or ``share`` is none.
    """
    check_share(share, "validation-share")
    return with_held_out(dataset, share, lambda label: ("validation", label))


def with_held_out(dataset: ImageDataset, share: float, draw: Callable[[int], seeding.Key]) -> ImageDataset:
    """Return ``dataset`` with a ``share`` of each class's training images as its test images, in place of its own.

    ``draw`` names the random draw for a label. Both parts keep at least one image of every class.

    Raises:
        InputError: a class has a single training image, or ``share`` is none.
    """
    check_share(share, "held-out")
    held_out = torch.zeros(len(dataset.train), dtype=torch.bool)
    for label in dataset.train.labels.unique().tolist():
        rows = (dataset.train.labels == label).nonzero().squeeze(1)
        if len(rows) < 2:
            raise InputError(f"Class {dataset.class_names[label]} has one training image: none can be held out.")
        count = min(max(1, round(share * len(rows))), len(rows) - 1)
        held_out[rows[torch.randperm(len(rows), generator=seeding.stream(*draw(label)))[:count]]] = True
    return ImageDataset(dataset.name, dataset.train[~held_out], dataset.train[held_out], dataset.class_names)


def load_dataset(name: DatasetName, data_root: Path = Path("data")) -> ImageDataset:
    """Load a data set by name: from ``data_root``, else from Debian's package, else by downloading to ``data_root``.

    Raises:
        InputError: the data set is damaged, or is nowhere and cannot be downloaded.
    """
    if name == "digits":
        return load_digits()
    if (
        name in DEBIAN_FOLDERS
        and not (data_root / TORCHVISION_CLASSES[name]).is_dir()
        and DEBIAN_FOLDERS[name].is_dir()
    ):
        return load_idx_folder(name, DEBIAN_FOLDERS[name])
    return load_torchvision(name, data_root)


def load_digits() -> ImageDataset:
    """Return scikit-learn's 1,797 embedded images [1, 8, 8] of handwritten digits, with a fixed held-out fifth."""
    pixels, target = np.split(np.loadtxt(sklearn_file("digits.csv.gz"), delimiter=","), [64], axis=1)
    images = torch.from_numpy(np.round(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8))
    labels = torch.from_numpy(target[:, 0].astype(np.int64))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        held_out[(labels == label).nonzero().squeeze(1)[::DIGITS_TEST_EVERY]] = True
    everything = LabelledImages(images, labels)
    return ImageDataset("digits", everything[~held_out], everything[held_out], tuple(str(d) for d in range(10)))


def sklearn_file(name: str) -> Path:
    """Return where scikit-learn has the data file ``name``, without importing it, which takes 2 s in every process.

    Raises:
        InputError: it is not there.
    """
    spec = importlib.util.find_spec("sklearn")
    folders = [] if spec is None else spec.submodule_search_locations or []
    found = [path for folder in folders if (path := Path(folder) / "datasets" / "data" / name).is_file()]
    if not found:
        raise InputError(f"This scikit-learn has no file {name}: install the version in constraints.txt.")
    return found[0]


def load_idx_folder(name: str, folder: Path) -> ImageDataset:
    """Load the four gzipped IDX files of an MNIST-like data set from ``folder``."""

    def part(prefix: str) -> LabelledImages:
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", dims=3)
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", dims=1)
        if len(images) != len(labels):
            raise InputError(f"{folder} holds {len(images)} {prefix} images but {len(labels)} labels: reinstall it.")
        return LabelledImages(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))

    return ImageDataset(name, part("train"), part("t10k"), DEBIAN_CLASSES[name])


def read_idx(path: Path, dims: int) -> npt.NDArray[np.uint8]:
    """Read a gzipped IDX file of unsigned bytes with ``dims`` dimensions (format: http://yann.lecun.com/exdb/mnist)."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} cannot be read ({error}): install the data set again or pass --data-root.") from error
    header = 4 + 4 * dims
    if len(raw) < header or struct.unpack(">I", raw[:4])[0] != 0x0800 + dims:
        raise InputError(f"{path} is not an IDX file of bytes: install the data set again or pass --data-root.")
    shape = struct.unpack(f">{dims}I", raw[4:header])
    if len(raw) - header != int(np.prod(shape)):
        raise InputError(f"{path} is cut short or too long: install the data set again or pass --data-root.")
    values: npt.NDArray[np.uint8] = np.frombuffer(raw, np.uint8, offset=header).reshape(shape).copy()
    return values


def load_torchvision(name: str, data_root: Path) -> ImageDataset:
    """Load a data set through torchvision from ``data_root``, downloading it there when it is missing."""
    from mygo.data.torchvision_shim import torchvision

    dataset_class = getattr(torchvision.datasets, TORCHVISION_CLASSES[name])
    try:
        try:
            train, test = (dataset_class(data_root, train=part) for part in (True, False))
        except RuntimeError:  # how torchvision says that files are missing
            download(name, dataset_class, data_root)
            train, test = (dataset_class(data_root, train=part) for part in (True, False))
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes the parser raise
        raise InputError(
            f"{name} in {data_root} is damaged ({type(error).__name__}: {error}): delete it there and run again."
        ) from error
    return ImageDataset(name, _from_torchvision(train), _from_torchvision(test), tuple(map(str, train.classes)))


def download(name: str, dataset_class: Any, data_root: Path) -> None:
    """Download a torchvision data set to ``data_root``, all of it or nothing.

    Raises:
        InputError: it cannot be downloaded, or not written to ``data_root``.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="mygo-download-") as temporary:
            for part in (True, False):
                dataset_class(temporary, train=part, download=True)
            shutil.copytree(temporary, data_root, dirs_exist_ok=True)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name} is not in {data_root} and cannot be downloaded ({type(error).__name__}): "
            "pass --data-root with a folder that holds it, or connect to the network."
        ) from error


def _from_torchvision(dataset: Any) -> LabelledImages:
    images = torch.as_tensor(np.asarray(dataset.data))
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()
    return LabelledImages(images, torch.as_tensor(dataset.targets).long())
