"""A lesson's examples as feature vectors: every worker encodes its share once, and all map the same vectors."""

import itertools
import os
import shutil
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import torch
from torch import Tensor

from mygo.data.checks import check_classes, check_readable
from mygo.data.examples import Examples, LabelledDataset, held_out_rows
from mygo.data.images import REMARKS
from mygo.data.mapped import mapped
from mygo.data.readers.reader import PLURAL, Reader
from mygo.data.sources import Source
from mygo.data.survey import Survey
from mygo.errors import InputError, MygoError, StoppedError, StorageError
from mygo.events import EventHandler, PhaseEnded, Place, Progress, silent
from mygo.jobs.features import CPU, Encoded, Encoder, batch_size, batches_of, encoded_batches
from mygo.training.process_group import ProcessGroup

FEATURES = "features"
"""The folder within a life's in which a lesson's vectors lie while it is learned."""
ROW_BYTES = 4
"""Bytes of one value on disk, float32."""

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """What one worker has encoded and written to its file."""

    places: tuple[int, ...]
    """The place in the survey of each row of the file, counted through its parts."""
    feature_dim: int
    """0 if there are no rows."""
    unreadable: dict[int, str]
    """By place, what the others are called and why they cannot be read."""
    oddities: Counter[str]


@contextmanager
def encoded(
    found: Survey,
    encoder: Encoder | None,
    group: ProcessGroup,
    folder: Path | None = None,
    *,
    place: Place,
    on_event: EventHandler = silent,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Source]:
    """Encode what was ``found``, and yield it as vectors float32 [N, D] of length sqrt(D), to be used inside the block.

    Each of the ``group`` decodes and encodes every so manieth batch, and writes its vectors to a file in ``folder``,
    which all can reach and which is the caller's alone; without one, it is a temporary folder of this host. Rank 0 puts
    them in the order of `mygo.data.sources.read_source`, and all map the two files that result, so that their vectors
    are the same to the bit, whatever the size of the group, and memory does not grow with the number of examples. When
    the block ends the files are deleted; what one left in ``folder`` whose process was killed, the next one deletes.

    Vectors need no ``encoder``. Items that cannot be read, and those whose features are zero or not finite, are left
    out.

    Raises:
        InputError: the encoder takes other items, too many items are unreadable, or a class has too few that are not.
        StorageError: there is no room for the vectors.
        StoppedError: ``stop`` returned True.
    """
    check_kind(found, encoder)
    began = time.perf_counter()
    with features_folder(group, folder) as shared:
        emit = on_event if group.rank == 0 else silent

        def watch(done: int, total: int) -> None:
            emit(Progress(place, done - 1, total, {}))
            if stop():
                raise StoppedError(f"{place}: stopped after about {done} of {total} {PLURAL[found.kind]}.")

        shares = on_all(group, lambda: encode_share(found, encoder, group, shared, watch))
        source = on_all(group, lambda: put_together(found, shares, shared) if group.rank == 0 else None)[0]
        assert source is not None
        sizes, unreadable = source
        dataset = map_vectors(found, sizes, shared)
        emit(PhaseEnded(place, time.perf_counter() - began))
        yield Source(dataset, unreadable, (*found.notes, *remarks(shares, len(found))), shared)


def check_kind(found: Survey, encoder: Encoder | None) -> None:
    """Check that the ``encoder`` takes what was ``found``.

    Raises:
        InputError: it does not, or there is none where one is needed.
    """
    takes = "vector" if encoder is None else encoder.input_kind
    if takes != found.kind:
        who = "a life without an encoder" if encoder is None else f"the encoder {encoder.name}"
        raise InputError(
            f"{found.source} holds {PLURAL[found.kind]}, but {who} takes {PLURAL[takes]}: name others, or begin a life "
            "with another --encoder."
        )


def on_all(group: ProcessGroup, work: Callable[[], T]) -> list[T]:
    """Return what ``work`` returns on each rank, in their order; an error of one is raised on all.

    Raises:
        MygoError: one raised it, a `StoppedError` excepted, which ends the group.
    """
    result: T | None = None
    failure: MygoError | None = None
    try:
        result = work()
    except (InputError, StorageError) as error:
        failure = error
    outcomes: list[tuple[T | None, MygoError | None]] = group.gather((result, failure))
    if failures := [each for _, each in outcomes if each is not None]:
        raise failures[0]
    return [each for each, _ in outcomes]  # type: ignore[misc]  # without a failure it is what work returned


