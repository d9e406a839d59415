"""Runs that are begun at the same time on one machine: each ends, with what it reaches alone."""

from pathlib import Path

import pytest

from benchmarks.side_by_side import Ended, run_together, shared_ray

TINY = [
    *(
        "--seed",
        "3",
        "--precision",
        "float32",
        "--num-tasks",
        "2",
        "--wake.head-steps",
        "20",
        "--wake.adapt-steps",
        "20",
    ),
    *("--memory.gan.steps", "20", "--memory.gan.batch-size", "16", "--memory.gan.latent-dim", "8"),
    *("--memory.gan.generator-width", "8", "--memory.gan.discriminator-width", "8"),
    *("--memory.fidelity-floor", "0", "--memory.diversity-floor", "0", "--sleep.steps", "20"),
]
RUN = ["distributed/run.py", "--strategies", "mygo", *TINY]
SWEEP = ["tune/sweep.py", "--num-samples", "2", "--finalists", "0", "--test-seeds", "0", "--only", "sleep.lr", *TINY]
LONGEST = 280.0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    (ended,) = run_together([RUN], [tmp_path_factory.mktemp("alone") / "out"], None, LONGEST)
    assert ended.code == 0, ended.said
    assert ended.results is not None
    return ended


def test_two_runs_with_a_ray_each_end_as_they_do_alone(alone: Ended, tmp_path: Path) -> None:
    for ended in run_together([RUN, RUN], [tmp_path / "one", tmp_path / "two"], None, LONGEST):
        assert ended.code == 0, ended.said
        assert ended.results == alone.results
        assert not ended.waited_for


def test_on_a_ray_that_they_share_one_waits_for_the_other_and_says_for_what(alone: Ended, tmp_path: Path) -> None:
    with shared_ray(2) as address:
        both = run_together([RUN, RUN], [tmp_path / "one", tmp_path / "two"], address, LONGEST)
        for ended in both:
            assert ended.code == 0, ended.said
            assert ended.results == alone.results
        (waited,) = (ended.waited_for for ended in both if ended.waited_for)
        assert "room for 1 worker with 1 CPU, and 1 dreamer with 1 CPU" in waited
        assert "holds 2 CPUs" in waited

        sweep, run = run_together([SWEEP, RUN], [tmp_path / "sweep", tmp_path / "run"], address, LONGEST)
        assert sweep.code == 0, sweep.said
        assert run.code == 0, run.said
        assert run.results == alone.results
        assert sweep.waited_for or run.waited_for
