"""Lives on one GPU: how long they take, how accurate they are, and what recording their training steps is worth.

python benchmarks/gpu.py            lives of Fashion-MNIST with three seeds; minutes, writes benchmarks/results/gpu.md
python benchmarks/gpu.py --quick    one short life, few steps, and writes nothing

In plain mygo, without Ray, as the only rank of an NCCL process group: the way that several GPUs go.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
import torch.distributed as dist

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.accuracy import spread  # noqa: E402
from benchmarks.lives import (  # noqa: E402
    NO_FLOORS,
    SHAPES,
    Stopwatch,
    interleaved,
    prepare_process,
    ratio,
    run_phase,
    warm_steps,
    with_steps,
)
from benchmarks.report import table, write_report  # noqa: E402
from mygo.config.learner import LifeConfig  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.jobs.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.training.process_group import TorchProcessGroup  # noqa: E402

DATASET: str = "fashion-mnist"
SHORT = {"memory.gan.steps": 100, "sleep.steps": 60, "wake.adapt_steps": 60, "wake.head_steps": 20, **NO_FLOORS}
TIMES = ("life", "process")
"""What is timed of a life: itself, and with the start of Python."""
PHASES = {
    "gan": "wake: a step of the GAN",
    "fit": "wake: a step of the fast learner",
    "sleep": "sleep: a step of distillation",
}


def join_group_of_one() -> None:
    """Make this process the only rank of a process group."""
    dist.init_process_group("nccl", store=dist.HashStore(), rank=0, world_size=1)


def live(seed: int, data_root: Path, changes: dict[str, Any], *, eager: bool) -> dict[str, Any]:
    """Live on the GPU in this process, and return what came of it."""
    prepare_process()
    join_group_of_one()
    config = ExperimentConfig(
        dataset=DATASET,
        strategies=("mygo",),
        data_root=data_root,
        life=change(preset(DATASET), {**changes, "seed": seed, "eager": eager}),
    )
    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        found = Experiment(config, Path(out)).run(TorchProcessGroup("cuda"))["strategies"]["mygo"]
        seconds = time.perf_counter() - began
    dist.destroy_process_group()
    return {"life": seconds, **found}


def lives(seeds: Sequence[int], flags: Sequence[str]) -> list[dict[str, Any]]:
    """Live once with each seed, each in a process of its own; ``process`` is its seconds with all imports."""
    found = []
    for seed in seeds:
        began = time.perf_counter()
        command = [sys.executable, __file__, "--seed", str(seed), *flags]
        ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append({"process": time.perf_counter() - began, **json.loads(ran.stdout.splitlines()[-1])})
        print(f"seed {seed}: {json.dumps(found[-1])}", flush=True)
    return found


def table_of_lives(found: Sequence[dict[str, Any]]) -> str:
    """Return a line for each life."""
    rows = [
        [
            seed,
            f"{life['average_accuracy']['class_il']:.3f}",
            f"{life['average_accuracy']['task_il']:.3f}",
            f"{mean(life['frechet_distance']):.4f}",
            f"{life['life']:.1f}",
            f"{life['process']:.1f}",
            ", ".join(f"{name} {seconds:.1f}" for name, seconds in life["seconds"]["phases"].items()),
        ]
        for seed, life in enumerate(found)
    ]
    accuracies = [[life["average_accuracy"][kind] for life in found] for kind in ("class_il", "task_il")]
    rows.append(["all", *map(spread, accuracies), "", *(f"{median(life[k] for life in found):.1f}" for k in TIMES), ""])
    header = ["seed", "class-IL", "task-IL", "Fréchet", "seconds of the life", "with the start of Python", "of them"]
    return table(header, rows)


def seconds_a_step(phase: str, config: LifeConfig, steps: int, *, eager: bool) -> float:
    """Return what a step of ``phase`` takes."""
    watch = Stopwatch(TorchProcessGroup("cuda"), eager=eager)
    warm = warm_steps(watch.group.device)
    run_phase(phase, with_steps(config, warm + steps), SHAPES[DATASET], watch)
    return watch.seconds_a_step(warm)


def table_of_steps(config: LifeConfig, steps: int, repeats: int) -> str:
    """Return a line for each phase, and one for a task's steps of all."""
    measures = {
        (phase, eager): lambda phase=phase, eager=eager: seconds_a_step(phase, config, steps, eager=eager)
        for phase in PHASES
        for eager in (True, False)
    }
    found = interleaved(measures, repeats)
    counts = {"gan": config.memory.gan.steps, "fit": config.wake.adapt_steps, "sleep": config.sleep.steps}
    lines = {name: [found[phase, eager] for eager in (True, False)] for phase, name in PHASES.items()}
    lines["all such steps of a task"] = [
        [sum(counts[phase] * found[phase, eager][turn] for phase in PHASES) for turn in range(repeats)]
        for eager in (True, False)
    ]
    rows = [
        [name, *(f"{1e3 * median(seconds):,.2f}" for seconds in both), f"{ratio(*both):.1f}"]
        for name, both in lines.items()
    ]
    return table(["ms", "eager", "recorded", "eager / recorded"], rows)


LEGEND = """On {gpu}. A life is that of `run.py --dataset fashion-mnist --strategies mygo`, with its data read and all
that is saved and evaluated; asked for is one of 60 s at most, as accurate as on a CPU (see accuracy.md).

Eager: a training step's operations are launched one by one; recorded: as one CUDA graph, which is what a life does.
Medians of {repeats} rounds in which they take turns; the ratio is to be 2 or more."""


def main() -> None:
    """Measure, and write the report; or, with --seed, live once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--eager", action="store_true", help="live without recording steps")
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here: run this where there is one.", file=sys.stderr)
        sys.exit(2)
    if flags.seed is not None:
        print(json.dumps(live(flags.seed, flags.data_root, SHORT if flags.quick else {}, eager=flags.eager)))
        return
    passed_on = ["--data-root", str(flags.data_root), *(["--quick"] * flags.quick), *(["--eager"] * flags.eager)]
    found = lives(range(1 if flags.quick else flags.seeds), passed_on)
    prepare_process()
    join_group_of_one()
    repeats = 2 if flags.quick else 5
    steps = table_of_steps(preset(DATASET), 20 if flags.quick else 100, repeats)
    dist.destroy_process_group()
    legend = LEGEND.format(gpu=torch.cuda.get_device_name(), repeats=repeats)
    text = "\n\n".join([table_of_lives(found), steps, legend])
    print(text)
    if not flags.quick and not flags.eager:
        write_report("gpu", "Lives on one GPU", "python benchmarks/gpu.py", text)


if __name__ == "__main__":
    main()
