"""What a life would take on more machines: a model of measured parts, held against measured lives and many workers.

python benchmarks/scaling_model.py    about 25 minutes on two cores; writes benchmarks/results/scaling_model.md

The parts are measured on this machine: a training step of each phase (a fixed cost, and one per example), an
all-reduce, a call of a dreamer, reading and saving a memory, evaluation, start-up. From them `predict` adds up a life.
Two checks follow: whole lives with 1, 2 and 4 workers, and the starting of up to 32 workers on a cluster of many small
nodes that Ray simulates. docs/scaling.md says what the tables mean.
"""

import dataclasses
import math
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch.utils.flop_counter import FlopCounterMode

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.lives import PHASES, SHAPE, data_of, life_of, prepare_process, run_phase, seconds_of, with_batch  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402
from mygo.config.learner import LifeConfig  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.evaluate import accuracy_rows  # noqa: E402
from mygo.events import Event, PhaseEnded, Progress  # noqa: E402
from mygo.jobs.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.jobs.life import Life  # noqa: E402
from mygo.networks.discriminator import Discriminator  # noqa: E402
from mygo.networks.generator import build_generator  # noqa: E402
from mygo.networks.neocortex import NeocortexNet  # noqa: E402
from mygo.replay.dreamer import Dreamer  # noqa: E402
from mygo.replay.schedule import Dreams  # noqa: E402
from mygo.replay.spec import schedule_of  # noqa: E402
from mygo.training.process_group import SingleProcess, TorchProcessGroup  # noqa: E402

PARTS_OF_A_LIFE = (
    "start",
    "wake",
    "wake's all-reduce",
    "sleep",
    "sleep's all-reduce",
    "dreams",
    "memories",
    "evaluate",
)
GPU_FLOPS = 10e12
"""Assumed: floating-point operations per second that small networks reach on one GPU, far below its peak."""
GPU_LATENCY, GPU_BANDWIDTH = 20e-6, 10e9
"""Assumed: seconds for one hop of an all-reduce between GPUs, and bytes per second through each GPU's link."""


# -- the model --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One training step: seconds whatever the batch, seconds and operations per example, bytes of gradients."""

    fixed: float
    per_example: float
    flops_per_example: float
    gradient_bytes: int
    reductions: int
    """How often a step averages gradients over the workers; together they are `gradient_bytes`."""


@dataclass(frozen=True)
class Parts:
    """What one process needs for each part of a life, in seconds and bytes."""

    steps: dict[str, Step]
    """By phase: ``head`` (features frozen), ``fit`` (whole network), ``gan``, ``sleep``."""
    latency: float
    """Of one hop of an all-reduce, the work of DDP around it included."""
    bandwidth: float
    """Bytes per second of an all-reduce, through each process."""
    contention: float
    """How many times longer a process computes when all cores are busy."""
    dream_call: float
    """One call of a generator and of its teacher, whatever they make."""
    dream_each: float
    """One dream."""
    dream_flops: float
    """Operations of one dream."""
    dream_bytes: int
    """One dream, with what its teacher answered."""
    read_memory: float
    """A dreamer reads one stored memory."""
    save_memory: float
    """Saving a life checks one memory that is stored already."""
    evaluate_each: float
    """One test image through the network."""
    start: float
    """From an empty Ray to the first training step, with one worker."""
    start_worker: float
    """What every further worker adds, in core-seconds."""
    cores: float = float("inf")
    """Cores that all processes share; infinite where every process has its own."""


@dataclass(frozen=True)
class LifePlan:
    """The size of a life: tasks, and of each its classes, images, and the configuration's steps and batches."""

    config: LifeConfig
    tasks: int
    classes_per_task: int
    train_images: int
    """Of one task."""
    test_images: int
    """Of one task."""


def all_reduce_seconds(step: Step, workers: int, parts: Parts) -> float:
    """Return the seconds that a step spends in ring all-reduces.

    Source: Patarasuk & Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of workstations, section 3.
    """
    hops = 2 * (workers - 1)
    return hops * (step.reductions * parts.latency + step.gradient_bytes / workers / parts.bandwidth)


