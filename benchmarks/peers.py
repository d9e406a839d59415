"""How long a whole life takes to be as accurate as a peer is: MyGO with several budgets beside Avalanche.

python -m venv PEERS && PEERS/bin/pip install --constraint constraints.txt '.[peers]'
python benchmarks/peers.py --peer-python PEERS/bin/python    40 minutes to two hours; writes results/peers-*.md
python benchmarks/peers.py --quick                           one small life of each, and writes nothing

Split Fashion-MNIST, five tasks of two classes in label order, class-IL, no data stored. Each life runs in a process of
its own with the same number of threads; the contestants take turns, seed after seed. The seconds are those of the whole
life, with its data and its evaluations, without the start of Python.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from rich.console import Console

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.lives import NO_FLOORS, ratio  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.jobs.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.training.precision import native_precision  # noqa: E402
from mygo.training.process_group import SingleProcess  # noqa: E402

BUDGETS: dict[str, dict[str, Any]] = {
    "conv, 300": {"memory.gan.steps": 300, "sleep.steps": 150, "wake.adapt_steps": 100},
    "conv, 150": {"memory.gan.steps": 150, "sleep.steps": 100, "wake.adapt_steps": 60},
    "MLP 2×400, 300": {"backbone": "mlp", "memory.gan.steps": 300, "sleep.steps": 150, "wake.adapt_steps": 100},
    "MLP 2×400, 75": {
        "backbone": "mlp",
        "memory.gan.steps": 75,
        "sleep.steps": 100,
        "wake.adapt_steps": 60,
        **NO_FLOORS,
    },
}
"""What is changed in the preset, by the name of the budget: network, and steps of the GAN."""
SMOKE = "smoke"
"""The budget of --quick: it shows that all runs, and learns next to nothing."""
BUDGETS[SMOKE] = {"memory.gan.steps": 10, "sleep.steps": 8, "wake.adapt_steps": 10, **NO_FLOORS}
EPOCHS = (10, 1)
"""Of Avalanche for each task: those of its measured protocol, and the fewest that there are."""
BEST_PEER = 0.728
"""Class-IL of van de Ven's deep generative replay: public code, its defaults, one seed, 662 s on one core of such a
machine; measured once for this project, not here."""


@dataclass(frozen=True)
class Contestant:
    """Somebody's life, as a command whose last line is JSON with ``seconds``, ``cpu_seconds`` and ``accuracy``."""

    name: str
    command: tuple[str, ...]

    def live(self, seed: int, threads: int, data_root: Path) -> dict[str, float]:
        """Live with ``seed`` in a process of its own."""
        flags = ["--seed", str(seed), "--threads", str(threads), "--data-root", str(data_root)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        ran = subprocess.run([*self.command, *flags], env=environment, capture_output=True, text=True)
        if ran.returncode:
            raise RuntimeError(f"{self.name} ended with exit code {ran.returncode}: {ran.stderr[-2000:]}")
        found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
        return found


def live(budget: str, seed: int, data_root: Path) -> dict[str, float]:
    """Live with one of `BUDGETS` in this process."""
    began = time.perf_counter(), time.process_time()
    life = change(preset("fashion-mnist"), {**BUDGETS[budget], "seed": seed})
    config = ExperimentConfig(dataset="fashion-mnist", strategies=("mygo",), data_root=data_root, life=life)
    found = Experiment(config).run(SingleProcess())["strategies"]["mygo"]
    seconds, cpu_seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "accuracy": found["average_accuracy"]["class_il"]}


def contestants(peer_python: str, budgets: list[str], epochs: list[int]) -> list[Contestant]:
    """Return all whose lives are compared, Avalanche first."""
    theirs = str(REPOSITORY / "benchmarks" / "avalanche_life.py")
    return [
        *(Contestant(f"Avalanche, {n} epoch(s)", (peer_python, theirs, "--epochs", str(n))) for n in epochs),
        *(Contestant(f"MyGO, {name}", (sys.executable, __file__, "--life", name)) for name in budgets),
    ]


