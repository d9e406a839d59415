"""The inputs of ``predict --url``: in which requests they go to a life in service, and what comes back."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mygo.cli.remote import Input, RemoteLife, RemotePrediction, TooLargeError
from mygo.errors import InputError

if TYPE_CHECKING:
    from mygo.data.readers.reader import Kind, Reader

MOST_INPUTS, MOST_BYTES = 64, 16 * 2**20
"""Inputs and bytes of a request: a fraction of what a service takes by default."""


def batches_of(reader: "Reader", kind: "Kind", unreadable: list[str]) -> "Iterator[tuple[list[str], list[Input]]]":
    """Yield names and contents of what is in ``reader``, as much as fits into a request at a time.

    What cannot be read is added to ``unreadable``.
    """
    from mygo.data.images import reason
    from mygo.data.readers.inputs import image_file

    names: list[str] = []
    inputs: list[Input] = []
    size = 0
    for index in range(len(reader)):
        try:
            content = file_content(image_file(reader, index)) if kind == "image" else sendable(reader.read(index)[0])
        except (OSError, ValueError) as error:
            unreadable.append(f"{reader.where(index)}: {reason(error)}")
            continue
        length = len(content) if isinstance(content, bytes) else len(json.dumps(content))
        if names and (len(names) == MOST_INPUTS or size + length > MOST_BYTES):
            yield names, inputs
            names, inputs, size = [], [], 0
        names.append(reader.where(index))
        inputs.append(content)
        size += length
    if names:
        yield names, inputs


def file_content(path: Path) -> bytes:
    """Return what is in a file that is not empty."""
    content = path.read_bytes()
    if not content:
        raise ValueError("the file is empty")
    return content


def sendable(item: Any) -> Input:
    """Return a text, or the vector that ``item`` is, as JSON can hold it."""
    if isinstance(item, str):
        item.encode()  # half of a character, which a broken locale makes of an argument, is a ValueError
        return item
    return cast("list[float]", item.tolist())


def predictions_of(
    life: RemoteLife, given: Sequence[str], unreadable: list[str], notes: list[str], *, top: int
) -> Iterator[tuple[str, RemotePrediction]]:
    """Yield the names of the ``given`` inputs and what ``life`` says of them.

    What cannot be read, here or there, is added to ``unreadable``, and sentences on what was left out to ``notes``.

    Raises:
        InputError: something is not there, or the service cannot be asked or refuses.
    """
    from mygo.data.readers.inputs import inputs_of

    kind = life.kind()
    reader, left_out = inputs_of(given, kind)
    notes += left_out
    versions: set[int] = set()
    for names, inputs in batches_of(reader, kind, unreadable):
        for name, prediction in zip(names, in_parts(life, kind, names, inputs, top), strict=True):
            versions.add(prediction.version)
            if prediction.error is None:
                yield name, prediction
            else:
                unreadable.append(f"{name}: {prediction.error}")
    if len(versions) > 1:
        notes.append(f"The life learned in between: its versions {min(versions)} to {max(versions)} answered.")


def in_parts(
    life: RemoteLife, kind: "Kind", names: Sequence[str], inputs: Sequence[Input], top: int
) -> list[RemotePrediction]:
    """Return the prediction for each of ``inputs``, which are sent by halves if they are too much at once.

    Raises:
        InputError: as `RemoteLife.predict`; one input alone is too large.
    """
    try:
        return life.predict(kind, inputs, top=top)
    except TooLargeError as error:
        if len(inputs) == 1:
            raise InputError(f"{names[0]}: {error}") from error
    half = len(inputs) // 2
    return in_parts(life, kind, names[:half], inputs[:half], top) + in_parts(
        life, kind, names[half:], inputs[half:], top
    )
