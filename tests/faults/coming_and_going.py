"""Sleeps on two nodes of one CPU, of which one leaves and one joins; `test_elastic` runs it in a process of its own.

python tests/faults/coming_and_going.py OUT      goes on with the life in OUT; prints what was seen, as JSON
"""

import json
import os
import sys
from pathlib import Path
from unittest import mock

import ray
from ray.cluster_utils import Cluster

sys.path[0] = str(Path(__file__).resolve().parents[2])

from distributed.cluster.capacity import Reservation  # noqa: E402
from distributed.cluster.placement import place_at_most  # noqa: E402
from distributed.cluster.session import ray_session  # noqa: E402
from distributed.training import trainer as train  # noqa: E402
from mygo.events import Event, Notice, Progress  # noqa: E402
from mygo.jobs.experiment import Experiment, ExperimentConfig  # noqa: E402
from mygo.jobs.life import Life  # noqa: E402

AT_STEP = 100


def main(out: Path) -> None:
    """Live, with the nodes coming and going."""
    config = ExperimentConfig(num_tasks=2, strategies=("mygo",), life=Life.open(out / "life" / "mygo").config)
    experiment = Experiment(config, out, log_every=1, save_every=0.2)
    workers: list[int] = []
    notices: list[str] = []
    losses: dict[int, dict[str, float]] = {}
    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "_system_config": soon})
    leaving = cluster.add_node(num_cpus=1)
    os.environ["RAY_ADDRESS"] = cluster.address

    def listen(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)
        if isinstance(event, Progress):
            losses[event.step] = dict(event.scalars)
            if event.step == AT_STEP and not notices:
                cluster.remove_node(leaving, allow_graceful=False)

    fit = train.fit

    def counted(experiment: Experiment, room: Reservation, *others: object) -> object:
        workers.append(room.placement.num_workers)
        if workers == [2, 1]:
            cluster.add_node(num_cpus=1)
        return fit(experiment, room, *others)

    with ray_session(), mock.patch.object(train, "fit", counted):
        most = place_at_most(ray.cluster_resources(), 1, 2)
        train.run_on_ray(experiment, most, listen, fewest=1, max_failures=1)
    cluster.shutdown()
    print(json.dumps({"workers": workers, "notices": notices, "losses": losses}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
