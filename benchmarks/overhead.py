"""What Ray costs: a life under Ray beside the same life as plain `mygo`, and its DDP beside torchrun's.

python benchmarks/overhead.py            digits, five rounds; a quarter of an hour, writes results/overhead.md
python benchmarks/overhead.py --quick    shorter lives, one round

Every life is a command of its own, and they take turns. Each process trains with one thread.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.lives import FLOORS, SHORT_LIFE, ratio  # noqa: E402
from benchmarks.processes import seconds_of_life  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402

PYTHON = sys.executable
TORCHRUN = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
COMMANDS: dict[str, list[str]] = {
    "plain": [PYTHON, "benchmarks/overhead.py", "--live", "alone"],
    "Ray, 1 worker": [PYTHON, "distributed/run.py", "--num-workers", "1", "--num-dreamers", "1"],
    "torchrun, 2 ranks": [*TORCHRUN, "benchmarks/overhead.py", "--live", "ranks"],
    "Ray, 2 workers": [PYTHON, "distributed/run.py", "--num-workers", "2", "--num-dreamers", "1"],
}
"""What lives, by name; the flags of the life follow."""
WAKE = ("learn", "adapt", "memorise")


@dataclass(frozen=True)
class Lived:
    """What a life took, in seconds."""

    start: float
    """From the command to the end of the first training step that was logged."""
    phases: Mapping[str, float]
    """Each phase, over all tasks."""

    @property
    def training(self) -> float:
        """All phases."""
        return sum(self.phases.values())

    @property
    def wake(self) -> float:
        """The phases that do not need dreams."""
        return sum(self.phases[name] for name in WAKE)


def live(command: Sequence[str], flags: Sequence[str]) -> Lived:
    """Run ``command`` in a process of its own and return what it took."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        started = time.time()
        phases = seconds_of_life(command, flags, out)["phases"]
        return Lived(first_step(out / "tensorboard" / "mygo") - started, phases)


def first_step(board: Path) -> float:
    """Return when the first loss was logged, in seconds since 1970."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(board)).Reload()
    return min(events.Scalars(tag)[0].wall_time for tag in events.Tags()["scalars"] if tag.startswith("learn/"))


def live_here(how: str, argv: list[str]) -> None:
    """Live as `run.py` would with the flags ``argv``, in this process: ``alone``, or as one of torchrun's ``ranks``."""
    import torch
    import torch.distributed as dist

    from distributed.run import parse
    from mygo.events import silent
    from mygo.jobs.experiment import Experiment
    from mygo.reporting.tensorboard import TensorBoardLogger
    from mygo.training.process_group import SingleProcess, TorchProcessGroup

    torch.set_num_threads(1)
    flags = parse(argv)
    assert flags.out is not None
    config = replace(flags.experiment, strategies=("mygo",))
    if how == "ranks":
        dist.init_process_group("gloo")
    group = TorchProcessGroup() if how == "ranks" else SingleProcess()
    with closing(TensorBoardLogger(flags.out / "tensorboard")) as board:
        Experiment(config, flags.out).run(group, on_event=board if group.rank == 0 else silent)
    if how == "ranks":
        dist.destroy_process_group()


def compared(name: str, some: Sequence[float], others: Sequence[float], must: str = "") -> list[str]:
    """Return a row: medians of ``some`` and of ``others``, and the ratio of each round's."""
    return [name, f"{median(others):.1f}", f"{median(some):.1f}", f"{ratio(some, others):.2f}", must]


def main() -> None:
    """Let the lives take turns, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--live", choices=("alone", "ranks"), help=argparse.SUPPRESS)
    known, rest = parser.parse_known_args()
    if known.live:
        live_here(known.live, rest)
        return
    shorter = [*SHORT_LIFE, "--sleep.steps", "50"] if known.quick else ["--memory.gan.steps", "200", *FLOORS]
    flags = ["--dataset", "digits", "--strategies", "mygo", *shorter]
    lived: dict[str, list[Lived]] = {name: [] for name in COMMANDS}
    for _ in range(1 if known.quick else 5):
        for name, command in COMMANDS.items():
            lived[name].append(live(command, flags))
            print(f"{name}: start {lived[name][-1].start:.1f} s, training {lived[name][-1].training:.1f} s", flush=True)
    plain, one, torchrun, two = lived.values()
    rows = [
        compared("start-up", [each.start for each in one], [each.start for each in plain], "Ray: <= 25 s; aim 15"),
        compared("training", [each.training for each in one], [each.training for each in plain], "<= 1.10; aim 1.03"),
        *(
            compared(f"of that, {phase}", [each.phases[phase] for each in one], [each.phases[phase] for each in plain])
            for phase in plain[0].phases
        ),
    ]
    ranks = [compared("wake", [each.wake for each in two], [each.wake for each in torchrun])]
    parts = [
        "One worker and one dreamer under Ray, against one process:",
        table(["seconds", "plain", "Ray", "Ray / plain", "asked"], rows),
        "Two workers under Ray, against two ranks under torchrun (the phases that need no dreams):",
        table(["seconds", "torchrun", "Ray", "Ray / torchrun", "asked"], ranks),
        f"Medians of {len(plain)} rounds in which the four lives take turns, and medians of each round's ratios. "
        "Start-up is from the command to the first logged training step, imports included. Under Ray the dreamer "
        "has a core of its own, so that dreams are made beside training. GANs train for a third of their steps.",
    ]
    text = "\n\n".join(parts)
    print(text)
    if not known.quick:
        write_report("overhead", "What Ray costs", "python benchmarks/overhead.py", text)


if __name__ == "__main__":
    main()
