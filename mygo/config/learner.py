"""Everything that decides what a learner becomes, given its stream of tasks."""

from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from mygo.config.ranges import (
    LARGEST,
    LARGEST_RATE,
    LARGEST_SEED,
    LARGEST_WEIGHT,
    MOST_AT_ONCE,
    MOST_CHANNELS,
    MOST_PROCESSES,
    MOST_STEPS,
    SMALLEST_RATE,
    check_ranges,
)
from mygo.errors import InputError


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """Sizes and training of one task's conditional GAN."""

    generator: str = "conv"
    """The generator: conv, or one of your own: module:attribute, or a name that `mygo.use_generator` made known."""
    latent_dim: int = 32
    """Length of the noise vector."""
    generator_width: int = 32
    """Channels of the generator."""
    discriminator_width: int = 32
    """Channels of the discriminator at half the image's resolution; up to four times as many below."""
    steps: int = 4000
    """Training steps; each updates the discriminator once and the generator once."""
    batch_size: int = 64
    """Real images, and as many fakes, per step, over all workers."""
    generator_lr: float = 1e-3
    """Adam's learning rate for the generator; over the second half it falls linearly to a twentieth."""
    discriminator_lr: float = 2e-3
    """Adam's learning rate for the discriminator, which falls likewise."""
    ema_decay: float = 0.995
    """Decay per step of the moving average of the generator's weights, which is what is kept."""
    warm_start: bool = True
    """Begin with a copy of the memory before instead of with random weights."""
    balance_classes: bool = True
    """Draw the images of a class that has at most half as many as the largest that many times more often."""

    def __post_init__(self) -> None:
        widths = dict.fromkeys(("latent_dim", "generator_width", "discriminator_width"), (1, MOST_CHANNELS))
        rates = dict.fromkeys(("generator_lr", "discriminator_lr"), (SMALLEST_RATE, LARGEST_RATE))
        check_ranges(self, "memory.gan", **widths, steps=(1, MOST_STEPS), batch_size=(1, MOST_AT_ONCE))
        check_ranges(self, "memory.gan", **rates, ema_decay=(0.0, 1.0))


LoadingBits = Literal[4, 8]


@dataclass(frozen=True, kw_only=True)
class GaussianConfig:
    """What is kept of each class behind an encoder."""

    rank: int = 28
    """Main directions of variation."""
    bits: LoadingBits = 8
    """Bits of a direction for each feature."""

    def __post_init__(self) -> None:
        check_ranges(self, "memory.gaussian", rank=(0, MOST_CHANNELS))


Adapt = Literal["none", "late"]
AnyAdapt = Literal["auto", "none", "late"]
"""What a setting may say; auto is for the first lesson of a life to decide."""
Precision = Literal["float32", "bfloat16"]
AnyPrecision = Literal["auto", "float32", "bfloat16"]
"""What a setting may say; auto is for the device that a life begins on to decide."""


@dataclass(frozen=True, kw_only=True)
class WakeConfig:
    """How the new task is learned, apart from its memory."""

    head_steps: int = 200
    """Steps for the new head on frozen features."""
    adapt_steps: int = 600
    """Steps for the fast learner, features included (the first task trains the neocortex itself for as many)."""
    batch_size: int = 128
    """Real images per step, over all workers."""
    lr: float = 1e-3
    """Adam's learning rate at the start; it falls to 0 along a cosine."""
    balance_classes: bool = True
    """Draw the images of a class that has at most half as many as the largest that many times more often
    (class-balanced sampling)."""

    def __post_init__(self) -> None:
        steps = dict.fromkeys(("head_steps", "adapt_steps"), (1, MOST_STEPS))
        check_ranges(self, "wake", **steps, batch_size=(1, MOST_AT_ONCE), lr=(SMALLEST_RATE, LARGEST_RATE))


@dataclass(frozen=True, kw_only=True)
class SleepConfig:
    """How much is dreamt and how it is distilled."""

    steps: int = 1200
    """Steps of each sleep."""
    steps_per_class: int | None = None
    """Behind an encoder, no more steps than these for each class that is known: few classes are soon learned."""
    classes_per_step: int = 128
    """Behind an encoder, the most classes that a step dreams of and tells apart, drawn anew for each block of steps
    (sampled softmax: Jean et al. 2015, arXiv:1412.2007)."""
    batch_size: int = 128
    """Dreams per step, over all workers."""
    steps_per_block: int = 8
    """Steps whose dreams are made together, in one call of a dreamer; more with dozens of memories."""
    max_shift: int = 1
    """Over pixels, the most by which a dream is moved before teacher and student see it."""
    current_share: float | None = None
    """Over pixels, the share of the newest task's dreams; by default every class has the same share."""
    own_head_weight: float = 0.1
    """Weight of the MSE between the student's and the teacher's centred logits of a dream's own task."""
    all_heads_weight: float = 1.0
    """Weight of the cross-entropy over all heads side by side, which makes them comparable."""
    feature_weight: float = 0.0
    """Over pixels, the weight of the MSE between the student's and the teacher's features; at 0 they are not computed
    at all."""
    discriminant_examples: float = 0.0
    """Behind an encoder, how many examples for each feature make a linear student weigh as much as linear discriminant
    analysis on the memories does, with which its answers are mixed; 0 leaves the student alone. With fewer examples
    the analysis weighs more, since it needs fewer (Ng & Jordan 2002, On Discriminative vs. Generative Classifiers)."""
    temperature: float = 1.0
    """Temperature of the teacher's probabilities within a dream's own task, and of the student's over all heads."""
    lr: float = 1e-3
    """Adam's learning rate at the start; it falls to 0 along a cosine."""

    def __post_init__(self) -> None:
        sizes = {"steps": MOST_STEPS, "batch_size": MOST_AT_ONCE, "steps_per_block": MOST_AT_ONCE}
        check_ranges(self, "sleep", **{name: (1, most) for name, most in sizes.items()}, max_shift=(0, LARGEST))
        check_ranges(self, "sleep", steps_per_class=(1, MOST_STEPS), classes_per_step=(2, MOST_AT_ONCE))
        weights = dict.fromkeys(("own_head_weight", "all_heads_weight", "feature_weight"), (0.0, LARGEST_WEIGHT))
        check_ranges(self, "sleep", **weights, lr=(SMALLEST_RATE, LARGEST_RATE))
        check_ranges(self, "sleep", current_share=(0.0, 1.0), temperature=(1e-3, 1e3))
        check_ranges(self, "sleep", discriminant_examples=(0.0, LARGEST_WEIGHT))

    def steps_for(self, num_classes: int) -> int:
        """Return the steps of a sleep behind an encoder in which ``num_classes`` are known."""
        return self.steps if self.steps_per_class is None else min(self.steps, self.steps_per_class * num_classes)