# -- files ------------------------------------------------------------------------------------------------------------


@contextmanager
def features_folder(group: ProcessGroup, folder: Path | None) -> Iterator[Path]:
    """Make a folder for vectors that all of ``group`` use, inside ``folder`` or else a temporary one; delete it after.

    What is in ``folder`` from before is deleted first.

    Raises:
        StorageError: it cannot be made.
    """
    shared = on_all(group, lambda: make_folder(folder) if group.rank == 0 else None)[0]
    assert shared is not None
    try:
        yield shared
        group.barrier()  # until all are done with the files, which some file systems take from under them
    finally:
        if group.rank == 0:
            shutil.rmtree(shared, ignore_errors=True)
            if folder is not None:
                with suppress(OSError):
                    folder.rmdir()


def make_folder(folder: Path | None) -> Path:
    """Return a new folder inside ``folder``, which is emptied, or else a temporary one."""
    try:
        if folder is None:
            return Path(tempfile.mkdtemp(prefix="mygo-features-"))
        if folder.exists():
            shutil.rmtree(folder)
        shared = folder / uuid.uuid4().hex  # another one for each, so that a process left over writes where none reads
        shared.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made ({error.strerror}): make room, or allow writing there.") from error
    return shared


def part_file(shared: Path, rank: int) -> Path:
    """Return the file with the vectors that ``rank`` has encoded, in the order in which it did."""
    return shared / f"rank-{rank}.f32"


