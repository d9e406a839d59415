"""Chromium without a window, driven over its DevTools protocol through a pipe: what a person does, and what they get.

Protocol: https://chromedevtools.github.io/devtools-protocol/, as JSON messages that end in a zero byte.
"""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
WHY_NOT = "needs chromium on PATH, to use the page with"
PATIENCE = 20.0
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio", "--remote-debugging-pipe"),
    *("--no-proxy-server", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--use-fake-device-for-media-stream",
)
KEYS = {
    "Tab": (9, ""),
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    " ": (32, " "),
    "ArrowDown": (40, ""),
}
SHIFT = 8
CENTRE = """async function () {
  const frame = () => new Promise(requestAnimationFrame);
  const corner = () => JSON.stringify(this.getBoundingClientRect());
  this.scrollIntoView({ block: "nearest" });
  for (let before = null; before !== corner(); await frame()) before = corner();
  const { left, top, width, height } = this.getBoundingClientRect();
  const place = [left + width / 2, top + height / 2];
  const there = document.elementFromPoint(...place);
  return this.contains(there) ? place : `${there?.outerHTML} lies over ${this.outerHTML}`;
}"""


class Browser:
    """One Chromium process. ``send`` is a command and its result; events wait for the tab that they belong to."""

    def __init__(self, profile: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def as_three_and_four() -> None:
            low, high = os.dup(to_browser), os.dup(from_browser)  # neither is 3 or 4 by chance when those are replaced
            os.dup2(low, 3)
            os.dup2(high, 4)

        command = [CHROMIUM or "", *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            command, close_fds=False, preexec_fn=as_three_and_four, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self.events: dict[str, list[dict[str, Any]]] = {}

    def send(self, method: str, session: str | None = None, /, **params: Any) -> dict[str, Any]:
        """Return the result of a command. Raises AssertionError if the browser refuses it."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self._receive(deadline)
            assert answer is not None, f"the browser does not answer {method}"
            if answer.get("id") == number:
                assert "error" not in answer, (method, params, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def pump(self, seconds: float) -> None:
        """Take in the events of the next ``seconds``."""
        deadline = time.monotonic() + seconds
        while self._receive(deadline) is not None:
            pass

    def _receive(self, deadline: float) -> dict[str, Any] | None:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return None
            received = os.read(self._in, 1 << 16)
            assert received, "the browser has ended"
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "id" not in message:
            self.events.setdefault(message.get("sessionId", ""), []).append(message)
        return message

    def close(self) -> None:
        self.send("Browser.close")
        self.process.wait(timeout=PATIENCE)
        os.close(self._out)
        os.close(self._in)


class Tab:
    """A tab of its own. What a page logs and requests is kept until another is opened."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.origin = ""
        self.problems: list[str] = []
        self.requested: list[str] = []
        self._chooser: int | None = None
        target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "DOM", "Runtime", "Log", "Network", "Accessibility"):
            self.send(f"{domain}.enable")
        self.send("Page.setInterceptFileChooserDialog", enabled=True)
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)

    def open(self, origin: str, width: int = 1280, height: int = 900) -> None:
        """Show ``origin`` and wait until all of it is there. Nothing of what was shown before is kept."""
        self.leave()
        self.resize(width, height)
        self.prefer()
        self.browser.pump(0.0)
        self._sort_events()
        self.origin = origin
        self.problems.clear()
        self.requested.clear()
        self.send("Page.navigate", url=origin)
        self.until(f"location.href.startsWith({json.dumps(origin)}) && document.readyState === 'complete'")

    def send(self, method: str, /, **params: Any) -> dict[str, Any]:
        result = self.browser.send(method, self.session, **params)
        self._sort_events()
        return result

    def _sort_events(self) -> None:
        for event in self.browser.events.pop(self.session, []):
            params = event["params"]
            if event["method"] == "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            elif event["method"] == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled":
                self.problems.append(json.dumps(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["source"] != "network":
                self.problems.append(params["entry"]["text"])
            elif event["method"] == "Page.fileChooserOpened":
                self._chooser = params["backendNodeId"]

    def leave(self) -> None:
        """Leave the page, as a person who goes elsewhere in the same tab."""
        self.send("Page.navigate", url="about:blank")
        self.until("location.href === 'about:blank' && document.readyState === 'complete'")

    def evaluate(self, expression: str) -> Any:
        """Return what a JavaScript expression, or the promise that it is, comes to; AssertionError if it throws."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    def until(self, is_so: str | Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Wait until an expression, or a function, comes to something true, and return it."""
        deadline = time.monotonic() + seconds
        while not (found := is_so() if callable(is_so) else self.evaluate(is_so)):
            assert time.monotonic() < deadline, f"not so: {is_so}; the page says: {self.text()}"
            time.sleep(0.03)
        return found

    def text(self, selector: str = "body") -> str:
        """Return the text that a person sees there."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def sees(self, text: str, selector: str = "body") -> None:
        """Wait until ``text`` is there to see."""
        self.until(f"document.querySelector({json.dumps(selector)}).innerText.includes({json.dumps(text)})")

    def find(self, role: str, name: str) -> int:
        """Wait for the one element that a screen reader calls ``role`` and ``name``, and return its number."""

        def found() -> list[dict[str, Any]]:
            root = self.send("DOM.getDocument", depth=0)["root"]["backendNodeId"]
            nodes = self.send("Accessibility.queryAXTree", backendNodeId=root, accessibleName=name, role=role)["nodes"]
            return [node for node in nodes if not node["ignored"]]

        nodes: list[dict[str, Any]] = self.until(found)
        assert len(nodes) == 1, f"{len(nodes)} elements are a {role} named {name}"
        return int(nodes[0]["backendDOMNodeId"])

    def centre(self, node: int) -> tuple[float, float]:
        """Scroll an element into sight, wait until it lies still, and return its middle, once a click reaches it."""
        element = self.send("DOM.resolveNode", backendNodeId=node)["object"]["objectId"]
        call = {"functionDeclaration": CENTRE, "objectId": element, "awaitPromise": True, "returnByValue": True}
        deadline = time.monotonic() + PATIENCE
        while isinstance(place := self.send("Runtime.callFunctionOn", **call)["result"]["value"], str):
            assert time.monotonic() < deadline, place
            time.sleep(0.03)
        return place[0], place[1]

    def mouse(self, kind: str, place: tuple[float, float], count: int = 1) -> None:
        held = {"button": "left", "clickCount": count}
        self.send("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], **held)

    def click(self, role: str, name: str, times: int = 1) -> None:
        """Click with the mouse, ``times`` in quick succession, on the element of that role and name."""
        place = self.centre(self.find(role, name))
        for count in range(1, times + 1):
            self.mouse("mousePressed", place, count)
            self.mouse("mouseReleased", place, count)

    def hold(self, role: str, name: str, while_held: Callable[[], object]) -> None:
        place = self.centre(self.find(role, name))
        self.mouse("mousePressed", place)
        while_held()
        self.mouse("mouseReleased", place)

    def key(self, key: str, modifiers: int = 0, kinds: Sequence[str] = ("keyDown", "keyUp")) -> None:
        code, text = KEYS[key]
        pressed = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        for kind in kinds:
            self.send("Input.dispatchKeyEvent", type=kind, **pressed, **({"text": text} if kind == "keyDown" else {}))

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def fill(self, role: str, name: str, text: str) -> None:
        self.click(role, name)
        self.type(text)

    def choose(self, paths: Sequence[Path], open_chooser: Callable[[], object]) -> None:
        """Answer the dialog for files that ``open_chooser`` opens."""
        self._chooser = None
        open_chooser()
        node = self.until(lambda: self.send("Page.getLayoutMetrics") and self._chooser)
        self.send("DOM.setFileInputFiles", files=[str(path) for path in paths], backendNodeId=node)

    def drop(self, selector: str, paths: Sequence[Path]) -> None:
        """Drop files on the first element of a selector."""
        document = self.send("DOM.getDocument", depth=0)["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        backend = self.send("DOM.describeNode", nodeId=node)["node"]["backendNodeId"]
        x, y = self.centre(backend)
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def accessible(self) -> list[dict[str, Any]]:
        """Return what a screen reader is told of: role, name and properties of each element."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node["role"]["value"],
                "name": node.get("name", {}).get("value", ""),
                **{each["name"]: each["value"].get("value") for each in node.get("properties", [])},
            }
            for node in nodes
            if not node["ignored"]
        ]

    def focused(self) -> tuple[str, str]:
        """Return role and name of the element that has the keyboard's focus."""
        result = self.send("Runtime.evaluate", expression="document.activeElement")["result"]["objectId"]
        node = self.send("Accessibility.getPartialAXTree", objectId=result, fetchRelatives=False)["nodes"][0]
        return node["role"]["value"], node.get("name", {}).get("value", "")

    def resize(self, width: int, height: int = 800) -> None:
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def allow_camera(self, allowed: bool) -> None:
        """Answer for the person whether this page may use the camera."""
        setting = {"permission": {"name": "camera"}, "setting": "granted" if allowed else "denied"}
        self.browser.send("Browser.setPermission", origin=self.origin.rstrip("/"), **setting)

    def prefer(self, **features: str) -> None:
        """Have the tab prefer, as a person's settings would: ``color_scheme="dark"``."""
        named = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", features=named)

    def assert_quiet(self) -> None:
        """Raise AssertionError if something was logged, broke the policy of content, or was asked of another origin."""
        self.browser.pump(0.05)
        self._sort_events()
        assert self.problems == [], self.problems
        elsewhere = [url for url in self.requested if not url.startswith((self.origin, "blob:", "data:"))]
        assert elsewhere == []
        assert self.requested
