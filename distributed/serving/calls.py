"""Who answers and who keeps: what the HTTP side asks of the processes behind it, and how it reaches them on Ray."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from ray.exceptions import NodeDiedError, ObjectLostError, OutOfMemoryError, RayActorError, TaskCancelledError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentResponse

from distributed.serving.bodies import Examples
from mygo.errors import MygoError

if TYPE_CHECKING:
    from mygo.data.readers.reader import Kind

Json = dict[str, Any]

LOST = object()
"""Stands for the answer of a process that is not there any more, or not yet."""
PROCESS_LOST = (RayActorError, OutOfMemoryError, NodeDiedError, ObjectLostError)
"""What Ray raises where a process is not there any more: it ended, also for lack of memory, or its machine did."""
BETWEEN_ATTEMPTS = 0.1
"""Seconds between two attempts to ask a process that is starting again."""


class AwayError(MygoError):
    """A process of the service is not there at the moment; the message says what to do."""


@dataclass(frozen=True)
class Question:
    """Inputs of one kind that are answered together."""

    kind: "Kind"
    examples: Examples
    top: int
    """How many probabilities are listed."""


@dataclass(frozen=True)
class Reply:
    """What one version of the life says of all inputs of a question."""

    version: int
    predictions: list[Json]
    """In the order of the inputs; see `distributed.serving.schemas.Prediction`."""
    drift: Json | None = None
    """What a test says of the last inputs that were answered, once; see `distributed.serving.schemas.Drift`."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The life in numbers."""

    version: int | None
    classes: int
    inbox_examples: int
    inbox_bytes: int
    lessons: dict[str, int]
    """Pieces of work, by their states."""
    progress: float
    """Of the work that is running, from 0 to 1; 0 if there is none."""


class Answering(Protocol):
    """Answers."""

    async def answer(self, question: Question) -> Reply:
        """Return an answer for each input, all of one version.

        Raises:
            ConflictError: nothing was learned yet.
            InputError: the life sees another kind.
        """


class Keeping(Protocol):
    """Keeps the life; the methods are those of `mygo.service.keeper.Keeper`, and return JSON as HTTP does.

    They raise what those raise.
    """

    async def teach(self, class_name: str, kind: "Kind", examples: Examples) -> Json:
        """Put examples of a class into the inbox; returns the item."""

    async def inbox(self) -> Json:
        """Return what GET /inbox says."""

    async def remove(self, item_id: str) -> bool:
        """Delete an inbox item; False if there is none."""

    async def remove_all(self, class_name: str | None) -> int:
        """Delete the inbox items of a class, or all, and return how many."""

    async def sleep(self) -> Json:
        """Ask for a lesson of what is in the inbox; returns its record."""

    async def forget(self, class_name: str) -> Json:
        """Ask for a class to be forgotten; returns the record."""

    async def roll_back(self, number: int) -> Json:
        """Make what the life was as version ``number`` the newest; returns the numbers of both."""

    async def lessons(self) -> list[Json]:
        """Return the records of all work, newest first."""

    async def lesson(self, work_id: str) -> Json:
        """Return one record."""

    async def life(self) -> Json:
        """Return what GET /life says."""

    async def map(self) -> Json:
        """Return what GET /life/map says."""

    async def snapshot(self) -> Snapshot:
        """Return the life in numbers."""


# -- on Ray -----------------------------------------------------------------------------------------------------------


async def ask(method: Callable[..., Any], *arguments: Any, again: bool, seconds: float) -> Any:
    """Return what a deployment's ``method`` answers to ``arguments``; what it refuses is raised.

    With ``again``, as for what can be asked twice, another process is asked where one is lost.

    Raises:
        MygoError: it refused; or, an `AwayError`, nobody was there for so many ``seconds``.
    """
    deadline = time.monotonic() + seconds
    while (found := await ask_once(method, *arguments)) is LOST:
        if not again:
            raise AwayError(
                "A process of the service was lost while it did this: see whether it was done, then send it again."
            )
        if time.monotonic() > deadline:
            raise AwayError("A process of the service is starting again: send it again later.")
        await asyncio.sleep(BETWEEN_ATTEMPTS)
    if isinstance(found, MygoError):
        raise found
    return found


async def ask_once(method: Callable[..., Any], *arguments: Any) -> Any:
    """Return what ``method`` answers or refuses, or `LOST` if the process that was asked is not there.

    If nobody waits for it any more, it is not done either, unless it was begun.
    """
    try:
        response = method(*arguments)
        return await response
    except asyncio.CancelledError:
        if isinstance(response, DeploymentResponse):  # which does not end with the one who awaits it
            response.cancel()
        raise
    except BackPressureError:
        return AwayError("The service has more to do than it can: send it again later.")
    except (*PROCESS_LOST, TaskCancelledError, DeploymentUnavailableError):
        return LOST


@dataclass(frozen=True)
class RemotePredictors:
    """The processes that answer, behind a deployment's handle."""

    handle: Any
    seconds: float
    """How long to look for one."""

    async def answer(self, question: Question) -> Reply:
        """See `Answering`."""
        return cast(Reply, await ask(self.handle.answer.remote, question, again=True, seconds=self.seconds))


@dataclass(frozen=True)
class RemoteKeeper:
    """The one process that keeps, behind a deployment's handle; see `Keeping`."""

    handle: Any
    seconds: float
    """How long to look for it."""

    async def _ask(self, method: str, *arguments: Any, again: bool = True) -> Any:
        return await ask(self.handle.ask.remote, method, arguments, again=again, seconds=self.seconds)

    async def teach(self, class_name: str, kind: "Kind", examples: Examples) -> Json:
        """Not asked twice, which could keep the examples twice."""
        return cast(Json, await self._ask("teach", class_name, kind, examples, again=False))

    async def inbox(self) -> Json:
        """Asked again where the process was lost, as all that only looks."""
        return cast(Json, await self._ask("inbox"))

    async def remove(self, item_id: str) -> bool:
        """Not asked twice, which would find nothing."""
        return cast(bool, await self._ask("remove", item_id, again=False))

    async def remove_all(self, class_name: str | None) -> int:
        """Not asked twice, which would count nothing."""
        return cast(int, await self._ask("remove_all", class_name, again=False))

    async def sleep(self) -> Json:
        """Not asked twice, which would find nothing left to learn."""
        return cast(Json, await self._ask("sleep", again=False))

    async def forget(self, class_name: str) -> Json:
        """Not asked twice, which would not know the class any more."""
        return cast(Json, await self._ask("forget", class_name, again=False))

    async def roll_back(self, number: int) -> Json:
        """Not asked twice, which would roll back twice."""
        return cast(Json, await self._ask("roll_back", number, again=False))

    async def lessons(self) -> list[Json]:
        """Asked again where the process was lost."""
        return cast(list[Json], await self._ask("lessons"))

    async def lesson(self, work_id: str) -> Json:
        """Asked again where the process was lost."""
        return cast(Json, await self._ask("lesson", work_id))

    async def life(self) -> Json:
        """Asked again where the process was lost."""
        return cast(Json, await self._ask("life"))

    async def map(self) -> Json:
        """Asked again where the process was lost."""
        return cast(Json, await self._ask("map"))

    async def snapshot(self) -> Snapshot:
        """Asked again where the process was lost."""
        return cast(Snapshot, await self._ask("snapshot"))
