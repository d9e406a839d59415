"""A person's use of the page with a mouse, from a new life to forgetting."""

from collections.abc import Callable
from pathlib import Path

from tests.page.devtools import Tab
from tests.page.fake_service import FakeService

VERDICTS = "[...document.querySelectorAll('#answers .verdict strong')].map((each) => each.innerText)"


def make_class(tab: Tab, name: str) -> None:
    tab.fill("combobox", "Name of a class", name)
    tab.click("button", "Make the class")
    tab.find("heading", name)


def waiting(tab: Tab, name: str, count: str) -> None:
    """Wait until the card of a class says that so much of it waits."""
    card = f"card.querySelector('h3').innerText === '{name}' && card.innerText.includes('{count} waiting')"
    tab.until(f"[...document.querySelectorAll('.card')].some((card) => {card})")


def sleep(tab: Tab, version: int) -> None:
    tab.click("button", "Sleep")
    tab.sees(f"Version {version} answers now.", "#works")
    tab.sees(f"Version {version}", "#summary")


def test_a_person_teaches_two_classes_then_a_third_and_forgets_one(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    tab = open_page()
    tab.sees("A new life, which knows nothing yet")
    for name in ("wasp", "bee"):
        make_class(tab, name)
        tab.choose(photos(name), lambda name=name: tab.click("button", f"Choose photos of {name}"))  # type: ignore[misc]
        waiting(tab, name, "3 photos")
        assert tab.text("#announcer") == f"3 photos of {name} wait to be learned."
    assert service.get_inbox()["classes"] == {"wasp": 3, "bee": 3}
    tab.sees("It learns the 6 examples of wasp and bee, and then deletes them.")
    sleep(tab, 1)
    assert service.items == []
    for path in photos("wasp") + photos("bee"):
        path.unlink()

    make_class(tab, "moth")
    tab.drop(".card", photos("moth"))
    waiting(tab, "moth", "3 photos")
    sleep(tab, 2)
    assert [each["examples"] for each in service.known.values()] == [3, 3, 3]

    tab.drop("#ask-zone", [photos(name, 1)[0] for name in ("wasp", "bee", "moth", "sky")])
    tab.sees("it looks like none of the classes", "#answers")
    assert tab.evaluate(VERDICTS) == ["wasp", "bee", "moth", "unknown"]
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
    tab.sees("Version 3 · 2 classes", "#summary")
    assert "bee" not in tab.text("#known")
    tab.until("!document.querySelector('#map').innerText.includes('bee')")
    tab.click("button", "Ask again")
    tab.until("document.querySelector('#answers').innerText.split('version 3').length === 5")
    assert "bee" not in tab.text("#answers")


def test_texts_are_taught_and_asked_line_by_line(service: FakeService, open_page: Callable[[], Tab]) -> None:
    tab = open_page()
    tab.click("radio", "Texts")
    for name, lines, count in (("first", "aaaa\n\naaab", "2 texts"), ("second", "bbbb\nbbba\nbbbb", "3 texts")):
        make_class(tab, name)
        tab.fill("textbox", f"Texts of {name}, one on each line", lines)
        tab.click("button", f"Add to {name}")
        waiting(tab, name, count)
    assert service.get_inbox()["classes"] == {"first": 2, "second": 3}
    tab.until("document.querySelector('#kind').hidden")
    sleep(tab, 1)
    tab.fill("textbox", "Texts, one on each line", "abaa\nbb\n")
    tab.click("button", "Ask")
    tab.sees("version 1", "#answers")
    assert tab.evaluate(VERDICTS) == ["first", "second"]
    assert tab.evaluate("document.querySelector('#ask-photos').hidden")


def test_what_waits_is_taken_out_again(service: FakeService, open_page: Callable[[], Tab]) -> None:
    for name, count in (("wasp", 2), ("wasp", 1), ("bee", 5)):
        service.wait(name, count)
    tab = open_page()
    tab.sees("8 examples of wasp and bee", "#sleep-hint")
    tab.click("DisclosureTriangle", "What waits of this class") if False else tab.evaluate(
        "document.querySelectorAll('#cards details').forEach((each) => { each.open = true; })"
    )
    tab.until("document.querySelectorAll('#cards .items li').length === 3")
    when = tab.text("#cards .items span").split(", ", 1)[1].split(" (")[0]
    tab.click("button", f"Remove 1 photo, {when} of wasp")
    tab.sees("7 examples of wasp and bee", "#sleep-hint")
    assert tab.evaluate("document.activeElement.id") == "teach-title", "focus does not get lost with the button"
    tab.click("button", "Remove bee and what waits of it")
    tab.sees("2 examples of wasp,", "#sleep-hint")
    assert service.get_inbox()["classes"] == {"wasp": 2}


def test_a_version_is_rolled_back_to(service: FakeService, open_page: Callable[[], Tab]) -> None:
    for name in ("wasp", "bee", "moth"):
        service.learn(name, (0, 0, 0))
    tab = open_page()
    tab.sees("moth", "#known")
    tab.click("button", "Roll back to version 2")
    tab.until("!document.querySelector('#known').innerText.includes('moth')")
    assert list(service.known) == ["wasp", "bee"]
    tab.sees("Version 4 · 2 classes", "#summary")
    assert tab.text("#announcer") == "Version 4 answers now: it is version 2 again."


def test_a_lesson_that_fails_says_why(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.wait("wasp")
    service.wait("bee")
    service.lesson_fails = "The disk is full: make room."
    tab = open_page()
    tab.click("button", "Sleep")
    tab.sees("wasp and bee could not be learned", "#works")
    tab.sees("The disk is full: make room.", "#works")
    assert len(service.items) == 2
    tab.click("button", "Dismiss: wasp and bee could not be learned")
    tab.until("document.querySelector('#work').hidden")


def test_a_lesson_that_already_runs_is_followed(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.wait("wasp")
    service.wait("bee")
    service.sleep()
    tab = open_page()
    tab.sees("Learning wasp and bee", "#works")
    tab.sees("Version 1 answers now.", "#works")
    tab.sees("wasp", "#known")
