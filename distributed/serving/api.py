"""The HTTP of a service: what can be asked, taught and undone. Who does it is behind `distributed.serving.calls`."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from distributed.serving import schemas
from distributed.serving.bodies import SMALL_BODY, Inputs, read_inputs, read_json
from distributed.serving.calls import Answering, AwayError, Json, Keeping, Question
from distributed.serving.guard import BACK_IN_SECONDS, Guard, RefusedError
from distributed.serving.metrics import Measured, Meter, Meters, PageMeter, note_snapshot
from distributed.serving.pages import add_pages
from distributed.serving.schemas import inputs_body, object_body, problems
from distributed.serving.settings import Access, RequestLimits
from mygo import __version__
from mygo.cli.remote import MOST_CLASSES
from mygo.errors import ConflictError, FullError, InputError, MygoError, NotThereError, StorageError
from mygo.service.config import LONGEST_NAME

REFRESH_SECONDS = 4.0
"""How often gauges are set: every 10 s Ray exports those that were set since, and forgets the others."""
IDENTIFIER = re.compile(r"[0-9a-f]{32}")
DESCRIPTION = "A life that answers, is taught, and sleeps without stopping."
METHODS = {404: "There is nothing at this path: /docs has those that are.", 405: "This path takes other methods."}

STATUSES: tuple[tuple[type[MygoError], int], ...] = (
    (NotThereError, 404),
    (ConflictError, 409),
    (FullError, 409),
    (InputError, 422),
    (StorageError, 507),
    (AwayError, 503),
)
"""What a request is answered with that the life refuses; the first that fits counts."""

logger = logging.getLogger(__name__)


class Service:
    """The answers to all requests, over who ``keeps`` and who ``answers``."""

    def __init__(self, keeper: Keeping, predictors: Answering, limits: RequestLimits, meter: Meter) -> None:
        self.keeper, self.predictors, self.limits, self._meter = keeper, predictors, limits, meter
        self._drift: Json | None = None
        """What the last test for drift found."""

    async def predict(self, request: Request, top: int) -> Response:
        """Answer all inputs, by one version."""
        inputs = await read_inputs(request, self.limits)
        if inputs.class_name is not None:
            raise RefusedError(422, "Leave the class out: /predict finds it, and /teach takes it.")
        reply = await self.predictors.answer(Question(inputs.kind, inputs.examples, top))
        if reply.drift is not None:
            self._drift = reply.drift
            self._meter.count("drift_tests", drifted="yes" if reply.drift["drifted"] else "no")
        if inputs.alone and reply.predictions[0]["error"] is not None:
            raise RefusedError(422, reply.predictions[0]["error"])
        self._meter.count("predictions", sum(each["error"] is None for each in reply.predictions))
        self._meter.count("unknown", sum(each["unknown"] for each in reply.predictions))
        return JsonResponse({"version": reply.version, "predictions": reply.predictions})

    async def teach(self, request: Request, class_name: str | None) -> Response:
        """Put all examples into the inbox, or none."""
        inputs = await read_inputs(request, self.limits)
        name = one_name(class_name, inputs)
        return JsonResponse(await self.keeper.teach(name, inputs.kind, inputs.examples), 201)

    async def life(self) -> Response:
        """Return what there is to know of the life and of how it is asked."""
        status = await self.keeper.life()
        limits = {**status["limits"], "body_bytes": self.limits.max_body, "inputs": self.limits.max_inputs}
        return JsonResponse({**status, "limits": limits, "drift": self._drift_of(status["version"])})

    def _drift_of(self, version: int | None) -> Json | None:
        """Return what the last test for drift found, if it was of this ``version``: others know other classes."""
        return None if self._drift is None or self._drift["version"] != version else self._drift

    async def snapshot(self) -> int | None:
        """Set all gauges; returns the version of the life."""
        snapshot = await self.keeper.snapshot()
        note_snapshot(self._meter, snapshot)
        drift = self._drift_of(snapshot.version)
        self._meter.set("drift_p_value", 1.0 if drift is None else drift["p_value"])
        self._meter.set("drift_classes", 0 if drift is None else len(drift["changed"]))
        return snapshot.version

    async def refresh_until_cancelled(self) -> None:
        """Set all gauges every few seconds."""
        while True:
            try:
                await self.snapshot()
            except AwayError:  # for a moment: they are as old as the last answer
                pass
            except MygoError as error:
                logger.warning("Gauges could not be set: %s", error)
            except Exception:  # whatever it was, the next may go well
                logger.exception("Gauges could not be set.")
            await asyncio.sleep(REFRESH_SECONDS)


class JsonResponse(JSONResponse):
    """JSON, written at once."""

    def __init__(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status, headers)

    def render(self, content: Any) -> bytes:
        """Return ``content`` as JSON; surrogates, which UTF-8 does not have, stay escaped."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def one_name(in_address: str | None, inputs: Inputs) -> str:
    """Return the class that a request names, in the address or in the body.

    Raises:
        RefusedError: neither does, or each names another.
    """
    names = {name for name in (in_address, inputs.class_name) if name is not None}
    if len(names) != 1:
        what = "names two classes: name one" if names else "names no class: add class=NAME"
        raise RefusedError(422, f"The request {what}.")
    return checked_name(names.pop())


