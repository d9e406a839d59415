"""The camera, Chromium's own fake one: live answers, examples, and that it is free again afterwards."""

import threading
from collections.abc import Callable

from tests.page.devtools import Tab
from tests.page.fake_service import FakeService, RefusedError
from tests.page.test_story import make_class

TRACK = "document.querySelector('{}').srcObject.getVideoTracks()[0]"
GREEN = (0, 140, 0)


def test_the_camera_asks_again_and_again_but_never_ahead_of_the_answers(
    service: FakeService, open_page: Callable[[], Tab]
) -> None:
    service.learn("screen", GREEN)
    service.slow = threading.Event()
    tab = open_page()
    tab.allow_camera(True)
    tab.sees("1 class", "#summary")
    tab.click("button", "Use camera")
    tab.until(lambda: service.count("POST", "/predict"))
    tab.browser.pump(1.0)
    assert service.count("POST", "/predict") == 1
    service.slow.set()
    tab.sees("screen", "#ask-live-answer")
    tab.sees("version 1", "#ask-live-answer")
    tab.until(lambda: service.count("POST", "/predict") >= 3)
    before = service.count("POST", "/predict")
    tab.browser.pump(1.0)
    assert service.count("POST", "/predict") - before <= 5
    assert service.sizes[0] == (640, 480)
    tab.until("document.querySelector('#announcer').textContent.startsWith('screen, ')")
    tab.evaluate(f"void (window.track = {TRACK.format('#ask-video')})")
    tab.click("button", "Stop camera")
    tab.until("track.readyState === 'ended'")
    before = service.count("POST", "/predict")
    tab.browser.pump(0.6)
    assert service.count("POST", "/predict") <= before + 1
    assert tab.evaluate("document.querySelector('#ask-live').hidden")


def test_a_camera_that_asks_too_often_waits(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.learn("screen", GREEN)
    service.refuse["POST", "/predict"] = RefusedError(429, "Too many requests came: wait.", **{"Retry-After": "1"})
    tab = open_page()
    tab.allow_camera(True)
    tab.click("button", "Use camera")
    tab.sees("Too many requests came: wait.", "#ask")
    tab.browser.pump(0.7)
    assert service.count("POST", "/predict") == 1
    service.refuse.clear()
    tab.sees("screen", "#ask-live-answer")
    assert "Too many" not in tab.text("#ask")


def test_examples_are_taken_while_a_button_is_held(service: FakeService, open_page: Callable[[], Tab]) -> None:
    tab = open_page()
    tab.allow_camera(True)
    make_class(tab, "screen")
    tab.click("button", "Use camera for screen")
    tab.until("document.querySelector('.camera video').videoWidth > 0")
    tab.hold("button", "Hold to take photos of screen", lambda: tab.sees("4 taken", ".camera"))
    tab.until(lambda: len(service.items) == 1)
    assert service.items[0]["count"] >= 4
    tab.sees("photos waiting", "#cards")
    tab.evaluate("document.querySelector('.camera button').focus()")
    tab.key(" ", kinds=["keyDown"])
    tab.key(" ", kinds=["keyDown"])
    tab.key(" ", kinds=["keyUp"])
    tab.until(lambda: len(service.items) == 2)
    tab.evaluate("document.querySelector('.camera button').click()")  # as a screen reader presses it
    tab.until(lambda: len(service.items) == 3)
    assert service.items[2]["count"] == 1
    tab.evaluate(f"void (window.track = {TRACK.format('.camera video')})")
    tab.click("button", "Remove screen and what waits of it")
    tab.until("track.readyState === 'ended'")
    assert service.items == []


def test_leaving_the_page_frees_the_camera(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.learn("screen", GREEN)
    tab = open_page()
    tab.allow_camera(True)
    tab.click("button", "Use camera")
    tab.sees("version 1", "#ask-live-answer")
    tab.evaluate(
        f"(() => {{ const track = {TRACK.format('#ask-video')};"
        " addEventListener('pagehide', () => sessionStorage.setItem('track', track.readyState)); })()"
    )
    tab.send("Page.navigate", url=f"{tab.origin}page/icon.svg")
    assert tab.until("location.pathname.endsWith('svg') && sessionStorage.getItem('track')") == "ended"


def test_a_camera_that_is_not_allowed_is_off_and_says_why(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.learn("screen", GREEN)
    tab = open_page()
    tab.allow_camera(False)
    tab.click("button", "Use camera")
    tab.sees("The camera is not allowed here.", "#ask")
    tab.find("button", "Use camera")
    assert tab.evaluate("document.querySelector('#ask-live').hidden")
    assert service.count("POST", "/predict") == 0
