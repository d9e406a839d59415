"""What a life would take on more machines: a model of measured parts, held against measured lives and many workers.

python benchmarks/scaling_model.py    about 25 minutes on two cores; writes benchmarks/results/scaling_model.md

The parts are measured on this machine: a training step of each phase (a fixed cost, and one per example), an
all-reduce, a call of a dreamer, reading and saving a memory, evaluation, start-up. From them `predict` adds up a life.
Two checks follow: whole lives with 1, 2 and 4 workers, and the starting of up to 32 workers on a cluster of many small
nodes that Ray simulates. docs/scaling.md says what the tables mean.
"""

import dataclasses
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.flop_counter import FlopCounterMode

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.report import table, write_report  # noqa: E402
from mygo import sleep, wake  # noqa: E402
from mygo.crew import Crew  # noqa: E402
from mygo.data import LabelledImages  # noqa: E402
from mygo.dreams import Dreamer, Dreams, Night, OwnDreams  # noqa: E402
from mygo.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.gan import Discriminator, train_gan  # noqa: E402
from mygo.journal import Event, PhaseEnded, Progress  # noqa: E402
from mygo.life import Life, LifeConfig  # noqa: E402
from mygo.memory import Quality  # noqa: E402
from mygo.metrics import accuracy_rows  # noqa: E402
from mygo.neocortex import NeocortexNet  # noqa: E402
from mygo.presets import preset  # noqa: E402
from mygo.stream import Task  # noqa: E402
from mygo.team import Solo, Team  # noqa: E402

SHAPE = tuple[int, int, int]
PHASES = ("head", "fit", "gan", "sleep")
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


@dataclass(frozen=True)
class Parts:
    """What one process needs for each part of a life, in seconds and bytes."""

    steps: dict[str, Step]
    """By phase: ``head`` (features frozen), ``fit`` (whole network), ``gan``, ``sleep``."""
    latency: float
    """Of one hop of an all-reduce."""
    bandwidth: float
    """Bytes per second of an all-reduce, through each process."""
    dream_call: float
    """One call of a generator and of its teacher, whatever they make."""
    dream_each: float
    """One dream."""
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


def all_reduce_seconds(gradient_bytes: float, workers: int, parts: Parts) -> float:
    """Return the seconds of one ring all-reduce.

    Source: Patarasuk & Yuan 2009, Bandwidth optimal all-reduce algorithms for clusters of workstations, section 3.
    """
    hops = 2 * (workers - 1)
    return hops * (parts.latency + gradient_bytes / workers / parts.bandwidth)


def dream_calls(dreams: float, memories: int, chunk: int = 256) -> float:
    """Return how many calls of a generator ``dreams`` that are spread over ``memories`` take."""
    if dreams < memories:
        return dreams
    return memories * max(1.0, dreams / memories / chunk)


def predict(plan: LifePlan, parts: Parts, workers: int, dreamers: int) -> dict[str, float]:
    """Return the seconds of each part of a life with ``workers`` and ``dreamers``; their sum is the life's."""
    config = plan.config
    crowded = max(1.0, workers / parts.cores)

    def phase(name: str, batch: int) -> tuple[float, float]:
        """Return the seconds that one step of a phase computes, and those that it reduces gradients."""
        step = parts.steps[name]
        computing = crowded * (step.fixed + batch / workers * step.per_example)
        return computing, crowded * all_reduce_seconds(step.gradient_bytes, workers, parts)

    total = dict.fromkeys(("start", "wake", "sleep", "all-reduce", "dreams", "memories", "evaluate"), 0.0)
    total["start"] = parts.start + (workers - 1) * parts.start_worker / min(workers, parts.cores)
    for task in range(plan.tasks):
        first = task == 0
        waking = [("fit", config.wake.adapt_steps, config.wake.batch_size)]
        waking += [("gan", config.memory.gan.steps, config.memory.gan.batch_size)]
        waking += [] if first else [("head", config.wake.head_steps, config.wake.batch_size)]
        for name, steps, batch in waking:
            computing, reducing = phase(name, batch)
            total["wake"] += steps * computing
            total["all-reduce"] += steps * reducing
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
        together = (trainers / crowded * workers + dreaming) / parts.cores
        total["sleep"] += steps * computing
        total["all-reduce"] += steps * reducing
        total["dreams"] += steps * (max(trainers, dreaming / dreamers, together) - trainers)
        total["memories"] += (task + 1) * parts.read_memory * max(1.0, dreamers / parts.cores)
    return total


