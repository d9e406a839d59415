import io
import json
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tensorboard import program
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from mygo.config.learner import LifeConfig
from mygo.events import Dreamt, Event, Notice, Place, Progress, tee
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.reporting.tensorboard import CELL, LAYOUT, SIDE, TensorBoardLogger, matrix_picture, tile

STRATEGIES = "mygo", "finetune"


class PulledPlugError(Exception):
    pass


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, tiny_life: LifeConfig) -> tuple[dict[str, Any], Path]:
    """Results and TensorBoard folder of a short run of two strategies."""
    folder = tmp_path_factory.mktemp("board")
    board = TensorBoardLogger(folder)
    config = ExperimentConfig(num_tasks=2, strategies=STRATEGIES, life=tiny_life)
    results = Experiment(config, log_every=1).run(on_event=board)
    board(Notice("A sentence to see."))
    board.finish(results)
    board.close()
    return results, folder


def read(run: Path) -> EventAccumulator:
    return EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0}).Reload()


def curves(events: EventAccumulator) -> dict[str, list[tuple[int, float]]]:
    """Return the points of all curves that are the same whenever a life is lived."""
    timeless = [tag for tag in events.Tags()["scalars"] if "seconds" not in tag and "per_second" not in tag]
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in timeless}


def steps_of_images(events: EventAccumulator) -> dict[str, list[int]]:
    return {tag: [image.step for image in events.Images(tag)] for tag in events.Tags()["images"]}


def row_of(events: EventAccumulator) -> dict[str, Any]:
    """Return the settings that a run brings to HPARAMS."""
    content = events.PluginTagToContent("hparams")
    start = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}


def test_every_strategy_is_a_run_with_its_losses_rates_and_accuracies(lived) -> None:
    results, folder = lived
    assert sorted(path.name for path in folder.iterdir()) == sorted(STRATEGIES)
    events = read(folder / "mygo")
    assert {
        "learn/cross_entropy",
        "memorise/discriminator",
        "memorise/generator",
        "steps_per_second/memorise",
        "consolidate/own_head",
        "consolidate/all_heads",
        "memory/label_fidelity",
        "memory/diversity",
        "memory/frechet_distance",
        "memory/nearest_neighbour_ratio",
        "seconds/memorise",
        "accuracy_class_il/task_1",
    } <= set(events.Tags()["scalars"])
    for strategy in STRATEGIES:
        points = read(folder / strategy).Scalars("accuracy/class_il")
        matrix = results["strategies"][strategy]["accuracy_matrix"]["class_il"]
        assert [point.step for point in points] == [1, 2]
        assert [point.value for point in points] == pytest.approx([matrix[0][0], sum(matrix[1]) / 2])
        errors = read(folder / strategy).Scalars("calibration/expected_calibration_error")
        assert [point.step for point in errors] == [1, 2]
        expected = results["strategies"][strategy]["expected_calibration_error"]
        assert [point.value for point in errors] == pytest.approx(expected)
    # One curve over both tasks, each of which takes a thousand steps of the axis.
    assert [point.step for point in events.Scalars("memorise/generator")] == list(range(0, 2000, 50))


def test_pictures_follow_the_tasks_under_one_tag(lived) -> None:
    _, folder = lived
    events = read(folder / "mygo")
    tags = "dreams", "accuracy_matrix/class_il", "accuracy_matrix/task_il", "confusion_matrix"
    assert steps_of_images(events) == {tag: [1, 2] for tag in tags}
    first, second = events.Images("dreams")
    assert first.encoded_image_string != second.encoded_image_string
    assert [image.width for image in events.Images("confusion_matrix")] == [5 * CELL, 10 * CELL]
    assert [image.width for image in events.Images("accuracy_matrix/class_il")] == [CELL, 2 * CELL]


def test_a_life_behind_an_encoder_has_a_map_of_each_task(experiment_on_vectors: Experiment, tmp_path: Path) -> None:
    with closing(TensorBoardLogger(tmp_path)) as logger:
        experiment_on_vectors.run(on_event=logger)
    events = read(tmp_path / "mygo")
    assert steps_of_images(events)["map"] == [1, 2]
    assert "dreams" not in events.Tags()["images"]
    with Image.open(io.BytesIO(events.Images("map")[-1].encoded_image_string)) as picture:
        assert min(picture.size) > 300
        assert len(picture.convert("RGB").getcolors(maxcolors=2**24) or []) > 50, "dots of several colours"
    assert {"memory/label_fidelity", "teach/cross_entropy"} <= set(events.Tags()["scalars"])


