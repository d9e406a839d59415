import dataclasses
import gc
import itertools
import json
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mygo import sleep, wake
from mygo.baselines.registry import STRATEGIES, Strategy
from mygo.config.learner import LifeConfig, MemoryConfig, Precision
from mygo.cycle import live
from mygo.data.datasets import load_dataset
from mygo.data.examples import Examples, LabelledDataset
from mygo.data.tasks import TaskStream, deal_classes
from mygo.errors import InputError, MemoryQualityError, StoppedError
from mygo.events import Event, PhaseEnded, Progress
from mygo.files import MANIFEST, locked
from mygo.jobs import experiment as experiment_module
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life
from mygo.learner.saved import SCHEMA, SavedLife
from mygo.learner.storage import read_manifest, write_manifest
from mygo.memory.quality import Quality
from mygo.phase import PhaseContext
from mygo.training import precision
from mygo.training.process_group import TorchProcessGroup
from tests.mygo.jobs.knowledge import assert_same_weights
from tests.mygo.workers import together


def with_strategies(experiment: Experiment, *names: str) -> Experiment:
    return dataclasses.replace(experiment, config=dataclasses.replace(experiment.config, strategies=names))


def losses_of(events: list[Event]) -> dict[tuple[str, int, str, int], dict[str, float]]:
    return {
        (e.place.strategy, e.place.task, e.place.phase, e.step): dict(e.scalars)
        for e in events
        if isinstance(e, Progress)
    }


def test_every_strategy_lives_and_reports_the_documented_results(tiny_experiment: Experiment) -> None:
    names = [name for name, strategy in STRATEGIES.items() if not strategy.needs_features]
    results = with_strategies(tiny_experiment, *names).run()
    assert tiny_experiment.out is not None
    assert json.loads((tiny_experiment.out / "results.json").read_text()) == json.loads(json.dumps(results))
    assert results["schema"] == 1
    assert results["config"]["dataset"] == "digits"
    assert {"mygo", "torch", "python"} <= results["versions"].keys()
    assert results["class_names"] == [str(digit) for digit in range(10)]
    assert list(results["strategies"]) == names
    test = load_dataset("digits", Path()).test
    for name, entry in results["strategies"].items():
        for kind in ("task_il", "class_il"):
            assert [len(row) for row in entry["accuracy_matrix"][kind]] == [1, 2]
            assert 0 <= entry["average_accuracy"][kind] <= 1
            assert {kind} <= entry["forgetting"].keys() & entry["backward_transfer"].keys()
        confusion = torch.tensor(entry["confusion_matrix"])
        assert confusion.sum(1).tolist() == torch.bincount(test.labels).tolist()
        right = confusion.diag().view(2, 5).sum(1) / confusion.view(2, 5, 10).sum((1, 2))
        assert right.tolist() == pytest.approx(entry["accuracy_matrix"]["class_il"][-1])
        assert entry["seconds"]["total"] >= entry["seconds"]["wake"] + entry["seconds"]["sleep"]
        assert entry["seconds"]["waits"].keys() == entry["seconds"]["phases"].keys()
        for phase, waits in entry["seconds"]["waits"].items():
            assert waits.keys() == {"dreams", "exchange", "saving"}
            assert 0 <= sum(waits.values()) <= entry["seconds"]["phases"][phase]
        assert entry["replaced_data_bytes"] == len(load_dataset("digits", Path()).train) * 64
        assert len(entry["label_fidelity"]) == (2 if name == "mygo" else 0)
    kept = {name: entry["memory_bytes"] for name, entry in results["strategies"].items()}
    assert kept["finetune"] == kept["lwf"] == kept["mygo-nosleep"] == 0
    assert kept["joint"] == results["strategies"]["joint"]["replaced_data_bytes"]
    assert kept["mygo"] - 2 * 64 < kept["replay"] <= kept["mygo"]


