"""A service of the contract in docs/service.md that learns nothing: for what asks one over HTTP."""

import io
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from PIL import Image

PROBABILITIES = {"wasp": 0.75, "bee": 0.25}


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes


@dataclass
class FakeService:
    """What the service is like, and what it was asked. An input whose red is its strongest colour is a wasp."""

    kind: str | None = "image"
    token: str | None = None
    most_inputs: int = 256
    most_bytes: int = 2**26
    """Of a body; of a larger one nothing is read."""
    versions: list[int] = field(default_factory=lambda: [3])
    """The version that answers each request to /predict, the last of them for good."""
    refusals: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    """Code, headers and body of the next answers to /predict."""
    foreign: dict[str, str] = field(default_factory=dict)
    """By path, bodies that no such service sends."""
    asked: list[Asked] = field(default_factory=list)
    inbox: dict[str, int] = field(default_factory=dict)
    polls_until_done: int = 2
    url: str = ""

    def predicting(self) -> list[Asked]:
        """Return the requests for predictions."""
        return [each for each in self.asked if each.path == "/predict"]

    def answer(self, asked: Asked) -> tuple[int, dict[str, str], str]:
        """Return code, headers and body of the answer."""
        self.asked.append(asked)
        if self.token is not None and asked.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"WWW-Authenticate": "Bearer"}, '{"detail": "A token is needed."}'
        if asked.path in self.foreign:
            return 200, {}, self.foreign[asked.path]
        match asked.method, asked.path:
            case "GET", "/life":
                return said(200, kind=self.kind, version=self.versions[0], classes=[])
            case "POST", "/predict":
                return self._predict(asked)
            case "POST", "/teach":
                name = asked.query["class"][0] if "class" in asked.query else json.loads(asked.body)["class"]
                self.inbox[name] = self.inbox.get(name, 0) + len(inputs_in(asked))
                return said(201, id=uuid.uuid4().hex, count=len(inputs_in(asked)), **{"class": name})
            case "POST", "/sleep":
                classes, self.inbox = list(self.inbox), {}
                return said(202, id="1", what="lesson", state="waiting", classes=classes, progress=0.0, error=None)
            case "GET", "/lessons/1":
                self.polls_until_done -= 1
                state = "running" if self.polls_until_done else "done"
                return said(200, id="1", what="lesson", state=state, progress=0.5, error=None, version=4)
        return said(404, detail="There is nothing of this name.")

    def _predict(self, asked: Asked) -> tuple[int, dict[str, str], str]:
        if self.refusals:
            return self.refusals.pop(0)
        inputs = inputs_in(asked)
        if len(inputs) > self.most_inputs:
            return said(413, detail=f"A request holds at most {self.most_inputs} inputs.")
        version = self.versions.pop(0) if len(self.versions) > 1 else self.versions[0]
        top = int(asked.query.get("top", ["5"])[0])
        return said(200, version=version, predictions=[prediction_of(each, top) for each in inputs])


def said(code: int, **content: Any) -> tuple[int, dict[str, str], str]:
    """Return an answer of JSON."""
    return code, {}, json.dumps(content)


def inputs_in(asked: Asked) -> list[Any]:
    """Return the contents of the body."""
    content_type = asked.headers["content-type"]
    if content_type == "application/json":
        content = json.loads(asked.body)
        return content.get("texts") or content.get("vectors") or content["images"]
    if content_type.startswith("image/"):
        return [asked.body]
    kind, _, boundary = content_type.partition("; boundary=")
    assert kind == "multipart/form-data"
    first, *parts, last = asked.body.split(f"--{boundary}".encode())
    assert (first, last.strip()) == (b"", b"--")
    found = []
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        assert b'name="images"' in head
        found.append(content.removesuffix(b"\r\n"))
    return found


def prediction_of(content: Any, top: int) -> dict[str, Any]:
    """Return what is said of an input; a text or vector is a wasp if it begins with w or a positive number."""
    if isinstance(content, bytes):
        try:
            red, _, blue = Image.open(io.BytesIO(content)).convert("RGB").resize((1, 1)).getpixel((0, 0))
        except OSError:
            nothing = {"class": None, "confidence": None, "probabilities": None, "unknown": False}
            return {**nothing, "error": "This is no picture."}
        is_wasp = red > blue
    else:
        is_wasp = content[0] == "w" if isinstance(content, str) else content[0] > 0
    names = sorted(PROBABILITIES, reverse=is_wasp)
    listed = dict(list(zip(names, PROBABILITIES.values(), strict=True))[:top])
    return {"class": names[0], "confidence": 0.75, "probabilities": listed, "unknown": False, "error": None}


@contextmanager
def serving(service: FakeService) -> Iterator[FakeService]:
    """Let ``service`` answer at a port of its own inside the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            if length > service.most_bytes:
                self.close_connection = True
                self.reply(*said(413, detail=f"A request holds at most {service.most_bytes} bytes."))
                return
            body = self.rfile.read(length)
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
            self.reply(*service.answer(asked))

        def reply(self, code: int, more: dict[str, str], text: str) -> None:
            self.send_response(code)
            for name, value in {"Content-Type": "application/json", **more}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
