"""The actor of a dreamer. It imports little, so that its process takes no time from those that training begins with."""

from typing import TYPE_CHECKING

import ray
from ray import cloudpickle

if TYPE_CHECKING:
    from distributed.replay.block import Arrays, BlockDreamer, BlockRequest


class DreamerActor:
    """A `BlockDreamer` that imports PyTorch and the networks when it is told to `prepare`, or else when first asked."""

    def __init__(
        self, threads: int, device: str = "cpu", mailbox: bytes | None = None, known: bytes | None = None
    ) -> None:
        """Dream with ``threads`` on ``device``, with networks that are ``known`` (see `distributed.work.make_known`).

        An actor that was started again says so in the pickled ``mailbox``.
        """
        self._arguments = threads, device
        self._known = known
        self._dreamer: BlockDreamer | None = None
        if mailbox is not None and ray.get_runtime_context().was_current_actor_reconstructed:
            from distributed.training.relay import RelayedJournal
            from mygo.events import Restarted

            text = "A dreamer was lost and has started again; its dreams are the same."
            RelayedJournal(cloudpickle.loads(mailbox))(Restarted(text, "dreamers"))

    def prepare(self) -> None:
        """Be ready to dream."""
        from distributed.replay.block import BlockDreamer
        from distributed.work import make_known

        if self._dreamer is None and self._known is not None:
            make_known(self._known)
        self._dreamer = self._dreamer or BlockDreamer(*self._arguments)

    def dream(self, request: "BlockRequest") -> "Arrays":
        """Return the dreams of ``request``, as `BlockDreamer.dream` does."""
        self.prepare()
        assert self._dreamer is not None
        return self._dreamer.dream(request)
