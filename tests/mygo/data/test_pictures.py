"""Photos as people have them."""

import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mygo.data.images import Size, as_picture, as_pixels, fitted, is_stretched, open_picture, size_of, usual_size
from mygo.data.sources import Source, read_pictures, read_source

# -- orientation ------------------------------------------------------------------------------------------------------


def exif_of(*entries: bytes) -> bytes:
    """Return an EXIF block with these entries of its first directory."""
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"


ORIENTATION_6 = struct.pack("<HHIi", 0x0112, 3, 1, 6)  # to be turned a quarter clockwise
ODD = {
    "a negative width": struct.pack("<HHIi", 0x0100, 8, 1, -5),
    "text that lies outside": struct.pack("<HHII", 0x010F, 2, 400, 100_000),
    "a type that does not exist": struct.pack("<HHII", 0x0110, 99, 1, 7),
    "a directory that lies outside": struct.pack("<HHII", 0x8769, 4, 1, 900_000),
    "a fraction by zero": struct.pack("<HHII", 0x011A, 5, 1, 8),
}


def photograph() -> Image.Image:
    """Return a photo 16 across and 12 down that is red on the left and blue on the right."""
    picture = Image.new("RGB", (16, 12), "blue")
    picture.paste("red", (0, 0, 8, 12))
    return picture


def is_upright(picture: Image.Image) -> bool:
    red, blue = (picture.convert("RGB").getpixel((5, row)) for row in (1, 14))
    return picture.size == (12, 16) and red[0] > 200 > 50 > red[2] and blue[2] > 200 > 50 > blue[0]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_odd_exif_does_no_harm_and_the_orientation_counts(tmp_path: Path, odd: str, suffix: str) -> None:
    path = tmp_path / f"photo{suffix}"
    photograph().save(path, exif=exif_of(ODD[odd], ORIENTATION_6), quality=95)
    assert is_upright(open_picture(path))
    assert size_of(path) == (16, 12)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0rubbish that is no TIFF", exif_of(ORIENTATION_6)[:20]]
)
def test_a_broken_exif_block_counts_as_none(tmp_path: Path, exif: bytes) -> None:
    photograph().save(tmp_path / "photo.jpg", exif=exif)
    assert open_picture(tmp_path / "photo.jpg").size == (16, 12)
    assert size_of(tmp_path / "photo.jpg") == (12, 16)


def test_a_tiff_is_turned_once(tmp_path: Path) -> None:
    photograph().save(tmp_path / "scan.tif", tiffinfo={0x0112: 6})
    assert is_upright(open_picture(tmp_path / "scan.tif"))
    assert size_of(tmp_path / "scan.tif") == (16, 12)


def test_a_picture_as_it_was_opened_is_turned_as_its_file_is(tmp_path: Path) -> None:
    photograph().save(tmp_path / "photo.png", exif=exif_of(ORIENTATION_6))
    with Image.open(tmp_path / "photo.png") as picture:
        assert is_upright(as_picture(picture))


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_one_odd_size_changes_nothing() -> None:
    photos = Counter({(3 * side, 4 * side): 1 for side in range(100, 130)})
    assert usual_size(photos) == (24, 32)
    for odd in ((2000, 300), (1, 9000), (32, 8), (5000, 5000)):
        assert usual_size(photos + Counter({odd: 1})) == (24, 32)


@pytest.mark.parametrize(
    ("sizes", "learned"),
    [
        ({(28, 28): 6, (100, 100): 5}, (28, 28)),  # most have one size
        ({(300, 400): 3, (301, 400): 3, (400, 300): 5}, (24, 32)),  # most lie on their side
        ({(300, 400): 2, (400, 300): 3, (401, 300): 3}, (32, 24)),  # most stand
        ({(8, 8): 2, (20, 20): 2, (21, 21): 2, (24, 24): 2}, (20, 20)),  # the median side, not the smallest
        ({(8, 8): 4, (400, 401): 3, (402, 403): 3}, (32, 32)),  # photos, and some icons of one size
        ({}, (32, 32)),
    ],
)
def test_a_new_lifes_size_is_decided_by_most_images(sizes: dict[Size, int], learned: Size) -> None:
    assert usual_size(Counter(sizes)) == learned


SIDES = st.integers(1, 5000)


@given(st.dictionaries(st.tuples(SIDES, SIDES), st.integers(1, 9), min_size=1, max_size=12))
def test_no_other_proportions_are_kept_by_more_images(sizes: dict[Size, int]) -> None:
    counted = Counter(sizes)
    learned = usual_size(counted)
    assert fitted(learned) == learned

    def kept(shape: Size) -> int:
        return sum(count for size, count in counted.items() if not is_stretched(size, shape))

    if max(sizes.values()) * 2 <= counted.total():
        longer = max(learned)
        assert all(kept(learned) >= kept(fitted(size)) for size in sizes if max(fitted(size)) == longer)


# -- depth, transparency, frames --------------------------------------------------------------------------------------


def folder_of(path: Path, *pictures: Image.Image, suffix: str = ".png") -> Path:
    """Save ``pictures``, and as many plain ones as a class takes."""
    (path / "class").mkdir(parents=True)
    plain = [Image.new("L", (8, 8), grey) for grey in range(100, 110)]
    for number, picture in enumerate((*pictures, *plain)):
        picture.save(path / "class" / f"{number:02}{suffix if number < len(pictures) else '.png'}")
    return path


