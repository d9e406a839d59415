"""How the HTTP side reaches processes that may be lost, with stand-ins for Ray's handles."""

import asyncio
from typing import Any

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    OutOfMemoryError,
    OwnerDiedError,
    RayTaskError,
    TaskCancelledError,
)
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentResponse

from distributed.serving.calls import AwayError, Question, RemoteKeeper, RemotePredictors, ask_once
from mygo.errors import ConflictError


class Handle:
    """A deployment's handle whose method raises or returns each of ``outcomes`` in turn."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes, self.asked = list(outcomes), []
        self.answer = self.ask = self

    async def remote(self, *arguments: Any) -> Any:
        self.asked.append(arguments)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception) and not isinstance(outcome, ConflictError):
            raise outcome
        return outcome


QUESTION = Question("text", ["a"], 5)
LOST = [
    ActorDiedError(),
    OutOfMemoryError("killed by Ray's memory monitor"),
    OwnerDiedError("00", None, ""),
    ActorUnavailableError("gone", None),
    TaskCancelledError(),
    DeploymentUnavailableError("Predictor"),
]


def test_a_question_is_asked_again_where_a_process_was_lost() -> None:
    handle = Handle(*LOST, "the reply")
    assert asyncio.run(RemotePredictors(handle, 60.0).answer(QUESTION)) == "the reply"
    assert handle.asked == [(QUESTION,)] * (len(LOST) + 1)


def test_nobody_is_waited_for_without_end() -> None:
    with pytest.raises(AwayError):
        asyncio.run(RemotePredictors(Handle(*LOST), 0.0).answer(QUESTION))


@pytest.mark.parametrize("loss", LOST, ids=lambda loss: type(loss).__name__)
def test_what_cannot_be_asked_twice_is_not(loss: Exception) -> None:
    handle = Handle(loss, "again")
    with pytest.raises(AwayError, match="see whether"):
        asyncio.run(RemoteKeeper(handle, 60.0).teach("wasp", "text", ["a"]))
    assert handle.asked == [("teach", ("wasp", "text", ["a"]))]


def test_what_only_looks_is_asked_again() -> None:
    assert asyncio.run(RemoteKeeper(Handle(LOST[0], {"version": 1}), 60.0).life()) == {"version": 1}


def test_a_refusal_is_raised_here() -> None:
    with pytest.raises(ConflictError, match="No"):
        asyncio.run(RemoteKeeper(Handle(ConflictError("No.")), 60.0).sleep())


class Waiting(DeploymentResponse):
    """A response that does not come, of a deployment that notes when it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    def __await__(self) -> Any:
        return asyncio.sleep(60).__await__()

    def cancel(self) -> None:
        self.cancelled = True


def test_what_nobody_waits_for_any_more_is_cancelled() -> None:
    response = Waiting()
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(asyncio.wait_for(ask_once(lambda: response), 0.01))
    assert response.cancelled


def test_too_much_to_do_is_said() -> None:
    with pytest.raises(AwayError, match="more to do"):
        asyncio.run(RemotePredictors(Handle(BackPressureError(1, 1)), 60.0).answer(QUESTION))


def test_a_fault_of_the_program_is_raised_as_it_is() -> None:
    fault = RayTaskError("answer", "traceback", ValueError("x"))
    with pytest.raises(RayTaskError):
        asyncio.run(RemotePredictors(Handle(fault), 60.0).answer(QUESTION))