def on_gpus(parts: Parts) -> Parts:
    """Return ``parts`` as they are assumed to be on GPUs: the counted operations at `GPU_FLOPS`, all else as measured.

    What a step costs whatever its batch stays as it is here, since that is Python and the starting of kernels.
    """
    steps = {n: replace(s, per_example=s.flops_per_example / GPU_FLOPS) for n, s in parts.steps.items()}
    factor = GPU_FLOPS * parts.steps["sleep"].per_example / parts.steps["sleep"].flops_per_example
    return replace(
        parts,
        steps=steps,
        latency=GPU_LATENCY,
        bandwidth=GPU_BANDWIDTH,
        dream_each=parts.dream_each / factor,
        evaluate_each=parts.evaluate_each / factor,
        cores=float("inf"),
    )


# -- measuring the parts ----------------------------------------------------------------------------------------------


def seconds_of(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median seconds of ``work``, after a first call that does not count."""
    work()
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return median(found)


@dataclass(frozen=True)
class SameDreams:
    """A source that yields the same dreams at every step, at once."""

    batch: Dreams

    def dreams(self, life: Life, night: Night, team: Team) -> Iterator[Dreams]:
        """Yield them."""
        while True:
            yield self.batch


def data_of(count: int, classes: int, shape: SHAPE) -> LabelledImages:
    """Return ``count`` random images."""
    rng = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=rng)
    return LabelledImages(images, torch.arange(count) % classes)


def life_of(config: LifeConfig, memories: int, classes: int, shape: SHAPE, folder: Path | None = None) -> Life:
    """Return a life between waking and sleeping, with that many memories."""
    life = Life("mygo", config, shape, folder)
    for index in range(memories):
        life.begin(Task(index, tuple(range(index * classes, (index + 1) * classes))))
        life.keep_memory(config.build_generator(classes, shape), Quality(1.0, 1.0))
    life.fast_learner = Life("mygo", config, shape).neocortex
    for _ in range(memories):
        life.fast_learner.add_task_head(classes)
    life.tasks_learned = memories - 1
    return life


def with_batch(config: LifeConfig, batch: int, steps: int) -> LifeConfig:
    """Return ``config`` with the same number of steps and the same batch in every phase."""
    gan = replace(config.memory.gan, batch_size=batch, steps=steps)
    return replace(
        config,
        wake=replace(config.wake, batch_size=batch, head_steps=steps, adapt_steps=steps),
        memory=replace(config.memory, gan=gan),
        sleep=replace(config.sleep, batch_size=batch, steps=steps),
    )


def run_phase(name: str, config: LifeConfig, shape: SHAPE) -> None:
    """Run one phase of ``config`` as a life does, on random images."""
    life = life_of(config, 2, 2, shape)
    task = Task(1, (2, 3))
    data = data_of(512, 2, shape)
    night = life.night(1)
    dreams = next(OwnDreams().dreams(life, replace(night, steps_per_block=1), Solo()))
    crew = Crew(Solo(), SameDreams(dreams))
    if name == "head":
        wake.learn(life, task, data, crew)
    elif name == "fit":
        wake.adapt(life, task, data, crew)
    elif name == "gan":
        train_gan(data, 2, config.memory.gan, (0, "model"), crew)
    else:
        sleep.consolidate(life, task, crew)


def measure_step(name: str, config: LifeConfig, shape: SHAPE) -> Step:
    """Measure one training step of the phase ``name``: from two batch sizes, and with two numbers of steps."""
    few, many = 4, 44

    def seconds_a_step(batch: int) -> float:
        took = [
            seconds_of(lambda steps=steps: run_phase(name, with_batch(config, batch, steps), shape), 3)
            for steps in (few, many)
        ]
        return (took[1] - took[0]) / (many - few)

    def flops(steps: int) -> int:
        with FlopCounterMode(display=False) as counter:
            run_phase(name, with_batch(config, 32, steps), shape)
        return counter.get_total_flops()

    small, large = 16, 128
    slow, fast = seconds_a_step(large), seconds_a_step(small)
    per_example = (slow - fast) / (large - small)
    net = NeocortexNet(shape, config.backbone)
    head = net.add_task_head(2)
    gan = config.memory.gan
    modules = {
        "head": [head],
        "fit": [net],
        "sleep": [net],
        "gan": [config.build_generator(2, shape), Discriminator(2, shape, width=gan.discriminator_width)],
    }[name]
    gradient_bytes = sum(4 * p.numel() for module in modules for p in module.parameters())
    return Step(max(0.0, fast - small * per_example), per_example, (flops(3) - flops(1)) / 2 / 32, gradient_bytes)


def time_all_reduce(rank: int, size: int, file: str, answers: Any) -> None:
    """Be one process of an all-reduce, and put the seconds of a small and of a large one into ``answers``."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=size)
    found = []
    for count in (1, 1_000_000):
        values = torch.zeros(count)
        found.append(seconds_of(lambda values=values: dist.all_reduce(values), 20))
    if rank == 0:
        answers.put(found)
    dist.barrier()
    dist.destroy_process_group()


def measure_all_reduce(size: int = 2) -> tuple[float, float]:
    """Return latency and bandwidth of gloo between processes of this machine."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = [(rank, size, f"{folder}/group", answers) for rank in range(size)]
        processes = [context.Process(target=time_all_reduce, args=each) for each in arguments]
        for process in processes:
            process.start()
        small, large = answers.get()
        for process in processes:
            process.join()
    hops = 2 * (size - 1)
    return small / hops, hops * 4e6 / size / (large - small)


def measure_parts(config: LifeConfig, shape: SHAPE, start: float, start_worker: float) -> Parts:
    """Measure all parts but the start-up on this machine, one thread a process."""
    latency, bandwidth = measure_all_reduce()
    life = life_of(config, 4, 2, shape)
    features = config.sleep.feature_weight > 0
    dreamer = Dreamer(life.memories, life.neocortex, life.neocortex, torch.device("cpu"), with_features=features)

    def dream(count: int) -> float:
        night = replace(life.night(3), steps=1, batch_size=count)
        order = night.order(0)
        order = replace(order, tasks=torch.zeros_like(order.tasks))
        return seconds_of(lambda: dreamer.dream(order))

    few, many = dream(1), dream(256)
    dream_each = (many - few) / 255
    test = data_of(2000, 2, shape)
    evaluated = seconds_of(lambda: accuracy_rows(life.neocortex, [test], Solo()))
    with tempfile.TemporaryDirectory() as folder:
        small, large = (life_of(config, n, 2, shape, Path(folder) / str(n)) for n in (2, 34))
        for each in (small, large):
            each.save()
        read = (
            seconds_of(lambda: Life.open(Path(folder) / "34")) - seconds_of(lambda: Life.open(Path(folder) / "2"))
        ) / 32
        saved = (seconds_of(large.save) - seconds_of(small.save)) / 32
    one = dreamer.dream(replace(life.night(3), batch_size=1, steps_per_block=1).order(0))
    dream_bytes = sum(getattr(one, f.name).nbytes for f in dataclasses.fields(Dreams))
    return Parts(
        steps={name: measure_step(name, config, shape) for name in PHASES},
        latency=latency,
        bandwidth=bandwidth,
        dream_call=max(0.0, few - dream_each),
        dream_each=dream_each,
        dream_bytes=dream_bytes,
        read_memory=max(0.0, read),
        save_memory=max(0.0, saved),
        evaluate_each=evaluated / len(test),
        start=start,
        start_worker=start_worker,
        cores=float(os.cpu_count() or 1),
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
    from distributed.nodes import resources_in_reach
    from distributed.placement import place
    from distributed.train import run_on_ray

    first_step: list[float] = []
    seconds: dict[str, float] = {}

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and not first_step:
            first_step.append(time.perf_counter())
        if isinstance(event, PhaseEnded):
            seconds[event.place.phase] = seconds.get(event.place.phase, 0.0) + event.seconds

    placement = place(resources_in_reach(), workers, dreamers)
    with tempfile.TemporaryDirectory(prefix="mygo-scaling-") as folder:
        began = time.perf_counter()
        run_on_ray(Experiment(config, Path(folder) / "out"), placement, listen)
    waking = sum(seconds[name] for name in ("learn", "adapt", "memorise"))
    return Lived(first_step[0] - began, waking, seconds["consolidate"])


def simulated(nodes: int, cpus: int, workers: tuple[int, ...]) -> list[list[object]]:
    """Start workers on a cluster of ``nodes`` small nodes that Ray simulates, and return a table's rows."""
    from ray.cluster_utils import Cluster

    from distributed.nodes import living_nodes
    from distributed.session import ray_session

    config = ExperimentConfig(
        num_tasks=2,
        strategies=("mygo",),
        life=replace(with_batch(preset("digits"), 64, 5), memory=floorless(with_batch(preset("digits"), 64, 5))),
    )
    began = time.perf_counter()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    rows: list[list[object]] = []
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=cpus)
        cluster.wait_for_nodes()
        started = time.perf_counter() - began
        os.environ["RAY_ADDRESS"] = cluster.address
        with ray_session():
            for count in workers:
                before = time.perf_counter()
                lived = live_on_ray(config, count, 4)
                whole = time.perf_counter() - before
                rows.append([len(living_nodes()), count, f"{started:.0f}", f"{lived.start:.0f}", f"{whole:.0f}"])
    finally:
        os.environ.pop("RAY_ADDRESS", None)
        cluster.shutdown()
    return rows


