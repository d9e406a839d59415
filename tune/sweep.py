"""Search how much to replay and how to weigh what is distilled; ends with a best.json for distributed/run.py.

python tune/sweep.py --dataset digits --num-samples 16 --out runs/sweep
"""

import os
import shutil
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

if __name__ == "__main__":  # started as a script: import from the repository instead of from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import tyro
from rich.console import Console

from distributed.run import class_order, dataset_named
from mygo.data import DatasetName, load_dataset
from mygo.errors import InputError, MygoError
from mygo.experiment import ExperimentConfig, check_writable, versions
from mygo.life import LifeConfig
from mygo.presets import preset
from mygo.storage import read_json, write_json

if TYPE_CHECKING:
    from tune.board import TrialRecord
    from tune.trial import Point

RESULTS_SCHEMA = 1
KEEP = 2 / 3
"""Share of trials that go on after each task, where weak ones are stopped."""

TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a trial's life and our own records say all that Tune's files would
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the sweep at once: --resume goes on with it
    "RAY_AIR_NEW_OUTPUT": "0",  # our table is the output
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # resuming reads the trials' own records
}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Search the settings of a data set's learner on validation images, and test what was found."""

    dataset: DatasetName = "digits"
    """The data set."""
    num_tasks: int = 5
    """Number of tasks that the classes are dealt into."""
    class_order: str | None = None
    """Order in which classes are dealt, such as 3,1,0,2,…; label order by default."""
    space: Literal["sleep", "all"] = "sleep"
    """What is searched: sleep alone, for which memories are trained once, or waking and the GAN too."""
    only: str = ""
    """Comma list of parameters, to search these alone. A grid needs it, or becomes too large."""
    search: Literal["optuna", "random", "grid"] = "optuna"
    """Optuna's TPE, random draws, or every combination of each range's ends and middle and of all choices."""
    num_samples: int = 16
    """Trials of the search; a grid has as many as it has combinations. The first one tries the defaults."""
    scheduler: Literal["asha", "none"] = "asha"
    """ASHA stops the weakest third of trials after each task; none lets all of them live to the end."""
    validation_share: float = 0.2
    """Share of each class's training images that trials are compared on."""
    finalists: int = 3
    """Best trials that are compared with the defaults again, on further seeds; with 0 the best one wins at once."""
    finalist_seeds: int = 2
    """Number of those further seeds."""
    test_seeds: int = 3
    """Number of fresh seeds with which the winner and the defaults are tested, on test images, at the very end; with 0
    the test images are left alone."""
    num_workers: int = 1
    """Training workers of each trial. One lives in the trial's own process; several train under Ray Train."""
    num_dreamers: int | None = None
    """Replay actors of each trial, where it has several workers."""
    time_budget: float | None = None
    """Seconds for the search; the winner is then chosen from the trials that finished."""
    own_memories: bool = False
    """Let every trial train its own memories, to see what sharing them saves."""
    memory_cache: Path | None = None
    """Folder of memories to share with other sweeps and runs; by default OUT/memories."""
    out: Path | None = None
    """Folder for all that the sweep leaves, visible to all nodes. By default a new one under runs/."""
    data_root: Path = Path("data")
    """Folder in which torchvision's data sets lie, or are downloaded to."""
    resume: bool = False
    """Go on with the sweep in --out. Trials that finished are not run again, those that failed are."""
    verbose: bool = False
    """Show Ray's own log."""
    life: Annotated[LifeConfig, tyro.conf.arg(name="")] = field(default_factory=LifeConfig)

    def __post_init__(self) -> None:
        lowest = {"num_samples": 1, "finalists": 0, "finalist_seeds": 1, "test_seeds": 0, "num_workers": 1}
        for name, least in lowest.items():
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} must be at least {least}, not {getattr(self, name)}.")
        if self.num_tasks < 2:
            raise InputError("--num-tasks must be at least 2: with one task there is nothing to reconcile in sleep.")
        if not 0 < self.validation_share < 1:
            raise InputError(f"--validation-share must be above 0 and below 1, not {self.validation_share}.")
        if self.time_budget is not None and self.time_budget <= 0:
            raise InputError(f"--time-budget must be above 0 seconds, not {self.time_budget}.")
        if self.search == "grid" and not self.only:
            raise InputError("--search grid needs --only with a few parameters: a grid over all of them has thousands.")


