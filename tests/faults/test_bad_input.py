"""Whatever is given as a class order, a number of workers or a configuration is taken, or refused in one sentence."""

import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distributed.command import OnRay
from mygo.cli.flags import int_or_text, split_list
from mygo.config.settings import change, look_up
from mygo.data.datasets import DATASETS
from mygo.data.examples import Examples, LabelledDataset
from mygo.data.tasks import TaskStream, deal_classes
from mygo.errors import InputError
from mygo.jobs.experiment import ExperimentConfig

PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))


def names_in(settings: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of nested ``settings``, those of groups too."""
    for name, value in settings.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from names_in(value, f"{prefix}{name}.")


NAMES = list(names_in(asdict(ExperimentConfig())))


def assert_one_sentence(error: InputError) -> None:
    text = str(error)
    assert text.endswith(".")
    assert "Traceback" not in text


@given(st.lists(st.integers(-2, 12), max_size=12), st.integers(-2, 12), st.integers(1, 11))
def test_any_class_order_deals_every_class_once_or_is_refused(
    order: list[int], num_tasks: int, num_classes: int
) -> None:
    try:
        tasks = deal_classes(num_classes, num_tasks, order)
    except InputError as error:
        assert_one_sentence(error)
        assert sorted(order) != list(range(num_classes)) or not 1 <= num_tasks <= num_classes
    else:
        assert [c for task in tasks for c in task.classes] == order
        assert len(tasks) == num_tasks


@given(st.permutations(range(4)), st.integers(1, 4), st.lists(st.integers(1, 5), min_size=4, max_size=4))
def test_a_stream_hands_out_every_example_once_with_its_place_in_the_head(
    order: list[int], num_tasks: int, sizes: list[int]
) -> None:
    labels = torch.arange(4).repeat_interleave(torch.tensor(sizes))
    images = labels.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()
    part = Examples(images, labels)
    tasks = deal_classes(4, num_tasks, order)
    stream = TaskStream(LabelledDataset("shades", part, part, ("a", "b", "c", "d")), tasks)
    for task in tasks:
        data = stream.take_training_data(task)
        assert [task.classes[label] for label in data.labels.tolist()] == data.inputs[:, 0, 0, 0].tolist()
        assert len(data) == sum(sizes[c] for c in task.classes)


@given(
    st.text(max_size=12)
    | st.from_regex(r"-?[0-9]{1,2}(,-?[0-9]{1,2}){0,4}", fullmatch=True)
    | st.permutations(range(10)).map(lambda order: ",".join(map(str, order)))
)
def test_any_text_for_a_class_order_is_numbers_or_is_refused(text: str) -> None:
    try:
        config = replace(ExperimentConfig(), class_order=split_list(text, int_or_text))
    except InputError as error:
        assert_one_sentence(error)
    else:
        assert config.class_order is not None
        assert [int(part) for part in text.split(",")] == list(config.class_order)
        assert sorted(config.class_order) == list(range(10))


@given(st.text(max_size=6) | st.from_regex(r"[0-9]{1,2}:?[0-9]{0,2}", fullmatch=True))
def test_any_text_for_a_number_of_workers_is_a_range_or_is_refused(text: str) -> None:
    try:
        fewest, most = OnRay(num_workers=text).workers(small=True)
    except InputError as error:
        assert_one_sentence(error)
    else:
        assert fewest is not None
        assert most is not None
        assert 1 <= fewest <= most


@settings(max_examples=300)
@given(st.sampled_from(NAMES) | st.text(), ANYTHING)
def test_any_configuration_is_one_that_can_be_lived_or_is_refused(name: str, value: object) -> None:
    try:
        config = change(ExperimentConfig(), {name: value})
    except InputError as error:
        assert_one_sentence(error)
    else:
        dealt = [c for task in config.tasks() for c in task.classes]
        assert sorted(dealt) == list(range(DATASETS[config.dataset].num_classes))
        values = [look_up(config, name) for name in NAMES]
        assert all(math.isfinite(value) for value in values if isinstance(value, int | float))
