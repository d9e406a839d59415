"""A person uses the page of the real command, `distributed/serve.py`, in a real browser."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.page.devtools import CHROMIUM, WHY_NOT, Browser, Tab
from tests.page.test_story import VERDICTS, make_class, waiting

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ANSWERS = re.compile(r"http://127\.0\.0\.1:\d+")
TOKEN = "the-token-of-this-test-alone"
COUNT = 12
PATIENCE = 240.0

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)


def draw(name: str, rng: np.random.Generator) -> Image.Image:
    """Return a picture of a shape at a random place, on a ground of a random light colour."""
    image = Image.new("RGB", (160, 120), tuple(rng.integers(200, 256, 3).tolist()))
    pen = ImageDraw.Draw(image)
    x, y, size = (*rng.integers((30, 20), (90, 60)).tolist(), int(rng.integers(30, 50)))
    match name:
        case "ball":
            pen.ellipse((x, y, x + size, y + size), fill=(200, 30, 30))
        case "grid":
            for step in range(0, size + 1, 8):
                pen.line((x, y + step, x + size, y + step), fill=(20, 20, 120), width=2)
                pen.line((x + step, y, x + step, y + size), fill=(20, 20, 120), width=2)
        case "tent":
            pen.polygon((x, y + size, x + size, y + size, x + size // 2, y), fill=(20, 140, 40))
    return image


def drawings(folder: Path, name: str, count: int, seed: int) -> list[Path]:
    rng = np.random.default_rng([*name.encode(), seed])
    (folder / f"{name}-{seed}").mkdir()
    paths = [folder / f"{name}-{seed}" / f"{number}.png" for number in range(count)]
    for path in paths:
        draw(name, rng).save(path)
    return paths


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a service of a new life answers, which asks for a token."""
    command = [sys.executable, "distributed/serve.py", "--life", str(tmp_path / "life"), "--port", "0"]
    environment = {**os.environ, "MYGO_TOKEN": TOKEN, "RAY_ADDRESS": "local", "OMP_NUM_THREADS": "1"}
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = next((match for line in process.stdout if (match := ANSWERS.search(line))), None)
            assert found is not None, (tmp_path / "log").read_text()
            yield f"{found[0]}/"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture
def tab(tmp_path: Path) -> Iterator[Tab]:
    browser = Browser(tmp_path / "chromium")
    yield Tab(browser)
    browser.close()


def sleep(tab: Tab, version: int) -> None:
    tab.click("button", "Sleep")
    answers = f"document.querySelector('#works').innerText.includes('Version {version} answers now.')"
    failed = "document.querySelector('#works .failed') !== null"
    tab.until(f"{answers} || {failed}", PATIENCE)
    assert tab.evaluate(answers), tab.text("#works")
    tab.sees(f"Version {version}", "#summary")


def ask(tab: Tab, paths: list[Path], version: int) -> list[str]:
    """Return what the page says that the photos show, once an answer of that version is there for each."""
    tab.drop("#ask-zone", paths)
    versions = "[...document.querySelectorAll('#answers .from')].map((each) => each.innerText)"
    tab.until(f"{versions}.filter((each) => each === 'version {version}').length === {len(paths)}")
    verdicts: list[str] = tab.evaluate(VERDICTS)
    tab.click("button", "Clear")
    return verdicts


def test_a_person_teaches_a_life_in_service(address: str, tab: Tab, tmp_path: Path) -> None:
    tab.open(address)
    tab.find("dialog", "This service asks for a token")
    tab.type(TOKEN)
    tab.key("Enter")
    tab.sees("A new life, which knows nothing yet")
    asked = {name: drawings(tmp_path, name, 2, 1) for name in ("ball", "grid", "tent")}

    for name in ("ball", "grid"):
        make_class(tab, name)
        taught = drawings(tmp_path, name, COUNT, 0)
        tab.choose(taught, lambda name=name: tab.click("button", f"Choose photos of {name}"))  # type: ignore[misc]
        waiting(tab, name, f"{COUNT} photos")
        for path in taught:
            path.unlink()
    sleep(tab, 1)
    assert ask(tab, [*asked["ball"], *asked["grid"]], 1) == ["ball", "ball", "grid", "grid"]
    tab.sees("2 classes", "#summary")
    tab.sees("Nothing waits to be learned.", "#sleep-hint")
    tab.until("document.querySelectorAll('#map svg .mean').length === 2")

    make_class(tab, "tent")
    tab.drop(".card", drawings(tmp_path, "tent", COUNT, 0))
    waiting(tab, "tent", f"{COUNT} photos")
    sleep(tab, 2)
    assert ask(tab, [path for name in asked for path in asked[name]], 2) == [name for name in asked for _ in "12"]

    tab.click("button", "Forget grid")
    tab.click("button", "Forget it")
    tab.until("document.querySelector('#works').innerText.includes('Forgot grid')", PATIENCE)
    tab.sees("Version 3 · 2 classes", "#summary")
    assert "grid" not in tab.text("#known")
    assert tab.text("#versions").count("Version") == 1, "what was forgotten cannot be rolled back to"
    assert "grid" not in ask(tab, asked["grid"], 3)
    tab.assert_quiet()
