import subprocess
import sys

import torch
from torch import nn

from mygo.training.optimiser import Adam, set_rate


def steps(optimiser: torch.optim.Optimizer, module: nn.Module) -> None:
    inputs = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    for step in range(10):
        set_rate(optimiser, 0.1 / (step + 1))
        optimiser.zero_grad()
        module(inputs).square().mean().backward()
        optimiser.step()


def test_it_is_pytorchs_adam() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    steps(Adam(ours, lr=1.0, betas=(0.0, 0.99)), ours)
    steps(torch.optim.Adam(theirs.parameters(), 1.0, betas=(0.0, 0.99), fused=True), theirs)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.equal(ours.bias, theirs.bias)


def test_parameters_that_do_not_learn_are_left_out() -> None:
    module = nn.Linear(5, 3)
    module.bias.requires_grad_(False)
    assert [len(group["params"]) for group in Adam(module, lr=1.0).param_groups] == [1]


def test_a_first_step_imports_neither_pytorchs_compiler_nor_scikit_learn() -> None:
    code = """
import sys
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.config.presets import preset
from mygo.config.settings import change

few = {"memory.gan.steps": 1, "wake.adapt_steps": 1, "memory.fidelity_floor": 0.0, "memory.diversity_floor": 0.0}
Experiment(ExperimentConfig(num_tasks=1, strategies=("mygo",), life=change(preset("digits"), few))).run()
print([name for name in ("torch._dynamo", "sklearn", "torchvision") if name in sys.modules])
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.strip() == "[]", ended.stderr[-1000:]