def dream_calls(dreams: float, memories: int, chunk: int = 256) -> float:
    """Return how many calls of a generator ``dreams`` that are spread over ``memories`` take."""
    if dreams < memories:
        return dreams
    return memories * max(1.0, dreams / memories / chunk)


def crowding(workers: int, parts: Parts) -> float:
    """Return how many times longer a worker computes than it would alone."""
    return max(1.0, workers / parts.cores) * (parts.contention if workers >= parts.cores else 1.0)


def predict(plan: LifePlan, parts: Parts, workers: int, dreamers: int) -> dict[str, float]:
    """Return the seconds of each part of a life with ``workers`` and ``dreamers``; their sum is the life's."""
    config = plan.config
    crowded = crowding(workers, parts)

    def phase(name: str, batch: int) -> tuple[float, float]:
        """Return the seconds that one step of a phase computes, and those that it reduces gradients."""
        step = parts.steps[name]
        computing = crowded * (step.fixed + batch / workers * step.per_example)
        return computing, max(1.0, workers / parts.cores) * all_reduce_seconds(step, workers, parts)

    total = dict.fromkeys(PARTS_OF_A_LIFE, 0.0)
    total["start"] = parts.start + (workers - 1) * parts.start_worker / min(workers, parts.cores)
    for task in range(plan.tasks):
        first = task == 0
        waking = [("fit", config.wake.adapt_steps, config.wake.batch_size)]
        waking += [("gan", config.memory.gan.steps, config.memory.gan.batch_size)]
        waking += [] if first else [("head", config.wake.head_steps, config.wake.batch_size)]
        for name, steps, batch in waking:
            computing, reducing = phase(name, batch)
            total["wake"] += steps * computing
            total["wake's all-reduce"] += steps * reducing
        total["wake"] += 0 if first else crowded * plan.train_images * parts.evaluate_each  # features, on every rank
        # Every phase ends with a save, which looks at every memory.
        total["memories"] += 5 * task * parts.save_memory
        total["evaluate"] += crowded * (task + 1) * plan.test_images / workers * parts.evaluate_each
        if first:
            continue
        batch, steps = config.sleep.batch_size, config.sleep.steps
        computing, reducing = phase("sleep", batch)
        block = config.sleep.steps_per_block
        calls = workers * dream_calls(batch * block / workers, task + 1) / block
        dreaming = calls * parts.dream_call + batch * parts.dream_each
        trainers = computing + reducing
        together = parts.contention * (computing / crowded * workers + dreaming) / parts.cores
        total["sleep"] += steps * computing
        total["sleep's all-reduce"] += steps * reducing
        total["dreams"] += steps * (max(trainers, dreaming / dreamers, together) - trainers)
        total["memories"] += (task + 1) * parts.read_memory * max(1.0, dreamers / parts.cores)
    return total


def predict_together(plan: LifePlan, parts: Parts, machines: int, workers: int, dreamers: int) -> dict[str, float]:
    """Return the seconds of each part of a life whose tasks wake side by side, ``machines`` at a time, and sleep once.

    Each wakes in one process, as a first task does; ``workers`` and ``dreamers`` are those of the sleep.
    """
    rounds, last = math.ceil(plan.tasks / machines), plan.tasks - 1
    alone = predict(replace(plan, tasks=1), parts, 1, dreamers)
    whole = predict(plan, parts, workers, dreamers)
    before = predict(replace(plan, tasks=last), parts, workers, dreamers)
    total = {name: whole[name] - before[name] for name in whole}  # of the last task, whose sleep is of all
    total["wake"] = rounds * alone["wake"] * crowding(min(machines, plan.tasks), parts)
    total["wake's all-reduce"] = 0.0
    total["start"] = alone["start"] + whole["start"]  # of those that wake, and of those that sleep
    return total


def on_gpus(parts: Parts) -> Parts:
    """Return ``parts`` as they are assumed to be on GPUs: the counted operations at `GPU_FLOPS`, all else as measured.

    What a step costs whatever its batch stays as it is here, since that is Python and the starting of kernels.
    """
    return replace(
        parts,
        steps={name: replace(s, per_example=s.flops_per_example / GPU_FLOPS) for name, s in parts.steps.items()},
        latency=GPU_LATENCY,
        bandwidth=GPU_BANDWIDTH,
        contention=1.0,
        dream_each=parts.dream_flops / GPU_FLOPS,
        evaluate_each=parts.steps["sleep"].flops_per_example / 3 / GPU_FLOPS,
        cores=float("inf"),
    )


