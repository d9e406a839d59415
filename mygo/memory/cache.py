"""Memories that were trained or fitted before: a store that runs can share, so that each is made once.

A generator depends on its task's data, on the GAN's settings, on the seed, on the memory that it started from, on the
number of workers and on the code, and on nothing else: not on sleep, nor on the network. The hash of all that is its
address in the store.

The code is in it twice. `VERSION` is raised by whoever changes what a memory becomes; a golden test (in
tests/mygo/memory/test_cache.py) fails until it is. And what the modules in `CODE` do, comments and docstrings aside, is
hashed too, so that a change that nobody has tested yet finds nothing that other code trained.

The Gaussians of what an encoder saw depend on less: on the lesson's vectors, on their settings, on the number of
workers and on the code, of which `GAUSSIAN_VERSION` and `GAUSSIAN_CODE` tell. They are fitted without random draws.
"""

import ast
import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock
from torch import Tensor, nn

from mygo import seeding
from mygo.config.learner import GanConfig, GaussianConfig, Precision
from mygo.data.examples import Examples
from mygo.data.mapped import let_go
from mygo.errors import InputError
from mygo.events import EventHandler, Notice
from mygo.memory.quality import stored_tensors
from mygo.networks.generator import ConvGenerator, Generator, generator_named
from mygo.networks.weights import read_tensors, write_tensors
from mygo.training.process_group import ProcessGroup

VERSION = 2
"""Of what memories become: raise it with every change of code, of any package, after which they become others."""
CODE = (
    "mygo.data.examples",
    "mygo.memory.gan",
    "mygo.memory.quality",
    "mygo.networks.discriminator",
    "mygo.networks.generator",
    "mygo.networks.layers",
    "mygo.seeding",
    "mygo.training.batches",
    "mygo.training.checkpoint",
    "mygo.training.exchange",
    "mygo.training.graphs",
    "mygo.training.loop",
    "mygo.training.optimiser",
    "mygo.training.precision",
    "mygo.training.process_group",
)
"""The modules that take part in training a memory."""
GAUSSIAN_VERSION = 2
"""Of what fitted Gaussians become, as `VERSION`."""
GAUSSIAN_CODE = (
    "mygo.data.examples",
    "mygo.data.mapped",
    "mygo.memory.gaussian",
    "mygo.memory.quality",
    "mygo.training.process_group",
)
"""The modules that take part in fitting Gaussians."""

AnyMemory = TypeVar("AnyMemory", bound=nn.Module)


@dataclass(frozen=True)
class MemoryCache:
    """A folder of memories, which processes and hosts may share."""

    folder: Path

    def address(
        self,
        images: Examples,
        config: GanConfig,
        key: seeding.Key,
        group: ProcessGroup,
        start: Generator | None,
        precision: Precision,
    ) -> str:
        """Return where the generator that `train_gan` makes of these arguments is kept.

        Of a generator of one's own the source of its class or function counts, but not of what that calls.

        Raises:
            InputError: that source cannot be had.
        """
        parts = (images.fingerprint, asdict(config), key, group.size, group.device.type, precision, torch.__version__)
        digest = hashlib.sha256(repr((VERSION, parts)).encode())
        for code in (*map(code_of, CODE), source_of(config.generator)):
            digest.update(code.encode())
        if start is not None:
            for name, tensor in start.state_dict().items():
                digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:32]

    def gaussian_address(self, vectors: Examples, num_classes: int, config: GaussianConfig, group: ProcessGroup) -> str:
        """Return where the Gaussians that `fit_gaussians` makes of these arguments are kept."""
        parts = (vectors.fingerprint, num_classes, asdict(config), group.size, group.device.type, torch.__version__)
        digest = hashlib.sha256(repr(("gaussians", GAUSSIAN_VERSION, parts)).encode())
        for code in map(code_of, GAUSSIAN_CODE):
            digest.update(code.encode())
        let_go(vectors.inputs)
        return digest.hexdigest()[:32]

    def recall_or_train(
        self,
        address: str,
        blank: AnyMemory,
        train: Callable[[], AnyMemory],
        group: ProcessGroup,
        on_event: EventHandler,
    ) -> AnyMemory:
        """Return the memory at ``address``, after training and keeping it if nobody did.

        Whoever comes while it is being trained waits for it. ``blank`` is an untrained memory of its sizes, and
        ``train`` returns one whose weights are rounded as they are stored. All ranks of ``group`` must call this.
        """
        with self._locked(address, group):
            found = self._read(address, on_event) if group.rank == 0 else None
            if float(group.sum(torch.tensor([float(found is not None)]))) > 0:
                blank.load_state_dict(found or self._read(address, on_event) or {})
                return blank.to(group.device)
            memory = train()
            if group.rank == 0:
                write_tensors(self.folder, address, stored_tensors(memory))
            group.barrier()
            return memory

    @contextmanager
    def _locked(self, address: str, group: ProcessGroup) -> Iterator[None]:
        if group.rank > 0:  # rank 0 holds the lock for its group, which waits for its word
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # The operating system frees the lock of a process that dies.
        with FileLock(self.folder / f"{address}.lock"):
            yield

    def _read(self, address: str, on_event: EventHandler) -> dict[str, Tensor] | None:
        path = next(self.folder.glob(f"{address}-*.safetensors"), None)
        if path is None:
            return None
        try:
            return read_tensors(self.folder, path.name)
        except InputError as error:
            on_event(Notice(f"A memory is trained again, since the one in the cache cannot be used: {error}"))
            return None


@functools.cache
def code_of(module: str) -> str:
    """Return what the source of ``module`` does, which comments, docstrings and line breaks do not change."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    for node in ast.walk(tree):
        for field, value in ast.iter_fields(node):
            if isinstance(value, list):
                setattr(node, field, [item for item in value if not is_text(item)])
    return ast.dump(tree)


def is_text(node: object) -> bool:
    """Return whether ``node`` is a statement that is nothing but a text."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def source_of(generator: str) -> str:
    """Return the source of what makes the ``generator`` of that name; nothing for those that come with MyGO.

    Raises:
        InputError: there is none, as for a class that was typed into an interpreter.
    """
    build = generator_named(generator)
    if build is ConvGenerator:
        return ""
    try:
        return inspect.getsource(build)
    except (OSError, TypeError) as error:
        raise InputError(
            f"The source of the generator {generator!r} cannot be read, so its memories cannot be "
            "distinguished from others: define its class in a file, or leave out --memory-cache."
        ) from error
