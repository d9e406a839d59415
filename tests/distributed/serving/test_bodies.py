"""What is sent: the three forms of bodies, and everything that they may not be."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from distributed.serving.bodies import IMAGE_TYPES, LONGEST_VECTOR
from distributed.serving.settings import RequestLimits
from tests.distributed.serving.conftest import is_sentence
from tests.distributed.serving.fakes import FakeKeeper, FakePredictors

ImageFile = Callable[..., bytes]
Client = Callable[..., TestClient]
LARGE = 2**24


def form(*images: bytes, field: str = "images") -> list[tuple[str, tuple[str, bytes, str]]]:
    return [(field, ("../../etc/passwd", image, "image/png")) for image in images]


def test_a_form_has_several_images(client: TestClient, predictors: FakePredictors, image_file: ImageFile) -> None:
    images = [image_file(seed=seed) for seed in range(3)]
    assert client.post("/predict", files=form(*images)).status_code == 200
    assert (predictors.questions[0].kind, predictors.questions[0].examples) == ("image", images)


@pytest.mark.parametrize("kind", [*IMAGE_TYPES, "IMAGE/PNG; x=1"])
def test_a_raw_body_is_one_image(client: TestClient, predictors: FakePredictors, kind: str) -> None:
    assert client.post("/predict", content=b"an image", headers={"content-type": kind}).status_code == 200
    assert predictors.questions[0].examples == [b"an image"]


def test_json_has_texts_vectors_or_images(client: TestClient, predictors: FakePredictors) -> None:
    texts = ["to be", "ärger 🐝", ""]
    assert client.post("/predict", json={"texts": texts}).status_code == 200
    assert client.post("/predict", json={"vectors": [[1, 2.5], [-3e5, 0]]}).status_code == 200
    assert client.post("/predict", json={"images": [base64.b64encode(b"an image").decode()]}).status_code == 200
    first, second, third = predictors.questions
    assert (first.kind, first.examples) == ("text", texts)
    assert second.kind == "vector"
    assert isinstance(second.examples, np.ndarray)
    assert second.examples.dtype == np.float32
    assert second.examples.tolist() == [[1, 2.5], [-3e5, 0]]
    assert (third.kind, third.examples) == ("image", [b"an image"])


@pytest.mark.parametrize("taught_in", ["address", "body"])
def test_a_class_is_named_in_the_address_or_in_the_body(
    client: TestClient, keeper: FakeKeeper, image_file: ImageFile, taught_in: str
) -> None:
    name, image = "<b>wasp</b> & 🐝", image_file()
    encoded = base64.b64encode(image).decode()
    if taught_in == "address":
        answers = [
            client.post("/teach", params={"class": name}, files=form(image)),
            client.post("/teach", params={"class": name}, json={"images": [encoded]}),
            client.post("/teach", params={"class": name}, content=image, headers={"content-type": "image/png"}),
        ]
    else:
        answers = [
            client.post("/teach", data={"class": name}, files=form(image)),
            client.post("/teach", json={"class": name, "images": [encoded]}),
            client.post("/teach", params={"class": name}, json={"class": name, "images": [encoded]}),
        ]
    assert [answer.status_code for answer in answers] == [201] * 3
    assert [call for call in keeper.calls if call[0] == "teach"] == [("teach", name, "image", [image])] * 3


@pytest.mark.parametrize(
    ("query", "body"),
    [({}, {"texts": ["x"]}), ({"class": "a"}, {"texts": ["x"], "class": "b"}), ({}, {"texts": ["x"], "class": 7})],
)
def test_a_class_is_named_once(client: TestClient, keeper: FakeKeeper, query: Any, body: Any) -> None:
    answer = client.post("/teach", params=query, json=body)
    assert answer.status_code == 422
    assert is_sentence(answer)
    assert not [call for call in keeper.calls if call[0] == "teach"]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


UNREADABLE: dict[str, str | bytes] = {
    "nothing": "",
    "half": '{"texts": ["a"',
    "not utf-8": b'{"texts": ["\xff"]}',
    "utf-16": '{"texts": ["a"]}'.encode("utf-16"),
    "a list": '["a"]',
    "null": "null",
    "no key": "{}",
    "another key": '{"texts": ["a"], "__proto__": 1}',
    "a key that is an order": '{"texts": ["a"], "\\u001b[2J": 1}',
    "two kinds": '{"texts": ["a"], "vectors": [[1]]}',
    "no text": '{"texts": []}',
    "one text": '{"texts": "a"}',
    "numbers as texts": '{"texts": [1]}',
    "null as text": '{"texts": [null]}',
    "no vector": '{"vectors": [[]]}',
    "a flat vector": '{"vectors": [1, 2]}',
    "other lengths": '{"vectors": [[1, 2], [3]]}',
    "texts in vectors": '{"vectors": [["1"]]}',
    "truths in vectors": '{"vectors": [[true]]}',
    "null in vectors": '{"vectors": [[null]]}',
    "deep vectors": '{"vectors": [[[1]]]}',
    "no number": '{"vectors": [[NaN]]}',
    "infinite": '{"vectors": [[Infinity]]}',
    "infinite in floats": '{"vectors": [[1e39]]}',
    "infinite in doubles": '{"vectors": [[1e999]]}',
    "a long number": f'{{"vectors": [[{"9" * 5000}]]}}',
    "deep": nested(100_000),
    "deep in a key": f'{{"texts": {nested(5000)}}}',
    "no base64": '{"images": ["!!!"]}',
    "base64 with words": '{"images": ["YW4g aW1hZ2U="]}',
    "an empty image": '{"images": [""]}',
    "images in a dictionary": '{"images": [{"a": 1}]}',
    "a surrogate alone": '{"texts": ["\\ud800"]}',
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
@pytest.mark.parametrize("path", ["/predict", "/teach?class=a"])
def test_json_that_cannot_be_used_is_refused(
    client: TestClient, keeper: FakeKeeper, predictors: FakePredictors, path: str, body: Any
) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert is_sentence(answer)
    assert not predictors.questions
    assert not [call for call in keeper.calls if call[0] == "teach"]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "image/svg+xml", "video/mp4"])
@pytest.mark.parametrize("path", ["/predict", "/teach?class=a", "/forget", "/rollback"])
def test_other_types_are_refused(client: TestClient, path: str, kind: str) -> None:
    answer = client.post(path, content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 415
    assert is_sentence(answer)


@pytest.mark.parametrize(
    "body",
    [
        {"texts": ["a"] * 5},
        {"vectors": [[1.0]] * 5},
        {"images": ["YQ=="] * 5},
        {"vectors": [[0] * (LONGEST_VECTOR + 1)]},
    ],
)
def test_more_than_a_request_may_hold_is_refused(client_of: Client, body: Any) -> None:
    answer = client_of(limits=RequestLimits(max_inputs=4)).post("/predict", json=body)
    assert answer.status_code == 413
    assert is_sentence(answer)


def test_more_files_than_a_form_may_hold_are_refused(client_of: Client, image_file: ImageFile) -> None:
    client = client_of(limits=RequestLimits(max_inputs=4))
    assert client.post("/predict", files=form(*[image_file()] * 4)).status_code == 200
    answer = client.post("/predict", files=form(*[image_file()] * 5))
    assert answer.status_code == 413
    assert is_sentence(answer)


B = b"--b\r\n"
PART = b'Content-Disposition: form-data; name="images"; filename="x"\r\n\r\n'
FIELD = b'Content-Disposition: form-data; name="class"\r\n\r\n'
FORMS: dict[str, bytes] = {
    "nothing": b"",
    "no part": b"--b--\r\n",
    "no headers": B + b"\r\ncontent\r\n--b--\r\n",
    "not begun": b"content",
    "not ended": B + PART + b"content",
    "an empty file": B + PART + b"\r\n--b--\r\n",
    "another field": B + PART.replace(b"images", b"photos") + b"content\r\n--b--\r\n",
    "a class twice": (B + FIELD + b"a\r\n") * 2 + B + PART + b"content\r\n--b--\r\n",
    "a class alone": B + FIELD + b"a\r\n--b--\r\n",
    "a class that is not utf-8": B + FIELD + b"\xff\r\n" + B + PART + b"content\r\n--b--\r\n",
    "a class that is huge": B + FIELD + b"a" * 10_000 + b"\r\n" + B + PART + b"content\r\n--b--\r\n",
    "images as fields": B + b'Content-Disposition: form-data; name="images"\r\n\r\ncontent\r\n--b--\r\n',
    "many headers": B + b"".join(b"X-%d: 1\r\n" % number for number in range(1000)) + PART + b"c\r\n--b--\r\n",
    "a long header": B + b"X: " + b"1" * 100_000 + b"\r\n" + PART + b"c\r\n--b--\r\n",
    "a broken header": B + b"Content-Disposition form-data\r\n\r\ncontent\r\n--b--\r\n",
    "an encoding": B + b"Content-Transfer-Encoding: nonsense\r\n" + PART + b"content\r\n--b--\r\n",
    "bad base64": B + b"Content-Transfer-Encoding: base64\r\n" + PART + b"a\r\n--b--\r\n",
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_forms_that_cannot_be_used_are_refused(client: TestClient, keeper: FakeKeeper, body: bytes) -> None:
    answer = client.post("/teach?class=a", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.status_code == 422
    assert is_sentence(answer)
    assert not [call for call in keeper.calls if call[0] == "teach"]


@pytest.mark.parametrize(
    "parameters", ["", "; boundary=", "; boundary=ä", f"; boundary={'b' * 5000}", "; boundary*=utf-8''b", "; =b"]
)
def test_boundaries_that_are_none_are_refused(client: TestClient, parameters: str) -> None:
    headers = {"content-type": f"multipart/form-data{parameters}".encode("latin-1")}
    answer = client.post("/predict", content=B + PART + b"content\r\n--c--\r\n", headers=headers)
    assert answer.status_code == 422
    assert is_sentence(answer)


def test_an_empty_raw_body_is_refused(client: TestClient) -> None:
    answer = client.post("/predict", content=b"", headers={"content-type": "image/png"})
    assert answer.status_code == 422
    assert is_sentence(answer)


@pytest.mark.parametrize("path", ["/forget", "/rollback"])
@pytest.mark.parametrize(
    "body",
    ["", "7", "[]", "{}", '{"class": 7}', '{"version": "7"}', '{"version": true}', '{"version": 1.5}', nested(9999)],
)
def test_small_bodies_that_cannot_be_used_are_refused(
    client: TestClient, keeper: FakeKeeper, path: str, body: str
) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert is_sentence(answer)
    assert {call[0] for call in keeper.calls} <= {"snapshot"}


def test_small_bodies_are_small(client: TestClient) -> None:
    answer = client.post("/forget", json={"class": "a" * LARGE})
    assert answer.status_code == 413
    assert is_sentence(answer)
