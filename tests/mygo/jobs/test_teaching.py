"""A life is taught a person's own images, again and again, and forgets a class when it is told to."""

import copy
import dataclasses
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.errors import InputError, MemoryQualityError
from mygo.events import Event, PhaseEnded
from mygo.files import locked
from mygo.jobs.experiment import Experiment
from mygo.jobs.forget import forget
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.training import precision

GREYS = {"night": 20, "dusk": 80, "haze": 140, "noon": 220}


class EndedError(Exception):
    """Ends a lesson from within."""


def write(path: Path, classes: Sequence[str], count: int = 40, seed: int = 0) -> str:
    """Write noisy squares, whose grey tells the class, as an .npz source."""
    rng = np.random.default_rng(seed)
    images = np.concatenate([rng.normal(GREYS[name], 10, (count, 8, 8)).clip(0, 255) for name in classes])
    labels = np.repeat(np.arange(len(classes)), count)
    np.savez(path, images=images.astype(np.uint8), labels=labels, class_names=np.array(classes))
    return str(path)


@pytest.fixture(scope="module")
def config(tiny_life: LifeConfig) -> LifeConfig:
    """A learner that can tell four greys apart, and dream them."""
    changes = {"memory.gan.steps": 200, "memory.gan.generator_width": 16, "wake.adapt_steps": 100, "sleep.steps": 100}
    changed: LifeConfig = change(tiny_life, {**changes, "wake.head_steps": 100, "sleep.max_shift": 0})
    return changed


