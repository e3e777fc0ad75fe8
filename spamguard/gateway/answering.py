"""How do messages of many callers become decisions, together, each within its own deadline?

While the engine judges one batch, requests queue; the next batch takes what came, so batches grow with the load and
nobody waits for one to fill. A block is answered once its review copy is acknowledged. Whatever is first, all of a
request's decisions or its deadline, settles it for good: what the caller was told is what is published.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zlib import crc32

import structlog

from spamguard.core.codec import encode, http_decision_id
from spamguard.core.decide import Request, let_through, without_review
from spamguard.engine.filter import LiveFilter
from spamguard.gateway.access import Refused
from spamguard.gateway.outbox import Outbox
from spamguard.interfaces import Clock, Metrics
from spamguard.types import Action, Decision, DefectiveMessage, Message, Outgoing, Partition, Reason, ReviewCopy

log = structlog.get_logger()

#: Messages judged together at most: four of the engine's slices, twenty milliseconds.
MOST_TOGETHER: Final = 256
#: What a broker takes for sure.
MAX_COPY_BYTES: Final = 900_000

#: Called with each request's messages and what was answered; it must return at once and not raise.
OnDecided = Callable[[Sequence[Request], Sequence[Decision]], None]


class Published(NamedTuple):
    """Where decisions and review copies go."""

    outbox: Outbox
    decisions: str
    review: str
    decisions_partitions: int
    review_partitions: int


class Answer(NamedTuple):
    """What a caller is told."""

    decisions: Sequence[Decision]
    unanswered: int  #: how many of them the fail policy made


class _Asked:
    """The messages of one request on their way."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = requests
        self.judged: Sequence[Decision] | None = None
        self.copied: set[str] = set()  #: decision ids whose review copy is acknowledged
        self.settled: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()


