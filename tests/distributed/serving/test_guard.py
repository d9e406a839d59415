import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from distributed.serving.guard import MOST_CLIENTS, Guard, Rate, client_of
from distributed.serving.settings import Access, RequestLimits, digest_of
from tests.distributed.serving.conftest import HERE, is_sentence
from tests.distributed.serving.fakes import FakeKeeper

TOKEN = "a token that nobody guesses"
CLOSED = Access(host_names=HERE.host_names, token_digest=digest_of(TOKEN))

Client = Callable[..., TestClient]


def test_every_path_but_health_and_static_pages_asks_for_the_token(client_of: Client) -> None:
    client = client_of(CLOSED)
    paths = client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method in methods:
            answer = client.request(method, path.replace("{item_id}", "x").replace("{work_id}", "x"))
            assert (answer.status_code == 401) == (path != "/healthz"), path
            if path != "/healthz":
                assert answer.headers["www-authenticate"] == "Bearer"
                assert is_sentence(answer)
    assert client.get("/nothing").status_code == 401
    assert client.get("/docs").status_code == 200


@pytest.mark.parametrize(
    "shown",
    ["", TOKEN, "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "é"],
)
def test_another_token_is_refused(client_of: Client, shown: str) -> None:
    headers = {"authorization": shown.encode("latin-1")}
    assert client_of(CLOSED).get("/life", headers=headers).status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_token_opens(client_of: Client, scheme: str) -> None:
    assert client_of(CLOSED).get("/life", headers={"authorization": f"{scheme} {TOKEN}"}).status_code == 200


@pytest.mark.parametrize("path", ["/page/../life", "/docs/../life", "/%2flife", "/LIFE", "/life/", "/page/%2e%2e/life"])
def test_no_spelling_of_a_path_goes_round_the_token(client_of: Client, keeper: FakeKeeper, path: str) -> None:
    assert client_of(CLOSED).get(path).status_code in (401, 404)
    assert ("life",) not in keeper.calls


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:1"])
def test_it_answers_to_its_own_names(client_of: Client, host: str) -> None:
    assert client_of().get("/life", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.4:8000", "", "[::1", "[::1]evil.example"]
)
def test_it_does_not_answer_to_another_name(client_of: Client, host: str) -> None:
    answer = client_of().get("/life", headers={"host": host})
    assert answer.status_code == 421
    assert is_sentence(answer)


def test_a_server_at_all_addresses_answers_to_each_address_but_to_no_name() -> None:
    access = Access(host_names=HERE.host_names, any_address=True)
    assert access.knows("192.168.1.4:8000")
    assert access.knows("[2001:db8::1]:8000")
    assert not access.knows("evil.example:8000")


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9000"},
        {"sec-fetch-site": "cross-site"},
        {"origin": "http://[broken"},
    ],
)
def test_pages_of_other_sites_may_not_ask(client_of: Client, keeper: FakeKeeper, headers: dict[str, str]) -> None:
    answer = client_of().post("/sleep", headers=headers)
    assert answer.status_code == 403
    assert is_sentence(answer)
    assert ("sleep",) not in keeper.calls


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "https://127.0.0.1:8000"])
def test_its_own_page_may(client_of: Client, origin: str) -> None:
    assert client_of().post("/sleep", headers={"origin": origin}).status_code == 202