@pytest.fixture(scope="module")
def school(config: LifeConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two sources, a life that learned them, and that life when it had learned the first."""
    folder = tmp_path_factory.mktemp("school")
    Lesson(folder / "young", write(folder / "dark.npz", ("night", "dusk")), config=config).run()
    shutil.copytree(folder / "young", folder / "life")
    Lesson(folder / "life", write(folder / "light.npz", ("haze", "noon"))).run()
    return folder


@pytest.fixture
def taught(school: Path, config: LifeConfig, tmp_path: Path) -> Lesson:
    """The second of two lessons, which was taught."""
    shutil.copytree(school, tmp_path, dirs_exist_ok=True)
    return Lesson(tmp_path / "life", str(tmp_path / "light.npz"))


def test_lessons_are_learned_one_after_another_without_the_images_of_those_before(taught: Lesson) -> None:
    life = Life.open(taught.folder)
    assert [(lesson.name, lesson.classes) for lesson in life.lessons] == [
        ("dark", ("dusk", "night")),
        ("light", ("haze", "noon")),
    ]
    assert (life.tasks_learned, life.cycles, life.current) == (2, 2, None)
    assert [lesson.images for lesson in life.lessons] == [(36, 36), (36, 36)]
    assert all(lesson.learned and lesson.class_il is not None and lesson.recall is not None for lesson in life.lessons)
    assert life.lessons[1].task_il is not None
    assert life.lessons[1].task_il > 0.9
    seen = torch.full((4, 1, 8, 8), GREYS["night"], dtype=torch.uint8)
    assert life.predict(seen, "dark").names == ["night"] * 4


def run_until(lesson: Lesson, phase: str) -> None:
    """Interrupt ``lesson`` at the end of ``phase``."""

    def listen(event: Event) -> None:
        if isinstance(event, PhaseEnded) and event.place.phase == phase:
            raise EndedError

    with pytest.raises(EndedError):
        lesson.run(on_event=listen)


def test_an_interrupted_lesson_goes_on_to_the_same_end(taught: Lesson, tmp_path: Path) -> None:
    undisturbed = Life.open(taught.folder)
    lesson = dataclasses.replace(taught, folder=tmp_path / "young")
    for phase in ("learn", "memorise", "consolidate"):
        run_until(lesson, phase)
    lesson.run()
    life = Life.open(lesson.folder)
    for ours, theirs in zip(life.neocortex.parameters(), undisturbed.neocortex.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert life.lessons[1].images == undisturbed.lessons[1].images
    assert life.record.replaced_data_bytes == undisturbed.record.replaced_data_bytes


def test_a_lesson_whose_images_are_gone_is_finished_asleep(taught: Lesson, tmp_path: Path) -> None:
    source = write(tmp_path / "more.npz", ("noon", "night"))
    folder = tmp_path / "young"
    lesson = dataclasses.replace(taught, folder=folder)
    run_until(lesson, "adapt")
    with pytest.raises(InputError, match="'light' still needs its data"):
        Lesson(folder).run()
    with pytest.raises(InputError, match="in the middle of the lesson 'light'"):
        Lesson(folder, source, update=True).run()
    with pytest.raises(InputError, match="in the middle of the lesson 'light'"):
        forget(Life.open(folder), "night")
    other = change(Life.open(folder).config, {"sleep.steps": 3})
    with pytest.raises(InputError, match="in the middle of a lesson with other settings"):
        dataclasses.replace(lesson, config=other).run()
    run_until(lesson, "memorise")
    Lesson(folder).run()
    life = Life.open(folder)
    assert life.tasks_learned == 2
    assert life.lessons[1].class_il is None
    assert life.lessons[1].recall is not None
    with pytest.raises(InputError, match="no lesson to finish"):
        Lesson(folder).run()


def test_a_lesson_goes_on_in_its_precision_and_the_next_may_be_told_another(
    tiny_life: LifeConfig, taught: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "native_precision", lambda: "bfloat16")
    first = Lesson(tmp_path / "other", str(tmp_path / "dark.npz"), config=tiny_life)
    run_until(first, "learn")
    monkeypatch.setattr(precision, "native_precision", lambda: "float32")
    with pytest.raises(InputError, match="in the middle of a lesson with other settings"):
        dataclasses.replace(first, config=change(tiny_life, {"precision": "float32"})).check()
    dataclasses.replace(first, config=change(tiny_life, {"eager": True})).run()
    life = Life.open(first.folder)
    assert (life.precision, life.config.eager) == ("bfloat16", True)
    life.forget("dusk")
    assert life.precision == life.record.computed["precision"] == "bfloat16"
    Lesson(first.folder, str(tmp_path / "light.npz"), config=change(tiny_life, {"precision": "float32"})).run()
    assert Life.open(first.folder).precision == "float32"


def test_what_is_taught_again_is_learned_beside_dreams_of_what_it_was(taught: Lesson, tmp_path: Path) -> None:
    before = Life.open(taught.folder)
    again = dataclasses.replace(taught, data=write(tmp_path / "more.npz", ("noon", "night"), 20, seed=1), update=True)
    again.run()
    life = Life.open(taught.folder)
    assert (life.tasks_learned, life.cycles, len(life.memories)) == (2, 4, 2)
    assert [lesson.images for lesson in life.lessons] == [(36, 54), (36, 54)]
    assert len(life.record.label_fidelity) == 2
    for old, new in zip(before.memories, life.memories, strict=True):
        assert any(not torch.equal(value, new.state_dict()[name]) for name, value in old.state_dict().items())
    seen = torch.full((4, 1, 8, 8), GREYS["dusk"], dtype=torch.uint8)  # of which there was nothing new
    assert life.predict(seen, "dark").names == ["dusk"] * 4


@pytest.mark.parametrize(("gone", "left"), [("night", ["dusk", "haze", "noon"]), ("haze", ["dusk", "night", "noon"])])
def test_a_forgotten_class_is_never_predicted_and_no_byte_of_its_memory_stays(
    taught: Lesson, gone: str, left: list[str]
) -> None:
    life = Life.open(taught.folder)
    old_files = {path.name: path.read_bytes() for path in taught.folder.glob("memory-*")}
    index = next(index for index, lesson in enumerate(life.lessons) if gone in lesson.classes)
    kept_file = next(name for name in old_files if name.startswith(f"memory-{1 - index}"))
    forget(life, gone)
    life = Life.open(taught.folder)
    assert sorted(life.class_names) == sorted(left)
    assert life.neocortex.head_sizes == [len(lesson.classes) for lesson in life.lessons]
    everything = torch.randint(256, (500, 1, 8, 8), dtype=torch.uint8)
    assert gone not in life.predict(everything).names
    assert not old_files.keys() & {path.name for path in taught.folder.iterdir()} - {kept_file}
    assert (taught.folder / kept_file).read_bytes() == old_files[kept_file]
    assert gone.encode() not in b"".join(path.read_bytes() for path in taught.folder.glob("manifest*"))
    assert life.memories[index].num_classes == 1


def test_a_lesson_of_which_everything_is_forgotten_goes_as_a_whole(taught: Lesson, tmp_path: Path) -> None:
    life = Life.open(taught.folder)
    life.config = change(life.config, {"wake.adapt_steps": 20, "memory.gan.steps": 20, "sleep.steps": 20})
    for name in ("night", "dusk"):
        forget(life, name)
    life = Life.open(taught.folder)
    assert (life.class_names, len(life.memories), life.tasks_learned) == (["haze", "noon"], 1, 1)
    assert len(life.record.diversity) == 1
    dataclasses.replace(taught, data=str(tmp_path / "dark.npz")).run()  # and can be taught again
    assert Life.open(taught.folder).class_names == ["haze", "noon", "dusk", "night"]
    life = Life.open(taught.folder)
    for name in ("haze", "noon", "dusk"):
        forget(life, name)
    with pytest.raises(InputError, match="all that this life knows"):
        forget(life, "night")


def test_what_does_not_fit_is_refused_in_one_sentence_before_anything_is_written(
    config: LifeConfig, taught: Lesson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in taught.folder.iterdir()}
    dark, new = str(tmp_path / "dark.npz"), write(tmp_path / "new.npz", ("night",))
    np.savez(tmp_path / "unknown.npz", images=np.zeros((20, 8, 8), np.uint8), labels=np.zeros(20, np.int64))
    unknown = str(tmp_path / "unknown.npz")
    for lesson, complaint in [
        (Lesson(taught.folder, dark), "knows class dusk already"),
        (Lesson(taught.folder, unknown, update=True), "does not know class"),
        (Lesson(taught.folder, unknown, name="dark"), "had a lesson 'dark' already"),
        (Lesson(taught.folder, unknown, config=change(config, {"backbone": "mlp"})), "has --backbone conv for good"),
        (Lesson(tmp_path / "nowhere", new, update=True), "no life that could be taught again"),
        (Lesson(tmp_path / "nowhere"), "pass --data"),
        (Lesson(taught.folder, str(tmp_path / "none")), "is not there"),
    ]:
        with pytest.raises(InputError, match=complaint):
            lesson.check()
    monkeypatch.setattr("mygo.jobs.lesson.LOCK_TIMEOUT_SECONDS", 0.1)
    with locked(taught.folder, 0), pytest.raises(InputError, match="is in use"):
        Lesson(taught.folder, unknown).check()
    with pytest.raises(InputError, match="knows no class 'owl'"):
        forget(Life.open(taught.folder), "owl")
    assert {path: path.read_bytes() for path in taught.folder.iterdir()} == before
    assert not (tmp_path / "nowhere").exists()


def test_a_lesson_waits_for_the_last_worker_of_one_that_was_killed(taught: Lesson, tmp_path: Path) -> None:
    lesson = Lesson(taught.folder, write(tmp_path / "more.npz", ("noon",)), update=True)
    with ThreadPoolExecutor() as pool, locked(taught.folder, 0):
        checked = pool.submit(lesson.check)
        assert wait([checked], timeout=1).not_done
        # The lock is released when this block ends, before the pool waits for the check.
    assert checked.result() is not None


def test_the_life_of_an_experiment_can_be_taught_more(tiny_experiment: Experiment, tmp_path: Path) -> None:
    tiny_experiment.run()
    assert tiny_experiment.out is not None
    folder = tiny_experiment.out / "life" / "mygo"
    Lesson(folder, write(tmp_path / "light.npz", ("noon",)), name="weather").run()
    life = Life.open(folder)
    assert [lesson.name for lesson in life.lessons] == ["task 1", "task 2", "weather"]
    assert life.neocortex.head_sizes == [5, 5, 1]
    with pytest.raises(InputError, match="other settings"):
        tiny_experiment.run()


class Greys(Dataset[tuple[torch.Tensor, str]]):
    """Pairs of an image and the name of its grey."""

    def __init__(self, *names: str) -> None:
        self.names = [name for name in names for _ in range(20)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, str]:
        return torch.full((1, 8, 8), GREYS[self.names[index]] + index % 5, dtype=torch.uint8), self.names[index]


@pytest.mark.parametrize("kept", [True, False])
def test_a_life_learns_in_the_process_that_uses_it(tiny_life: LifeConfig, tmp_path: Path, *, kept: bool) -> None:
    life = Life.create((1, 8, 8), tmp_path / "life" if kept else None, tiny_life)
    life.learn(Greys("night", "noon"), "extremes")
    life.learn(Greys("dusk"))
    assert [(lesson.name, lesson.images) for lesson in life.lessons] == [("extremes", (18, 18)), ("Greys", (18,))]
    assert life.dream("dusk", 5).shape == (5, 1, 8, 8)
    life.learn(Greys("dusk"), update=True)
    with pytest.raises(InputError, match="knows class dusk already"):
        life.learn(Greys("dusk"))
    before = copy.deepcopy(vars(life)["neocortex"].state_dict())
    hopeless = change(life.config, {"memory.diversity_floor": 1e9})
    life.config = hopeless
    with pytest.raises(MemoryQualityError):
        life.forget("noon")
    life.config = tiny_life
    assert life.class_names == ["night", "noon", "dusk"]  # nothing happened
    assert all(torch.equal(value, before[name]) for name, value in life.neocortex.state_dict().items())
    life.forget("noon")
    assert life.class_names == ["night", "dusk"]
    if kept:
        Life.open(tmp_path / "life").learn(Greys("haze"), "more")
        with pytest.raises(InputError, match="was changed since this life was opened"):
            life.forget("dusk")
        Life.open(tmp_path / "life").forget("haze")
        assert Life.open(tmp_path / "life").class_names == ["night", "dusk"]
        with pytest.raises(InputError, match="holds a life already"):
            Life.create((1, 8, 8), tmp_path / "life")


def unbalanced(path: Path) -> str:
    """Write an .npz source of two textures of like mean, of which one is rare, and a third."""
    rng = np.random.default_rng(5)
    patterns, counts = rng.integers(0, 255, (3, 8, 8)), (200, 200, 10)
    images = np.concatenate(
        [rng.normal(pattern, 25, (count, 8, 8)) for pattern, count in zip(patterns, counts, strict=True)]
    )
    names = np.array(["a", "b", "rare"])
    np.savez(path, images=images.clip(0, 255).astype(np.uint8), labels=np.repeat(range(3), counts), class_names=names)
    return str(path)


def test_a_rare_class_is_learned_and_dreamt_as_well_as_others(config: LifeConfig, tmp_path: Path) -> None:
    life = Life.create((1, 8, 8), None, change(config, {"memory.fidelity_floor": 0.7, "memory.diversity_floor": 0.1}))
    life.learn(unbalanced(tmp_path / "three.npz"))
    (fidelities,), (diversities,) = life.record.label_fidelity_per_class, life.record.diversity_per_class
    assert len(fidelities) == len(diversities) == 3
    assert min(fidelities) >= 0.7
    assert min(diversities) >= 0.1
    life.forget("a")
    assert [len(of_task) for of_task in life.record.label_fidelity_per_class] == [2]


def test_a_class_that_is_not_remembered_is_named(config: LifeConfig, tmp_path: Path) -> None:
    changes = {"wake.balance_classes": False, "memory.gan.balance_classes": False, "memory.fidelity_floor": 0.7}
    life = Life.create((1, 8, 8), None, change(config, changes))
    told: list[str] = []
    with pytest.raises(MemoryQualityError, match="of class rare: label fidelity 0"):
        life.learn(
            unbalanced(tmp_path / "three.npz"), on_event=lambda event: told.append(str(getattr(event, "text", "")))
        )
    assert any("attempt 1 of 2" in text and "of class rare" in text for text in told)


@pytest.mark.parametrize("where", [".", "life", "life/deep", ".."])
def test_a_life_in_or_around_its_images_is_refused_before_anything_is_written(
    config: LifeConfig, tmp_path: Path, where: str
) -> None:
    data = tmp_path / "photos"
    (data / "robin").mkdir(parents=True)
    folder = data / where
    with pytest.raises(InputError, match="keep them in folders apart"):
        Lesson(folder, data).check()
    with pytest.raises(InputError, match="keep them in folders apart"):
        Life.create((1, 8, 8), folder, config).learn(data)
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", "robin"]


def test_a_word_is_one_name_however_it_is_spelt(tiny_life: LifeConfig) -> None:
    def named(class_name: str) -> TensorDataset:
        data = TensorDataset(torch.full((20, 1, 8, 8), 7, dtype=torch.uint8), torch.zeros(20, dtype=torch.int64))
        data.classes = [class_name]  # type: ignore[attr-defined]
        return data

    life = Life.create((1, 8, 8), None, tiny_life)
    life.learn(named("cafe\u0301"), "de\u0301jeuner")
    assert (life.class_names, life.lessons[0].name) == (["caf\u00e9"], "d\u00e9jeuner")
    with pytest.raises(InputError, match="knows class caf\u00e9 already"):
        life.learn(named("caf\u00e9"))
    with pytest.raises(InputError, match="had a lesson 'd\u00e9jeuner' already"):
        life.learn(named("tea"), "d\u00e9jeuner")
    with pytest.raises(InputError, match="must be text, not 3"):
        life.learn(named("tea"), 3)  # type: ignore[arg-type]
    life.learn(named("tea"))
    life.forget("cafe\u0301")
    assert life.class_names == ["tea"]