def deep(values: range) -> Image.Image:
    levels = np.linspace(values.start, values.stop - 1, 64).reshape(8, 8)
    return Image.fromarray(levels.astype(np.uint16))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_with_a_small_range_are_spoken_of(tmp_path: Path, suffix: str) -> None:
    path = folder_of(tmp_path, deep(range(256)), deep(range(4096)), deep(range(65536)), suffix=suffix)
    (note,) = read_source(path, None).notes
    assert note.startswith("2 of 13 images have 16 bits but use 12 or fewer")
    assert note in read_pictures([path], (1, 8, 8)).notes


def test_16_bits_of_each_image_are_on_one_scale() -> None:
    assert [as_pixels(deep(range(top)), (8, 8)).max() for top in (256, 4096, 65536)] == [1, 16, 255]
    big_endian = Image.frombytes("I;16B", (4, 4), struct.pack(">16H", *[257 * 9] * 16))
    assert as_pixels(big_endian, (8, 8))[:, 0, 0].tolist() == [9]


def test_colours_of_16_bits_with_a_small_range_are_spoken_of(tmp_path: Path) -> None:
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + struct.pack(">24H", *range(24)) for _ in range(8))
    folder_of(tmp_path)
    (tmp_path / "class" / "deep.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    (note,) = read_source(tmp_path, None).notes
    assert note.startswith("1 of 11 images have 16 bits")


def drawing(colour: tuple[int, int, int], hidden: tuple[int, int, int] = (0, 0, 0)) -> Image.Image:
    """Return a square of one colour on a transparent ground under which there is a ``hidden`` colour."""
    picture = Image.new("RGBA", (16, 16), (*hidden, 0))
    picture.paste((*colour, 255), (4, 4, 12, 12))
    return picture


@pytest.mark.parametrize(
    ("colour", "ground"),
    [((0, 0, 0), 255), ((255, 255, 255), 0), ((128, 128, 128), 255), ((230, 230, 230), 0), ((200, 40, 30), 255)],
)
@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255), (9, 99, 199)])
def test_what_is_drawn_on_a_transparent_ground_stays_visible(
    colour: tuple[int, int, int], hidden: tuple[int, int, int], ground: int
) -> None:
    pixels = as_pixels(drawing(colour, hidden), (16, 16))
    assert pixels[:, 8, 8].tolist() == list(colour)[: len(pixels)]
    assert set(pixels[:, 0, 0].tolist()) == {ground}
    assert abs(int(pixels[0, 8, 8]) - ground) > 50


@pytest.mark.parametrize("mode", ["P", "LA", "PA", "L", "RGB"])
def test_transparency_of_any_mode_is_laid_on_a_ground(mode: str) -> None:
    if mode == "P":
        picture = drawing((0, 0, 0)).convert("P")
        picture.info["transparency"] = 255
        picture.paste(255, (0, 0, 16, 4))
    elif mode in ("L", "RGB"):
        picture = Image.new(mode, (16, 16), 7 if mode == "L" else (7, 7, 7))
        picture.paste(0, (4, 4, 12, 12))
        picture.info["transparency"] = 7 if mode == "L" else (7, 7, 7)
    else:
        picture = drawing((0, 0, 0)).convert(mode)
    assert as_pixels(picture, (16, 16))[0, 0, 0] == 255
    assert as_pixels(picture, (16, 16))[0, 8, 8] == 0


def test_transparency_is_spoken_of_where_there_is_some(tmp_path: Path) -> None:
    opaque, invisible = (Image.new("RGBA", (8, 8), (3, 3, 3, alpha)) for alpha in (255, 0))
    assert as_pixels(opaque, (8, 8)).max() == as_pixels(invisible, (8, 8)).max() == 3
    assert read_source(folder_of(tmp_path / "same", opaque, invisible), None).notes == ()
    small = drawing((0, 0, 0)).resize((8, 8))
    (note,) = read_source(folder_of(tmp_path / "drawn", small, opaque), None).notes
    assert note.startswith("1 of 12 images are transparent in parts: they were laid on white")


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".webp", ".apng"])
def test_the_first_of_several_frames_is_taken_and_that_is_said(tmp_path: Path, suffix: str) -> None:
    folder_of(tmp_path)
    frames = [Image.new("L", (8, 8), grey) for grey in (20, 250)]
    kind = {"format": "PNG"} if suffix == ".apng" else {}
    frames[0].save(tmp_path / "class" / f"two{suffix}", save_all=True, append_images=frames[1:], **kind)
    source = read_source(tmp_path, None)
    assert "1 of 11 images have several frames or pages, of which the first was taken." in source.notes
    assert source.dataset.train.inputs.max() <= 120
    assert source.unreadable == ()


def test_a_palette_with_transparency_is_read_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    folder_of(tmp_path)
    picture.save(tmp_path / "class" / "palette.png", transparency=bytes([0, 128]))
    source: Source = read_source(tmp_path, None)
    assert source.unreadable == ()
    assert not [str(warning.message) for warning in recwarn if "Palette" in str(warning.message)]
