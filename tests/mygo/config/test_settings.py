import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mygo.config.learner import LifeConfig
from mygo.config.presets import preset
from mygo.config.settings import change, look_up, overlay
from mygo.errors import InputError
from mygo.jobs.experiment import ExperimentConfig


@pytest.mark.parametrize("dataset", ["digits", "fashion-mnist", "cifar10"])
def test_a_configuration_survives_json(dataset) -> None:
    config = ExperimentConfig(dataset=dataset, class_order=tuple(reversed(range(10))), life=preset(dataset))
    values = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    assert overlay(ExperimentConfig(), values) == config


def test_dotted_names_change_what_they_name_and_nothing_else() -> None:
    base = LifeConfig()
    changed = change(base, {"sleep.steps": 7, "memory.gan.latent_dim": 5, "seed": 3, "sleep.current_share": 0.5})
    assert (changed.sleep.steps, changed.memory.gan.latent_dim, changed.seed) == (7, 5, 3)
    back = {"sleep.steps": base.sleep.steps, "memory.gan.latent_dim": 32, "seed": 0, "sleep.current_share": None}
    assert change(changed, back) == base
    assert look_up(changed, "memory.gan.latent_dim") == 5


@given(st.integers(1, 10**6), st.floats(0, 1), st.none() | st.floats(0, 1))
def test_any_value_in_range_is_taken(steps: int, weight: float, share: float | None) -> None:
    changed = change(
        LifeConfig(), {"sleep.steps": steps, "sleep.own_head_weight": weight, "sleep.current_share": share}
    )
    assert (changed.sleep.steps, changed.sleep.own_head_weight, changed.sleep.current_share) == (steps, weight, share)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"colour": 1}, "There is no setting colour: choose from dataset"),
        ({"life": {"sleep": {"naps": 1}}}, "There is no setting life.sleep.naps"),
        ({"life": 3}, "life must be an object"),
        ({"life": {"sleep": {"steps": 3.5}}}, "life.sleep.steps must be of type int, not 3.5"),
        ({"life": {"sleep": {"steps": True}}}, "life.sleep.steps must be of type int, not True"),
        ({"life": {"sleep": {"lr": "fast"}}}, "life.sleep.lr must be of type float, not 'fast'"),
        ({"life": {"sleep": {"steps": 0}}}, "--sleep.steps must be at least 1, not 0"),
        (
            {"life": {"backbone": "vgg"}},
            "--backbone 'vgg' is not known: choose from linear, mlp, random-features, conv",
        ),
        ({"class_order": "0,1"}, "class_order must be a list"),
        ({"class_order": [0, "1"]}, "class_order must be of type int, not '1'"),
    ],
)
def test_what_does_not_fit_is_named(values: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        overlay(ExperimentConfig(), values)
