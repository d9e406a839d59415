"""``merge`` and ``pack`` as a person types them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mygo.__main__ import main
from mygo.config.learner import LifeConfig
from mygo.jobs.life import Life

Write = Callable[..., str]


@pytest.fixture
def folders(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> list[Path]:
    """Folders of two lives that both know birch."""
    for name, classes in (("north", ("ash", "birch")), ("south", ("birch", "cedar"))):
        life = Life("mygo", tiny_on_vectors, (12,), tmp_path / name)
        life.learn(write_vectors(tmp_path / f"{name}.npz", classes))
    return [tmp_path / "north", tmp_path / "south"]


def test_lives_are_merged_and_shown(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    out = tmp_path / "both"
    assert main(["merge", *map(str, folders), "--out", str(out)]) == 2
    assert "both know birch: merge them with --same together" in capsys.readouterr().err
    assert not out.exists()
    assert main(["merge", *map(str, folders), "--out", str(out), "--same", "apart"]) == 0
    assert "birch (south)" in capsys.readouterr().out
    assert Life.open(out).class_names == ["ash", "birch", "birch (south)", "cedar"]
    assert main(["merge", *map(str, folders), "--out", str(out), "--same", "apart"]) == 2
    assert "holds a life already" in capsys.readouterr().err


def test_a_packed_life_takes_the_place_of_its_folder(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "south.mygo"
    assert main(["pack", "--life", str(folders[1]), str(file)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Memories of 2 classes" in printed
    assert "may find out whether an example was among them" in printed
    for number, other in enumerate((file, folders[1])):
        words = ["merge", str(folders[0]), str(other), "--out", str(tmp_path / str(number)), "--same", "together"]
        assert main(words) == 0
    lives = [Life.open(tmp_path / str(number)) for number in range(2)]
    assert [lesson.origins for lesson in lives[0].lessons] == [("north", "north, south"), ("south",)]
    assert lives[0].facts()["lessons"][0]["images"] == lives[1].facts()["lessons"][0]["images"]


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["merge", "north", "--out", "new"], "takes two lives or more"),
        (["merge", "north", "north", "--out", "new"], "takes two lives or more"),
        (["merge", "north", "nowhere", "--out", "new"], "is not there"),
        (["merge", "north", "north.npz", "--out", "new"], "is not a life that was packed"),
        (["pack", "--life", "north", "a.zip"], "name a file in .mygo"),
        (["pack", "--life", "nowhere", "a.mygo"], "is not there"),
    ],
)
def test_what_makes_no_sense_ends_with_2_and_leaves_nothing(
    folders: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(argv) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())
    assert sorted(tmp_path.rglob("*")) == before
