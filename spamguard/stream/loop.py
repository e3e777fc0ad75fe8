"""How are records taken from a topic and handled at least once, without losing one or holding up the group?

Two tasks. One polls, whatever happens: it fetches ahead of the batch in hand, up to a bound; when the handler, the
producer or a broker does not get on, it pauses the partitions and goes on polling, so that the group keeps this member
and memory stays bounded. The other takes all that was fetched and handles it: the handler returns when everything it
publishes is acknowledged, and only then are offsets committed, explicitly and in order, while the next batch is already
in hand; no message waits for the answer to a commit.

A rebalance waits for the batch in hand and its commit, and drops what was fetched ahead, which comes again from the
committed offset.
A refused commit is never retried: the group has moved on, the records will be read again by their new owner, and their
decisions carry the same ids.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
#: Between two commits, unless partitions move or the loop stops. A commit costs as much as the publication of a small
#: batch; a process that is killed has so much more to do again.
COMMIT_EVERY_S: Final = 0.05
LAG_EVERY_S: Final = 1.0
#: How long nobody polls before the partitions are paused. A batch takes a tenth of a second: pausing for each would
#: cost a fetch every time, while the group gives a member that does not poll twice the rebalance timeout.
PAUSE_AFTER_S: Final = 1.0
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
        self._ahead = _Ahead(max_records)
        self._commits = _Commits(consumer, metrics)
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
        self._ahead.end()

    async def run(self) -> None:
        """Join the group and handle records until stopped. Raises BrokerUnavailable or TopicUnfit at the start."""
        await self._consumer.start(on_assigned=self._assigned, on_revoked=self._on_revoked)
        fetching = asyncio.create_task(self._fetch())
        try:
            async with self._patience:
                self._running = True
                await self._turns(fetching)
        except TimeoutError:
            if not self._patience.expired():
                raise
            log.warning("batch_left_to_next_owner", waited_s=STOP_GRACE_S)
        finally:
            self._running = False
            fetching.cancel()
            await asyncio.wait((fetching,))
            self._commits.give_up()
            await self._consumer.stop()
            self._health.joined = False
            log.info("consumer_left")

    async def _fetch(self) -> None:
        """Poll until stopped, ahead of the batch in hand but no further than its bound."""
        lag_due_s = 0.0
        while not self._stop.is_set():
            if await self._ahead.has_room(PAUSE_AFTER_S):
                await self._poll()
            else:
                await self._hold()
            if self._clock.monotonic() >= lag_due_s:
                self._report_lag()
                lag_due_s = self._clock.monotonic() + LAG_EVERY_S

    async def _hold(self) -> None:
        """Pause all partitions and poll for nothing until there is room again."""
        log.warning("partitions_paused", records_ahead=self._ahead.count)
        try:
            while self._ahead.full and not self._stop.is_set():
                self._consumer.pause(self._consumer.assignment())  # each time: a rebalance gives them back unpaused
                await self._poll()
        finally:
            self._consumer.resume(self._consumer.assignment())
        log.info("partitions_resumed")

    async def _poll(self) -> None:
        """Poll once and keep what came."""
        try:
            batch = await self._consumer.poll(max_records=self._ahead.room, timeout_s=POLL_TIMEOUT_S)
        except BrokerUnavailable as error:
            self._metrics.count("spamguard_broker_errors_total", operation="poll")
            log.warning("poll_failed", error=str(error))
            await self._pause(BACKOFF_S[-1])
            return
        self._health.polled()
        self._health.joined = self._consumer.joined()
        self._ahead.add(batch)

    async def _turns(self, fetching: asyncio.Task[None]) -> None:
        """Handle what was fetched until stopped; ends with the error of the fetching when that fails."""
        fetching.add_done_callback(lambda _: self._ahead.end())
        while not self._stop.is_set():
            await self._ahead.came.wait()
            if fetching.done():
                fetching.result()
            await self._turn()
        await self._commits.settled()

    async def _turn(self) -> None:
        """Handle all that was fetched, if anything was, and let it be committed."""
        async with self._in_hand:
            self._revoked.clear()
            batch = self._ahead.take()
            if not batch or self._stop.is_set():
                return
            with self._health.batch_in_hand():
                handled = await self._handled(batch)
            if handled:
                self._commits.due(batch)

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

    async def _assigned(self, partitions: frozenset[Partition]) -> None:
        self._health.joined = True
        self._metrics.gauge("spamguard_assigned_partitions", len(partitions))
        log.info("partitions_assigned", partitions=[partition.number for partition in sorted(partitions)])

    async def _on_revoked(self, partitions: frozenset[Partition]) -> None:
        """Drop what was fetched ahead and wait for the batch in hand: then the partitions belong to somebody else."""
        self._ahead.drop()
        self._revoked |= partitions
        async with self._in_hand:
            await self._commits.settled()
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


class _Commits:
    """Commits behind the work: one at a time and not too often, and each takes all that was handled meanwhile."""

    def __init__(self, consumer: Consumer, metrics: Metrics) -> None:
        self._consumer = consumer
        self._metrics = metrics
        self._due: dict[Partition, int] = {}
        self._hurry = asyncio.Event()
        self._committing: asyncio.Task[None] | None = None

    def due(self, batch: Batch) -> None:
        """Let a batch be committed that is handled."""
        self._due |= {partition: records[-1].offset + 1 for partition, records in batch.items()}
        if self._committing is not None and self._committing.done():
            self._committing.result()  # whatever nobody expected ends the worker
            self._committing = None
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())

    async def settled(self) -> None:
        """Commit at once, and return when nothing is due and nothing under way; a commit's time limit bounds it."""
        if self._committing is not None:
            self._hurry.set()
            await asyncio.wait((self._committing,))
            self._hurry.clear()

    def give_up(self) -> None:
        """Commit nothing more; what is not committed will be read again."""
        if self._committing is not None:
            self._committing.cancel()

    async def _commit_all(self) -> None:
        while self._due:
            offsets, self._due = self._due, {}
            try:
                await self._consumer.commit(offsets, timeout_s=COMMIT_TIMEOUT_S)
            except CommitRefused as error:
                self._metrics.count("spamguard_broker_errors_total", operation="commit")
                log.warning("commit_refused", error=str(error))
            except BrokerUnavailable as error:
                # The next commit covers this one; should the process die first, the records are read again.
                self._metrics.count("spamguard_broker_errors_total", operation="commit")
                log.warning("commit_unanswered", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(COMMIT_EVERY_S):
                    await self._hurry.wait()


class _Ahead:
    """Records that were fetched and are not yet in hand, bounded."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._records: dict[Partition, list[Record]] = {}
        self._roomy = asyncio.Event()
        self._roomy.set()
        self._ended = False
        self.count = 0
        self.came = asyncio.Event()  #: set while there is something to take, or nothing more is to come

    @property
    def room(self) -> int:
        """Return how many more records fit, at least 1."""
        return max(1, self._most - self.count)

    @property
    def full(self) -> bool:
        """Return whether it is time to stop fetching; half full is, since polls for a few records cost as much."""
        return not self._roomy.is_set()

    async def has_room(self, patience_s: float) -> bool:
        """Return True as soon as there is room, False when there is none for so long."""
        if not self.full:
            return True
        try:
            async with asyncio.timeout(patience_s):
                await self._roomy.wait()
        except TimeoutError:
            return False
        return True

    def add(self, batch: Batch) -> None:
        """Keep what a poll brought."""
        for partition, records in batch.items():
            self._records.setdefault(partition, []).extend(records)
            self.count += len(records)
        self._note()

    def take(self) -> Batch:
        """Return everything and keep nothing."""
        taken, self._records, self.count = self._records, {}, 0
        self._note()
        return taken

    def drop(self) -> None:
        """Forget everything."""
        self.take()

    def end(self) -> None:
        """Keep nobody waiting any more."""
        self._ended = True
        self._note()

    def _note(self) -> None:
        for event, holds in ((self.came, self._ended or self.count > 0), (self._roomy, 2 * self.count < self._most)):
            if holds:
                event.set()
            else:
                event.clear()
