"""What lives behind encoders cost: seconds and memory, on this machine.

python benchmarks/eyes_costs.py                        all measures that need no data, one after another; an hour
python benchmarks/eyes_costs.py add predict            some of them
python benchmarks/eyes_costs.py stream --clothing DIR  with the photos of benchmarks/eyes.py
python benchmarks/eyes_costs.py --quick                smaller, to see that it works; writes nothing

What was measured is kept in --out. Photos are made up, and so are the memories of lives with many classes: how long
anything takes does not depend on what they show. Commands are timed from their start to their end.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import nn

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[0] = str(REPOSITORY)

from benchmarks.lives import interleaved, prepare_process, timed  # noqa: E402
from benchmarks.report import table, write_report  # noqa: E402
from mygo.config.learner import LifeConfig  # noqa: E402
from mygo.config.presets import behind_encoder  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.data.survey import survey  # noqa: E402
from mygo.data.tasks import Task  # noqa: E402
from mygo.encoders.registry import encoder_named  # noqa: E402
from mygo.events import Place  # noqa: E402
from mygo.files import read_json, write_json  # noqa: E402
from mygo.jobs.encoding import encoded  # noqa: E402
from mygo.jobs.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.jobs.features import batches_of  # noqa: E402
from mygo.jobs.perception import ready  # noqa: E402
from mygo.learner.learner import Learner  # noqa: E402
from mygo.memory.gaussian import GaussianMemory, to_length  # noqa: E402
from mygo.memory.quality import Quality  # noqa: E402
from mygo.replay.spec import replay_of  # noqa: E402
from mygo.training.process_group import SingleProcess, TorchProcessGroup  # noqa: E402

ENCODER = "efficientnet-lite0"
SMALL = f"{ENCODER}@64"
"""The same for smaller photos, where there are to be many."""
CLASSES, A_TASK = 1000, 10
"""Of the long life, and of each of its tasks."""
REPEATS = 3
DIFFERENT = 200
"""Photos of one folder that differ; the others are links to them."""
PHASES = ("teach", "remember", "consolidate")

Found = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """What all measures are told."""

    folder: Path
    """Where they may write."""
    quick: bool
    clothing: Path | None


# -- what is measured on ----------------------------------------------------------------------------------------------


def photos(folder: Path, classes: int, per_class: int, side: int) -> Path:
    """Write JPEGs of about ``side`` pixels, ``per_class`` in a sub-folder for each class; returns ``folder``."""
    rng = np.random.default_rng(0)
    different = max(1, min(per_class, DIFFERENT // classes))
    for number in range(classes):
        inner = folder / f"new-{number}"
        inner.mkdir(parents=True)
        for index in range(per_class):
            path = inner / f"{index}.jpg"
            if index >= different:
                os.link(inner / f"{index % different}.jpg", path)
                continue
            small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            small.resize((side, side * 3 // 4), Image.Resampling.BICUBIC).save(path, quality=90)
    return folder


def life_of(
    folder: Path | None, config: LifeConfig, dim: int, tasks: int, per_task: int, checksum: str = ""
) -> Learner:
    """Return a life with made-up memories of ``tasks`` lessons, and save it."""
    rng = torch.Generator().manual_seed(0)
    life = Learner("mygo", config, (dim,), folder)
    life.encoder_checksum = checksum
    rank = config.memory.gaussian.rank
    for index in range(tasks):
        classes = range(index * per_task, (index + 1) * per_task)
        life.begin(Task(index, tuple(classes), tuple(f"known-{each:04}" for each in classes)))
        life.lessons[index].images = (100,) * per_task
        memory = GaussianMemory(per_task, dim, rank)
        for label in range(per_task):
            mean = to_length(torch.randn(1, dim, generator=rng))[0]
            memory.set_class(label, mean, torch.randn(rank, dim, generator=rng) / 4, torch.full((dim,), 0.3))
        life.keep_teacher(index, nn.Linear(dim, per_task))
        life.keep_memory(index, memory, Quality(1.0, 1.0))
        life.finish_cycle()
    life.save()
    return life


def command(*words: object) -> tuple[float, float]:
    """Run ``python -m mygo`` with ``words``; returns its seconds, and the most megabytes that it has held.

    Raises:
        RuntimeError: it has failed.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(
            [sys.executable, "-m", "mygo", *map(str, words)], cwd=REPOSITORY, stdout=told, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - began
        if process.returncode:
            told.seek(0)
            raise RuntimeError(f"{' '.join(map(str, words))} has failed:\n{told.read()}")
    return seconds, used.ru_maxrss / 1024


# -- measures ---------------------------------------------------------------------------------------------------------


def tasks(setting: Setting) -> Found:
    """Time the lessons and the dreams of a life of 1,000 classes of vectors at its second task and at its last."""
    last, dim = (10, 64) if setting.quick else (CLASSES // A_TASK, 384)
    config = change(behind_encoder(), {"encoder": "none", "sleep.steps_per_class": None})  # the same budget for all
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(A_TASK), 50)
    vectors = rng.normal(size=(A_TASK, dim))[labels] + rng.normal(size=(len(labels), dim)) / 2
    data = setting.folder / "new.npz"
    names = np.array([f"new-{each}" for each in range(A_TASK)])
    np.savez(data, features=vectors.astype(np.float32), labels=labels, class_names=names)
    lives = {}
    for number in (2, last):
        lives[number] = setting.folder / f"life-{number}"
        life_of(lives[number], config, dim, number - 1, A_TASK)

    def lesson(number: int) -> float:
        folder = setting.folder / "life"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(lives[number], folder)
        return command("learn", "--life", folder, "--data", data)[0]

    def phases(number: int) -> float:
        lesson(number)
        seconds = Learner.open(setting.folder / "life").record.seconds
        return sum(seconds[phase] for phase in PHASES)

    def dreams(number: int) -> float:
        life = life_of(None, config, dim, number, A_TASK)
        life.current = number - 1
        spec = replay_of(life)
        schedule, dreamer = spec.schedule, spec.dreamer(torch.device("cpu"))
        dreamer.dream(schedule.request(0))  # what is computed once a sleep is computed now
        blocks = range(min(schedule.blocks, 4))
        seconds = timed(lambda: [dreamer.dream(schedule.request(block)) for block in blocks])
        return 1e6 * seconds / sum(schedule.steps_in(block) for block in blocks) / schedule.batch_size

    measures: dict[str, Callable[[int], float]] = {
        "a lesson, command to prompt, s": lesson,
        "its wake and sleep alone, s": phases,
        "a dream, µs": dreams,
    }
    found: Found = {}
    for name, measure in measures.items():
        both = interleaved({number: partial(measure, number) for number in (2, last)}, 1 if setting.quick else REPEATS)
        for number, values in both.items():
            found[f"{name}: task {number}"] = median(values)
        found[f"{name}: ratio (≤ 1.3; 1.1)"] = median(b / a for a, b in zip(both[2], both[last], strict=True))
    return found


def knowing_life(setting: Setting) -> Path:
    """Return the folder of a life of 100 classes behind the embedded encoder."""
    encoder = encoder_named(ENCODER)
    config = replace(behind_encoder(), encoder=ENCODER)
    life_of(setting.folder / "known", config, encoder.feature_dim, 10, 10, encoder.checksum)
    return setting.folder / "known"


def add(setting: Setting) -> Found:
    """Time a class of 100 photos that is added to a life of 100 classes, without Ray."""
    known, data = knowing_life(setting), photos(setting.folder / "photos", 1, 100, 400)

    def once() -> float:
        folder = setting.folder / "life"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(known, folder)
        return command("learn", "--life", folder, "--data", data)[0]

    values = [once() for _ in range(1 if setting.quick else REPEATS)]
    return {"a class of 100 photos is added to 100 classes, s (≤ 25; 12)": median(values)}


def predict(setting: Setting) -> Found:
    """Time predictions on 100 photos by a life of 100 classes."""
    known, data = knowing_life(setting), photos(setting.folder / "photos", 1, 100, 400)
    values = [command("predict", "--life", known, data)[0] for _ in range(1 if setting.quick else REPEATS)]
    return {"predictions on 100 photos, s (≤ 12; 6)": median(values)}


def memory(setting: Setting) -> Found:
    """Take the peak memory of a lesson of 50,000 photos, and of one of 5,000."""
    few, many = (200, 1000) if setting.quick else (5000, 50_000)
    found = {}
    for count in (few, many):
        data = photos(setting.folder / str(count), 10, count // 10, 96)
        _, megabytes = command("learn", "--life", setting.folder / f"life-{count}", "--data", data, "--encoder", SMALL)
        found[f"peak memory of a lesson of {count:,} photos, MB"] = megabytes
    first, second = found.values()
    return {**found, "their ratio (≤ 1.2; 1.05)": second / first}


def encode_together(
    rank: int, size: int, port: int, data: Path, folder: Path, bound: bool, results: "multiprocessing.Queue[float]"
) -> None:
    """Encode ``data`` as one of ``size`` workers; the first of them puts the seconds into ``results``.

    It is ``bound`` to a core of its own, or decodes beside it on another one where that is free.
    """
    prepare_process()
    if bound:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    if size > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=size)
    group = TorchProcessGroup() if size > 1 else SingleProcess()
    encoder, found = encoder_named(ENCODER), survey(str(data), least=2)
    ready(encoder, "float32", torch.device("cpu"))
    group.barrier()
    began = time.perf_counter()
    with encoded(found, encoder, group, folder, place=Place("benchmark", 0, "encode")):
        if rank == 0:
            results.put(time.perf_counter() - began)
    if size > 1:
        dist.destroy_process_group()


def workers(setting: Setting) -> Found:
    """Time the encoding of photos by one worker and by two, of one thread each beside that which decodes."""
    data = photos(setting.folder / "photos", 2, 32 if setting.quick else 320, 400)
    spawn = multiprocessing.get_context("spawn")

    def seconds(size: int, *, bound: bool) -> float:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        results: multiprocessing.Queue[float] = spawn.Queue()
        ranks = [
            spawn.Process(
                target=encode_together, args=(rank, size, port, data, setting.folder / "shared", bound, results)
            )
            for rank in range(size)
        ]
        for each in ranks:
            each.start()
        value = results.get()
        for each in ranks:
            each.join()
        return value

    found: Found = {}
    for bound, how in ((False, ""), (True, ", each bound to a core")):
        ways = {size: partial(seconds, size, bound=bound) for size in (1, 2)}
        both = interleaved(ways, 1 if setting.quick else REPEATS)
        found[f"encoding with 1 worker{how}, s"] = median(both[1])
        found[f"encoding with 2 workers{how}, s"] = median(both[2])
        ratio = median(one / two for one, two in zip(both[1], both[2], strict=True))
        found[f"speed with 2 workers against 1{how} (≥ 1.8; 1.95)"] = ratio
    return found


def stream(setting: Setting) -> Found:
    """Time the clothing stream in five lessons, and bare passes of the encoder over the same files.

    A bare pass decodes, resizes and encodes in this process, as fast as any of several ways is here.
    """
    data = setting.clothing or photos(setting.folder / "photos", 10, 10 if setting.quick else 100, 400)
    torch.set_num_threads(os.cpu_count() or 1)
    found = {f"a bare pass, {way}, s": timed_wall(partial(bare_pass, data, way)) for way in ways()}
    config = ExperimentConfig(
        dataset=str(data), num_tasks=5, strategies=("mygo",), life=replace(behind_encoder(), encoder=ENCODER)
    )
    found["the stream in 5 lessons, s"] = timed_wall(lambda: Experiment(config, setting.folder / "out").run())
    fastest = min(value for name, value in found.items() if name.startswith("a bare pass"))
    return {**found, "against the fastest bare pass (≤ 1.6; 1.2)": found["the stream in 5 lessons, s"] / fastest}


def timed_wall(work: Callable[[], object]) -> float:
    """Return the wall seconds of ``work``."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def ways() -> list[str]:
    """Return the ways in which an encoder can run here."""
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return ["float32", "bfloat16"]
    return ["float32", "bfloat16", "onnxruntime"]


def bare_pass(data: Path, way: str) -> None:
    """Decode and encode all photos of ``data``, a batch at a time, and do nothing with their features."""
    encoder = encoder_named(ENCODER)
    ready(encoder, "bfloat16" if way == "bfloat16" else "float32", torch.device("cpu"))
    encode: Callable[[torch.Tensor], object] = encoder.encode
    if way == "onnxruntime":
        encode = in_onnxruntime(encoder)
    for part in survey(str(data), least=2).parts:
        for batch in batches_of(part.reader, part.indices.tolist()):
            items = [part.reader.read(index, encoder.at_least)[0] for index in batch]  # type: ignore[attr-defined]
            pictures = [item.convert("RGB") for item in items if isinstance(item, Image.Image)]
            encode(encoder.collate([encoder.preprocess(picture) for picture in pictures]))


def in_onnxruntime(encoder: object) -> Callable[[torch.Tensor], object]:
    """Return ``encoder``, a module, as onnxruntime computes it."""
    import onnxruntime

    if not isinstance(encoder, nn.Module):
        raise TypeError(f"{type(encoder).__name__} is no module")
    example = torch.zeros(2, 3, 224, 224, dtype=torch.uint8)
    shapes = ({0: torch.export.Dim("N", min=1)},)
    program = torch.onnx.export(encoder, (example,), dynamic_shapes=shapes, dynamo=True, verbose=False)
    if program is None:
        raise RuntimeError("the encoder cannot be exported")
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    return lambda batch: session.run(None, {taken.name: batch.numpy()})


MEASURES: dict[str, Callable[[Setting], Found]] = {
    "tasks": tasks,
    "add": add,
    "predict": predict,
    "memory": memory,
    "workers": workers,
    "stream": stream,
}


# -- the report -------------------------------------------------------------------------------------------------------

LEGEND = """In brackets: what must be reached, and what is aimed at. Medians of {repeats} rounds, in which what is
compared takes turns, but for peak memory, the stream and its bare passes, which are measured once."""


def report(names: Sequence[str], out: Path) -> str:
    """Return a table of all of ``names`` that were measured."""
    kept = [(name, out / f"{name}.json") for name in names]
    rows = [
        [name, what, f"{value:.4g}"] for name, file in kept if file.exists() for what, value in read_json(file).items()
    ]
    return f"{table(['measure', '', ''], rows)}\n\n{LEGEND.format(repeats=REPEATS)}"


def main() -> None:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measures", nargs="*", choices=[[], *MEASURES], help="by default all")
    parser.add_argument("--clothing", type=Path, help="folder of the photos; without it, stream makes some up")
    parser.add_argument("--out", type=Path, default=Path("runs/eyes-costs"), help="where what was measured is kept")
    parser.add_argument("--again", action="store_true", help="measure also what was measured before")
    parser.add_argument("--quick", action="store_true")
    flags = parser.parse_args()
    prepare_process()
    for name in flags.measures or MEASURES:
        if (flags.out / f"{name}.json").exists() and not flags.again and not flags.quick:
            continue
        with tempfile.TemporaryDirectory(prefix="mygo-eyes-") as folder:
            found = MEASURES[name](Setting(Path(folder), flags.quick, flags.clothing))
        print(name, json.dumps(found, indent=1, ensure_ascii=False), flush=True)
        if not flags.quick:
            write_json(flags.out / f"{name}.json", found)
    if not flags.quick:
        write_report(
            "eyes_costs",
            "What lives behind encoders cost",
            "python benchmarks/eyes_costs.py",
            report(list(MEASURES), flags.out),
        )


if __name__ == "__main__":
    main()
