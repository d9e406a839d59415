"""All that can be asked, over fakes."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from distributed.cluster.session import REPOSITORY
from distributed.serving import schemas
from distributed.serving.calls import AwayError
from distributed.serving.metrics import Measured, PageMeter
from distributed.serving.settings import RequestLimits
from mygo.errors import ConflictError, FullError, InputError, NotThereError, StorageError
from mygo.service.predictor import Answer
from tests.distributed.serving.conftest import is_sentence
from tests.distributed.serving.fakes import ID, WHEN, FakeKeeper, FakePredictors


def test_answers_name_the_version_and_are_in_order(client: TestClient, predictors: FakePredictors) -> None:
    found = {
        "a": Answer("bee", 0.9, {"bee": 0.9, "wasp": 0.1}),
        "b": Answer(None, 0.4, {"wasp": 0.4, "bee": 0.3}, unknown=True, out_of_distribution=2.5),
        "c": Answer(None, 0.0, {}, error="Text 3 cannot be seen (it is empty): convert it or leave it out."),
    }
    predictors.answer_one = found.__getitem__
    answer = client.post("/predict?top=2", json={"texts": ["a", "b", "c"]})
    assert answer.json() == {
        "version": 7,
        "predictions": [
            {
                "class": "bee",
                "confidence": 0.9,
                "probabilities": {"bee": 0.9, "wasp": 0.1},
                "unknown": False,
                "out_of_distribution": None,
                "error": None,
            },
            {
                "class": None,
                "confidence": 0.4,
                "probabilities": {"wasp": 0.4, "bee": 0.3},
                "unknown": True,
                "out_of_distribution": 2.5,
                "error": None,
            },
            {
                "class": None,
                "confidence": 0.0,
                "probabilities": {},
                "unknown": False,
                "out_of_distribution": None,
                "error": found["c"].error,
            },
        ],
    }
    assert list(answer.json()["predictions"][1]["probabilities"]) == ["wasp", "bee"]
    assert predictors.questions[0].top == 2


def test_a_raw_image_that_cannot_be_seen_is_refused(client: TestClient, predictors: FakePredictors) -> None:
    predictors.answer_one = lambda _: Answer(None, 0.0, {}, error="Image 1 cannot be seen.")
    answer = client.post("/predict", content=b"x", headers={"content-type": "image/png"})
    assert (answer.status_code, answer.json()) == (422, {"detail": "Image 1 cannot be seen."})


@pytest.mark.parametrize("top", ["0", "-1", "1001", "many", "", "1e400", "9" * 5000])
def test_top_is_a_number_of_classes(client: TestClient, predictors: FakePredictors, top: str) -> None:
    answer = client.post("/predict", params={"top": top}, json={"texts": ["a"]})
    assert answer.status_code == 422
    assert is_sentence(answer)
    assert not predictors.questions


def test_predict_takes_no_class(client: TestClient) -> None:
    assert client.post("/predict", json={"texts": ["a"], "class": "b"}).status_code == 422


def test_the_inbox_is_read_and_emptied(client: TestClient, keeper: FakeKeeper) -> None:
    item = client.post("/teach", json={"texts": ["a", "b"], "class": "wasp"})
    assert (item.status_code, item.json()["count"]) == (201, 2)
    assert client.get("/inbox").json()["classes"] == {"wasp": 2}
    assert client.delete("/inbox", params={"class": "wasp"}).json() == {"deleted": 1}
    assert client.delete("/inbox").json() == {"deleted": 1}
    gone = client.delete(f"/inbox/{ID}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert ("remove_all", "wasp") in keeper.calls
    assert ("remove_all", None) in keeper.calls


@pytest.mark.parametrize("item", ["x", "%2e%2e%2f%2e%2e", "A" * 32, ID + "0", "%00", "a" * 5000])
def test_identifiers_that_are_none_never_reach_the_keeper(client: TestClient, keeper: FakeKeeper, item: str) -> None:
    for method, path in (("DELETE", "/inbox"), ("GET", "/lessons")):
        answer = client.request(method, f"{path}/{item}")
        assert answer.status_code in (404, 405)
        assert is_sentence(answer)
    assert not [call for call in keeper.calls if call[0] in ("remove", "lesson")]


def test_an_item_that_is_gone_is_not_there(client: TestClient) -> None:
    answer = client.delete(f"/inbox/{ID}")
    assert answer.status_code == 404
    assert is_sentence(answer)


def test_work_is_asked_for_and_followed(client: TestClient, keeper: FakeKeeper) -> None:
    slept = client.post("/sleep")
    assert (slept.status_code, slept.json()["id"]) == (202, ID)
    assert client.get(f"/lessons/{ID}").json()["state"] == "waiting"
    assert client.get(f"/lessons/{ID[::-1]}").status_code == 404
    assert [each["id"] for each in client.get("/lessons").json()["lessons"]] == [ID]
    forgotten = client.post("/forget", json={"class": "<i>wasp"})
    assert (forgotten.status_code, forgotten.json()["classes"]) == (202, ["<i>wasp"])
    assert client.post("/rollback", json={"version": 3}).json() == {"version": 8, "was": 3}
    assert ("roll_back", 3) in keeper.calls


def test_what_there_is_to_know(client: TestClient) -> None:
    schemas.LifeStatus.model_validate(client.get("/life").json())
    schemas.DreamMap.model_validate(client.get("/life/map").json())
    assert client.get("/healthz").json() == {"status": "ok", "version": 7}


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (NotThereError("No."), 404),
        (ConflictError("No."), 409),
        (FullError("No."), 409),
        (InputError("No."), 422),
        (AwayError("No."), 503),
        (StorageError("No."), 507),
    ],
)
def test_what_the_life_refuses_has_its_status(
    client: TestClient, keeper: FakeKeeper, predictors: FakePredictors, failure: Exception, status: int
) -> None:
    keeper.failure = predictors.failure = failure
    answers = [
        client.post("/predict", json={"texts": ["a"]}),
        client.post("/teach", json={"texts": ["a"], "class": "b"}),
        client.post("/sleep"),
        client.post("/forget", json={"class": "a"}),
        client.post("/rollback", json={"version": 1}),
        client.delete(f"/inbox/{ID}"),
    ]
    looks = [client.get("/life"), client.get("/life/map")]
    assert {answer.status_code for answer in answers} == {status}
    assert {answer.status_code for answer in looks} == {503 if status == 422 else status}, "they send nothing wrong"
    for answer in answers + looks:
        assert answer.json()["detail"] == "No."
        assert ("retry-after" in answer.headers) == (answer.status_code == 503)


def test_a_fault_of_the_program_is_not_told(client: TestClient, keeper: FakeKeeper) -> None:
    keeper.failure = ZeroDivisionError("the secret of /etc/passwd")
    answer = client.get("/life")
    assert answer.status_code == 500
    assert is_sentence(answer)
    assert "secret" not in answer.text


@pytest.mark.parametrize("path", ["/nothing", "/life/", "/predict/x", "/page/nothing.js", "/docs/nothing", "/%00"])
def test_other_paths_are_nowhere(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert is_sentence(answer)


@pytest.mark.parametrize(("method", "path"), [("GET", "/teach"), ("POST", "/life"), ("PUT", "/inbox"), ("TRACE", "/")])
def test_other_methods_are_refused(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.status_code == 405
    assert is_sentence(answer)
    assert answer.headers["allow"]


# -- measurements -----------------------------------------------------------------------------------------------------


def test_metrics_count_what_was_answered(client_of: Callable[..., TestClient], predictors: FakePredictors) -> None:
    client = client_of()
    predictors.answer_one = lambda text: Answer(None, 0.1, {}, unknown=text == "b")
    client.post("/predict", json={"texts": ["a", "b", "b"]})
    client.post("/predict", json={"texts": 7})
    for number in range(3):
        client.get(f"/made/up/{number}")
    client.get(f"/lessons/{ID}")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = dict(line.rsplit(" ", 1) for line in answer.text.splitlines() if not line.startswith("#"))
    expected = {
        'mygo_service_requests_total{code="200",path="/predict"}': 1,
        'mygo_service_requests_total{code="422",path="/predict"}': 1,
        'mygo_service_requests_total{code="404",path="other"}': 3,
        'mygo_service_requests_total{code="200",path="/lessons/{id}"}': 1,
        'mygo_service_latency_seconds_count{path="/predict"}': 2,
        "mygo_service_predictions_total": 3,
        "mygo_service_unknown_total": 2,
        "mygo_service_version": 7,
        "mygo_service_classes": 2,
        "mygo_service_inbox_examples": 3,
        "mygo_service_inbox_bytes": 4,
        'mygo_service_lessons_total{state="done"}': 5,
        'mygo_service_lessons_total{state="failed"}': 0,
        "mygo_service_lesson_progress": 0.5,
    }
    assert {name: float(lines[name]) for name in expected} == expected


DRIFT = {
    "version": 7,
    "inputs": 400,
    "drifted": True,
    "p_value": 0.01,
    "alpha": 0.05,
    "changed": ["wasp"],
    "when": WHEN,
}


def test_the_last_test_for_drift_is_told_and_counted(client: TestClient, predictors: FakePredictors) -> None:
    assert client.get("/life").json()["drift"] is None
    for drift in ({**DRIFT, "drifted": False}, DRIFT, None):
        predictors.drift = drift
        client.post("/predict", json={"texts": ["a"]})
    assert client.get("/life").json()["drift"] == DRIFT
    lines = client.get("/metrics").text.splitlines()
    assert {
        'mygo_service_drift_tests_total{drifted="yes"} 1.0',
        'mygo_service_drift_tests_total{drifted="no"} 1.0',
        "mygo_service_drift_p_value 0.01",
        "mygo_service_drift_classes 1.0",
    } <= set(lines)


def test_a_test_for_drift_is_told_by_whatever_question_brings_it(
    client: TestClient, predictors: FakePredictors
) -> None:
    predictors.drift = DRIFT
    predictors.answer_one = lambda example: Answer(None, 0.0, {}, error="It cannot be seen.")
    assert client.post("/predict", content=b"GIF89a", headers={"content-type": "image/gif"}).status_code == 422
    assert client.get("/life").json()["drift"] == DRIFT


def test_drift_from_an_earlier_version_is_not_told_of_this_one(client: TestClient, predictors: FakePredictors) -> None:
    predictors.drift = {**DRIFT, "version": 6, "changed": ["a class that was forgotten"]}
    client.post("/predict", json={"texts": ["a"]})
    assert client.get("/life").json()["drift"] is None
    assert {"mygo_service_drift_p_value 1.0", "mygo_service_drift_classes 0.0"} <= set(
        client.get("/metrics").text.splitlines()
    )


def test_gauges_are_set_again_after_a_fault(
    client_of: Callable[..., TestClient], keeper: FakeKeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributed.serving.api.REFRESH_SECONDS", 0.0)
    keeper.failure = ZeroDivisionError("once")
    client = client_of()
    client.get("/openapi.json")  # time for some rounds
    looked = len(keeper.calls)
    client.get("/openapi.json")
    assert len(keeper.calls) > looked


def test_gauges_of_a_life_that_cannot_be_read_are_one_sentence_in_the_log(
    client_of: Callable[..., TestClient], keeper: FakeKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    keeper.failure = InputError("The life is damaged.")
    client_of().get("/openapi.json")
    (record,) = [each for each in caplog.records if "Gauges" in each.getMessage()]
    assert "The life is damaged." in record.getMessage()
    assert record.exc_info is None


def test_who_does_not_wait_for_the_answer_is_no_fault_of_the_service() -> None:
    async def ask() -> None:
        app = Measured(lambda *_: asyncio.sleep(60), meter)
        task = asyncio.create_task(app({"type": "http", "path": "/predict"}, None, None))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    meter = PageMeter()
    asyncio.run(ask())
    assert b'mygo_service_requests_total{code="499",path="/predict"} 1.0' in meter.page()


def test_a_life_tells_how_large_requests_may_be(client_of: Callable[..., TestClient]) -> None:
    found = client_of(limits=RequestLimits(max_body=2048, max_inputs=3)).get("/life").json()["limits"]
    assert found == {"body_bytes": 2048, "inputs": 3, "pixels": 50_000_000, "pixels_together": 1_000_000_000}


def test_metrics_come_without_a_keeper(client: TestClient, keeper: FakeKeeper) -> None:
    keeper.failure = AwayError("Away.")
    assert client.get("/metrics").status_code == 200
    assert client.get("/healthz").status_code == 503


# -- the description --------------------------------------------------------------------------------------------------


def test_the_description_names_every_status_with_its_form(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in json.dumps(description)
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            problems = {status: each for status, each in operation["responses"].items() if status >= "400"}
            assert {"401", "413", "422", "429"} <= set(problems), (method, path)
            for each in problems.values():
                assert each["content"]["application/json"]["schema"]["$ref"].endswith("/Problem")


def test_the_documentation_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    policy = page.headers["content-security-policy"]
    assert "script-src 'self' 'sha256-" in policy
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"docs/{name}" in page.text
        assert client.get(f"/docs/{name}").status_code == 200


def test_pages_have_heads(client: TestClient) -> None:
    assert [client.head(path).status_code for path in ("/", "/docs", "/page/page.css")] == [200] * 3


def test_the_page_is_served_with_its_files(client: TestClient) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert client.get("/page/page.css").headers["content-type"].startswith("text/css")
    assert "script-src" not in page.headers["content-security-policy"]  # default-src alone: files from here


@pytest.mark.parametrize(
    "path", ["/page/../settings.py", "/page/%2e%2e/settings.py", "/page/..%2fsettings.py", "/page/"]
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_the_http_side_starts_without_torch() -> None:
    """It would take seconds more, and a third of a gigabyte."""
    code = "import sys, distributed.serving.app; assert not {'torch', 'ray.train'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, timeout=120)


def test_names_from_a_request_come_back_as_json(client: TestClient) -> None:
    name = "<script>alert(1)</script>\u2028"
    answer = client.post("/teach", json={"texts": ["a"], "class": name})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["class"] == name