def floorless(config: LifeConfig) -> Any:
    """Return the memory's settings of ``config`` without its floors: what is trained for a moment is no memory."""
    return replace(config.memory, fidelity_floor=0.0, diversity_floor=0.0)


# -- the report -------------------------------------------------------------------------------------------------------


def checked_lives() -> tuple[Parts, LifePlan, list[list[object]]]:
    """Measure the parts and three lives on this machine; returns parts, the lives' plan, and a table's rows."""
    from distributed.session import ray_session

    base = preset("digits")
    life = replace(base, memory=replace(floorless(base), gan=replace(base.memory.gan, steps=400)))
    config = ExperimentConfig(num_tasks=4, strategies=("mygo",), life=life)
    with ray_session():
        live_on_ray(
            replace(config, life=replace(with_batch(life, 64, 5), memory=floorless(with_batch(life, 64, 5)))), 1, 1
        )
        lived = {workers: live_on_ray(config, workers, 1) for workers in (1, 2)}
    with ray_session(num_cpus=5):  # more than there are: the model knows how many share them
        lived[4] = live_on_ray(config, 4, 1)
    start = lived[1].start
    parts = measure_parts(life, (1, 8, 8), start, max(0.0, lived[2].start - start) * 2)
    plan = LifePlan(life, tasks=4, classes_per_task=3, train_images=359, test_images=90)
    rows: list[list[object]] = []
    for workers, found in lived.items():
        expected = predict(plan, parts, workers, 1)
        reducing = {
            phase: steps
            * (plan.tasks - skipped)
            * all_reduce_seconds(parts.steps[phase].gradient_bytes, workers, parts)
            for phase, steps, skipped in (
                ("fit", life.wake.adapt_steps, 0),
                ("gan", life.memory.gan.steps, 0),
                ("head", life.wake.head_steps, 1),
                ("sleep", life.sleep.steps, 1),
            )
        }
        crowded = max(1.0, workers / parts.cores)
        sleeping = expected["sleep"] + expected["dreams"] + crowded * reducing.pop("sleep")
        waking = expected["wake"] + crowded * sum(reducing.values())
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
    return parts, plan, rows


