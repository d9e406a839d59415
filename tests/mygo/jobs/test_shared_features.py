"""Data that is encoded once for several experiments."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mygo.errors import InputError
from mygo.jobs.experiment import Experiment
from mygo.jobs.shared_features import shared_features
from mygo.phase import PhaseContext
from mygo.training.process_group import SingleProcess


@contextmanager
def encoded_for(experiment: Experiment, folder: Path) -> Iterator[Path]:
    found, config = experiment.survey(), experiment.config
    assert found is not None
    with shared_features(found, config.dataset, config.encoder, None, folder, PhaseContext(SingleProcess())) as index:
        yield index


def test_an_experiment_on_shared_vectors_is_the_one_that_encodes_them(
    experiment_on_vectors: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = replace(experiment_on_vectors, out=None).run()
    left = tmp_path / "features" / "left"
    left.mkdir(parents=True)
    with encoded_for(experiment_on_vectors, tmp_path / "features") as index:
        assert not left.exists()  # what a process left that was killed
        monkeypatch.setattr("mygo.jobs.experiment.stream_encoded", None)  # whoever calls it now fails
        shared = replace(experiment_on_vectors, features=index)
        shared.check_data()
        together = shared.run()
    assert not (tmp_path / "features").exists()
    assert not (tmp_path / "out" / "features").exists()
    assert together["class_names"] == alone["class_names"]
    for key in ("accuracy_matrix", "confusion_matrix", "label_fidelity", "diversity"):
        assert together["strategies"]["mygo"][key] == alone["strategies"]["mygo"][key], key


def test_vectors_that_do_not_fit_are_refused(experiment_on_vectors: Experiment, tmp_path: Path) -> None:
    with encoded_for(experiment_on_vectors, tmp_path / "features") as index:
        shared = replace(experiment_on_vectors, features=index)
        told = json.loads(index.read_text())
        for what, value in (("dataset", "other"), ("encoder", "minilm"), ("schema", 0), ("class_names", ["ash"])):
            index.write_text(json.dumps({**told, what: value}))
            for use in (shared.check_data, shared.run):
                with pytest.raises(InputError, match="encode the data again"):
                    use()
        index.write_text(json.dumps(told))
        vectors = index.parent / "test.f32"
        vectors.write_bytes(vectors.read_bytes()[:-4])
        with pytest.raises(InputError, match=r"test.f32 has .* bytes, which are not 8 vectors"):
            shared.check_data()
        vectors.unlink()
        with pytest.raises(InputError, match=r"test.f32 cannot be read"):
            shared.check_data()
        index.unlink()
        with pytest.raises(InputError, match="cannot be read"):
            shared.check_data()
    with pytest.raises(InputError, match="cannot be read"):
        shared.check_data()
    assert not list((tmp_path / "out").glob("**/*.json"))