# -- measuring the parts ----------------------------------------------------------------------------------------------


def measure_step(name: str, config: LifeConfig, shape: SHAPE) -> Step:
    """Measure one training step of the phase ``name``: from two batch sizes, and with two numbers of steps."""
    few, many = 4, 44

    def seconds_a_step(batch: int) -> float:
        took = [
            seconds_of(lambda steps=steps: run_phase(name, with_batch(config, batch, steps), shape), 3)
            for steps in (few, many)
        ]
        return (took[1] - took[0]) / (many - few)

    small, large = 16, 128
    slow, fast = seconds_a_step(large), seconds_a_step(small)
    per_example = max(0.0, slow - fast) / (large - small)
    return count_step(name, config, shape, max(0.0, fast - small * per_example), per_example)


def count_step(name: str, config: LifeConfig, shape: SHAPE, fixed: float, per_example: float) -> Step:
    """Return a step of these costs, with its operations and its gradients counted."""

    def flops(steps: int) -> int:
        with FlopCounterMode(display=False) as counter:
            run_phase(name, with_batch(config, 32, steps), shape)
        return counter.get_total_flops()

    net = NeocortexNet(shape, config.backbone)
    head = net.add_task_head(2)
    gan = config.memory.gan
    modules = {
        "head": [head],
        "fit": [net],
        "sleep": [net],
        "gan": [build_generator(config.memory.gan, 2, shape), Discriminator(2, shape, width=gan.discriminator_width)],
    }[name]
    gradient_bytes = sum(4 * p.numel() for module in modules for p in module.parameters())
    return Step(fixed, per_example, (flops(3) - flops(1)) / 2 / 32, gradient_bytes, len(modules))


def in_processes(count: int, work: Callable[..., float], *arguments: object) -> float:
    """Return the largest of the seconds that ``count`` processes at once have for ``work``, one thread each."""
    with tempfile.TemporaryDirectory() as folder:
        context = multiprocessing.get_context("spawn")
        with context.Pool(count, prepare_process) as pool:
            return max(pool.starmap(work, [(rank, count, f"{folder}/group", *arguments) for rank in range(count)], 1))


def time_backward(rank: int, size: int, file: str, width: int, shared: bool) -> float:
    """Return the mean seconds of forward and backward of one layer as one of ``size`` processes, ``shared`` by DDP."""
    net: torch.nn.Module = torch.nn.Linear(width, width)
    if shared:
        dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=size)
        net = TorchProcessGroup().wrap(net)
    images = torch.ones(4, width)
    for step in range(220):
        if step == 20:
            began = time.perf_counter()
        net.zero_grad()
        net(images).sum().backward()
    took = (time.perf_counter() - began) / 200
    if shared:
        dist.barrier()
        dist.destroy_process_group()
    return took


def time_work(rank: int, size: int, file: str) -> float:
    """Return the seconds of some training steps."""
    config = with_batch(preset("digits"), 64, 60)
    return seconds_of(lambda: run_phase("gan", config, (1, 8, 8)), 3)


def measure_all_reduce() -> tuple[float, float]:
    """Return latency and bandwidth of an all-reduce of DDP with gloo between two processes of this machine."""
    small, large = (
        in_processes(2, time_backward, width, True) - in_processes(2, time_backward, width, False)
        for width in (10, 1000)
    )
    return small / 2, 4 * 1000**2 / (large - small)


def measure_contention() -> float:
    """Return how many times longer a process computes when all cores are busy."""
    return max(1.0, in_processes(os.cpu_count() or 1, time_work) / in_processes(1, time_work))


