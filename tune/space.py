"""What a sweep searches: each parameter by its dotted name in `LifeConfig`, and the values that it may take.

Every range holds the preset's own value, so that the first trial of a sweep can be the defaults.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mygo.config.learner import LifeConfig
from mygo.config.settings import look_up
from mygo.errors import InputError

SpaceName = Literal["sleep", "all"]


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from ``low`` to ``high``, both included; ``log`` spreads them evenly in their logarithm."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def domain(self) -> Any:
        """Return the range as Ray Tune writes it."""
        import ray.tune

        if self.integer:
            sample = ray.tune.lograndint if self.log else ray.tune.randint
            return sample(int(self.low), int(self.high) + 1)
        return (ray.tune.loguniform if self.log else ray.tune.uniform)(self.low, self.high)

    def grid(self) -> list[Any]:
        """Return the two ends and the middle."""
        middle = (self.low * self.high) ** 0.5 if self.log else (self.low + self.high) / 2
        return [round(value) if self.integer else value for value in (self.low, middle, self.high)]


@dataclass(frozen=True)
class Choice:
    """One of ``values``."""

    values: tuple[Any, ...]

    def domain(self) -> Any:
        """Return the choice as Ray Tune writes it."""
        import ray.tune

        return ray.tune.choice(list(self.values))

    def grid(self) -> list[Any]:
        """Return all values."""
        return list(self.values)


Space = dict[str, Range | Choice]


def sleep_space(base: LifeConfig) -> Space:
    """Return the parameters of sleep: how much is dreamt, and how it is distilled. No memory depends on them.

    The largest sleep dreams twice as much as the defaults': what takes much longer is not better but another budget.
    """
    steps, batch = base.sleep.steps, base.sleep.batch_size
    return {
        "sleep.steps": Range(low=max(1, steps // 4), high=2 * steps, log=True, integer=True),
        "sleep.batch_size": Choice(tuple(sorted({batch // 4, batch // 2, batch}))),
        "sleep.current_share": Choice((None, 0.2, 0.3, 0.4, 0.5)),
        "sleep.own_head_weight": Range(low=0.01, high=1.0, log=True),
        "sleep.all_heads_weight": Range(low=0.3, high=3.0, log=True),
        "sleep.feature_weight": Choice((0.0, 0.01, 0.1, 1.0)),
        "sleep.temperature": Range(low=0.5, high=4.0, log=True),
        "sleep.lr": Range(low=3e-4, high=5e-3, log=True),
    }


def wake_space(base: LifeConfig) -> Space:
    """Return the parameters of learning and of the GAN; whatever trains a memory otherwise trains it anew."""
    wake, gan = base.wake, base.memory.gan
    return {
        "wake.adapt_steps": Range(low=max(1, wake.adapt_steps // 4), high=2 * wake.adapt_steps, log=True, integer=True),
        "wake.head_steps": Range(low=max(1, wake.head_steps // 4), high=2 * wake.head_steps, log=True, integer=True),
        "wake.lr": Range(low=3e-4, high=3e-3, log=True),
        "memory.gan.steps": Range(low=gan.steps // 2, high=2 * gan.steps, log=True, integer=True),
        "memory.gan.generator_lr": Range(low=3e-4, high=3e-3, log=True),
        "memory.gan.discriminator_lr": Range(low=5e-4, high=5e-3, log=True),
        "memory.gan.latent_dim": Choice((16, 32, 64)),
        "memory.gan.ema_decay": Choice((0.99, 0.995, 0.999)),
    }


def feature_sleep_space(base: LifeConfig) -> Space:
    """Return the parameters of sleep behind an encoder.

    There the number of steps goes with that of the classes, until there are many. A weight of the cross-entropy alone
    would only scale the loss, which Adam takes back.
    """
    sleep = base.sleep
    steps, batch, each = sleep.steps, sleep.batch_size, sleep.steps_per_class
    per_class: Space = {}
    if each is not None:
        per_class["sleep.steps_per_class"] = Range(low=max(1, each // 4), high=2 * each, log=True, integer=True)
    return {
        "sleep.steps": Range(low=max(1, steps // 4), high=2 * steps, log=True, integer=True),
        **per_class,
        "sleep.batch_size": Choice(tuple(sorted({max(1, batch // 4), max(1, batch // 2), batch}))),
        "sleep.own_head_weight": Choice((0.0, 0.01, 0.1, 1.0)),
        "sleep.temperature": Range(low=0.5, high=4.0, log=True),
        "sleep.lr": Range(low=3e-4, high=3e-2, log=True),
        "sleep.discriminant_examples": Choice((0.0, 5.0, 10.0, 20.0, 40.0, 80.0)),
    }


def feature_wake_space(base: LifeConfig) -> Space:
    """Return the parameters of learning behind an encoder, of the memory's size, and of the network of the head."""
    steps = base.wake.head_steps
    return {
        "wake.head_steps": Range(low=max(1, steps // 4), high=2 * steps, log=True, integer=True),
        "wake.lr": Range(low=3e-4, high=1e-2, log=True),
        "memory.gaussian.rank": Choice((7, 14, 28, 56)),
        "backbone": Choice(("linear", "mlp")),
    }


def late_sleep_space(base: LifeConfig) -> Space:
    """Return the parameters of a sleep that trains the late blocks of an encoder."""
    own = feature_sleep_space(base)
    del own["sleep.discriminant_examples"]
    return own


def late_wake_space(base: LifeConfig) -> Space:
    """Return the parameters of learning where an encoder is adapted, and of the memory's size."""
    steps = base.wake.adapt_steps
    return {
        "wake.adapt_steps": Range(low=max(1, steps // 4), high=2 * steps, log=True, integer=True),
        "wake.lr": Range(low=3e-4, high=1e-2, log=True),
        "memory.gaussian.rank": Choice((3, 6, 11, 22)),
    }


def search_space(name: SpaceName, base: LifeConfig, only: tuple[str, ...] = (), *, over_pixels: bool = True) -> Space:
    """Return the space called ``name`` around ``base``, or those parameters of it that ``only`` names.

    Over pixels there are others than behind an encoder, and there others again if it is adapted.

    Raises:
        InputError: ``only`` names a parameter that the space does not have, or ``base`` lies outside it.
    """
    sleep, wake = (sleep_space, wake_space) if over_pixels else (feature_sleep_space, feature_wake_space)
    if base.adapt == "late":
        sleep, wake = late_sleep_space, late_wake_space
    space = sleep(base) | (wake(base) if name == "all" else {})
    if unknown := sorted(set(only) - space.keys()):
        raise InputError(
            f"--only names {unknown[0]}, which --space {name} does not have: choose from {', '.join(space)}."
        )
    space = {parameter: values for parameter, values in space.items() if not only or parameter in only}
    for parameter, value in settings_of(base, space).items():
        held = space[parameter]
        if not (value in held.values if isinstance(held, Choice) else held.low <= value <= held.high):
            raise InputError(f"{parameter} is {value}, which the search does not reach: leave it at its default.")
    return space


def settings_of(base: LifeConfig, space: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that ``base`` has for the parameters of ``space``."""
    return {parameter: look_up(base, parameter) for parameter in space}
