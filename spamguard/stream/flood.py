"""Are there so many dead letters that somebody must look, though the worker itself is well?

A dead letter is a record that got no decision. One now and then is a fault of its sender; more than a limit within a
minute is a sender that changed its format, and then a part of the traffic passes unjudged. The worker goes on (to stop
would hold the good messages up too), but says so: once a minute in the log, in a gauge, and in /readyz.
"""

import threading
from collections import deque
from typing import Final

import structlog

from spamguard.interfaces import Clock

log = structlog.get_logger()

WINDOW_S: Final = 60
ALARM_EVERY_S: Final = 60.0
#: What the flood is called among the reasons why a worker is degraded.
NAME: Final = "dead_letter_flood"


class DeadLetterFlood:
    """Counts dead letters over the last minute and says when they are too many; the probes' thread may ask too."""

    def __init__(self, limit: int, *, clock: Clock, degraded: dict[str, str]) -> None:
        self._limit = limit
        self._clock = clock
        self._degraded = degraded
        self._lock = threading.Lock()
        self._recent: deque[tuple[int, int]] = deque()  #: a second, and how many dead letters were written in it
        self._number = 0
        self._alarm_due_s = float("-inf")

    def wrote(self, number: int) -> None:
        """Note that a batch was published with this many dead letters, and raise the alarm when it is due."""
        now_s = self._clock.monotonic()
        with self._lock:
            if number:
                self._recent.append((int(now_s), number))
                self._number += number
        if self.look() and now_s >= self._alarm_due_s:
            self._alarm_due_s = now_s + ALARM_EVERY_S
            log.error("dead_letter_flood", in_last_minute=self._number, limit=self._limit)

    def look(self) -> bool:
        """Return whether more than the limit were written within the last minute, and keep `degraded` up to date."""
        oldest = self._clock.monotonic() - WINDOW_S
        with self._lock:
            while self._recent and self._recent[0][0] <= oldest:
                self._number -= self._recent.popleft()[1]
            if self._number > self._limit:
                self._degraded[NAME] = f"{self._number} dead letters within a minute; the limit is {self._limit}"
                return True
            self._degraded.pop(NAME, None)
            return False
