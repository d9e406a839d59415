"""Requests made up from the service's own description, hostile ones too: none is a fault, all are as described."""

import functools

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import CheckContext, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from distributed.serving.api import service_app
from distributed.serving.settings import Access, RequestLimits
from tests.distributed.serving.fakes import FakeKeeper, FakePredictors

SMALL = RequestLimits(rate=1e6, burst=1_000_000, max_inputs=4)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
OPERATIONS = [
    *("POST /predict", "POST /teach", "GET /inbox", "DELETE /inbox", "DELETE /inbox/{item_id}"),
    *("POST /sleep", "GET /lessons", "GET /lessons/{work_id}", "POST /forget", "POST /rollback"),
    *("GET /life", "GET /life/map", "GET /healthz", "GET /metrics"),
]


@schemathesis.check
def wrong_data_is_rejected(ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> bool | None:
    """Accept 413 too, which the check that comes with schemathesis does not know as a rejection."""
    return None if response.status_code == 413 else negative_data_rejection(ctx, response, case)


@functools.cache
def described() -> schemathesis.BaseSchema:
    access = Access(host_names=frozenset({"testserver"}))
    return schemathesis.openapi.from_asgi("/openapi.json", service_app(FakeKeeper(), FakePredictors(), access, SMALL))


def operations() -> dict[str, schemathesis.APIOperation]:
    return {found.ok().label: found.ok() for found in described().get_all_operations()}


def test_all_operations_are_known_here() -> None:
    assert sorted(operations()) == sorted(OPERATIONS)


CASES = [(label, GenerationMode.POSITIVE) for label in OPERATIONS]
CASES += [(label, GenerationMode.NEGATIVE) for label in OPERATIONS if label.startswith("POST") and "sleep" not in label]


@pytest.mark.parametrize(("label", "mode"), CASES)
def test_no_request_is_a_fault(label: str, mode: GenerationMode) -> None:
    operation = operations()[label]
    checks = [*CHECKS, *([wrong_data_is_rejected] if mode is GenerationMode.NEGATIVE else [])]

    @settings(max_examples=15, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=checks)

    ask()
