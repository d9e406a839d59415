"""The contract of HTTP over a `FakeService`, with the page, under a policy that lets it load nothing but its files."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from PIL import Image

from tests.page.fake_service import FakeService, RefusedError

PAGE = Path(__file__).resolve().parent.parent.parent / "distributed" / "serving" / "page"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)


class Handler(BaseHTTPRequestHandler):
    service: FakeService
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urlsplit(self.path)
        path = unquote(url.path)
        if path == "/" or path.startswith("/page/"):
            file = PAGE / ("index.html" if path == "/" else path.removeprefix("/page/"))
            self._send(200, file.read_bytes(), TYPES[file.suffix])
            return
        service = self.service
        service.calls.append((self.command, path))
        service.at_once += 1
        service.most_at_once = max(service.most_at_once, service.at_once)
        try:
            if service.slow is not None and self.command == "POST":
                service.slow.wait(10)
            status, answer = self._answer(path, {name: values[0] for name, values in parse_qs(url.query).items()}, body)
            self._send(status, b"" if answer is None else json.dumps(answer).encode(), "application/json")
        except RefusedError as refusal:
            said = json.dumps({"detail": refusal.detail}).encode()
            self._send(refusal.status, said, "application/json", **refusal.headers)
        finally:
            service.at_once -= 1

    def _answer(self, path: str, query: dict[str, str], body: bytes) -> tuple[int, dict[str, Any] | None]:
        service = self.service
        if service.token is not None and self.headers.get("Authorization") != f"Bearer {service.token}":
            raise RefusedError(401, "Send the token.", **{"WWW-Authenticate": "Bearer"})
        if (self.command, path) in service.refuse:
            raise service.refuse[self.command, path]
        room, _, number = path.removeprefix("/").partition("/")
        match self.command, room, number:
            case "GET", "life", "":
                return 200, service.get_life()
            case "GET", "life", "map":
                return 200, service.get_life_map()
            case "GET", "inbox", "":
                return 200, service.get_inbox()
            case "GET", "lessons", _:
                return 200, service.lesson(number)
            case "DELETE", "inbox", "":
                return 200, service.remove(None, query.get("class"))
            case "DELETE", "inbox", _:
                return 204, service.remove(number, None)
            case "POST", "predict", "":
                return 200, service.predict(self._inputs(body)[1])
            case "POST", "teach", "":
                return 201, service.teach(*self._inputs(body))
            case "POST", "sleep", "":
                return 202, service.sleep()
            case "POST", "forget", "":
                return 202, service.forget(json.loads(body)["class"])
            case "POST", "rollback", "":
                return 200, service.roll_back(json.loads(body)["version"])
        raise RefusedError(404, f"There is no {path} here.")

    def _inputs(self, body: bytes) -> tuple[str, list[bytes | str]]:
        """Return the class, if any, and the examples of a body."""
        kind = self.headers["Content-Type"]
        if kind == "application/json":
            said = json.loads(body)
            return said.get("class", ""), said["texts"]
        if kind.startswith("image/"):
            return "", [self._noted(body)]
        message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        name, images = "", []
        for part in message.iter_parts():
            content = part.get_payload(decode=True)
            assert isinstance(content, bytes)
            match part.get_param("name", header="Content-Disposition"):
                case "class":
                    name = content.decode()
                case "images":
                    images.append(self._noted(content))
        return name, images

    def _noted(self, content: bytes) -> bytes:
        try:
            with Image.open(io.BytesIO(content)) as image:
                self.service.sizes.append(image.size)
        except OSError:
            pass
        return content

    def _send(self, status: int, content: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        always = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
        for name, value in {**always, **headers, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def served(service: FakeService) -> Iterator[str]:
    """Yield the address at which ``service`` answers."""
    handler = type("HandlerOfOne", (Handler,), {"service": service})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
