import subprocess
import sys

import pytest

STEPS = """
import resource, sys, torch
from mygo.training.allocation import keep_freed_memory
from mygo.networks.neocortex import NeocortexNet
torch.set_num_threads(1)
if sys.argv[1] == "keep":
    keep_freed_memory()
net, images = NeocortexNet((1, 28, 28)), torch.zeros(128, 1, 28, 28)
for step in range(20):
    if step == 5:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    net.features(images).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Prints for how many pages the kernel was asked in 15 steps of training."""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told anything")
def test_memory_that_a_step_frees_serves_the_next_step() -> None:
    def pages(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert pages("keep") < 0.1 * pages("give back")
