"""Is this worker ready, and if not, what is it waiting for?

Kafka clients have no public health signal and have been seen stuck after a broker's restart, so the loop keeps its
own: the model is warm, the group is joined (even with no partition), and a poll came back not long ago.
"""

from typing import Final

from spamguard.interfaces import Clock

#: A poll returns at least every second; ten missed ones mean the loop is stuck.
STALE_POLL_S: Final = 10.0


class Health:
    """What the worker knows of itself; answers /healthz and /readyz."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last_poll_s = clock.monotonic()
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

    def alive(self) -> bool:
        """Return whether the loop still turns; when it does not, restart the process."""
        return self.seconds_since_poll < STALE_POLL_S

    def waiting_for(self) -> list[str]:
        """Return what keeps the worker from being ready; empty when it is."""
        missing = []
        if not self.model_warm:
            missing.append("the model is not warm yet")
        if not self.joined:
            missing.append("the consumer group is not joined")
        if not self.alive():
            missing.append(f"no poll came back for {self.seconds_since_poll:.0f} s")
        if self.stopping:
            missing.append("the worker is stopping")
        return missing
