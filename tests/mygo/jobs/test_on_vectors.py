"""Lessons of feature vectors: they go on exactly where they were cut off, and hold few vectors in memory."""

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mygo.config.learner import LifeConfig
from mygo.config.presets import behind_encoder
from mygo.config.settings import change
from mygo.data.examples import Examples, LabelledDataset
from mygo.data.mapped import let_go, mapped, rows_of
from mygo.data.tasks import Task, TaskStream
from mygo.errors import InputError
from mygo.events import Event, PhaseEnded, Progress
from mygo.jobs.lesson import Lesson, learn, stream_of
from mygo.jobs.life import Life
from mygo.jobs.perception import check_encoder, encoder_of
from mygo.learner.learner import Learner

Write = Callable[..., str]


class PowerCutError(Exception):
    pass


def everything(folder: Path) -> dict[str, Tensor]:
    """Return all tensors of the life in ``folder``."""
    life = Life.open(folder)
    parts = {"neocortex": life.neocortex, **{f"memory {n}": each for n, each in enumerate(life.memories)}}
    parts |= {f"teacher {n}": each for n, each in enumerate(life.teachers)}
    parts |= {"detector": life.detector} if life.detector else {}
    return {f"{part} {name}": value for part, net in parts.items() for name, value in net.state_dict().items()}


