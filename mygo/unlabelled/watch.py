"""A watch for drift: what a life in use is asked about is tested, so many inputs at a time."""

import logging
import os
import threading

from torch import Tensor

from mygo.errors import InputError
from mygo.learner.learner import Learner
from mygo.learner.predict import Predictions
from mygo.unlabelled.drift import Drift, DriftTest

NICENESS = 10
"""By how much a test is nicer than answers, which come first."""

log = logging.getLogger(__name__)


class DriftWatch:
    """Tests inputs for drift once there are so many of them, and then forgets them; any thread may use it.

    Each test is of other inputs, so of those of unchanged inputs the share ``alpha`` says that they have drifted.
    """

    def __init__(self, life: Learner, every: int, alpha: float = 0.05) -> None:
        """Watch for ``life``, as it is now, ``every`` so many inputs."""
        self._life, self._every, self._alpha = life, every, alpha
        self._lock = threading.Lock()
        self._waiting: list[tuple[Tensor, Predictions]] = []
        self._count = 0
        self._test: DriftTest | None = None
        self._found: Drift | None = None
        self.running: threading.Thread | None = None
        """The test that was started last."""

    def see(self, seen: Tensor, predictions: Predictions) -> None:
        """Take notice of N inputs as the life has ``seen`` them, and of its ``predictions``, with scores.

        Those that come while a test runs are not looked at.
        """
        with self._lock:
            if self.running is not None and self.running.is_alive():
                return
            self._waiting.append((seen, predictions))
            self._count += len(seen)
            if self._count >= self._every:
                window, self._waiting, self._count = self._waiting, [], 0
                self.running = threading.Thread(target=self._look_back, args=(window,), name="drift", daemon=True)
                self.running.start()

    def take(self) -> Drift | None:
        """Return what was found, once; None if there is nothing new."""
        with self._lock:
            found, self._found = self._found, None
            return found

    def _look_back(self, window: list[tuple[Tensor, Predictions]]) -> None:
        if hasattr(os, "setpriority"):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # of this thread alone, on Linux
        try:
            self._test = self._test or DriftTest(self._life)
            parts = [self._test.looked_at(seen, predictions) for seen, predictions in window]
            found = self._test.test(sum(parts[1:], parts[0]), self._alpha)
        except InputError as error:  # it keeps no memories, say
            log.warning("Inputs are not tested for drift: %s", error)
            return
        if found.drifted:
            log.warning(
                "The last %d inputs look different from what was learned (p = %.2g).", found.inputs, found.p_value
            )
        with self._lock:
            self._found = found
