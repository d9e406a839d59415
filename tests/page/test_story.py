"""A person's use of the page, from a new life to forgetting, with a mouse."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.page.devtools import Tab
from tests.page.fake_service import FakeService


def make_class(tab: Tab, name: str) -> None:
    tab.fill("combobox", "Name of a class", name)
    tab.click("button", "Make the class")
    tab.find("heading", name)


def sleep(tab: Tab) -> None:
    tab.click("button", "Sleep")
    tab.sees("Learned", "#works")


def test_a_person_teaches_two_classes_then_a_third_and_forgets_one(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    tab = open_page()
    tab.sees("A new life, which knows nothing yet")
    for name in ("wasp", "bee"):
        make_class(tab, name)
        tab.choose(photos(name), lambda name=name: tab.click("button", f"Choose photos of {name}"))
        tab.until(lambda name=name: service.get_inbox()["classes"].get(name) == 3)
    tab.sees("It learns the 6 examples of wasp and bee, and then deletes them.")
    sleep(tab)
    tab.sees("Version 1 answers now.", "#works")
    assert service.items == []
    for path in photos("wasp") + photos("bee"):
        path.unlink()

    make_class(tab, "moth")
    tab.drop(".card", photos("moth"))
    tab.sees("3 photos waiting", "#cards")
    sleep(tab)
    tab.sees("Version 2 answers now.", "#works")
    assert [each["examples"] for each in service.known.values()] == [3, 3, 3]

    tab.drop("#ask-zone", [photos(name, 1)[0] for name in ("wasp", "bee", "moth", "sky")])
    tab.sees("like nothing it has learned", "#answers")
    verdicts = tab.evaluate("[...document.querySelectorAll('#answers .verdict strong')].map((each) => each.innerText)")
    assert verdicts == ["wasp", "bee", "moth", "unknown"]
    assert tab.evaluate("document.querySelectorAll('#answers li > canvas').length") == 4
    assert tab.text("#answers").count("version 2") == 4

    tab.click("button", "Forget bee")
    tab.find("dialog", "Forget bee?")
    tab.click("button", "Keep it")
    assert service.count("POST", "/forget") == 0
    tab.click("button", "Forget bee")
    tab.click("button", "Forget it")
    tab.sees("Forgot bee", "#works")
    tab.sees("Version 3 answers now. What is below was said by an earlier one.", "#ask")
    assert "bee" not in tab.text("#known")
    assert "bee" not in tab.text("#map")
    tab.click("button", "Ask again")
    tab.until("document.querySelector('#answers').innerText.split('version 3').length === 5")
    assert "bee" not in tab.text("#answers")
