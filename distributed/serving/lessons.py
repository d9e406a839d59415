"""Lessons on Ray, beside the answers: each in a process of its own, or by Ray Train on several."""

import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import ray
import torch
from ray import cloudpickle
from ray.exceptions import RayError, RayTaskError

from distributed.cluster.session import TRAIN_ENVIRONMENT, first_line, usable_cores
from distributed.command import OnRay
from distributed.job import pack_registries, unpack_registries
from distributed.serving.calls import PROCESS_LOST
from distributed.serving.settings import ServiceSettings
from mygo.errors import MygoError, StoppedError
from mygo.events import Event, EventHandler, Restarted
from mygo.jobs.lesson import Lesson

NICENESS = 5
"""By how much a lesson's process is nicer than others, so that answers come first where both want the same cores."""
ENDED = "The service ended: the lesson goes on when it starts again."


def threads_beside_answers() -> int:
    """Return how many threads a process takes that works while others answer: half of the cores.

    With all of them, the threads of either wait for each other's at every step (OpenMP's barriers): a lesson of thirty
    photos took 50 s instead of 12 on two cores.
    """
    return max(1, usable_cores() // 2)


class LessonActor:
    """A Ray actor that learns one lesson."""

    def __init__(self, threads: int, registries: bytes) -> None:
        """Learn with so many threads, and what is known by the names in ``registries``."""
        os.nice(NICENESS)
        torch.set_num_threads(threads)
        unpack_registries(registries)

    def learn(self, lesson: Lesson) -> Iterator[bytes]:
        """Learn ``lesson``, going on where an earlier run of it stopped, and yield the events, pickled.

        Raises:
            MygoError: the lesson cannot be learned.
        """
        events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        failures: list[BaseException] = []

        def learn() -> None:
            try:
                lesson.run(on_event=events.put)
            except BaseException as error:
                failures.append(error)
            finally:
                events.put(None)

        thread = threading.Thread(target=learn, name="lesson", daemon=True)
        thread.start()
        while (event := events.get()) is not None:
            yield cloudpickle.dumps(event)
        thread.join()
        if failures:
            raise failures[0]


class LessonsOnRay:
    """Learns lessons for a keeper (`mygo.service.store.Learn`) on the Ray that this process belongs to."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Learn in one process, or with Ray Train in several, as ``settings`` say."""
        self._num_workers, self._max_failures = settings.num_workers, settings.max_failures
        self._cpus = 1 if settings.reserve else 0
        self._held_by_others = settings.replicas[1] * self._cpus
        """CPUs of the processes that answer."""
        self._stopped = threading.Event()
        self._actor: Any = None
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End what is being learned at once; it goes on at its last saved point, in another life of this process."""
        with self._lock:
            self._stopped.set()
            if self._actor is not None:
                ray.kill(self._actor)

    def __call__(self, lesson: Lesson, on_event: EventHandler) -> None:
        """Learn ``lesson``.

        Raises:
            StoppedError: it was stopped.
            WorkersLostError: its processes were lost once more than is allowed.
            MygoError: it cannot be learned.
        """
        if self._num_workers == "1":
            self._in_a_process(lesson, on_event)
        else:
            self._by_ray_train(lesson, on_event)

    def _in_a_process(self, lesson: Lesson, on_event: EventHandler) -> None:
        failures = 0
        while (loss := self._once(lesson, on_event)) is not None:
            failures += 1
            if failures > self._max_failures:
                from distributed.training.trainer import WorkersLostError  # a second that lessons need not wait

                raise WorkersLostError(
                    f"The lesson's process was lost for the {failures}. time ({first_line(loss)}), and --max-failures "
                    f"is {self._max_failures}: see why, then learn it again."
                ) from loss
            text = f"The lesson's process was lost. Restart {failures} of {self._max_failures}, from the last save."
            on_event(Restarted(text, "workers"))

    def _once(self, lesson: Lesson, on_event: EventHandler) -> RayError | None:
        """Learn ``lesson`` in a process; returns what is said of the loss of it, if it was lost."""
        with self._lock:
            if self._stopped.is_set():
                raise StoppedError(ENDED)
            made: Any = ray.remote(LessonActor)
            self._actor = actor = made.options(num_cpus=self._cpus).remote(threads_beside_answers(), pack_registries())
        try:
            for event in actor.learn.options(num_returns="streaming").remote(lesson):
                on_event(cloudpickle.loads(ray.get(event)))
        except PROCESS_LOST as loss:
            if self._stopped.is_set():
                raise StoppedError(ENDED) from None
            return loss
        except RayTaskError as error:
            raise told(error) from error
        finally:
            with self._lock:
                self._actor = None
            ray.kill(actor)
        return None

    def _by_ray_train(self, lesson: Lesson, on_event: EventHandler) -> None:
        from distributed.cluster.capacity import cpus_of_nodes, resources_in_reach
        from distributed.cluster.placement import place_at_most
        from distributed.training.trainer import run_on_ray

        for name, value in TRAIN_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        fewest, most = OnRay(num_workers=self._num_workers).workers(small=False)
        resources = resources_in_reach()
        resources["CPU"] = resources.get("CPU", 0) - self._held_by_others
        placement = place_at_most(resources, fewest, most, nodes=cpus_of_nodes())
        run_on_ray(lesson, placement, on_event, fewest=fewest, max_failures=self._max_failures)


def told(error: RayTaskError) -> BaseException:
    """Return what was raised in the other process: for a person to know, or as Ray has it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, MygoError) else error
