"""Examples as feature vectors: streamed, the same whatever the number of workers, and gone after the lesson."""

import resource
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mygo.data.examples import Examples
from mygo.data.images import open_picture
from mygo.data.readers.arrays import unlabelled
from mygo.data.sources import Source, read_source
from mygo.data.survey import survey
from mygo.errors import InputError, StoppedError, StorageError
from mygo.events import ENCODE, Event, PhaseEnded, Place, Progress
from mygo.jobs import encoding, features
from mygo.jobs.encoding import encode_inputs, encoded
from mygo.jobs.features import BATCH_SIZE
from mygo.training.process_group import ProcessGroup, SingleProcess
from tests.mygo.workers import together

PLACE = Place("mygo", 0, ENCODE)
COLOURS = {"robin": (200, 40, 30), "sparrow": (120, 90, 60), "wren": (90, 60, 20)}


class Colours:
    """An encoder of pictures: the mean of each channel, and of both halves'."""

    name, input_kind = "colours", "image"

    def __init__(self) -> None:
        self.alive = self.most_alive = self.batches = 0
        self.lock = threading.Lock()

    def preprocess(self, item: Image.Image) -> Tensor:
        assert item.mode == "RGB"
        with self.lock:
            self.alive += 1
            self.most_alive = max(self.alive, self.most_alive)
        return torch.from_numpy(np.array(item.resize((8, 8)))).permute(2, 0, 1)

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(items))

    def encode(self, batch: Tensor) -> Tensor:
        with self.lock:
            self.alive -= len(batch)
            self.batches += 1
        means = batch.float().mean(3)
        return torch.cat([means[:, :, :4].mean(2), means[:, :, 4:].mean(2)], 1)


class Letters:
    """An encoder of texts: how often some letters come."""

    name, input_kind = "letters", "text"

    def preprocess(self, item: str) -> Tensor:
        return torch.tensor([float(item.count(letter)) for letter in "abc"])

    def collate(self, items: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(items))

    def encode(self, batch: Tensor) -> Tensor:
        return batch


def photos(folder: Path, count: int = 20, classes: Sequence[str] = tuple(COLOURS)) -> Path:
    """Make ``count`` pictures of each class, whose blue tells which they are."""
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        red, green, blue = COLOURS[name]
        for number in range(count):
            Image.new("RGB", (40, 30), (red, green, blue + number)).save(folder / name / f"{number:03}.png")
    return folder


def encode(data: Path | Any, encoder: Any = None, folder: Path | None = None, **options: Any) -> Source:
    with encoded(survey(data, **options), encoder, SingleProcess(), folder, place=PLACE) as source:
        dataset = source.dataset
        kept = [Examples(part.inputs.clone(), part.labels) for part in (dataset.train, dataset.test)]
        return Source(type(dataset)(dataset.name, *kept, dataset.class_names), source.unreadable, source.notes)


