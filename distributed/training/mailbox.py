"""Where the driver and rank 0 leave word for each other. It imports nothing, so that its process is there at once."""


class Mailbox:
    """Holds packed events until the driver fetches them, and whether to stop; a Ray actor."""

    def __init__(self) -> None:
        self._events: list[bytes] = []
        self.expect()

    def tell(self, event: bytes) -> None:
        """Add ``event``."""
        self._events.append(event)

    def fetch(self) -> list[bytes]:
        """Return the events since the last call."""
        events, self._events = self._events, []
        return events

    def expect(self) -> None:
        """Have everything as it must be when workers start."""
        self._begun = self._stop_asked = False

    def begin(self) -> None:
        """Say that the workers are there."""
        self._begun = True

    def begun(self) -> bool:
        """Tell whether the workers are there."""
        return self._begun

    def ask_to_stop(self) -> None:
        """Ask the workers to save and end."""
        self._stop_asked = True

    def stop_asked(self) -> bool:
        """Tell whether the workers are asked to save and end."""
        return self._stop_asked
