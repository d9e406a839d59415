import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.service.config import ServiceConfig
from mygo.service.keeper import Keeper
from tests.mygo.service.lives import learn_waiting, vectors


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def on_vectors(tiny_on_vectors: LifeConfig) -> ServiceConfig:
    """Service of a life of feature vectors that learns in a moment."""
    few = {"wake.head_steps": 6, "wake.adapt_steps": 6, "sleep.steps": 8}
    return ServiceConfig(learner=change(tiny_on_vectors, few))


@pytest.fixture(scope="session")
def school(on_vectors: ServiceConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life in service that learned ash and birch, and then cedar."""
    folder = tmp_path_factory.mktemp("school") / "life"
    with Keeper(folder, on_vectors) as keeper:
        for classes in (("ash", "birch"), ("cedar",)):
            for name in classes:
                keeper.teach(name, "vector", vectors(name))
            learn_waiting(keeper)
    return folder


@pytest.fixture
def life(school: Path, tmp_path: Path) -> Path:
    """A copy of that life."""
    return shutil.copytree(school, tmp_path / "life")


@pytest.fixture(scope="session")
def forgotten(school: Path, on_vectors: ServiceConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That life when it has forgotten cedar."""
    folder = shutil.copytree(school, tmp_path_factory.mktemp("forgotten") / "life")
    with Keeper(folder, on_vectors) as keeper:
        keeper.forget("cedar")
        work = keeper.next_work()
        assert work is not None
        assert keeper.run(work).state == "done"
    return folder


@pytest.fixture(scope="session")
def learned(school: Path, on_vectors: ServiceConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That life when it has learned elm."""
    folder = shutil.copytree(school, tmp_path_factory.mktemp("learned") / "life")
    with Keeper(folder, on_vectors) as keeper:
        keeper.teach("elm", "vector", vectors("elm"))
        learn_waiting(keeper)
    return folder


@pytest.fixture(scope="session")
def names_in() -> Callable[[Path, str], list[str]]:
    """Returns the files under a folder that hold a text, or have it in their names."""

    def names_in(folder: Path, text: str) -> list[str]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return [str(path) for path in files if text in str(path) or text.encode() in path.read_bytes()]

    return names_in
