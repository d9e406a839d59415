"""A life's folder that somebody made to do harm, or that chance did: nothing is loaded, nothing is run."""

import ast
import copy
import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mygo.config.learner import LifeConfig
from mygo.data.tasks import Task
from mygo.errors import InputError
from mygo.files import MANIFEST, write_json
from mygo.jobs.experiment import Experiment, ExperimentConfig
from mygo.jobs.life import Life
from mygo.learner.saved import SCHEMA
from mygo.learner.storage import checksum, read_manifest
from mygo.memory.quality import Quality
from mygo.networks.generator import build_generator
from mygo.reporting.results import read_folder

REPOSITORY = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def life(tiny_life: LifeConfig, tmp_path_factory: pytest.TempPathFactory) -> Life:
    life = Life("mygo", tiny_life, (1, 8, 8), tmp_path_factory.mktemp("hostile") / "life")
    life.begin(Task(0, (4, 7)))
    life.keep_memory(0, build_generator(tiny_life.memory.gan, 2, (1, 8, 8)), Quality(0.9, 0.8))
    life.record.task_il.append([1.0])
    life.save()
    return life


def manifest_of(life: Life) -> dict[str, Any]:
    assert life.folder is not None
    return read_manifest(life.folder / MANIFEST, SCHEMA)


def folder_with(life: Life, folder: Path, manifest: dict[str, Any], extra: dict[str, bytes] | None = None) -> Path:
    """Return a copy of the life's folder with another manifest, whose checksum is right, and ``extra`` files."""
    assert life.folder is not None
    folder.mkdir(exist_ok=True)
    for file in life.folder.glob("*.safetensors"):
        (folder / file.name).write_bytes(file.read_bytes())
    for name, content in (extra or {}).items():
        (folder / name).write_bytes(content)
    write_json(folder / MANIFEST, {**manifest, "checksum": checksum(manifest)})
    return folder


def named_by_content(role: str, content: bytes) -> str:
    return f"{role}-{hashlib.sha256(content).hexdigest()[:16]}.safetensors"


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.trace,)


def test_pickled_bytes_in_place_of_weights_are_not_run(life: Life, tmp_path: Path) -> None:
    content = pickle.dumps(Bomb(tmp_path / "ran"))
    pickle.loads(content)
    assert (tmp_path / "ran").exists(), "the bomb works"
    (tmp_path / "ran").unlink()
    manifest = manifest_of(life)
    name = named_by_content("neocortex", content)
    manifest["files"]["neocortex"] = name
    with pytest.raises(InputError, match=f"{name} is not a safetensors file"):
        Life.open(folder_with(life, tmp_path / "life", manifest, {name: content}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "neocortex-0123456789abcdef.safetensors/../x", ""])
def test_names_that_lead_out_of_the_folder_are_not_followed(life: Life, tmp_path: Path, name: str) -> None:
    manifest = manifest_of(life)
    manifest["files"]["memories"] = [name]
    with pytest.raises(InputError, match="not a name that MyGO writes"):
        Life.open(folder_with(life, tmp_path / "life", manifest))


@pytest.mark.parametrize(
    "change",
    [
        {"image_shape": [1, 10**6, 10**6]},
        {"image_shape": [10**9, 8, 8]},
        {"head_sizes": [10**12]},
        {"head_sizes": [-2]},
        {"config": {"memory": {"gan": {"latent_dim": 10**12}}}},
        {"config": {"memory": {"gan": {"generator_width": 10**9}}}},
        {"config": {"backbone": "resnet18"}},
    ],
    ids=str,
)
def test_sizes_that_no_file_has_take_no_memory(life: Life, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="does not describe a life"):
        Life.open(folder_with(life, tmp_path / "life", {**manifest_of(life), **change}))


@pytest.mark.parametrize("change", [torch.Tensor.double, torch.Tensor.int, lambda tensor: tensor[..., None]])
def test_weights_of_another_type_or_shape_are_not_taken(life: Life, tmp_path: Path, change: Any) -> None:
    tensors = {name: change(tensor).contiguous() for name, tensor in life.neocortex.state_dict().items()}
    content = safetensors.torch.save(tensors)
    name = named_by_content("neocortex", content)
    manifest = manifest_of(life)
    manifest["files"]["neocortex"] = name
    with pytest.raises(InputError, match="are not those of its network"):
        Life.open(folder_with(life, tmp_path / "life", manifest, {name: content}))


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, each in inner for found in paths_in(each, (*path, key)))]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=4,
)


def put_anywhere(content: Any, data: st.DataObject) -> None:
    """Put anything at any place of ``content``."""
    *way, last = data.draw(st.sampled_from([path for path in paths_in(content) if path]))
    for key in way:
        content = content[key]
    content[last] = data.draw(ANY_JSON)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_manifest_with_anything_anywhere_is_opened_or_refused(
    life: Life, tmp_path: Path, data: st.DataObject
) -> None:
    manifest = manifest_of(life)
    put_anywhere(manifest, data)
    try:
        opened = Life.open(folder_with(life, tmp_path / "life", manifest), pytest.fail)
    except InputError:
        return
    assert json.dumps(opened.record.seconds)
    assert len(opened.memories) <= 1


@pytest.fixture(scope="module")
def results(tiny_life: LifeConfig) -> dict[str, Any]:
    config = ExperimentConfig(num_tasks=2, class_order=tuple(range(10)), strategies=("mygo",), life=tiny_life)
    found: dict[str, Any] = json.loads(json.dumps(Experiment(config).run()))
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_results_with_anything_anywhere_are_read_or_refused(
    results: dict[str, Any], tmp_path: Path, data: st.DataObject
) -> None:
    harmed = copy.deepcopy(results)
    put_anywhere(harmed, data)
    write_json(tmp_path / "results.json", harmed)
    try:
        run = read_folder(tmp_path)
    except InputError:
        return
    assert sorted(run.learned) == sorted(run.class_names)


UNPICKLING = {"pickle", "joblib", "shelve", "marshal", "dill"}


def reads_of_pickles(source: str) -> Iterator[str]:
    """Yield what in ``source`` can read a pickle: modules that are imported for it, and calls that allow it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & UNPICKLING
        elif isinstance(node, ast.ImportFrom):
            yield from {str(node.module)} & UNPICKLING
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            settings = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called == "torch.load" and settings.get("weights_only") != "True":
                yield called
            if settings.get("allow_pickle") == "True":
                yield f"{called} with pickles"


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_a_read_of_pickles_is_found_in(line: str) -> None:
    assert list(reads_of_pickles(line))


def test_nothing_in_the_code_reads_pickles_from_disk() -> None:
    assert not list(reads_of_pickles("torch.load(path, weights_only=True)\nsafetensors.torch.load(content)"))
    for package in ("mygo", "distributed", "tune"):
        for file in (REPOSITORY / package).rglob("*.py"):
            assert not list(reads_of_pickles(file.read_text())), file
