"""How near a life's training steps come to what the machine can do: to a large product, and to their own layers.

python benchmarks/roofline.py                     minutes; writes its table to benchmarks/results/
python benchmarks/roofline.py --dataset digits    the same for digits; also --precision float32, --threads 2
python benchmarks/roofline.py --profile           prints what the rest of the time goes into, and writes nothing
python benchmarks/roofline.py --quick             fewer repeats, and writes nothing

One real step of each phase is recorded: every convolution and matrix product, forward and backward, with the tensors
that it was given. Then, in turns, the real steps are timed, the recorded calls alone, and a large product. What a
step takes beyond its calls alone is not arithmetic of layers, and can be saved without changing what is learned.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, get_args

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.lives import (  # noqa: E402
    SHAPE,
    SHAPES,
    Stopwatch,
    interleaved,
    life_of,
    prepare_process,
    ratio,
    run_phase,
    timed,
    warm_steps,
    with_steps,
)
from benchmarks.report import table, write_report  # noqa: E402
from mygo.config.learner import LifeConfig, Precision  # noqa: E402
from mygo.config.presets import preset  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.replay.spec import replay_of  # noqa: E402
from mygo.training.graphs import recordable  # noqa: E402
from mygo.training.precision import resolved  # noqa: E402
from mygo.training.process_group import SingleProcess  # noqa: E402

Around = Callable[[int], AbstractContextManager[object]]
RECORDED = 2
"""The step whose calls are recorded: one of those that do not count."""
MEMORIES = 5
"""Memories that dreams are recalled from: those of the last sleep of five tasks."""
WAKE_AND_SLEEP = "wake and sleep, together"


# -- what a step computes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A convolution or matrix product as it was called."""

    operation: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    flops: int

    def __call__(self) -> None:
        """Call it again."""
        self.operation(*self.arguments, **self.keywords)

    def __str__(self) -> str:
        def layout(tensor: Tensor) -> str:
            last = tensor.dim() == 4 and not tensor.is_contiguous() and tensor.stride(1) == 1
            return f"{list(tensor.shape)}{' channels last' if last else ''}"

        tensors = [layout(each) for each in self.arguments if isinstance(each, Tensor)]
        return f"{self.operation.overloadpacket} {', '.join(tensors)}"


