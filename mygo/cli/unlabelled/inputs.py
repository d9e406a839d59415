"""What a life sees of inputs that a command names, together with the inputs themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mygo.cli.commands.predict import report_unreadable, seen_through_encoder
from mygo.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from mygo.data.readers.reader import Item, Kind, Reader
    from mygo.jobs.life import Life


@dataclass(frozen=True)
class Looked:
    """N inputs that can be read."""

    names: tuple[str, ...]
    """What each is called, of an image its file."""
    seen: "Tensor"
    """As the life sees them: images uint8 [N, C, H, W], or vectors float32 [N, D]."""
    reader: "Reader"
    indices: tuple[int, ...]
    """Where the reader has each."""

    @property
    def kind(self) -> "Kind":
        """What they are."""
        return self.reader.kind

    def item(self, row: int) -> "Item":
        """Return an input as it is: a picture, a text or a vector."""
        return self.reader.read(self.indices[row])[0]

    def file(self, row: int) -> Path:
        """Return the file of an image."""
        return file_of(self.reader, self.indices[row])

    def source(self, row: int) -> str:
        """Return what tells an input from others for good: a text itself, the path of an image, or its name."""
        if self.kind == "text":
            return str(self.item(row))
        return str(self.file(row).resolve()) if self.kind == "image" else self.names[row]


def look_at(life: "Life", inputs: Sequence[str], weights: Path | None) -> Looked:
    """Return what ``life`` sees of ``inputs``; stderr says what cannot be read.

    Raises:
        InputError: there is no input that can be read, or the encoder of ``life`` cannot be had.
    """
    import torch

    from mygo.data.readers.inputs import inputs_of
    from mygo.data.sources import read_pictures
    from mygo.jobs.perception import encoder_of

    names: list[str] = []
    if life.on_features:
        encoder = encoder_of(life, weights)
        reader, _ = inputs_of(inputs, "vector" if encoder is None else encoder.input_kind)
        parts = []
        for some, vectors in seen_through_encoder(life, inputs, weights):
            names += some
            parts.append(vectors)
        seen = torch.cat(parts)
        if seen.shape[1:] != life.input_shape:
            raise InputError(f"This life sees vectors of {life.input_shape[0]} values, not {seen.shape[1]}.")
    else:
        pictures = read_pictures([Path(each) for each in inputs], life.image_shape)
        report_unreadable(pictures.unreadable, pictures.notes)
        reader, _ = inputs_of(inputs, "image")
        names, seen = list(pictures.files), pictures.images
    place = {reader.where(index): index for index in reversed(range(len(reader)))}
    return Looked(tuple(names), seen, reader, tuple(place[name] for name in names))


def file_of(reader: "Reader", index: int) -> Path:
    """Return the file of the image that ``reader`` has at ``index``."""
    from mygo.data.folders import Folder
    from mygo.data.readers.inputs import Joined
    from mygo.data.readers.tables import Table

    if isinstance(reader, Joined):
        return file_of(*reader.found(index))
    if isinstance(reader, Folder):
        return reader.files[index][0]
    if isinstance(reader, Table):
        return reader.file.parent / reader.items[index]
    raise InputError(f"{reader.where(index)} is no file: name image files, folders or tables.")