def measure_parts(config: LifeConfig, shape: SHAPE, start: float, start_worker: float) -> Parts:
    """Measure all parts but the start-up on this machine, one thread a process."""
    latency, bandwidth = measure_all_reduce()
    life = life_of(config, 4, 2, shape)
    dreamer = dreamer_of(life)

    def dream(count: int) -> float:
        order = replace(schedule_of(life, len(life.memories) - 1), steps=1, batch_size=count).request(0)
        order = replace(order, tasks=torch.zeros_like(order.tasks))
        return seconds_of(lambda: dreamer.dream(order))

    few, many = dream(1), dream(256)
    dream_each = (many - few) / 255
    test = data_of(2000, 2, shape)
    evaluated = seconds_of(lambda: accuracy_rows(life.neocortex, [test], SingleProcess()))
    few_memories, many_memories = 2, 34
    with tempfile.TemporaryDirectory() as name:
        lives = [life_of(config, n, 2, shape, Path(name) / str(n)) for n in (few_memories, many_memories)]
        for each in lives:
            each.save()
        read = [seconds_of(lambda folder=each.folder: Life.open(folder)) for each in lives]
        saved = [seconds_of(each.save) for each in lives]
    one = dreamer.dream(replace(schedule_of(life, len(life.memories) - 1), batch_size=1, steps_per_block=1).request(0))
    return Parts(
        steps={name: measure_step(name, config, shape) for name in PHASES},
        latency=latency,
        bandwidth=bandwidth,
        contention=measure_contention(),
        dream_call=max(0.0, few - dream_each),
        dream_each=dream_each,
        dream_flops=count_dream(life),
        dream_bytes=sum(getattr(one, f.name).nbytes for f in dataclasses.fields(Dreams)),
        read_memory=max(0.0, read[1] - read[0]) / (many_memories - few_memories),
        save_memory=max(0.0, saved[1] - saved[0]) / (many_memories - few_memories),
        evaluate_each=evaluated / len(test),
        start=start,
        start_worker=start_worker,
        cores=float(os.cpu_count() or 1),
    )


def dreamer_of(life: Life) -> Dreamer:
    """Return a dreamer of the life on this machine's CPU."""
    features = life.config.sleep.feature_weight > 0
    return Dreamer(
        life.memories,
        (life.neocortex,),
        (0,) * len(life.memories),
        torch.device("cpu"),
        with_features=features,
    )


def count_dream(life: Life) -> float:
    """Return the operations of one dream."""
    order = replace(schedule_of(life, len(life.memories) - 1), steps=1, batch_size=32).request(0)
    with FlopCounterMode(display=False) as counter:
        dreamer_of(life).dream(order)
    return counter.get_total_flops() / 32


def of_large_networks(parts: Parts, config: LifeConfig, shape: SHAPE) -> Parts:
    """Return ``parts`` for networks that are too large to train here: operations counted, not timed.

    What a step costs whatever its batch is measured with one image of 8×8, on which these networks hardly compute.
    """

    def fixed(name: str) -> float:
        def steps(count: int) -> float:
            return seconds_of(lambda: run_phase(name, with_batch(config, 1, count), (shape[0], 8, 8)), 3)

        return max(0.0, steps(9) - steps(1)) / 8

    life = life_of(config, 2, 2, shape)
    bytes_of_one = math.prod(shape) + parts.dream_bytes - math.prod((1, 28, 28))
    return replace(
        parts,
        steps={name: count_step(name, config, shape, fixed(name), 0.0) for name in PHASES},
        dream_flops=count_dream(life),
        dream_bytes=bytes_of_one,
    )


# -- lives on Ray -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lived:
    """What a life on Ray took, in seconds: to its first training step, and in its phases."""

    start: float
    wake: float
    sleep: float


def live_on_ray(config: ExperimentConfig, workers: int, dreamers: int) -> Lived:
    """Run a life on the Ray that this process is connected to."""
    from distributed.cluster.capacity import cpus_of_nodes, resources_in_reach
    from distributed.cluster.placement import place
    from distributed.training.trainer import run_on_ray

    first_step: list[float] = []
    seconds: dict[str, float] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and not first_step:
            first_step.append(time.perf_counter())
        if isinstance(event, PhaseEnded):
            seconds[event.place.phase] = seconds.get(event.place.phase, 0.0) + event.seconds

    placement = place(resources_in_reach(), workers, dreamers, nodes=cpus_of_nodes())
    with tempfile.TemporaryDirectory(prefix="mygo-scaling-") as folder:
        began = time.perf_counter()
        run_on_ray(Experiment(config, Path(folder) / "out"), placement, listen)
    waking = sum(seconds[name] for name in ("learn", "adapt", "memorise"))
    return Lived(first_step[0] - began, waking, seconds["consolidate"])


