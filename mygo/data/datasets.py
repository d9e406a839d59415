"""Labelled images, held as uint8 tensors, and the data sets that they come from."""

import gzip
import importlib.util
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from mygo.data.examples import Examples, LabelledDataset
from mygo.errors import InputError

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

DIGITS_TEST_EVERY = 5
"""Of scikit-learn's digits, which come without a split, every fifth image of each class is held out for testing."""


def load_dataset(name: str, data_root: Path = Path("data")) -> LabelledDataset:
    """Load a data set by name: from ``data_root``, else from Debian's package, else by downloading to ``data_root``.

    Raises:
        InputError: there is no such data set, it is damaged, or is nowhere and cannot be downloaded.
    """
    if name not in DATASETS:
        raise InputError(f"--dataset {name} is not known: choose from {', '.join(DATASETS)}.")
    return DATASETS[name].load(data_root)


def load_digits() -> LabelledDataset:
    """Return scikit-learn's 1,797 embedded images [1, 8, 8] of handwritten digits, with a fixed held-out fifth."""
    pixels, target = np.split(np.loadtxt(sklearn_file("digits.csv.gz"), delimiter=","), [64], axis=1)
    images = torch.from_numpy(np.round(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8))
    labels = torch.from_numpy(target[:, 0].astype(np.int64))
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(10):
        held_out[(labels == label).nonzero().squeeze(1)[::DIGITS_TEST_EVERY]] = True
    everything = Examples(images, labels)
    return LabelledDataset("digits", everything[~held_out], everything[held_out], tuple(str(d) for d in range(10)))


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


def load_mnist_like(name: str, data_root: Path) -> LabelledDataset:
    """Load a data set of MNIST's form through torchvision from ``data_root``, else from Debian's package."""
    folder = DEBIAN_FOLDERS.get(name)
    if folder is not None and not (data_root / TORCHVISION_CLASSES[name]).is_dir() and folder.is_dir():
        return load_idx_folder(name, folder)
    return load_torchvision(name, data_root)


def load_idx_folder(name: str, folder: Path) -> LabelledDataset:
    """Load the four gzipped IDX files of an MNIST-like data set from ``folder``."""

    def part(prefix: str) -> Examples:
        images = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", dims=3)
        labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", dims=1)
        if len(images) != len(labels):
            raise InputError(f"{folder} holds {len(images)} {prefix} images but {len(labels)} labels: reinstall it.")
        return Examples(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))

    return LabelledDataset(name, part("train"), part("t10k"), DEBIAN_CLASSES[name])


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


def load_torchvision(name: str, data_root: Path) -> LabelledDataset:
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
    return LabelledDataset(name, _from_torchvision(train), _from_torchvision(test), tuple(map(str, train.classes)))


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


def _from_torchvision(dataset: Any) -> Examples:
    images = torch.as_tensor(np.asarray(dataset.data))
    images = images.unsqueeze(1) if images.dim() == 3 else images.permute(0, 3, 1, 2).contiguous()
    return Examples(images, torch.as_tensor(dataset.targets).long())


@dataclass(frozen=True)
class Dataset:
    """A data set that is known by name."""

    num_classes: int
    load: Callable[[Path], LabelledDataset]
    """Returns it, given the folder in which data sets lie."""
    kind: Literal["image", "vector"] = "image"


DATASETS: dict[str, Dataset] = {
    "digits": Dataset(10, lambda data_root: load_digits()),
    "fashion-mnist": Dataset(10, partial(load_mnist_like, "fashion-mnist")),
    "mnist": Dataset(10, partial(load_mnist_like, "mnist")),
    "kmnist": Dataset(10, partial(load_mnist_like, "kmnist")),
    "cifar10": Dataset(10, partial(load_torchvision, "cifar10")),
    "cifar100": Dataset(100, partial(load_torchvision, "cifar100")),
}


def use_dataset(
    name: str,
    load: Callable[[Path], LabelledDataset],
    num_classes: int,
    kind: Literal["image", "vector"] = "image",
) -> None:
    """Let experiments name a data set of one's own, of small images or of feature vectors.

    ``load`` returns it, given ``--data-root``; its labels count up to ``num_classes``. A person's own data needs none
    of this where it lies in files: see `mygo.data.sources.read_source`.
    """
    DATASETS[name] = Dataset(num_classes, load, kind)
