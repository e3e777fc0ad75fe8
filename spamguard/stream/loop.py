"""How are records taken from a topic and handled at least once, without losing one or holding up the group?

poll → handle → commit, a batch at a time. The handler returns when everything it publishes is acknowledged; only then
are offsets committed, explicitly. A rebalance waits for the batch in hand (`on_revoked` takes the same lock), so a
partition is never given away between publishing and committing. A refused commit is never retried: the group has moved
on, the records will be read again by their new owner, and their decisions carry the same ids.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import structlog

from spamguard.errors import BrokerUnavailable, CommitRefused, PublishFailed
from spamguard.interfaces import Clock, Consumer, Metrics
from spamguard.stream.health import Health
from spamguard.types import Partition, Record

log = structlog.get_logger()

Batch = Mapping[Partition, Sequence[Record]]

#: Waits between tries to publish the same batch; the last one repeats for ever, since giving up would lose it.
BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
POLL_TIMEOUT_S: Final = 0.5
COMMIT_TIMEOUT_S: Final = 5.0
LAG_EVERY_S: Final = 1.0
#: How long a stop waits for the batch in hand; with the brokers away its publishing would never end.
STOP_GRACE_S: Final = 6.0


class Handler(Protocol):
    """What is done with a batch."""

    async def handle(self, batch: Batch) -> None:
        """Handle all records and return when the outcome is acknowledged.

        Raises PublishFailed when it is not; the loop then calls again with the same batch.
        """


class StreamLoop:
    """Runs a handler over a consumer until it is told to stop."""

    def __init__(
        self, consumer: Consumer, handler: Handler, *, health: Health, metrics: Metrics, clock: Clock, max_records: int
    ) -> None:
        self._consumer = consumer
        self._handler = handler
        self._health = health
        self._metrics = metrics
        self._clock = clock
        self._max_records = max_records
        self._in_hand = asyncio.Lock()
        self._revoked: set[Partition] = set()
        self._stop = asyncio.Event()
        self._running = False
        self._patience = asyncio.timeout(None)

    def stop(self) -> None:
        """Ask the loop to finish the batch in hand, commit and leave the group."""
        self._health.stopping = True
        if self._running and not self._stop.is_set():
            self._patience.reschedule(asyncio.get_running_loop().time() + STOP_GRACE_S)
        self._stop.set()

    async def run(self) -> None:
        """Join the group and handle records until stopped. Raises BrokerUnavailable or TopicUnfit at the start."""
        await self._consumer.start(on_assigned=self._assigned, on_revoked=self._on_revoked)
        try:
            async with self._patience:
                self._running = True
                await self._turns()
        except TimeoutError:
            if not self._patience.expired():
                raise
            log.warning("batch_left_to_next_owner", waited_s=STOP_GRACE_S)
        finally:
            self._running = False
            await self._consumer.stop()
            self._health.joined = False
            log.info("consumer_left")

    async def _turns(self) -> None:
        """Turn until stopped."""
        lag_due_s = 0.0
        while not self._stop.is_set():
            await self._turn()
            if self._clock.monotonic() >= lag_due_s:
                self._report_lag()
                lag_due_s = self._clock.monotonic() + LAG_EVERY_S

    async def _turn(self) -> None:
        """Poll once and, when something came, handle and commit it."""
        try:
            batch = await self._consumer.poll(max_records=self._max_records, timeout_s=POLL_TIMEOUT_S)
        except BrokerUnavailable as error:
            self._metrics.count("spamguard_broker_errors_total", operation="poll")
            log.warning("poll_failed", error=str(error))
            await self._pause(BACKOFF_S[-1])
            return
        self._health.polled()
        self._health.joined = self._consumer.joined()
        if batch:
            async with self._in_hand:
                self._revoked.clear()
                with self._health.batch_in_hand():
                    handled = await self._handled(batch)
                if handled:
                    await self._commit(batch)

    async def _handled(self, batch: Batch) -> bool:
        """Return True once the batch is handled, False when it must be left for the next owner."""
        for attempt in range(1 << 30):
            try:
                await self._handler.handle(batch)
            except PublishFailed as error:
                self._metrics.count("spamguard_broker_errors_total", operation="publish")
                log.warning("publish_failed", error=str(error), attempt=attempt + 1)
            else:
                return True
            if self._revoked or self._stop.is_set():
                log.warning("batch_left_to_next_owner", records=sum(map(len, batch.values())))
                return False
            await self._pause(BACKOFF_S[min(attempt, len(BACKOFF_S) - 1)])
        return False  # pragma: no cover - a range that does not end in practice

    async def _commit(self, batch: Batch) -> None:
        offsets = {partition: records[-1].offset + 1 for partition, records in batch.items()}
        try:
            await self._consumer.commit(offsets, timeout_s=COMMIT_TIMEOUT_S)
        except CommitRefused as error:
            self._metrics.count("spamguard_broker_errors_total", operation="commit")
            log.warning("commit_refused", error=str(error))
        except BrokerUnavailable as error:
            # The next batch's commit covers this one; should the process die first, the records are read again.
            self._metrics.count("spamguard_broker_errors_total", operation="commit")
            log.warning("commit_unanswered", error=str(error))

    async def _assigned(self, partitions: frozenset[Partition]) -> None:
        self._health.joined = True
        self._metrics.gauge("spamguard_assigned_partitions", len(partitions))
        log.info("partitions_assigned", partitions=[partition.number for partition in sorted(partitions)])

    async def _on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Wait for the batch in hand: after this the partitions belong to somebody else."""
        self._revoked |= partitions
        async with self._in_hand:
            pass
        for partition in partitions:
            self._metrics.gauge("spamguard_lag_records", 0, topic=partition.topic, partition=str(partition.number))
        if partitions:
            log.info("partitions_revoked", partitions=[partition.number for partition in sorted(partitions)])

    def _report_lag(self) -> None:
        for partition, lag in self._consumer.lag().items():
            self._metrics.gauge("spamguard_lag_records", lag, topic=partition.topic, partition=str(partition.number))

    async def _pause(self, seconds: float) -> None:
        """Wait, but not past a stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass
