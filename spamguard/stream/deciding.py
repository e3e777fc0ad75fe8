"""What becomes of a batch of inbound records: which decisions, review copies and dead letters are published?

The order is the promise: review copies first; a block whose copy is not acknowledged is published as an allow,
degraded. The kill switch is looked at once more, since copies may have waited for a broker for long. Then decisions
and dead letters, one batch a partition; the decision keeps its record's key and partition.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import structlog

from spamguard.core.codec import decision_id, decode_message, encode
from spamguard.core.decide import Request, let_through, without_review
from spamguard.engine.filter import LiveFilter
from spamguard.errors import PublishFailed
from spamguard.interfaces import Clock, Metrics, Producer
from spamguard.stream.flood import DeadLetterFlood
from spamguard.stream.loop import Batch
from spamguard.stream.lot import NO_LOT, Lot
from spamguard.types import (
    Action,
    DeadLetter,
    DeadReason,
    Decision,
    DefectiveMessage,
    Outgoing,
    Partition,
    Record,
    ReviewCopy,
)

log = structlog.get_logger()

#: What a broker takes for sure. A larger review copy would fail with all others of its batch, so it is not sent.
MAX_COPY_BYTES: Final = 900_000


#: Called with each batch whose decisions are acknowledged; it must return at once and not raise.
OnDecided = Callable[[Sequence[Request], Sequence[Decision]], None]


class Topics(NamedTuple):
    """Where a batch's outcome goes; review and dead letters have their own number of partitions."""

    decisions: str
    review: str
    dead_letter: str
    review_partitions: int
    dead_letter_partitions: int


class _Judged(NamedTuple):
    """A record with what was decided on it."""

    record: Record
    request: Request
    decision: Decision


