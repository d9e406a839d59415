import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mygo.config.learner import LifeConfig
from mygo.data.examples import Examples
from mygo.data.tasks import Task
from mygo.errors import InputError
from mygo.files import MANIFEST
from mygo.jobs.life import Life
from mygo.learner.saved import SCHEMA
from mygo.learner.storage import PREVIOUS, read_manifest, write_manifest
from mygo.memory.quality import Quality
from mygo.networks.generator import build_generator


@pytest.fixture
def life(tiny_life: LifeConfig, tmp_path: Path) -> Life:
    """A life between waking and sleeping of its second task."""
    life = Life("mygo", tiny_life, (1, 8, 8), tmp_path / "life")
    for task in (Task(0, (4, 7)), Task(1, (1, 2, 3))):
        life.begin(task)
        life.keep_memory(
            task.index, build_generator(tiny_life.memory.gan, len(task.classes), (1, 8, 8)), Quality(0.9, 0.8)
        )
    life.exemplars.append(Examples(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.arange(3)))
    life.fast_learner = Life("mygo", tiny_life, (1, 8, 8)).neocortex
    for size in (2, 3):
        life.fast_learner.add_task_head(size)
    life.tasks_learned = 1
    life.phases_done = ["learn", "adapt", "memorise"]
    life.record.task_il.append([1.0])
    life.record.seconds["learn"] = 1.5
    life.save()
    return life


def test_what_is_saved_is_what_is_opened(life: Life) -> None:
    assert life.folder is not None
    opened = Life.open(life.folder)
    assert opened.config == life.config
    assert (opened.strategy, opened.tasks_learned, opened.phases_done) == ("mygo", 1, ["learn", "adapt", "memorise"])
    assert opened.record == life.record
    assert opened.memory_bytes == life.memory_bytes
    assert opened.fast_learner is not None
    pairs = [(life.neocortex, opened.neocortex), (life.fast_learner, opened.fast_learner)]
    for kept, read in [*pairs, *zip(life.memories, opened.memories, strict=True)]:
        assert kept.state_dict().keys() == read.state_dict().keys()
        assert all(torch.equal(value, read.state_dict()[name]) for name, value in kept.state_dict().items())
    assert torch.equal(opened.exemplars[0].inputs, life.exemplars[0].inputs)


def test_neither_opening_a_life_nor_dreaming_imports_the_compiler(life: Life) -> None:
    open_it = "import sys, torch, mygo; from mygo.replay.spec import replay_of; "
    open_it += f"life = mygo.Life.open({str(life.folder)!r})"
    dream = "spec = replay_of(life); spec.dreamer(torch.device('cpu')).dream(spec.schedule.request(0))"
    code = f"{open_it}; {dream}; sys.exit('torch._dynamo' in sys.modules or 'sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_a_folder_holds_nothing_that_needs_unpickling_and_nothing_left_over(life: Life) -> None:
    assert life.folder is not None
    life.finish_cycle()
    for _ in range(2):  # the state before is kept too
        life.save()
    names = sorted(path.name for path in life.folder.iterdir())
    assert MANIFEST in names
    assert all(name in (MANIFEST, PREVIOUS) or name.endswith(".safetensors") for name in names)
    assert not any(name.startswith("fast-learner") for name in names)
    assert sum(name.startswith("memory-") for name in names) == 2


def test_memories_are_written_once(life: Life) -> None:
    assert life.folder is not None
    memory = next(life.folder.glob("memory-0-*"))
    written = memory.stat().st_mtime_ns
    life.save()
    assert memory.stat().st_mtime_ns == written


def test_a_save_that_is_cut_off_leaves_the_state_before(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    assert life.folder is not None
    life.tasks_learned = 2

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mygo.learner.learner.write_manifest", power_cut)
    with pytest.raises(KeyboardInterrupt):
        life.save()
    assert Life.open(life.folder).tasks_learned == 1


@pytest.mark.parametrize("role", ["neocortex", "fast-learner", "memory-1"])
def test_a_damaged_or_missing_file_is_named(life: Life, role: str) -> None:
    assert life.folder is not None
    path = next(life.folder.glob(f"{role}-*"))
    flip_a_bit(path)
    with pytest.raises(InputError, match=f"{path.name} is damaged"):
        Life.open(life.folder)
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name} cannot be read"):
        Life.open(life.folder)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("damage", [flip_a_bit, truncate, Path.unlink])
