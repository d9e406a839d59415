"""Inputs out of the bodies of requests: multipart forms, raw images, and JSON."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pydantic_core
import python_multipart
from python_multipart.exceptions import FormParserError
from starlette.requests import Request

from distributed.serving.guard import RefusedError
from distributed.serving.settings import RequestLimits

if TYPE_CHECKING:
    from mygo.data.readers.reader import Kind

IMAGE_TYPES = (
    *("image/avif", "image/bmp", "image/gif", "image/jpeg", "image/png", "image/tiff", "image/webp"),
    *("image/x-portable-bitmap", "image/x-portable-graymap", "image/x-portable-pixmap"),
)
"""What a raw body may be."""
FORM, JSON = "multipart/form-data", "application/json"
LONGEST_VECTOR = 65_536
"""Values of a vector."""
LONGEST_FIELD = 4096
"""Bytes of a field of a form that is no file: a class name."""
SMALL_BODY = 65_536
"""Bytes of a body that holds no inputs."""
KINDS: "dict[str, Kind]" = {"texts": "text", "vectors": "vector", "images": "image"}
"""Where JSON has its inputs."""

Examples: TypeAlias = Sequence[bytes] | Sequence[str] | npt.NDArray[np.float32]


@dataclass(frozen=True)
class Inputs:
    """Inputs of one kind: images as the bytes of their files, texts, or vectors float32 [N, D]."""

    kind: "Kind"
    examples: Examples
    class_name: str | None = None
    """The class that they show, where the body says so."""
    alone: bool = False
    """Whether the body is one image and nothing else."""


def unreadable(detail: str) -> RefusedError:
    """Return the refusal of a body that cannot be read."""
    return RefusedError(422, detail)


async def read_inputs(request: Request, limits: RequestLimits) -> Inputs:
    """Return the inputs in the body of ``request``.

    Raises:
        RefusedError: the body is of a type that is not taken, cannot be read, or holds more than it may.
    """
    kind = media_type(request)
    if kind == FORM:
        return await read_form(request, limits)
    if kind == JSON:
        return inputs_in(await read_json(request), limits)
    if kind not in IMAGE_TYPES:
        raise RefusedError(415, f"Send {FORM}, {JSON} or an image such as image/jpeg, not another Content-Type.")
    content = await request.body()
    if not content:
        raise unreadable("The body is empty: send an image.")
    return Inputs("image", [content], alone=True)


def media_type(request: Request) -> str:
    """Return the type of the body, without parameters and in lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


# -- forms ------------------------------------------------------------------------------------------------------------


@dataclass
class Form:
    """What a form holds so far, each file in memory."""

    limits: RequestLimits
    images: list[bytes] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)

    def on_file(self, file: Any) -> None:
        """Keep a file's content; its name is nobody's business."""
        if file.field_name != b"images":
            raise unreadable("The form has a file in a field that is not called images: put all files there.")
        if len(self.images) >= self.limits.max_inputs:
            raise too_many(self.limits)
        if not file.size:
            raise unreadable("The form has an empty file: leave it out.")
        self.images.append(file.file_object.getvalue())

    def on_field(self, found: Any) -> None:
        """Keep a field's value."""
        if found.field_name != b"class":
            raise unreadable("The form has a field that is not called class: leave it out, and put files into images.")
        if self.class_names:
            raise unreadable("The form names its class twice: name it once.")
        self.class_names.append(utf8(found.value or b"", "The field class"))


async def read_form(request: Request, limits: RequestLimits) -> Inputs:
    """Return the images of a form, and the class if it names one.

    Raises:
        RefusedError: it cannot be read, or holds something else.
    """
    # The package's own way to read the header fails on some.
    message = Message()
    message["content-type"] = request.headers["content-type"]
    boundary = message.get_boundary()
    if not boundary:
        raise unreadable("The form's Content-Type has no boundary: let the client library set it.")
    form = Form(limits)
    config = {
        "MAX_MEMORY_FILE_SIZE": limits.max_body + 1,  # nothing is written to disk
        "MAX_BODY_SIZE": float("inf"),  # the guard counts
        "MAX_FIELD_SIZE": LONGEST_FIELD,
        "MAX_FIELDS": limits.max_inputs + 2,
        "UPLOAD_ERROR_ON_BAD_CTE": True,
    }
    try:
        parser = python_multipart.FormParser(
            FORM, form.on_field, form.on_file, boundary=boundary.encode("latin-1", "replace"), config=config
        )
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise unreadable("The form cannot be read: it is damaged, or a field in it is too long.") from error
    if not form.images:
        raise unreadable("The form has no files in images: send at least one.")
    return Inputs("image", form.images, class_name=form.class_names[0] if form.class_names else None)


