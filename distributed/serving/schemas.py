"""The forms of answers and bodies, as the service's OpenAPI description has them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from distributed.serving.bodies import FORM, IMAGE_TYPES, JSON, LONGEST_VECTOR
from distributed.serving.settings import RequestLimits
from mygo.service.config import LONGEST_NAME

KindName = Literal["image", "text", "vector"]


class Form(BaseModel):
    """What all have in common: JSON's ``class`` and ``bytes`` are other names in Python."""

    model_config = ConfigDict(populate_by_name=True)


class Problem(Form):
    """What went wrong."""

    detail: str = Field(description="One sentence that says what to do.")


class Prediction(Form):
    """What the life says of one input."""

    class_name: str | None = Field(alias="class", description="The most probable class; null if unknown, or an error.")
    confidence: float = Field(ge=0, le=1.0001, description="Its probability; 0 with an error.")
    probabilities: dict[str, float] = Field(description="Of the most probable classes, highest first.")
    unknown: bool = Field(description="Whether it looks like nothing that is known, or no class is probable enough.")
    out_of_distribution: float | None = Field(
        description="How little it looks like anything known: a score without unit; null where the life has none."
    )
    error: str | None = Field(description="Why the input cannot be seen, in one sentence.")


class Predictions(Form):
    """What one version of the life says of all inputs, in their order."""

    version: int
    predictions: list[Prediction]


class Item(Form):
    """Examples of one class in the inbox."""

    id: str = Field(pattern="^[0-9a-f]{32}$")
    class_name: str = Field(alias="class")
    kind: KindName
    count: int
    num_bytes: int = Field(alias="bytes")
    when: str


class Inbox(Form):
    """What waits to be learned."""

    items: list[Item]
    examples: int
    num_bytes: int = Field(alias="bytes")
    classes: dict[str, int]


class Deleted(Form):
    """How many inbox items were deleted."""

    deleted: int


class Work(Form):
    """A lesson, or a class to forget."""

    id: str = Field(pattern="^[0-9a-f]{32}$")
    what: Literal["lesson", "forget"]
    state: Literal["waiting", "running", "done", "failed"]
    classes: list[str]
    examples: int
    phase: str
    progress: float
    error: str | None
    version: int | None
    asked: str | None
    began: str | None
    ended: str | None


class Lessons(Form):
    """All work, newest first."""

    lessons: list[Work]


class RolledBack(Form):
    """The version that the life has now, and the one whose state that is."""

    version: int
    was: int


class LearnedClass(Form):
    """A class that the life knows, and what is kept of it."""

    name: str
    lesson: str
    examples: int | None
    memory_bytes: int | None
    recall: float | None
    learned: str | None


class KeptVersion(Form):
    """A version that one can roll back to, or the current one."""

    number: int
    made: str
    why: Literal["lesson", "forget", "rollback", "found"]
    current: bool


class Waiting(Form):
    """How much waits to be learned."""

    examples: int
    classes: dict[str, int]


class Drift(Form):
    """What a test says of inputs that were answered one after the other: do they look like what was learned?"""

    version: int
    inputs: int
    drifted: bool
    p_value: float = Field(description="The chance of inputs at least as strange if nothing has changed.")
    alpha: float = Field(description="Of tests of inputs that did not change, this share says that they drifted.")
    changed: list[str] = Field(description="Classes whose inputs have changed, corrected for the number of classes.")
    when: str


class Limits(Form):
    """What one request may hold."""

    body_bytes: int
    inputs: int
    pixels: int = Field(description="Of one image.")
    pixels_together: int = Field(description="Of all images.")


class LifeStatus(Form):
    """The life, as it is now."""

    version: int | None
    kind: KindName | None
    encoder: str | None
    classes: list[LearnedClass]
    memory_bytes: int
    versions: list[KeptVersion]
    inbox: Waiting
    working: Work | None
    sleep_at: str | None
    sleep_after: int | None
    drift: Drift | None
    limits: Limits


class MappedClass(Form):
    """A class on the map of dreams."""

    name: str
    mean: list[float]
    dreams: list[list[float]]


class DreamMap(Form):
    """The classes on the plane that shows most of what sets them apart."""

    classes: list[MappedClass]


class Health(Form):
    """That the service answers."""

    status: Literal["ok"]
    version: int | None


# -- bodies -----------------------------------------------------------------------------------------------------------

CLASS_NAME: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME}


def inputs_body(limits: RequestLimits, *, taught: bool) -> dict[str, Any]:
    """Return OpenAPI's description of a body with inputs, of examples that are ``taught`` or of questions."""
    most = limits.max_inputs
    named = {"class": CLASS_NAME} if taught else {}

    def many(items: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "minItems": 1, "maxItems": most, "items": items}

    def only(key: str, items: dict[str, Any]) -> dict[str, Any]:
        properties = {key: many(items), **named}
        return {"type": "object", "properties": properties, "required": [key], "additionalProperties": False}

    file = {"type": "string", "format": "binary"}
    number = {"type": "number", "minimum": -1e30, "maximum": 1e30}
    inputs = [
        only("texts", {"type": "string"}),
        only("vectors", {"type": "array", "items": number, "minItems": 1, "maxItems": LONGEST_VECTOR}),
        only("images", {"type": "string", "contentEncoding": "base64", "format": "byte", "minLength": 4}),
    ]
    content: dict[str, Any] = {FORM: {"schema": only("images", file)}, JSON: {"schema": {"oneOf": inputs}}}
    content |= {kind: {"schema": file} for kind in IMAGE_TYPES}
    return {"requestBody": {"required": True, "content": content}}


def object_body(**properties: dict[str, Any]) -> dict[str, Any]:
    """Return OpenAPI's description of a JSON object that has all of these ``properties``, and no others."""
    required = [name.rstrip("_") for name in properties]
    schema = {
        "type": "object",
        "properties": {name.rstrip("_"): value for name, value in properties.items()},
        "required": required,
        "additionalProperties": False,
    }
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}


WHY = {
    400: "Something in the address or the headers cannot be read.",
    401: "The token is missing or wrong.",
    403: "A page of another site asked.",
    404: "There is nothing of this name.",
    408: "The request did not arrive in time.",
    409: "The life is not in a state in which this can be done.",
    413: "It is larger than a request may be.",
    415: "The body is of a type that is not taken.",
    421: "The Host header is no name of this server.",
    422: "Something in the request cannot be read, or not be used.",
    429: "There are too many requests; Retry-After says when to come back.",
    503: "A process of the service is starting again, or has too much to do; Retry-After says when to come back.",
    507: "There is no room on the disk.",
}
ALWAYS = (400, 401, 403, 408, 413, 421, 422, 429, 503)
"""What any request can be answered."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return OpenAPI's descriptions of what can go wrong: what always can, and ``statuses``."""
    return {status: {"model": Problem, "description": WHY[status]} for status in sorted({*ALWAYS, *statuses})}
