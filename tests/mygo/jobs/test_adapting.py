"""Lives behind the front of an encoder, whose late blocks sleep trains."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mygo.adapting.front import FrontEncoder
from mygo.cli.commands.learn import folder_and_settings
from mygo.config.learner import Adapt, LifeConfig
from mygo.config.presets import behind_encoder
from mygo.config.settings import change
from mygo.data.examples import Examples
from mygo.encoders.efficientnet_lite import HEAD
from mygo.errors import InputError
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.lesson import Lesson
from mygo.jobs.life import Life
from mygo.jobs.perception import adapt_for, seeing_through
from mygo.jobs.side_by_side import check_together
from mygo.learner.export import export_program
from mygo.learner.learner import Learner
from mygo.wake import mirrored
from tests.mygo.jobs.knowledge import assert_same_weights

ENCODER = "efficientnet-lite0@32"
COLOURS = ("red", "green", "blue", "white")


@pytest.fixture(scope="module")
def begun(tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A life that learned red and green, to be copied."""
    folder = tmp_path_factory.mktemp("begun") / "life"
    Lesson(folder, photos("red", "green"), name="first", config=tiny_adapting).run()
    return folder


def test_two_lessons_are_told_apart_and_no_head_is_kept_beside_a_memory(
    begun: Path, photos: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(begun, tmp_path / "life")
    Lesson(tmp_path / "life", photos("blue", "white")).run()
    life = Life.open(tmp_path / "life")
    assert life.config.encoder == f"front:{ENCODER}"
    assert life.config.backbone == f"late:{ENCODER}"
    assert life.teachers == []
    new = photos("red", "green", "blue", "white", count=5, seed=1)
    pictures = [Image.open(file) for colour in COLOURS for file in sorted((new / colour).iterdir())]
    found = life.predict(pictures)
    names = [found.class_names[place] for place in found.probabilities.argmax(1).tolist()]
    right = [name == colour for name, colour in zip(names, np.repeat(COLOURS, 5), strict=True)]
    assert sum(right) >= 16
    assert life.memory_bytes == sum(map(life.memory_bytes_for, range(2)))


def test_each_sleep_begins_with_the_pretrained_late_blocks(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    life = Life.behind(ENCODER, tmp_path / "life", change(tiny_adapting, {"sleep.lr": 1e-9, "wake.adapt_steps": 5}))
    born = {name: tensor.clone() for name, tensor in life.neocortex.features.state_dict().items()}
    life.learn(photos("red", "green"), "first")
    taught = life.neocortex.features.state_dict()
    assert any(not torch.equal(tensor, taught[name]) for name, tensor in born.items()), "the first lesson adapts"
    life.learn(photos("blue", "white"), "second")
    slept = life.neocortex.features.state_dict()
    assert life.detector.feature_dim == HEAD, "what is adapted is known by its pretrained features"
    for name, tensor in born.items():
        if "centre" not in name:
            torch.testing.assert_close(slept[name], tensor, rtol=0, atol=1e-6)


def test_what_forgets_a_class_is_as_if_it_slept_without_having_known_it(
    begun: Path, photos: Callable[..., Path], tmp_path: Path
) -> None:
    """No teacher that knew the class is asked."""
    lives = []
    for name in ("blue", "white"):  # two lives that know another class beside the same two
        shutil.copytree(begun, tmp_path / name)
        Lesson(tmp_path / name, photos(name), name="second").run()
        life = Life.open(tmp_path / name)
        life.forget(name)
        lives.append(life)
    assert_same_weights(*lives)
    assert sorted(lives[0].class_names) == ["green", "red"]
    assert_same_weights(lives[0], Life.open(tmp_path / "blue"))


def test_a_lesson_is_adapted_to_beside_its_mirror_images(tiny_adapting: LifeConfig) -> None:
    life = Life.behind(ENCODER, config=tiny_adapting)
    vectors = torch.randn(4, *life.input_shape)
    data = Examples(vectors, torch.arange(4))
    both = mirrored(life, data)
    assert torch.equal(both.inputs[:4], vectors)
    assert torch.equal(both.labels, torch.arange(4).repeat(2))
    assert torch.equal(mirrored(life, both[4:]).inputs[4:], vectors)
    frozen = Learner("mygo", change(behind_encoder(), {"encoder": "none"}), (4,))
    assert mirrored(frozen, Examples(torch.randn(2, 4), torch.arange(2))).labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "none"}, "--adapt late trains late blocks of efficientnet-lite0, .*, not of none"),
        ({"encoder": "timm/resnet18"}, "--adapt late trains late blocks of .*, not of timm/resnet18"),
        ({"backbone": "mlp"}, f"--adapt late trains the late blocks of {ENCODER}: leave --backbone mlp out"),
    ],
)
def test_what_cannot_be_adapted_is_refused_in_one_sentence(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    folder = tmp_path / "life"
    with pytest.raises(InputError, match=message):
        Lesson(folder, photos("red", "green"), config=change(tiny_adapting, changes)).check()
    with pytest.raises(InputError, match=message):
        Experiment(
            ExperimentConfig(dataset=str(photos("red", "green")), num_tasks=2, life=change(tiny_adapting, changes))
        ).run()
    assert not folder.exists()


def test_closed_forms_are_for_frozen_encoders(tiny_adapting: LifeConfig, photos: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="--strategies slda is for encoders that stay as they are: leave --adapt out"):
        ExperimentConfig(
            dataset=str(photos("red", "green")), num_tasks=2, strategies=("mygo", "slda"), life=tiny_adapting
        )


def test_a_life_is_adapted_for_good_or_never(
    tiny_adapting: LifeConfig, begun: Path, photos: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(begun, tmp_path / "life")
    more = photos("blue", "white")
    Lesson(folder, more, config=tiny_adapting).check()  # the same command again, with the name of the whole encoder
    with pytest.raises(InputError, match="This life sees through --encoder front:"):
        Lesson(folder, more, config=replace(tiny_adapting, encoder="efficientnet-lite0@64")).check()
    for encoder in ("auto", ENCODER):
        with pytest.raises(InputError, match="This life has --adapt late for good"):
            Lesson(folder, more, config=replace(behind_encoder(), encoder=encoder)).check()


@pytest.mark.parametrize(
    ("encoder", "side", "adapt"),
    [
        ("efficientnet-lite0", 113, "none"),
        ("efficientnet-lite0", 112, "late"),
        ("efficientnet-lite0@96", 4000, "late"),
        ("efficientnet-lite0@300", 4000, "none"),
        ("efficientnet-lite0@160", 4000, "none"),
        ("efficientnet-lite2", 130, "late"),
        ("front:efficientnet-lite0", 4000, "late"),
        ("timm/resnet18", 32, "none"),
        ("none", 32, "none"),
    ],
)
def test_auto_adapts_what_sees_half_of_what_it_was_made_for_or_less(encoder: str, side: int, adapt: str) -> None:
    assert adapt_for("auto", encoder, lambda: side) == adapt
    assert seeing_through(LifeConfig(backbone="linear", adapt="auto"), encoder, lambda: side).adapt == adapt


def test_a_life_decides_at_its_first_lesson_whether_it_adapts(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    folder, config = tmp_path / "life", replace(tiny_adapting, adapt="auto")
    Lesson(folder, photos("red", "green"), config=config).run()
    assert Life.open(folder).config.adapt == "late"
    for again in (config, replace(config, encoder="auto"), replace(tiny_adapting, encoder="auto")):
        Lesson(folder, photos("blue", "white"), config=again).check()
    with pytest.raises(InputError, match="begins without pictures cannot be auto"):
        Life.behind(ENCODER, config=config)
    for colour in ("red", "green"):
        (tmp_path / "large" / colour).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (240, 200), colour).save(tmp_path / "large" / colour / f"{number}.png")
    at_full_size = replace(config, encoder="efficientnet-lite0")
    lessons = [
        Lesson(tmp_path / "new", data, config=at_full_size) for data in (photos("blue", "white"), tmp_path / "large")
    ]
    able, complaints = check_together(lessons)
    assert [waking.lesson.config and waking.lesson.config.adapt for waking in able] == ["auto", "late"]
    assert not complaints, "the first decides for all of a new life"
    adapt: Adapt
    for data, adapt in ((photos("red", "green"), "late"), (tmp_path / "large", "none")):
        experiment = ExperimentConfig(dataset=str(data), num_tasks=2, life=at_full_size)
        assert Experiment(experiment).learner.adapt == adapt
        assert Experiment(experiment).results([], ())["config"]["life"]["adapt"] == adapt
        found = folder_and_settings(["--life", str(tmp_path / "new"), "--data", str(data), "--adapt", "auto"])
        assert found is not None
        assert found[1].memory == behind_encoder(adapt).memory, "other settings suit what is adapted"


def test_the_front_of_an_encoder_is_for_lives_that_adapt_it(photos: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"--encoder front:{ENCODER} is for lives that adapt it: name {ENCODER}, or"):
        Life.behind(f"front:{ENCODER}")
    config = replace(behind_encoder(), encoder=f"front:{ENCODER}")
    with pytest.raises(InputError, match="is for lives that adapt it"):
        Lesson(tmp_path / "life", photos("red", "green"), config=config).check()


def test_a_life_of_an_experiment_is_used_like_any_other(photos: Callable[..., Path], tmp_path: Path) -> None:
    few = {"wake.head_steps": 20, "sleep.steps": 20, "memory.fidelity_floor": 0.0, "memory.diversity_floor": 0.0}
    data, life = photos("red", "green"), replace(behind_encoder(), encoder=ENCODER, precision="float32")
    config = ExperimentConfig(dataset=str(data), num_tasks=2, strategies=("mygo",), life=change(life, few))
    Experiment(config, tmp_path / "out").run()
    found = Life.open(tmp_path / "out" / "life" / "mygo").predict([Image.open(data / "red" / "0.png")])
    assert found.probabilities.shape == (1, 2)
    Lesson(tmp_path / "out" / "life" / "mygo", photos("blue", "white")).check()


def test_what_was_adapted_is_exported_with_its_front(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    life = Life.behind(ENCODER, config=tiny_adapting)
    data = photos("red", "green")
    life.learn(data, "first")
    export_program(life, tmp_path / "life.pt2", life.class_names, life.encoder)
    pictures = [Image.open(data / "red" / f"{number}.png") for number in range(3)]
    assert isinstance(life.encoder, FrontEncoder)
    life.encoder.precision = "float32"  # as programs have it
    batch = life.encoder.collate([life.encoder.preprocess(picture.convert("RGB")) for picture in pictures])
    logits, scores = torch.export.load(tmp_path / "life.pt2").module()(batch)
    found = life.predict(pictures)
    probabilities = (logits / life.temperature).softmax(1)
    torch.testing.assert_close(probabilities, found.probabilities.float(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(scores, found.out_of_distribution, rtol=1e-2, atol=1e-2)
