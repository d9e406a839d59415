"""Two lessons that wake side by side on two nodes, of which a process is killed and a node leaves.

python tests/faults/lost_lessons.py LIFE DATA DATA      prints what was seen, as JSON; `test_lost_lessons` runs it
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from ray.cluster_utils import Cluster

sys.path[0] = str(Path(__file__).resolve().parents[2])

from benchmarks.processes import processes_of  # noqa: E402
from distributed.cluster.session import ray_session  # noqa: E402
from distributed.side_by_side import wake_in_task, wake_on_ray  # noqa: E402
from mygo.config.learner import LifeConfig  # noqa: E402
from mygo.config.settings import change  # noqa: E402
from mygo.events import Event, Notice, Progress  # noqa: E402
from mygo.jobs.lesson import Lesson  # noqa: E402
from mygo.jobs.side_by_side import learn_together  # noqa: E402

SETTINGS = {
    "wake.head_steps": 20,
    "wake.adapt_steps": 20,
    "wake.batch_size": 32,
    "memory.gan.steps": 400,
    "memory.gan.batch_size": 16,
    "memory.gan.latent_dim": 8,
    "memory.gan.generator_width": 8,
    "memory.gan.discriminator_width": 8,
    "memory.fidelity_floor": 0.0,
    "memory.diversity_floor": 0.0,
    "sleep.steps": 20,
    "sleep.batch_size": 32,
}
KILL_AT, LEAVE_AT = 100, 300
"""Steps of the first lesson's memory."""


def lessons_for(folder: Path, sources: list[str]) -> list[Lesson]:
    """Return the lessons of the life in ``folder``."""
    config = change(LifeConfig(seed=3, precision="float32"), SETTINGS)
    return [Lesson(folder, source, config=config, log_every=1, save_every=0.2) for source in sources]


def main(folder: Path, sources: list[str]) -> None:
    """Learn, with a process killed first and a node gone later."""
    torch.set_num_threads(1)
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": soon})
    leaving = cluster.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address
    notices: list[str] = []
    steps: dict[str, list[int]] = {}
    done: set[int] = set()

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)
        if not isinstance(event, Progress) or event.place.phase != "memorise":
            return
        steps.setdefault(event.place.strategy, []).append(event.step)
        if event.step >= KILL_AT and KILL_AT not in done:
            done.add(KILL_AT)
            os.kill(next(iter(processes_of(os.getpid(), f"ray::{wake_in_task.__name__}"))), signal.SIGKILL)
        elif event.step >= LEAVE_AT and LEAVE_AT not in done:
            done.add(LEAVE_AT)
            cluster.remove_node(leaving, allow_graceful=False)
            cluster.add_node(num_cpus=1)

    with ray_session():
        complaints = learn_together(lessons_for(folder, sources), listen, lambda wakings: wake_on_ray(wakings, listen))
    cluster.shutdown()
    print(json.dumps({"notices": notices, "steps": steps, "complaints": complaints, "done": sorted(done)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