def checked_name(name: str) -> str:
    """Return ``name``, of a class, unless it is much too long or empty; the life knows what else is none.

    Raises:
        RefusedError: it is.
    """
    if not 1 <= len(name) <= LONGEST_NAME:
        raise RefusedError(422, f"The name of a class has 1 to {LONGEST_NAME} characters, not {len(name)}.")
    return name


def service_app(
    keeper: Keeping, predictors: Answering, access: Access, limits: RequestLimits, *meters: Meter
) -> ASGIApp:
    """Return the whole HTTP side; measurements go to ``meters`` too."""
    page = PageMeter()
    meter = Meters(page, *meters)
    service = Service(keeper, predictors, limits, meter)

    @asynccontextmanager
    async def refreshing(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(service.refresh_until_cancelled())
        yield
        task.cancel()

    app = FastAPI(
        title="MyGO",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=refreshing,
        redirect_slashes=False,
    )
    add_errors(app)
    add_answers(app, service)
    add_inbox(app, service)
    add_work(app, service)
    add_life(app, service, page)
    add_pages(app)
    return Measured(Guard(app, access, limits), meter)


# -- what goes wrong --------------------------------------------------------------------------------------------------


def add_errors(app: FastAPI) -> None:
    """Let ``app`` say in one sentence what goes wrong."""

    @app.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> Response:
        return JsonResponse({"detail": error.detail}, error.status, error.headers)

    @app.exception_handler(MygoError)
    async def told(request: Request, error: MygoError) -> Response:
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
        if status == 422 and request.method == "GET":
            status = 503  # who only looks sends nothing that could be wrong: the life itself cannot be read
        headers = {"Retry-After": str(BACK_IN_SECONDS)} if status == 503 else {}
        return JsonResponse({"detail": str(error)}, status, headers)

    @app.exception_handler(HTTPException)
    async def nowhere(_: Request, error: HTTPException) -> Response:
        return JsonResponse(
            {"detail": METHODS.get(error.status_code, str(error.detail))}, error.status_code, error.headers
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return JsonResponse({"detail": f"{first['loc'][-1]}: {first['msg']}."}, 422)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        logger.error("A request failed.", exc_info=error)
        return JsonResponse({"detail": "The service failed at this request: its log says why."}, 500)


# -- what can be asked ------------------------------------------------------------------------------------------------


def add_answers(app: FastAPI, service: Service) -> None:
    """Add what is done with inputs."""
    limits = service.limits

    @app.post(
        "/predict",
        summary="Which class each input shows",
        response_model=schemas.Predictions,
        responses=problems(409, 415),
        openapi_extra=inputs_body(limits, taught=False),
    )
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, le=MOST_CLASSES, description="How many probabilities are listed.")] = 5,
    ) -> Response:
        return await service.predict(request, top)

    @app.post(
        "/teach",
        summary="Put examples of a class into the inbox",
        status_code=201,
        response_model=schemas.Item,
        responses=problems(409, 415, 507),
        openapi_extra=inputs_body(limits, taught=True),
    )
    async def teach(
        request: Request,
        class_name: Annotated[
            str | None, Query(alias="class", description="The class that the examples show, unless the body names it.")
        ] = None,
    ) -> Response:
        return await service.teach(request, class_name)


