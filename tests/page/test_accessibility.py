"""What a screen reader is told, contrast, and small and dark screens."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.page.devtools import Tab
from tests.page.fake_service import FakeService

NAMED = {
    *("button", "link", "textbox", "combobox", "radio", "meter", "progressbar", "image", "dialog", "table"),
    *("region", "heading", "complementary", "Video", "columnheader", "rowheader"),
}
LONG = "Wolpertinger" * 8

MOVING = """(() => {
  const within = (rules, query) => [...rules].flatMap((rule) =>
    rule.cssRules?.length ? within(rule.cssRules, rule.media?.mediaText ?? query)
      : /transition|animation|scroll-behavior/.test(rule.cssText) ? [query] : []);
  return [...document.styleSheets].flatMap((sheet) => within(sheet.cssRules, "always"));
})()"""
CONTRAST = """(() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (node) => {
    for (let at = node; at !== null; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if ((colour[3] ?? 1) === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let count = 0;
  for (let text = texts.nextNode(); text !== null; text = texts.nextNode()) {
    const node = text.parentElement;
    if (text.data.trim() === "" || !node.checkVisibility() || node.closest("noscript, datalist")) continue;
    const style = getComputedStyle(node);
    const lights = [channels(node.closest("svg") ? style.fill : style.color), behind(node)].map(luminance);
    const ratio = (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
    count += 1;
    if (ratio < 4.5) found.push([text.data.trim(), Math.round(ratio * 100) / 100]);
  }
  return { count, found };
})()"""


@pytest.fixture
def busy(service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]) -> Callable[[], Tab]:
    """Opens a page that shows everything at once: answers, a class to teach, a lesson, a map, an error."""

    def busy() -> Tab:
        for place, name in enumerate(("wasp", "bee", LONG)):
            service.learn(name, (220, 180 - 60 * place, 30))
        service.wait(LONG, 3)
        service.steps_per_phase = 10**6
        tab = open_page()
        tab.sees("3 classes", "#summary")
        tab.drop("#ask-zone", [*photos("wasp", 1), *photos("sky", 1)])
        tab.sees("version 3", "#answers")
        tab.click("button", "Sleep")
        tab.sees("awake: learning", "#works")
        tab.fill("combobox", "Name of a class", " ")
        tab.click("button", "Make the class")
        tab.sees("Give the class a name.", "#teach")
        tab.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        return tab

    return busy


def test_everything_has_a_role_and_a_name(busy: Callable[[], Tab]) -> None:
    tab = busy()
    told = tab.accessible()
    assert [node for node in told if node["role"] in NAMED and not node["name"].strip()] == []
    roles = Counter(node["role"] for node in told)
    assert roles["banner"] == roles["main"] == roles["contentinfo"] == roles["complementary"] == 1
    regions = {node["name"] for node in told if node["role"] == "region"}
    assert {"Ask", "Teach", "What it knows", "Map of its dreams"} <= regions
    assert [node["name"] for node in told if node["role"] == "heading" and node["level"] == 1] == ["MyGO"]
    for role, names in {
        "button": {"Choose photos", "Use camera", "Ask again", "Clear", "Make the class", "Sleep", "Forget wasp"}
        | {f"Choose photos of {LONG}", f"Use camera for {LONG}", "Roll back to version 1"},
        "meter": {"Probability of wasp"},
        "progressbar": {f"Learning {LONG[:39]}…"},
        "alert": {""},
        "status": {""},
        "rowheader": {"wasp", "bee", LONG},
    }.items():
        assert names <= {node["name"] for node in told if node["role"] == role}, role
    (drawn,) = (node["name"] for node in told if node["role"] == "image")
    assert drawn.startswith(f"Map of the dreams of wasp, bee, and {LONG}. Closest to each other: ")
    assert tab.evaluate("document.querySelector('#works progress').value") == 0.5
    assert tab.evaluate("document.documentElement.lang") == "en"

    cells = "[...document.querySelectorAll('#map-rows tr')].map((row) => [...row.cells].map((each) => each.innerText))"
    rows = tab.evaluate(cells)
    assert [row[0] for row in rows] == ["wasp", "bee", LONG]
    assert rows[0][1:] == ["8.80", "1.20", "bee", "0.00"]
    assert tab.evaluate("document.querySelectorAll('#map svg .dreams circle').length") == 3 * 40
    names = tab.evaluate("[...document.querySelectorAll('#map svg text')].map((each) => each.textContent)")
    assert names == ["wasp", "bee", f"{LONG[:23]}…"]


def test_text_stands_out_and_nothing_moves_for_those_who_do_not_want_it(busy: Callable[[], Tab]) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    tab = busy()
    assert set(tab.evaluate(MOVING)) == {"(prefers-reduced-motion: no-preference)"}
    for scheme, ground in (("light", "rgb(243, 245, 248)"), ("dark", "rgb(15, 19, 24)")):
        tab.prefer(color_scheme=scheme)
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == ground
        measured: dict[str, Any] = tab.evaluate(CONTRAST)
        assert measured["count"] > 60
        assert measured["found"] == []
        tab.click("button", "Forget wasp")
        tab.find("dialog", "Forget wasp?")
        assert tab.evaluate(CONTRAST)["found"] == []
        tab.key("Escape")


def test_no_width_needs_scrolling_sideways(busy: Callable[[], Tab]) -> None:
    tab = busy()
    for width in (1280, 800, 360):
        tab.resize(width)
        tab.until(f"innerWidth === {width}")
        for opened in ("true", "false"):
            tab.evaluate(f"document.querySelectorAll('details').forEach((each) => {{ each.open = {opened}; }})")
            assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
        tab.click("button", f"Forget {LONG}")
        tab.find("dialog", f"Forget {LONG}?")
        box = "document.querySelector('#forget-dialog').getBoundingClientRect()"
        assert 0 <= tab.evaluate(f"{box}.left") < tab.evaluate(f"{box}.right") <= width
        tab.key("Escape")
        small = tab.evaluate(
            "[...document.querySelectorAll('button')].filter((each) => each.checkVisibility())"
            ".map((each) => [each.innerText, each.getBoundingClientRect()])"
            ".filter(([, { width, height }]) => width < 24 || height < 24)"
        )
        assert small == [], json.dumps(small)  # WCAG 2.2, 2.5.8
