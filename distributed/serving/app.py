"""The application that Ray Serve runs: who answers HTTP, those who answer questions, and the one who keeps the life.

What each of these processes imports is what it needs: torch takes seconds to import, and is nothing to the first.

`build` is the import path for Serve's configuration files: ``distributed.serving.app:build``.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.types import ASGIApp

from distributed.cluster.session import usable_cores
from distributed.serving.api import service_app
from distributed.serving.calls import Question, RemoteKeeper, RemotePredictors, Reply
from distributed.serving.metrics import RayMeter
from distributed.serving.settings import ServeArguments, ServiceSettings
from mygo.errors import MygoError

if TYPE_CHECKING:
    from distributed.serving.workers import AnswerAll

NAME = "mygo"
"""What serve.py calls the application; a configuration file may call it otherwise."""
REQUESTS_AT_ONCE = 1000
"""Requests that are being answered; more wait."""
QUESTIONS_AT_ONCE = 64
"""Questions that a process which answers may have taken."""
INPUTS_AT_ONCE = 32
"""Inputs of several questions that are answered together."""
BUSY = 4
"""Questions per process, being answered or waiting, from which on another process is worth starting."""
CALLS_AT_ONCE = 100
"""What the keeper is asked at once; all of it is quick, but for checking examples."""
CLOSING_SECONDS = 10.0
"""How long a process may take to end."""
QUIET = LoggingConfig(enable_access_log=False)

logger = logging.getLogger(__name__)


class PredictorDeployment:
    """Answers questions that came at the same time together."""

    def __init__(self, settings: ServiceSettings) -> None:
        from distributed.serving.workers import Together

        self._together = Together(lambda: self._opened(settings), most=INPUTS_AT_ONCE)

    @staticmethod
    def _opened(settings: ServiceSettings) -> "AnswerAll":
        import torch

        from distributed.serving.workers import PredictorService

        torch.set_num_threads(max(1, usable_cores() // settings.replicas[1]))
        return PredictorService(settings.life, settings.service).answer

    async def answer(self, question: Question) -> Reply | MygoError:
        """Return a reply, or what the question is refused for: raised, Serve would log each."""
        return await self._together.answer(question)

    async def check_health(self) -> None:
        """See, whether or not something is asked, that the current version answers; Serve calls this by the clock."""
        self._together.look()


class KeeperDeployment:
    """Keeps the life. There is exactly one, which the lock of the life's folder sees to as well."""

    def __init__(self, settings: ServiceSettings) -> None:
        import torch

        from distributed.serving.lessons import LessonsOnRay, threads_beside_answers
        from distributed.serving.workers import KeeperService

        torch.set_num_threads(threads_beside_answers())
        self._lessons = LessonsOnRay(settings)
        self._service = KeeperService(settings.life, settings.service, self._lessons)

    async def ask(self, method: str, arguments: Sequence[Any]) -> Any:
        """Return what one of the methods of `Keeping` does, or refuses, as for `PredictorDeployment.answer`."""
        try:
            return await getattr(self._service, method)(*arguments)
        except MygoError as error:
            return error

    def check_health(self) -> None:
        """Raise an error, so that Serve starts another keeper, once no work is done any more."""
        if not self._service.is_working:
            raise RuntimeError("the thread that does the work ended")

    def __del__(self) -> None:
        self._lessons.stop()
        self._service.close(CLOSING_SECONDS)


def application(settings: ServiceSettings) -> serve.Application:
    """Return the application with these ``settings``."""

    def http_side() -> ASGIApp:
        here, seconds = serve.get_replica_context().app_name, settings.limits.request_seconds
        keeper = RemoteKeeper(serve.get_deployment_handle("Keeper", here), seconds)
        predictors = RemotePredictors(serve.get_deployment_handle("Predictor", here), seconds)
        return service_app(keeper, predictors, settings.access, settings.limits, RayMeter())

    common: dict[str, Any] = {
        "logging_config": QUIET,
        "graceful_shutdown_timeout_s": CLOSING_SECONDS,
        "graceful_shutdown_wait_loop_s": 0.1,
        "health_check_period_s": 2.0,
    }
    cpus = {"num_cpus": 1 if settings.reserve else 0}
    fewest, most = settings.replicas
    scale: dict[str, Any] = {"num_replicas": most}
    if fewest < most:
        scale = {"autoscaling_config": {"min_replicas": fewest, "max_replicas": most, "target_ongoing_requests": BUSY}}
    predictor: Any = serve.deployment(
        PredictorDeployment,
        name="Predictor",
        max_ongoing_requests=QUESTIONS_AT_ONCE,
        ray_actor_options=cpus,
        **scale,
        **common,
    )
    keeper: Any = serve.deployment(
        KeeperDeployment,
        name="Keeper",
        num_replicas=1,
        max_ongoing_requests=CALLS_AT_ONCE,
        ray_actor_options={"num_cpus": 0},
        **common,
    )
    ingress: Any = serve.deployment(
        serve.ingress(http_side)(),
        name="Ingress",
        num_replicas=1,
        max_ongoing_requests=REQUESTS_AT_ONCE,
        ray_actor_options={"num_cpus": 0},
        **common,
    )
    made: serve.Application = ingress.bind(predictor.bind(settings), keeper.bind(settings))
    return made


def build(args: dict[str, Any]) -> serve.Application:
    """Return the application for ``args``, named as the flags of serve.py, such as ``life`` and ``sleep_at``.

    Serve's own configuration says where its proxies listen. By default they listen at all addresses, so that a token is
    asked for.

    Raises:
        InputError: an argument cannot be meant, or there is no token.
    """
    arguments = ServeArguments.of({"host": "0.0.0.0", **args})
    return application(ServiceSettings.of(arguments, reserve=True))
