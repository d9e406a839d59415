"""A contact sheet: pictures side by side, each with its number and a line of text, for a person to look through."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from mygo.data.images import in_8_bits

SIDE = 160
"""Pixels of a thumbnail's longer side."""
CAPTION = 32
"""Pixels below it for two lines of text."""
MARGIN = 4
COLUMNS = 8
TEXT_SIZE = 12
LETTERS = 26
"""Of a line; what is longer is cut."""
ENLARGED = 4
"""By how much small pictures are enlarged at most, by whole numbers, so that their pixels stay sharp."""


@dataclass(frozen=True)
class Cell:
    """A picture and the lines below it."""

    picture: Image.Image
    lines: tuple[str, str]


def contact_sheet(cells: Sequence[Cell]) -> bytes:
    """Return a JPEG file with all ``cells`` in rows, in their order."""
    columns = min(COLUMNS, max(1, len(cells)))
    rows = -(-len(cells) // columns)
    width, height = SIDE + 2 * MARGIN, SIDE + CAPTION + 2 * MARGIN
    sheet = Image.new("RGB", (columns * width, max(1, rows) * height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT_SIZE)
    for place, cell in enumerate(cells):
        left, top = place % columns * width + MARGIN, place // columns * height + MARGIN
        thumbnail = thumbnail_of(cell.picture)
        sheet.paste(thumbnail, (left + (SIDE - thumbnail.width) // 2, top + (SIDE - thumbnail.height) // 2))
        for number, line in enumerate(cell.lines):
            text = line if len(line) <= LETTERS else f"{line[: LETTERS - 1]}…"
            draw.text((left, top + SIDE + number * CAPTION // 2), text, fill="black", font=font)
    content = io.BytesIO()
    sheet.save(content, format="JPEG", quality=85)
    return content.getvalue()


def thumbnail_of(picture: Image.Image) -> Image.Image:
    """Return ``picture`` in RGB, with a longer side of at most `SIDE`."""
    picture = in_8_bits(picture).convert("RGB")
    larger = min(ENLARGED, SIDE // max(picture.size))
    if larger > 1:
        return picture.resize((picture.width * larger, picture.height * larger), Image.Resampling.NEAREST)
    picture.thumbnail((SIDE, SIDE))
    return picture
