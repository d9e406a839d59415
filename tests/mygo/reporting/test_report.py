import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from PIL import Image

from mygo.baselines.registry import STRATEGIES, use_strategy
from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.data.tasks import Task
from mygo.errors import InputError, StorageError
from mygo.evaluate import RECALLED
from mygo.events import Evaluated, Event, PhaseEnded
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life
from mygo.learner.storage import PREVIOUS
from mygo.memory.gaussian import GaussianMemory
from mygo.reporting.plots import draw_confusion
from mygo.reporting.remembered import confused_most, remembered
from mygo.reporting.report import described, write_report
from mygo.reporting.results import read_folder

HOSTILE = [
    *("<script>alert(1)</script>", '"><img src=http://evil/x.png>', "&amp;", "{{ 7 * 7 }}"),
    *("$\\frac{", "\ud800\x00", "x" * 300),
]
CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """Reads a page; raises AssertionError where its tags are not balanced."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def alts(self) -> list[str]:
        return [attributes["alt"] for tag, attributes in self.tags if tag == "img"]


def assert_loads_nothing(page: Page) -> None:
    assert {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "base", "form"} == set()
    for tag, attributes in page.tags:
        assert attributes.get("src", "data:").startswith(
            "data:image/png;base64,"[: len(attributes.get("src", "data:"))]
        )
        assert attributes.get("href", "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes), tag
    style = page.source[page.source.index("<style>") : page.source.index("</style>")]
    assert not re.search(r"url\(|@import|http", style)


@pytest.fixture(scope="module")
def out(tiny_life: LifeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run of two strategies, with its report."""
    out = tmp_path_factory.mktemp("run") / "out"
    order = tuple(reversed(range(10)))
    config = ExperimentConfig(num_tasks=2, class_order=order, strategies=("mygo", "finetune"), life=tiny_life)
    Experiment(config, out).run()
    assert write_report(out) == out / "report.html"
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> Page:
    return Page(out / "report.html")


