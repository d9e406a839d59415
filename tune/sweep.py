"""Search how much to replay and how to weigh what is distilled; ends with a best.json for distributed/run.py.

python tune/sweep.py --dataset digits --num-samples 16 --out runs/sweep
python tune/sweep.py --dataset photos/birds --num-tasks 5
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

if __name__ == "__main__":  # started as a script: import from the repository instead of from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import torch
import tyro
from rich.console import Console

from distributed.run import default_stream, known_dataset, placed
from mygo.cli.flags import OptionalPath, adapted, first_look, parse_flags
from mygo.config.ranges import LARGEST_SEED, MOST_PROCESSES, MOST_STEPS, check_ranges, check_share
from mygo.config.settings import change
from mygo.data.examples import held_out_rows
from mygo.errors import InputError
from mygo.files import check_writable, locked, read_json, write_json
from mygo.jobs.encoding import FEATURES
from mygo.jobs.experiment import (
    LOCK_TIMEOUT_SECONDS,
    Experiment,
    ExperimentConfig,
    StreamConfig,
    features_in,
    versions,
)
from mygo.jobs.shared_features import shared_features
from mygo.phase import PhaseContext
from mygo.reporting.console import new_console, plain
from mygo.reporting.terminal import exit_code_of
from mygo.training.process_group import SingleProcess
from tune.space import Space, search_space

if TYPE_CHECKING:
    import tune.trial

RESULTS_SCHEMA = 1
VALIDATION_SHARE = 0.2
"""Share of each class's training examples that trials are compared on, by default."""
TUNE_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a trial's life and our own records say all that Tune's files would
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C ends the sweep at once: --resume goes on with it
    "RAY_AIR_NEW_OUTPUT": "0",  # our table is the output
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # resuming reads the trials' own records
}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Search the settings of a data set's learner on validation images, and test what was found."""

    stream: Annotated[StreamConfig, tyro.conf.arg(name="")]
    space: Literal["sleep", "all"] = "sleep"
    """What is searched: sleep alone, for which memories are trained once, or waking and the memory too and, behind an
    encoder, the backbone. The encoder is not searched: choose it with --encoder."""
    only: tuple[str, ...] = ()
    """Comma list of parameters, to search these alone. A grid needs it, or becomes too large."""
    search: Literal["optuna", "random", "grid"] = "optuna"
    """Optuna's TPE, random draws, or every combination of each range's ends and middle and of all choices."""
    num_samples: int = 16
    """Trials of the search; a grid has as many as it has combinations. The first one tries the defaults."""
    scheduler: Literal["asha", "none"] = "asha"
    """ASHA stops the weakest third of trials after each task; none lets all of them live to the end."""
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
    memory_cache: OptionalPath = None
    """Folder of memories to share with other sweeps and runs; by default OUT/memories."""
    encoder_weights: OptionalPath = None
    """File with the weights of the encoder, where it does not find them itself."""
    out: OptionalPath = None
    """Folder for all that the sweep leaves, visible to all nodes. By default a new one under runs/."""
    resume: bool = False
    """Go on with the sweep in --out. Trials that finished are not run again, those that failed are."""
    verbose: bool = False
    """Show Ray's own log."""

    def __post_init__(self) -> None:
        lowest = {"num_samples": 1, "finalists": 0, "finalist_seeds": 1, "test_seeds": 0}
        lowest |= {"num_workers": 1, "num_dreamers": 1}
        check_ranges(self, "", **{name: (least, MOST_PROCESSES) for name, least in lowest.items()})
        check_ranges(self, "", time_budget=(0.001, MOST_STEPS))
        check_share(self.stream.validation_share, "validation-share")
        last_seed = self.stream.life.seed + self.finalist_seeds + self.test_seeds
        if last_seed > LARGEST_SEED:
            raise InputError("--seed must leave room for the sweep's further seeds: choose a lower one.")
        if self.stream.num_tasks < 2:
            raise InputError("--num-tasks must be at least 2: with one task there is nothing to reconcile in sleep.")
        if self.search == "grid" and not self.only:
            raise InputError("--search grid needs --only with a few parameters: a grid over all of them has thousands.")


