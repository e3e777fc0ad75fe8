"""What would the challenger decide on the messages the champion just decided on?

It scores the same messages after their decisions are published, never decides, and may fail as it likes. It takes only
what the deciding leaves over: a slice begins when no batch is being judged, and what comes while two thousand messages
wait is not scored at all but counted as dropped. So it holds up a decision by one slice of 2 ms at most.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from zlib import crc32

import structlog

from spamguard.core.decide import Judge, Request, decide
from spamguard.engine.filter import LiveFilter
from spamguard.interfaces import Metrics
from spamguard.types import Action, Decision, ShadowOpinion, ShadowReport

log = structlog.get_logger()

#: Messages the challenger scores at once, and so may hold up a decision by.
SLICE: Final = 64
#: Messages that may wait for the challenger: two full batches, a few hundred kilobytes.
MOST_WAITING: Final = 2000
#: Takes sampled disagreements; what it raises is logged and forgotten.
OnSample = Callable[[Sequence[ShadowReport]], Awaitable[None]]

#: How the two decisions on a message relate, by (the champion blocks, the challenger blocks).
OUTCOMES: Final = {
    (False, False): "agree",
    (True, True): "agree",
    (False, True): "would_block",
    (True, False): "would_allow",
}


def sampled(decision_id: str, share: float) -> bool:
    """Return whether a decision belongs to the sample: the same for every repeat, worker and run.

    >>> sum(sampled(f"d{number}", 0.1) for number in range(10_000))
    1057
    """
    return crc32(decision_id.encode()) < share * (1 << 32)


class Shadow:
    """Lets a challenger score along."""

    def __init__(
        self,
        engine: LiveFilter,
        *,
        metrics: Metrics,
        sample: float = 0.0,
        on_sample: OnSample | None = None,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.challenger: Judge | None = None
        self._engine = engine
        self._metrics = metrics
        self._sample = sample
        self._on_sample = on_sample
        self._most_waiting = most_waiting
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shadow")
        self._waiting: deque[tuple[Request, Decision]] = deque()
        self._working: asyncio.Task[None] | None = None
        self._said: set[tuple[str, str]] = set()

    def offer(self, requests: Sequence[Request], decisions: Sequence[Decision]) -> None:
        """Take a decided batch, as far as there is room; returns at once and never raises."""
        judge = self.challenger
        if judge is None:
            return
        # What was never scored has nothing to compare; a challenger that became the champion has nothing to add.
        both = zip(requests, decisions, strict=True)
        pairs = [(asked, ours) for asked, ours in both if ours.score is not None and ours.model != judge.name]
        room = self._most_waiting - len(self._waiting)
        self._waiting.extend(pairs[:room])
        if len(pairs) > room:
            self._drop(len(pairs) - room, "busy")
        if self._waiting and (self._working is None or self._working.done()):
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def settle(self) -> None:
        """Return when nothing waits any more."""
        if self._working is not None:
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        """Score what waits, a slice at a time, whenever no batch is being judged."""
        while self._waiting:
            await self._engine.idle.wait()
            pairs = [self._waiting.popleft() for _ in range(min(SLICE, len(self._waiting)))]
            if (judge := self.challenger) is not None:
                await self._compare(pairs, judge)

    async def _compare(self, pairs: Sequence[tuple[Request, Decision]], judge: Judge) -> None:
        asked = [request for request, _ in pairs]
        conditions = self._engine.conditions(asked)
        try:
            loop = asyncio.get_running_loop()
            theirs = await loop.run_in_executor(self._executor, decide, asked, judge, conditions)
        except Exception as error:  # noqa: BLE001 - whatever a challenger does, nothing of it reaches a decision
            self._drop(len(pairs), "failed")
            if self._first("shadow_failed", judge):
                log.error("shadow_failed", model=judge.name, error=type(error).__name__)
            return
        reports = self._tell([ours for _, ours in pairs], theirs)
        if reports and self._on_sample is not None:
            try:
                await self._on_sample(reports)
            except Exception as error:  # noqa: BLE001 - as above
                if self._first("shadow_sample_failed", judge):
                    log.warning("shadow_sample_failed", model=judge.name, error=type(error).__name__)

    def _tell(self, ours: Sequence[Decision], theirs: Sequence[Decision]) -> list[ShadowReport]:
        """Count how the decisions relate, and return the reports that belong to the sample."""
        counted: Counter[str] = Counter()
        reports = []
        for champion, challenger in zip(ours, theirs, strict=True):
            outcome = OUTCOMES[champion.would_be is Action.BLOCK, challenger.would_be is Action.BLOCK]
            counted[outcome] += 1
            if outcome != "agree" and sampled(champion.decision_id, self._sample):
                reports.append(_report(outcome, champion, challenger))
        for outcome, number in counted.items():
            self._metrics.count("spamguard_shadow_total", number, outcome=outcome)
        return reports

    def _first(self, event: str, judge: Judge) -> bool:
        """Return whether this is to be logged: once for each challenger, since it would come with every batch."""
        first = (event, judge.name) not in self._said
        self._said.add((event, judge.name))
        return first

    def _drop(self, number: int, reason: str) -> None:
        self._metrics.count("spamguard_shadow_dropped_total", number, reason=reason)

    async def close(self) -> None:
        """Forget what waits; the thread ends with its slice."""
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])
        self._executor.shutdown(wait=False, cancel_futures=True)


def _report(outcome: str, champion: Decision, challenger: Decision) -> ShadowReport:
    return ShadowReport(
        decision_id=champion.decision_id,
        message_id=champion.message_id,
        outcome=outcome,
        champion=_opinion(champion),
        challenger=_opinion(challenger),
        decided_at=champion.decided_at,
    )


def _opinion(decision: Decision) -> ShadowOpinion:
    return ShadowOpinion(
        model=decision.model,
        score=decision.score,
        ham_cutoff=decision.ham_cutoff,
        spam_cutoff=decision.spam_cutoff,
        would_be=decision.would_be,
        reason=decision.reason,
        category=decision.category,
    )
