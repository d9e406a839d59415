"""What benchmarks put a clock on runs; how long it takes is theirs to say."""

import pytest

from benchmarks.lives import NO_FLOORS, PHASES, run_phase, with_batch
from mygo.config.presets import preset
from mygo.config.settings import change


@pytest.mark.parametrize("phase", PHASES)
def test_each_phase_of_a_life_can_be_timed_alone(phase: str) -> None:
    run_phase(phase, change(with_batch(preset("digits"), 4, 2), NO_FLOORS), (1, 8, 8))