def parse(argv: list[str]) -> Arguments:
    """Return the arguments, with the defaults of the data that ``argv`` names. Exits with 2 on bad ones.

    Raises:
        InputError: the data cannot be used.
    """
    seen = first_look(argv, "dataset", "encoder", "adapt")
    stream = default_stream(StreamConfig, known_dataset(seen["dataset"]), seen["encoder"], adapted(seen["adapt"]))
    defaults = Arguments(stream=replace(stream, validation_share=VALIDATION_SHARE))
    return parse_flags(Arguments, argv, "sweep.py", defaults)


def settings_of_sweep(arguments: Arguments) -> dict[str, Any]:
    """Return what must be the same when a sweep goes on: everything but how far and where it goes."""
    free = ("num_samples", "num_workers", "num_dreamers", "time_budget", "out", "data_root", "resume", "verbose")
    given = asdict(arguments)
    life = arguments.stream.life
    given |= given.pop("stream") | {"life": asdict(life.identity) | {"precision": life.precision}}
    kept = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return {
        name: value and str(value) if isinstance(value, Path) else value
        for name, value in kept.items()
        if name not in free
    }


def check_out(out: Path, arguments: Arguments) -> None:
    """Make sure that the folder ``out`` is new or, to resume, that of the same sweep; writes nothing.

    Raises:
        InputError: it is not.
    """
    begun = out / "sweep.json"
    if arguments.resume:
        if not begun.exists():
            raise InputError(f"{out} holds no sweep to resume: leave out --resume to start one.")
        if read_json(begun) != settings_of_sweep(arguments):
            raise InputError(f"{out} was begun with other settings: go on with the same flags.")
    elif begun.exists():
        raise InputError(f"{out} already holds a sweep: pass --resume to go on with it, or another --out.")
    check_writable(out)


@contextmanager
def features_for_all(
    base: ExperimentConfig, weights: Path | None, out: Path, console: Console
) -> Iterator[Path | None]:
    """Encode the data once for all trials, and yield the index of the vectors inside the block; None over pixels.

    Raises:
        InputError, StorageError: as `mygo.jobs.shared_features.shared_features`.
    """
    found = Experiment(base).survey()
    if found is None:
        yield None
        return
    from mygo.reporting.console import ConsoleLogger

    group = SingleProcess("cuda" if torch.cuda.is_available() else "cpu")
    with ExitStack() as stack:
        with ConsoleLogger(console) as bars:
            context = PhaseContext(group, bars)
            shared = shared_features(found, base.dataset, base.encoder, weights, out / FEATURES, context)
            index = stack.enter_context(shared)
        yield index


@contextmanager
def planned(arguments: Arguments, base: ExperimentConfig, out: Path, console: Console) -> Iterator["tune.trial.Plan"]:
    """Yield what all trials share, on the Ray that this process is connected to, once it is known that they can run.

    Raises:
        InputError: the cluster cannot hold a trial, or a node of it cannot run one.
    """
    import ray

    from distributed.cluster.capacity import cpus_of_nodes
    from distributed.cluster.placement import place
    from distributed.cluster.preflight import check_nodes
    from distributed.job import pack_registries
    from tune.trial import Plan

    resources, workers = ray.cluster_resources(), arguments.num_workers
    placement = place(resources, workers, arguments.num_dreamers, nodes=cpus_of_nodes(), most_threads=1)
    cache = None if arguments.own_memories else (arguments.memory_cache or out / "memories").resolve()
    plan = Plan(base, out, cache, placement, pack_registries(), encoder_weights=arguments.encoder_weights)
    plan.concurrent_trials(resources)
    patience = LOCK_TIMEOUT_SECONDS if arguments.resume else 0  # for one that was killed
    with (
        locked(out, patience),  # another sweep there would delete the vectors of this one
        features_for_all(base, arguments.encoder_weights, out, console) as features,
    ):
        if features is not None:
            data = features_in(features, base).dataset  # a class may have too few examples for validation
            held_out_rows(data.train.labels, base.validation_share, data.class_names, lambda label: (label,))
        check_nodes(Experiment(base, out, memory_cache=cache, features=features), placement)
        yield replace(plan, features=features)