def test_cors_is_closed(client_of: Client) -> None:
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    answer = client_of().options("/teach", headers=asked)
    assert answer.status_code == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_headers_of_every_answer(client_of: Client) -> None:
    client = client_of(CLOSED)
    for path in ("/healthz", "/life", "/docs", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert client.get("/healthz").headers["cache-control"] == "no-store"


def test_a_client_that_asks_too_often_is_told_when_to_come_back(client_of: Client) -> None:
    client = client_of(limits=RequestLimits(rate=0.5, burst=3))
    assert [client.get("/life").status_code for _ in range(3)] == [200] * 3
    answer = client.get("/life")
    assert answer.status_code == 429
    assert is_sentence(answer)
    assert 1 <= int(answer.headers["retry-after"]) <= 2
    assert [client.get("/healthz").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_the_bucket_fills_again_and_forgets_old_clients() -> None:
    now = 0.0
    rate = Rate(2.0, 2, clock=lambda: now)
    assert [rate.wait("a") for _ in range(2)] == [0, 0]
    assert rate.wait("a") == pytest.approx(0.5)
    assert rate.wait("b") == 0
    now = 0.5
    assert rate.wait("a") == 0
    for number in range(MOST_CLIENTS):
        rate.wait(str(number))
    assert rate.wait("a") == 0  # known no more, it has all of its requests again


def test_a_subscriber_of_ipv6_is_one_client() -> None:
    first, second, other = (
        client_of({"client": (address, 1)}) for address in ("2001:db8::1", "2001:db8::ffff:2", "2001:db9::1")
    )
    assert first == second != other


# -- bodies -----------------------------------------------------------------------------------------------------------


def chunks(count: int, size: int) -> Iterator[bytes]:
    for _ in range(count):
        yield bytes(size)


def test_a_body_that_says_that_it_is_too_large_is_not_read(client_of: Client) -> None:
    client = client_of(limits=RequestLimits(max_body=4096))
    answer = client.post("/predict", content=bytes(5000), headers={"content-type": "image/png"})
    assert answer.status_code == 413
    assert is_sentence(answer)


def test_a_body_is_counted_while_it_comes(client_of: Client) -> None:
    client = client_of(limits=RequestLimits(max_body=4096))
    for path in ("/predict", "/teach?class=a", "/forget"):
        kind = "application/json" if path == "/forget" else "image/png"
        answer = client.post(path, content=chunks(100, 1000), headers={"content-type": kind})
        assert answer.status_code == 413
        assert is_sentence(answer)


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "0x10"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    assert answers_of(limits=RequestLimits(), headers=[(b"content-length", length.encode())]) == 413


async def endless(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def answers_of(
    limits: RequestLimits,
    headers: list[tuple[bytes, bytes]] = [],  # noqa: B006
    receive: Any = None,
    guard: Guard | None = None,
) -> int:
    """Return the status of one request to an app that reads all of its body."""
    statuses = []

    async def once() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def ask() -> None:
        scope = {"type": "http", "path": "/predict", "headers": [(b"host", b"localhost"), *headers], "client": ("a", 1)}
        await (guard or Guard(endless, HERE, limits))(scope, receive or once, send)

    asyncio.run(ask())
    (status,) = statuses
    return status


def test_a_body_that_does_not_come_ends() -> None:
    async def never() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError

    chunked = [(b"transfer-encoding", b"chunked")]
    assert answers_of(RequestLimits(request_seconds=0.1), chunked, never) == 408


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_client_is_an_address_or_a_network_of_ipv6(host: str, client: str) -> None:
    assert client_of({"client": (host, 1)}) == client


def test_an_answer_that_does_not_come_ends(client_of: Client, keeper: FakeKeeper, monkeypatch: Any) -> None:
    async def slow() -> dict[str, Any]:
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(keeper, "life", slow)
    monkeypatch.setattr(keeper, "sleep", slow)
    client = client_of(limits=RequestLimits(request_seconds=0.2))
    for answer in (client.get("/life"), client.post("/sleep")):
        assert answer.status_code == 503
        assert is_sentence(answer)
        assert answer.headers["retry-after"]
        assert ("see whether it was done" in answer.text) == (answer.request.method == "POST")


def test_bodies_in_memory_are_bounded_and_given_back() -> None:
    limits = RequestLimits(max_body=10_000)
    guard = Guard(endless, HERE, limits)
    large = [(b"content-length", b"10000")]
    for _ in range(20):
        assert answers_of(limits, large, guard=guard) == 200
    guard.take(4 * 10_000 - 5000)
    assert answers_of(limits, large, guard=guard) == 429
    assert answers_of(limits, [(b"content-length", b"10")], guard=guard) == 200
    guard.give_back(4 * 10_000 - 5000)
    assert answers_of(limits, large, guard=guard) == 200


def test_a_websocket_is_closed() -> None:
    sent = []

    async def ask() -> None:
        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await Guard(endless, HERE, RequestLimits())({"type": "websocket"}, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())
    assert [message["type"] for message in sent] == ["websocket.close"]