def final_file(shared: Path, part: str) -> Path:
    """Return the file with all vectors of a ``part`` of the data, class after class."""
    return shared / f"{part}.f32"


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Open ``path`` to write vectors to.

    Raises:
        StorageError: there is no room for them.
    """
    try:
        with path.open("wb") as file:
            yield file
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}): make room and run again.") from error


# -- encoding ---------------------------------------------------------------------------------------------------------


def encode_share(
    found: Survey, encoder: Encoder | None, group: ProcessGroup, shared: Path, watch: Callable[[int, int], None]
) -> Share:
    """Encode every so manieth batch of what was ``found``, and write the vectors to this rank's file.

    ``watch`` is called after each batch with the number of items that all workers may have done, and of all.

    Raises:
        InputError: the source as a whole cannot be used, or vectors are of several lengths.
        StorageError: there is no room for the vectors.
    """
    places: list[int] = []
    unreadable: dict[int, str] = {}
    oddities: Counter[str] = Counter()
    feature_dim = done = offset = 0
    with writing(part_file(shared, group.rank)) as file:
        for part in found.parts:
            indices = part.indices.tolist()
            place_of = {index: place for place, index in enumerate(indices, start=offset)}
            batches = batches_of(part.reader, indices, group.device)[group.rank :: group.size]
            for batch in encoded_batches(part.reader, batches, encoder, group.device):
                feature_dim = one_length(found, feature_dim, batch)
                file.write(batch.vectors.numpy().tobytes())
                places += [place_of[index] for index in batch.indices]
                unreadable |= {place_of[index]: why for index, why in batch.unreadable.items()}
                oddities += batch.oddities
                done += (len(batch.indices) + len(batch.unreadable)) * group.size
                watch(min(done, len(found)), len(found))
            offset += len(indices)
    return Share(tuple(places), feature_dim, unreadable, oddities)


def one_length(found: Survey, before: int, batch: Encoded) -> int:
    """Return the length of the vectors of ``batch``, or that of those ``before`` it if it has none.

    Raises:
        InputError: these differ.
    """
    if not batch.indices:
        return before
    if before not in (0, length := batch.vectors.shape[1]):
        raise InputError(f"{found.source} has vectors of {before} and of {length} values: make all of one length.")
    return length


def put_together(
    found: Survey, shares: Sequence[Share], shared: Path
) -> tuple[tuple[Tensor, Tensor, int], tuple[str, ...]]:
    """Write the vectors of all ``shares`` to one file for training and one for testing, class after class.

    Returns:
        The labels of both, int64 [N], with the length of the vectors; and what could not be read.

    Raises:
        InputError: vectors are of several lengths, too many items are unreadable, or a class has too few that are not.
        StorageError: there is no room for the vectors.
    """
    reasons = dict(sorted(item for share in shares for item in share.unreadable.items()))
    unreadable = (*found.unreadable, *reasons.values())
    check_readable(found.source, len(found) + len(found.unreadable), unreadable, found.kind)
    if len(lengths := {share.feature_dim for share in shares if share.places}) > 1:
        told_lengths = " and of ".join(map(str, sorted(lengths)))
        raise InputError(f"{found.source} has vectors of {told_lengths} values: make all of one length.")
    is_read = torch.zeros(len(found), dtype=torch.bool)
    is_read[[place for share in shares for place in share.places]] = True
    labels = torch.cat([part.labels for part in found.parts])
    lasts = list(itertools.accumulate(map(len, found.parts)))
    read = [
        torch.arange(last - len(part), last)[is_read[last - len(part) : last]]
        for part, last in zip(found.parts, lasts, strict=True)
    ]
    names = found.class_names
    counts = [dict(zip(names, labels[each].bincount(minlength=len(names)).tolist(), strict=True)) for each in read]
    check_classes(found.source, counts, found.least, found.kind)
    if len(read) == 1:
        held_out = held_out_rows(labels[read[0]], found.held_out, names, lambda label: ("held out", names[label]))
        read = [read[0][~held_out], read[0][held_out]]
    train, test = read
    (feature_dim,) = lengths
    row_of = {place: (rank, row) for rank, share in enumerate(shares) for row, place in enumerate(share.places)}
    for part, places in (("train", train), ("test", test)):
        copy_rows([row_of[place] for place in places.tolist()], shares, feature_dim, shared, final_file(shared, part))
    for rank in range(len(shares)):
        part_file(shared, rank).unlink()
    return (labels[train], labels[test], feature_dim), unreadable


def copy_rows(
    rows: Sequence[tuple[int, int]], shares: Sequence[Share], feature_dim: int, shared: Path, target: Path
) -> None:
    """Write ``rows``, each of a rank's file, to ``target``, one by one: they are never in memory together.

    Raises:
        StorageError: there is no room for them.
    """
    size = feature_dim * ROW_BYTES
    files = [os.open(part_file(shared, rank), os.O_RDONLY) for rank in range(len(shares))]
    try:
        with writing(target) as file:
            for rank, row in rows:
                file.write(os.pread(files[rank], size, row * size))
    finally:
        for each in files:
            os.close(each)


def map_vectors(found: Survey, sizes: tuple[Tensor, Tensor, int], shared: Path) -> LabelledDataset:
    """Return the data set whose vectors are in the files of `put_together`; they are read when they are used."""
    train, test, feature_dim = sizes

    def part(name: str, labels: Tensor) -> Examples:
        return Examples(mapped(final_file(shared, name), feature_dim), labels)

    return LabelledDataset(found.name, part("train", train), part("test", test), found.class_names)


def remarks(shares: Sequence[Share], total: int) -> tuple[str, ...]:
    """Return in sentences what is odd about some of ``total`` images."""
    oddities = sum((share.oddities for share in shares), Counter[str]())
    return tuple(each.format(count=oddities[what], total=total) for what, each in REMARKS.items() if oddities[what])


# -- inputs of which classes are predicted -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Inputs:
    """The vectors of inputs of which a life predicts the classes."""

    names: tuple[str, ...]
    """What each is called."""
    vectors: Tensor
    """float32 [N, D], each of length sqrt(D)."""


def encode_inputs(
    reader: Reader,
    encoder: Encoder | None,
    unreadable: list[str],
    on_progress: Callable[[int, int], None] = lambda *_: None,
    *,
    device: torch.device = CPU,
) -> Iterator[Inputs]:
    """Yield the vectors of the items of ``reader`` in order, some at a time, and add to ``unreadable`` the others.

    ``on_progress`` is called after each batch with the number done and of all. Texts of like length are encoded
    together within some hundreds.

    Raises:
        InputError: the source as a whole cannot be used.
    """
    together = 16 * batch_size(reader.kind, device)
    for start in range(0, len(reader), together):
        indices = range(start, min(start + together, len(reader)))
        batches = list(encoded_batches(reader, batches_of(reader, indices, device), encoder, device))
        reasons = dict(sorted(item for batch in batches for item in batch.unreadable.items()))
        unreadable += reasons.values()
        found = torch.tensor([index for batch in batches for index in batch.indices], dtype=torch.int64)
        on_progress(indices[-1] + 1, len(reader))
        if len(found):
            order = found.argsort()
            vectors = torch.cat([batch.vectors for batch in batches if batch.indices])[order]
            yield Inputs(tuple(reader.where(index) for index in found[order].tolist()), vectors)
