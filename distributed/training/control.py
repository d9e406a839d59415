"""What the driver and rank 0 share: events, and the request to stop. It imports nothing, so as to start at once."""


class ControlActor:
    """Holds packed events until the driver fetches them, and whether to stop; a Ray actor."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self.reset()

    def add_event(self, event: bytes) -> None:
        """Add ``event``."""
        self._events.append(event)

    def take_events(self) -> list[bytes]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def reset(self) -> None:
        """Be as when workers are about to start."""
        self._started = self._stop_requested = False
        self._shared: list[object] = []

    def share(self, reference: list[object]) -> None:
        """Hold what rank 0 shares with the other ranks, a reference in a list, in place of what it shared before."""
        self._shared = reference

    def shared(self) -> list[object]:
        """Return what rank 0 shares."""
        return self._shared

    def note_workers_started(self) -> None:
        """Note that the workers have started."""
        self._started = True

    def workers_started(self) -> bool:
        """Return whether the workers have started."""
        return self._started

    def request_stop(self) -> None:
        """Request that the workers save and end."""
        self._stop_requested = True

    def stop_requested(self) -> bool:
        """Return whether the workers are requested to save and end."""
        return self._stop_requested
