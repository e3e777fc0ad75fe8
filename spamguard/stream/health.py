"""Is this worker ready, and if not, what is it waiting for?

Kafka clients have no public health signal and have been seen stuck after a broker's restart, so the loop keeps its
own: the model is warm, the group is joined (even with no partition), and a poll came back not long ago. A batch whose
publication waits for a broker makes the worker unready, but not dead: it goes on by itself as soon as the broker is
back, while a restarted worker would find nobody to talk to.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from spamguard.interfaces import Clock

#: A poll returns at least every second, a batch in hand or not; ten missed ones mean the loop is stuck.
STALE_POLL_S: Final = 10.0
#: A batch in hand for longer than any outage that people sleep through is taken to be stuck.
STUCK_BATCH_S: Final = 600.0


class Health:
    """What the worker knows of itself; answers /healthz and /readyz."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_poll_s = clock.monotonic()
        self._batch_since_s: float | None = None
        self.model_warm = False
        self.joined = False
        self.stopping = False
        #: Why the worker runs on with less than it should have; empty when all is well.
        self.degraded: dict[str, str] = {}

    def polled(self) -> None:
        """Note that a poll came back."""
        self._last_poll_s = self._clock.monotonic()

    @property
    def seconds_since_poll(self) -> float:
        """Return how long ago the last poll came back."""
        return self._clock.monotonic() - self._last_poll_s

    @contextmanager
    def batch_in_hand(self) -> Iterator[None]:
        """Note that a batch is handled while the block runs."""
        self._batch_since_s = self._clock.monotonic()
        try:
            yield
        finally:
            self._batch_since_s = None

    @property
    def seconds_of_batch(self) -> float:
        """Return how long the batch in hand has been there; 0 without one."""
        since_s = self._batch_since_s
        return 0.0 if since_s is None else self._clock.monotonic() - since_s

    def alive(self) -> bool:
        """Return whether the loop still turns; when it does not, restart the process."""
        return self.seconds_of_batch < STUCK_BATCH_S and self.seconds_since_poll < STALE_POLL_S

    def waiting_for(self) -> list[str]:
        """Return what keeps the worker from being ready; empty when it is."""
        missing = []
        if not self.model_warm:
            missing.append("the model is not warm yet")
        if not self.joined:
            missing.append("the consumer group is not joined")
        if self.seconds_of_batch >= STALE_POLL_S:
            missing.append(f"a batch is in hand for {self.seconds_of_batch:.0f} s; do the brokers answer?")
        elif not self.alive():
            missing.append(f"no poll came back for {self.seconds_since_poll:.0f} s")
        if self.stopping:
            missing.append("the worker is stopping")
        return missing
