"""The strategies by name: what each does with a task's data while awake, and without it while asleep."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mygo import sleep, wake
from mygo.baselines import closed_forms
from mygo.baselines import methods as baselines
from mygo.data.examples import Examples
from mygo.data.tasks import Task
from mygo.learner.learner import Learner
from mygo.phase import PhaseContext

WakePhase = Callable[[Learner, Task, Examples, PhaseContext], None]
SleepPhase = Callable[[Learner, Task, PhaseContext], None]


@dataclass(frozen=True)
class Look:
    """How a strategy is drawn in plots: Matplotlib's names of a colour, a marker and a style of line."""

    colour: str = "#1f2328"
    marker: str = "x"
    line: str = "-."


@dataclass(frozen=True)
class Phases:
    """The named phases of one cycle, in order. Those of sleep never see real data."""

    wake: dict[str, WakePhase]
    sleep: dict[str, SleepPhase]


@dataclass(frozen=True)
class Strategy(Phases):
    """What is done in each cycle, over pixels and behind an encoder."""

    description: str = ""
    """What it does, as a part of a sentence for the report."""
    look: Look = field(default_factory=Look)
    on_features: Phases | None = None
    """The phases behind a frozen encoder, where they are others."""
    adapting: Phases | None = None
    """The phases behind an encoder whose late blocks are trained, where they are others."""
    backbone: str | None = None
    """The backbone that it needs; by default the one of the settings."""
    needs_features: bool = False
    """Whether it makes sense behind an encoder alone."""

    def phases_for(self, life: Learner) -> Phases:
        """Return the phases for what ``life`` sees."""
        others = self.adapting if life.adapts else self.on_features if life.on_features else None
        return self if others is None else others


ASLEEP: dict[str, SleepPhase] = {"consolidate": sleep.consolidate, "calibrate": sleep.calibrate}
"""What MyGO does asleep, whatever it sees."""

STRATEGIES: dict[str, Strategy] = {
    "mygo": Strategy(
        wake={"learn": wake.learn, "adapt": wake.adapt, "memorise": wake.memorise},
        sleep=ASLEEP,
        description="wakes to learn a task and sleeps to reconcile it with the old ones; keeps one small memory of "
        "each task",
        look=Look("#0072b2", "o", "-"),
        on_features=Phases(wake={"teach": wake.teach, "remember": wake.remember}, sleep=ASLEEP),
        adapting=Phases(
            wake={"learn": wake.learn_late, "adapt": wake.adapt_late, "remember": wake.remember},
            sleep=ASLEEP,
        ),
    ),
    # Only sleep uses the fast learner and the memories, so without sleep neither is trained.
    "mygo-nosleep": Strategy(
        wake={"learn": wake.learn},
        sleep={},
        adapting=Phases(wake={"learn": wake.learn_late}, sleep={}),
        description="MyGO's wake alone: features frozen after the first task, a new head per task",
        look=Look("#56b4e9", "v", "--"),
    ),
    "finetune": Strategy(
        wake={"finetune": baselines.finetune},
        sleep={},
        description="trains the same network on each task in turn; keeps nothing",
        look=Look("#d55e00", "s", "--"),
    ),
    "joint": Strategy(
        wake={"joint": baselines.joint},
        sleep={},
        description="keeps all real data and trains on all of it: the upper bound",
        look=Look("#009e73", "D", ":"),
    ),
    "lwf": Strategy(
        wake={"lwf": baselines.learning_without_forgetting},
        sleep={},
        description="learning without forgetting: old heads must answer as before on new images; keeps nothing",
        look=Look("#cc79a7", "^", "--"),
    ),
    "replay": Strategy(
        wake={"replay": baselines.replay},
        sleep={},
        description="keeps as many bytes of real images as MyGO keeps of generators, and trains on them too",
        look=Look("#e69f00", "P", "--"),
    ),
    "ncm": Strategy(
        wake={"ncm": closed_forms.nearest_class_mean},
        sleep={},
        description="the nearest class mean of an encoder's features, in closed form",
        look=Look("#999999", "<", ":"),
        needs_features=True,
    ),
    "slda": Strategy(
        wake={"slda": closed_forms.streaming_lda},
        sleep={},
        description="streaming linear discriminant analysis of an encoder's features, in closed form",
        look=Look("#f0e442", ">", "-."),
        needs_features=True,
    ),
    "ranpac": Strategy(
        wake={"ranpac": closed_forms.ranpac},
        sleep={},
        description="ridge regression on random features of an encoder's features, in closed form",
        look=Look("#000000", "*", "-."),
        needs_features=True,
        backbone="random-features",
    ),
}
"""Colours that the colour-blind can tell apart (Okabe & Ito 2008)."""


def use_strategy(
    name: str,
    wake: WakePhase | dict[str, WakePhase],
    sleep: dict[str, SleepPhase] | None = None,
    *,
    description: str = "",
    look: Look | None = None,
) -> None:
    """Let experiments name a strategy of one's own.

    ``wake`` is what it does with a task's data, one function or several by name; ``sleep``, what it does without. They
    change the life's networks in place: see `mygo.baselines.methods` for some. The report describes it with
    ``description``, and draws it with ``look``. On Ray the workers know what was known when they were started.
    """
    phases = {name: wake} if callable(wake) else wake
    STRATEGIES[name] = Strategy(phases, sleep or {}, description, look or Look())