def assert_same(folder: Path, other: Path) -> None:
    mine, theirs = everything(folder), everything(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


# -- cut off ----------------------------------------------------------------------------------------------------------


def test_inputs_are_counted_once_where_a_life_in_memory_goes_on(
    tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path
) -> None:
    data, life = write_vectors(tmp_path / "a.npz", ("ash", "birch")), Life("mygo", tiny_on_vectors, (12,))
    cuts: set[str] = set()

    def power_cut(event: Event) -> None:
        if isinstance(event, Progress | PhaseEnded) and event.place.phase != "encode":
            here = f"{event.place.phase} {type(event).__name__}"
            if here not in cuts:
                cuts.add(here)
                raise PowerCutError

    for _ in range(5):
        with pytest.raises(PowerCutError):
            life.learn(data, on_event=power_cut)
    life.learn(data)
    assert life.lessons[0].images == (18, 18)
    assert life.record.replaced_data_bytes == 36 * 12 * 4


@pytest.fixture
def school(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> Callable[[str], list[Lesson]]:
    """Returns a lesson, another, and the first taught again with more of one class, for the life of a name."""
    first = write_vectors(tmp_path / "first.npz", ("ash", "birch"))
    second = write_vectors(tmp_path / "second.npz", ("cedar", "date"))
    more = write_vectors(tmp_path / "more.npz", ("birch", "date"), 30, seed=1)

    def school(name: str) -> list[Lesson]:
        folder = tmp_path / name
        return [
            Lesson(folder, first, config=tiny_on_vectors, save_every=0.0, log_every=1),
            Lesson(folder, second, save_every=0.0, log_every=1),
            Lesson(folder, more, update=True, save_every=0.0, log_every=1),
        ]

    return school


def test_lessons_cut_off_at_the_end_of_every_phase_and_within_every_phase_end_as_undisturbed(
    school: Callable[[str], list[Lesson]], tmp_path: Path
) -> None:
    for lesson in school("undisturbed"):
        lesson.run()
    cuts: list[tuple[int, str, str]] = []
    for number, lesson in enumerate(school("cut")):

        def listen(event: Event, number: int = number) -> None:
            if isinstance(event, PhaseEnded) and event.place.phase != "evaluate":  # after which there is no more to do
                here = (number, f"task {event.place.task} {event.place.phase}", "end")
            elif isinstance(event, Progress) and event.step in (0, 13):
                here = (number, f"task {event.place.task} {event.place.phase}", str(event.step))
            else:
                return
            if here not in cuts:
                cuts.append(here)
                raise PowerCutError

        for _ in range(60):
            try:
                lesson.run(on_event=listen)
                break
            except PowerCutError:
                assert not (lesson.folder / "features").exists()
        else:
            pytest.fail("it never ended")
    phases = {(number, phase) for number, phase, _ in cuts}
    of_one = ("teach", "remember", "consolidate")
    assert phases >= {(number, f"task {number} {phase}") for number in (0, 1) for phase in of_one}
    assert phases >= {(2, f"task {task} {phase}") for task in (0, 1) for phase in of_one}
    assert {phase for _, phase in phases} >= {"task 0 encode", "task 1 encode"}
    assert_same(tmp_path / "cut", tmp_path / "undisturbed")
    lives = [Life.open(tmp_path / name) for name in ("cut", "undisturbed")]
    for name in ("label_fidelity", "diversity", "frechet_distance", "nearest_neighbour_ratio", "replaced_data_bytes"):
        assert getattr(lives[0].record, name) == getattr(lives[1].record, name)
    assert [lesson.images for lesson in lives[0].lessons] == [lesson.images for lesson in lives[1].lessons]


def test_a_lesson_cut_off_while_it_encodes_leaves_nothing(
    school: Callable[[str], list[Lesson]], tmp_path: Path
) -> None:
    first, second, _ = school("life")

    def cut(event: Event) -> None:
        if event.place.phase == "encode":  # type: ignore[union-attr]
            raise PowerCutError

    with pytest.raises(PowerCutError):
        first.run(on_event=cut)
    assert [path.name for path in first.folder.iterdir()] == ["in-use.lock"]
    first.run()
    before = {path: path.read_bytes() for path in first.folder.iterdir()}
    left_over = first.folder / "features" / "killed"  # as by a process that nothing could be done about
    left_over.mkdir(parents=True)
    (left_over / "rank-0.f32").write_bytes(b"half a vect")
    with pytest.raises(PowerCutError):
        second.run(on_event=cut)
    assert {path: path.read_bytes() for path in first.folder.iterdir()} == before
    second.run()
    assert not (first.folder / "features").exists()
    assert Life.open(first.folder).class_names == ["ash", "birch", "cedar", "date"]


def test_a_lesson_whose_data_is_gone_is_finished_asleep(school: Callable[[str], list[Lesson]], tmp_path: Path) -> None:
    undisturbed, lesson = school("undisturbed")[0], school("life")[0]
    undisturbed.run()

    def cut_after(phase: str) -> None:
        def listen(event: Event) -> None:
            if isinstance(event, PhaseEnded) and event.place.phase == phase:
                raise PowerCutError

        with pytest.raises(PowerCutError):
            lesson.run(on_event=listen)

    cut_after("teach")
    with pytest.raises(InputError, match="'first' still needs its data"):
        Lesson(lesson.folder).run()
    cut_after("remember")
    (tmp_path / "first.npz").unlink()
    Lesson(lesson.folder).run()
    assert_same(lesson.folder, undisturbed.folder)


# -- few vectors in memory --------------------------------------------------------------------------------------------


def test_vectors_in_a_file_are_read_again_after_they_were_let_go(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5000, 8)).astype(np.float32)
    vectors.tofile(tmp_path / "v.f32")
    found = mapped(tmp_path / "v.f32", 8)
    (tmp_path / "v.f32").unlink()
    part = found[100:200]
    for _ in range(2):
        assert np.array_equal(found.numpy(), vectors)
        assert np.array_equal(rows_of(part, torch.tensor([3, 1])).numpy(), vectors[[103, 101]])
        let_go(part)
    ours = torch.ones(3, 8)
    let_go(ours)
    assert ours.eq(1).all(), "what is in no file stays"


def test_a_stream_of_vectors_in_order_copies_none_of_them() -> None:
    def part(count: int) -> Examples:
        labels = torch.arange(4).repeat_interleave(count)
        return Examples(torch.arange(4.0 * count)[:, None].expand(-1, 3).contiguous(), labels)

    train, test = part(10), part(3)
    dataset = LabelledDataset("steps", train, test, ("a", "b", "c", "d"))
    stream = TaskStream(dataset, [Task(0, (0, 1)), Task(1, (2, 3))])
    again = stream_of(dataset, 0, ("c", "d"))
    for index, own in (
        (0, stream.take_training_data(stream.tasks[0])),
        (20, stream.take_training_data(stream.tasks[1])),
    ):
        assert own.inputs.data_ptr() == train.inputs[index].data_ptr()
        assert own.labels.tolist() == [0] * 10 + [1] * 10
    assert again.take_training_data(again.tasks[0]).inputs.data_ptr() == train.inputs[20].data_ptr()
    assert again.test[0].inputs.data_ptr() == test.inputs[6].data_ptr()
    turned = TaskStream(dataset, [Task(0, (3, 0))])
    assert turned.take_training_data(turned.tasks[0]).inputs[:, 0].tolist() == [*range(30, 40), *range(10)]


class Endless(Dataset[tuple[np.ndarray, int]]):
    """Vectors of two classes that are made when they are asked for."""

    classes = ("left", "right")

    def __init__(self, count: int, dim: int) -> None:
        self.targets = [index % 2 for index in range(count)]
        self.noise = np.random.default_rng(0).normal(size=(997, dim)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        label = self.targets[index]
        return self.noise[index % 997] + np.float32(index / len(self) + label), label


def peak_of(count: int) -> None:
    """Teach a lesson of so many vectors, and print the most memory in KiB."""
    torch.set_num_threads(1)
    settings = {"wake.head_steps": 300, "sleep.steps": 5, "sleep.batch_size": 32}
    life = Learner("mygo", change(behind_encoder(), settings), (1280,))
    learn(life, Endless(count, 1280), "endless")
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def test_the_most_memory_does_not_grow_with_the_number_of_examples() -> None:
    """40,000 vectors are 205 MB."""
    script = f"import runpy; runpy.run_path({__file__!r})['peak_of']"

    def peak(count: int) -> int:
        done = subprocess.run(
            [sys.executable, "-c", f"{script}({count})"], capture_output=True, text=True, check=True, cwd=Path.cwd()
        )
        return int(done.stdout.split()[-1])

    few, many = peak(4000), peak(40_000)
    print(few, many, many / few)
    assert many / few <= 1.2


# -- what does not fit ------------------------------------------------------------------------------------------------


class Fake:
    """An encoder of pictures by their mean colours."""

    name, input_kind, feature_dim, at_least = "fake", "image", 3, None

    def __init__(self, checksum: str = "0" * 64) -> None:
        self.checksum = checksum

    def preprocess(self, item: Image.Image) -> Tensor:
        return torch.from_numpy(np.array(item.resize((8, 8)))).permute(2, 0, 1)

    def collate(self, items: Any) -> Tensor:
        return torch.stack(list(items))

    def encode(self, batch: Tensor) -> Tensor:
        return batch.float().mean((2, 3))

    def to(self, device: torch.device) -> "Fake":
        return self


def test_an_encoder_whose_weights_changed_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Learner("mygo", change(behind_encoder(), {"encoder": "fake"}), (3,))
    life.encoder_checksum = "0" * 64
    check_encoder(life, Fake())
    check_encoder(life, None)
    with pytest.raises(
        InputError, match=r"is not the one that this life was begun with .*111, not 000000000000\)"
    ) as told:
        check_encoder(life, Fake("1" * 64))
    assert str(told.value).endswith(".")
    monkeypatch.setattr("mygo.jobs.perception.open_encoder", lambda name, weights: Fake("1" * 64))
    with pytest.raises(InputError, match="install the version that it was"):
        encoder_of(life)
    assert life.encoder is None
    monkeypatch.setattr("mygo.jobs.perception.open_encoder", lambda name, weights: Fake())
    assert encoder_of(life) is encoder_of(life)
