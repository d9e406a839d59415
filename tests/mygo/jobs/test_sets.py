"""Behind an encoder, what a life knows is a function of the set of its lessons, to the bit: no order, no trace."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from mygo.config.learner import LifeConfig
from mygo.config.settings import change
from mygo.errors import InputError, StoppedError
from mygo.events import Event, PhaseEnded
from mygo.jobs.forget import forget
from mygo.jobs.lesson import Lesson, learn
from mygo.jobs.life import Life
from mygo.learner.learner import Learner
from mygo.training.process_group import TorchProcessGroup
from tests.mygo.jobs.knowledge import assert_same, known
from tests.mygo.workers import together

LESSONS = {"a": ("ash", "birch"), "b": ("cedar", "date", "elm"), "c": ("fir",)}
Write = Callable[..., str]


@pytest.fixture
def taught(tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path) -> Callable[..., Learner]:
    """Returns a life that was taught lessons in an order, without a folder or with one."""
    data = {name: write_vectors(tmp_path / f"{name}.npz", classes) for name, classes in LESSONS.items()}

    def taught(order: Sequence[str], folder: Path | None = None) -> Learner:
        life = Learner("mygo", tiny_on_vectors, (12,), folder)
        for name in order:
            learn(life, data[name])
        return life

    return taught


def test_classes_whose_examples_are_all_the_same_are_learned(tiny_on_vectors: LifeConfig, tmp_path: Path) -> None:
    rows = np.eye(3, dtype=np.float32).repeat(12, 0)
    np.savez(tmp_path / "same.npz", features=rows, labels=np.arange(3).repeat(12))
    life = Learner("mygo", change(tiny_on_vectors, {"wake.lr": 0.1, "sleep.steps": 100, "sleep.lr": 0.1}), (3,))
    learn(life, str(tmp_path / "same.npz"))
    with torch.no_grad():
        assert life.neocortex(torch.eye(3) * 3**0.5).argmax(1).tolist() == [0, 1, 2]


@pytest.mark.parametrize("order", list(itertools.permutations("abc"))[1:], ids="".join)
def test_lessons_may_come_in_any_order(taught: Callable[..., Learner], order: tuple[str, ...]) -> None:
    life, other = taught("abc"), taught(order)
    assert life.class_names != other.class_names
    assert_same(life, other)
    seen = torch.randn(50, 12, generator=torch.Generator().manual_seed(0))
    columns = [other.class_names.index(name) for name in life.class_names]
    with torch.no_grad():
        assert torch.equal(life.neocortex(seen), other.neocortex(seen)[:, columns])


def test_so_may_they_where_a_step_tells_only_some_of_the_classes_apart(
    tiny_on_vectors: LifeConfig, tmp_path: Path, taught: Callable[..., Learner]
) -> None:
    lives = []
    for order in ("abc", "bca"):
        config = change(tiny_on_vectors, {"sleep.classes_per_step": 3})
        lives.append(Learner("mygo", config, (12,)))
        for name in order:
            learn(lives[-1], str(tmp_path / f"{name}.npz"))
    assert_same(*lives)
    mine, theirs = known(lives[0]), known(taught("abc"))
    assert not any(torch.equal(mine[name], theirs[name]) for name in mine if "head weight" in name)


def test_the_seed_decides_too(taught: Callable[..., Learner], tiny_on_vectors: LifeConfig, tmp_path: Path) -> None:
    life = taught("ab")
    other = Learner("mygo", change(tiny_on_vectors, {"seed": 4}), (12,))
    for name in "ab":
        learn(other, str(tmp_path / f"{name}.npz"))
    mine, theirs = known(life), known(other)
    assert not any(torch.equal(mine[name], theirs[name]) for name in mine if "head" in name or "teacher" in name)


@pytest.mark.parametrize("gone", list("abc"))
def test_a_lesson_that_is_forgotten_leaves_no_trace(taught: Callable[..., Learner], tmp_path: Path, gone: str) -> None:
    folder = tmp_path / "life"
    life, without = taught("abc", folder), taught([name for name in "abc" if name != gone])
    for name in LESSONS[gone]:
        forget(life, name)
    assert_same(life, without)
    assert_same(Life.open(folder), without)
    assert [lesson.name for lesson in life.lessons] == [lesson.name for lesson in without.lessons]


def test_the_last_but_one_lesson_leaves_no_trace_either(taught: Callable[..., Learner]) -> None:
    life = taught("ac")
    forget(life, "fir")
    assert_same(life, taught("a"))


def test_a_life_of_one_lesson_sleeps_again_without_the_class_that_it_forgets(taught: Callable[..., Learner]) -> None:
    life = taught("b")
    before = known(life)
    forget(life, "elm")
    after = known(life)
    for name in ("cedar", "date"):
        assert not torch.equal(after[f"{name} head weight"], before[f"{name} head weight"])


def test_a_life_with_a_network_behind_its_encoder_is_opened_again(
    tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path
) -> None:
    data = write_vectors(tmp_path / "two.npz", ("ash", "birch"))
    config = change(tiny_on_vectors, {"backbone": "mlp"})
    Lesson(tmp_path / "life", data, config=config).run()
    life = Life.open(tmp_path / "life")
    assert [tuple(teacher.weight.shape) for teacher in life.teachers] == [(2, 12)]
    Lesson(tmp_path / "life", write_vectors(tmp_path / "more.npz", ("cedar", "date")), config=config).run()


def test_a_lesson_that_is_learned_again_after_it_was_forgotten_is_as_before(
    taught: Callable[..., Learner], tmp_path: Path
) -> None:
    life = taught("abc")
    for name in LESSONS["b"]:
        forget(life, name)
    learn(life, str(tmp_path / "b.npz"))
    assert_same(life, taught("abc"))


def test_to_forget_a_class_leaves_all_other_memories_and_other_teachers_as_they_are(
    taught: Callable[..., Learner], tmp_path: Path
) -> None:
    folder = tmp_path / "life"
    life = taught("abc", folder)
    before = known(life)
    forget(life, "cedar")
    after = known(Life.open(folder))
    assert not any(name.startswith("cedar") for name in after)
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    slept = {name for name in after if " head " in name or name.startswith("detector ")}
    allowed = slept | {name for name in after if name.split()[0] in LESSONS["b"] and " teacher " in name}
    assert changed <= allowed
    assert all(" head weight" not in name or name in changed for name in after), "it has slept"
    assert "cedar" not in (folder / "manifest.json").read_text()


def test_classes_may_be_forgotten_in_another_order_than_lessons_came(taught: Callable[..., Learner]) -> None:
    life, other = taught("abc"), taught("cba")
    for each in (life, other):
        forget(each, "cedar")
    assert_same(life, other)


def test_a_lesson_is_the_same_in_a_folder_and_without_one(taught: Callable[..., Learner], tmp_path: Path) -> None:
    assert_same(taught("ab", tmp_path / "life"), taught("ab"))
    assert_same(Life.open(tmp_path / "life"), taught("ba"))


# -- taught again -----------------------------------------------------------------------------------------------------


def test_what_is_taught_again_is_merged(taught: Callable[..., Learner], write_vectors: Write, tmp_path: Path) -> None:
    life = taught("ab", tmp_path / "life")
    before, means = known(life), life.gaussians[0].means.clone()
    learn(life, write_vectors(tmp_path / "more.npz", ("birch",), 40, seed=1), update=True)
    fresh = Learner("mygo", life.config, (12,))
    learn(fresh, str(tmp_path / "more.npz"))
    assert [lesson.images for lesson in life.lessons] == [(18, 54), (18, 18, 18)]
    merged, (new,) = life.gaussians[0].means, fresh.gaussians[0].means
    assert torch.equal(merged[0], means[0]), "there was nothing new of it"
    assert torch.equal(merged[1], (18 / 54 * means[1] + 36 / 54 * new).half().float())
    after = known(Life.open(tmp_path / "life"))
    of_b = [name for name in before if name.split()[0] in LESSONS["b"] and " head " not in name]
    assert all(torch.equal(after[name], before[name]) for name in of_b)
    for part in ("loadings", "scales", "variances"):
        name = f"ash memory {part}"
        assert torch.allclose(
            after[name].float(), before[name].float(), rtol=0.05, atol=1.0 if part == "loadings" else 1e-3
        )


def test_what_is_not_remembered_yet_lends_nothing(taught: Callable[..., Learner], tmp_path: Path) -> None:
    """A life in the middle of a lesson dreams as it did before it, whatever the place of the lesson in its sleep."""
    taught("b", tmp_path / "life")
    before = Life.open(tmp_path / "life").dream("date", 5)

    def stop(event: Event) -> None:
        if isinstance(event, PhaseEnded) and event.place.phase == "teach":
            raise StoppedError

    with pytest.raises(StoppedError):
        Lesson(tmp_path / "life", str(tmp_path / "a.npz")).run(on_event=stop)
    life = Life.open(tmp_path / "life")
    assert (len(life.lessons), len(life.memories)) == (2, 1)
    assert torch.equal(life.dream("date", 5), before)


def test_to_teach_again_what_is_new_is_refused(
    taught: Callable[..., Learner], write_vectors: Write, tmp_path: Path
) -> None:
    life = taught("a")
    source = write_vectors(tmp_path / "more.npz", ("birch", "yew"))
    with pytest.raises(InputError, match="does not know class yew: leave out --update"):
        learn(life, source, update=True)
    with pytest.raises(InputError, match="knows class birch already"):
        learn(life, source)
    assert life.class_names == ["ash", "birch"]


def test_lessons_may_come_in_any_order_though_one_is_taught_again(
    taught: Callable[..., Learner], write_vectors: Write, tmp_path: Path
) -> None:
    """Its memory is merged, and its teacher asks that memory alone, whatever else is known at the time."""
    more = write_vectors(tmp_path / "more.npz", ("birch", "ash"), seed=1)
    life, other = taught("ab"), taught("a")
    learn(life, more, update=True)
    learn(life, str(tmp_path / "c.npz"))
    learn(other, more, update=True)
    learn(other, str(tmp_path / "c.npz"))
    learn(other, str(tmp_path / "b.npz"))
    assert_same(life, other)


def test_a_class_may_be_forgotten_before_or_after_other_lessons(taught: Callable[..., Learner], tmp_path: Path) -> None:
    life, other = taught("b"), taught("bac")
    forget(life, "cedar")
    learn(life, str(tmp_path / "a.npz"))
    learn(life, str(tmp_path / "c.npz"))
    forget(other, "cedar")
    assert_same(life, other)


def test_the_order_of_two_parts_of_one_lesson_still_tells(
    tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path
) -> None:
    """Not so: the teacher learns the second half's real vectors beside dreams of the first. Only memories agree."""
    halves = [write_vectors(tmp_path / f"{name}.npz", ("ash", "birch"), seed=seed) for seed, name in enumerate("xy")]
    lives = []
    for order in (halves, halves[::-1]):
        folder = tmp_path / order[0][-5]
        Lesson(folder, order[0], config=tiny_on_vectors).run()
        Lesson(folder, order[1], update=True).run()
        lives.append(Life.open(folder))
    one, two = lives
    assert torch.allclose(one.gaussians[0].means, two.gaussians[0].means, atol=2e-3)
    assert not torch.equal(one.teachers[0].weight, two.teachers[0].weight)


# -- several workers --------------------------------------------------------------------------------------------------


def learn_in_orders(group: TorchProcessGroup, config: LifeConfig, data: dict[str, str], out: Path) -> None:
    lives = {order: Learner("mygo", config, (12,)) for order in ("abc", "cab")}
    for order, life in lives.items():
        for name in order:
            learn(life, data[name], group=group)
    assert_same(*lives.values())
    (out / f"{group.rank}").touch()


def test_two_workers_may_learn_lessons_in_any_order_too(
    tiny_on_vectors: LifeConfig, write_vectors: Write, tmp_path: Path
) -> None:
    data = {name: write_vectors(tmp_path / f"{name}.npz", classes) for name, classes in LESSONS.items()}
    together(learn_in_orders, 2, tiny_on_vectors, data, tmp_path)
    assert (tmp_path / "0").exists()
    assert (tmp_path / "1").exists()
