"""Lives that adapt their encoder on Ray: the same as without."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distributed.cluster.placement import place
from distributed.training.trainer import run_on_ray
from mygo.config.learner import LifeConfig
from mygo.events import Event, EventHandler
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from tests.distributed.test_learn import Where, losses_in


def test_lessons_that_adapt_an_encoder_on_ray_are_the_lessons_without(
    ray_cluster: None, tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    """One worker has the same bits, and two the same memories, and the same losses but for rounding."""

    def lived(name: str, run: Callable[[Lesson, EventHandler], object]) -> tuple[Life, dict[Where, dict[str, float]]]:
        seen: list[Event] = []
        for source in (photos("red", "green"), photos("blue", "white")):
            run(Lesson(tmp_path / name, source, config=tiny_adapting, log_every=1), seen.append)
        return Life.open(tmp_path / name), losses_in(seen)

    here, ours = lived("here", lambda lesson, heard: lesson.run(on_event=heard))
    assert {phase for phase, _, _ in ours} == {"learn", "adapt", "consolidate"}
    for workers in (1, 2):
        placement = place({"CPU": 2}, workers, 1)
        there, theirs = lived(
            str(workers), lambda lesson, heard, placement=placement: run_on_ray(lesson, placement, heard)
        )
        assert ours.keys() == theirs.keys()
        for key, of_one in ours.items():
            assert theirs[key] == pytest.approx(of_one, abs=1e-2 if workers > 1 else 0), key
        for one, other in zip(here.memories, there.memories, strict=True):
            assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
        net = there.neocortex.state_dict()
        assert workers > 1 or all(torch.equal(value, net[name]) for name, value in here.neocortex.state_dict().items())
