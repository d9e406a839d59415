"""A life in service elsewhere (`distributed/serve.py`), asked over HTTP with the standard library alone."""

import http.client
import json
import math
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from mygo.errors import InputError
from mygo.reporting.terminal import print_notice

if TYPE_CHECKING:
    from mygo.data.readers.reader import Kind

TOKEN_VARIABLE = "MYGO_TOKEN"
"""The environment variable with the token, which is never a flag's value: others on the machine see those."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
MOST_CLASSES = 1000
"""The most classes of which a service lists the probabilities."""
ANSWER_SECONDS = 120.0
"""How long to wait for an answer."""
PATIENCE_SECONDS = 60.0
"""How long to wait in all where the service asks to come back later, for each request."""
LARGEST_COMPLAINT = 2**16
"""Bytes of an answer that is no prediction, of which a sentence is shown."""

Input = bytes | str | list[float]
"""An image as it is in its file, a text, or a vector."""


class TooLargeError(InputError):
    """The service does not take so much in one request."""


@dataclass(frozen=True, kw_only=True)
class RemotePrediction:
    """What a service says of an input."""

    class_name: str | None
    """The most probable class; None if the service calls the input unknown."""
    confidence: float
    probabilities: Mapping[str, float]
    """Of the most probable classes, by name."""
    version: int
    """Of the life that answered."""
    out_of_distribution: float | None = None
    """How little it looks like anything that the life knows, as a score; None where the life has none."""
    error: str | None = None
    """Why the input cannot be seen, if it cannot; the rest is then empty."""


def token_from(file: Path | None) -> str | None:
    """Return the token in ``file`` or, without one, in the environment, if there is any.

    Raises:
        InputError: the file cannot be read, or holds no token.
    """
    if file is None:
        text, source = os.environ.get(TOKEN_VARIABLE, ""), TOKEN_VARIABLE
    else:
        source = str(file)
        try:
            text = file.read_text(encoding="ascii")
        except UnicodeDecodeError as error:
            raise InputError(f"{file} holds no token: those are ASCII.") from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise InputError(f"{file} cannot be read ({reason}): name the file with the token.") from error
    token = text.strip()
    if not token and file is not None:
        raise InputError(f"{file} is empty: write the token into it.")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise InputError(f"{source} holds no token: one is a single word in ASCII.")
    return token or None


def check_url(url: str) -> str:
    """Return ``url`` without a slash at its end.

    Raises:
        InputError: it is no address of a service.
    """
    how = "write it like http://127.0.0.1:8000"
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port  # the latter is checked only now
    except ValueError as error:
        raise InputError(f"--url cannot be {url!r} ({error}): {how}.") from error
    if not (url.isascii() and url.isprintable()) or " " in url or parts.scheme not in ("http", "https"):
        raise InputError(f"--url cannot be {url!r}: {how}.")
    if not host or port == 0 or parts.query or parts.fragment or "@" in parts.netloc:
        raise InputError(f"--url cannot be {url!r}: {how}, without a name, a password or anything behind the path.")
    return url.rstrip("/")


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nothing: the token would go wherever it leads."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Leave the answer as it is, which is then an error."""


