"""What stands before a service: who may ask, under which name, how often, how much, and how long it may take."""

import asyncio
import hmac
import ipaddress
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distributed.serving.settings import Access, RequestLimits, digest_of

OPEN = ("/", "/healthz", "/docs", "/openapi.json", "/favicon.ico")
"""Paths that need no token: they say nothing of the life."""
OPEN_FOLDERS = ("/page/", "/docs/")
WATCHED = "/healthz"
"""The path whose requests are counted apart."""
BODIES_AT_ONCE = 4
"""Largest bodies that may be in memory at the same time; the rest is asked to come back."""
MOST_CLIENTS = 10_000
"""Clients of which the rate is known; of more, those that asked least recently are forgotten."""
BACK_IN_SECONDS = 2
"""When to come back to a service that has no room now."""
SHORTEST_BODY = 4096
"""Bytes that every request with a body is counted for at least."""

POLICY = {
    "default-src": "'self'",
    "img-src": "'self' blob: data:",
    "media-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
"""What a browser may do with what comes from here: nothing from elsewhere, and no script that is not a file."""


def as_header(policy: Mapping[str, str]) -> str:
    """Return ``policy`` as the header Content-Security-Policy has it."""
    return "; ".join(f"{what} {where}" for what, where in policy.items())


HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Content-Security-Policy": as_header(POLICY),
    "Cache-Control": "no-store",
}
"""Headers of every answer that does not set them itself."""


class RefusedError(Exception):
    """A request is answered with a status and a sentence, and goes no further."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Rate:
    """How often each client may ask: a token bucket for each (RFC 2698 has the idea), of clients seen recently."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> float:
        """Count a request of ``client``; returns the seconds after which it may come, 0 for now."""
        now = self._clock()
        left, then = self._buckets.pop(client, (float(self._burst), now))
        left = min(self._burst, left + (now - then) * self._per_second)
        granted = left >= 1
        self._buckets[client] = (left - granted, now)
        if len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1 - left) / self._per_second