def test_every_strategy_is_a_row_of_hparams_with_all_its_settings(lived) -> None:
    results, folder = lived
    rows = {strategy: row_of(read(folder / strategy)) for strategy in STRATEGIES}
    life = results["config"]["life"]
    for strategy, row in rows.items():
        assert row["strategy"] == strategy
        assert (row["dataset"], row["num_tasks"], row["seed"]) == ("digits", 2, life["seed"])
        assert row["sleep.steps"] == life["sleep"]["steps"]
        assert row["memory.gan.latent_dim"] == life["memory"]["gan"]["latent_dim"]
        assert row["class_order"] == "None"
        assert not {"data_root", "strategies"} & set(row)
        events, entry = read(folder / strategy), results["strategies"][strategy]
        figures = {
            "hparam/class_il": entry["average_accuracy"]["class_il"],
            "hparam/task_il": entry["average_accuracy"]["task_il"],
            "hparam/forgetting": entry["forgetting"]["class_il"],
            "hparam/expected_calibration_error": entry["expected_calibration_error"][-1],
            "hparam/memory_bytes": entry["memory_bytes"],
            "hparam/seconds": entry["seconds"]["total"],
        }
        assert {tag: events.Scalars(tag)[0].value for tag in figures} == pytest.approx(figures)
        plugin = HParamsPluginData.FromString(events.PluginTagToContent("hparams")["_hparams_/experiment"])
        assert {metric.name.tag for metric in plugin.experiment.metric_infos} == set(figures)
    assert rows["mygo"].keys() == rows["finetune"].keys()  # rows can be compared


def test_the_layout_groups_curves_that_are_there(lived) -> None:
    _, folder = lived
    events = read(folder / "mygo")
    (config,) = events.Tensors("custom_scalars__config__")
    layout = Layout.FromString(config.tensor_proto.string_val[0])
    assert {c.title: [chart.title for chart in c.chart] for c in layout.category} == {
        title: list(charts) for title, charts in LAYOUT.items()
    }
    assert [c.title for c in layout.category] == ["Accuracy", "Calibration", "Losses", "Memories", "Speed"]


def test_tensorboard_shows_rows_and_charts_in_which_strategies_overlay(lived, wait_until: Callable[..., None]) -> None:
    results, folder = lived
    server = program.TensorBoard()
    server.configure(argv=["", "--logdir", str(folder), "--host", "127.0.0.1", "--port", "0", "--load_fast", "false"])
    url = server.launch() + "data/plugin/"

    def get(path: str) -> Any:
        with urllib.request.urlopen(url + path, timeout=10) as answer:
            return json.load(answer)

    wait_until(lambda: len(get("scalars/tags")) == len(STRATEGIES))
    request = {"startIndex": 0, "sliceSize": 9, "allowedStatuses": ["STATUS_SUCCESS"], "colParams": []}
    shown = get(f"hparams/session_groups?request={urllib.parse.quote(json.dumps(request))}")
    class_il = {
        group["hparams"]["strategy"]: metric["value"]
        for group in shown["sessionGroups"]
        for metric in group["metricValues"]
        if metric["name"]["tag"] == "hparam/class_il"
    }
    assert class_il == pytest.approx(
        {strategy: entry["average_accuracy"]["class_il"] for strategy, entry in results["strategies"].items()}
    )
    charts = {
        chart["title"]: chart["multiline"]["tag"]
        for category in get("custom_scalars/layout")["category"]
        for chart in category["chart"]
    }

    def tags(chart: str, strategy: str) -> set[str]:
        found: set[str] = set()
        for tag in charts[chart]:
            query = urllib.parse.urlencode({"run": strategy, "tag": tag})
            answer = get(f"custom_scalars/scalars?{query}")
            assert answer["regex_valid"]
            found |= answer["tag_to_events"].keys()
        return found

    for strategy in STRATEGIES:
        assert tags("average class-IL, MyGO and baselines", strategy) == {"accuracy/class_il"}
    assert tags("task-IL of each task", "mygo") == {"accuracy_task_il/task_1", "accuracy_task_il/task_2"}
    assert tags("memorise", "mygo") == {"memorise/discriminator", "memorise/generator"}
    assert tags("baselines", "finetune") == {"finetune/cross_entropy"}
    assert tags("label fidelity", "mygo") == {"memory/label_fidelity"}
    assert "steps_per_second/consolidate" in tags("steps per second", "mygo")
    assert "seconds/memorise" in tags("seconds of each phase", "mygo")


