"""The same story without a mouse, and what a screen reader is told of it."""

from collections.abc import Callable
from pathlib import Path

from tests.page.devtools import SHIFT, Tab
from tests.page.fake_service import FakeService
from tests.page.test_story import waiting

RECORD = """
  window.said = [];
  new MutationObserver(() => said.push(document.querySelector("#announcer").textContent))
    .observe(document.querySelector("#announcer"), { childList: true });
"""
MOST_STOPS = 60


def tab_to(tab: Tab, role: str, name: str, modifiers: int = 0) -> None:
    """Press Tab until the focus is there; each stop on the way can be seen."""
    stops = []
    while tab.focused() != (role, name):
        tab.key("Tab", modifiers)
        stops.append(tab.focused())
        assert len(stops) < MOST_STOPS, f"no {role} named {name} among {stops}"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_everything_is_done_with_the_keyboard(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    service.phases = ("reading the examples", "awake: learning", "asleep: dreaming")
    tab = open_page()
    tab.sees("A new life, which knows nothing yet")
    tab.evaluate(RECORD)
    tab.key("Tab")
    assert tab.focused() == ("link", "Skip to Ask")
    for name in ("wasp", "bee"):
        tab_to(tab, "combobox", "Name of a class", 0 if name == "wasp" else SHIFT)
        tab.type(name)
        tab.key("Enter")
        tab.until(lambda name=name: tab.focused() == ("heading", name))  # type: ignore[misc]
        tab_to(tab, "button", f"Choose photos of {name}")
        tab.choose(photos(name), lambda: tab.key(" "))
        waiting(tab, name, "3 photos")
    tab_to(tab, "button", "Sleep")
    tab.key("Enter")
    tab.sees("Version 1 answers now.", "#works")
    tab.sees("Version 1", "#summary")
    assert tab.focused() == ("button", "Sleep"), "it cannot be pressed now, and yet keeps the focus"
    said = tab.evaluate("said")
    lesson = [f"Learning wasp and bee: {phase}" for phase in ("waits for its turn", *service.phases)]
    assert said[-5:] == [*lesson, "Learned wasp and bee: Version 1 answers now."]

    tab_to(tab, "button", "Choose photos", SHIFT)
    tab.choose(photos("bee", 1), lambda: tab.key("Enter"))
    tab.sees("bee", "#answers")
    tab.until("said.at(-1).startsWith('bee, ')")

    tab_to(tab, "button", "Forget wasp")
    tab.key("Enter")
    tab.until(lambda: tab.focused() == ("button", "Keep it"))
    tab.key("Tab")
    assert tab.focused() == ("button", "Forget it")
    tab.key("Escape")
    assert tab.focused() == ("button", "Forget wasp")
    tab.until("!('busy' in document.activeElement.dataset)")
    tab.key(" ")
    tab.until(lambda: tab.focused() == ("button", "Keep it"))
    tab.key("Tab")
    tab.key(" ")
    tab.sees("Forgot wasp", "#works")
    tab.until(lambda: tab.focused() == ("heading", "What it knows"))
    tab_to(tab, "button", "Dismiss: Forgot wasp")
    tab.key("Enter")
    tab.until("document.querySelector('#work').hidden")


def test_the_focus_is_never_trapped(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.learn("wasp", (0, 0, 0))
    service.wait("bee")
    tab = open_page()
    tab.sees("1 class", "#summary")
    assert tab.evaluate("document.activeElement === document.body")
    stops = []
    while len(stops) < MOST_STOPS:
        tab.key("Tab")
        if tab.evaluate("document.activeElement === document.body"):
            break
        stops.append(tab.focused()[1])
    assert stops[0] == "Skip to Ask"
    assert "Forget wasp" in stops
    assert len(stops) == len(set(stops)) < MOST_STOPS
