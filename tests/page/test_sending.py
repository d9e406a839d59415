"""What is sent, how often, and in which order."""

import threading
from collections.abc import Callable
from pathlib import Path

from tests.page.devtools import Tab
from tests.page.fake_service import FakeService
from tests.page.test_story import VERDICTS, make_class


def test_a_double_click_sends_once(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.learn("moth", (0, 0, 0))
    service.learn("wasp", (0, 0, 0))
    service.wait("bee")
    tab = open_page()
    tab.sees("2 classes", "#summary")
    for path, button in (("/rollback", "Roll back to version 1"), ("/sleep", "Sleep")):
        service.slow = threading.Event()
        tab.click("button", button, times=3)
        tab.until(lambda path=path: service.count("POST", path))  # type: ignore[misc]
        tab.browser.pump(0.2)
        service.slow.set()
        tab.browser.pump(0.2)
        assert service.count("POST", path) == 1


def test_questions_are_answered_in_their_order_one_request_at_a_time(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    service.learn("wasp", (220, 180, 30))
    service.learn("bee", (120, 70, 20))
    service.slow = threading.Event()
    tab = open_page()
    tab.drop("#ask-zone", photos("wasp", 20))
    tab.until(lambda: service.count("POST", "/predict") == 1)
    tab.drop("#ask-zone", photos("bee", 2))
    tab.browser.pump(0.3)
    assert service.count("POST", "/predict") == 1
    service.slow.set()
    tab.until(f"{VERDICTS}.length === 22")
    assert tab.evaluate(VERDICTS) == ["bee"] * 2 + ["wasp"] * 20
    assert service.count("POST", "/predict") == 3, "16, 4 and 2"


def test_a_photo_is_scaled_down_only_where_the_service_would_not_take_it(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    service.learn("wasp", (220, 180, 30))
    service.limits = {"pixels": 12_000}
    tab = open_page()
    tab.drop("#ask-zone", photos("wasp", 1, size=(400, 300)))
    tab.sees("version 1", "#answers")
    assert service.sizes == [(126, 94)]
    service.sizes.clear()
    service.limits = {}
    open_page()
    tab.drop("#ask-zone", photos("wasp", 1, size=(400, 300)))
    tab.until(lambda: service.sizes)
    assert service.sizes == [(400, 300)]


def test_many_photos_go_in_requests_of_the_size_that_the_service_takes(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    service.limits = {"inputs": 5}
    tab = open_page()
    make_class(tab, "wasp")
    tab.drop(".card", photos("wasp", 12))
    tab.sees("12 photos waiting", "#cards")
    assert [item["count"] for item in service.items] == [5, 5, 2]


def test_a_dropped_folder_is_opened(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    tab = open_page()
    make_class(tab, "wasp")
    tab.drop(".card", [photos("wasp", 4)[0].parent])
    tab.sees("4 photos waiting", "#cards")


def test_a_photo_is_pasted(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    service.learn("wasp", (220, 180, 30))
    tab = open_page()
    tab.sees("1 class", "#summary")
    tab.evaluate(
        """(async () => {
          const canvas = new OffscreenCanvas(40, 40);
          canvas.getContext("2d").fillStyle = "rgb(220, 180, 30)";
          canvas.getContext("2d").fillRect(0, 0, 40, 40);
          const transfer = new DataTransfer();
          transfer.items.add(new File([await canvas.convertToBlob()], "pasted.png", { type: "image/png" }));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
        })()"""
    )
    tab.sees("version 1", "#answers")
    assert tab.evaluate(VERDICTS) == ["wasp"]


def test_what_others_teach_is_seen_without_reloading(service: FakeService, open_page: Callable[[], Tab]) -> None:
    tab = open_page()
    tab.sees("A new life", "#summary")
    service.learn("wasp", (0, 0, 0))
    tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    tab.sees("wasp", "#known")