def test_every_strategy_lives_on_vectors_too(
    experiment_on_vectors: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mygo.networks.neocortex.RANDOM_FEATURES", 200)  # of ranpac, in seconds
    experiment = with_strategies(experiment_on_vectors, *STRATEGIES)
    results = experiment.run()
    assert experiment.out is not None
    assert {path.name for path in experiment.out.iterdir()} == {"in-use.lock", "life", "results.json"}
    assert results["class_names"] == ["ash", "birch", "cedar", "date"]
    kept = {name: entry["memory_bytes"] for name, entry in results["strategies"].items()}
    assert kept["finetune"] == kept["lwf"] == kept["mygo-nosleep"] == 0
    assert kept["joint"] == 4 * 18 * 12 * 4
    memory, teachers = 4 * (2 * 12 + 2 * 12 + 2 * 2 + 2 * 12), 2 * 4 * 13
    assert kept["mygo"] == memory + teachers
    assert kept["mygo"] - 2 * 12 * 4 < kept["replay"] <= kept["mygo"]
    for name, entry in results["strategies"].items():
        assert [len(row) for row in entry["accuracy_matrix"]["class_il"]] == [1, 2]
        assert entry["replaced_data_bytes"] == 4 * 18 * 12 * 4
        saved = SavedLife.open(experiment.out / "life" / name)
        assert saved.memory_bytes == kept[name]
    assert results["strategies"]["joint"]["average_accuracy"]["task_il"] > 0.5


def test_waking_leaves_features_alone_from_the_second_task_on_and_sleeping_changes_them(
    tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    features: list[tuple[int, str, dict[str, torch.Tensor]]] = []
    heads: dict[tuple[int, str], torch.Tensor] = {}

    def watched(name, phase):
        def run(life, task, *rest):
            phase(life, task, *rest)
            features.append((task.index, name, {k: v.clone() for k, v in life.neocortex.features.state_dict().items()}))
            heads[task.index, name] = life.neocortex.classifiers[task.index].weight.detach().clone()

        return run

    mygo = STRATEGIES["mygo"]
    watching = Strategy(
        wake={name: watched(name, phase) for name, phase in mygo.wake.items()},
        sleep={name: watched(name, phase) for name, phase in mygo.sleep.items()},
    )
    monkeypatch.setitem(STRATEGIES, "mygo", watching)
    events: list[Event] = []
    tiny_experiment.run(on_event=events.append)

    def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
        return all(torch.equal(a[key], b[key]) for key in a)

    state = {(task, name): value for task, name, value in features}
    before = state[0, "consolidate"]
    for name in ("learn", "adapt", "memorise"):
        assert same(state[1, name], before)
    assert not same(state[1, "consolidate"], before)
    assert not torch.equal(heads[1, "consolidate"], heads[1, "memorise"])
    assert same(state[1, "calibrate"], state[1, "consolidate"])
    assert torch.equal(heads[1, "calibrate"], heads[1, "consolidate"]), "to calibrate changes no weight"
    losses = losses_of(events)
    assert sum(losses["mygo", 1, "consolidate", 0].values()) > 0.01
    assert ("mygo", 0, "consolidate", 0) not in losses  # nothing to reconcile yet


def test_the_first_task_trains_the_features(tiny_experiment: Experiment) -> None:
    learned = Life("mygo", tiny_experiment.config.life, (1, 8, 8))
    untrained = [p.clone() for p in learned.neocortex.features.parameters()]
    tiny_experiment.run()
    assert tiny_experiment.out is not None
    trained = Life.open(tiny_experiment.out / "life" / "mygo").neocortex.features.parameters()
    assert not any(torch.equal(a, b) for a, b in zip(untrained, trained, strict=True))


def test_no_real_image_can_be_reached_when_sleep_begins(
    tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_out: list[weakref.ref[torch.Tensor]] = []
    whole: list[weakref.ref[torch.Tensor]] = []
    asked: list[int] = []
    checked: list[int] = []

    def spied_load(*args):
        dataset = load_dataset(*args)
        whole.append(weakref.ref(dataset.train.inputs))
        return dataset

    def spied_hand_out(self, task, real=TaskStream.take_training_data) -> Examples:
        asked.append(task.index)
        data = real(self, task)
        handed_out.append(weakref.ref(data.inputs))
        return data

    def spied_sleep(life, task, context):
        gc.collect()
        assert [ref() for ref in handed_out + whole] == [None] * (len(asked) + 1)
        checked.append(task.index)
        sleep.consolidate(life, task, context)

    monkeypatch.setattr(experiment_module, "load_dataset", spied_load)
    monkeypatch.setattr(TaskStream, "take_training_data", spied_hand_out)
    monkeypatch.setitem(STRATEGIES, "mygo", Strategy(STRATEGIES["mygo"].wake, {"consolidate": spied_sleep}))
    tiny_experiment.run()
    assert asked == checked == [0, 1]


@pytest.fixture
def seen_as(tiny_experiment: Experiment, experiment_on_vectors: Experiment) -> dict[str, Experiment]:
    """The same short experiment over pixels and over vectors."""
    return {"pixels": tiny_experiment, "vectors": experiment_on_vectors}


@pytest.mark.parametrize("strategy", ["mygo", "replay"])
@pytest.mark.parametrize("kind", ["pixels", "vectors"])
def test_a_life_interrupted_after_any_phase_ends_as_an_undisturbed_one(
    seen_as: dict[str, Experiment], tmp_path: Path, kind: str, strategy: str
) -> None:
    undisturbed = with_strategies(seen_as[kind], strategy)
    expected = undisturbed.run()["strategies"][strategy]

    interrupted = dataclasses.replace(undisturbed, out=tmp_path / "interrupted")
    phases: list[tuple[int, str]] = []

    def cut(event: Event) -> None:
        if isinstance(event, PhaseEnded) and event.place.phase != "encode":  # which each run does anew
            phases.append((event.place.task, event.place.phase))
            raise PowerCutError

    for _ in range(20):
        try:
            resumed = interrupted.run(on_event=cut)
            break
        except PowerCutError:
            continue
    assert undisturbed.out is not None
    ends = [Life.open(out / "life" / strategy) for out in (undisturbed.out, tmp_path / "interrupted")]
    of_one = STRATEGIES[strategy].phases_for(ends[0])
    assert len(phases) == len(set(phases)) == 2 * (len(of_one.wake) + len(of_one.sleep) + 1)
    found = resumed["strategies"][strategy]
    for key in ("accuracy_matrix", "confusion_matrix", "label_fidelity", "memory_bytes", "replaced_data_bytes"):
        assert found[key] == expected[key]
    a, b = (end.neocortex.state_dict() for end in ends)
    assert all(torch.equal(a[name], b[name]) for name in a)


class PowerCutError(Exception):
    pass


def run_with_a_cut(
    experiment: Experiment, cut_at: tuple[int, str, int], occasion: int = 1
) -> list[tuple[int, str, int]]:
    """Run ``experiment``, cut it off when it tells of a step for the n-th time, and go on; returns all steps told."""
    steps: list[tuple[int, str, int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Progress) and event.place.phase != "encode":  # which each run does anew
            steps.append((event.place.task, event.place.phase, event.step))
            if steps[-1] == cut_at and steps.count(cut_at) == occasion:
                raise PowerCutError

    with pytest.raises(PowerCutError):
        experiment.run(on_event=listen)
    experiment.run(on_event=listen)
    return steps


def networks_of(experiment: Experiment, strategy: str) -> dict[str, Tensor]:
    assert experiment.out is not None
    life = Life.open(experiment.out / "life" / strategy)
    networks = {"neocortex": life.neocortex, **{str(task): memory for task, memory in enumerate(life.memories)}}
    networks |= {f"teacher {task}": teacher for task, teacher in enumerate(life.teachers)}
    return {f"{name}.{key}": value for name, net in networks.items() for key, value in net.state_dict().items()}


@pytest.mark.parametrize(
    ("kind", "strategy", "task", "phase"),
    [
        ("pixels", "mygo", 0, "learn"),
        ("pixels", "mygo", 1, "learn"),
        ("pixels", "mygo", 1, "adapt"),
        ("pixels", "mygo", 1, "memorise"),
        ("pixels", "mygo", 1, "consolidate"),
        ("pixels", "lwf", 1, "lwf"),
        ("pixels", "replay", 1, "replay"),
        ("vectors", "mygo", 0, "teach"),
        ("vectors", "mygo", 1, "teach"),
        ("vectors", "mygo", 0, "consolidate"),
        ("vectors", "mygo", 1, "consolidate"),
        ("vectors", "replay", 1, "replay"),
    ],
)
def test_a_life_cut_off_within_a_phase_goes_on_at_the_step_and_ends_bitwise_the_same(
    seen_as: dict[str, Experiment], tmp_path: Path, kind: str, strategy: str, task: int, phase: str
) -> None:
    undisturbed = with_strategies(seen_as[kind], strategy)
    undisturbed.run()
    cut = dataclasses.replace(undisturbed, out=tmp_path / "cut", save_every=0.0)
    steps = run_with_a_cut(cut, (task, phase, 13))
    assert steps.count((task, phase, 13)) == 2
    assert len(steps) == len(set(steps)) + 1, "no other step was made twice"
    expected, found = networks_of(undisturbed, strategy), networks_of(cut, strategy)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def live_on_vectors(group: TorchProcessGroup, config: LifeConfig, out: Path, stop_after: int) -> None:
    """Live through two tasks in one of the processes of ``group``, stopped after so many steps; and undisturbed."""
    rng = torch.Generator().manual_seed(0)
    data = Examples(torch.randn(80, 12, generator=rng), torch.arange(4).repeat(20))
    dataset = LabelledDataset("vectors", data, data, ("a", "b", "c", "d"))

    def live_in(name: str, stop: Callable[[], bool]) -> Life:
        exists = Life.exists(out / name)
        group.barrier()
        life = Life.open(out / name) if exists else Life("mygo", config, (12,), out / name)
        live(life, STRATEGIES["mygo"], TaskStream(dataset, deal_classes(4, 2)), PhaseContext(group, stop=stop))
        return life

    polls = itertools.count(1)
    with pytest.raises(StoppedError):
        live_in("stopped", lambda: next(polls) > stop_after)
    group.barrier()  # the worker that saves has saved
    assert_same_weights(live_in("stopped", lambda: False), live_in("undisturbed", lambda: False))


def test_two_workers_that_were_stopped_within_a_phase_begin_that_of_the_next_task_at_its_beginning(
    tiny_on_vectors: LifeConfig, tmp_path: Path
) -> None:
    """Each of them had read the point from which the first went on."""
    together(live_on_vectors, 2, tiny_on_vectors, tmp_path, 10)


def test_a_life_cut_off_in_a_memorys_second_attempt_does_not_make_the_first_again(
    tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    qualities = iter([Quality(0.1, 1.0), *[Quality(1.0, 1.0)] * 9])
    monkeypatch.setattr(wake, "measure_quality", lambda *_: next(qualities))
    memory = dataclasses.replace(tiny_experiment.config.life.memory, fidelity_floor=0.5, attempts=3)
    life = dataclasses.replace(tiny_experiment.config.life, memory=memory)
    config = dataclasses.replace(tiny_experiment.config, life=life)
    experiment = dataclasses.replace(tiny_experiment, config=config, save_every=0.0)
    steps = run_with_a_cut(experiment, (0, "memorise", 13), occasion=2)
    assert steps.count((0, "memorise", 12)) == 2, "once in each attempt"
    assert steps.count((0, "memorise", 13)) == 3


def test_the_seed_decides_everything(tiny_experiment: Experiment) -> None:
    def losses(seed: int) -> dict:
        config = dataclasses.replace(
            tiny_experiment.config, life=dataclasses.replace(tiny_experiment.config.life, seed=seed)
        )
        events: list[Event] = []
        Experiment(config, log_every=1).run(on_event=events.append)
        return losses_of(events)

    once = losses(1)
    assert once == losses(1)
    assert once != losses(2)


def test_a_memory_below_the_floor_is_tried_again_and_then_ends_the_run(
    tiny_experiment: Experiment, tiny_life: LifeConfig
) -> None:
    memory = MemoryConfig(gan=tiny_life.memory.gan, diversity_floor=1e9, attempts=2)
    config = dataclasses.replace(tiny_experiment.config, life=dataclasses.replace(tiny_life, memory=memory))
    events: list[Event] = []
    with pytest.raises(MemoryQualityError, match=r"mygo, task 1, memorise: 2 generators stayed below the floor"):
        Experiment(config).run(on_event=events.append)
    assert sum(isinstance(e, Progress) and e.place.phase == "memorise" and e.step == 0 for e in events) == 2


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"strategies": ("mygo", "magic")}, "names 'magic'"),
        ({"strategies": ("mygo", "mygo")}, "each once"),
        ({"strategies": ()}, "at least one"),
        ({"dataset": "imagenet"}, "imagenet is not known"),
        ({"num_tasks": 11}, "from 1 to 10"),
        ({"class_order": (0, 0)}, "more than once"),
    ],
)
def test_a_bad_configuration_is_refused(change: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        ExperimentConfig(**change)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"seed": -1}, "--seed must be"), ({"precision": "half"}, "--precision must be auto, float32 or bfloat16")],
)
def test_a_bad_learner_is_refused(change: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        LifeConfig(**change)


def test_going_on_with_other_settings_or_another_stream_is_refused(tiny_experiment: Experiment) -> None:
    tiny_experiment.run()
    config = tiny_experiment.config
    for change in (
        {"life": dataclasses.replace(config.life, seed=9)},
        {"num_tasks": 5},
        {"class_order": tuple(reversed(range(10)))},
    ):
        other = Experiment(dataclasses.replace(config, **change), tiny_experiment.out)
        with pytest.raises(InputError, match="begun with other settings"):
            other.check_out(resume=True)
        with pytest.raises(InputError, match="begun with other settings"):
            other.run()


def begun(experiment: Experiment) -> Life:
    """Begin the life of ``experiment``, and return it as it was saved after its first step."""
    with pytest.raises(StoppedError):
        experiment.run(stop=lambda: True)
    assert experiment.out is not None
    return Life.open(experiment.out / "life" / "mygo")


def computed(experiment: Experiment, **how: object) -> Experiment:
    """Return ``experiment`` with other settings that say how it is computed."""
    life = dataclasses.replace(experiment.config.life, **how)
    return dataclasses.replace(experiment, config=dataclasses.replace(experiment.config, life=life))


@pytest.mark.parametrize(("there", "here"), [("bfloat16", "float32"), ("float32", "bfloat16")])
def test_a_life_goes_on_anywhere_in_the_precision_that_it_was_begun_with(
    tiny_experiment: Experiment, monkeypatch: pytest.MonkeyPatch, there: Precision, here: Precision
) -> None:
    monkeypatch.setattr(precision, "native_precision", lambda: there)
    life = begun(tiny_experiment)
    assert (life.config.precision, life.precision) == ("auto", there)
    monkeypatch.setattr(precision, "native_precision", lambda: here)
    more = with_strategies(tiny_experiment, "mygo", "finetune")
    more.check_out(resume=True)
    results = more.run()
    for name in ("mygo", "finetune"):  # what is compared is computed alike
        how = results["strategies"][name]["computed"]
        assert (how["precision"], how["device"], how["workers"], how["eager"]) == (there, "cpu", 1, False)
        assert (how["torch"], how["threads"]) == (torch.__version__, torch.get_num_threads())
    assert results["config"]["life"]["precision"] == "auto"
    with pytest.raises(InputError, match=f"was begun in {there}: leave out --precision {here}"):
        computed(tiny_experiment, precision=here).check_out(resume=True)
    computed(tiny_experiment, precision=there).check_out(resume=True)


def test_eager_may_differ_and_dreamers_are_told(tiny_experiment: Experiment) -> None:
    begun(tiny_experiment)
    assert tiny_experiment.out is not None
    eager = computed(tiny_experiment, eager=True)
    eager.check_out(resume=True)
    life = begun(eager)
    assert life.config.eager
    assert life.checkpoint is not None
    assert life.checkpoint.steps == 2, "the point within the phase is still there"
    assert eager.run()["strategies"]["mygo"]["computed"]["eager"]


@pytest.mark.parametrize("written", ["float32", "bfloat16"])
def test_a_life_of_before_goes_on_in_the_precision_that_its_settings_say(
    tiny_experiment: Experiment, written: Precision
) -> None:
    """Then the machine's was written into the settings, and nowhere else, and there were fewer measures."""
    life = begun(tiny_experiment)
    assert life.folder is not None
    manifest = read_manifest(life.folder / MANIFEST, SCHEMA)
    del manifest["precision"], manifest["config"]["wake"]["balance_classes"]
    del manifest["config"]["memory"]["gan"]["balance_classes"]
    for name in ("computed", "label_fidelity_per_class", "diversity_per_class"):
        del manifest["record"][name]
    manifest["config"]["precision"] = written
    write_manifest(life.folder, manifest)
    tiny_experiment.check_out(resume=True)
    results = tiny_experiment.run()
    assert results["strategies"]["mygo"]["computed"]["precision"] == written


def test_an_out_folder_is_used_once_and_resumed_on_request(tiny_experiment: Experiment) -> None:
    assert tiny_experiment.out is not None
    with pytest.raises(InputError, match="leave out --resume"):
        tiny_experiment.check_out(resume=True)
    tiny_experiment.check_out(resume=False)
    assert not tiny_experiment.out.exists()
    tiny_experiment.run()
    with pytest.raises(InputError, match="pass --resume to go on with it, or another --out"):
        tiny_experiment.check_out(resume=False)
    tiny_experiment.check_out(resume=True)


def test_a_folder_in_use_is_refused_until_its_process_is_gone(tiny_experiment: Experiment) -> None:
    assert tiny_experiment.out is not None
    hold = """
import sys
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
    tiny_experiment.out.mkdir()
    command = [sys.executable, "-c", hold, str(tiny_experiment.out / "in-use.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="is in use by another run"):
            tiny_experiment.check_out(resume=False)
        with pytest.raises(InputError, match="is in use by another run"), locked(tiny_experiment.out, 0):
            pass
        other.kill()
    tiny_experiment.check_out(resume=False)
    with locked(tiny_experiment.out, 0):
        pass


def test_an_out_that_cannot_be_written_to_is_refused(tiny_experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written to"):
        dataclasses.replace(tiny_experiment, out=tmp_path / "file" / "out").check_out(resume=False)


def test_tasks_of_one_class_are_learned_too(tiny_life: LifeConfig) -> None:
    config = ExperimentConfig(num_tasks=10, strategies=("mygo", "lwf", "replay"), life=tiny_life)
    for entry in Experiment(config).run()["strategies"].values():
        assert entry["average_accuracy"]["task_il"] == 1.0
        assert len(entry["accuracy_matrix"]["class_il"][-1]) == 10
