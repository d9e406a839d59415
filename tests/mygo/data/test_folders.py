"""Folders of images as people have them."""

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from mygo.data.sources import Source, read_pictures, read_source
from mygo.errors import InputError

PETS = ("cat", "dog")


def images(folder: Path, count: int = 10, grey: int = 0) -> Path:
    """Put ``count`` images into ``folder``; their grey levels go up from ``grey``."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("L", (8, 8), grey + number).save(folder / f"{number:02}.png")
    return folder


def pets(folder: Path, count: int = 10, grey: int = 0) -> Path:
    for name in PETS:
        images(folder / name, count, grey)
    return folder


def read(path: Path) -> Source:
    return read_source(path, None)


def count_of(source: Source) -> int:
    return len(source.dataset.train) + len(source.dataset.test)


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        read(path)
    text = str(raised.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


# -- splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("TRAIN", "TEST"), ("train", "testing"), ("training_set", "test_set"), ("train", "dev")],
)
def test_a_split_is_known_by_its_usual_names(tmp_path: Path, train: str, test: str) -> None:
    pets(tmp_path / train, 12)
    pets(tmp_path / test, 2, grey=100)
    dataset = read(tmp_path).dataset
    assert dataset.class_names == PETS
    assert (len(dataset.train), len(dataset.test)) == (24, 4)
    assert dataset.test.inputs.min() == 100


@pytest.mark.parametrize("name", ["val", "VALID", "Validation"])
def test_validation_images_are_tested_on_where_there_are_no_others(tmp_path: Path, name: str) -> None:
    pets(tmp_path / "train", 12)
    pets(tmp_path / name, 2, grey=100)
    source = read(tmp_path)
    assert source.dataset.test.inputs.min() == 100
    assert source.notes == (f"Accuracy is measured on the images in {name}.",)


def test_validation_images_beside_test_images_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    for name, count, grey in (("Train", 12, 0), ("valid", 5, 200), ("test", 2, 100)):
        pets(tmp_path / name, count, grey)
    images(tmp_path / "thumbs")
    source = read(tmp_path)
    assert count_of(source) == 28
    assert max(source.dataset.train.inputs.max(), source.dataset.test.inputs.max()) < 200
    assert source.notes == (
        "The images in valid are left out: accuracy is measured on those in test.",
        f"Left out as folders beside those of a split: {tmp_path / 'thumbs'}.",
    )


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("val", "test"), "has test and val but no folder of training images"),
        (("test",), "has test but no folder of training images"),
        (("Training",), "has a folder Training but no test with the same classes"),
        (("train", "training", "test"), "has two folders of one kind, train and training"),
        (("train", "val", "validation"), "has two folders of one kind, val and validation"),
    ],
)
def test_half_a_split_is_refused(tmp_path: Path, names: tuple[str, ...], complaint: str) -> None:
    for name in names:
        pets(tmp_path / name)
    assert complaint in refusal(tmp_path)


def test_training_images_beside_test_images_without_classes_are_no_class(tmp_path: Path) -> None:
    pets(tmp_path / "train")
    images(tmp_path / "test")
    assert f"name {tmp_path / 'train'} to have some" in refusal(tmp_path)


def test_that_the_names_of_a_split_are_taken_for_classes_is_said(tmp_path: Path) -> None:
    for name in ("test", "train"):
        images(tmp_path / name)
    source = read(tmp_path)
    assert source.dataset.class_names == ("test", "train")
    assert source.notes == ("The folders test and train are taken for classes, since they hold no class folders.",)


def test_a_class_among_others_may_be_called_as_test_images_are(tmp_path: Path) -> None:
    images(tmp_path / "dev" / "2020")
    assert read(images(tmp_path / "ops").parent).dataset.class_names == ("dev", "ops")


# -- folders in folders -----------------------------------------------------------------------------------------------


def test_a_folder_in_one_of_its_name_holds_the_classes(tmp_path: Path) -> None:
    inner = pets(tmp_path / "Pets" / "pets" / "pets")
    (tmp_path / "Pets" / "__MACOSX").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "Pets" / "preview.png")
    source = read(tmp_path / "Pets")
    assert source.dataset.class_names == PETS
    assert f"The classes are the folders in {inner}, which is all that {tmp_path / 'Pets'} holds." in source.notes
    assert f"Left out as images beside the class folders: {tmp_path / 'Pets' / 'preview.png'}." in source.notes


def test_a_split_is_found_in_a_folder_and_its_parts_may_be_doubled(tmp_path: Path) -> None:
    pets(tmp_path / "archive" / "training_set" / "training_set", 12)
    pets(tmp_path / "archive" / "test_set" / "test_set", 2)
    dataset = read(tmp_path).dataset
    assert (dataset.class_names, len(dataset.train), len(dataset.test)) == (PETS, 24, 4)


def test_a_single_folder_that_may_be_a_class_or_hold_all_is_not_guessed_at(tmp_path: Path) -> None:
    inner = pets(tmp_path / "photos")
    text = refusal(tmp_path)
    assert f"name {inner} if those are the classes" in text
    images(inner)  # so that it is a class, with two albums
    source = read(tmp_path)
    assert (source.dataset.class_names, count_of(source)) == (("photos",), 30)
    assert source.notes == (f"All images in {inner}, at any depth, are taken for one class: photos.",)


# -- what is left out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "@eaDir",
        "__MACOSX",
        ".ipynb_checkpoints",
        ".thumbnails",
        "$RECYCLE.BIN",
        "System Volume Information",
        "lost+found",
    ],
)
def test_folders_that_systems_make_are_no_classes_and_their_images_are_not_learned(tmp_path: Path, name: str) -> None:
    pets(tmp_path)
    images(tmp_path / name)
    images(tmp_path / "cat" / "more" / name)
    source = read(tmp_path)
    assert (source.dataset.class_names, count_of(source)) == (PETS, 20)
    (note,) = source.notes
    assert note.startswith("Left out as hidden or made by a system: ")
    assert note.endswith(" and 1 more.")
    pictures = read_pictures([tmp_path], (1, 8, 8))
    assert (len(pictures.files), pictures.notes) == (20, (note,))


def test_what_might_have_been_meant_is_counted(tmp_path: Path) -> None:
    pets(tmp_path)
    for name in ("cat/one.raw", "cat/two.mp4", "labels.csv", "cat/.hidden.png", "cat/Thumbs.db", "cat/.DS_Store"):
        (tmp_path / name).write_bytes(b"?")
    Image.new("L", (8, 8)).save(tmp_path / "cover.png")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    source = read(tmp_path)
    assert count_of(source) == 20
    assert sorted(source.notes) == [
        f"Left out as hidden files: {tmp_path / 'cat' / '.hidden.png'}.",
        f"Left out as images beside the class folders: {tmp_path / 'cover.png'}.",
        f"Left out as no images: {tmp_path / 'labels.csv'} and 3 more.",
    ]


def test_a_life_or_a_run_among_the_images_is_no_class(tmp_path: Path) -> None:
    pets(tmp_path / "data")
    for folder, files in {"old": ("manifest.json", "in-use.lock"), "run": ("results.json", "life/mygo")}.items():
        for name in files:
            (tmp_path / "data" / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / folder / name).write_bytes(b"{}")
        images(tmp_path / "data" / folder / "pictures")
    source = read(tmp_path / "data")
    assert source.dataset.class_names == PETS
    assert source.notes == (f"Left out as a life or a run of MyGO: {tmp_path / 'data' / 'old'} and 1 more.",)
    assert "is a life or a run of MyGO: name the folder of the images" in refusal(tmp_path / "data" / "old")
    (tmp_path / "data" / "dog" / "manifest.json").write_text("{}")  # of another program
    assert read(tmp_path / "data").dataset.class_names == PETS


# -- links ------------------------------------------------------------------------------------------------------------


def test_links_to_folders_are_followed_as_by_image_folder(tmp_path: Path) -> None:
    from mygo.data.torchvision_shim import torchvision

    store = pets(tmp_path / "store")
    data = tmp_path / "data"
    data.mkdir()
    for name in PETS:
        (data / name).symlink_to(store / name)
    images(tmp_path / "album", 3, grey=50)
    (store / "cat" / "more").symlink_to(tmp_path / "album")
    source = read(data)
    assert (source.dataset.class_names, count_of(source), source.notes) == (PETS, 23, ())
    assert len(torchvision.datasets.ImageFolder(data)) == 23


def test_a_circle_of_links_ends_and_is_named(tmp_path: Path) -> None:
    pets(tmp_path)
    (tmp_path / "cat" / "round").symlink_to(tmp_path)
    (tmp_path / "bird").symlink_to(tmp_path)
    (tmp_path / "dog" / "deep").mkdir()
    (tmp_path / "dog" / "deep" / "up").symlink_to(tmp_path / "dog")
    (tmp_path / "dog" / "itself.png").symlink_to("itself.png")
    source = read(tmp_path)
    assert (source.dataset.class_names, count_of(source)) == (PETS, 20)
    (unreadable,) = source.unreadable
    assert "itself.png" in unreadable
    (note,) = source.notes
    assert note == f"Left out as links that lead round in a circle: {tmp_path / 'bird'} and 2 more."


def test_links_to_nothing_are_listed(tmp_path: Path) -> None:
    pets(tmp_path)
    (tmp_path / "cat" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "bird").symlink_to(tmp_path / "unmounted")
    (tmp_path / "dog" / "zero.png").symlink_to("/dev/zero")
    source = read(tmp_path)
    assert count_of(source) == 20
    assert source.unreadable == (f"{tmp_path / 'cat' / 'lost.png'}: FileNotFoundError: No such file or directory",)
    assert f"Left out as links to nothing: {tmp_path / 'bird'}." in source.notes
    assert f"Left out as no images: {tmp_path / 'dog' / 'zero.png'}." in source.notes
    for number in range(9):
        (tmp_path / "cat" / f"lost{number}.png").symlink_to("/nowhere")
    assert "10 of 30 images" in refusal(tmp_path)


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_class_is_one_however_its_name_is_spelt(tmp_path: Path) -> None:
    composed = "caf\u00e9"
    apart = unicodedata.normalize("NFD", composed)
    images(tmp_path / composed)
    images(tmp_path / apart, 5, grey=100)
    source = read(tmp_path)
    assert (source.dataset.class_names, count_of(source)) == ((composed,), 15)
    assert read(tmp_path).dataset.name == unicodedata.normalize("NFC", tmp_path.name)
    pets(tmp_path / "both" / "train")
    for part, name, count in (("train", composed, 10), ("test", apart, 2), ("test", "cat", 2), ("test", "dog", 2)):
        images(tmp_path / "both" / part / name, count)
    assert read(tmp_path / "both").dataset.class_names == ("caf\u00e9", *PETS)
