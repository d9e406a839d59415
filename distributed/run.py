"""The main command: live through a stream of tasks by wake and sleep, on Ray, beside its baselines.

python distributed/run.py --dataset fashion-mnist --num-workers 2 --out runs/fashion
python distributed/run.py learn --life lives/birds --data photos/birds     see `distributed.learn`
"""

import argparse
import os
import signal
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, TypeVar

if __name__ == "__main__":  # started as a script: import from the repository instead of from this folder
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import tyro
from rich.console import Console

from distributed.command import OnRay, run_job_on_ray, run_together_on_ray
from mygo.cli.flags import OptionalPath, OptionalText, adapted, first_look, parse_flags
from mygo.config.learner import AnyAdapt, LifeConfig
from mygo.config.presets import preset
from mygo.config.ranges import LARGEST
from mygo.config.settings import overlay
from mygo.data.datasets import DATASETS
from mygo.errors import InputError
from mygo.files import read_json
from mygo.jobs.experiment import Experiment, ExperimentConfig, StreamConfig, is_own
from mygo.jobs.perception import adapt_for, default_settings, settings_for, survey_of
from mygo.reporting.console import new_console, plain
from mygo.reporting.terminal import exit_code_of

Stream = TypeVar("Stream", bound=StreamConfig)

MOST_TASKS = 5
"""Tasks of a stream by default, where there are as many classes."""


@dataclass(frozen=True, kw_only=True)
class Arguments(OnRay):
    """Learn a stream of tasks by wake and sleep, on the machine at hand or on the Ray cluster that is found."""

    experiment: Annotated[ExperimentConfig, tyro.conf.arg(name="")]
    out: OptionalPath = None
    """Folder for the lives, results.json and TensorBoard, visible to all nodes. By default a new one under runs/."""
    config: OptionalPath = None
    """JSON file with settings, such as the best.json of a sweep; flags beside it change them."""
    encoder_weights: OptionalPath = None
    """File with the weights of the encoder, where it does not find them itself."""
    memory_cache: OptionalPath = None
    """Folder to keep trained memories in for other runs, visible to all nodes. Off by default: a memory dreams what its
    training images looked like, so such a folder is as private as the data was."""
    resume: bool = False
    """Go on with the lives in --out, from the last saved point. Needs the same settings as before."""
    side_by_side: bool = False
    """Let all tasks wake at the same time, each on its share of the cluster and without what the others learn, and
    sleep once: what the stream would give if its tasks were lessons that wait. For --strategies mygo."""
    cluster: OptionalPath = None
    """Cluster file that `ray up` was given: run there as a job, with the code of this working tree, and bring the
    results back. --out and --data-root are folders there; --config is a file here."""
    attach: OptionalText = None
    """With --cluster: come back to this job instead of starting one."""


def parse(argv: list[str]) -> Arguments:
    """Return the arguments; what ``argv`` does not say comes from --config, else from the data set's preset.

    Exits with 2 on flags that do not exist or parse.

    Raises:
        InputError: --config cannot be used.
    """
    seen = first_look(argv, "config", "dataset", "encoder", "adapt")
    values = {} if seen["config"] is None else read_json(Path(seen["config"]))
    dataset = known_dataset(seen["dataset"], values.get("dataset", "digits"))
    life = values.get("life")
    given = {name: value for name, value in seen.items() if value is not None}
    kept = life.items() if isinstance(life, dict) else ()
    chosen = {name: value for name, value in kept if isinstance(value, str)} | given  # what other defaults depend on
    default = default_stream(ExperimentConfig, dataset, chosen.get("encoder"), adapted(chosen.get("adapt")))
    experiment = overlay(default, values | {"dataset": dataset})
    return parse_flags(Arguments, argv, "run.py", Arguments(experiment=experiment))


def known_dataset(name: str | None, default: str = "digits") -> str:
    """Return the data set of that ``name``; one that is none's is left for the real parse to refuse."""
    return name if name is not None and (name in DATASETS or is_own(name)) else default


def default_stream(kind: type[Stream], dataset: str, encoder: str | None, adapt: AnyAdapt) -> Stream:
    """Return the stream over ``dataset``, seen through ``encoder``, to be adapted or not, that flags may change.

    Raises:
        InputError: the data is one's own and cannot be used.
    """
    known = DATASETS.get(dataset)
    classes = len(survey_of(dataset).class_names) if known is None else known.num_classes
    life = default_life(dataset, encoder or "auto", adapt)
    return kind(dataset=dataset, num_tasks=min(MOST_TASKS, classes), life=life)


def default_life(dataset: str, encoder: str, adapt: AnyAdapt) -> LifeConfig:
    """Return the settings of lives of ``dataset`` behind ``encoder``, to be adapted or not, that flags may change.

    Raises:
        InputError: the data is one's own and cannot be used.
    """
    if dataset not in DATASETS:
        return default_settings(survey_of(dataset), encoder, adapt)
    kind = DATASETS[dataset].kind
    if encoder in ("auto", "none") and kind == "image":
        return preset(dataset)
    return settings_for(encoder, kind, adapt_for(adapt, encoder, lambda: LARGEST))


