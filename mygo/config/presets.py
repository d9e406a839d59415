"""The learner that each data set gets by default."""

from mygo.config.learner import Adapt, GanConfig, GaussianConfig, LifeConfig, MemoryConfig, SleepConfig, WakeConfig


def behind_encoder(adapt: Adapt = "none") -> LifeConfig:
    """Return the default learner behind an encoder, of which sleep trains what ``adapt`` says.

    docs/results.md has the scores measured with it.
    """
    if adapt == "late":
        return LifeConfig(
            adapt="late",
            backbone="linear",
            wake=WakeConfig(head_steps=200, adapt_steps=150),
            memory=MemoryConfig(gaussian=GaussianConfig(rank=11, bits=4)),
            sleep=SleepConfig(
                steps=2400,
                steps_per_class=24,
                max_shift=0,
                own_head_weight=0.0,
                discriminant_examples=20.0,
                temperature=2.0,
            ),
        )
    return LifeConfig(
        backbone="linear",
        precision="float32",  # a layer so small is no faster in another
        wake=WakeConfig(head_steps=300, adapt_steps=1200),
        sleep=SleepConfig(
            steps=800,
            steps_per_class=40,
            batch_size=256,
            max_shift=0,
            own_head_weight=0.0,
            discriminant_examples=20.0,
            lr=3e-3,
        ),
    )


def preset(dataset: str) -> LifeConfig:
    """Return the default learner for ``dataset``; docs/results.md has the times and scores measured with it."""
    if dataset == "digits":
        return LifeConfig(
            precision="float32",  # layers so small are no faster in another
            wake=WakeConfig(head_steps=50, adapt_steps=100),
            memory=MemoryConfig(gan=GanConfig(steps=600, discriminator_width=16)),
            sleep=SleepConfig(
                steps=200,
                max_shift=0,
                own_head_weight=0.07,
                all_heads_weight=0.3,
                feature_weight=1.0,
                temperature=3.0,
                lr=1.5e-3,
            ),
        )
    if dataset in ("cifar10", "cifar100"):
        return LifeConfig(backbone="resnet18")
    return LifeConfig()
