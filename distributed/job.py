"""A job: what training workers can do together, and the registries that they need for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ray import cloudpickle

from mygo.baselines.registry import STRATEGIES
from mygo.config.learner import LifeConfig
from mygo.data.datasets import DATASETS
from mygo.encoders.registry import ENCODERS
from mygo.errors import InputError
from mygo.events import EventHandler
from mygo.networks.generator import GENERATORS
from mygo.networks.neocortex import BACKBONES
from mygo.replay.source import ReplaySource
from mygo.training.process_group import ProcessGroup

REGISTRIES: tuple[dict[str, Any], ...] = (DATASETS, ENCODERS, BACKBONES, GENERATORS, STRATEGIES)
"""What a person's own data sets, encoders, networks and strategies are made known in."""


class Job(Protocol):
    """An experiment or a lesson: every worker is given a copy, and all run it together."""

    @property
    def out(self) -> Path | None:
        """The folder that is written to, visible to all nodes."""

    @property
    def memory_cache(self) -> Path | None:
        """The folder of memories that were trained before, visible to all nodes, if there is one."""

    @property
    def learner(self) -> LifeConfig:
        """The settings that are lived with."""

    @property
    def how_to_go_on(self) -> str:
        """What a person does to go on when it was interrupted."""

    def check_data(self) -> object:
        """Make sure that the data is there and whole.

        Raises:
            InputError: it is not.
        """

    def run(
        self, group: ProcessGroup, dreams: ReplaySource, on_event: EventHandler, stop: Callable[[], bool]
    ) -> dict[str, Any]:
        """Do the job, going on where an earlier run ended, and return its results."""


def pack_registries() -> bytes:
    """Return what this process knows by name, for `unpack_registries` in others.

    A person's own are pickled by reference to the modules that define them, or by value where that is the script which
    was started.
    """
    pickled: bytes = cloudpickle.dumps([dict(registry) for registry in REGISTRIES])
    return pickled


def unpack_registries(pickled: bytes) -> None:
    """Let this process know what another one knew, which pickled it with `pack_registries`.

    Raises:
        InputError: a module of a person's own cannot be imported here.
    """
    try:
        known = cloudpickle.loads(pickled)
    except ImportError as error:
        raise InputError(
            f"A worker cannot import something of your own ({error}): put its folder on PYTHONPATH, where "
            "every machine sees it."
        ) from error
    for registry, entries in zip(REGISTRIES, known, strict=True):
        registry.update(entries)
