"""What may wait to be learned, and how."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mygo.errors import FullError, InputError, StorageError
from mygo.service.config import LONGEST_NAME, ExampleLimits, InboxLimits
from mygo.service.inbox import Inbox
from tests.mygo.service.lives import Faults, picture, vectors


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path / "inbox", InboxLimits(max_examples=20, max_bytes=5000), ExampleLimits(max_pixels=400))


def files_in(inbox: Inbox) -> list[str]:
    return sorted(str(path.relative_to(inbox.folder)) for path in inbox.folder.rglob("*") if path.is_file())


def test_images_and_texts_are_kept_as_they_came(inbox: Inbox, tmp_path: Path) -> None:
    files = [picture(90), picture((200, 10, 30), kind="JPEG")]
    item = inbox.add(" wa\u0308sp ", "image", files)
    assert (item.class_name, item.kind, item.count, item.num_bytes) == ("wäsp", "image", 2, sum(map(len, files)))
    assert [path.read_bytes() for path in inbox.files_of(item)] == files
    assert files_in(inbox) == [f"{item.id}/{name}" for name in ("example-0000.bin", "example-0001.bin", "item.json")]
    again = Inbox(inbox.folder, inbox.limits)
    assert again.items() == [item]
    assert again.items()[0].as_json == {
        "id": item.id,
        "class": "wäsp",
        "kind": "image",
        "count": 2,
        "bytes": item.num_bytes,
        "when": item.when,
    }
    texts = Inbox(tmp_path / "texts")
    lines = ["one\r\ntwo", "  \u2028x", "é"]
    kept = texts.add("a", "text", lines)
    assert [path.read_bytes().decode() for path in texts.files_of(kept)] == lines


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "from 1 to 100 characters, not 0"),
        (" \t ", "not 0"),
        ("x" * (LONGEST_NAME + 1), "not 101"),
        ("a\nb", "no control characters: 'a\\\\nb' has"),
        ("a\x00b", "no control characters"),
        ("a\u2028b", "no control characters"),
        ("a\ud800", "no control characters"),
        (7, "must be text, not 7"),
    ],
)
def test_what_cannot_be_the_name_of_a_class_is_refused(inbox: Inbox, name: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        inbox.add(name, "image", [picture(90)])
    assert files_in(inbox) == []


def test_a_name_never_becomes_a_part_of_a_path(inbox: Inbox) -> None:
    for name in ("../../etc", "/etc/passwd", "C:\\con", "item.json", "a" * LONGEST_NAME):
        item = inbox.add(name, "image", [picture(90)])
        assert item.class_name == name
        assert int(item.id, 16)
    assert {path.name for path in inbox.folder.parent.iterdir()} == {"inbox"}


@pytest.mark.parametrize(
    ("kind", "examples", "complaint"),
    [
        ("image", [], "There are no examples: send some images"),
        (
            "image",
            [picture(90), b"junk"],
            r"Image 2 cannot be seen \(not a picture of a format that is known\): convert",
        ),
        ("image", [picture(90)[:-40]], "Image 1 cannot be seen"),
        ("image", [picture(90, side=21)], r"441 pixels, more than 400"),
        ("image", ["text"], "of type str, which no image is"),
        ("text", ["ok", " \n"], r"Text 2 cannot be seen \(ValueError: it is empty\)"),
        ("text", [b"ok"], "of type bytes, which no text is"),
        ("text", ["\ud800"], "Text 1 cannot be seen"),
        ("vector", np.zeros((2, 3), np.float32), "Vector 1 cannot be seen .* zero"),
        ("vector", [[1.0, np.inf]], "not finite"),
        ("vector", [[1.0, 2.0], [1.0]], "vectors of 1 and of 2 values"),
        ("video", [b"x"], "no kind 'video'"),
    ],
)
def test_examples_that_cannot_be_read_are_refused_and_nothing_is_kept(
    inbox: Inbox, kind: Any, examples: Any, complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint) as told:
        inbox.add("a", kind, examples)
    assert str(told.value).endswith(".")
    assert files_in(inbox) == []


def test_images_that_are_too_large_together_are_refused(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox", InboxLimits(), ExampleLimits(max_pixels_together=1000))
    inbox.add("a", "image", [picture(90, side=20)] * 2)
    with pytest.raises(InputError, match="1,200 pixels together, more than 1,000: send fewer at once"):
        inbox.add("a", "image", [picture(90, side=20)] * 3)


def test_a_full_inbox_takes_nothing_more(inbox: Inbox) -> None:
    inbox.add("a", "vector", vectors("a", 15))
    with pytest.raises(FullError, match="holds 15 of at most 20 examples, and 6 more are too many"):
        inbox.add("a", "vector", vectors("a", 6))
    inbox.add("a", "vector", vectors("a", 5))
    small = Inbox(inbox.folder, replace(inbox.limits, max_examples=100, max_bytes=inbox.num_bytes + 100))
    with pytest.raises(FullError, match="bytes"):
        small.add("a", "vector", vectors("a", 1))
    assert small.clear() == 2
    assert files_in(inbox) == []
    small.add("a", "vector", vectors("a", 1))


def test_one_inbox_has_one_kind_of_examples(inbox: Inbox) -> None:
    first = inbox.add("a", "vector", vectors("a", 2))
    with pytest.raises(InputError, match="Vectors wait to be learned, and no life sees texts as well: send vectors"):
        inbox.add("b", "text", ["x"])
    with pytest.raises(InputError, match="Vectors of 12 values wait to be learned, not of 3"):
        inbox.add("b", "vector", np.ones((2, 3), np.float32))
    assert inbox.remove(first.id)
    assert not inbox.remove(first.id)
    inbox.add("b", "text", ["x"])
    assert (inbox.remove_class("a"), inbox.remove_class("b")) == (0, 1)


def test_a_disk_that_is_full_is_said_in_one_sentence(inbox: Inbox) -> None:
    told = []
    for step in range(12):
        try:
            with Faults(step, dies=False).striking():
                item = inbox.add("a", "image", [picture(90)])
        except StorageError as error:
            told.append(str(error))
            assert inbox.items() == []
        else:
            assert inbox.remove(item.id)
        assert list(inbox.folder.iterdir()) == []
    assert len(told) > 4
    advice = "cannot be written (No space left on device): nothing of these examples was kept; make room"
    assert all(advice in each for each in told)


def test_an_item_that_is_damaged_is_named(inbox: Inbox) -> None:
    item = inbox.add("a", "image", [picture(90)])
    about = inbox.folder / item.id / "item.json"
    for content in ("{", "{}", about.read_text().replace('"image"', '"../x"')):
        about.write_text(content)
        with pytest.raises(InputError, match=item.id):
            Inbox(inbox.folder)
