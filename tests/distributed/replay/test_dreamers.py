import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import torch

from distributed.cluster.capacity import Reservation
from distributed.cluster.placement import place
from distributed.replay.actor import DreamerActor
from distributed.replay.block import BlockDreamer, BlockRequest
from distributed.replay.dreamers import ReplayPool, start_dreamers
from distributed.training.control import ControlActor
from mygo.config.settings import change
from mygo.data.tasks import Task
from mygo.jobs.experiment import Experiment
from mygo.jobs.life import Life
from mygo.memory.quality import Quality
from mygo.networks.generator import build_generator
from mygo.replay.schedule import Dreams
from mygo.replay.source import LocalReplay
from mygo.replay.spec import ReplaySpec, replay_of
from mygo.training.process_group import SingleProcess


class PidDreamer(DreamerActor):
    """A dreamer that tells its process."""

    def pid(self) -> int:
        return os.getpid()


@pytest.fixture
def asleep(tiny_experiment: Experiment, tmp_path: Path) -> Life:
    """A saved life between waking and sleeping of its second task."""
    config = tiny_experiment.config.life
    life = Life("mygo", config, (1, 8, 8), tmp_path / "asleep")
    for task in (Task(0, (0, 1)), Task(1, (2, 3))):
        life.begin(task)
        torch.manual_seed(task.index)
        life.keep_memory(task.index, build_generator(config.memory.gan, 2, (1, 8, 8)), Quality(1.0, 1.0))
    life.fast_learner = Life("mygo", config, (1, 8, 8)).neocortex
    for _ in range(2):
        life.fast_learner.add_task_head(2)
    life.tasks_learned = life.cycles = 1
    life.save()
    return life


def assert_equal(some: list[Dreams], others: list[Dreams]) -> None:
    assert len(some) == len(others) > 0
    for a, b in zip(some, others, strict=True):
        for name in ("inputs", "tasks", "labels", "teacher_logits", "teacher_features"):
            assert torch.equal(getattr(a, name), getattr(b, name)), name


@pytest.fixture
def pools(ray_cluster: None) -> Iterator[dict[int, ReplayPool]]:
    pools = {count: ReplayPool(start_dreamers(Reservation(place({"CPU": 1}, 1, count)))) for count in (1, 2, 4)}
    yield pools
    for pool in pools.values():
        for dreamer in pool.dreamers:
            ray.kill(dreamer)


def test_one_two_and_four_dreamers_dream_the_same_bits_as_the_process_itself(
    asleep: Life, pools: dict[int, ReplayPool]
) -> None:
    spec = replay_of(asleep)
    own = list(LocalReplay().dreams(spec, SingleProcess()))
    assert len(own) == spec.schedule.steps
    for pool in pools.values():
        assert_equal(list(pool.dreams(spec, SingleProcess())), own)


def test_a_dreamer_that_dies_comes_back_and_dreams_the_same(asleep: Life, ray_cluster: None) -> None:
    actor = ray.remote(PidDreamer).options(num_cpus=0, max_restarts=-1, max_task_retries=3)
    dreamers = [actor.remote(1) for _ in range(2)]
    spec = replay_of(asleep)
    own = list(LocalReplay().dreams(spec, SingleProcess()))
    dreams = ReplayPool(dreamers).dreams(spec, SingleProcess())
    found = [next(dreams)]
    killed = ray.get(dreamers[0].pid.remote())
    os.kill(killed, signal.SIGKILL)
    found += list(dreams)
    assert_equal(found, own)
    assert ray.get(dreamers[0].pid.remote()) != killed
    for dreamer in dreamers:
        ray.kill(dreamer)


class CountingDreamer:
    """Stands in for an actor handle and counts what is asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.dream = self

    def remote(self, request: BlockRequest, spec: list[ray.ObjectRef]) -> ray.ObjectRef:
        self.asked += 1
        return ray.put(BlockDreamer(1).dream(request, lambda: ray.get(spec[0])))


def test_a_bounded_number_of_blocks_is_in_flight(asleep: Life, ray_cluster: None) -> None:
    dreamer = CountingDreamer()
    asleep.config = change(asleep.config, {"sleep.steps": 56})
    spec = replay_of(asleep)
    assert spec.schedule.blocks == 7
    dreams = ReplayPool([dreamer]).dreams(spec, SingleProcess())
    assert dreamer.asked == 0
    next(dreams)
    assert dreamer.asked == 4
    for _ in range(spec.schedule.steps_per_block):
        next(dreams)
    assert dreamer.asked == 5


def test_what_a_sleep_dreams_with_is_fetched_once_and_is_its_own(asleep: Life) -> None:
    spec, fetched = replay_of(asleep), 0

    def fetch() -> ReplaySpec:
        nonlocal fetched
        fetched += 1
        return spec

    dreamer = BlockDreamer(1)
    for block in range(2):
        dreamer.dream(BlockRequest(spec.sleep, block, 0, 1), fetch)
    assert fetched == 1
    asleep.cycles += 1
    with pytest.raises(RuntimeError, match="is for the sleep"):
        dreamer.dream(BlockRequest(replay_of(asleep).sleep, 0, 0, 1), fetch)


def test_the_teachers_are_those_of_the_moment_when_dreams_are_asked_for(asleep: Life, ray_cluster: None) -> None:
    own = list(LocalReplay().dreams(replay_of(asleep), SingleProcess()))
    dreams = ReplayPool([CountingDreamer()]).dreams(replay_of(asleep), SingleProcess())
    with torch.no_grad():
        for parameter in asleep.neocortex.parameters():
            parameter.zero_()
    assert_equal(list(dreams), own)


class Rank(SingleProcess):
    """One of two ranks, which waits for none."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank, self.size = rank, 2


def test_ranks_share_what_rank_0_has_stored(asleep: Life, ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    control = ray.remote(ControlActor).options(num_cpus=0).remote()
    pool, stored = ReplayPool([CountingDreamer()], control), []
    put = ray.put
    monkeypatch.setattr(ray, "put", lambda value: stored.append(value) or put(value))
    for _ in range(2):
        spec = replay_of(asleep)
        found = [list(pool.dreams(spec, Rank(rank))) for rank in (0, 1)]
        assert_equal(found[1], list(LocalReplay().dreams(spec, Rank(1))))
        asleep.cycles += 1  # another sleep is another thing to share
    assert sum(isinstance(value, ReplaySpec) for value in stored) == 2
    ray.kill(control)


def test_what_others_dream_with_is_a_copy(asleep: Life) -> None:
    spec = replay_of(asleep)
    sent = spec.on_cpu()
    assert spec.teachers[0] is asleep.neocortex
    assert sent.schedule == spec.schedule
    for mine, theirs in zip((*spec.memories, *spec.teachers), (*sent.memories, *sent.teachers), strict=True):
        kept = theirs.state_dict()
        assert all(torch.equal(value, kept[name]) for name, value in mine.state_dict().items())
        assert not any(value.data_ptr() == kept[name].data_ptr() for name, value in mine.state_dict().items())
