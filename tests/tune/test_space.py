import dataclasses

import pytest

from mygo.config.presets import behind_encoder, preset
from mygo.config.settings import change
from mygo.data.datasets import DATASETS
from mygo.errors import InputError
from tune.space import Choice, Range, search_space, settings_of


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("name", ["sleep", "all"])
def test_every_space_holds_its_presets_values_and_only_settings_that_exist(dataset, name) -> None:
    base = preset(dataset)
    space = search_space(name, base)
    assert change(base, settings_of(base, space)) == base
    for parameter, values in space.items():
        for value in values.grid():
            change(base, {parameter: value})


@pytest.mark.parametrize("adapt", ["none", "late"])
@pytest.mark.parametrize("name", ["sleep", "all"])
def test_every_space_behind_an_encoder_holds_the_defaults_and_only_settings_that_exist(name, adapt) -> None:
    base = behind_encoder(adapt)
    space = search_space(name, base, over_pixels=False)
    assert change(base, settings_of(base, space)) == base
    for parameter, values in space.items():
        for value in values.grid():
            change(base, {parameter: value})


def test_behind_an_encoder_sleeps_space_leaves_memories_alone_and_nothing_of_pixels_is_searched() -> None:
    base = behind_encoder()
    sleep, everything = (search_space(name, base, over_pixels=False) for name in ("sleep", "all"))
    assert all(parameter.startswith("sleep.") for parameter in sleep)
    assert {"memory.gaussian.rank", "backbone", "wake.head_steps", "wake.lr"} == everything.keys() - sleep.keys()
    unlimited = dataclasses.replace(base, sleep=dataclasses.replace(base.sleep, steps_per_class=None))
    assert sleep.keys() - search_space("sleep", unlimited, over_pixels=False).keys() == {"sleep.steps_per_class"}
    with pytest.raises(InputError, match=r"memory.gaussian.rank is 5, which the search does not reach"):
        search_space("all", change(base, {"memory.gaussian.rank": 5}), over_pixels=False)


def test_where_an_encoder_is_adapted_nothing_of_a_linear_head_is_searched() -> None:
    sleep, everything = (search_space(name, behind_encoder("late"), over_pixels=False) for name in ("sleep", "all"))
    assert "sleep.discriminant_examples" not in sleep
    assert "backbone" not in everything
    assert {"memory.gaussian.rank", "wake.adapt_steps"} <= everything.keys() - sleep.keys()


def test_sleeps_space_leaves_memories_alone() -> None:
    assert all(parameter.startswith("sleep.") for parameter in search_space("sleep", preset("digits")))
    assert any(parameter.startswith("memory.gan.") for parameter in search_space("all", preset("digits")))


def test_a_part_of_a_space_can_be_searched() -> None:
    assert list(search_space("sleep", preset("digits"), ("sleep.lr",))) == ["sleep.lr"]
    with pytest.raises(InputError, match=r"--only names wake\.lr"):
        search_space("sleep", preset("digits"), ("wake.lr",))


def test_defaults_outside_their_range_are_refused() -> None:
    base = change(preset("digits"), {"sleep.lr": 1.0})
    with pytest.raises(InputError, match=r"sleep.lr is 1.0, which the search does not reach"):
        search_space("sleep", base)
    assert search_space("sleep", base, ("sleep.steps",))


@pytest.mark.parametrize(
    ("values", "grid"),
    [
        (Range(low=1, high=100, log=True, integer=True), [1, 10, 100]),
        (Range(low=0.0, high=1.0), [0.0, 0.5, 1.0]),
        (Choice((None, 0.2)), [None, 0.2]),
    ],
)
def test_a_grid_takes_the_ends_and_the_middle(values, grid) -> None:
    assert values.grid() == pytest.approx(grid) if None not in grid else values.grid() == grid


def test_draws_stay_in_range() -> None:
    whole = Range(low=3, high=5, log=True, integer=True).domain()
    assert {whole.sample() for _ in range(200)} == {3, 4, 5}