class Recorder(TorchDispatchMode):
    """Keeps the calls of all operations that PyTorch's counter of floating-point operations knows."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = kwargs or {}
        if func.overloadpacket not in flop_registry:
            with self:  # while dreaming, layers come whole: their parts come here
                parts = func.decompose(*args, **keywords)
            return func(*args, **keywords) if parts is NotImplemented else parts
        result = func(*args, **keywords)
        flops = flop_registry[func.overloadpacket](*args, **keywords, out_val=result)
        self.calls.append(Call(func, args, keywords, flops))
        return result


@dataclass(frozen=True)
class Part:
    """A kind of step, and how many of them a task takes."""

    name: str
    count: int
    run: Callable[[int, Around], float]
    """Makes so many steps that count, each within a context, and returns their mean seconds."""
    asleep: bool
    steps_in_record: int = 1
    """Steps that are made together, so that their calls are recorded together."""


def parts_of(config: LifeConfig, shape: SHAPE, device: torch.device) -> list[Part]:
    """Return what nearly all steps of a life are."""
    warm = warm_steps(device)

    def training(name: str) -> Callable[[int, Around], float]:
        def run(steps: int, around: Around) -> float:
            watch = Stopwatch(SingleProcess(device), around=around)
            run_phase(name, with_steps(config, warm + steps), shape, watch)
            return watch.seconds_a_step(warm)

        return run

    block = config.sleep.steps_per_block
    return [
        Part("wake: a step of the GAN", config.memory.gan.steps, training("gan"), False),
        Part("wake: a step of the fast learner", config.wake.adapt_steps, training("fit"), False),
        Part("wake: a step of the new head", config.wake.head_steps, training("head"), False),
        Part("sleep: the dreams of a step", config.sleep.steps, dreaming(config, shape, device), True, block),
        Part("sleep: a step of distillation", config.sleep.steps, training("sleep"), True),
    ]


def dreaming(config: LifeConfig, shape: SHAPE, device: torch.device) -> Callable[[int, Around], float]:
    """Return what dreams block after block, as a sleep does, and returns the seconds for each step's share."""
    life = life_of(config, MEMORIES, 2, shape)
    spec = replay_of(life)
    dreamer, schedule = spec.dreamer(device), spec.schedule

    def run(steps: int, around: Around) -> float:
        blocks = max(1, steps // schedule.steps_per_block)
        with around(RECORDED):
            seconds = timed(lambda: [dreamer.dream(schedule.request(block)) for block in range(blocks)], device)
        return seconds / blocks / schedule.steps_per_block

    return run


def recorded(part: Part) -> list[Call]:
    """Return what the steps that ``part`` makes together call."""
    recorder = Recorder()
    part.run(1, lambda step: recorder if step == RECORDED else nullcontext())
    return recorder.calls


# -- how long it takes ------------------------------------------------------------------------------------------------


@torch.no_grad()
def alone(calls: Callable[[], object], part: Part, steps: int, device: torch.device) -> float:
    """Return the mean seconds that the ``calls`` of a step of ``part`` take together, over so many steps."""
    rounds = max(1, steps // part.steps_in_record)
    return timed(lambda: [calls() for _ in range(rounds)], device) / rounds / part.steps_in_record


@torch.no_grad()
def together(calls: Sequence[Call], device: torch.device) -> Callable[[], object]:
    """Return what makes all ``calls``, one after another; on a GPU as one graph, as training steps are."""

    def make() -> None:
        for call in calls:
            call()

    if device.type != "cuda":
        return make
    with recordable(device):
        make()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream(device)):
            make()
    return graph.replay


def matrix_product(device: torch.device, size: int, numbers: torch.dtype) -> float:
    """Return the operations per second of a product of two matrices of ``size``."""
    left, right = torch.randn(2, size, size, device=device, dtype=numbers)
    return 2 * size**3 / timed(lambda: left @ right, device)


@torch.no_grad()
def wide_convolution(device: torch.device, size: int, numbers: torch.dtype) -> float:
    """Return the operations per second of a convolution that does as much, 3×3 of 128 channels to as many."""
    layer = torch.nn.Conv2d(128, 128, 3, padding=1).to(device, numbers, memory_format=torch.channels_last)
    count = max(1, size**3 // (128 * 128 * 9 * 32 * 32))
    images = torch.randn(count, 128, 32, 32, device=device, dtype=numbers).contiguous(memory_format=torch.channels_last)
    return 2 * count * 32 * 32 * 128 * 128 * 9 / timed(lambda: layer(images), device)


@dataclass(frozen=True)
class Measured:
    """A part of a life, measured: floating-point operations and, in each round, seconds."""

    name: str
    flops: float
    seconds: list[float]
    alone: list[float]

    def __add__(self, other: "Measured") -> "Measured":
        seconds = [sum(both) for both in zip(self.seconds, other.seconds, strict=True)]
        layers = [sum(both) for both in zip(self.alone, other.alone, strict=True)]
        return Measured(self.name, self.flops + other.flops, seconds, layers)

    def times(self, count: int, name: str) -> "Measured":
        """Return ``count`` such steps, under another name."""
        return Measured(name, count * self.flops, [count * s for s in self.seconds], [count * s for s in self.alone])

    def row(self, peak: float) -> list[str]:
        """Return a line of the table, with ``peak`` operations per second as the ceiling."""
        speed = self.flops / median(self.seconds)
        return [
            self.name,
            f"{self.flops / 1e9:.3f}",
            f"{1e3 * median(self.seconds):.2f}",
            f"{speed / 1e9:.1f}",
            f"{speed / peak:.2f}",
            f"{1e3 * median(self.alone):.2f}",
            f"{ratio(self.alone, self.seconds):.2f}",
        ]


HEADER = ["", "GFLOP", "ms", "GFLOP/s", "share of the ceiling", "ms of its layers alone", "alone / step"]


def measure(
    parts: Sequence[Part], device: torch.device, numbers: torch.dtype, steps: int, repeats: int, size: int
) -> str:
    """Return the table of all ``parts`` and of a task's wake and sleep, and what it was held against."""
    calls = {part.name: recorded(part) for part in parts}
    measures = {
        "matrix product": lambda: matrix_product(device, size, numbers),
        "convolution": lambda: wide_convolution(device, size, numbers),
    }
    for part in parts:
        layers = together(calls[part.name], device)
        measures[part.name] = lambda part=part: part.run(steps, lambda step: nullcontext())
        measures[f"{part.name}, alone"] = lambda part=part, layers=layers: alone(layers, part, steps, device)
    found = interleaved(measures, repeats)
    speeds = {name: median(found[name]) for name in ("matrix product", "convolution")}
    peak = max(speeds.values())
    rows = [
        Measured(
            part.name,
            sum(call.flops for call in calls[part.name]) / part.steps_in_record,
            found[part.name],
            found[f"{part.name}, alone"],
        )
        for part in parts
    ]
    counted = [(part, row.times(part.count, WAKE_AND_SLEEP)) for part, row in zip(parts, rows, strict=True)]
    for name, those in (
        ("wake, all its steps", [row for part, row in counted if not part.asleep]),
        ("sleep, all its steps", [row for part, row in counted if part.asleep]),
        (WAKE_AND_SLEEP, [row for _, row in counted]),
    ):
        rows.append(sum(those[1:], those[0]).times(1, name))
    return f"{table(HEADER, [row.row(peak) for row in rows])}\n\n" + LEGEND.format(
        counts=", ".join(f"{part.count} × {part.name.partition(': ')[2]}" for part in parts),
        product=f"{speeds['matrix product'] / 1e9:.1f}",
        convolution=f"{speeds['convolution'] / 1e9:.1f}",
        size=size,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        repeats=repeats,
        numbers=" in TF32"
        if (device.type, numbers) == ("cuda", torch.float32)
        else f" in {numbers}".replace("torch.", ""),
    )


LEGEND = """Medians of {repeats} rounds, on {device} with {threads} thread(s). A task is {counts}.

The ceiling is the quicker, in the same rounds, of a product of two matrices of {size}×{size}{numbers} ({product}
GFLOP/s) and of a convolution of 128 channels to 128, 3×3, with as many operations ({convolution} GFLOP/s).

Layers alone: the convolutions and matrix products of a step, forward and backward, called one after another with the
tensors that they had in it; alone / step is the share of a step that they would take. It must be 0.6 or more for wake
and sleep together; the aim is 0.8."""


# -- what the rest is -------------------------------------------------------------------------------------------------

GROUPS = {
    "convolutions, matrix products": ("convolution", "addmm", "aten::mm", "aten::bmm"),
    "group norm": ("group_norm", "NativeGroupNorm"),
    "activations": ("relu", "threshold_backward", "tanh"),
    "spectral norm": ("aten::mv", "aten::dot", "vector_norm", "aten::ger", "aten::outer"),
    "Adam": ("adam", "Adam"),
    "moving average": ("lerp",),
    "losses": ("softplus", "softmax", "nll_loss", "cross_entropy", "gather", "masked_fill", "scatter"),
    "upsampling, pixel shuffle": ("upsample", "pixel_", "constant_pad"),
    "random numbers": ("randn", "normal_", "randperm", "multinomial", "randint", "random_"),
    "copies, fills, gradients summed": ("copy_", "fill_", "zero_", "aten::cat", "index", "add_", "aten::sum"),
}


def explain(part: Part, steps: int, device: torch.device) -> None:
    """Print where the time of ``part`` goes: its operations, groups of them, and its layers one by one."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    profiler = profile(activities=activities)

    def around(step: int) -> AbstractContextManager[object]:
        if step == warm_steps(device):
            profiler.start()
        return nullcontext()

    if part.asleep and "dreams" in part.name:
        with profiler:
            part.run(steps, lambda step: nullcontext())
    else:
        part.run(steps, around)
        profiler.stop()
    events = profiler.key_averages()
    key = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    total = sum(getattr(event, key) for event in events)
    groups = dict.fromkeys([*GROUPS, "all else"], 0.0)
    for event in events:
        group = next((name for name, marks in GROUPS.items() if any(mark in event.key for mark in marks)), "all else")
        groups[group] += getattr(event, key)
    plain = part.run(steps, lambda step: nullcontext())
    print(f"\n## {part.name}: {1e3 * plain:.2f} ms; profiled {total / steps / 1e3:.2f} ms in operations\n")
    print(table(["", "ms", "share"], [[n, f"{t / steps / 1e3:.2f}", f"{t / total:.0%}"] for n, t in groups.items()]))
    print(events.table(sort_by=key, row_limit=30, max_name_column_width=60))
    rows = []
    for call in recorded(part):
        call_seconds = median(timed(call, device) for _ in range(9))
        rows.append([str(call), f"{1e3 * call_seconds:.3f}", f"{call.flops / 1e9 / max(call_seconds, 1e-9):.1f}"])
    print(table(["layers, in their order", "ms", "GFLOP/s"], rows), flush=True)


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion-mnist", choices=SHAPES)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=get_args(Precision), help="by default that of a life on this machine")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--quick", action="store_true")
    flags = parser.parse_args()
    prepare_process(flags.threads)
    torch.backends.cuda.matmul.allow_tf32 = True
    device = torch.device(flags.device)
    config = preset(flags.dataset)
    precision = resolved(flags.precision or config.precision, device)
    config = change(config, {"precision": precision})
    parts = parts_of(config, SHAPES[flags.dataset], device)
    steps = 8 if flags.quick else 24
    if flags.profile:
        for part in parts:
            explain(part, steps, device)
        return
    size = 1024 if device.type == "cpu" else 8192
    text = measure(parts, device, getattr(torch, precision), steps, 2 if flags.quick else flags.repeats, size)
    print(text)
    if not flags.quick:
        threads = f"-{flags.threads}-threads" if flags.threads > 1 else ""
        name = f"roofline-{flags.dataset}-{precision}{threads}" + ("" if device.type == "cpu" else "-gpu")
        settings = f"--dataset {flags.dataset} --precision {precision} --threads {flags.threads}"
        command = f"python benchmarks/roofline.py {settings}"
        write_report(name, f"How near the steps of {flags.dataset} come to the machine", command, text)


if __name__ == "__main__":
    main()