@contextmanager
def cluster_of(nodes: int, cpus: int) -> Iterator[None]:
    """Connect this process to a cluster that Ray simulates here: ``nodes`` of so many ``cpus``, and a head of none."""
    from ray.cluster_utils import Cluster

    from distributed.cluster.session import ray_session

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus)
        cluster.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = cluster.address
        with ray_session():
            yield
    finally:
        os.environ.pop("RAY_ADDRESS", None)
        cluster.shutdown()


def simulated(nodes: int, cpus: int, workers: tuple[int, ...]) -> list[list[object]]:
    """Start workers on a cluster of ``nodes`` small nodes that Ray simulates, and return a table's rows."""
    from distributed.cluster.capacity import living_nodes

    config = momentary(ExperimentConfig(num_tasks=2, strategies=("mygo",), life=preset("digits")))
    began = time.perf_counter()
    rows: list[list[object]] = []
    with cluster_of(nodes, cpus):
        started = time.perf_counter() - began
        for count in workers:
            before = time.perf_counter()
            lived = live_on_ray(config, count, 4)
            whole = time.perf_counter() - before
            rows.append([len(living_nodes()), count, f"{started:.0f}", f"{lived.start:.0f}", f"{whole:.0f}"])
    return rows


def floorless(config: LifeConfig) -> LifeConfig:
    """Return ``config`` without floors for its memories: what is trained for a moment is no memory."""
    return replace(config, memory=replace(config.memory, fidelity_floor=0.0, diversity_floor=0.0))


def momentary(config: ExperimentConfig) -> ExperimentConfig:
    """Return ``config`` with phases of five steps."""
    return replace(config, life=floorless(with_batch(config.life, 64, 5)))


# -- the report -------------------------------------------------------------------------------------------------------


def checked_lives() -> tuple[Parts, list[list[object]]]:
    """Measure the parts and three lives on this machine; returns parts and a table's rows."""
    from distributed.cluster.session import ray_session

    life = change(floorless(preset("digits")), {"memory.gan.steps": 400})
    config = ExperimentConfig(num_tasks=4, strategies=("mygo",), life=life)
    with ray_session():
        live_on_ray(momentary(config), 1, 1)  # the first start reads all packages from disk
        lived = {workers: live_on_ray(config, workers, 1) for workers in (1, 2)}
    with ray_session(num_cpus=5):  # more than there are: the model knows how many share them
        lived[4] = live_on_ray(config, 4, 1)
    start = lived[1].start
    parts = measure_parts(life, (1, 8, 8), start, max(0.0, lived[2].start - start) * 2)
    plan = LifePlan(life, tasks=4, classes_per_task=3, train_images=359, test_images=90)
    rows: list[list[object]] = []
    for workers, found in lived.items():
        expected = predict(plan, parts, workers, 1)
        waking = expected["wake"] + expected["wake's all-reduce"]
        sleeping = expected["sleep"] + expected["sleep's all-reduce"] + expected["dreams"]
        cells = [
            f"{predicted:.1f} / {measured:.1f}"
            for predicted, measured in (
                (expected["start"], found.start),
                (waking, found.wake),
                (sleeping, found.sleep),
            )
        ]
        both = sum((expected["start"], waking, sleeping)) / (found.start + found.wake + found.sleep)
        rows.append([workers, *cells, f"{both:.2f}"])
    return parts, rows


def shares(total: dict[str, float]) -> str:
    """Return a life's seconds, and the two parts that take most of it."""
    whole = sum(total.values())
    largest = sorted(total, key=lambda name: -total[name])[:2]
    return f"{whole:,.0f} s ({', '.join(f'{name} {total[name] / whole:.0%}' for name in largest)})"


