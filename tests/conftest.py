import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mygo.config.learner import GanConfig, LifeConfig, MemoryConfig, SleepConfig, WakeConfig
from mygo.data.examples import Examples, LabelledDataset
from mygo.jobs.experiment import Experiment, ExperimentConfig

torch.set_num_threads(1)


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