def refusal(data: Path | Any, encoder: Any = None, **options: Any) -> str:
    with pytest.raises(InputError) as raised:
        encode(data, encoder, **options)
    text = str(raised.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_a_data_set_of_vectors_has_the_order_and_the_held_out_examples_of_one_of_pixels(tmp_path: Path) -> None:
    data = photos(tmp_path / "birds")
    seen, pixels = encode(data, Colours()).dataset, read_source(data, None).dataset
    assert (seen.name, seen.class_names, seen.input_shape) == ("birds", pixels.class_names, (6,))
    for part, other in ((seen.train, pixels.train), (seen.test, pixels.test)):
        assert torch.equal(part.labels, other.labels)
        assert part.inputs.norm(dim=1).numpy() == pytest.approx(6**0.5)
        means = other.inputs.float().mean((2, 3))
        assert torch.allclose(part.inputs[:, :3], means * (3**0.5 / means.norm(dim=1, keepdim=True)))


def test_texts_are_encoded_in_order_of_length_and_keep_their_places(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [("abc"[rng.integers(3)] * int(rng.integers(1, 40)) + "a", f"class {i % 3}") for i in range(300)]
    lines = [f"{text},{label},{'test' if i < 30 else 'train'}\n" for i, (text, label) in enumerate(rows)]
    (tmp_path / "texts.csv").write_text("text,label,split\n" + "".join(lines))
    lengths: list[list[float]] = []

    class Noting(Letters):
        def encode(self, batch: Tensor) -> Tensor:
            lengths.append(batch.sum(1).tolist())
            return batch

    dataset = encode(tmp_path / "texts.csv", Noting()).dataset
    for part, own in ((dataset.train, rows[30:]), (dataset.test, rows[:30])):
        counts = [Letters().preprocess(text) for text, _ in sorted(own, key=lambda row: row[1])]
        assert torch.allclose(part.inputs, torch.stack([each * (3**0.5 / each.norm()) for each in counts]))
    in_train = [length for batch in lengths[:-1] for length in batch]
    assert in_train == sorted(in_train)
    assert max(map(len, lengths)) == BATCH_SIZE["text"]


def test_vectors_need_no_encoder(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float16)
    np.savez(
        tmp_path / "v.npz",
        features=vectors,
        labels=np.arange(40) // 20,
        test_features=vectors[[0, 30]],
        test_labels=np.array([0, 1]),
    )
    dataset = encode(tmp_path / "v.npz").dataset
    rows = torch.from_numpy(vectors.astype(np.float32))
    assert torch.allclose(dataset.train.inputs, rows * (5**0.5 / rows.norm(dim=1, keepdim=True)))
    assert torch.equal(dataset.test.inputs, dataset.train.inputs[[0, 30]])
    assert "holds vectors, but the encoder colours takes images" in refusal(tmp_path / "v.npz", Colours())
    assert "but a life without an encoder takes vectors" in refusal(photos(tmp_path / "birds", 10))


# -- what cannot be read ----------------------------------------------------------------------------------------------


def test_unreadable_items_are_listed_and_left_out(tmp_path: Path) -> None:
    data = photos(tmp_path / "birds")
    for name, number in (("wren", 3), ("robin", 19), ("robin", 0)):
        (data / name / f"{number:03}.png").write_bytes(b"no picture")
    source = encode(data, Colours())
    assert [entry.split(":")[0] for entry in source.unreadable] == [
        str(data / name) for name in ("robin/000.png", "robin/019.png", "wren/003.png")
    ]
    assert len(source.dataset.train) + len(source.dataset.test) == 57
    pixels = read_source(data, None).dataset
    assert torch.equal(source.dataset.train.labels, pixels.train.labels)
    assert torch.equal(source.dataset.test.labels, pixels.test.labels)
    for number in range(4, 8):
        (data / "wren" / f"{number:03}.png").write_bytes(b"no picture")
    assert "7 of 60 images in" in refusal(data, Colours())


def test_a_class_whose_pictures_cannot_be_read_is_named(tmp_path: Path) -> None:
    data = photos(tmp_path / "birds")
    for number in range(10, 20):
        (data / "wren" / f"{number:03}.png").unlink()
    (data / "wren" / "000.png").write_bytes(b"no picture")
    assert f"Class wren in {data} has 9 readable training images, fewer than 10" in refusal(data, Colours())


def test_features_that_are_zero_or_not_finite_are_listed(tmp_path: Path) -> None:
    class Odd(Colours):
        def encode(self, batch: Tensor) -> Tensor:
            found = super().encode(batch)
            if self.batches == 2:
                found[0], found[1] = 0, torch.nan
            return found

    source = encode(photos(tmp_path / "birds", 20), Odd())
    assert [entry.partition(": ")[2] for entry in source.unreadable] == ["its features are zero or not finite"] * 2
    assert source.unreadable[1].startswith(str(tmp_path / "birds" / "robin" / "009.png"))
    assert len(source.dataset.train) + len(source.dataset.test) == 58


def test_vectors_of_several_lengths_are_refused() -> None:
    class Pairs(list[Any]):
        pass

    short = Pairs([(torch.ones(3), i % 2) for i in range(40)])
    assert len(encode(short).dataset.train) == 36
    assert "has 4 values, but others have 3" in refusal(Pairs([*short, (torch.ones(4), 0)]))
    many = Pairs([(torch.ones(3), 0) for _ in range(BATCH_SIZE["vector"])])
    assert "vectors of 3 and of 4 values" in refusal(Pairs([*many, *[(torch.ones(4), 0)] * 3]))


def test_odd_pairs_are_listed() -> None:
    pairs: list[tuple[object, int]] = [(torch.ones(3), i % 2) for i in range(40)]
    pairs[5] = (torch.zeros(3), 1)
    pairs[6] = ("text", 0)
    pairs[7] = (torch.tensor([1.0, torch.inf, 0]), 1)
    reasons = [entry.partition(", ")[2] for entry in encode(pairs).unreadable]
    assert reasons[0].startswith("item 6: TypeError: it is of type str, and the first of the vectors is not")
    assert sorted(reasons)[::2] == ["item 5: ValueError: it is zero", "item 7: ValueError: it is not finite"]


def test_odd_pictures_are_remarked_on(tmp_path: Path) -> None:
    data = photos(tmp_path / "birds", 10)
    Image.new("RGBA", (16, 16), (1, 2, 3, 99)).save(data / "wren" / "clear.png")
    clear = Image.open(data / "wren" / "clear.png")
    clear.putpixel((0, 0), (1, 2, 3, 0))
    clear.save(data / "wren" / "clear.png")
    assert "1 of 31 images are transparent in parts" in encode(data, Colours()).notes[0]


# -- files ------------------------------------------------------------------------------------------------------------


def test_vectors_lie_in_the_folder_while_the_lesson_lasts(tmp_path: Path) -> None:
    folder = tmp_path / "life" / "features"
    found = survey(photos(tmp_path / "birds", 10))
    with encoded(found, Colours(), SingleProcess(), folder, place=PLACE) as source:
        (inner,) = folder.iterdir()
        assert sorted(path.name for path in inner.iterdir()) == ["test.f32", "train.f32"]
        assert (inner / "train.f32").stat().st_size == source.dataset.train.nbytes
    assert not folder.exists()
    with pytest.raises(KeyError), encoded(found, Colours(), SingleProcess(), folder, place=PLACE):
        raise KeyError
    assert not folder.exists()


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_encoding import *
class Dying(Colours):
    def encode(self, batch):
        if self.batches:
            os.kill(os.getpid(), 9)
        return super().encode(batch)
with encoded(survey(sys.argv[1]), Dying(), SingleProcess(), Path(sys.argv[2]), place=PLACE):
    pass
"""


def test_what_a_killed_lesson_left_is_deleted_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "life" / "features"
    data = photos(tmp_path / "birds")
    killed = subprocess.run([sys.executable, "-c", KILLED, data, folder, Path(__file__).parent], check=False)
    assert killed.returncode == -9
    left = list(folder.iterdir())
    assert len(left) == 1
    with encoded(survey(data), Colours(), SingleProcess(), folder, place=PLACE):
        assert not left[0].exists()
        assert len(list(folder.iterdir())) == 1
    assert not folder.exists()


def test_a_full_disk_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "features"
    monkeypatch.setattr(encoding, "part_file", lambda shared, rank: Path("/dev/full"))
    with pytest.raises(StorageError, match=r"/dev/full cannot be written \(No space left on device\): make room"):
        encode(photos(tmp_path / "birds", 10), Colours(), folder)
    assert not folder.exists()
    with pytest.raises(StorageError, match="cannot be made"):
        encode(photos(tmp_path / "birds", 10), Colours(), tmp_path / "birds" / "wren" / "000.png" / "features")


def test_a_person_sees_how_far_it_is_and_may_stop(tmp_path: Path) -> None:
    found = survey(photos(tmp_path / "birds"))
    events: list[Event] = []
    with encoded(found, Colours(), SingleProcess(), place=PLACE, on_event=events.append):
        pass
    steps = [event.step for event in events if isinstance(event, Progress)]
    assert steps == [*range(BATCH_SIZE["image"] - 1, 59, BATCH_SIZE["image"]), 59]
    assert isinstance(events[-1], PhaseEnded)
    with (
        pytest.raises(StoppedError, match=f"stopped after about {BATCH_SIZE['image']} of 60 images"),
        encoded(found, Colours(), SingleProcess(), tmp_path / "features", place=PLACE, stop=lambda: True),
    ):
        pytest.fail("it was stopped")
    assert not (tmp_path / "features").exists()


# -- memory -----------------------------------------------------------------------------------------------------------


class Numbers:
    """Pictures that are made when they are asked for."""

    targets: tuple[int, ...] = ()

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.new("RGB", (8, 8), (index % 251 + 1, index % 13, 7)), index % 2


def test_few_pictures_are_in_memory_at_once() -> None:
    most = []
    for count in (500, 2000):
        encoder = Colours()
        encode(Numbers(count), encoder)
        most.append(encoder.most_alive)
    assert max(most) <= 3 * BATCH_SIZE["image"]
    assert encoder.batches == -(-2000 // BATCH_SIZE["image"])


def peak_of(count: int) -> None:
    """Encode ``count`` pictures with vectors of 2,048 values, and print the most memory that this took, in kB."""

    class Wide(Colours):
        def encode(self, batch: Tensor) -> Tensor:
            return super().encode(batch).repeat(1, 342)

    with encoded(survey(Numbers(count)), Wide(), SingleProcess(), place=PLACE):
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def test_the_most_memory_does_not_grow_with_the_number_of_pictures() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_encoding; test_encoding.peak_of(int(sys.argv[2]))"

    def peak(count: int) -> int:
        argv = [sys.executable, "-c", code, str(Path(__file__).parent), str(count)]
        return int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    assert peak(5000) - peak(1000) < 10_000, "the vectors of 4,000 pictures are 32,000 kB"


# -- several workers --------------------------------------------------------------------------------------------------


class Convolutions(Colours):
    """An encoder whose sums are long enough for their order to matter."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = torch.nn.Sequential(
                torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(), torch.nn.Conv2d(64, 32, 3), torch.nn.Flatten()
            )

    @torch.no_grad()
    def encode(self, batch: Tensor) -> Tensor:
        self.batches += 1
        return self.layers(batch.float() / 255)


def save_vectors(group: ProcessGroup, data: Path, out: Path) -> None:
    encoder = Convolutions()
    with encoded(survey(data), encoder, group, out / f"features-{group.size}", place=PLACE) as source:
        dataset = source.dataset
        torch.save(
            (dataset.train.inputs.clone(), dataset.test.inputs.clone(), dataset.train.labels, source.unreadable),
            out / f"{group.size}-{group.rank}.pt",
        )
    assert encoder.batches == len(range(group.rank, 120 // BATCH_SIZE["image"], group.size))
    assert not (out / f"features-{group.size}").exists() or group.rank > 0


def test_vectors_are_the_same_to_the_bit_whatever_the_number_of_workers(tmp_path: Path) -> None:
    data = photos(tmp_path / "birds", 40)
    (data / "wren" / "003.png").write_bytes(b"no picture")
    (data / "robin" / "003.png").write_bytes(b"no picture")
    save_vectors(SingleProcess(), data, tmp_path)
    together(save_vectors, 2, data, tmp_path)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert len(alone[3]) == 2
    for other in (first, second):
        assert other[3] == alone[3]
        for mine, theirs in zip(alone[:3], other[:3], strict=True):
            assert torch.equal(mine, theirs)


def one_cannot_write(group: ProcessGroup, data: Path, out: Path) -> None:
    if group.rank == 1:
        encoding.part_file = lambda shared, rank: Path("/dev/full")
    with (
        pytest.raises(StorageError, match="/dev/full cannot be written"),
        encoded(survey(data), Colours(), group, out, place=PLACE),
    ):
        pytest.fail("it cannot be written")


def test_what_one_worker_cannot_do_all_say(tmp_path: Path) -> None:
    together(one_cannot_write, 2, photos(tmp_path / "birds"), tmp_path / "features")


# -- pictures at the scale that is needed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "at_least", "found"),
    [
        ((640, 480), (60, 60), (80, 60)),
        ((640, 480), (61, 60), (160, 120)),
        ((640, 480), (500, 500), (640, 480)),
        ((641, 483), (224, 224), (321, 242)),
        ((640, 480), None, (640, 480)),
    ],
)
def test_jpegs_are_decoded_at_the_scale_that_is_needed(
    tmp_path: Path, size: tuple[int, int], at_least: tuple[int, int] | None, found: tuple[int, int]
) -> None:
    Image.new("RGB", size, (200, 10, 10)).save(tmp_path / "photo.jpg")
    picture = open_picture(tmp_path / "photo.jpg", at_least)
    assert picture.size == found
    Image.new("RGB", size, (200, 10, 10)).save(tmp_path / "photo.png")
    assert open_picture(tmp_path / "photo.png", at_least).size == size


def test_encoders_get_pictures_as_large_as_they_need(tmp_path: Path) -> None:
    sizes: list[tuple[int, int]] = []

    class Small:
        least_side = 100

        def __call__(self, picture: Image.Image) -> Tensor:
            sizes.append(picture.size)
            return Colours.preprocess(encoder, picture)

    class Needing(Colours):
        preprocess = Small()  # type: ignore[assignment]

    encoder = Needing()
    (tmp_path / "large" / "a").mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (900, 500), (200, 10, number)).save(tmp_path / "large" / "a" / f"{number}.jpg")
    encode(tmp_path / "large", encoder)
    assert sizes == [(225, 125)] * 10


def test_a_turned_photo_is_large_enough_once_it_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (800, 400)).save(tmp_path / "photo.jpg", exif=exif)
    assert open_picture(tmp_path / "photo.jpg", (200, 100)).size == (100, 200)
    assert open_picture(tmp_path / "photo.jpg", (100, 200)).size == (200, 400)


# -- what is asked about ----------------------------------------------------------------------------------------------


def test_what_is_asked_about_comes_in_order_and_a_part_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.eye(50, dtype=np.float32) + 1
    np.save(tmp_path / "v.npy", vectors)
    monkeypatch.setitem(features.BATCH_SIZE, "vector", 1)
    unreadable: list[str] = []
    told: list[tuple[int, int]] = []
    found = list(encode_inputs(unlabelled(tmp_path / "v.npy"), None, unreadable, lambda *each: told.append(each)))
    assert [len(each.names) for each in found] == [16, 16, 16, 2]
    assert torch.cat([each.vectors for each in found]).argmax(1).tolist() == list(range(50))
    assert found[1].names[0] == f"{tmp_path / 'v.npy'}, row 16"
    assert told[-1] == (50, 50)
    assert unreadable == []
