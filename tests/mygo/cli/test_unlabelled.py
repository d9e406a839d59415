"""What the commands say of inputs without labels, and what learn makes of what they write."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from mygo.__main__ import main
from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.encoders.frozen import FrozenEncoder
from mygo.encoders.preprocessing import ImagePreprocessing
from mygo.encoders.registry import ENCODERS, use_encoder
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.learner.learner import Learner


class Letters:
    """An encoder of texts by their letters."""

    name, input_kind, feature_dim, at_least, checksum = "letters", "text", 6, None, "ab" * 32

    def preprocess(self, item: str) -> Tensor:
        return torch.tensor([float(item.count(letter)) for letter in "abcdef"])

    def collate(self, items: list[Tensor]) -> Tensor:
        return torch.stack(list(items))

    def encode(self, batch: Tensor) -> Tensor:
        return batch

    def to(self, device: torch.device) -> "Letters":
        return self


def eyes() -> FrozenEncoder:
    return FrozenEncoder(
        "eyes", nn.Sequential(nn.AvgPool2d(2), nn.Flatten()), ImagePreprocessing(size=8), feature_dim=48
    )


@pytest.fixture(autouse=True)
def encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mygo.encoders.registry.ENCODERS", ENCODERS.copy())
    monkeypatch.setenv("COLUMNS", "400")
    use_encoder("eyes", eyes)
    use_encoder("letters", Letters)  # type: ignore[arg-type]


@pytest.fixture
def life(tiny_on_vectors: LifeConfig, photos: Callable[..., Path], tmp_path: Path) -> Path:
    """A life that knows red and green photos."""
    config = change(tiny_on_vectors, {"encoder": "eyes", "wake.head_steps": 100, "sleep.steps": 100})
    Lesson(tmp_path / "life", photos("red", "green", count=40), config=config).run()
    return tmp_path / "life"


def said(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Return what a command says once it has done well."""
    assert main([str(word) for word in argv]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Return the sentence with which a command ends."""
    assert main([str(word) for word in argv]) == 2
    return capsys.readouterr().err


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def fill_in(table: Path, label_of: Callable[[dict[str, str]], str]) -> None:
    """Write labels into a table of suggestions, as a person does."""
    rows = rows_of(table)
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([{**row, "label": label_of(row)} for row in rows])


def colour_of(row: dict[str, str]) -> str:
    return Path(row["source"]).parent.name


def test_new_photos_are_suggested_first_and_learned_from_the_table_that_was_filled_in(
    life: Path, photos: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, out = photos("red", "green", "blue", count=30, seed=1), tmp_path / "out"
    text = said(capsys, "suggest", "--life", life, pool, "-n", 30, "--out", out)
    assert "30 of 90 inputs" in text
    assert f"learn --data {out / 'suggestions.csv'}" in text
    rows = rows_of(out / "suggestions.csv")
    assert list(rows[0]) == ["image", "label", "suggestion", "taken for", "confidence", "source"]
    assert sum(colour_of(row) == "blue" for row in rows) >= 20
    assert rows[0]["suggestion"] == "group 1"
    assert {row["label"] for row in rows} == {""}
    for row in rows:
        assert (out / row["image"]).read_bytes() == Path(row["source"]).read_bytes()
    with Image.open(out / "sheet.jpg") as sheet:
        assert sheet.width > 8 * 100
    assert "has no label yet" in refused(capsys, "learn", "--life", life, "--data", out / "suggestions.csv")
    blank = rows[3]["image"]
    fill_in(out / "suggestions.csv", lambda row: "" if row["image"] == blank else colour_of(row))
    text = said(capsys, "learn", "--life", life, "--data", out / "suggestions.csv", "--name", "more")
    assert "1 of 30 suggestions have no label and are left out." in text
    assert Life.open(life).lessons[-1].classes == ("blue",)


def test_suggestions_go_on_where_an_earlier_table_ended_and_take_its_rare_labels_along(
    life: Path, photos: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, first, second = photos("red", "green", "blue", count=30, seed=1), tmp_path / "first", tmp_path / "second"
    said(capsys, "suggest", "--life", life, pool, "-n", 6, "--out", first)
    fill_in(first / "suggestions.csv", colour_of)
    blue = [row["source"] for row in rows_of(first / "suggestions.csv") if colour_of(row) == "blue"]
    text = refused(capsys, "learn", "--life", life, "--data", first / "suggestions.csv")
    assert f"shows no new class by 10 examples yet (blue {len(blue)}): label more" in text
    flags = ("-n", 10, "--out", second, "--without", first / "suggestions.csv")
    said(capsys, "suggest", "--life", life, pool, *flags)
    rows = rows_of(second / "suggestions.csv")
    assert [row["source"] for row in rows if row["label"]] == blue
    assert len(rows) == len(blue) + 10
    new = {row["source"] for row in rows if not row["label"]}
    assert not new & {row["source"] for row in rows_of(first / "suggestions.csv")}


def test_a_table_that_may_be_filled_in_is_never_overwritten(
    life: Path, photos: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, out = photos("red", "green", "blue", count=10, seed=1), tmp_path / "out"
    flags = ("suggest", "--life", life, "--out", out)
    said(capsys, *flags, pool, "-n", 6)
    fill_in(out / "suggestions.csv", colour_of)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    for again in ((pool,), (pool, "--without", out / "suggestions.csv"), ("--labels", pool)):
        told = refused(capsys, *flags, *again)
        assert f"{out / 'suggestions.csv'} is there already" in told
        assert "name another --out, and pass each suggestions.csv that you have with --without." in told
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    (out / "suggestions.csv").rename(out / "mine.csv")  # which still points to the copies of images
    assert f"{out / 'images'} is there already" in refused(capsys, *flags, pool)
    check = ("suggest", "--life", life, "--labels", pool, "--out", tmp_path / "check")
    said(capsys, *check)
    assert "labels.csv is there already" in refused(capsys, *check)


def test_an_out_with_suggestions_is_refused_before_a_life_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "suggestions.npz").touch()
    told = refused(capsys, "suggest", "--life", tmp_path / "none", "a.png", "--out", tmp_path)
    assert "suggestions.npz is there already" in told


def test_a_third_round_leaves_out_both_before_and_takes_each_label_along_once(
    life: Path, photos: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool, rounds = photos("red", "green", "blue", count=12, seed=1), [tmp_path / f"round{n}" for n in (1, 2, 3)]
    tables, seen = [out / "suggestions.csv" for out in rounds], []
    for number, (out, table) in enumerate(zip(rounds, tables, strict=True)):
        without = [word for earlier in tables[:number] for word in ("--without", earlier)]
        said(capsys, "suggest", "--life", life, pool, "-n", 6, "--out", out, *without)
        seen += [row["source"] for row in rows_of(table) if not row["label"]]
        if number == 0:
            fill_in(table, lambda row: {"blue": "sky", "red": "red"}.get(colour_of(row), ""))
            blue = [row["source"] for row in rows_of(table) if row["label"] == "sky"]
        elif number == 1:
            fill_in(table, lambda row: "sea" if row["label"] else "")  # what was carried is put right
    assert len(seen) == len(set(seen)) == 18
    assert blue
    assert [(row["source"], row["label"]) for row in rows_of(tables[2]) if row["label"]] == [(b, "sea") for b in blue]


@pytest.mark.parametrize("where", ["table", "vectors"])
def test_labels_of_vectors_are_taken_along_with_the_vectors(
    tiny_on_vectors: LifeConfig,
    write_vectors: Callable[..., str],
    where: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Lesson(tmp_path / "trees", write_vectors(tmp_path / "trees.npz", ("ash", "birch")), config=tiny_on_vectors).run()
    pool = write_vectors(tmp_path / "pool.npz", ("ash", "oak"), seed=1)
    flags, first, second = ("suggest", "--life", tmp_path / "trees", pool), tmp_path / "first", tmp_path / "second"
    said(capsys, *flags, "-n", 6, "--out", first)
    table, vectors = first / "suggestions.csv", dict(np.load(first / "suggestions.npz"))
    assert vectors["labels"].tolist() == [-1] * 6
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *reversed(lines[1:])]))  # sorted anew, as a person may
    labels = ["oak", "", "ash", "", "oak", "elm"]
    if where == "table":
        fill_in(table, lambda row: labels[int(row["vector"])])
    else:
        names = ["ash", "elm", "oak"]
        vectors |= {"class_names": np.array(names), "labels": np.array([names.index(n) if n else -1 for n in labels])}
        np.savez(first / "suggestions.npz", **vectors)
    said(capsys, *flags, "-n", 9, "--out", second, "--without", table)
    found, rows = np.load(second / "suggestions.npz"), rows_of(second / "suggestions.csv")
    assert [row["label"] for row in rows] == ["elm", "oak", "oak", *[""] * 9]
    assert [row["vector"] for row in rows] == [str(row) for row in range(12)]
    assert found["class_names"][found["labels"][:3]].tolist() == ["elm", "oak", "oak"]
    assert found["labels"][3:].tolist() == [-1] * 9
    assert np.array_equal(found["features"][:3], vectors["features"][[5, 4, 0]])
    given = np.load(pool)["features"][[int(row["source"].rpartition(" ")[2]) for row in rows]]
    along = (found["features"] * given).sum(1) / np.linalg.norm(found["features"], axis=1)
    assert np.allclose(along, np.linalg.norm(given, axis=1))  # one is as long as a life sees it
    assert not {row["source"] for row in rows[3:]} & {row["source"] for row in rows_of(table)}


def test_labels_of_a_vector_that_contradict_each_other_are_refused(
    tiny_on_vectors: LifeConfig, write_vectors: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Lesson(tmp_path / "trees", write_vectors(tmp_path / "trees.npz", ("ash", "birch")), config=tiny_on_vectors).run()
    flags = ("suggest", "--life", tmp_path / "trees", write_vectors(tmp_path / "pool.npz", ("oak",), seed=1))
    said(capsys, *flags, "-n", 3, "--out", tmp_path / "first")
    table, file = tmp_path / "first" / "suggestions.csv", tmp_path / "first" / "suggestions.npz"
    vectors = dict(np.load(file))
    again = (*flags, "--out", tmp_path / "second", "--without", table)
    np.savez(file, **{**vectors, "labels": np.array([0, -1, -1]), "class_names": np.array(["oak"])})
    fill_in(table, lambda row: "elm")
    assert f"Row 0 of {file} is labelled oak, and elm in suggestions.csv" in refused(capsys, *again)
    np.savez(file, **{**vectors, "labels": np.array([0])})
    assert "comes with 3 vectors but 1 labels" in refused(capsys, *again)
    np.savez(file, features=vectors["features"][:1])
    assert f"{file} has no row" in refused(capsys, *again)
    file.unlink()
    assert f"{file} cannot be read" in refused(capsys, *again)
    assert not (tmp_path / "second").exists()


def test_texts_and_vectors_are_suggested_as_what_they_are(
    tiny_on_vectors: LifeConfig, write_vectors: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{'ab'[n % 2] * (n + 1)} cde,{'xy'[n % 2]}\n" for n in range(30))
    (tmp_path / "texts.csv").write_text(f"text,label\n{rows}")
    Lesson(tmp_path / "words", tmp_path / "texts.csv", config=change(tiny_on_vectors, {"encoder": "letters"})).run()
    (tmp_path / "new.txt").write_text("\n".join([f"{'f' * (n + 1)}, d" for n in range(15)] + ["aaa cde"] * 5))
    said(capsys, "suggest", "--life", tmp_path / "words", tmp_path / "new.txt", "-n", 16, "--out", tmp_path / "w")
    found = rows_of(tmp_path / "w" / "suggestions.csv")
    assert list(found[0])[:2] == ["text", "label"]
    assert not (tmp_path / "w" / "sheet.jpg").exists()
    fill_in(tmp_path / "w" / "suggestions.csv", lambda row: "z" if "f" in row["text"] else "x")
    said(capsys, "learn", "--life", tmp_path / "words", "--data", tmp_path / "w" / "suggestions.csv")
    assert Life.open(tmp_path / "words").lessons[-1].classes == ("z",)

    Lesson(tmp_path / "trees", write_vectors(tmp_path / "trees.npz", ("ash", "birch")), config=tiny_on_vectors).run()
    pool = write_vectors(tmp_path / "pool.npz", ("ash", "oak"), seed=1)
    said(capsys, "suggest", "--life", tmp_path / "trees", pool, "-n", 9, "--out", tmp_path / "v")
    written, table = np.load(tmp_path / "v" / "suggestions.npz"), rows_of(tmp_path / "v" / "suggestions.csv")
    assert written["features"].shape == (9, 12)
    assert len(table) == 9


def test_drift_is_said_of_photos_of_another_colour_and_not_of_the_same(
    life: Path, photos: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(Learner.open(life).lessons[0].held_out) == 2
    same = json.loads(said(capsys, "drift", "--life", life, photos("red", "green", count=60, seed=2), "--json"))
    assert same["inputs"] == 120
    assert not same["drifted"]
    assert same["p_value"] > 0.05
    assert {each["class"] for each in same["classes"]} == {"red", "green"}
    other = json.loads(said(capsys, "drift", "--life", life, photos("blue", "red", count=60, seed=2), "--json"))
    assert other["drifted"]
    assert other["p_value"] < 1e-3
    text = said(capsys, "drift", "--life", life, photos("blue", "red", count=60, seed=2))
    assert "do not look like what was learned" in text
    few = photos("red", count=5, seed=3)
    assert "needs 30 inputs at the least, not 5" in refused(capsys, "drift", "--life", life, few)
    assert "--alpha must be" in refused(capsys, "drift", "--life", life, few, "--alpha", 2)


def test_wrong_labels_are_named_before_they_are_learned(
    life: Path, photos: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mixed"
    for colour, other in (("blue", "white"), ("white", "blue")):
        for number, file in enumerate(sorted(photos("blue", "white", count=20).glob(f"{colour}/*.png"))):
            target = folder / (other if number == 0 else colour) / f"{colour}-{number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    text = said(capsys, "suggest", "--life", life, "--labels", folder, "--out", tmp_path / "check")
    wrong = [str(folder / "white" / "blue-0.png"), str(folder / "blue" / "white-0.png")]
    assert f"{wrong[0]} is called white, and looks more like blue." in text
    table = rows_of(tmp_path / "check" / "labels.csv")
    assert len(table) == 40
    assert {row["image"] for row in table[:2]} == set(wrong)
    assert (tmp_path / "check" / "sheet.jpg").exists()
    text = said(capsys, "learn", "--life", life, "--data", folder, "--check-labels")
    assert f"{wrong[1]} is called blue, and looks more like white." in text
    assert Life.open(life).lessons[-1].classes == ("blue", "white")


def test_over_pixels_inputs_are_tested_suggested_and_checked_too(
    tiny_life: LifeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draws = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180), ("new", 120)):
        for number in range(40):
            picture = draws.normal(level, 20, (8, 8)).clip(0, 255).astype(np.uint8)
            folder = tmp_path / ("pool" if name == "new" or number >= 20 else "known") / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / f"{number}.png")
    Lesson(tmp_path / "life", tmp_path / "known", config=tiny_life).run()
    found = json.loads(said(capsys, "drift", "--life", tmp_path / "life", tmp_path / "pool", "--json"))
    assert found["inputs"] == 80
    said(capsys, "suggest", "--life", tmp_path / "life", tmp_path / "pool", "-n", 20, "--out", tmp_path / "out")
    assert len(rows_of(tmp_path / "out" / "suggestions.csv")) == 20
    said(capsys, "suggest", "--life", tmp_path / "life", "--labels", tmp_path / "known", "--out", tmp_path / "check")
    assert len(rows_of(tmp_path / "check" / "labels.csv")) == 40


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ((), "suggest needs inputs"),
        (("a.png", "--labels", "b"), "leave one of them out"),
        (("a.png", "-n", "0"), "-n must be from 1"),
        (("a.png", "--without", "b.txt"), "is no table"),
    ],
)
def test_what_suggest_cannot_do_is_said_in_a_sentence(
    life: Path, flags: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sentence in refused(capsys, "suggest", "--life", life, "--out", tmp_path / "out", *flags)
    assert not (tmp_path / "out" / "suggestions.csv").exists()


def test_a_life_without_memories_is_refused(
    tiny_on_vectors: LifeConfig, write_vectors: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Lesson(tmp_path / "one", write_vectors(tmp_path / "one.npz", ("ash",)), config=tiny_on_vectors).run()
    pool = write_vectors(tmp_path / "pool.npz", ("ash", "oak"), seed=1)
    assert "memories of two classes or more" in refused(capsys, "drift", "--life", tmp_path / "one", pool)
    assert "memories of two classes or more" in refused(
        capsys, "suggest", "--life", tmp_path / "one", pool, "--out", tmp_path / "out"
    )
