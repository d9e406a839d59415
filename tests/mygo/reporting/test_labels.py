import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mygo.config.learner import LifeConfig
from mygo.jobs.life import Life
from mygo.reporting import labels
from mygo.reporting.labels import labels_for
from mygo.reporting.plots import draw_confusion, png
from mygo.reporting.report import write_report


@pytest.fixture(autouse=True)
def no_warning() -> Iterator[None]:
    """Make a missing glyph an error, as matplotlib only warns of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def without_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no font but the one that matplotlib brings along."""
    monkeypatch.setattr(labels, "_families_here", list)


NAMES = (
    "robin",
    "猫",
    "🐕‍🦺",
    "cafe\u0301",
    "a$b$c",
    "\\frac$",
    "שלום",
    "कुत्ता",
    "a_very_long_name_1",
    "a_very_long_name_2",
)


def test_names_are_written_as_they_are_or_numbers_stand_for_them(without_fonts: None) -> None:
    made = labels_for(NAMES, "class")
    assert made.families == [labels.FONT]
    assert made.texts == [
        *("robin", "class 2", "class 3", "café", r"a\$b\$c", r"\frac\$"),
        *("class 7", "class 8", "class 9", "class 10"),
    ]
    assert made.numbered == {text: NAMES[int(text.split()[1]) - 1] for text in made.texts if text.startswith("class")}
    figure = draw_confusion([[1] * 10] * 10, made.texts, [10], "mygo")
    assert png(figure).startswith(b"\x89PNG")


def test_a_number_is_no_other_class_s_name(without_fonts: None) -> None:
    made = labels_for(["猫", "class 1", "", " "], "class")
    assert made.texts == ["class 1*", "class 1", "class 3", "class 4"]
    assert made.numbered == {"class 1*": "猫", "class 3": "", "class 4": " "}


def test_a_font_of_this_machine_that_has_the_characters_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts = {labels.FONT: frozenset("abc "), "Useless": frozenset("x"), "Han": frozenset("猫犬")}
    monkeypatch.setattr(labels, "_families_here", lambda: ["Han", "Useless"])
    monkeypatch.setattr(labels, "_characters", fonts.__getitem__)
    made = labels_for(["cab", "猫 a", "鳥"], "class")
    assert (made.texts, made.families) == (["cab", "猫 a", "class 3"], [labels.FONT, "Han"])


def test_what_is_no_font_that_can_be_drawn_has_no_characters() -> None:
    assert labels._characters("no such family") == frozenset()
    assert {"a", "é", "\ufffd", "…"} <= labels._characters(labels.FONT)


def test_a_report_names_all_classes_whatever_their_script(
    tiny_life: LifeConfig, tmp_path: Path, without_fonts: None, capfd: pytest.CaptureFixture[str]
) -> None:
    count = 12 * len(NAMES)
    pixels = torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)

    class DatasetReader(torch.utils.data.Dataset):  # type: ignore[type-arg]
        classes = NAMES

        def __len__(self) -> int:
            return count

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return pixels[index], index % len(NAMES)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Life.create((1, 8, 8), tmp_path / "life", tiny_life).learn(DatasetReader(), "everything")
    page = write_report(tmp_path / "life").read_text()
    learned = Life.open(tmp_path / "life").class_names
    forms = {unicodedata.normalize("NFC", name) for name in learned}
    assert all(name in unicodedata.normalize("NFC", page) for name in forms)
    assert "numbers stand for these names" in page
    place = learned.index("猫") + 1
    assert f'<th scope="row">class {place}</th><td>猫</td>' in page
    assert capfd.readouterr().err == ""
