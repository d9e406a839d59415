"""The stages of a sweep: search on validation images, compare the best again, test the winner."""

import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
import ray
import ray.tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator
from ray.tune.search.optuna import OptunaSearch
from rich.console import Console

from distributed.cluster.capacity import is_free, waiting_for
from mygo.errors import MygoError
from mygo.files import read_json
from mygo.reporting.console import plain
from tune.board import TrialBoard, TrialRecord
from tune.space import Space, settings_of
from tune.trial import GPU_SHARE_AHEAD, Plan, Point, run_trial, train_memories

SearchName = Literal["optuna", "random", "grid"]

KEEP = 2 / 3
"""Share of trials that go on after each task, where weak ones are stopped."""

Scores = dict[str, Any]
"""Settings, their class-IL on each seed, and the mean."""


@dataclass
class Stages:
    """Runs the stages, one after another, on the Ray that this process is connected to.

    The search sees one seed; its best trials are compared on the next ones, and tested on others again.
    """

    plan: Plan
    space: Space
    concurrent: int
    """Trials at a time."""
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall seconds of each stage that was run."""

    @property
    def seed(self) -> int:
        """The seed of the search."""
        return self.plan.base.life.seed

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings that the search starts from."""
        return settings_of(self.plan.base.life, self.space)

    def search(
        self, name: SearchName, num_samples: int, share: float, *, stop_weak: bool, budget: float | None
    ) -> list[TrialRecord]:
        """Run the trials of the search, evaluated on the ``share`` for validation, and return them.

        Raises:
            MygoError: none of them finished.
        """
        seed = self.seed

        def point_of(config: Mapping[str, Any]) -> Point:  # travels to the trials, so it must not hold self
            # Ray's samplers return NumPy's numbers.
            plain = {name: value.item() if hasattr(value, "item") else value for name, value in config.items()}
            return Point(plain, seed, share)

        earlier = self.earlier_points(share)
        tries = [self.defaults, *(settings for settings in earlier if settings != self.defaults)]
        # Or a search that goes on would draw again what it drew first. NumPy takes seeds of 32 bits.
        draws = (seed + len(earlier)) % 2**32
        space = {name: values.domain() for name, values in self.space.items()}
        algorithm: Any = None
        if name == "grid":
            space, num_samples = {name: ray.tune.grid_search(values.grid()) for name, values in self.space.items()}, 1
        elif name == "random":
            algorithm = BasicVariantGenerator(points_to_evaluate=tries, random_state=draws)
        else:
            optuna.logging.set_verbosity(optuna.logging.ERROR)
            algorithm = OptunaSearch(metric="score", mode="max", points_to_evaluate=tries, seed=draws)
        # max_t only sets the last rung: reaching it must not stop a life before it has written its results.
        tasks = self.plan.base.num_tasks
        asha = ASHAScheduler("tasks", max_t=tasks + 1, grace_period=1, reduction_factor=1 / KEEP)

        with memories_ahead(point_of(self.defaults), self.plan):
            records = self.run_trials(
                "search",
                "Search, on validation images",
                point_of,
                space,
                budget=budget,
                search_alg=algorithm,
                scheduler=asha if stop_weak else None,
                num_samples=num_samples,
            )
        if not any(record.status == "finished" for record in records):
            raise MygoError(
                "No trial of the search came to its end: see the errors above, or --resume with more --time-budget."
            )
        return records

    def earlier_points(self, share: float) -> list[dict[str, Any]]:
        """Return the settings that an interrupted search tried already, in their order."""
        records = [read_json(path) for path in (self.plan.out / "trials").glob("*/trial.json")]
        searched = [record for record in records if (record["seed"], record["validation_share"]) == (self.seed, share)]
        return [record["settings"] for record in sorted(searched, key=lambda record: int(record["number"]))]

    def compare_again(
        self, searched: Sequence[TrialRecord], finalists: int, num_seeds: int, share: float
    ) -> list[Scores]:
        """Compare the best ``finalists`` with the defaults on further seeds; returns their scores, the winner first.

        The best of many trials owes part of its lead to luck, so only the further seeds count. At a tie the defaults
        stay.

        Raises:
            MygoError: none of them came to its end on every seed.
        """
        candidates = [self.defaults]
        for settings in (scores["settings"] for scores in ranked(searched)):
            if settings not in candidates and len(candidates) <= finalists:  # a search may try the same ones twice
                candidates.append(settings)
        seeds = range(self.seed + 1, self.seed + 1 + num_seeds)
        points = [Point(settings, seed, share) for settings in candidates for seed in seeds]
        title = "Best trials and the defaults, on further seeds and validation images"
        records = self.run_points("finalists", title, points)
        scores = [scores_of(records, settings) for settings in candidates]
        complete = [entry for entry in scores if len(entry["class_il"]) == num_seeds]
        if not complete:
            raise MygoError("None of the best trials came to its end on other seeds: see the errors above.")
        return sorted(complete, key=lambda entry: -entry["mean"])  # a stable sort: the defaults come first

    def test(self, winner: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Scores]:
        """Test the ``winner`` and the defaults on test images, which nothing looked at before.

        Raises:
            MygoError: one of them came to its end on no seed.
        """
        both = {"defaults": self.defaults, "winner": dict(winner)}
        points = {
            point.name: point for settings in both.values() for seed in seeds for point in [Point(settings, seed, 0)]
        }
        title = "The winner and the defaults, on fresh seeds and test images"
        records = self.run_points("test", title, list(points.values()))
        tested = {name: scores_of(records, settings) for name, settings in both.items()}
        for name, scores in tested.items():
            if not scores["class_il"]:
                raise MygoError(f"No test of the {name} came to its end: see the errors above, and --resume.")
        return tested

    def run_points(self, stage: str, title: str, points: Sequence[Point]) -> list[TrialRecord]:
        """Run a trial for each of ``points`` and return them."""
        space = {"point": ray.tune.grid_search(list(range(len(points))))}
        return self.run_trials(stage, title, lambda config: points[config["point"]], space)

    def run_trials(
        self,
        stage: str,
        title: str,
        point_of: Callable[[dict[str, Any]], Point],
        space: Mapping[str, Any],
        budget: float | None = None,
        **options: Any,
    ) -> list[TrialRecord]:
        """Run one stage's trials under Tune and return them."""
        plan, folder = self.plan, self.plan.out / "ray"
        shutil.rmtree(folder, ignore_errors=True)  # what a killed sweep left; trials keep what counts themselves
        started = time.monotonic()
        board = TrialBoard(title, plan, self.console, point_of)
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(lambda config: run_trial(point_of(config), plan), plan.resources),
            param_space=dict(space),
            tune_config=ray.tune.TuneConfig(
                metric="score",
                mode="max",
                max_concurrent_trials=self.concurrent,
                reuse_actors=plan.placement.num_workers == 1,
                time_budget_s=budget,
                **options,
            ),
            run_config=ray.tune.RunConfig(
                name=f"{stage}-{uuid.uuid4().hex[:8]}", storage_path=str(folder), verbose=0, callbacks=[board]
            ),
        )
        if not is_free(plan.cpus, plan.gpus):
            self.console.print(plain(waiting_for(f"a trial with {plan.cpus:g} CPUs and {plan.gpus:g} GPUs")))
        with board:
            tuner.fit()
        shutil.rmtree(folder, ignore_errors=True)
        self.seconds[stage] = time.monotonic() - started
        self.console.print(f"[dim]{stage}: {len(board.records)} trials in {self.seconds[stage]:.0f} s")
        return list(board.records.values())


@contextmanager
def memories_ahead(point: Point, plan: Plan) -> Iterator[None]:
    """Train the memories of ``point`` beside the block, in a task of Ray, where trials of ``plan`` find them."""
    if not plan.trains_ahead:
        yield
        return
    gpus = GPU_SHARE_AHEAD * plan.placement.use_gpu
    ahead = ray.remote(train_memories).options(num_cpus=0, num_gpus=gpus).remote(point, plan)
    try:
        yield
    finally:
        ray.cancel(ahead, force=True)


def scores_of(records: Iterable[TrialRecord], settings: Mapping[str, Any]) -> Scores:
    """Return what the finished trials with ``settings`` reached in the end; the mean of none is 0."""
    found = [
        record.class_il[-1] for record in records if record.status == "finished" and record.point.settings == settings
    ]
    return {"settings": dict(settings), "class_il": found, "mean": statistics.mean(found) if found else 0.0}


def ranked(records: Sequence[TrialRecord]) -> list[Scores]:
    """Return the scores of the finished trials, the best first."""
    finished = [record for record in records if record.status == "finished"]
    scores = [scores_of([record], record.point.settings) for record in finished]
    return sorted(scores, key=lambda entry: -entry["mean"])