def placed(config: Stream) -> Stream:
    """Return ``config`` as workers find its data too: files and folders by their whole paths."""
    dataset = config.dataset
    # Not Path.exists, which raises an error on a name that is too long.
    if dataset not in DATASETS and os.path.exists(dataset):  # noqa: PTH110
        dataset = str(Path(dataset).resolve())
    return replace(config, dataset=dataset, data_root=config.data_root.resolve())


def checked(arguments: Arguments) -> ExperimentConfig:
    """Return the experiment that ``arguments`` describe, once nothing in them is out of its range.

    Raises:
        InputError: something is, or flags do not go together.
    """
    arguments.check()
    if arguments.resume and arguments.out is None:
        raise InputError("--resume needs --out with the folder of the life to go on with.")
    if arguments.attach is not None and arguments.cluster is None:
        raise InputError("--attach needs --cluster with the cluster file of the job.")
    return placed(arguments.experiment)


def run(arguments: Arguments, config: ExperimentConfig, console: Console) -> None:
    """Make sure that data and folders can be used, run the experiment on Ray, and show what came of it."""
    from mygo.reporting.console import results_table

    out = (arguments.out or Path("runs") / f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}").resolve()
    cache = arguments.memory_cache and arguments.memory_cache.resolve()
    weights = arguments.encoder_weights and arguments.encoder_weights.resolve()
    experiment = Experiment(config, out, memory_cache=cache, save_every=arguments.save_every, encoder_weights=weights)
    experiment.check_data()  # what is missing or damaged is found before anything is started
    if arguments.side_by_side:
        run_side_by_side(arguments, experiment, console)
        return
    experiment.check_out(resume=arguments.resume)

    console.print(plain(f"Starting Ray; results go to {out}"), style="dim")
    results = run_job_on_ray(experiment, out, arguments, console, small=config.dataset == "digits", compared=True)
    console.print(results_table(results))
    console.print(plain(f"Results: {out / 'results.json'}. Curves: tensorboard --logdir {out / 'tensorboard'}"))
    show_report(out, console)


def run_side_by_side(arguments: Arguments, experiment: Experiment, console: Console) -> None:
    """Learn the tasks of ``experiment`` side by side, and show what came of it."""
    from mygo.jobs.tasks_together import RESULTS, is_learned, lessons_of_stream, results_in, write_results

    assert experiment.out is not None
    out, lessons = experiment.out, lessons_of_stream(experiment, resume=arguments.resume)
    results = results_in(out)
    if results is None:
        console.print(plain(f"Starting Ray; results go to {out}"), style="dim")
        started = time.perf_counter()
        if not is_learned(experiment):
            small = experiment.config.dataset == "digits"
            run_together_on_ray(lessons, out, arguments, console, small=small, all_or_none=True)
        results = write_results(experiment, None if arguments.resume else time.perf_counter() - started)
    console.print(plain(f"Side by side, {results['what']}:"))
    reached, seconds = results["average_accuracy"], results["seconds"]
    took = "" if seconds is None else f", {seconds:.0f} s"
    console.print(f"class-IL {reached['class_il']:.3f}, task-IL {reached['task_il']:.3f}{took}", highlight=False)
    console.print(plain(f"Results: {out / RESULTS}. Curves: tensorboard --logdir {out / 'tensorboard'}"))


def show_report(out: Path, console: Console) -> None:
    """Write the report on ``out`` and say where it is or, since the results are safe already, why there is none."""
    from mygo.reporting.report import write_report

    try:
        path = write_report(out)
    except Exception as error:  # whatever a library makes of this machine's fonts, memory or disk
        text = f"There is no report ({type(error).__name__}: {str(error).rstrip('.')}), but the results are whole."
        console.print(plain(text), style="yellow", soft_wrap=True)
    else:
        console.print(plain(f"Report: {path}"), soft_wrap=True)


def run_on_cluster(arguments: Arguments, cluster: Path, argv: list[str]) -> None:
    """Run the same command on ``cluster``, with what the file of --config holds in place of the file."""
    from distributed.cluster.remote import run_there

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in ("--cluster", "--attach", "--config"):
        parser.add_argument(flag)
    settings = None if arguments.config is None else read_json(arguments.config)
    run_there(cluster, parser.parse_known_args(argv)[1], arguments.out, arguments.attach, settings)


def main(argv: list[str]) -> int:
    """Run the command, here or on the cluster that it names, and return its exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended
    if argv[:1] == ["learn"]:
        from distributed.learn import learn

        return exit_code_of(
            lambda: learn(argv[1:], new_console()), "run.py learn", "run the same command again to go on"
        )

    def command() -> None:
        arguments = parse(argv)
        config = checked(arguments)
        if arguments.cluster is not None:
            run_on_cluster(arguments, arguments.cluster, argv)
        else:
            run(arguments, config, new_console())

    return exit_code_of(command, "run.py", "run again with the same --out and --resume to go on")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
