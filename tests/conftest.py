import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from mygo.config.learner import GanConfig, GaussianConfig, LifeConfig, MemoryConfig, SleepConfig, WakeConfig
from mygo.config.presets import behind_encoder
from mygo.config.settings import change
from mygo.data.examples import Examples, LabelledDataset
from mygo.jobs.experiment import Experiment, ExperimentConfig

torch.set_num_threads(1)

# Hypothesis would bound the time of each example, which says more of the machine than of the code.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")


LONGEST = ("test_terminal.py", "test_adapting.py", "test_experiment.py", "test_flags.py", "test_teaching.py")
"""Files that take a minute or more. They come first: one that came last would run alone, on one of several cores."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, which pytest-xdist keeps with ``--no-loadscope-reorder``."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Waits until what a function looks at is so; if it never is, the test fails after some patience."""

    def wait_until(reached: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not so after {seconds:.0f} s"
            time.sleep(0.1)

    return wait_until


@pytest.fixture(scope="session")
def tiny_life() -> LifeConfig:
    """A learner that goes through all the motions in a second, without learning much."""
    return LifeConfig(
        seed=3,
        wake=WakeConfig(head_steps=20, adapt_steps=20, batch_size=32),
        memory=MemoryConfig(
            gan=GanConfig(steps=20, batch_size=16, latent_dim=8, generator_width=8, discriminator_width=8),
            fidelity_floor=0.0,
            diversity_floor=0.0,
        ),
        sleep=SleepConfig(steps=20, batch_size=32, steps_per_block=8),
    )


@pytest.fixture(scope="session")
def tiny_on_vectors() -> LifeConfig:
    """A learner of feature vectors that goes through all the motions in a moment."""
    return LifeConfig(
        seed=3,
        encoder="none",
        backbone="linear",
        precision="float32",
        wake=WakeConfig(head_steps=20, adapt_steps=20, batch_size=32),
        memory=MemoryConfig(gaussian=GaussianConfig(rank=2), fidelity_floor=0.0, diversity_floor=0.0),
        sleep=SleepConfig(steps=20, batch_size=32, steps_per_block=8, max_shift=0, discriminant_examples=10.0),
    )


@pytest.fixture(scope="session")
def write_vectors() -> Callable[..., str]:
    """Writes vectors around a direction of each class's own, told by its name, as an .npz source."""

    def write_vectors(path: Path, classes: Sequence[str], count: int = 20, seed: int = 0, dim: int = 12) -> str:
        def drawn(name: str, *key: int) -> np.random.Generator:
            return np.random.default_rng([*name.encode(), *key])

        rows = [
            drawn(name).normal(0, 1, dim) + drawn(name, count, seed).normal(0, 0.3, (count, dim)) for name in classes
        ]
        labels = np.repeat(np.arange(len(classes)), count)
        features = np.concatenate(rows).astype(np.float32)
        np.savez(path, features=features, labels=labels, class_names=np.array(classes))
        return str(path)

    return write_vectors


@pytest.fixture(scope="session")
def tiny_adapting() -> LifeConfig:
    """A learner that adapts its encoder in a few seconds."""
    few = {"wake.head_steps": 20, "wake.adapt_steps": 10, "wake.batch_size": 32, "sleep.steps": 15}
    few |= {"sleep.batch_size": 32, "memory.gaussian.rank": 2}
    floors = {"memory.fidelity_floor": 0.0, "memory.diversity_floor": 0.0}
    return change(
        replace(behind_encoder("late"), encoder="efficientnet-lite0@32", precision="float32"), {**few, **floors}
    )


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Returns a folder with noisy pictures of each of some colours."""
    shades = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220), "white": (230, 230, 220)}
    root = tmp_path_factory.mktemp("photos")

    def photos(*colours: str, count: int = 12, seed: int = 0) -> Path:
        folder = root / f"{'-'.join(colours)}-{count}-{seed}"
        for colour in colours:
            (folder / colour).mkdir(parents=True, exist_ok=True)
            rng = np.random.default_rng([*colour.encode(), seed])
            for number in range(count):
                noisy = rng.normal(shades[colour], 50, (40, 40, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(noisy).save(folder / colour / f"{number}.png")
        return folder

    return photos


@pytest.fixture
def experiment_on_vectors(tiny_on_vectors: LifeConfig, write_vectors: Callable[..., str], tmp_path: Path) -> Experiment:
    """Two tasks of two classes of vectors each, one life, in a folder of its own."""
    data = write_vectors(tmp_path / "four.npz", ("ash", "birch", "cedar", "date"))
    config = ExperimentConfig(dataset=data, num_tasks=2, strategies=("mygo",), life=tiny_on_vectors)
    return Experiment(config, tmp_path / "out", log_every=1)


@pytest.fixture
def tiny_experiment(tiny_life: LifeConfig, tmp_path: Path) -> Experiment:
    """Two tasks of digits, one life, in a folder of its own."""
    config = ExperimentConfig(num_tasks=2, class_order=tuple(range(10)), strategies=("mygo",), life=tiny_life)
    return Experiment(config, tmp_path / "out", log_every=1)


@pytest.fixture
def coloured_squares() -> LabelledDataset:
    """Four classes of 8×8 images whose grey level tells the class, 20 to train on and 5 to test on of each."""

    def part(per_class: int) -> Examples:
        labels = torch.arange(4).repeat_interleave(per_class)
        images = (labels * 60 + 20).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
        return Examples(images, labels)

    return LabelledDataset("squares", part(20), part(5), ("a", "b", "c", "d"))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One small Ray for all tests, since starting it takes seconds."""
    from distributed.cluster.session import environment, ray_session

    with environment({"RAY_metrics_report_interval_ms": "1000"}), ray_session(num_cpus=2, dashboard=True):
        yield
