from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.page.devtools import CHROMIUM, WHY_NOT, Browser, Tab
from tests.page.fake_http import served
from tests.page.fake_service import FakeService

COLOURS = {"wasp": (220, 180, 30), "bee": (120, 70, 20), "moth": (150, 150, 220), "sky": (10, 230, 120)}


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if CHROMIUM is None:
        pytest.skip(WHY_NOT)
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield Tab(browser)
    browser.close()


@pytest.fixture
def service() -> FakeService:
    """A new life in service. A test may change it before it opens the page."""
    return FakeService()


@pytest.fixture
def open_page(tab: Tab, service: FakeService) -> Iterator[Callable[..., Tab]]:
    """Opens the page, and at the end sees that nothing was logged and nothing asked of another origin."""
    with served(service) as origin:
        yield lambda width=1280: tab.open(origin, width) or tab
        tab.assert_quiet()
        tab.leave()


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., list[Path]]:
    """Writes noisy pictures of a colour that a name stands for."""

    def photos(name: str, count: int = 3, size: tuple[int, int] = (40, 30)) -> list[Path]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng([*name.encode()])
        for number in range(count):
            noisy = rng.normal(COLOURS[name], 20, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"{number}.png")
        return sorted(folder.iterdir())

    return photos
