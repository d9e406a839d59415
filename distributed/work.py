"""What training workers can do together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from mygo.dreams import DreamSource
from mygo.journal import Journal
from mygo.life import LifeConfig
from mygo.team import Team


class Work(Protocol):
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

    def run(self, team: Team, dreams: DreamSource, journal: Journal, stop: Callable[[], bool]) -> dict[str, Any]:
        """Do the work, going on where an earlier run ended, and return its results."""