def parse(argv: list[str]) -> Arguments:
    """Return the arguments, with the data set's preset for what ``argv`` does not say. Exits with 2 on bad ones."""
    defaults = Arguments(life=preset(dataset_named(argv)))
    return tyro.cli(Arguments, args=argv, default=defaults, prog="sweep.py", config=(tyro.conf.FlagCreatePairsOff,))


class Sweep:
    """The stages of one sweep: search on validation images, compare the best again, test the winner."""

    def __init__(self, arguments: Arguments, base: ExperimentConfig, out: Path, console: Console) -> None:
        from tune.space import search_space, settings_of

        self.arguments = arguments
        self.base = base
        self.out = out
        self.console = console
        only = tuple(name.strip() for name in arguments.only.split(",") if name.strip())
        self.space = search_space(arguments.space, base.life, only)
        self.defaults = settings_of(base.life, self.space)
        self.seconds: dict[str, float] = {}

    def settings(self) -> dict[str, Any]:
        """Return what must be the same when a sweep goes on: everything but how far and where it goes."""
        free = ("num_samples", "num_workers", "num_dreamers", "time_budget", "out", "data_root", "resume", "verbose")
        kept = {name: value for name, value in asdict(self.arguments).items() if name not in free}
        return {**kept, "memory_cache": kept["memory_cache"] and str(kept["memory_cache"])}

    def check_out(self) -> None:
        """Make sure that the folder is new or, to resume, that of the same sweep; writes nothing.

        Raises:
            InputError: it is not.
        """
        begun = self.out / "sweep.json"
        if self.arguments.resume:
            if not begun.exists():
                raise InputError(f"{self.out} holds no sweep to resume: leave out --resume to start one.")
            if read_json(begun) != self.settings():
                raise InputError(f"{self.out} was begun with other settings: go on with the same flags.")
        elif begun.exists():
            raise InputError(f"{self.out} already holds a sweep: pass --resume to go on with it, or another --out.")
        check_writable(self.out)

    def run(self) -> dict[str, Any]:
        """Run all stages on the Ray that this process is connected to, and return the results, which are written too.

        Raises:
            InputError: the cluster cannot hold a trial.
            MygoError: no trial came to its end.
        """
        import ray

        from distributed.placement import place
        from tune.pictures import draw
        from tune.trial import Plan

        if self.arguments.num_workers > 1:
            check_dashboard()
        resources = ray.cluster_resources()
        placement = place(resources, self.arguments.num_workers, self.arguments.num_dreamers)
        cache = None if self.arguments.own_memories else self.arguments.memory_cache or self.out / "memories"
        self.plan = Plan(self.base, self.out, cache and cache.resolve(), placement)
        self.concurrent = self.plan.concurrent_trials(resources)
        self.console.print(f"[dim]Trials at a time: {self.concurrent}")
        write_json(self.out / "sweep.json", self.settings())

        searched = self.search()
        finalists = self.compare_again(searched) if self.arguments.finalists else ranked(searched)[:1]
        winner = finalists[0]["settings"]
        tested = self.test(winner) if self.arguments.test_seeds else None
        results = {
            "schema": RESULTS_SCHEMA,
            "dataset": self.base.dataset,
            "validation_share": self.arguments.validation_share,
            "space": self.described_space(),
            "trials": [record.as_json() for record in searched],
            "finalists": finalists,
            "winner": winner,
            "defaults": self.defaults,
            "test": tested,
            "memory_cache": self.plan.memory_cache and str(self.plan.memory_cache),
            "importance": draw(searched, self.space, self.out),
            "seconds": self.seconds,
            "versions": versions(),
        }
        write_json(self.out / "best.json", self.best(winner))
        write_json(self.out / "results.json", results)
        return results

    def described_space(self) -> dict[str, Any]:
        """Return the space as plain values."""
        return {name: asdict(values) for name, values in self.space.items()}

    def best(self, winner: Mapping[str, Any]) -> dict[str, Any]:
        """Return the winner as ``run.py --config`` reads it."""
        from mygo.settings import change

        order = self.base.class_order
        return {
            "dataset": self.base.dataset,
            "num_tasks": self.base.num_tasks,
            "class_order": order and list(order),
            "life": asdict(change(self.base.life, winner)),
        }

    # -- the stages ---------------------------------------------------------------------------------------------------

    def search(self) -> "list[TrialRecord]":
        """Run the trials of the search and return them.

        Raises:
            MygoError: none of them finished.
        """
        import ray
        import ray.tune

        from tune.trial import Point, train_memories

        seed, share = self.base.life.seed, self.arguments.validation_share

        def point_of(config: Mapping[str, Any]) -> Point:
            plain = {name: value.item() if hasattr(value, "item") else value for name, value in config.items()}
            return Point(plain, seed, share)

        earlier = self.earlier_points()
        trials = self.arguments.num_samples
        param_space = {name: values.domain() for name, values in self.space.items()}
        tries = [self.defaults, *(point for point in earlier if point != self.defaults)]
        algorithm: Any
        if self.arguments.search == "grid":
            param_space = {name: ray.tune.grid_search(values.grid()) for name, values in self.space.items()}
            algorithm, trials = None, 1
        elif self.arguments.search == "random":
            algorithm = ray.tune.search.BasicVariantGenerator(
                points_to_evaluate=tries, random_state=seed + len(earlier), constant_grid_search=True
            )
        else:
            import optuna
            from ray.tune.search.optuna import OptunaSearch

            optuna.logging.set_verbosity(optuna.logging.ERROR)
            algorithm = OptunaSearch(metric="score", mode="max", points_to_evaluate=tries, seed=seed + len(earlier))
        scheduler = None
        if self.arguments.scheduler == "asha":
            # max_t only sets the last rung. Reaching it must not stop a life before it has written its results.
            scheduler = ray.tune.schedulers.ASHAScheduler(
                "tasks", max_t=self.base.num_tasks + 1, grace_period=1, reduction_factor=1 / KEEP
            )
        ahead = ray.remote(train_memories).options(num_cpus=0).remote(point_of(self.defaults), self.plan)
        try:
            records = self.run_trials(
                "search",
                "Search, on validation images",
                point_of,
                param_space,
                budget=self.arguments.time_budget,
                search_alg=algorithm,
                scheduler=scheduler,
                num_samples=trials,
            )
        finally:
            ray.cancel(ahead, force=True)
        if not any(record.status == "finished" for record in records):
            raise MygoError(
                "No trial of the search came to its end: see the errors above, or --resume with more --time-budget."
            )
        return records

    def earlier_points(self) -> list[dict[str, Any]]:
        """Return the settings that an interrupted search tried already, in their order."""
        known = [read_json(path) for path in (self.out / "trials").glob("*/trial.json")]
        searched = (self.base.life.seed, self.arguments.validation_share)
        known = [entry for entry in known if (entry["seed"], entry["validation_share"]) == searched]
        return [entry["settings"] for entry in sorted(known, key=lambda entry: int(entry["number"]))]

    def compare_again(self, searched: "Sequence[TrialRecord]") -> list[dict[str, Any]]:
        """Compare the best trials with the defaults on further seeds; returns them, the winner first.

        The search sees one seed, and the best of many trials owes part of its lead to luck. The mean over further seeds
        decides; at a tie the defaults stay.
        """
        from tune.trial import Point

        others = [entry["settings"] for entry in ranked(searched) if entry["settings"] != self.defaults]
        candidates = [self.defaults, *others[: self.arguments.finalists]]
        first = self.base.life.seed
        seeds = range(first + 1, first + 1 + self.arguments.finalist_seeds)
        share = self.arguments.validation_share
        records = self.run_points(
            "finalists",
            "Best trials and the defaults, on further seeds and validation images",
            [Point(settings, seed, share) for settings in candidates for seed in seeds],
        )
        found = []
        for settings in candidates:
            again = scores_of(records, settings)
            if len(again) == len(seeds):
                found.append({"settings": settings, "class_il": again, "mean": statistics.mean(again)})
        if not found:
            raise MygoError("None of the best trials came to its end on other seeds: see the errors above.")
        return sorted(found, key=lambda entry: -entry["mean"])  # a stable sort: the defaults come first

    def test(self, winner: Mapping[str, Any]) -> dict[str, Any]:
        """Test the winner and the defaults on test images, which nothing looked at before, with fresh seeds."""
        from tune.trial import Point

        first = self.base.life.seed + 1 + self.arguments.finalist_seeds
        seeds = range(first, first + self.arguments.test_seeds)
        both = [self.defaults] if dict(winner) == self.defaults else [self.defaults, dict(winner)]
        points = [Point(settings, seed, 0.0) for settings in both for seed in seeds]
        records = self.run_points("test", "The winner and the defaults, on fresh seeds and test images", points)
        tested: dict[str, Any] = {"seeds": list(seeds)}
        for name, settings in (("defaults", self.defaults), ("winner", winner)):
            found = scores_of(records, settings)
            tested[name] = {"class_il": found, "mean": statistics.mean(found) if found else None}
        return tested

    def run_points(self, stage: str, title: str, points: "Sequence[Point]") -> "list[TrialRecord]":
        """Run a trial for each of ``points`` and return them."""
        import ray.tune

        space = {"point": ray.tune.grid_search(list(range(len(points))))}
        return self.run_trials(stage, title, lambda config: points[config["point"]], space)

    def run_trials(
        self,
        stage: str,
        title: str,
        point_of: "Callable[[dict[str, Any]], Point]",
        param_space: Mapping[str, Any],
        budget: float | None = None,
        **options: Any,
    ) -> "list[TrialRecord]":
        """Run one stage's trials under Tune and return them."""
        import ray.tune

        from tune.board import TrialBoard
        from tune.trial import run_trial

        plan, folder = self.plan, self.out / "ray"
        shutil.rmtree(folder, ignore_errors=True)  # what a killed sweep left; trials keep what counts themselves
        started = time.monotonic()
        board = TrialBoard(title, plan, self.console, point_of, started + (budget or float("inf")))
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(lambda config: run_trial(point_of(config), plan), plan.resources),
            param_space=dict(param_space),
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
        with board:
            tuner.fit()
        shutil.rmtree(folder, ignore_errors=True)
        self.seconds[stage] = time.monotonic() - started
        self.console.print(f"[dim]{stage}: {len(board.records)} trials in {self.seconds[stage]:.0f} s")
        return list(board.records.values())


