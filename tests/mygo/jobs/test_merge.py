"""Lives that are merged: behind a frozen encoder to the bit one life of all; else they go on from their networks."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.errors import InputError
from mygo.events import Event, Progress
from mygo.jobs.life import Life
from mygo.jobs.merge import merge
from mygo.learner.learner import Learner
from mygo.memory.gaussian import GaussianMemory
from tests.mygo.jobs.knowledge import assert_same, known

LESSONS = {"a": ("ash", "birch"), "b": ("cedar", "date", "elm"), "c": ("fir",)}
Write = Callable[..., str]
Taught = Callable[..., Life]


class PowerCutError(Exception):
    pass


@pytest.fixture
def taught(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> Taught:
    """Returns a life of vectors that was taught lessons."""

    def taught(lessons: str, folder: Path | None = None, **options: Any) -> Life:
        life = Life("mygo", tiny_on_vectors, (12,), folder)
        for name in lessons:
            life.learn(write_vectors(tmp_path / f"{name}.npz", LESSONS[name], **options))
        return life

    return taught


# -- behind a frozen encoder ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [("a", "bc"), ("ab", "c"), ("c", "ba")])
def test_a_merged_life_is_to_the_bit_one_that_learned_all(taught: Taught, first: str, second: str) -> None:
    one, other, whole = taught(first), taught(second), taught("abc")
    before = known(one), known(other)
    assert_same(one.merge(other), whole)
    assert_same(other.merge(one), whole)
    for life, was in zip((one, other), before, strict=True):
        now = known(life)
        assert all(torch.equal(now[name], was[name]) for name in was), "the originals stay as they are"


def test_so_is_one_of_three_in_a_folder_that_goes_on_learning_and_forgetting(taught: Taught, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    merge(Life, [taught("c"), taught("a")], out)
    life = Life.open(out)
    assert life.current is None
    again = life.merge(taught("b"))
    assert_same(again, taught("abc"))
    again.forget("fir")
    assert_same(again, taught("ab"))


def test_it_says_where_each_class_came_from_and_what_was_seen(taught: Taught, tmp_path: Path) -> None:
    lives = [taught("a", tmp_path / "north"), taught("b", tmp_path / "south")]
    merged = merge(Life, lives, tmp_path / "both")
    opened = Life.open(tmp_path / "both")
    for life in (merged, opened):
        assert [lesson.origins for lesson in life.lessons] == [("north",) * 2, ("south",) * 3]
        assert [lesson.images for lesson in life.lessons] == [(18, 18), (18, 18, 18)]
        assert all(lesson.recall is not None and lesson.learned for lesson in life.lessons)
        assert all(lesson.class_il is None for lesson in life.lessons), "that was measured of other networks"
    assert [lesson.name for lesson in merged.lessons] == ["a", "b"]
    further = merge(Life, [opened, taught("c")], names=["both", "west"])
    assert [lesson.origins[0] for lesson in further.lessons] == ["north", "south", "west"]
    further.forget("date")
    assert further.lessons[1].origins == ("south",) * 2


def test_a_class_that_two_know_is_refused_merged_or_kept_apart(
    taught: Taught, write_vectors: Write, tiny_on_vectors: LifeConfig, tmp_path: Path
) -> None:
    one, other = taught("ab"), Life("mygo", tiny_on_vectors, (12,))
    other.learn(write_vectors(tmp_path / "more.npz", ("birch", "gum"), 40, seed=1), "more")
    with pytest.raises(InputError, match="both know birch: merge them with --same together"):
        one.merge(other)

    together = one.merge(other, same="together", names=["north", "south"])
    assert together.class_names == ["ash", "birch", "cedar", "date", "elm", "gum"]
    assert together.lessons[0].images == (18, 18 + 36)
    assert together.lessons[0].origins == ("north", "north, south")
    means = [life.gaussians[0].means for life in (one, other)]
    wanted = (18 / 54 * means[0][1] + 36 / 54 * means[1][0]).half().float()
    assert torch.equal(together.gaussians[0].means[1], wanted)
    assert torch.equal(together.gaussians[0].means[0], means[0][0]), "there was nothing new of it"
    assert torch.equal(together.gaussians[2].means[0], means[1][1])
    assert [teacher.out_features for teacher in together.teachers] == [2, 3, 1]

    apart = one.merge(other, same="apart", names=["north", "south"])
    assert apart.class_names == ["ash", "birch", "cedar", "date", "elm", "birch (south)", "gum"]
    assert torch.equal(apart.gaussians[2].means, means[1])
    assert apart.lessons[2].origins == ("south", "south")


def test_a_lesson_of_which_all_is_known_already_is_none(taught: Taught) -> None:
    merged = taught("ab").merge(taught("b", seed=1), same="together")
    assert [lesson.name for lesson in merged.lessons] == ["a", "b"]
    assert merged.lessons[1].images == (36, 36, 36)


def test_lessons_of_the_same_name_get_that_of_their_life(taught: Taught, write_vectors: Write, tmp_path: Path) -> None:
    one, other = taught("a"), taught("c")
    other.lessons[0].name = "a"
    assert [lesson.name for lesson in one.merge(other, names=["x", "y"]).lessons] == ["a", "a (y)"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda life: setattr(life, "current", 0), "in the middle of the lesson 'b': finish it"),
        (lambda life: setattr(life, "encoder_checksum", "other"), "its encoder had other weights"),
        (
            lambda life: setattr(life, "config", change(life.config, {"encoder": "minilm"})),
            "sees through --encoder minilm",
        ),
        (lambda life: setattr(life, "config", change(life.config, {"sleep.steps": 9})), "has --sleep.steps 9, and "),
        (lambda life: setattr(life, "strategy", "joint"), "has no memories that could be merged"),
        (lambda life: life.memories.clear(), "has no memories that could be merged"),
    ],
)
def test_lives_that_do_not_fit_together_are_refused(
    taught: Taught, tmp_path: Path, spoil: Callable[[Learner], None], complaint: str
) -> None:
    one, other = taught("a"), taught("b")
    spoil(other)
    with pytest.raises(InputError, match=complaint):
        merge(Life, [one, other], tmp_path / "out")
    assert not Life.exists(tmp_path / "out")


def test_one_life_is_not_merged_nor_into_a_folder_that_holds_another(taught: Taught, tmp_path: Path) -> None:
    one = taught("a", tmp_path / "a")
    for others in ([], [one], [Life.open(tmp_path / "a")]):
        with pytest.raises(InputError, match="takes two lives or more"):
            one.merge(*others)
    with pytest.raises(InputError, match="holds a life already"):
        merge(Life, [one, taught("b")], tmp_path / "a")
    assert_same(Life.open(tmp_path / "a"), one)


def test_what_was_interrupted_goes_on(taught: Taught, tmp_path: Path) -> None:
    lives, out = [taught("a"), taught("b")], tmp_path / "out"

    def power_cut(event: Event) -> None:
        if isinstance(event, Progress) and event.place.phase == "consolidate":
            raise PowerCutError

    with pytest.raises(PowerCutError):
        merge(Life, lives, out, on_event=power_cut)
    assert Life.open(out).current is not None
    with pytest.raises(InputError, match="holds a life already"):
        merge(Life, [taught("a"), taught("c")], out)
    assert_same(merge(Life, lives, out), taught("ab"))
    assert_same(Life.open(out), taught("ab"))
    with pytest.raises(InputError, match="holds a life already"):
        merge(Life, lives, out)


# -- over pixels, and where an encoder is adapted ---------------------------------------------------------------------


def assert_same_network(life: Learner, other: Learner) -> None:
    mine, theirs = life.neocortex.state_dict(), other.neocortex.state_dict()
    assert [name for name, tensor in mine.items() if not torch.equal(tensor, theirs[name])] == []


def images(path: Path, classes: tuple[str, ...], shade: int) -> str:
    rng = np.random.default_rng(shade)
    shown = [rng.normal(shade + 60 * label, 20, (24, 8, 8)) for label in range(len(classes))]
    pixels = np.concatenate(shown).clip(0, 255).astype(np.uint8)
    np.savez(path, images=pixels, labels=np.repeat(np.arange(len(classes)), 24), class_names=np.array(classes))
    return str(path)


def test_each_network_over_pixels_teaches_its_own_dreams(tiny_life: LifeConfig, tmp_path: Path) -> None:
    config = change(tiny_life, {"sleep.feature_weight": 1.0})
    lives = [Life("mygo", config, (1, 8, 8)) for _ in range(2)]
    lives[0].learn(images(tmp_path / "a.npz", ("a", "b"), 20))
    lives[0].learn(images(tmp_path / "c.npz", ("c",), 60))
    lives[1].learn(images(tmp_path / "d.npz", ("d", "e", "f"), 90))
    before = [copy.deepcopy(life.neocortex.state_dict()) for life in lives]
    merged = merge(Life, lives, tmp_path / "out")
    assert merged.class_names == ["a", "b", "c", "d", "e", "f"]
    assert merged.neocortex.head_sizes == [2, 1, 3]
    assert merged.guests == [], "its network is not kept"
    for life, was in zip(lives, before, strict=True):
        assert all(torch.equal(tensor, was[name]) for name, tensor in life.neocortex.state_dict().items())
    for mine, theirs in zip(merged.generators, [*lives[0].generators, *lives[1].generators], strict=True):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in mine.state_dict().items())
    again = merge(Life, lives)
    assert_same_network(merged, again)
    again.learn(images(tmp_path / "g.npz", ("g",), 150))
    assert len(again.class_names) == 7
    with pytest.raises(InputError, match="merge these lives with --same apart"):
        lives[0].merge(again, same="together", names=["x", "y"])


def test_over_pixels_too_what_was_interrupted_goes_on(tiny_life: LifeConfig, tmp_path: Path) -> None:
    lives = [Life("mygo", tiny_life, (1, 8, 8)) for _ in range(2)]
    lives[0].learn(images(tmp_path / "a.npz", ("a", "b"), 20))
    lives[1].learn(images(tmp_path / "d.npz", ("d", "e"), 90))

    def power_cut(event: Event) -> None:
        if isinstance(event, Progress) and event.place.phase == "consolidate":
            raise PowerCutError

    with pytest.raises(PowerCutError):
        merge(Life, lives, tmp_path / "out", on_event=power_cut)
    begun = Life.open(tmp_path / "out")
    (guest,) = begun.guests
    assert guest.lessons == (1,)
    head = lives[1].neocortex.classifiers[0]
    assert torch.equal(guest.network.classifiers[1].weight, head.weight)  # type: ignore[arg-type]
    assert not guest.network.classifiers[0].weight.any()  # type: ignore[operator, union-attr]
    assert_same_network(merge(Life, lives, tmp_path / "out"), merge(Life, lives))


def test_lives_that_adapt_their_encoder_are_merged(
    tiny_adapting: LifeConfig, photos: Callable[..., Path], tmp_path: Path
) -> None:
    lives = [Life.behind("efficientnet-lite0@32", config=tiny_adapting) for _ in range(2)]
    lives[0].learn(photos("red", "green"), "first")
    lives[1].learn(photos("green", "blue"), "second")
    merged = lives[0].merge(lives[1], same="together", names=["x", "y"])
    assert merged.class_names == ["green", "red", "blue"]
    assert isinstance(merged.memories[0], GaussianMemory)
    assert merged.teachers == []
    first, second = (dict(zip(life.lessons[0].classes, life.lessons[0].images, strict=True)) for life in lives)
    assert merged.lessons[0].images == (first["green"] + second["green"], first["red"])
    pretrained = Life.behind("efficientnet-lite0@32", config=tiny_adapting).neocortex.features.state_dict()
    slept = merged.neocortex.features.state_dict()
    blocks = [name for name in slept if "centre" not in name and slept[name].is_floating_point()]
    assert not any(torch.equal(slept[name], pretrained[name]) for name in blocks if name.endswith("conv.weight"))
    assert [head.weight.any().item() for head in merged.neocortex.classifiers] == [True, True]  # type: ignore[operator, union-attr]