class Guard:
    """ASGI middleware: passes on to ``app`` what may be asked, and answers the rest with one sentence each."""

    def __init__(self, app: ASGIApp, access: Access, limits: RequestLimits) -> None:
        self._app, self._access, self._limits = app, access, limits
        self._rate = Rate(limits.rate, limits.burst)
        self._bytes_in_memory = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        answer = Answered(send)
        body = Body(self, receive, self._limits.max_body)
        try:
            self._check(scope)
            body.expect(Headers(scope=scope))
            await asyncio.wait_for(self._app(scope, body, answer), self._limits.request_seconds)
        except RefusedError as refused:
            await answer.refuse(refused)
        except (TimeoutError, asyncio.TimeoutError):  # two classes in Python 3.10
            await answer.refuse(self._too_late(scope, body))
        finally:
            body.release()

    def take(self, more: int) -> None:
        """Make room for so many bytes of a body.

        Raises:
            RefusedError: there is none now.
        """
        if self._bytes_in_memory + more > BODIES_AT_ONCE * self._limits.max_body:
            detail = "There are too many large requests at the moment: send this one again later."
            raise RefusedError(429, detail, Retry_After=str(BACK_IN_SECONDS))
        self._bytes_in_memory += more

    def give_back(self, count: int) -> None:
        """Free the room for so many bytes."""
        self._bytes_in_memory -= count

    def _too_late(self, scope: Scope, body: "Body") -> RefusedError:
        seconds = f"{self._limits.request_seconds:g} seconds"
        if not body.complete:
            return RefusedError(408, f"The request did not arrive within {seconds}.")
        changes_nothing = scope["method"] == "GET" or scope["path"] == "/predict"
        advice = "send it again later" if changes_nothing else "see whether it was done before you send it again"
        return RefusedError(503, f"There was no answer within {seconds}: {advice}.", Retry_After=str(BACK_IN_SECONDS))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._check_names(headers)
        # Whoever watches the service is not told that it asks too often because of what it also asks.
        client = f"{client_of(scope)} {WATCHED if scope['path'] == WATCHED else ''}"
        if seconds := self._rate.wait(client):
            detail = f"More than {self._limits.rate:g} requests a second came from you: wait, and send fewer."
            raise RefusedError(429, detail, Retry_After=str(max(1, round(seconds))))
        self._check_token(scope["path"], headers)

    def _check_names(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows(hosts[0]):
            raise RefusedError(421, "This server is not known by the name in the Host header: see --allow-host.")
        # A page from elsewhere cannot read an answer, but could ask: to forget, for example.
        origins = headers.getlist("origin")
        elsewhere = any(urlsplit_or_empty(origin) != hosts[0].lower() for origin in origins)
        if elsewhere or headers.get("sec-fetch-site") == "cross-site":
            raise RefusedError(403, "Pages of other sites may not use this service.")

    def _check_token(self, path: str, headers: Headers) -> None:
        expected = self._access.token_digest
        if expected is None or path in OPEN or path.startswith(OPEN_FOLDERS):
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        shown = digest_of(token.strip().encode("latin-1", "replace"))
        if not (hmac.compare_digest(shown, expected) and scheme.lower() == "bearer"):
            raise RefusedError(
                401, "Show the token of this service: Authorization: Bearer TOKEN.", WWW_Authenticate="Bearer"
            )


class Body:
    """The body of a request, as ASGI's ``receive``; it is counted as it comes."""

    def __init__(self, guard: Guard, receive: Receive, most: int) -> None:
        self.complete = False
        self._guard, self._receive, self._most = guard, receive, most
        self._count = self._held = 0

    def expect(self, headers: Headers) -> None:
        """Refuse a body that says itself that it is too large, before any of it is read.

        Raises:
            RefusedError: it does.
        """
        length = headers.get("content-length", "")
        self.complete = length in ("", "0") and "transfer-encoding" not in headers
        if length.isdecimal() and len(length) < 20 and int(length) <= self._most:
            self._hold(int(length))
        elif length:
            raise self._too_large()

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            RefusedError: the body is larger than it may be.
        """
        message = await self._receive()
        if message["type"] == "http.request":
            self._count += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self._count > self._most:
                raise self._too_large()
            self._hold(self._count)
        return message

    def release(self) -> None:
        """Free the room that the body took."""
        self._guard.give_back(self._held)
        self._held = 0

    def _hold(self, count: int) -> None:
        wanted = max(count, SHORTEST_BODY) if count else 0
        if wanted > self._held:
            self._guard.take(wanted - self._held)
            self._held = wanted

    def _too_large(self) -> RefusedError:
        return RefusedError(413, f"The request is larger than {self._most} bytes: send less at once.")


class Answered:
    """ASGI's ``send``, with the headers of every answer; knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._begun = False

    async def __call__(self, message: Message) -> None:
        """Send ``message``."""
        if message["type"] == "http.response.start":
            self._begun = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def refuse(self, refused: RefusedError) -> None:
        """Answer with a status and a sentence, unless an answer has begun."""
        if self._begun:
            return
        content = json.dumps({"detail": refused.detail}).encode()
        headers = {"content-type": "application/json", "content-length": str(len(content)), **refused.headers}
        if refused.status in (408, 413, 429):
            headers["connection"] = "close"  # the rest of the body is not read
        await self({"type": "http.response.start", "status": refused.status, "headers": encoded(headers.items())})
        await self({"type": "http.response.body", "body": content})


def encoded(headers: Iterable[tuple[str, str]]) -> Sequence[tuple[bytes, bytes]]:
    """Return ``headers`` as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def client_of(scope: Scope) -> str:
    """Return who asks: an address, of IPv6 the network of a subscriber, who has all of its addresses.

    Where IPv6 is listened to, an IPv4 address arrives as the end of one of IPv6.
    """
    host = (scope.get("client") or ("", 0))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


def urlsplit_or_empty(origin: str) -> str:
    """Return the host and port that an Origin header names, in lower case; nothing for ``null`` or nonsense."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
