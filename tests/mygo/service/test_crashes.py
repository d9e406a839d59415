"""Whatever step of putting a life into another state fails, or is the last before the machine dies."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mygo.service.config import ServiceConfig
from mygo.service.keeper import Keeper
from mygo.service.versions import whole_versions
from tests.mygo.service.lives import becoming, every_fault, state_of, vectors

DIES_OR_FAILS = pytest.mark.parametrize("dies", [True, False], ids=["dies", "fails"])


class Numbers:
    """The numbers of versions that were seen in one life: none is ever that of two."""

    def __init__(self) -> None:
        self.seen: dict[int, str] = {}

    def look(self, keeper: Keeper) -> None:
        for version in keeper.versions():
            assert self.seen.setdefault(version.number, version.checksum) == version.checksum


def assert_whole(keeper: Keeper) -> None:
    """Make sure that the life and all its versions can be opened, and that nothing half-made is left."""
    folder, versions = keeper.life_folder, keeper.versions()
    assert state_of(versions[-1].folder) == state_of(folder)
    for version in versions[:-1]:
        state_of(version.folder)
    assert len(whole_versions(folder / "service" / "versions")) == len(versions)
    work = folder / "service" / "lessons"
    open_work = {work / record.id for record in keeper.work() if record.is_open}
    assert {path for path in work.iterdir() if path.is_dir()} <= open_work
    hidden = [path for path in folder.rglob("*") if path.name.startswith(".")]
    assert [path for path in hidden if open_work.isdisjoint(path.parents)] == []


def assert_whole_when_made_again(keeper: Keeper, config: ServiceConfig) -> None:
    keeper.close()
    with Keeper(keeper.life_folder, config) as again:
        assert_whole(again)


@DIES_OR_FAILS
def test_examples_that_are_taught_are_whole_or_not_there(
    life: Path, on_vectors: ServiceConfig, tmp_path: Path, dies: bool
) -> None:
    folder, found = tmp_path / "copy", Counter[int]()

    def teach(keeper: Keeper) -> None:
        keeper.teach("elm", "vector", vectors("elm"))

    for keeper in every_fault(life, folder, teach, on_vectors, dies=dies):
        if dies:
            assert_whole(keeper)
        found[keeper.inbox()["examples"]] += 1
        keeper.teach("elm", "vector", vectors("elm"))
        for item in keeper._store.inbox.items():
            assert keeper._store.inbox.vectors_of(item).tolist() == vectors("elm").tolist()
        if not dies:
            assert_whole_when_made_again(keeper, on_vectors)
    assert found.keys() <= {0, 20}
    assert found[0] >= 3


@pytest.fixture
def waiting(life: Path, on_vectors: ServiceConfig) -> Path:
    """A life that is about to learn elm, and has other examples in its inbox."""
    with Keeper(life, on_vectors) as keeper:
        keeper.teach("elm", "vector", vectors("elm"))
        keeper.sleep()
        keeper.teach("fir", "vector", vectors("fir", 3))
    return life


@DIES_OR_FAILS
def test_a_lesson_is_learned_once_and_for_all_wherever_it_breaks_off(
    waiting: Path, learned: Path, on_vectors: ServiceConfig, tmp_path: Path, dies: bool
) -> None:
    folder, found = tmp_path / "copy", Counter[str]()
    before, after = state_of(waiting), state_of(learned)

    def learn(keeper: Keeper) -> None:
        work = keeper.next_work()
        assert work is not None
        keeper.run(work, becoming(learned))

    for keeper in every_fault(waiting, folder, learn, on_vectors, dies=dies):
        if dies:
            assert_whole(keeper)
        numbers, record = Numbers(), keeper.work()[0]
        numbers.look(keeper)
        classes, state = keeper.inbox()["classes"], state_of(folder)
        found[f"{record.state} {'after' if state == after else 'before'}"] += 1
        assert state in (before, after)
        assert classes == {"elm": 20, "fir": 3} or state == after
        assert classes == {"fir": 3} or record.state != "done"
        if record.state == "failed":
            assert "No space left on device" in str(record.error)
            keeper.remove_all("fir")
            keeper.sleep()
        if record.state != "done":
            learn(keeper)
        numbers.look(keeper)
        assert state_of(folder) == after
        assert "elm" not in keeper.inbox()["classes"]
        assert [version.why for version in keeper.versions()] == ["lesson"] * 3
        assert keeper.next_work() is None
        if not dies:
            assert_whole_when_made_again(keeper, on_vectors)
    assert found["running before"] > 4
    assert found["done after" if dies else "running after"] > 4


@pytest.fixture
def to_forget(life: Path, on_vectors: ServiceConfig) -> Path:
    """A life that is about to forget cedar, of which there is more in its inbox."""
    with Keeper(life, on_vectors) as keeper:
        keeper.teach("fir", "vector", vectors("fir", 3))
        keeper.teach("cedar", "vector", vectors("cedar", 5))
    return life


@DIES_OR_FAILS
def test_a_class_is_forgotten_everywhere_wherever_it_breaks_off(
    to_forget: Path,
    forgotten: Path,
    on_vectors: ServiceConfig,
    names_in: Callable[[Path, str], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    dies: bool,
) -> None:
    folder, found = tmp_path / "copy", Counter[str]()
    before, after = state_of(to_forget), state_of(forgotten)
    monkeypatch.setattr("mygo.service.lessons.forget", becoming(forgotten))
    tensors = {path.name for path in to_forget.rglob("*.safetensors")}
    to_go = tensors - {path.name for path in forgotten.rglob("*.safetensors")}
    assert len(to_go) >= 3
    assert any(name.startswith("memory") for name in to_go)

    def forget(keeper: Keeper) -> None:
        keeper.forget("cedar")
        work = keeper.next_work()
        assert work is not None
        keeper.run(work)

    for keeper in every_fault(to_forget, folder, forget, on_vectors, dies=dies):
        if dies:
            assert_whole(keeper)
        state, work, numbers = state_of(folder), keeper.next_work(), Numbers()
        assert state in (before, after)
        records = [record for record in keeper.work() if record.what == "forget"]
        found[f"{records[0].state if records else 'not asked'} {'after' if state == after else 'before'}"] += 1
        numbers.look(keeper)
        if not records or records[0].state == "failed":
            forget(keeper)
        elif work is not None:
            keeper.run(work)
        numbers.look(keeper)
        assert state_of(folder) == after
        assert keeper.inbox()["classes"] == {"fir": 3}
        assert [version.why for version in keeper.versions()] == ["forget"]
        assert names_in(folder, "cedar") == []
        assert to_go.isdisjoint(path.name for path in folder.rglob("*"))
        assert keeper.next_work() is None
        if not dies:
            assert_whole_when_made_again(keeper, on_vectors)
    assert found["running before"] > 4
    assert found["done after" if dies else "running after"] > 4


@DIES_OR_FAILS
def test_what_the_life_was_comes_back_whole_or_not(
    life: Path, on_vectors: ServiceConfig, tmp_path: Path, dies: bool
) -> None:
    folder, found = tmp_path / "copy", Counter[str]()
    before = state_of(life)
    first = state_of(life / "service" / "versions" / "1")

    def roll_back(keeper: Keeper) -> None:
        keeper.roll_back(1)

    for keeper in every_fault(life, folder, roll_back, on_vectors, dies=dies):
        if dies:
            assert_whole(keeper)
        state, numbers = state_of(folder), Numbers()
        numbers.look(keeper)
        assert state in (before, first)
        found["after" if state == first else "before"] += 1
        assert [version.why for version in keeper.versions()][2:] == (["rollback"] if state == first else [])
        if state == before:
            roll_back(keeper)
        numbers.look(keeper)
        assert state_of(folder) == first
        if not dies:
            assert_whole_when_made_again(keeper, on_vectors)
    assert found["before"] > 4
    assert found["after"]