def main() -> None:
    """Measure, predict, check, and write the report."""
    prepare_process()
    parts, checks = checked_lives()
    print(table(CHECK_HEADER, checks), flush=True)
    fashion = measure_parts(preset("fashion-mnist"), (1, 28, 28), parts.start, parts.start_worker)
    small = LifePlan(preset("fashion-mnist"), tasks=5, classes_per_task=2, train_images=12_000, test_images=2_000)
    large = replace(small, config=large_life(), train_images=5_000, test_images=1_000)
    plans = {
        "Fashion-MNIST's preset, batches of 64 and 128": (small, on_gpus(fashion)),
        "32×32×3, ResNet-18, GAN width 128, batches of 1,024": (
            large,
            on_gpus(of_large_networks(fashion, large_life(), (3, 32, 32))),
        ),
    }
    counts, lengths = (1, 8, 64, 1000), (5, 50, 1000)
    lives = [
        [name, workers, *(shares(predict(replace(plan, tasks=tasks), gpus, workers, workers)) for tasks in lengths)]
        for name, (plan, gpus) in plans.items()
        for workers in counts
        if workers <= plan.config.smallest_batch
    ]
    steps = [
        [
            name,
            f"{1e3 * step.fixed:.2f}",
            f"{1e6 * step.per_example:.0f}",
            f"{step.flops_per_example / 1e6:.2f}",
            f"{step.gradient_bytes / 1e6:.2f}",
        ]
        for name, step in fashion.steps.items()
    ]
    others = [
        [
            "one hop of an all-reduce (gloo)",
            f"{1e6 * fashion.latency:.0f} µs + bytes / {fashion.bandwidth / 1e9:.2f} GB/s",
        ],
        ["one call of a dreamer", f"{1e3 * fashion.dream_call:.2f} ms + {1e6 * fashion.dream_each:.0f} µs a dream"],
        ["bytes of one dream", str(fashion.dream_bytes)],
        ["reading one stored memory, for each dreamer and sleep", f"{1e3 * fashion.read_memory:.2f} ms"],
        ["checking one stored memory, at each save", f"{1e3 * fashion.save_memory:.2f} ms"],
        ["one test image", f"{1e6 * fashion.evaluate_each:.0f} µs"],
        [
            "start to the first step, one worker",
            f"{fashion.start:.1f} s; each further one {fashion.start_worker:.1f} core-seconds",
        ],
    ]
    dreams = small.config.sleep.steps * small.config.sleep.batch_size
    scheduled = simulated(16, 2, (4, 16, 32))
    sections = [
        "## Parts, Fashion-MNIST's preset, one thread",
        table(["step", "fixed, ms", "an example, µs", "an example, MFLOP", "gradients, MB"], steps),
        table(["part", "cost"], others),
        "## The model against measured lives: digits, 4 tasks, 400 GAN steps; predicted / measured seconds",
        table(CHECK_HEADER, checks),
        "Four workers and a dreamer share the machine's two cores, as the model knows.",
        "## A life on GPUs, predicted",
        f"Assumed, not measured: {GPU_FLOPS / 1e12:.0f} TFLOP/s, {1e6 * GPU_LATENCY:.0f} µs a hop and "
        f"{GPU_BANDWIDTH / 1e9:.0f} GB/s between GPUs; one dreamer for each worker. What a step costs whatever its "
        "batch is as measured above. In brackets: the two parts that take most.",
        table(["life", "GPUs", *(f"{tasks:,} tasks of 2 classes" for tasks in lengths)], lives),
        f"One sleep moves {dreams * fashion.dream_bytes / 1e6:,.0f} MB of dreams through the object store, however "
        "many classes are known.",
        "## Workers on a cluster of many small nodes, simulated on this machine",
        table(
            ["nodes", "workers", "nodes up, s", "first training step after, s", "whole life of 2 tasks, s"], scheduled
        ),
        f"All processes share {os.cpu_count()} cores and the seconds are theirs: what it shows is that all are placed.",
    ]
    command = "python benchmarks/scaling_model.py"
    print(
        write_report("scaling_model", "What a life takes on more machines", command, "\n\n".join(sections)).read_text()
    )


CHECK_HEADER = ["workers", "start", "wake", "sleep", "all, predicted / measured"]


def large_life() -> LifeConfig:
    """Return a life of networks that fill a GPU, with the default numbers of steps."""
    config = LifeConfig(backbone="resnet18")
    gan = replace(config.memory.gan, batch_size=1024, generator_width=128, discriminator_width=128)
    return replace(
        config,
        wake=replace(config.wake, batch_size=1024),
        memory=replace(config.memory, gan=gan),
        sleep=replace(config.sleep, batch_size=1024),
    )


if __name__ == "__main__":
    main()