def check_peer(python: str) -> None:
    """End here unless ``python`` can import Avalanche."""
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('avalanche') is None)"
    if subprocess.run([python, "-c", look], capture_output=True).returncode:
        print(
            f"{python} has no Avalanche: pip install 'mygo[peers]' into an environment of its own, "
            "and name its Python with --peer-python.",
            file=sys.stderr,
        )
        sys.exit(2)


HEADER = ["", "class-IL", "seconds", "of them CPU", "seconds / Avalanche's", f"≥ Avalanche; ≥ {BEST_PEER}"]


def report(names: list[str], found: dict[str, list[dict[str, float]]]) -> str:
    """Return the table of what was ``found``, by name, seed after seed; the first of ``names`` is the measure."""

    def all_of(name: str, key: str) -> list[float]:
        return [life[key] for life in found[name]]

    bars = mean(all_of(names[0], "accuracy")), BEST_PEER
    rows = []
    for name in names:
        seconds, accuracy = all_of(name, "seconds"), mean(all_of(name, "accuracy"))
        spread = ", ".join(f"{value:.3f}" for value in all_of(name, "accuracy"))
        reached = "; ".join("yes" if accuracy >= bar else "no" for bar in bars)
        quotient = ratio(seconds, all_of(names[0], "seconds"))
        cpu = f"{median(all_of(name, 'cpu_seconds')):.0f}"
        rows.append([name, f"{accuracy:.3f} ({spread})", f"{median(seconds):.0f}", cpu, f"{quotient:.2f}", reached])
    return table(HEADER, rows)


LEGEND = """Class-IL: mean over seeds 0 to {last}, and each. Seconds: median of a life on {threads} thread(s), with data
and evaluation; their ratio to the first row's is the median of each seed's. {best} is van de Ven's deep
generative replay (662 s on one core of such a machine, not measured here). Budgets: {budgets}."""


def main() -> None:
    """Run all lives in turns, and write the table; or, with --life, one of ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has Avalanche")
    parser.add_argument("--seeds", type=int, default=5, help="rounds, each with another seed")
    parser.add_argument("--budgets", nargs="*", default=[b for b in BUDGETS if b != SMOKE], choices=BUDGETS)
    parser.add_argument("--threads", type=int, default=1, help="of each life")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--life", choices=BUDGETS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    if flags.life:
        print(json.dumps(live(flags.life, flags.seed, flags.data_root)))
        return
    check_peer(flags.peer_python)
    budgets, epochs = ([SMOKE], [1]) if flags.quick else (flags.budgets, list(EPOCHS))
    everyone = contestants(flags.peer_python, budgets, epochs)
    found: dict[str, list[dict[str, float]]] = {each.name: [] for each in everyone}
    rounds = 1 if flags.quick else flags.seeds
    with Console(stderr=True).status("") as status:
        for seed in range(rounds):
            for each in everyone:
                status.update(f"seed {seed}: {each.name}")
                found[each.name].append(each.live(seed, flags.threads, flags.data_root))
                print(f"seed {seed}: {each.name}: {found[each.name][-1]}", flush=True)
    legend = LEGEND.format(
        last=rounds - 1,
        threads=flags.threads,
        best=BEST_PEER,
        budgets="; ".join(f"{name}: {json.dumps(BUDGETS[name])}" for name in budgets),
    )
    text = f"{report([each.name for each in everyone], found)}\n\n{legend}"
    print(text)
    if not flags.quick:
        options = ["--threads", str(flags.threads), "--seeds", str(rounds), "--budgets", *budgets]
        command = f"python benchmarks/peers.py --peer-python PEERS/bin/python {shlex.join(options)}"
        write_report(f"peers-{native_precision()}", "Time to a peer's accuracy", command, text)


if __name__ == "__main__":
    main()
