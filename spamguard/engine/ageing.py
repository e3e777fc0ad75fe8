"""How far has the stream moved from what the deciding model was made for, told while it flows?

Every decision is counted by score, category and block; of every thirty-second message the text is looked at too.
Counts are kept in slots of five minutes; the metrics tell of the last hour, and only of features with enough messages
in it (`core.ageing.LEAST`). Counting happens after the decisions are published; what it raises is said once.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import structlog

from spamguard.core.ageing import FEATURES, Reference, Tally, observe_decisions, observe_texts, shifts
from spamguard.core.decide import Request
from spamguard.core.normalize import clip
from spamguard.core.sms import text_of
from spamguard.interfaces import Clock, Metrics
from spamguard.types import Decision

log = structlog.get_logger()

SLOT_S: Final = 300.0
SLOTS: Final = 12
#: Of so many messages one text is looked at: 40 µs, so about 1.3 µs a message.
EVERY: Final = 32
#: How often the metrics are told.
TELL_S: Final = 10.0


class Expectation(NamedTuple):
    """What the deciding model expects of the stream."""

    model: str
    reference: Reference | None  #: None: it was made before references were kept
    words: Mapping[str, int]  #: those it knows


class Ageing:
    """Counts what was decided, and tells how far it moved."""

    def __init__(self, expectation: Callable[[], Expectation], *, metrics: Metrics, clock: Clock) -> None:
        self._expectation = expectation
        self._metrics = metrics
        self._clock = clock
        self._now: Expectation | None = None
        self._slots: deque[tuple[float, Tally]] = deque()
        self._seen = 0
        self._told_s = float("-inf")
        self._shown: set[str] = set()
        self._failed = False

    def offer(self, requests: Sequence[Request], decisions: Sequence[Decision]) -> None:
        """Count a decided batch; never raises."""
        if not decisions:
            return
        try:
            self._offer(requests, decisions)
        except Exception as error:  # noqa: BLE001 - watching may never cost a decision
            if not self._failed:
                self._failed = True
                log.error("ageing_failed", error=type(error).__name__)

    def _offer(self, requests: Sequence[Request], decisions: Sequence[Decision]) -> None:
        if self._now is None or self._now.model != decisions[-1].model:
            expected = self._expectation()
            self._forget()
            self._now = expected
            self._failed = False
        if self._now.reference is None:
            return
        now_s = self._clock.monotonic()
        tally = self._slot(now_s, self._now.reference)
        tally.add(observe_decisions(decisions))
        first = -self._seen % EVERY
        self._seen += len(decisions)
        texts = [text for request in requests[first::EVERY] if (text := text_of(request.message)) is not None]
        if texts:
            tally.add(observe_texts([clip(text) for text in texts], self._now.words))
        if now_s - self._told_s >= TELL_S:
            self._told_s = now_s
            self._tell(self._now.reference)

    def _slot(self, now_s: float, reference: Reference) -> Tally:
        while self._slots and now_s - self._slots[0][0] >= SLOT_S * SLOTS:
            self._slots.popleft()
        if not self._slots or now_s - self._slots[-1][0] >= SLOT_S:
            self._slots.append((now_s, Tally(reference.edges)))
        return self._slots[-1][1]

    def _tell(self, reference: Reference) -> None:
        window = Tally(reference.edges)
        for _, tally in self._slots:
            window.plus(tally)
        self._metrics.gauge("spamguard_drift_messages", window.messages("score"))
        for shift in shifts(window, reference):
            if shift.psi is not None:
                self._metrics.gauge("spamguard_drift_psi", round(shift.psi, 4), feature=shift.feature)
                self._shown.add(shift.feature)
            elif shift.feature in self._shown:
                self._hide(shift.feature)

    def _hide(self, feature: str) -> None:
        self._metrics.forget("spamguard_drift_psi", feature=feature)
        self._shown.discard(feature)

    def _forget(self) -> None:
        """Begin anew: another model expects something else."""
        self._slots.clear()
        for feature in FEATURES:
            if feature in self._shown:
                self._hide(feature)
