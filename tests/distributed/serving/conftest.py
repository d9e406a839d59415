import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from distributed.serving.api import service_app
from distributed.serving.settings import Access, RequestLimits
from tests.distributed.serving.fakes import FakeKeeper, FakePredictors

HERE = Access(host_names=frozenset({"localhost", "127.0.0.1", "::1"}))
MANY = RequestLimits(rate=1e6, burst=1_000_000)


KEEPER, PREDICTORS = FakeKeeper(), FakePredictors()


@pytest.fixture
def keeper() -> FakeKeeper:
    """What is behind every client, as new."""
    vars(KEEPER).update(vars(FakeKeeper()))
    return KEEPER


@pytest.fixture
def predictors() -> FakePredictors:
    """What is behind every client, as new."""
    vars(PREDICTORS).update(vars(FakePredictors()))
    return PREDICTORS


def opened(access: Access = HERE, limits: RequestLimits = MANY) -> TestClient:
    app = service_app(KEEPER, PREDICTORS, access, limits)
    return TestClient(app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False).__enter__()


@pytest.fixture
def client_of(keeper: FakeKeeper, predictors: FakePredictors) -> Iterator[Callable[..., TestClient]]:
    """Returns a client of the HTTP side over fakes, with other access or limits."""
    clients = []

    def client_of(access: Access = HERE, limits: RequestLimits = MANY) -> TestClient:
        clients.append(opened(access, limits))
        return clients[-1]

    yield client_of
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="session")
def one_client() -> Iterator[TestClient]:
    client = opened()
    yield client
    client.__exit__(None, None, None)


@pytest.fixture
def client(one_client: TestClient, keeper: FakeKeeper, predictors: FakePredictors) -> TestClient:
    """A client of the HTTP side over fakes; making one anew takes longer than most tests."""
    return one_client


@pytest.fixture(scope="session")
def image_file() -> Callable[..., bytes]:
    """Returns an image file: noise around a colour."""

    def image_file(colour: tuple[int, int, int] = (200, 30, 30), seed: int = 0, side: int = 16) -> bytes:
        pixels = np.random.default_rng(seed).normal(colour, 20, (side, side, 3)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()

    return image_file


def is_sentence(answer: Any) -> bool:
    """Return whether the ``answer`` is a problem in the form that all have: one sentence."""
    content = answer.json()
    detail = content.get("detail")
    return (
        set(content) == {"detail"}
        and isinstance(detail, str)
        and detail[:1].isalnum()
        and detail.endswith(".")
        and "\n" not in detail
        and "Traceback" not in detail
    )
