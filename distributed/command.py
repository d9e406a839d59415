"""What the commands that train on Ray have in common: their flags, and the session that they work in."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from mygo.cli.flags import OptionalText
from mygo.config.ranges import MOST_PROCESSES, MOST_STEPS, check_ranges
from mygo.config.settings import SAVE_EVERY
from mygo.errors import InputError
from mygo.reporting.terminal import printable

if TYPE_CHECKING:
    from distributed.job import Job
    from mygo.errors import MygoError
    from mygo.jobs.lesson import Lesson

LONGEST_RANGE = 20
"""Characters of a range of workers."""
SMALL_SIDE = 8
"""Pixels of the side of images for which one training worker is best."""


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """How the job is spread and kept safe."""

    num_workers: OptionalText = None
    """Training workers (DDP ranks): a number, or 1:4 for as many as there is room for at any time. By default one per
    GPU or, without any, one per core up to 4; one for images of 8×8, whose steps are too small to share."""
    num_dreamers: int | None = None
    """Replay actors. By default as many as cores are left, at least 1 and at most one per worker."""
    save_every: float = SAVE_EVERY
    """Seconds between two points within a phase from which an interrupted life goes on; phases are always saved."""
    max_failures: int = 3
    """How often training workers that are lost, with a machine or otherwise, start again from the last saved point."""
    verbose: bool = False
    """Show Ray's own log."""

    def check(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            InputError: a flag is out of its range.
        """
        self.workers(small=False)
        check_ranges(self, "", num_dreamers=(1, MOST_PROCESSES), max_failures=(0, MOST_PROCESSES))
        check_ranges(self, "", save_every=(0.0, MOST_STEPS))

    def workers(self, *, small: bool) -> tuple[int | None, int | None]:
        """Return the fewest and the most workers; None is for the machine to decide. ``small`` images are for one.

        Raises:
            InputError: it is neither a number nor two.
        """
        if self.num_workers is None:
            return (1, 1) if small else (None, None)
        return whole_range(self.num_workers, "--num-workers")


def whole_range(text: str, flag: str) -> tuple[int, int]:
    """Return the fewest and the most processes that ``text`` says, the value of ``flag``: a number, or a range as 1:4.

    Raises:
        InputError: it is neither.
    """
    fewest, _, most = text.partition(":")
    if not (fewest.isdecimal() and (most or fewest).isdecimal() and text.count(":") <= 1):
        raise InputError(f"{flag} {text} is neither a number nor a range such as 1:4.")
    if len(text) > LONGEST_RANGE or not 1 <= int(fewest) <= int(most or fewest) <= MOST_PROCESSES:
        raise InputError(f"{flag} {text} must be from 1 to {MOST_PROCESSES}, and a range must not fall.")
    return int(fewest), int(most or fewest)


def run_job_on_ray(
    job: "Job", out: Path, flags: OnRay, console: Console, *, small: bool, compared: bool = False
) -> dict[str, Any]:
    """Do ``job`` on the Ray that is found or started, show it, leave its curves in ``out``, and return its results.

    ``small`` says that its images are too small for more than one worker to be worth it, and ``compared`` that the
    results are those of strategies, of which each gets its row among TensorBoard's HPARAMS.
    """
    from distributed.cluster.session import ray_session

    with ray_session(verbose=flags.verbose):
        return run_job(job, out, flags, console, small=small, compared=compared)


def run_job(
    job: "Job", out: Path, flags: OnRay, console: Console, *, small: bool, compared: bool = False
) -> dict[str, Any]:
    """Do as `run_job_on_ray` on the Ray that this process is connected to."""
    from distributed.cluster.capacity import cpus_of_nodes, resources_in_reach, wait_for_nodes
    from distributed.cluster.placement import place_at_most
    from distributed.prometheus import PrometheusLogger
    from distributed.training.trainer import run_on_ray
    from mygo.events import tee
    from mygo.reporting.console import ConsoleLogger, plain
    from mygo.reporting.tensorboard import TensorBoardLogger

    fewest, most = flags.workers(small=small)
    wait_for_nodes(fewest, lambda text: console.print(plain(text), style="dim"))
    placement = place_at_most(resources_in_reach(), fewest, most, flags.num_dreamers, nodes=cpus_of_nodes())
    workers = placement.num_workers if fewest == most else f"{fewest} to {placement.num_workers}"
    console.print(f"[dim]Training workers: {workers}, dreamers: {placement.num_dreamers}")
    board = TensorBoardLogger(out / "tensorboard")
    metrics = PrometheusLogger(printable(out.name), dreams_per_step=job.learner.sleep.batch_size)
    with closing(board), metrics, ConsoleLogger(console) as bars:
        on_event = tee(bars, board, metrics)
        results = run_on_ray(job, placement, on_event, fewest=fewest, max_failures=flags.max_failures)
        if compared:
            board.finish(results)
    return results


def run_together_on_ray(
    lessons: "Sequence[Lesson]",
    out: Path,
    flags: OnRay,
    console: Console,
    *,
    small: bool = False,
    all_or_none: bool = False,
) -> list[str]:
    """Teach ``lessons`` of one life side by side on the Ray that is found or started, and let it sleep once.

    Returns a sentence about each lesson that could not be learned, as `mygo.jobs.side_by_side.learn_together` with
    ``all_or_none``; ``small`` is as for `run_job_on_ray`.
    """
    from distributed.cluster.session import ray_session
    from distributed.side_by_side import wake_on_ray
    from mygo.events import tee
    from mygo.jobs.side_by_side import Waking, learn_together
    from mygo.reporting.console import ConsoleLogger
    from mygo.reporting.tensorboard import TensorBoardLogger

    def wake_all(wakings: Sequence[Waking]) -> "dict[int, MygoError]":
        with closing(TensorBoardLogger(out / "tensorboard")) as board, ConsoleLogger(console) as bars:
            return wake_on_ray(wakings, tee(bars, board), max_failures=flags.max_failures)

    def finish(rest: "Lesson") -> None:
        run_job(rest, out, flags, console, small=small)

    with ray_session(verbose=flags.verbose):
        return learn_together(lessons, wake_all=wake_all, finish=finish, all_or_none=all_or_none)