def test_a_life_that_was_cut_off_twice_draws_each_point_once(tmp_path: Path, tiny_life: LifeConfig) -> None:
    config = ExperimentConfig(num_tasks=2, strategies=("mygo",), life=tiny_life)

    def live(out: Path, last_step: int | None = None) -> None:
        def pull(event: Event) -> None:
            if isinstance(event, Progress) and (event.place.phase, event.step) == ("consolidate", last_step):
                raise PulledPlugError

        time.sleep(1)  # TensorBoard reads files in the order of their names, which count seconds
        board = TensorBoardLogger(out / "tensorboard")
        try:
            board.finish(Experiment(config, out, log_every=1).run(on_event=tee(board, pull)))
        finally:
            board.close()

    cut, whole = tmp_path / "cut", tmp_path / "whole"
    live(whole)
    for last_step in (12, 7):
        with pytest.raises(PulledPlugError):
            live(cut, last_step)
        newest = max((cut / "tensorboard" / "mygo").iterdir(), key=lambda file: file.stat().st_mtime_ns)
        newest.write_bytes(newest.read_bytes()[:-5])  # as it is when a process is killed while it writes
    live(cut)
    live(cut)  # nothing is left to do
    again, once = read(cut / "tensorboard" / "mygo"), read(whole / "tensorboard" / "mygo")
    assert curves(again) == curves(once)
    assert steps_of_images(again) == steps_of_images(once)
    assert len(again.Scalars("hparam/seconds")) == 1
    assert len(again.Tensors("custom_scalars__config__")) == 1
    assert row_of(again) == row_of(once)


def test_accuracies_that_were_not_told_are_written_with_the_next(tmp_path: Path, tiny_life: LifeConfig) -> None:
    board = TensorBoardLogger(tmp_path)
    results = Experiment(ExperimentConfig(num_tasks=2, strategies=("finetune",), life=tiny_life)).run()
    board.finish(results)
    board.close()
    events = read(tmp_path / "finetune")
    assert [point.step for point in events.Scalars("accuracy/class_il")] == [1, 2]
    assert steps_of_images(events)["accuracy_matrix/task_il"] == [1, 2]


def test_a_memory_that_is_trained_again_is_drawn_again(tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path)
    place = Place("mygo", 1, "memorise")
    for loss in (1.0, 2.0):
        board(Progress(place, 0, 2, {"generator": loss}))
        board(Progress(place, 1, 2, {"generator": loss}))
        board(Dreamt(place, torch.zeros(2, 1, 8, 8, dtype=torch.uint8), 2, {"diversity": loss}))
    board.close()
    events = read(tmp_path / "mygo")
    assert curves(events)["memorise/generator"] == [(1000, 1.0), (1500, 1.0), (1000, 2.0), (1500, 2.0)]
    assert curves(events)["memory/diversity"] == [(2, 1.0), (2, 2.0)]
    assert steps_of_images(events) == {"dreams": [2, 2]}


def test_pictures() -> None:
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 1, 2, 3)
    assert tile(images, 2).shape == (1, 4, 6)
    assert tile(images, 2)[0, ::2, ::3].tolist() == [[0, 1], [2, 3]]
    picture = matrix_picture([[1.0], [0.5, 0.0]])
    assert picture.shape == (1, 2 * CELL, 2 * CELL)
    assert picture[0, ::CELL, ::CELL].tolist() == [[255, 0], [128, 0]]
    assert max(matrix_picture([[0.0] * 100] * 100).shape) <= SIDE
