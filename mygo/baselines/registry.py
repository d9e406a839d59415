"""The strategies by name: what each does with a task's data while awake, and without it while asleep."""

from collections.abc import Callable
from dataclasses import dataclass

from mygo import sleep, wake
from mygo.baselines import methods as baselines
from mygo.data.examples import LabelledImages
from mygo.data.tasks import Task
from mygo.learner.learner import Learner
from mygo.phase import PhaseContext

WakePhase = Callable[[Learner, Task, LabelledImages, PhaseContext], None]
SleepPhase = Callable[[Learner, Task, PhaseContext], None]


@dataclass(frozen=True)
class Strategy:
    """The named phases of one cycle, in order. Those of sleep never see real data."""

    wake: dict[str, WakePhase]
    sleep: dict[str, SleepPhase]


STRATEGIES: dict[str, Strategy] = {
    "mygo": Strategy(
        wake={"learn": wake.learn, "adapt": wake.adapt, "memorise": wake.memorise},
        sleep={"consolidate": sleep.consolidate},
    ),
    # Only sleep uses the fast learner and the memories, so without sleep neither is trained.
    "mygo-nosleep": Strategy(wake={"learn": wake.learn}, sleep={}),
    "finetune": Strategy(wake={"finetune": baselines.finetune}, sleep={}),
    "joint": Strategy(wake={"joint": baselines.joint}, sleep={}),
    "lwf": Strategy(wake={"lwf": baselines.learning_without_forgetting}, sleep={}),
    "replay": Strategy(wake={"replay": baselines.replay}, sleep={}),
}


def use_strategy(name: str, wake: WakePhase | dict[str, WakePhase], sleep: dict[str, SleepPhase] | None = None) -> None:
    """Let experiments name a strategy of one's own.

    ``wake`` is what it does with a task's data, one function or several by name; ``sleep``, what it does without. They
    change the life's networks in place: see `mygo.baselines.methods` for some. On Ray the workers know what was known
    when they were started.
    """
    STRATEGIES[name] = Strategy({name: wake} if callable(wake) else wake, sleep or {})
