"""What should not happen: names that are code, refusals, tokens, and a service that goes away."""

from collections.abc import Callable
from pathlib import Path

from tests.page.devtools import Tab
from tests.page.fake_service import FakeService, RefusedError
from tests.page.test_story import make_class

ALERTS = "[...document.querySelectorAll('[role=alert]')].map((each) => each.innerText)"
HARM = (
    "<img src=x onerror=alert(1)>",
    "<script>window.harmed = true</script>",
    "__proto__",
    "constructor",
    "javascript:alert(1)",
    '" onmouseover="alert(1)',
    "${alert(1)}{{7*7}}",
    "‮abc <b>",
)


def test_names_that_are_code_are_only_shown(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    for name in HARM:
        service.learn(name, (220, 180, 30))
        service.wait(name)
    service.steps_per_phase = 10**6
    tab = open_page()
    tab.sees("8 classes", "#summary")
    tab.drop("#ask-zone", photos("wasp", 1))
    tab.sees("version 8", "#answers")
    tab.click("button", "Sleep")
    tab.sees("awake: learning", "#works")
    for selector in ("#known", "#cards", "#map"):
        for name in HARM:
            assert name in tab.evaluate(f"document.querySelector('{selector}').textContent"), (selector, name)
    tab.click("button", f"Forget {HARM[0]}")
    tab.sees(f"Forget {HARM[0]}?", "#forget-title")
    tab.click("button", "Keep it")
    service.refuse["POST", "/forget"] = RefusedError(409, f"{HARM[1]} cannot be forgotten now.")
    tab.click("button", f"Forget {HARM[1]}")
    tab.click("button", "Forget it")
    tab.sees(f"{HARM[1]} cannot be forgotten now.", "#known")
    assert tab.evaluate("document.querySelectorAll('main script, main img, main b').length") == 0
    assert tab.evaluate("window.harmed === undefined && ({}).harmed === undefined")


def test_a_class_is_shown_by_the_name_that_the_service_wrote(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    teach = service.teach
    service.teach = lambda name, examples: teach(name.replace("-", " "), examples)  # type: ignore[method-assign]
    tab = open_page()
    make_class(tab, "hover-fly")
    tab.drop(".card", photos("wasp"))
    tab.find("heading", "hover fly")
    tab.sees("3 photos waiting", "#cards")
    assert tab.evaluate("document.querySelectorAll('.card').length") == 1


def test_a_refusal_shows_the_sentence_of_the_service(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]]
) -> None:
    service.learn("bee", (0, 0, 0))
    service.wait("wasp")
    tab = open_page()
    tab.drop("#ask-zone", photos("wasp", 1))
    tab.sees("version 1", "#answers")
    for path, button in (("/forget", "Forget bee"), ("/predict", "Ask again"), ("/sleep", "Sleep")):
        service.refuse["POST", path] = RefusedError(409, "Not now: wait until <b>midnight</b>.")
        tab.click("button", button)
        if path == "/forget":
            tab.click("button", "Forget it")
        tab.until(f"{ALERTS}.filter(Boolean).join() === 'Not now: wait until <b>midnight</b>.'")
        service.refuse.clear()
        tab.click("button", button)
        if path == "/forget":
            tab.click("button", "Keep it")
        tab.until(f"{ALERTS}.every((text) => text === '')")


def test_what_is_no_photo_is_named_and_the_rest_goes_on(
    service: FakeService, open_page: Callable[[], Tab], photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    service.learn("bee", (0, 0, 0))
    (tmp_path / "no.png").write_bytes(b"no photo")
    tab = open_page()
    make_class(tab, "wasp")
    tab.drop(".card", [tmp_path / "no.png"])
    tab.sees("Photo 1 cannot be read: send JPEG, PNG or WebP.", "#teach")
    tab.drop(".card", photos("wasp"))
    tab.sees("3 photos waiting", "#cards")
    assert "cannot be read" not in tab.text("#teach")


def test_a_token_is_asked_for_and_kept_for_the_tab(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.token = "a secret of 16 characters"
    service.learn("bee", (0, 0, 0))
    tab = open_page()
    tab.find("dialog", "This service asks for a token")
    tab.until(lambda: tab.focused() == ("textbox", "Token"))
    tab.type("wrong")
    tab.key("Enter")
    tab.sees("The service refused that token.", "#token-dialog")
    tab.click("button", "Not now")
    tab.sees("This service asks for a token: press “Enter the token”.", "header")
    assert tab.evaluate("document.querySelector('main').inert")
    asked = len(service.calls)
    tab.click("button", "Enter the token")
    tab.type("wröng\u2028")
    tab.key("Enter")
    tab.sees("The service refused that token.", "#token-dialog")
    tab.type(service.token)
    tab.key("Enter")
    tab.sees("1 class", "#summary")
    assert len(service.calls) > asked
    assert "asks for a token" not in tab.text("header")
    assert tab.evaluate("sessionStorage.length + localStorage.length") == 1
    assert tab.evaluate("location.href + document.cookie") == tab.origin
    tab.send("Page.reload")
    tab.until("document.readyState === 'complete'")
    tab.sees("1 class", "#summary")
    assert not tab.evaluate("document.querySelector('#token-dialog').open")


def test_a_service_that_is_away_is_said_to_be(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.wait("wasp")
    service.wait("bee")
    service.steps_per_phase = 3
    tab = open_page()
    tab.click("button", "Sleep")
    tab.sees("awake: learning", "#works")
    tab.send("Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    tab.sees("The service does not answer: see whether it still runs.", "#works")
    tab.click("button", "Remove bee and what waits of it")
    tab.sees("The service does not answer: see whether it still runs.", "#teach")
    tab.send("Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1)
    tab.sees("Version 1 answers now.", "#works")


def test_a_life_without_a_map_says_so(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.has_map = False
    service.learn("bee", (0, 0, 0))
    tab = open_page()
    tab.sees("There is no map of a life over pixels.", "#map-hint")
    assert tab.evaluate("document.querySelector('#map-figure').hidden")


def test_drift_is_said_in_words(service: FakeService, open_page: Callable[[], Tab]) -> None:
    service.learn("wasp", (220, 180, 30))
    service.wait("wasp")
    tab = open_page()
    tab.sees("1 class", "#summary")
    assert tab.text("#known-drift") == ""
    service.drift = {"drifted": True, "inputs": 400, "changed": ["<b>wasp</b>"], "p_value": 0.01, "alpha": 0.05}
    tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    tab.sees("The last 400 inputs look different from what was learned: <b>wasp</b>.", "#known-drift")