def test_a_report_is_one_page_that_loads_nothing(page: Page) -> None:
    assert_loads_nothing(page)
    headings = [tag for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert headings.count("h1") == 1
    assert headings[:2] == ["h1", "h2"]
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"} == anchors
    assert len(anchors) == 9


def test_a_report_says_what_results_json_says(out: Path, page: Page) -> None:
    results = json.loads((out / "results.json").read_text())
    for name, entry in results["strategies"].items():
        assert f"{entry['average_accuracy']['class_il']:.3f}" in page.text
        assert f"{entry['memory_bytes']:,}" in page.text
        for kind, title in (("class_il", "class-IL"), ("task_il", "task-IL")):
            last = ", ".join(f"{value:.2f}" for value in entry["accuracy_matrix"][kind][-1])
            assert f"Accuracy matrix of {name}, {title}. After the last task: {last}." in page.alts
        assert any(alt.startswith(f"Confusion matrix of {name}. Confused most: ") for alt in page.alts)
        for phase, seconds in entry["seconds"]["phases"].items():
            assert f"{name}, {phase}{seconds:,.1f}" in page.text
    for setting in ("life.sleep.steps20", "life.seed3", '"digits"', "torch"):
        assert setting in page.text


def test_dreams_stand_beside_the_names_of_their_classes_in_the_order_of_learning(page: Page) -> None:
    dreams = [alt for alt in page.alts if alt.startswith("Dreams of")]
    assert dreams == ["Dreams of 9, 8, 7, 6 and 5, a row for each.", "Dreams of 4, 3, 2, 1 and 0, a row for each."]


def test_the_pictures_of_the_page_lie_beside_it(out: Path, page: Page) -> None:
    paths = sorted((out / "pictures").iterdir())
    assert len(paths) == len(page.alts) == 3 + 2 * 3 + 1 + 2
    for path in paths:
        with Image.open(io.BytesIO(path.read_bytes())) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100
            picture.load()


def test_a_life_alone_has_a_report_too(out: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(out / "life" / "mygo", tmp_path / "life")
    page = Page(write_report(folder))
    assert_loads_nothing(page)
    assert "MyGO: digits, 2 tasks" in page.text
    assert "finetune" not in page.text
    assert sum(alt.startswith("Dreams of") for alt in page.alts) == 2
    assert Life.open(folder, pytest.fail).tasks_learned == 2


def test_a_life_in_the_middle_says_how_far_it_is(tiny_experiment: Experiment) -> None:
    def cut(event: Event) -> None:
        if isinstance(event, Evaluated) or (isinstance(event, PhaseEnded) and event.place.phase in until):
            raise KeyboardInterrupt

    until = ["memorise"]
    assert tiny_experiment.out is not None
    with pytest.raises(KeyboardInterrupt):
        tiny_experiment.run(on_event=cut)
    folder = tiny_experiment.out / "life" / "mygo"
    with pytest.raises(InputError, match="not finished its first task"):
        write_report(folder)
    until.clear()
    with pytest.raises(KeyboardInterrupt):
        tiny_experiment.run(on_event=cut)
    assert "MyGO: digits, 1 task" in Page(write_report(folder)).text


def test_a_life_that_was_taught_by_hand_shows_its_lessons(tiny_life: LifeConfig, tmp_path: Path) -> None:
    life = Life.create((1, 8, 8), tmp_path / "animals", tiny_life)
    images = torch.randint(256, (20, 1, 8, 8), dtype=torch.uint8)
    for names in (("cat", "dog"), ("<owl>",)):
        pairs = [(image, name) for name in names for image in images]
        life.learn(cast(Any, pairs), " and ".join(names))
    page = Page(write_report(tmp_path / "animals"))
    assert_loads_nothing(page)
    assert "MyGO: animals, 2 tasks" in page.text
    assert "cat and dog" in page.text
    assert "<owl>" in page.text
    assert "Learning curves" not in page.text
    assert f"{life.lessons[0].recall:.3f}" in page.text
    assert f"{life.lessons[0].calibration_error:.3f}" in page.text
    assert sum(alt.startswith("Dreams of") for alt in page.alts) == 2


def test_a_run_behind_an_encoder_shows_a_map_its_confusions_and_its_bytes(experiment_on_vectors: Experiment) -> None:
    config = replace(experiment_on_vectors.config, strategies=("mygo", "slda"))
    experiment = replace(experiment_on_vectors, config=config)
    experiment.run()
    assert experiment.out is not None
    page = Page(write_report(experiment.out))
    assert_loads_nothing(page)
    (shown,) = (alt for alt in page.alts if alt.startswith("Map of dreams of"))
    assert shown.startswith("Map of dreams of ash, birch, cedar and date: the closer two classes")
    assert "vectors of 12 numbers." in page.text
    assert "No dot is a real example." in page.text
    assert not any(alt.startswith("Dreams of") for alt in page.alts)
    entries = json.loads((experiment.out / "results.json").read_text())["strategies"]
    for name, entry in entries.items():
        assert f"{name}{entry['memory_bytes'] / 4:,.0f}{entry['statistics_bytes']:,}" in page.text
    assert entries["slda"]["statistics_bytes"] > 0
    for measure, title in (("label_fidelity", "label fidelity"), ("diversity", "diversity")):
        lowest = min(zip(entries["mygo"][f"{measure}_per_class"][0], ("ash", "birch"), strict=True))
        assert f"lowest {title} of a class{lowest[0]:.3f} ({lowest[1]})" in page.text.replace("\n", "")
    wrong = [
        (count, true, taken)
        for true, row in enumerate(entries["mygo"]["confusion_matrix"])
        for taken, count in enumerate(row)
        if count and true != taken
    ]
    heading = "mygo: held-out examples" if wrong else "mygo: no held-out examples are confused"
    assert heading in page.text


def test_a_life_of_vectors_that_was_taught_by_hand_confuses_dreams(
    tiny_on_vectors: LifeConfig, write_vectors: Callable[..., str], tmp_path: Path
) -> None:
    config = change(tiny_on_vectors, {"sleep.steps": 1, "sleep.discriminant_examples": 0.0, "sleep.lr": 1e-6})
    life = Life("mygo", config, (12,), tmp_path / "trees")
    for names in (("ash", "<birch>"), ("cedar",)):
        life.learn(write_vectors(tmp_path / "data.npz", names), names[0])
    before = {path: path.read_bytes() for path in (tmp_path / "trees").iterdir() if path.is_file()}
    page = Page(write_report(tmp_path / "trees"))
    assert_loads_nothing(page)
    found = remembered(life, [])
    assert sum(map(sum, found.confusion)) == 3 * RECALLED
    worst = confused_most(found.confusion)[0]
    assert worst.count == max(found.confusion[true][taken] for true in range(3) for taken in range(3) if true != taken)
    assert worst.share == worst.count / RECALLED
    assert f"{life.class_names[worst.true]}{life.class_names[worst.taken]}{worst.count}" in page.text
    assert any(alt.startswith("Map of dreams of <birch>, ash and cedar") for alt in page.alts)
    assert all(path.read_bytes() == content for path, content in before.items())


def test_a_map_of_many_classes_shows_those_that_are_confused(
    tiny_on_vectors: LifeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mygo.learner.map.MOST_CLASSES", 2)
    life = Life("mygo", tiny_on_vectors, (12,))
    life.begin(Task(0, tuple(range(4))))
    memory = GaussianMemory(4, 12, 2)
    for label in range(4):
        memory.set_class(label, torch.ones(12) * (label + 1), torch.eye(2, 12), torch.ones(12))
    life.memories.append(memory)
    confusion = [[9, 0, 0, 1], [0, 9, 0, 0], [0, 0, 9, 0], [2, 0, 0, 7]]
    found = remembered(life, confusion)
    assert found.shown.classes == [0, 3]
    assert list(found.confusion) == [], "it was measured on real ones"
    assert [(pair.true, pair.taken, pair.count) for pair in confused_most(confusion)] == [(3, 0, 2), (0, 3, 1)]


def changed(out: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Return ``folder`` with a copy of the run's results.json, and nothing else, after ``change``."""
    results = json.loads((out / "results.json").read_text())
    change(results)
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def test_names_that_were_made_to_do_harm_are_only_shown(out: Path, tmp_path: Path) -> None:
    def make_hostile(results: dict[str, Any]) -> None:
        results["class_names"][: len(HOSTILE)] = HOSTILE
        results["config"]["dataset"] = results["versions"]["torch"] = HOSTILE[0]
        results["config"][HOSTILE[1]] = HOSTILE[1]

    page = Page(write_report(changed(out, tmp_path / "out", make_hostile)))
    assert_loads_nothing(page)
    for name in HOSTILE:
        if name.isprintable():
            assert page.text.count(name) >= 3
    assert "The life of mygo is not in this folder" in page.text


def test_a_damaged_life_is_named_or_the_state_before_it_told(out: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(out, tmp_path / "out")
    manifest = copy / "life" / "mygo" / "manifest.json"
    manifest.write_text("{")
    assert "The state before it is used instead." in read_folder(copy).notices[0]
    (manifest.parent / PREVIOUS).write_text("{")
    with pytest.raises(InputError, match=r"life/mygo/manifest\.json is damaged"):
        write_report(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop("strategies"),
        lambda r: r["strategies"].clear(),
        lambda r: r["strategies"].update({"../../etc": r["strategies"]["mygo"]}),
        lambda r: r["strategies"]["mygo"]["accuracy_matrix"].update(class_il=[[0.5, 0.5]]),
        lambda r: r["strategies"]["mygo"]["accuracy_matrix"].update(class_il=[[1.5]]),
        lambda r: r["strategies"]["mygo"]["accuracy_matrix"].update(class_il=[]),
        lambda r: r["strategies"]["mygo"]["average_accuracy"].update(class_il=float("nan")),
        lambda r: r["strategies"]["mygo"].update(confusion_matrix=[[1]]),
        lambda r: r["strategies"]["mygo"]["confusion_matrix"][0].__setitem__(0, -1),
        lambda r: r["strategies"]["mygo"].update(diversity=[1.0]),
        lambda r: r["strategies"]["mygo"].update(memory_bytes="many"),
        lambda r: r["strategies"]["mygo"].update(statistics_bytes="many"),
        lambda r: r["strategies"]["mygo"]["diversity_per_class"][0].pop(),
        lambda r: r["strategies"]["mygo"]["label_fidelity_per_class"][0].__setitem__(0, "good"),
        lambda r: r["class_names"].pop(),
        lambda r: r["config"].update(num_tasks=99),
        lambda r: r.update(config=[]),
    ],
)
def test_damaged_results_are_named(out: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    folder = changed(out, tmp_path / "out", change)
    with pytest.raises(InputError, match=r"results\.json is damaged: it does not hold the results of a run \(.*\)\.$"):
        write_report(folder)
    assert [path.name for path in folder.iterdir()] == ["results.json"]


def test_results_that_are_cut_short_or_of_another_version_are_named(out: Path, tmp_path: Path) -> None:
    folder = changed(out, tmp_path / "out", lambda results: results.update(schema=99))
    with pytest.raises(InputError, match=r"results\.json is not of schema 1"):
        write_report(folder)
    (folder / "results.json").write_bytes((out / "results.json").read_bytes()[:-9])
    with pytest.raises(InputError, match=r"results\.json is damaged: it is not JSON"):
        write_report(folder)


def test_a_folder_of_something_else_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds neither results.json nor manifest.json: name the --out of a run"):
        write_report(tmp_path)


def test_memories_of_another_stream_are_refused(out: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(out, tmp_path / "out")

    def deal_into_five(results: dict[str, Any]) -> None:
        results["config"]["num_tasks"] = 5
        for entry in results["strategies"].values():
            entry["confusion_matrix"] = []

    changed(out, copy, deal_into_five)
    with pytest.raises(InputError, match="holds memories of another stream"):
        write_report(copy)


def test_a_report_that_cannot_be_written_says_what_to_do(out: Path, tmp_path: Path) -> None:
    folder = changed(out, tmp_path / "out", lambda results: None)
    (folder / "pictures").write_text("in the way")
    with pytest.raises(StorageError, match=r"pictures/.*\.png cannot be written \(.*\): make room there.*again\.$"):
        write_report(folder)


def test_nothing_of_a_report_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, mygo.jobs.experiment, mygo.reporting.report; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on PATH, to open a report with")
def test_a_browser_shows_a_report_without_complaint(out: Path, tmp_path: Path) -> None:
    screenshot = tmp_path / "screenshot.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    what = [f"--screenshot={screenshot}", "--dump-dom", "--virtual-time-budget=2000", "--window-size=1200,3000"]
    command = [CHROMIUM or "", *flags, *what, (out / "report.html").as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert "CONSOLE" not in ended.stderr
    assert '<th scope="row">finetune</th>' in ended.stdout
    with Image.open(screenshot) as picture:
        assert picture.size == (1200, 3000)
        colours = picture.convert("RGB").getcolors(maxcolors=2**24) or []
    assert len(colours) > 500, "curves and heatmaps"
    assert max(colours)[1] == (255, 255, 255)


def test_every_strategy_has_a_look_and_a_description_also_one_of_ones_own() -> None:
    looks = [strategy.look for strategy in STRATEGIES.values()]
    assert len(set(looks)) == len(looks)
    assert all(strategy.description for strategy in STRATEGIES.values())
    use_strategy("own", STRATEGIES["finetune"].wake, description="does nothing new")
    assert described("own") == "does nothing new"
    assert described("nobody's") == "a strategy of one's own"
    del STRATEGIES["own"]


def test_a_matrix_without_room_for_numbers_gets_a_scale_of_colours() -> None:
    for size, axes in ((20, 1), (21, 2)):
        figure = draw_confusion([[1] * size] * size, ["name"] * size, [size], "mygo")
        assert len(figure.axes) == axes
        assert bool(figure.axes[0].texts) == (axes == 1)