def ranked(records: "Iterable[TrialRecord]") -> list[dict[str, Any]]:
    """Return the settings and scores of the finished trials, the best first."""
    finished = [record for record in records if record.status == "finished"]
    entries = [
        {"settings": dict(record.point.settings), "class_il": record.class_il[-1:], "mean": record.class_il[-1]}
        for record in finished
    ]
    return sorted(entries, key=lambda entry: -entry["mean"])


def check_dashboard() -> None:
    """Make sure that a stopped trial of several workers frees them: Ray Train asks the dashboard who is still alive.

    Raises:
        InputError: the cluster runs without.
    """
    from ray.util.state import list_nodes
    from ray.util.state.exception import RayStateApiException

    try:
        list_nodes(limit=1, timeout=10)
    except RayStateApiException as error:
        raise InputError(
            "Trials of several workers need Ray's dashboard, or stopped ones would keep their cores: start Ray with "
            "--include-dashboard=true, or leave out --num-workers."
        ) from error


def scores_of(records: "Iterable[TrialRecord]", settings: Mapping[str, Any]) -> list[float]:
    """Return the final class-IL accuracies of the finished trials that tried ``settings``."""
    return [
        record.class_il[-1] for record in records if record.status == "finished" and record.point.settings == settings
    ]


def run(arguments: Arguments, console: Console) -> None:
    """Check the arguments, run the sweep on Ray, and show what came of it."""
    base = ExperimentConfig(
        dataset=arguments.dataset,
        num_tasks=arguments.num_tasks,
        class_order=class_order(arguments.class_order),
        data_root=arguments.data_root.resolve(),
        life=arguments.life,
    )
    load_dataset(base.dataset, base.data_root)  # missing or damaged data is found before anything is started
    if arguments.resume and arguments.out is None:
        raise InputError("--resume needs --out with the folder of the sweep to go on with.")
    out = (arguments.out or Path("runs") / time.strftime(f"sweep-{base.dataset}-%Y%m%d-%H%M%S")).resolve()
    sweep = Sweep(arguments, base, out, console)
    sweep.check_out()
    console.print(f"[dim]Starting Ray; results go to {out}")
    from distributed.session import ray_session

    for name, value in TUNE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with ray_session(dashboard=arguments.num_workers > 1, verbose=arguments.verbose):
        results = sweep.run()
    console.print(f"Winner: {results['winner'] if results['winner'] != results['defaults'] else 'the defaults'}")
    for name in ("defaults", "winner") if results["test"] else ():
        found = results["test"][name]
        scores = "  ".join(f"{score:.3f}" for score in found["class_il"])
        console.print(f"Test class-IL of the {name}: [bold]{found['mean']:.3f}[/bold]  ({scores})", highlight=False)
    console.print(f"Live with it: python distributed/run.py --config {out / 'best.json'}")
    console.print(f"Results: {out / 'results.json'}. Trials: tensorboard --logdir {out / 'tensorboard'}")


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    try:
        run(parse(argv), Console())
    except MygoError as error:
        print(f"sweep.py: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("sweep.py: interrupted; run again with the same flags and --resume to go on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