@dataclass(frozen=True)
class RemoteLife:
    """A life in service at ``url``."""

    url: str
    token: str | None = field(default=None, repr=False)

    def kind(self) -> "Kind":
        """Return what the life sees.

        Raises:
            InputError: nobody answers, the token is not accepted, or it has learned nothing yet.
        """
        kind = self._fields(self._request("/life")).get("kind")
        if kind is None:
            raise InputError(f"The life at {self.url} has learned nothing yet: teach it first.")
        if kind not in ("image", "text", "vector"):
            raise self._foreign()
        return cast("Kind", kind)

    def predict(self, kind: "Kind", inputs: Sequence[Input], *, top: int) -> list[RemotePrediction]:
        """Return the prediction for each of ``inputs`` of a ``kind``, with the probabilities of the ``top`` classes.

        Raises:
            TooLargeError: they are more than the service takes at once.
            InputError: nobody answers, or the service refuses.
        """
        body, content_type = body_of(kind, inputs)
        answer = self._fields(self._request(f"/predict?top={top}", body, content_type))
        try:
            found = [prediction_in(each, answer["version"]) for each in answer["predictions"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._foreign() from error
        if len(found) != len(inputs):
            raise self._foreign()
        return found

    def _request(self, path: str, body: bytes | None = None, content_type: str = "") -> Any:
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = content_type
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        patience = PATIENCE_SECONDS
        while True:
            request = urllib.request.Request(f"{self.url}{path}", body, headers)
            try:
                with self._opener().open(request, timeout=ANSWER_SECONDS) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                seconds = seconds_to_wait(error)
                if seconds is None or seconds > patience:
                    raise self._refused(error) from error
                if patience == PATIENCE_SECONDS and seconds >= 1:
                    print_notice(f"{self.url} is busy: going on in {seconds:.0f} s.")
                patience -= seconds
                time.sleep(seconds)
            except (OSError, http.client.HTTPException) as error:
                raise self._silent(error) from error
            except ValueError as error:  # neither JSON nor UTF-8
                raise self._foreign() from error

    def _opener(self) -> urllib.request.OpenerDirector:
        here = urllib.parse.urlsplit(self.url).hostname in LOOPBACK
        return urllib.request.build_opener(NoRedirects, *([urllib.request.ProxyHandler({})] if here else []))

    def _fields(self, answer: Any) -> dict[str, Any]:
        if not isinstance(answer, dict):
            raise self._foreign()
        return answer

    def _foreign(self) -> InputError:
        return InputError(f"What answers at {self.url} is not a life in service: name another --url.")

    def _silent(self, error: Exception) -> InputError:
        reason = getattr(error, "reason", None) or error
        told = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        if isinstance(reason, ConnectionResetError | BrokenPipeError):  # as where it does not read what is too much
            return TooLargeError(f"{self.url} ended the connection ({told}): ask again, or with a smaller input.")
        return InputError(
            f"Nobody answers at {self.url} ({told}): start distributed/serve.py there, or name another --url."
        )

    def _refused(self, error: urllib.error.HTTPError) -> InputError:
        detail = detail_of(error)
        said = f": {detail}" if detail else "."
        match error.code:
            case 401 if self.token is None:
                return InputError(f"{self.url} wants a token: put it into {TOKEN_VARIABLE}, or name a --token-file.")
            case 401:
                return InputError(f"{self.url} does not accept this token: give the one that it was started with.")
            case 404:
                return self._foreign()
            case 413:
                return TooLargeError(f"{self.url} does not take so much at once{said}")
            case 429:
                return InputError(f"{self.url} has too many requests: ask again later, or in fewer processes at once.")
            case code if 300 <= code < 400:
                there = error.headers.get("Location", "another address")
                return InputError(f"{self.url} leads to {there}: if you trust it, name that as --url.")
            case code if code >= 500:
                return InputError(f"{self.url} failed ({code}{f', {detail}' if detail else ''}): see its log.")
        return InputError(f"{self.url} refuses ({error.code}){said}")


def seconds_to_wait(error: urllib.error.HTTPError) -> float | None:
    """Return after how many seconds to ask again; None where that is of no use."""
    if error.code not in (429, 503):
        return None
    with suppress(ValueError):
        seconds = float(error.headers.get("Retry-After", "1" if error.code == 429 else ""))
        if math.isfinite(seconds):
            return max(seconds, 0.1)
    return 1.0 if error.code == 429 else None


def detail_of(error: urllib.error.HTTPError) -> str:
    """Return the sentence that the service gives as the reason, if it gives one."""
    with suppress(ValueError, OSError, http.client.HTTPException):
        content = json.loads(error.read(LARGEST_COMPLAINT))
        if isinstance(content, dict) and isinstance(content.get("detail"), str):
            return str(content["detail"])
    return ""


def prediction_in(content: Mapping[str, Any], version: int) -> RemotePrediction:
    """Return what one entry of ``predictions`` says; raises one of several built-in errors where it is none."""
    if content["error"] is not None:
        return RemotePrediction(
            class_name=None, confidence=0.0, probabilities={}, version=version, error=str(content["error"])
        )
    score = content.get("out_of_distribution")
    return RemotePrediction(
        class_name=None if content["unknown"] or content["class"] is None else str(content["class"]),
        confidence=float(content["confidence"]),
        probabilities={str(name): float(value) for name, value in content["probabilities"].items()},
        version=version,
        out_of_distribution=None if score is None else float(score),
    )


def body_of(kind: "Kind", inputs: Sequence[Input]) -> tuple[bytes, str]:
    """Return the body of a request with ``inputs``, and its type.

    Images are parts of a form as they are. They are sent without their names, which are nobody else's business.
    """
    if kind != "image":
        return json.dumps({f"{kind}s": inputs}, allow_nan=False).encode(), "application/json"
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="{number}"\r\n'.encode()
        + b"Content-Type: application/octet-stream\r\n\r\n%b\r\n" % content
        for number, content in enumerate(cast("Sequence[bytes]", inputs))
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
