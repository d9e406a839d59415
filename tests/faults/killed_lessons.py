"""Teaches a lesson that is killed again and again; `test_killed_lessons` runs it in a process of its own.

python tests/faults/killed_lessons.py FOLDER DATA…     teaches DATA to FOLDER/undisturbed and, killed, to FOLDER/killed
"""

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

import torch  # noqa: E402

from mygo.config.presets import behind_encoder  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.jobs.life import Life  # noqa: E402
from mygo.jobs.lesson import Lesson  # noqa: E402

KILLS = 20
SETTINGS = {"wake.head_steps": 60, "sleep.steps": 60, "sleep.batch_size": 64, "memory.gaussian.rank": 4}


def teach(folder: Path, sources: Sequence[str]) -> None:
    """Teach what is not taught yet, and save every step."""
    for source in sources:
        known = Life.open(folder) if Life.exists(folder) else None
        if known is None or known.current is not None or known.lessons[-1].name != Path(source).stem:
            Lesson(folder, source, config=change(behind_encoder(), SETTINGS), save_every=0.0).run()


def begin(folder: Path, sources: Sequence[str]) -> int:
    """Teach in a process of its own, which begins with all modules that it needs; return its id."""
    child = os.fork()
    if child == 0:
        try:
            teach(folder, sources)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return child


def main(folder: Path, sources: Sequence[str]) -> None:
    """Teach the same lessons undisturbed and killed, one after the other, and print what was seen, as JSON."""
    torch.set_num_threads(1)
    teach(folder / "warm", sources[:1])  # so that no other process spends its time on importing
    seconds, at, codes = [], [], []
    for source in sources:
        began = time.perf_counter()
        os.waitpid(begin(folder / "undisturbed", [source]), 0)
        seconds.append(time.perf_counter() - began)
        for kill in range(KILLS // len(sources)):
            child = begin(folder / "killed", [source])
            time.sleep(seconds[-1] * (0.05 + 0.3 * kill / KILLS))
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            codes.append(os.waitstatus_to_exitcode(status))
            at.append(place_of(folder / "killed"))
        _, status = os.waitpid(begin(folder / "killed", [source]), 0)
        codes.append(os.waitstatus_to_exitcode(status))
    print(json.dumps({"codes": codes, "at": at}))


def place_of(folder: Path) -> str:
    """Return within which phase the life in ``folder`` was saved last."""
    if not Life.exists(folder):
        return "encode"
    manifest = json.loads((folder / "manifest.json").read_text())
    return str(manifest.get("checkpoint", {}).get("phase", "between"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
