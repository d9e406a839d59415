"""The learner that each data set gets by default."""

from mygo.data import DatasetName
from mygo.gan import GanConfig
from mygo.life import LifeConfig
from mygo.memory import MemoryConfig
from mygo.sleep import SleepConfig
from mygo.wake import WakeConfig


def preset(dataset: DatasetName) -> LifeConfig:
    """Return the default learner for ``dataset``; the README has the times and scores measured with it."""
    if dataset == "digits":
        return LifeConfig(
            wake=WakeConfig(head_steps=100, adapt_steps=200),
            memory=MemoryConfig(gan=GanConfig(steps=600, discriminator_width=16)),
            sleep=SleepConfig(steps=400, max_shift=0),
        )
    if dataset in ("cifar10", "cifar100"):
        return LifeConfig(backbone="resnet18")
    return LifeConfig()