class Answering:
    """Gives decisions; `run` must be running."""

    def __init__(
        self,
        engine: LiveFilter,
        *,
        metrics: Metrics,
        clock: Clock,
        published: Published | None,
        fails_open: bool = True,
        keeps_blocked: bool = False,
        most_waiting: int = 5000,
        on_decided: OnDecided = lambda requests, decisions: None,
    ) -> None:
        self._engine = engine
        self._metrics = metrics
        self._clock = clock
        self._published = published
        self._fails_open = fails_open
        self._keeps_blocked = keeps_blocked
        self._most_waiting = most_waiting
        self._on_decided = on_decided
        self._queue: deque[_Asked] = deque()
        self._arrived = asyncio.Event()
        self._copying: set[asyncio.Task[None]] = set()
        self.waiting = 0  #: messages that have no answer yet

    async def answer(self, messages: Sequence[Message], *, deadline_s: float) -> Answer:
        """Return the decisions in order, by the deadline in seconds from now. Raises Refused."""
        if self.waiting + len(messages) > self._most_waiting:
            raise Refused("overloaded", retry_after_s=0.1)
        now_ms = int(self._clock.now() * 1000)
        asked = _Asked([Request(one, http_decision_id(one.tenant, one.message_id), now_ms) for one in messages])
        self._queue.append(asked)
        self._arrived.set()
        self.waiting += len(messages)
        try:
            async with asyncio.timeout(deadline_s):
                return await asyncio.shield(asked.settled)
        except TimeoutError:
            if not asked.settled.done():
                self._expire(asked)
            return await asked.settled
        finally:
            self.waiting -= len(messages)
            if not asked.settled.done():  # the caller has gone; nobody is told anything
                asked.settled.cancel()

    def _expire(self, asked: _Asked) -> None:
        """Settle a request whose deadline has come: as judged where it was, else by the fail policy."""
        if asked.judged is not None:
            self._settle(asked, [self._sure(asked, decision) for decision in asked.judged])
            return
        self._metrics.count("spamguard_gateway_unanswered_total", len(asked.requests))
        if not self._fails_open:
            asked.settled.set_exception(Refused("deadline", retry_after_s=1.0))
            return
        self._settle(asked, [self._unanswered(request) for request in asked.requests], len(asked.requests))

    def _unanswered(self, request: Request) -> Decision:
        judge, message = self._engine.holder.judge, request.message
        conditions = self._engine.conditions([request])
        return Decision(
            decision_id=request.decision_id,
            message_id=message.message_id,
            action=Action.ALLOW,
            would_be=Action.ALLOW,
            reason=Reason.UNANSWERED,
            ham_cutoff=judge.ham_cutoff,
            spam_cutoff=judge.spam_cutoff,
            model=judge.name,
            policy=conditions.policy.name,
            code_version=conditions.code_version,
            degraded=True,
            defects=message.defects if isinstance(message, DefectiveMessage) else (),
            decided_at=datetime.fromtimestamp(conditions.now_s, UTC).isoformat(timespec="milliseconds"),
        )

    async def run(self) -> None:
        """Judge what is asked until cancelled."""
        while True:
            await self._arrived.wait()
            together = self._next()
            if not together:
                continue
            requests = [request for asked in together for request in asked.requests]
            started_s = self._clock.monotonic()
            decisions = await self._engine.judge(requests)
            self._metrics.observe("spamguard_batch_messages", [len(requests)])
            self._metrics.observe("spamguard_scoring_seconds", [(self._clock.monotonic() - started_s) / len(requests)])
            first = 0
            for asked in together:
                mine = decisions[first : first + len(asked.requests)]
                first += len(mine)
                if not asked.settled.done():
                    asked.judged = mine
                    self._answer_judged(asked, mine)

    def _next(self) -> list[_Asked]:
        """Take the requests of the next batch; those that nobody waits for any more are left out."""
        together: list[_Asked] = []
        number = 0
        while self._queue and (not together or number + len(self._queue[0].requests) <= MOST_TOGETHER):
            asked = self._queue.popleft()
            if not asked.settled.done():
                together.append(asked)
                number += len(asked.requests)
        if not self._queue:
            self._arrived.clear()
        return together

    def _answer_judged(self, asked: _Asked, decisions: Sequence[Decision]) -> None:
        """Settle a judged request, after the acknowledgement of its review copies where it blocks anything."""
        copies = self._copies(asked, decisions)
        if any(decision.action is Action.BLOCK for decision in decisions) and copies:
            task = asyncio.create_task(self._after_copies(asked, decisions, copies))
            self._copying.add(task)
            task.add_done_callback(self._copying.discard)
        else:
            self._settle(asked, [self._sure(asked, decision) for decision in decisions])

    def _copies(self, asked: _Asked, decisions: Sequence[Decision]) -> list[tuple[str, asyncio.Future[bool]]]:
        """Send the review copies on their way and return those that a block waits for."""
        to = self._published
        if to is None:
            return []
        waited_for = []
        for request, decision in zip(asked.requests, decisions, strict=True):
            if not decision.review:
                continue
            source = f"http/{request.message.tenant}"
            value = encode(ReviewCopy(decision=decision, message=request.message, source=source))
            if len(value) > MAX_COPY_BYTES:
                continue
            key = decision.decision_id.encode()
            place = Partition(to.review, crc32(key) % to.review_partitions)
            acknowledged = to.outbox.put(place, Outgoing(key=key, value=value))
            if decision.action is Action.BLOCK:
                waited_for.append((decision.decision_id, acknowledged))
        return waited_for

    async def _after_copies(
        self, asked: _Asked, decisions: Sequence[Decision], copies: Sequence[tuple[str, asyncio.Future[bool]]]
    ) -> None:
        for decision_id, acknowledged in copies:
            if await acknowledged:
                asked.copied.add(decision_id)
        if not asked.settled.done():
            self._settle(asked, [self._sure(asked, decision) for decision in decisions])

    def _sure(self, asked: _Asked, decision: Decision) -> Decision:
        """Return a decision as it may be answered now: a block only if it can be undone."""
        if decision.action is not Action.BLOCK:
            return decision
        if self._engine.controls.allow_all:
            return let_through(decision)
        undoable = self._keeps_blocked if self._published is None else decision.decision_id in asked.copied
        return decision if undoable else without_review(decision)

    def _settle(self, asked: _Asked, decisions: Sequence[Decision], unanswered: int = 0) -> None:
        """Tell the caller, and publish what it was told."""
        asked.settled.set_result(Answer(decisions, unanswered))
        to = self._published
        if to is not None:
            for decision in decisions:
                key = decision.decision_id.encode()
                place = Partition(to.decisions, crc32(key) % to.decisions_partitions)
                to.outbox.put(place, Outgoing(key=key, value=encode(decision)))
        self._count(asked, decisions)
        if not unanswered:
            self._on_decided(asked.requests, decisions)

    def _count(self, asked: _Asked, decisions: Sequence[Decision]) -> None:
        counted = Counter(
            (str(one.action), str(one.reason), str(one.category) if one.category else "none") for one in decisions
        )
        for (action, reason, category), number in counted.items():
            self._metrics.count("spamguard_decisions_total", number, action=action, reason=reason, category=category)
        for name, found in (
            ("spamguard_late_total", sum(one.late for one in decisions)),
            ("spamguard_degraded_total", sum(one.degraded for one in decisions)),
            ("spamguard_breaker_passed_total", sum(one.breaker for one in decisions)),
            ("spamguard_defective_total", sum(bool(one.defects) for one in decisions)),
        ):
            if found:
                self._metrics.count(name, found)
