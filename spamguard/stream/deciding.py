"""What becomes of a batch of inbound records: which decisions, review copies and dead letters are published?

The order is the promise: a block leaves behind its acknowledged review copy, and one whose copy is not acknowledged
leaves as an allow, degraded. Whatever waits for no copy does not wait: together with the copies leave the dead letters
and, of each partition, the decisions before its first block. When these are acknowledged, the kill switch is looked at
once more, since copies may have waited for a broker for long, and the rest follows: of a partition, decisions leave in
the order of their records, whose key they keep.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from operator import attrgetter
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


#: What decisions are counted by.
_KIND: Final = attrgetter("action", "reason", "category")

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
        score_s = self._clock.monotonic() - started_s
        judged = [
            _Judged(record, request, decision) for (record, request), decision in zip(readable, decisions, strict=True)
        ]
        ready, waiting = _parted(judged)
        copies, uncopied = self._copies(judged)
        (failed, ahead_ms), refused = await asyncio.gather(
            self._published(self._decisions(ready) | self._letters(dead)), self._producer.publish_each(copies)
        )
        _raise_for(failed)
        if refused or uncopied:
            count = len(uncopied) + sum(len(copies[place]) for place in refused)
            log.error("review_unavailable", partitions=sorted(place.number for place in refused), copies=count)
            waiting = self._without_copies(waiting, refused, uncopied)
        waiting = self._let_through(waiting)
        failed, behind_ms = await self._published(self._decisions(waiting))
        _raise_for(failed)
        waits_ms = [
            *(ahead_ms - one.record.timestamp_ms for one in ready),
            *(behind_ms - one.record.timestamp_ms for one in waiting),
        ]
        judged = ready + waiting
        self._report(judged, dead, waits_ms, records=len(records), score_s=score_s)
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

    def _copies(self, judged: Sequence[_Judged]) -> tuple[dict[Partition, list[Outgoing]], set[str]]:
        """Return the review copies by partition, and the decisions whose copy no record can hold."""
        copies: dict[Partition, list[Outgoing]] = {}
        uncopied: set[str] = set()
        for one in judged:
            if not one.decision.review and not (self._lot.share and self._lot.draws(one.request.message, one.decision)):
                continue
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
        return copies, uncopied

    def _without_copies(self, waiting: list[_Judged], refused: Set[Partition], uncopied: set[str]) -> list[_Judged]:
        """Return the decisions, blocks turned to allow where the review copy was not acknowledged."""
        return [
            one._replace(decision=without_review(one.decision))
            if one.decision.action is Action.BLOCK
            and (one.decision.decision_id in uncopied or self._review_place(one) in refused)
            else one
            for one in waiting
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

    def _place(self, one: _Judged) -> Partition:
        return Partition(self._topics.decisions, one.record.partition.number)

    def _decisions(self, judged: Sequence[_Judged]) -> dict[Partition, list[Outgoing]]:
        outgoing: dict[Partition, list[Outgoing]] = {}
        for one in judged:
            outgoing.setdefault(self._place(one), []).append(Outgoing(key=one.record.key, value=encode(one.decision)))
        return outgoing

    def _letters(self, dead: Sequence[tuple[Record, DeadReason]]) -> dict[Partition, list[Outgoing]]:
        outgoing: dict[Partition, list[Outgoing]] = {}
        for record, reason in dead:
            target = Partition(self._topics.dead_letter, record.partition.number % self._topics.dead_letter_partitions)
            letter = self._letter(record, reason)
            outgoing.setdefault(target, []).append(Outgoing(key=record.key, value=encode(letter)))
        return outgoing

    async def _published(self, batches: Mapping[Partition, Sequence[Outgoing]]) -> tuple[Set[Partition], float]:
        """Publish decisions and dead letters; return what was not acknowledged, and when the rest was, in epoch ms."""
        failed = await self._producer.publish_each(batches) if batches else frozenset[Partition]()
        return failed, self._clock.now() * 1000

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
        self,
        judged: Sequence[_Judged],
        dead: Sequence[tuple[Record, DeadReason]],
        waits_ms: Sequence[float],
        *,
        records: int,
        score_s: float,
    ) -> None:
        """Count a batch whose outcome is acknowledged."""
        decisions = [one.decision for one in judged]
        for (action, reason, category), number in Counter(map(_KIND, decisions)).items():
            labels = {"action": str(action), "reason": str(reason), "category": str(category or "none")}
            self._metrics.count("spamguard_decisions_total", number, **labels)
        for name, found in (
            ("spamguard_late_total", sum(decision.late for decision in decisions)),
            ("spamguard_degraded_total", sum(decision.degraded for decision in decisions)),
            ("spamguard_breaker_passed_total", sum(decision.breaker for decision in decisions)),
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
            self._metrics.observe("spamguard_consume_to_publish_seconds", [max(0.0, ms) / 1000 for ms in waits_ms])


def _parted(judged: Sequence[_Judged]) -> tuple[list[_Judged], list[_Judged]]:
    """Return what waits for no review copy, and of each partition its first block with all that stand behind it."""
    ready: list[_Judged] = []
    waiting: list[_Judged] = []
    held: set[Partition] = set()
    for one in judged:
        if one.decision.action is Action.BLOCK:
            held.add(one.record.partition)
        (waiting if one.record.partition in held else ready).append(one)
    return ready, waiting


def _raise_for(failed: Set[Partition]) -> None:
    """Raise PublishFailed when there is any."""
    if failed:
        raise PublishFailed(topic=", ".join(sorted({place.topic for place in failed})), detail="no acknowledgement")
