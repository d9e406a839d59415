"""Tables of images or texts, feature vectors in arrays, Hugging Face's data sets, and what a life is asked about."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from mygo.data.readers.find import readers_of
from mygo.data.readers.inputs import inputs_of
from mygo.data.readers.reader import Reader
from mygo.data.sources import read_source
from mygo.data.survey import survey
from mygo.errors import InputError

TRICKY = ['He said "hi, there"', "two\nlines", "tab\there; semicolon", "Zoë", "  spaces kept  ", "a, b"]


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write ``rows`` as ``path``'s ending says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path
    if path.suffix == ".parquet":
        parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
        parquet.write_table(arrow.Table.from_pylist(rows), path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        table.writeheader()
        table.writerows(rows)
    return path


def readers(source: Path | str) -> list[Reader]:
    return list(readers_of(source)[1])


def items(reader: Reader) -> list[tuple[Any, str]]:
    for index in range(len(reader)):
        assert reader.label(index) == reader.read(index)[1]
    return [reader.read(index) for index in range(len(reader))]


def refusal(source: Path | str) -> str:
    with pytest.raises(InputError) as raised:
        readers(source)
    text = str(raised.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet", ".CSV"])
def test_tables_of_texts_are_read_whatever_their_texts_hold(tmp_path: Path, suffix: str) -> None:
    rows = [{"id": i, "Text": text, "label": f"class {i % 2}"} for i, text in enumerate(TRICKY)]
    (reader,) = readers(written(tmp_path / f"texts{suffix}", rows))
    assert reader.kind == "text"
    assert items(reader) == [(text, f"class {i % 2}") for i, text in enumerate(TRICKY)]
    assert set(reader.names) == {"class 0", "class 1"}


def test_spreadsheets_may_write_semicolons_and_a_mark_of_the_encoding(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_bytes(b'\xef\xbb\xbftext;label\r\n"a;b";x\r\nc, d;x\r\n\r\n')
    assert items(readers(tmp_path / "texts.csv")[0]) == [("a;b", "x"), ("c, d", "x")]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_labels_may_be_whole_numbers(tmp_path: Path, suffix: str) -> None:
    (reader,) = readers(written(tmp_path / f"texts{suffix}", [{"text": "a", "label": 7}, {"text": "b", "label": 11}]))
    assert [reader.label(index) for index in range(2)] == ["7", "11"]


def test_images_lie_relative_to_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "photos").mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (12, 8), (number, 0, 0)).save(tmp_path / "data" / "photos" / f"{number}.png")
    rows = [{"image": f"photos/{number}.png", "label": "dot"} for number in range(8)]
    rows += [{"image": "./photos/../photos/8.png", "label": "dot"}]
    rows += [{"image": str(tmp_path / "data" / "photos" / "9.png"), "label": "dot"}]
    path = written(tmp_path / "data" / "table.csv", rows)
    for source in (path, "data/table.csv"):
        monkeypatch.chdir(tmp_path)
        (reader,) = readers(source)
        assert (reader.kind, reader.size(3)) == ("image", (8, 12))
        assert [item.getpixel((0, 0))[0] for item, _ in items(reader)] == list(range(10))
    assert reader.where(0) == "data/table.csv, line 2: photos/0.png"
    assert len(read_source(path, None).dataset.train) == 9
    written(path, [*rows[:9], {"image": "gone.png", "label": "dot"}])
    assert "line 11: gone.png: FileNotFoundError" in read_source(path, None, least=9).unreadable[0]


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "photos/../../secret.png", ".."])
def test_a_table_names_no_images_outside_its_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "data").mkdir()
    text = refusal(written(tmp_path / "data" / "table.csv", [{"image": path, "label": "x"}]))
    assert f"line 2: the image {path} is outside the table's folder: put the table above its images" in text


def test_a_column_may_split_the_table(tmp_path: Path) -> None:
    parts = ["train", "Training", "test", "val", "dev"]
    rows = [{"text": part, "label": "x", "split": part} for part in parts]
    _, (train, test), notes = readers_of(written(tmp_path / "t.csv", rows))
    assert [text for text, _ in items(train)] == ["train", "Training"]
    assert [text for text, _ in items(test)] == ["test"]
    assert notes == ("2 rows of validation are left out: accuracy is measured on those of test.",)
    _, (_, test), notes = readers_of(written(tmp_path / "t.csv", [rows[0], rows[3]]))
    assert [text for text, _ in items(test)] == ["val"]
    assert notes == ("Accuracy is measured on the rows of validation.",)
    assert "no row of test" in refusal(written(tmp_path / "t.csv", rows[:1]))
    assert "no row of train" in refusal(written(tmp_path / "t.csv", rows[2:]))
    assert "line 2: its split is 'all'" in refusal(written(tmp_path / "t.csv", [{**rows[0], "split": "all"}]))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("t.csv", b"text,class\na,b\n", "has no column label, but text, class: rename one"),
        ("t.csv", b"sentence,label\na,b\n", "has no column image or text, but sentence, label: rename"),
        ("t.csv", b"image,text,label\na,b,c\n", "has columns image and text: leave one"),
        ("t.csv", b"text,label,Label\na,b,c\n", "has two columns label"),
        ("t.csv", b"text,label\na,b\nc\n", "line 3 has 1 fields, not 2"),
        ("t.csv", b"text,label\na,b,c\n", "line 2 has 3 fields, not 2"),
        ("t.csv", b'text,label\n"a,b\n', "line 2 cannot be read .* check its quotes"),
        ("t.csv", b'text,label\n"a" x,b\n', "line 2 cannot be read .* check its quotes"),
        ("t.csv", b"text,label\na,\n", "line 2: its label is empty"),
        ("t.csv", b"text,label\n  ,b\n", "line 2: its text is empty"),
        ("t.csv", "text,label\nZoë,b\n".encode("latin-1"), "is not encoded in UTF-8 .byte 13.: save it as UTF-8"),
        ("t.csv", "text,label\na,b\n".encode("utf-16"), "is not encoded in UTF-8"),
        ("t.csv", b"", "has no rows"),
        ("t.csv", b"text,label\n", "has no rows"),
        ("t.csv", b'image,label\n"a\0b",c\n', "outside the table's folder|cannot be read"),
        ("t.jsonl", b'{"text": "a", "label": "b"}\n{"text": ', "line 2 is not JSON"),
        ("t.jsonl", b'["a", "b"]\n', "line 1 is not a JSON object"),
        ("t.jsonl", b'{"text": "a", "label": 1.5}\n', "line 1: its label is 1.5"),
        ("t.jsonl", b'{"text": "a", "label": true}\n', "line 1: its label is True"),
        ("t.jsonl", b'{"text": "a", "label": null}\n', "line 1: its label is empty"),
        ("t.jsonl", b'{"text": "a"}\n', "has no column label, but text"),
        ("t.jsonl", b'{"text": "a", "label": "x"}\n{"text": "b"}\n', "line 2: its label is empty"),
        ("t.jsonl", b'{"text": ["a"], "label": "x"}\n', r"line 1: its text is \['a'\]"),
        ("t.jsonl", b'{"text": "a", "text": "b", "label": "x"}\n', "has two columns text"),
        ("t.jsonl", b"[" * 100_000, "line 1 is not JSON"),
        ("t.parquet", b"PAR1 and nothing else", "cannot be read"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        readers(tmp_path / name)
    refusal(tmp_path / name)


def test_a_parquet_files_rows_are_named(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "x", "more": 1}, {"text": None, "label": "x", "more": 2}]
    assert "row 1: its text is empty" in refusal(written(tmp_path / "t.parquet", rows))
    assert "has no column label, but more, text" in refusal(written(tmp_path / "t.parquet", [{"text": "a", "more": 1}]))


def test_parquet_without_pyarrow_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "t.parquet", [{"text": "a", "label": "x"}])
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.lib", None)
    assert "needs pyarrow: pip install 'mygo[parquet]'" in refusal(path)


def test_a_life_that_sees_pixels_refuses_texts_and_vectors(tmp_path: Path) -> None:
    written(tmp_path / "t.csv", [{"text": "a", "label": "x"}])
    np.savez(tmp_path / "v.npz", features=VECTORS, labels=LABELS)
    for name, what in (("t.csv", "texts"), ("v.npz", "vectors")):
        with pytest.raises(InputError, match=f"holds {what}, but the life sees images: name images, or begin"):
            read_source(tmp_path / name, None)


# -- vectors ----------------------------------------------------------------------------------------------------------

VECTORS = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
LABELS = np.arange(20) % 2


def changed(row: int, value: float) -> npt.NDArray[np.float32]:
    vectors = VECTORS.copy()
    vectors[row] = value
    return vectors


def test_vectors_are_read_from_arrays(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "v.npz",
        **{"features": VECTORS.astype(float), "labels": LABELS, "class_names": np.array(["b", "a"])},
        **{"test_features": VECTORS[:4], "test_labels": LABELS[:4]},
    )
    train, test = readers(tmp_path / "v.npz")
    assert (train.kind, len(train), len(test)) == ("vector", 20, 4)
    assert train.read(3)[0].dtype == np.float32  # type: ignore[union-attr]
    assert np.array_equal(train.read(3)[0], VECTORS[3])
    assert [train.label(index) for index in range(3)] == ["b", "a", "b"]
    assert test.where(2) == f"{tmp_path / 'v.npz'}, row 2"
    np.save(tmp_path / "w.npy", VECTORS)
    np.save(tmp_path / "w-labels.npy", LABELS)
    (reader,) = readers(tmp_path / "w.npy")
    assert (reader.kind, reader.label(1)) == ("vector", "1")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"features": changed(17, np.nan)}, "row 17 of its features is not finite: leave it out"),
        ({"features": changed(3, np.inf)}, "row 3 of its features is not finite"),
        ({"features": np.full((20, 6), 1e300)}, "row 0 of its features is not finite"),
        ({"features": changed(19, 0)}, "row 19 of its features is zero"),
        ({"features": LABELS[:, None]}, r"features must be floating-point \[N, D\], not int64 \[20, 1\]"),
        ({"features": VECTORS[0]}, r"not float32 \[6\]"),
        ({"features": VECTORS[:, :0]}, r"not float32 \[20, 0\]"),
        ({"labels": LABELS[:19]}, "20 vectors but 19 labels: save one label per vector"),
        ({"images": np.zeros((20, 8, 8), np.uint8)}, "both images and features"),
        ({"test_features": VECTORS}, "both test_features and test_labels"),
        ({"test_features": VECTORS[:, :5], "test_labels": LABELS}, "must be of one length"),
        ({"features": VECTORS.astype(object)}, r"save features as numbers \(dtype=float32"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, npt.NDArray[Any]], complaint: str
) -> None:
    np.savez(tmp_path / "v.npz", **{"features": VECTORS, "labels": LABELS, **change})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=complaint):
        readers(tmp_path / "v.npz")


# -- Hugging Face's data sets -----------------------------------------------------------------------------------------


def test_a_folder_of_save_to_disk_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"text": datasets.Value("string"), "intent": datasets.ClassLabel(names=["b", "a"])})
    part = datasets.Dataset.from_dict({"text": ["one", "two", "three"], "intent": [0, 1, 1]}, features=features)
    part.save_to_disk(tmp_path / "single")
    (reader,) = readers(tmp_path / "single")
    assert (reader.kind, items(reader)) == ("text", [("one", "b"), ("two", "a"), ("three", "a")])
    assert set(reader.names) == {"a", "b"}
    parts = {"train": part, "validation": part.select([1]), "test": part.select([0])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "split")
    name, (_, test), notes = readers_of(tmp_path / "split")
    assert (name, items(test), notes) == ("split", [("one", "b")], ("The rows of validation are left out.",))
    datasets.Dataset.from_dict({"sentence": ["a"], "label": [0]}).save_to_disk(tmp_path / "other")
    assert "has the columns sentence, label, but none of images and none called text" in refusal(tmp_path / "other")
    datasets.Dataset.from_dict({"text": ["a"], "class": [0]}).save_to_disk(tmp_path / "unlabelled")
    assert "none called label" in refusal(tmp_path / "unlabelled")
    (tmp_path / "split" / "dataset_dict.json").write_text("{")
    assert "save it again with save_to_disk" in refusal(tmp_path / "split")


def test_pictures_of_a_folder_of_save_to_disk_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("string")})
    pictures = [Image.new("RGB", (9, 8), (number, 0, 0)) for number in range(12)]
    data = datasets.Dataset.from_dict({"img": pictures, "label": ["dot"] * 12}, features=features)
    data.save_to_disk(tmp_path / "dots")
    (reader,) = readers(tmp_path / "dots")
    assert (reader.kind, reader.size(0), reader.label(0)) == ("image", (8, 9), "dot")
    assert [item.getpixel((0, 0))[0] for item, _ in items(reader)] == list(range(12))


def test_a_data_set_that_is_nowhere_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def offline(name: str, configuration: str | None) -> None:
        raise ConnectionError(f"Couldn't reach '{name}' on the Hub\n({configuration})")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    assert "hf:owner/name:plus cannot be loaded (ConnectionError: Couldn't reach 'owner/name'" in (
        refusal("hf:owner/name:plus")
    )
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    assert "needs the package datasets: pip install 'mygo[hf]'" in refusal("hf:owner/name")


# -- pairs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        (lambda i: f"text {i}", "text"),
        (lambda i: torch.full((3,), float(i)), "vector"),
        (lambda i: np.full(3, i, np.float64), "vector"),
        (lambda i: np.full((8, 8), i, np.uint8), "image"),
        (lambda i: torch.full((1, 8, 8), i / 20), "image"),
        (lambda i: f"text {i}" if i else [][0], "text"),
    ],
)
def test_pairs_are_of_the_kind_of_the_first_that_can_be_read(made: Callable[[int], object], kind: str) -> None:
    class Pairs:
        def __len__(self) -> int:
            return 20

        def __getitem__(self, index: int) -> tuple[object, int]:
            return made(index), index % 2

    (reader,) = readers_of(Pairs())[1]  # type: ignore[arg-type]
    assert reader.kind == kind
    item, name = reader.read(3)
    assert name == "1"
    if kind == "vector":
        assert isinstance(item, np.ndarray)
        assert item.tolist() == [3, 3, 3]
        assert item.dtype == np.float32


def test_torchvisions_data_sets_tell_their_labels_without_being_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.utils.data import Subset

    from mygo.data.torchvision_shim import torchvision

    for name in ("ape", "owl"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{number}.png")
    folder = torchvision.datasets.ImageFolder(tmp_path)
    turned = torchvision.datasets.ImageFolder(tmp_path, target_transform=lambda label: 1 - label)
    (reader,) = readers_of(turned)[1]
    assert reader.label(0) == "owl"
    monkeypatch.setattr(type(folder), "__getitem__", pytest.fail)
    (reader,) = readers_of(Subset(folder, [5, 0]))[1]
    assert [reader.label(0), reader.label(1)] == ["owl", "ape"]


# -- what is asked about ----------------------------------------------------------------------------------------------


def test_texts_are_asked_about_as_they_are_or_in_files(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("first\n\n second\r\nthird", encoding="utf-8")
    table = written(tmp_path / "t.csv", [{"text": "in a table", "other": 1}])
    reader, _ = inputs_of(["Where is it?", str(tmp_path / "lines.txt"), table], "text")
    assert [item for item, _ in items(reader)] == ["Where is it?", "first", "second", "third", "in a table"]
    assert [reader.where(index) for index in (0, 2, 4)] == [
        "Where is it?",
        f"{tmp_path / 'lines.txt'}, line 3",
        f"{table}, line 2",
    ]
    for given, complaint in (
        (tmp_path / "gone.txt", "cannot be read"),
        (tmp_path, "holds no texts"),
        (written(tmp_path / "i.csv", [{"image": "x.png"}]), "has a column image, and none is called text"),
    ):
        with pytest.raises(InputError, match=complaint):
            inputs_of([given], "text")
    (tmp_path / "lines.txt").write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match="not encoded in UTF-8"):
        inputs_of([tmp_path / "lines.txt"], "text")


def test_images_are_asked_about_in_files_folders_and_tables(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for number, name in enumerate(("a.png", "deep/b.png", "deep/er/c.jpg")):
        Image.new("RGB", (9, 8), (100 * number, 0, 0)).save(tmp_path / name)
    table = written(tmp_path / "t.csv", [{"image": "a.png"}])
    reader, notes = inputs_of([tmp_path / "deep", table, tmp_path / "a.png"], "image")
    assert [item.getpixel((0, 0))[0] for item, _ in items(reader)] == pytest.approx([100, 200, 0, 0], abs=2)
    assert (reader.kind, reader.size(0), notes) == ("image", (8, 9), ())
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in"):
        inputs_of([tmp_path / "empty"], "image")


def test_vectors_are_asked_about_in_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    np.savez(tmp_path / "v.npz", features=VECTORS)
    reader, _ = inputs_of([tmp_path / "v.npy", tmp_path / "v.npz"], "vector")
    assert np.array_equal(np.stack([item for item, _ in items(reader)]), np.concatenate([VECTORS, VECTORS]))
    np.savez(tmp_path / "i.npz", images=np.zeros((2, 8, 8), np.uint8))
    for given, complaint in ((tmp_path / "i.npz", "does not hold features"), (tmp_path / "t.csv", "holds no vectors")):
        with pytest.raises(InputError, match=complaint):
            inputs_of([given], "vector")


def test_of_suggestions_only_what_can_be_taught_is_read(tmp_path: Path) -> None:
    lines = [
        "text,label,suggestion",
        *(f"new {n},oak,group 1" for n in range(12)),
        *(f"old {n},ash," for n in range(3)),
    ]
    lines += [*(f"few {n},elm,group 2" for n in range(4)), "what,,group 2"]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    found = survey(path, known=("ash",))
    assert found.class_names == ("oak",)
    assert len(found) == 12
    assert found.notes == (
        "1 of 20 suggestions have no label and are left out.",
        "3 suggestions are of classes that are known (ash) and are left out.",
        "Left out are classes with fewer than 10 examples so far: elm 4.",
    )
    with pytest.raises(InputError, match=r"no new class by 10 examples yet \(elm 4\)"):
        survey(path, known=("ash", "oak"))
