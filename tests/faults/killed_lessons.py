"""Teaches a lesson that is killed again and again; `test_killed_lessons` runs it in a process of its own.

python tests/faults/killed_lessons.py FOLDER DATA…     teaches DATA to FOLDER/undisturbed and, killed, to FOLDER/killed
"""

import json
import os
import random
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

import torch  # noqa: E402

from mygo.config.presets import behind_encoder  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.events import Event  # noqa: E402
from mygo.jobs.lesson import Lesson  # noqa: E402
from mygo.jobs.life import Life  # noqa: E402

KILLS = 20
SETTINGS = {"wake.head_steps": 100, "sleep.steps": 100, "sleep.batch_size": 64, "memory.gaussian.rank": 4}
LATER = 0.005
"""Seconds at most from a step to the kill, so that it comes while anything is done, files are written above all."""


def teach(folder: Path, source: str, kill: int | None = None) -> None:
    """Teach a lesson, of which every step is saved; it is killed soon after it told of some steps."""
    told: list[Event] = []

    def listen(event: Event) -> None:
        told.append(event)
        if kill == 0:  # at once, so that one comes before a new life is written, however fast the machine is
            os.kill(os.getpid(), signal.SIGKILL)
        if kill is not None and len(told) == 1 + kill % 7:
            delay = random.Random(f"{source} {kill}").uniform(0, LATER)
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

    config = change(behind_encoder(), SETTINGS)
    Lesson(folder, source, config=config, save_every=0.0, log_every=1).run(on_event=listen)


def teach_apart(folder: Path, source: str, kill: int | None = None) -> int:
    """Teach in a process of its own, which begins with all modules that it needs; return its exit code."""
    child = os.fork()
    if child == 0:
        try:
            teach(folder, source, kill)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main(folder: Path, sources: Sequence[str]) -> None:
    """Teach the same lessons undisturbed and killed, one after the other, and print what was seen, as JSON."""
    torch.set_num_threads(1)
    teach(folder / "undisturbed", sources[0])  # here, so that no other process spends its time on importing
    at, codes = [], []
    for source in sources:
        if source != sources[0]:
            teach(folder / "undisturbed", source)
        for kill in range(KILLS // len(sources)):
            codes.append(teach_apart(folder / "killed", source, kill))
            at.append(place_of(folder / "killed"))
        codes.append(teach_apart(folder / "killed", source))
    print(json.dumps({"codes": codes, "at": at}))


def place_of(folder: Path) -> str:
    """Return within which phase the life in ``folder`` was saved last."""
    if not Life.exists(folder):
        return "encode"
    manifest = json.loads((folder / "manifest.json").read_text())
    return str(manifest.get("checkpoint", {}).get("phase", "between"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