@pytest.mark.parametrize("role", ["neocortex", "memory-2", MANIFEST])
def test_a_life_whose_newest_state_is_damaged_is_opened_from_the_one_before(
    life: Life, role: str, damage: Callable[[Path], None]
) -> None:
    assert life.folder is not None
    before = {path.name for path in life.folder.iterdir()}
    life.finish_cycle()
    life.begin(Task(2, (8, 9)))
    life.keep_memory(2, build_generator(life.config.memory.gan, 2, (1, 8, 8)), Quality(0.9, 0.8))
    life.save()
    (newest,) = [
        path
        for path in life.folder.iterdir()
        if path.name.startswith(role) and (path.name not in before or role == MANIFEST)
    ]
    damage(newest)
    told: list[str] = []
    opened = Life.open(life.folder, told.append)
    assert opened.tasks_learned == 1
    assert len(opened.memories) == 2
    (text,) = told
    assert newest.name in text
    assert "state before it is used" in text
    # Going on keeps the good one of the two states.
    opened.record.seconds["learn"] = 7.0
    opened.save()
    assert Life.open(life.folder, pytest.fail).record.seconds["learn"] == 7.0
    flip_a_bit(life.folder / MANIFEST)
    assert Life.open(life.folder, told.append).record.seconds["learn"] == 1.5


def test_when_no_good_state_is_left_the_newest_ones_trouble_is_told(life: Life) -> None:
    assert life.folder is not None
    life.save()
    truncate(life.folder / MANIFEST)
    truncate(life.folder / PREVIOUS)
    with pytest.raises(InputError, match=f"{MANIFEST} is damaged"):
        Life.open(life.folder, pytest.fail)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.update(schema=99), "not a life of schema 3"),
        (lambda m: m["record"].update(confusion=[[1, None]]), "not a number"),
        (lambda m: m.pop("record"), "does not describe a life"),
        (lambda m: m["config"].update(colour="blue"), "does not describe a life"),
        (lambda m: m.update(head_sizes=[2, 4]), "does not describe a life"),
        (lambda m: m["files"].update(neocortex="../../secret-0123456789abcdef.safetensors"), "not a name that MyGO"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(life: Life, change, complaint: str) -> None:
    assert life.folder is not None
    manifest = read_manifest(life.folder / MANIFEST, SCHEMA)
    change(manifest)
    write_manifest(life.folder, manifest)
    with pytest.raises(InputError, match=complaint):
        Life.open(life.folder)


def test_an_empty_folder_holds_no_life(tmp_path: Path) -> None:
    assert not Life.exists(tmp_path)
    with pytest.raises(InputError, match="holds no saved life"):
        Life.open(tmp_path)


@pytest.mark.parametrize(
    "shape", [(28, 28), (0, 16, 16), (2, 8, 8), (1, 8, -8), (1, 8.0, 8), (1, 10, 10), "abc", 28, None, (1, 8, 8, 8)]
)
def test_a_life_of_no_shape_of_images_is_not_begun(shape: object) -> None:
    with pytest.raises(InputError, match="shape") as raised:
        Life.create(shape)  # type: ignore[arg-type]
    assert str(shape) in str(raised.value)


def test_names_that_were_saved_in_another_spelling_are_composed(life: Life) -> None:
    assert life.folder is not None
    life.lessons[0].name, life.lessons[0].classes = "cafe\u0301", ("cafe\u0301", "tea")
    life.save()
    opened = Life.open(life.folder)
    assert (opened.lessons[0].name, opened.lessons[0].classes) == ("caf\u00e9", ("caf\u00e9", "tea"))
    opened.check_newest()
