"""How good a memory is along its training: is the last moving average of the generator the snapshot to keep?

python benchmarks/snapshots.py           Fashion-MNIST's default memories, of the first two tasks; 10 minutes
python benchmarks/snapshots.py --quick   digits; a minute, writes nothing

The judge of each task's dreams is a network of its own, trained on the images of that task.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import astuple, replace
from functools import partial
from pathlib import Path
from statistics import mean

import torch

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.report import table, write_report  # noqa: E402
from mygo.config.learner import LifeConfig  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.data.examples import Examples  # noqa: E402
from mygo.data.tasks import Task  # noqa: E402
from mygo.jobs.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.memory.gan import train_gan  # noqa: E402
from mygo.memory.quality import Quality, measure_quality  # noqa: E402
from mygo.networks.generator import Generator  # noqa: E402
from mygo.networks.neocortex import NeocortexNet  # noqa: E402
from mygo.phase import PhaseContext  # noqa: E402
from mygo.training.checkpoint import NoCheckpoints, Parts  # noqa: E402
from mygo.training.precision import resolved  # noqa: E402
from mygo.training.process_group import SingleProcess  # noqa: E402
from mygo.wake import fit_features_and_head  # noqa: E402

SNAPSHOTS = 16
TASKS = 2
HEADER = ("steps", "label fidelity", "diversity", "Fréchet distance", "nearest-neighbour ratio")


class Watcher(NoCheckpoints):
    """Keeps what ``measure`` says of the generator's moving average, instead of checkpoints, every so many steps."""

    def __init__(self, every: int, measure: Callable[[Generator], Quality]) -> None:
        self.every = every
        self.measure = measure
        self.seen: dict[int, Quality] = {}

    def due(self) -> bool:
        """Look at every step."""
        return True

    def keep(self, steps: int, parts: Parts, attempt: int) -> None:
        """Measure the moving average, if it is time to."""
        average = parts["average"]
        if steps % self.every == 0 and isinstance(average, Generator):
            self.seen[steps] = self.measure(average)


def trained_judge(task: Task, data: Examples, life: LifeConfig, context: PhaseContext) -> NeocortexNet:
    """Return a network that learned ``task`` alone, from random weights; its one head is of number 0."""
    judge = NeocortexNet(data.input_shape, life.backbone)
    judge.add_task_head(len(task.classes))
    fit_features_and_head(
        judge, replace(task, index=0), data, context, (life.seed, "judge", task.index), life.wake.adapt_steps, life.wake
    )
    return judge


def main() -> None:
    """Train the memories one after another, and write how good they were on the way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    flags = parser.parse_args()
    torch.set_num_threads(1)
    dataset = "digits" if flags.quick else "fashion-mnist"
    life = preset(dataset)
    stream = Experiment(ExperimentConfig(dataset=dataset, data_root=flags.data_root, life=life)).open_stream()
    precision = resolved(life.precision, torch.device("cpu"))
    context, gan, memory = PhaseContext(SingleProcess(), precision=precision), life.memory.gan, None
    watchers = []
    for task in stream.tasks[:TASKS]:
        data = stream.take_training_data(task)
        judge, key = trained_judge(task, data, life, context), (life.seed, "snapshots", task.index)

        measure = partial(measure_quality, judge=judge, task=0, data=data, key=key, group=context.group)
        watcher = Watcher(gan.steps // SNAPSHOTS, measure)
        memory = train_gan(data, len(task.classes), gan, key, replace(context, checkpointer=watcher), memory)
        watchers.append(watcher)
    rows = [
        [
            steps,
            *(f"{mean(values):.4f}" for values in zip(*(astuple(each.seen[steps]) for each in watchers), strict=True)),
        ]
        for steps in watchers[0].seen
    ]
    text = f"Means over the memories of the first {TASKS} tasks of {dataset}.\n\n{table(HEADER, rows)}"
    print(text)
    if not flags.quick:
        write_report("snapshots", "A memory along its training", "python benchmarks/snapshots.py", text)


if __name__ == "__main__":
    main()