def shares(total: dict[str, float]) -> str:
    """Return a life's seconds, and the two parts that take most of it."""
    whole = sum(total.values())
    largest = sorted(total, key=lambda name: -total[name])[:2]
    return f"{whole:,.0f} s ({', '.join(f'{name} {total[name] / whole:.0%}' for name in largest)})"


def main() -> None:
    """Measure, predict, check, and write the report."""
    torch.set_num_threads(1)
    parts, _, checks = checked_lives()
    print(table(CHECK_HEADER, checks), flush=True)
    fashion = measure_parts(preset("fashion-mnist"), (1, 28, 28), parts.start, parts.start_worker)
    gpus = on_gpus(fashion)
    small = LifePlan(preset("fashion-mnist"), tasks=5, classes_per_task=2, train_images=12_000, test_images=2_000)
    large = replace(small, config=with_sizes(small.config, 1024))
    counts, lengths = (1, 8, 64, 1000), (5, 50, 1000)
    lives = []
    for name, plan in (("as it ships (batches of 64 and 128)", small), ("batches of 1,024", large)):
        for workers in counts:
            if workers > plan.config.smallest_batch:
                continue
            cells = [shares(predict(replace(plan, tasks=tasks), gpus, workers, workers)) for tasks in lengths]
            lives.append([name, workers, *cells])
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


def with_sizes(config: LifeConfig, batch: int) -> LifeConfig:
    """Return ``config`` with its own steps and the same ``batch`` in every phase."""
    return replace(
        config,
        wake=replace(config.wake, batch_size=batch),
        memory=replace(config.memory, gan=replace(config.memory.gan, batch_size=batch)),
        sleep=replace(config.sleep, batch_size=batch),
    )


if __name__ == "__main__":
    main()
