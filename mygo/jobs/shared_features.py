"""Data that is encoded once for several experiments: an index beside the files of vectors, and what reads both."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mygo.data.examples import Examples, LabelledDataset
from mygo.data.mapped import mapped
from mygo.data.sources import Source
from mygo.data.survey import Survey
from mygo.errors import InputError
from mygo.files import read_json, write_json
from mygo.jobs.encoding import ROW_BYTES, final_file
from mygo.jobs.perception import stream_encoded
from mygo.phase import PhaseContext

INDEX = "index.json"
"""The file beside the vectors that says what they are."""
INDEX_SCHEMA = 2
PARTS = ("train", "test")


@contextmanager
def shared_features(
    found: Survey, dataset: str, encoder: str, weights: Path | None, folder: Path, context: PhaseContext
) -> Iterator[Path]:
    """Encode what was ``found`` in ``dataset`` into ``folder``, and yield the path of an index for `read_features`.

    All that use it must see ``folder``. When the block ends the files are deleted; what one left whose process was
    killed, the next one deletes.

    Raises:
        InputError, StorageError, StoppedError: as `mygo.jobs.perception.stream_encoded`.
    """
    with stream_encoded(found, encoder, weights, folder, context) as source:
        data = source.dataset
        assert source.folder is not None
        index = source.folder / INDEX
        labels = {part: getattr(data, part).labels.tolist() for part in PARTS}
        what = {"schema": INDEX_SCHEMA, "dataset": dataset, "encoder": encoder, "name": data.name}
        seen = {"encoder_checksum": source.encoder_checksum, "feature_dim": data.input_shape[0]}
        write_json(index, {**what, **seen, "class_names": list(data.class_names), "labels": labels})
        yield index


def read_features(index: Path, dataset: str, encoder: str, num_classes: int) -> Source:
    """Return the vectors of ``dataset`` behind ``encoder`` that `shared_features` left beside ``index``.

    They are read when they are used.

    Raises:
        InputError: they are not there or not whole, or are of other data or of another encoder.
    """
    kept = read_json(index)
    wanted = {"schema": INDEX_SCHEMA, "dataset": dataset, "encoder": encoder}
    for what, value in wanted.items():
        if kept.get(what) != value:
            raise InputError(f"{index} has the {what} {kept.get(what)}, not {value}: encode the data again.")
    if len(kept["class_names"]) != num_classes:
        raise InputError(
            f"{index} has {len(kept['class_names'])} classes, but {dataset} has {num_classes}: encode the data again."
        )
    train, test = (read_part(index, part, kept["labels"][part], kept["feature_dim"]) for part in PARTS)
    found = LabelledDataset(kept["name"], train, test, tuple(kept["class_names"]))
    return Source(found, folder=index.parent, encoder_checksum=kept["encoder_checksum"])


def read_part(index: Path, part: str, labels: Sequence[Any], feature_dim: int) -> Examples:
    """Return the vectors of a ``part`` of the data, with their ``labels``.

    Raises:
        InputError: its file is not there, or is not as long as it must be.
    """
    file = final_file(index.parent, part)
    try:
        size = file.stat().st_size
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): encode the data again.") from error
    if size != len(labels) * feature_dim * ROW_BYTES:
        raise InputError(f"{file} has {size} bytes, which are not {len(labels)} vectors: encode the data again.")
    return Examples(mapped(file, feature_dim), torch.tensor(labels, dtype=torch.int64))