def utf8(content: bytes, what: str) -> str:
    """Return ``content`` as text.

    Raises:
        RefusedError: it is not UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise unreadable(f"{what} is not UTF-8.") from None


# -- JSON -------------------------------------------------------------------------------------------------------------


async def read_json(request: Request, most: int | None = None) -> dict[str, Any]:
    """Return the JSON object in the body of ``request``, of ``most`` bytes.

    Raises:
        RefusedError: it is another type, none, or nested too deeply.
    """
    if media_type(request) != JSON:
        raise RefusedError(415, f"Send {JSON}, not another Content-Type.")
    content = await request.body()
    if most is not None and len(content) > most:
        raise RefusedError(413, f"The request is larger than {most} bytes: send less.")
    try:
        found = pydantic_core.from_json(content, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        raise unreadable("The body is not JSON, or is nested too deeply.") from None
    if not isinstance(found, dict):
        raise unreadable("The body must be a JSON object, in braces.")
    return found


def inputs_in(content: Mapping[str, Any], limits: RequestLimits) -> Inputs:
    """Return the inputs that a JSON object holds.

    Raises:
        RefusedError: it holds none, several kinds, more than it may, or something else.
    """
    if unknown := set(content) - set(KINDS) - {"class"}:
        shown = ascii(min(unknown))[:40]
        raise unreadable(f"There is no key {shown}: send texts, vectors or images, and class to teach.")
    kinds = [key for key in KINDS if key in content]
    if len(kinds) != 1:
        raise unreadable("Send one of the keys texts, vectors and images, with a list.")
    entries, class_name = content[kinds[0]], content.get("class")
    if not isinstance(class_name, str | None):
        raise unreadable("The class must be a text.")
    if not isinstance(entries, list) or not entries:
        raise unreadable(f"{kinds[0]} must be a list of at least one entry.")
    if len(entries) > limits.max_inputs:
        raise too_many(limits)
    return Inputs(KINDS[kinds[0]], READ[kinds[0]](entries), class_name=class_name)


def too_many(limits: RequestLimits) -> RefusedError:
    """Return the refusal of a request with too many inputs."""
    return RefusedError(413, f"The request has more than {limits.max_inputs} inputs: send fewer at once.")


def texts_in(entries: Sequence[Any]) -> list[str]:
    """Return texts that are texts; raises `RefusedError`."""
    if not all(isinstance(entry, str) for entry in entries):
        raise unreadable("texts must be a list of texts.")
    return list(entries)


def images_in(entries: Sequence[Any]) -> list[bytes]:
    """Return images from base64 (RFC 4648, section 4); raises `RefusedError`."""
    try:
        images = [base64.b64decode(entry, validate=True) for entry in entries]
    except (binascii.Error, TypeError, ValueError):
        raise unreadable("images must be a list of image files in base64.") from None
    if not all(images):
        raise unreadable("An image is empty: leave it out.")
    return images


def vectors_in(entries: Sequence[Any]) -> npt.NDArray[np.float32]:
    """Return vectors of one length, float32 [N, D]; raises `RefusedError`."""
    if not all(isinstance(entry, list) and entry for entry in entries):
        raise unreadable("vectors must be a list of lists of numbers.")
    length = len(entries[0])
    if any(len(entry) != length for entry in entries):
        raise unreadable("All vectors of a request must have the same length.")
    if length > LONGEST_VECTOR:
        raise RefusedError(413, f"A vector has more than {LONGEST_VECTOR} values: send shorter ones.")
    if not all({type(value) for value in entry} <= {int, float} for entry in entries):
        raise unreadable("vectors must hold numbers alone.")
    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(entries, np.float64).astype(np.float32)
    except (OverflowError, ValueError):
        raise unreadable("A vector has a number that is too large.") from None
    if not np.isfinite(vectors).all():
        raise unreadable("A vector has a number that is too large.")
    return vectors


READ: dict[str, Callable[[Sequence[Any]], Examples]] = {"texts": texts_in, "vectors": vectors_in, "images": images_in}
"""How the list under each key is read."""
