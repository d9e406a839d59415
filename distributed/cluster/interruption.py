"""Ctrl-C and SIGTERM: the first lets a run save and end by itself, the second ends it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Which signal has arrived, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """What a command that was ended by the signal ends with: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + (self.signal or signal.SIGINT)


@contextmanager
def interruptible(at_first: Callable[[], None]) -> Iterator[Interruption]:
    """Call ``at_first`` at the first signal inside the block; the second raises KeyboardInterrupt.

    Outside the main thread, where Python gives no signals, nothing is done.
    """
    found = Interruption()

    def handle(number: int, _: FrameType | None) -> None:
        if found.signal is not None:
            raise KeyboardInterrupt
        found.signal = signal.Signals(number)
        at_first()

    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {each: signal.signal(each, handle) for each in SIGNALS}
    try:
        yield found
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