@dataclass(frozen=True, kw_only=True)
class MemoryConfig:
    """The generative memory of a task and what it must reach."""

    gan: GanConfig = field(default_factory=GanConfig)
    """The conditional GAN, over pixels."""
    gaussian: GaussianConfig = field(default_factory=GaussianConfig)
    """The Gaussian of each class, behind an encoder."""
    fidelity_floor: float = 0.7
    """Least share of each class's dreams whose label a judge trained on the task's real data confirms."""
    diversity_floor: float = 0.2
    """Least variance of each class's dreams against that of its real images, in the judge's features."""
    attempts: int = 2
    """How often a memory is trained, each time with another seed, before a run ends for its quality."""

    def __post_init__(self) -> None:
        floors = {"fidelity_floor": (0.0, 1.0), "diversity_floor": (0.0, LARGEST_WEIGHT)}
        check_ranges(self, "memory", **floors, attempts=(1, MOST_PROCESSES))


@dataclass(frozen=True, kw_only=True)
class ClosedFormConfig:
    """What the strategies that are solved in closed form leave to choose."""

    shrinkage: float = 1e-4
    """Share of the identity in the covariance of slda; features have the length √D."""

    def __post_init__(self) -> None:
        check_ranges(self, "closed-form", shrinkage=(1e-6, 1.0))


@dataclass(frozen=True, kw_only=True)
class LifeConfig:
    """Everything that decides what a learner becomes, given its stream of tasks."""

    seed: int = 0
    """Seed of every random draw."""
    encoder: str = "auto"
    """What turns inputs into the features that a life sees: none, for small images; auto, which is none for images of
    at most 32 pixels and else the embedded one; or a name (see docs/encoders.md). It is frozen, and a life keeps it for
    good."""
    adapt: AnyAdapt = "none"
    """What sleep trains of an encoder: none, which leaves it frozen; late, its last blocks (of efficientnet-lite0, 1 or
    2), whose maps are what is remembered then; or auto, late where pictures are at most half as large as what the
    encoder was made for, else none. It decides about no other setting: `mygo.config.presets.behind_encoder` has those
    that go with each. A life keeps it for good."""
    backbone: str = "conv"
    """The network of features: mlp (2 × 400 units), conv (small), resnet18, linear (none, the default behind an
    encoder), or one of your own: module:attribute, or a name that `mygo.use_backbone` made known."""
    precision: AnyPrecision = "auto"
    """In which numbers networks multiply while they train and dream: float32, bfloat16 or auto; weights, losses and all
    evaluation are float32. With auto a life begins in bfloat16 where all of its workers have instructions for it, and
    goes on in what it was begun in, on any machine."""
    eager: bool = False
    """On a GPU, launch the operations of training and dreaming one by one, not as recorded CUDA graphs: slower, for
    networks of your own that cannot be recorded."""
    wake: WakeConfig = field(default_factory=WakeConfig)
    """Learning a new task."""
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    """Remembering it."""
    sleep: SleepConfig = field(default_factory=SleepConfig)
    """Reconciling it with what was known."""
    closed_form: ClosedFormConfig = field(default_factory=ClosedFormConfig)
    """The strategies in closed form."""

    def __post_init__(self) -> None:
        check_ranges(self, "", seed=(0, LARGEST_SEED))
        if self.precision not in get_args(AnyPrecision):
            raise InputError(f"--precision must be auto, float32 or bfloat16, not {self.precision!r}.")
        if self.adapt not in get_args(AnyAdapt):
            raise InputError(f"--adapt must be auto, none or late, not {self.adapt!r}.")

    @property
    def identity(self) -> "LifeConfig":
        """What a life is: the settings without those that only say how it is computed."""
        return replace(self, precision="auto", eager=False)

    @property
    def smallest_batch(self) -> int:
        """The smallest global batch of any phase; no more workers than that can share it."""
        return min(self.wake.batch_size, self.memory.gan.batch_size, self.sleep.batch_size)

    @property
    def baseline_steps(self) -> int:
        """Steps per task of every baseline: as many as MyGO takes to adapt and, however few classes, to sleep."""
        return self.wake.adapt_steps + self.sleep.steps
