import resource
import subprocess
import sys

import pytest

STEPS = """
import resource, sys, torch
from mygo.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def step():
    torch.ones(4, 2**20).mul_(2)
for _ in range(3):
    step()
before = faults()
for _ in range(50):
    step()
print((faults() - before) / 50)
"""
PAGES = 4 * 2**20 * 4 / resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told anything")
def test_freed_memory_is_used_again_instead_of_being_asked_for_anew() -> None:
    def faults_per_step(how: str) -> float:
        done = subprocess.run([sys.executable, "-c", STEPS, how], capture_output=True, text=True, check=True)
        return float(done.stdout)

    assert faults_per_step("keep") < 0.01 * PAGES
    assert faults_per_step("not") > 0.001 * PAGES  # else there is nothing to tell apart: huge pages need a 512th