def run_stages(arguments: Arguments, plan: "tune.trial.Plan", space: Space, console: Console) -> dict[str, Any]:
    """Run all stages of ``plan``, write what came of them, and return it.

    Raises:
        MygoError: trials that must not fail did.
    """
    import ray

    from tune.pictures import draw
    from tune.stages import Stages, ranked

    base, out = plan.base, plan.out
    stages = Stages(plan, space, plan.concurrent_trials(ray.cluster_resources()), console)
    console.print(f"[dim]Trials at a time: {stages.concurrent}")
    write_json(out / "sweep.json", settings_of_sweep(arguments))

    share = arguments.stream.validation_share
    searched = stages.search(
        arguments.search,
        arguments.num_samples,
        share,
        stop_weak=arguments.scheduler == "asha",
        budget=arguments.time_budget,
    )
    if arguments.finalists:
        finalists = stages.compare_again(searched, arguments.finalists, arguments.finalist_seeds, share)
    else:
        finalists = ranked(searched)[:1]
    winner = finalists[0]["settings"]
    first = base.life.seed + 1 + arguments.finalist_seeds
    seeds = range(first, first + arguments.test_seeds)
    results = {
        "schema": RESULTS_SCHEMA,
        "dataset": base.dataset,
        "validation_share": share,
        "space": {name: asdict(values) for name, values in space.items()},
        "trials": [record.as_json() for record in searched],
        "finalists": finalists,
        "winner": winner,
        "defaults": stages.defaults,
        "test": {"seeds": list(seeds), **stages.test(winner, seeds)} if seeds else None,
        "importance": draw(searched, space, out),
        "seconds": stages.seconds,
        "versions": versions(),
    }
    write_json(out / "best.json", best(base, winner))
    write_json(out / "results.json", results)
    return results


def best(base: ExperimentConfig, winner: Mapping[str, Any]) -> dict[str, Any]:
    """Return the winner as ``run.py --config`` reads it."""
    return {
        "dataset": base.dataset,
        "num_tasks": base.num_tasks,
        "class_order": base.class_order and list(base.class_order),
        "life": asdict(change(base.life, winner)),
    }


def run(arguments: Arguments, console: Console) -> None:
    """Check the arguments, run the sweep on Ray, and show what came of it."""
    if arguments.resume and arguments.out is None:
        raise InputError("--resume needs --out with the folder of the sweep to go on with.")
    stream, weights = placed(arguments.stream), arguments.encoder_weights and arguments.encoder_weights.resolve()
    stream = replace(stream, life=replace(stream.life, adapt=stream.learner.adapt))  # which data that changes leaves
    arguments = replace(arguments, stream=stream, encoder_weights=weights)
    base = ExperimentConfig(**{each.name: getattr(stream, each.name) for each in fields(stream)})
    Experiment(base, encoder_weights=weights).check_data()  # what is missing is found before anything is started
    out = (arguments.out or Path("runs") / f"sweep-{base.name}-{time.strftime('%Y%m%d-%H%M%S')}").resolve()
    space = search_space(arguments.space, base.life, arguments.only, over_pixels=base.over_pixels)
    check_out(out, arguments)
    console.print(plain(f"Starting Ray; results go to {out}"), style="dim")
    from distributed.cluster.session import ray_session

    for name, value in TUNE_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with ray_session(verbose=arguments.verbose), planned(arguments, base, out, console) as plan:
        results = run_stages(arguments, plan, space, console)
    winner = results["winner"] if results["winner"] != results["defaults"] else "the defaults"
    console.print(f"Winner: {winner}", markup=False)
    for name in ("defaults", "winner") if results["test"] else ():
        found = results["test"][name]
        scores = "  ".join(f"{score:.3f}" for score in found["class_il"])
        console.print(f"Test class-IL of the {name}: [bold]{found['mean']:.3f}[/bold]  ({scores})", highlight=False)
    needs = f" --encoder-weights {weights}" if weights is not None else ""
    console.print(plain(f"Live with it: python distributed/run.py --config {out / 'best.json'}{needs}"))
    console.print(plain(f"Results: {out / 'results.json'}. Trials: tensorboard --logdir {out / 'tensorboard'}"))


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    return exit_code_of(
        lambda: run(parse(argv), new_console()), "sweep.py", "run again with the same flags and --resume to go on"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