class DecidingHandler:
    """Decodes, judges and publishes a batch."""

    def __init__(
        self,
        engine: LiveFilter,
        producer: Producer,
        *,
        topics: Topics,
        metrics: Metrics,
        clock: Clock,
        flood: DeadLetterFlood,
        on_decided: OnDecided = lambda requests, decisions: None,
        lot: Lot = NO_LOT,
    ) -> None:
        self._engine = engine
        self._lot = lot
        self._producer = producer
        self._topics = topics
        self._metrics = metrics
        self._clock = clock
        self._on_decided = on_decided
        self._flood = flood

    async def handle(self, batch: Batch) -> None:
        """Publish a decision for each message and a dead letter for each unreadable record. Raises PublishFailed."""
        started_s = self._clock.monotonic()
        records = [record for partition_records in batch.values() for record in partition_records]
        readable, dead = self._decode(records)
        decisions = await self._engine.judge([request for _, request in readable])
        judged_s = self._clock.monotonic()
        judged = [
            _Judged(record, request, decision) for (record, request), decision in zip(readable, decisions, strict=True)
        ]
        judged = self._let_through(await self._reviewed(judged))
        await self._publish(judged, dead)
        self._report(judged, dead, records=len(records), score_s=judged_s - started_s)
        self._on_decided([one.request for one in judged], [one.decision for one in judged])

    def _decode(
        self, records: Sequence[Record]
    ) -> tuple[list[tuple[Record, Request]], list[tuple[Record, DeadReason]]]:
        readable, dead = [], []
        for record in records:
            message = decode_message(record.value)
            if isinstance(message, DeadReason):
                dead.append((record, message))
                continue
            identity = decision_id(record.partition, record.offset)
            readable.append((record, Request(message, identity, record.timestamp_ms)))
        return readable, dead

    async def _reviewed(self, judged: list[_Judged]) -> list[_Judged]:
        """Return the decisions, blocks turned to allow where the review copy was not acknowledged."""
        wanted = [one for one in judged if one.decision.review]
        drawn = [one for one in judged if self._lot.draws(one.request.message, one.decision)] if self._lot.share else []
        if not wanted and not drawn:
            return judged
        copies: dict[Partition, list[Outgoing]] = {}
        uncopied: set[str] = set()
        for one in (*wanted, *drawn):
            place = one.record.partition
            copy = ReviewCopy(
                decision=one.decision,
                message=one.request.message,
                source=f"{place.topic}-{place.number}@{one.record.offset}",
                chance=None if one.decision.review else self._lot.share,
            )
            outgoing = Outgoing(key=one.record.key, value=encode(copy))
            if len(outgoing.value or b"") > MAX_COPY_BYTES:
                uncopied.add(one.decision.decision_id)
            else:
                copies.setdefault(self._review_place(one), []).append(outgoing)
        failed = await self._publish_each(copies)
        uncopied |= {one.decision.decision_id for one in wanted if self._review_place(one) in failed}
        if not uncopied:
            return judged
        log.error("review_unavailable", partitions=sorted(p.number for p in failed), copies=len(uncopied))
        return [
            one._replace(decision=without_review(one.decision))
            if one.decision.action is Action.BLOCK and one.decision.decision_id in uncopied
            else one
            for one in judged
        ]

    def _let_through(self, judged: list[_Judged]) -> list[_Judged]:
        """Return the decisions as they are under the kill switch of this moment, which may be later than judging."""
        if not self._engine.controls.allow_all:
            return judged
        return [
            one._replace(decision=let_through(one.decision)) if one.decision.action is Action.BLOCK else one
            for one in judged
        ]

    def _review_place(self, one: _Judged) -> Partition:
        return Partition(self._topics.review, one.record.partition.number % self._topics.review_partitions)

    async def _publish_each(self, batches: Mapping[Partition, Sequence[Outgoing]]) -> set[Partition]:
        """Publish all and return the partitions that did not acknowledge."""
        outcomes = await asyncio.gather(
            *(self._producer.publish(partition, batch) for partition, batch in batches.items()), return_exceptions=True
        )
        failed = set()
        for partition, outcome in zip(batches, outcomes, strict=True):
            if isinstance(outcome, PublishFailed):
                failed.add(partition)
            elif isinstance(outcome, BaseException):
                raise outcome
        return failed

    async def _publish(self, judged: Sequence[_Judged], dead: Sequence[tuple[Record, DeadReason]]) -> None:
        outgoing: dict[Partition, list[Outgoing]] = {}
        for one in judged:
            target = Partition(self._topics.decisions, one.record.partition.number)
            outgoing.setdefault(target, []).append(Outgoing(key=one.record.key, value=encode(one.decision)))
        for record, reason in dead:
            target = Partition(self._topics.dead_letter, record.partition.number % self._topics.dead_letter_partitions)
            letter = self._letter(record, reason)
            outgoing.setdefault(target, []).append(Outgoing(key=record.key, value=encode(letter)))
        failed = await self._publish_each(outgoing)
        if failed:
            raise PublishFailed(topic=", ".join(sorted({p.topic for p in failed})), detail="no acknowledgement")

    def _letter(self, record: Record, reason: DeadReason) -> DeadLetter:
        return DeadLetter(
            reason=reason,
            topic=record.partition.topic,
            partition=record.partition.number,
            offset=record.offset,
            size_bytes=len(record.value or b""),
            seen_at_ms=int(self._clock.now() * 1000),
        )

    def _report(
        self, judged: Sequence[_Judged], dead: Sequence[tuple[Record, DeadReason]], *, records: int, score_s: float
    ) -> None:
        """Count a batch whose outcome is acknowledged."""
        now_ms = self._clock.now() * 1000
        counted: dict[tuple[str, str, str], int] = {}
        for one in judged:
            decision = one.decision
            key = (str(decision.action), str(decision.reason), str(decision.category or "none"))
            counted[key] = counted.get(key, 0) + 1
        for (action, reason, category), number in counted.items():
            self._metrics.count("spamguard_decisions_total", number, action=action, reason=reason, category=category)
        for name, found in (
            ("spamguard_late_total", sum(one.decision.late for one in judged)),
            ("spamguard_degraded_total", sum(one.decision.degraded for one in judged)),
            ("spamguard_breaker_passed_total", sum(one.decision.breaker for one in judged)),
            ("spamguard_defective_total", sum(isinstance(one.request.message, DefectiveMessage) for one in judged)),
        ):
            if found:
                self._metrics.count(name, found)
        self._flood.wrote(len(dead))
        flooded = self._flood.look()  # then a line each would bury the alarm; the topic has them all
        for record, reason in dead:
            self._metrics.count("spamguard_dead_letters_total", reason=str(reason))
            if flooded:
                continue
            log.warning(
                "dead_letter",
                reason=str(reason),
                topic=record.partition.topic,
                partition=record.partition.number,
                offset=record.offset,
            )
        self._metrics.observe("spamguard_batch_messages", [records])
        if judged:
            self._metrics.observe("spamguard_scoring_seconds", [score_s / len(judged)])
            waits = [max(0.0, now_ms - one.record.timestamp_ms) / 1000 for one in judged]
            self._metrics.observe("spamguard_consume_to_publish_seconds", waits)
