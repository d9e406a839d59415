"""The actor of a dreamer. It imports little, so that its process takes no time from those that training begins with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ray
from ray import cloudpickle

if TYPE_CHECKING:
    from distributed.replay.block import Arrays, BlockDreamer, BlockRequest
    from mygo.replay.spec import ReplaySpec


class DreamerActor:
    """A `BlockDreamer` that imports PyTorch and the networks when `prepare` is called, or else at the first request."""

    def __init__(
        self, threads: int, device: str = "cpu", control: bytes | None = None, registries: bytes | None = None
    ) -> None:
        """Dream with ``threads`` on ``device``, with pickled ``registries`` (see `distributed.job.unpack_registries`).

        An actor that was started again says so in the pickled ``control``.
        """
        self._arguments = threads, device
        self._registries = registries
        self._dreamer: BlockDreamer | None = None
        if control is not None and ray.get_runtime_context().was_current_actor_reconstructed:
            from distributed.training.forwarding import EventForwarder
            from mygo.events import Restarted

            text = "A dreamer was lost and has started again; its dreams are the same."
            EventForwarder(cloudpickle.loads(control))(Restarted(text, "dreamers"))

    def prepare(self) -> None:
        """Be ready to dream."""
        from distributed.job import unpack_registries
        from distributed.replay.block import BlockDreamer

        if self._dreamer is None and self._registries is not None:
            unpack_registries(self._registries)
        self._dreamer = self._dreamer or BlockDreamer(*self._arguments)

    def dream(self, request: "BlockRequest", spec: "Sequence[ray.ObjectRef[ReplaySpec]]") -> "Arrays":
        """Return the dreams of ``request``, as `BlockDreamer.dream` does; the one ``spec`` is fetched if it must be.

        It comes in a list: an argument that is a reference would be fetched for every request.
        """
        self.prepare()
        assert self._dreamer is not None
        return self._dreamer.dream(request, lambda: ray.get(spec[0]))
