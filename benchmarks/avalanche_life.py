"""A life of Avalanche's GenerativeReplay on Split Fashion-MNIST; `benchmarks/peers.py` runs it, with its own Python.

An MLP of 2×400 units, Adam 1e-3, batches of 128 and as many replayed (the protocol of van de Ven & Tolias 2019,
arXiv:1904.07734), with Avalanche's default generator, a VAE. It needs avalanche-lib beside what MyGO needs.
The last line that it prints is JSON: seconds, data and evaluation included and imports not, and class-IL accuracy.
"""

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from mygo.data.datasets import load_dataset  # noqa: E402
from mygo.data.examples import Examples  # noqa: E402
from mygo.data.tasks import Task, deal_classes  # noqa: E402
from mygo.data.torchvision_shim import torchvision  # noqa: E402, F401  now it can be imported beside a CPU build of torch

warnings.filterwarnings("ignore")

from avalanche.benchmarks import tensors_benchmark  # noqa: E402
from avalanche.evaluation.metrics import accuracy_metrics  # noqa: E402
from avalanche.models import SimpleMLP  # noqa: E402
from avalanche.training import GenerativeReplay  # noqa: E402
from avalanche.training.plugins import EvaluationPlugin  # noqa: E402

MEAN, DEVIATION = 0.2860, 0.3530
"""What Avalanche's SplitFMNIST shifts and scales pixels by."""


def examples_of(data: Examples, task: Task) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images [N, C, H, W] and the labels [N] of ``task``, as Avalanche's SplitFMNIST has them."""
    chosen = data[torch.isin(data.labels, torch.tensor(task.classes))]
    return (chosen.inputs.float() / 255 - MEAN) / DEVIATION, chosen.labels


def live(data_root: Path, seed: int, epochs: int) -> dict[str, float]:
    """Learn five tasks of two classes one after another, evaluating after each as ours does."""
    began = time.perf_counter(), time.process_time()
    torch.manual_seed(seed)
    data, tasks = load_dataset("fashion-mnist", data_root), deal_classes(10, 5)
    benchmark = tensors_benchmark(
        train_tensors=[examples_of(data.train, task) for task in tasks],
        test_tensors=[examples_of(data.test, task) for task in tasks],
        task_labels=[0] * len(tasks),  # of class-IL there are none
    )
    model = SimpleMLP(num_classes=10, hidden_size=400, hidden_layers=2)
    strategy = GenerativeReplay(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=1e-3),
        train_mb_size=128,
        train_epochs=epochs,
        eval_mb_size=1000,
        replay_size=128,
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
    )
    for index, experience in enumerate(benchmark.train_stream):
        strategy.train(experience)
        ((_, accuracy),) = strategy.eval(benchmark.test_stream[: index + 1]).items()
    seconds, cpu_seconds = time.perf_counter() - began[0], time.process_time() - began[1]
    return {"seconds": seconds, "cpu_seconds": cpu_seconds, "accuracy": float(accuracy)}


def main() -> None:
    """Live, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    print(json.dumps(live(flags.data_root, flags.seed, flags.epochs)))


if __name__ == "__main__":
    main()
