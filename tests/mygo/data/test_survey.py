"""What a source holds, told before anything of it is decoded."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mygo.data import images
from mygo.data.survey import Survey, survey
from mygo.errors import InputError


def photos(folder: Path, sizes: dict[str, tuple[int, int]], count: int = 10) -> Path:
    for name, size in sizes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", size, number).save(folder / name / f"{number:02}.png")
    return folder


def refusal(data: Path | Any, **options: Any) -> str:
    with pytest.raises(InputError) as raised:
        survey(data, **options)
    text = str(raised.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def titles(found: Survey, part: int = 0) -> list[tuple[str, str]]:
    """Return what a part's items are called, and their classes."""
    reader, indices, labels = (getattr(found.parts[part], name) for name in ("reader", "indices", "labels"))
    return [
        (reader.where(index), found.class_names[label])
        for index, label in zip(indices.tolist(), labels.tolist(), strict=True)
    ]


def test_a_folder_is_surveyed_without_a_look_into_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(tmp_path / "birds", {"wren": (8, 8), "owl": (8, 8)})
    monkeypatch.setattr(Image, "open", pytest.fail)
    found = survey(data)
    assert (found.name, found.kind, found.class_names, len(found)) == ("birds", "image", ("owl", "wren"), 20)
    assert (found.held_out, found.unreadable, found.notes) == (0.1, (), ())
    assert titles(found) == [(str(data / name / f"{n:02}.png"), name) for name in ("owl", "wren") for n in range(10)]


def test_items_come_class_after_class_whatever_their_order(tmp_path: Path) -> None:
    rows = "".join(f"{n},{'ba'[n % 2]},{'test' if n < 4 else 'train'}\n" for n in range(40))
    (tmp_path / "texts.csv").write_text("text,label,split\n" + rows)
    found = survey(tmp_path / "texts.csv")
    assert (found.kind, found.class_names, [len(part) for part in found.parts]) == ("text", ("a", "b"), [36, 4])
    assert [name for _, name in titles(found)] == ["a"] * 18 + ["b"] * 18
    assert [found.parts[1].reader.read(int(index))[0] for index in found.parts[1].indices] == ["1", "3", "0", "2"]
    assert found.parts[0].labels.dtype == torch.int64


def test_what_cannot_be_learned_is_refused(tmp_path: Path) -> None:
    data = photos(tmp_path / "birds", {"wren": (8, 8), "owl": (8, 8)})
    assert "The life knows class owl already" in refusal(data, known=["owl"])
    assert "Class owl in" in (text := refusal(data, least=11))
    assert "has 10 readable training images, fewer than 11" in text
    (data / "jay").mkdir()
    assert "Class jay in" in refusal(data)
    (tmp_path / "texts.csv").write_text("text,label\n" + "a,x\n" * 9)
    assert "has 9 readable training texts, fewer than 10" in refusal(tmp_path / "texts.csv")
    (tmp_path / "texts.csv").write_text("text,label,split\n" + "a,x,train\n" * 10 + "a,y,test\n")
    assert "has no readable test text" in refusal(tmp_path / "texts.csv")
    assert "--held-out" in refusal(data, held_out=1.5)
    assert "is not there" in refusal(tmp_path / "gone")
    assert "holds no images" in refusal([])


def test_items_whose_class_cannot_be_told_are_listed() -> None:
    class Pairs(list[Any]):
        def __getitem__(self, index: Any) -> Any:
            if index == 3:
                raise OSError(5, "no disk")
            return super().__getitem__(index)

    found = survey(Pairs([(np.ones(3, np.float32), index % 2) for index in range(30)]))
    assert (found.kind, len(found)) == ("vector", 29)
    assert found.unreadable == ("Pairs, item 3: OSError: no disk",)


@pytest.mark.parametrize(("sizes", "largest"), [({"a": (8, 12), "b": (12, 30)}, 30), ({"a": (8, 8), "b": (99, 7)}, 99)])
def test_the_largest_side_is_looked_up(tmp_path: Path, sizes: dict[str, tuple[int, int]], largest: int) -> None:
    data = photos(tmp_path / "birds", sizes)
    (data / "a" / "00.png").write_bytes(b"no picture")
    assert survey(data).largest_side == largest


def test_few_sizes_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = survey(photos(tmp_path / "birds", {"a": (8, 8), "b": (20, 20)}, 500))
    looked: list[Path] = []
    monkeypatch.setattr("mygo.data.folders.size_of", lambda path: looked.append(path) or images.size_of(path))
    assert found.largest_side == 20
    assert len(looked) == 64
    assert len({path.parent for path in looked}) == 2
    for path in looked:
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="holds no image that can be read"):
        _ = replace(found).largest_side


def test_many_files_are_surveyed_in_seconds(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "many" / name).mkdir(parents=True)
        for number in range(5000):
            (tmp_path / "many" / name / f"{number}.jpg").touch()
    began = time.perf_counter()
    assert len(survey(tmp_path / "many")) == 10_000
    assert time.perf_counter() - began < 5, "it takes a fraction of a second"
