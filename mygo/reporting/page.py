"""A page that holds all that it shows and asks for nothing else, made of the templates beside this file."""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

DOTS_PER_PIXEL = 2
"""Pictures are shown at half their size, so that they are sharp on fine screens and on paper."""


@dataclass(frozen=True)
class Table:
    """A table that scrolls sideways where the screen is small."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    """Each row's first cell is its heading."""
    look: str = ""
    """A class of style.css: ``wide``, or ``words`` for a table of texts."""


@dataclass(frozen=True)
class Picture:
    """An image that the page itself holds."""

    png: bytes
    alt: str
    """What is to be seen."""
    caption: str = ""

    @property
    def source(self) -> str:
        """Its content, as a URL."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels of the page."""
        width, height = struct.unpack(">II", self.png[16:24])  # PNG's header
        return width // DOTS_PER_PIXEL, height // DOTS_PER_PIXEL


def render(template: str, **values: object) -> str:
    """Return the ``template``, one of those in ``templates/``, with ``values``, whose text is escaped."""
    return _environment().get_template(template).render(values)


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("mygo.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