def add_inbox(app: FastAPI, service: Service) -> None:
    """Add what is done with the inbox."""
    keeper = service.keeper

    @app.get("/inbox", summary="What waits to be learned", response_model=schemas.Inbox, responses=problems())
    async def inbox() -> Response:
        return JsonResponse(await keeper.inbox())

    @app.delete(
        "/inbox",
        summary="Delete examples that wait, of a class or all",
        response_model=schemas.Deleted,
        responses=problems(409),
    )
    async def delete_all(
        class_name: Annotated[str | None, Query(alias="class", description="By default of all classes.")] = None,
    ) -> Response:
        return JsonResponse({"deleted": await keeper.remove_all(class_name)})

    @app.delete(
        "/inbox/{item_id}",
        summary="Delete examples that were taught together",
        status_code=204,
        response_model=None,
        responses=problems(404, 409),
    )
    async def delete(item_id: str) -> Response:
        if not (IDENTIFIER.fullmatch(item_id) and await keeper.remove(item_id)):
            raise RefusedError(404, "The inbox has no item of this id: GET /inbox lists them.")
        return Response(status_code=204)


def add_work(app: FastAPI, service: Service) -> None:
    """Add lessons, and what undoes them."""
    keeper = service.keeper

    @app.post(
        "/sleep",
        summary="Learn what is in the inbox now",
        status_code=202,
        response_model=schemas.Work,
        responses=problems(409, 507),
    )
    async def sleep() -> Response:
        return JsonResponse(await keeper.sleep(), 202)

    @app.get(
        "/lessons",
        summary="Lessons and classes to forget, newest first",
        response_model=schemas.Lessons,
        responses=problems(),
    )
    async def lessons() -> Response:
        return JsonResponse({"lessons": await keeper.lessons()})

    @app.get("/lessons/{work_id}", summary="How far one is", response_model=schemas.Work, responses=problems(404))
    async def lesson(work_id: str) -> Response:
        if not IDENTIFIER.fullmatch(work_id):
            raise RefusedError(404, "There is no lesson of this id: GET /lessons lists them.")
        return JsonResponse(await keeper.lesson(work_id))

    @app.post(
        "/forget",
        summary="Forget a class for good",
        status_code=202,
        response_model=schemas.Work,
        responses=problems(404, 409, 415, 507),
        openapi_extra=object_body(class_=schemas.CLASS_NAME),
    )
    async def forget(request: Request) -> Response:
        return JsonResponse(await keeper.forget(checked_name(await the_value(request, "class", str))), 202)

    @app.post(
        "/rollback",
        summary="Go back to an earlier version, which becomes the newest",
        response_model=schemas.RolledBack,
        responses=problems(404, 409, 415, 507),
        openapi_extra=object_body(version={"type": "integer", "minimum": 1}),
    )
    async def rollback(request: Request) -> Response:
        number = await the_value(request, "version", int)
        if number < 1:
            raise RefusedError(422, "Versions are counted from 1: GET /life lists them.")
        return JsonResponse(await keeper.roll_back(number))


Value = TypeVar("Value", str, int)


async def the_value(request: Request, key: str, kind: type[Value]) -> Value:
    """Return the one value of a JSON object with one key.

    Raises:
        RefusedError: the body is something else.
    """
    content = await read_json(request, SMALL_BODY)
    value = content.get(key)
    if set(content) != {key} or type(value) is not kind:
        raise RefusedError(
            422, f"Send a JSON object with the key {key} alone, {'a text' if kind is str else 'a number'}."
        )
    return value


def add_life(app: FastAPI, service: Service, page: PageMeter) -> None:
    """Add what there is to know of the life."""
    keeper = service.keeper

    @app.get("/life", summary="What the life knows", response_model=schemas.LifeStatus, responses=problems())
    async def life() -> Response:
        return await service.life()

    @app.get(
        "/life/map",
        summary="The map of dreams, of a life behind an encoder",
        response_model=schemas.DreamMap,
        responses=problems(404),
    )
    async def dream_map() -> Response:
        return JsonResponse(await keeper.map())

    @app.get("/healthz", summary="Whether the service answers", response_model=schemas.Health, responses=problems())
    async def health() -> Response:
        return JsonResponse({"status": "ok", "version": await service.snapshot()})

    @app.get(
        "/metrics",
        summary="Measurements, as Prometheus reads them",
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems()},
        response_class=Response,
    )
    async def metrics() -> Response:
        with suppress(MygoError):  # gauges are then as old as the last answer
            await service.snapshot()
        return Response(page.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
