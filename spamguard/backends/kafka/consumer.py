"""How does a worker take part in a consumer group?

Offsets are committed explicitly and with a time limit (a commit can hang while a coordinator moves); the rebalance
timeout is set, because its default is the short session timeout; a refused commit is named as such, so that nobody
retries it. docs/why.md has the experiments.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from spamguard.backends.kafka.connection import RETRY_S, KafkaConfig, ended, ours, reach, theirs
from spamguard.errors import BrokerUnavailable, CommitRefused, TopicUnfit
from spamguard.interfaces import OnAssigned, OnRevoked
from spamguard.types import Offsets, Partition, Record

#: How much longer than its own time limit a poll may take before it is taken to be waiting for a rebalance.
POLL_GRACE_S: Final = 0.1


class KafkaConsumer:
    """A member of a consumer group."""

    def __init__(self, config: KafkaConfig, topics: Sequence[str], group: str, member: str | None) -> None:
        self._config = config
        self._topics = list(topics)
        self._joined = False
        self._consumer: AIOKafkaConsumer | None = None
        self._fetching: asyncio.Task[tuple[int, Any]] | None = None
        self._epoch = 0  #: counts the assignments that were taken away
        self._options = config.client_options() | {
            "group_id": group,
            "group_instance_id": member,
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "session_timeout_ms": int(config.session_timeout_s * 1000),
            "heartbeat_interval_ms": int(config.session_timeout_s * 1000 / 5),
            "rebalance_timeout_ms": int(config.rebalance_timeout_s * 1000),
            "max_poll_interval_ms": int(config.rebalance_timeout_s * 2 * 1000),
            "max_partition_fetch_bytes": 4 << 20,
        }
        self._partitions: dict[TopicPartition, Partition] = {}
        self._served: frozenset[TopicPartition] = frozenset()  #: what the last poll brought records of, if it was full
        self._next: dict[Partition, int] = {}  #: offset behind the last delivered record

    async def start(self, *, on_assigned: OnAssigned, on_revoked: OnRevoked) -> None:
        """Connect and begin to join the group.

        The group is joined in the background: a member that subscribes before it starts waits for all others to hand
        their batches in, which may take the whole rebalance timeout.
        """
        self._consumer = AIOKafkaConsumer(**self._options)
        try:
            await reach(self._config, self._consumer.start())
            missing = set(self._topics) - await reach(self._config, _known(self._consumer))
            if missing:
                raise TopicUnfit(detail=f"{', '.join(sorted(missing))} does not exist")
        except BaseException:
            await self.stop()
            raise
        self._consumer.subscribe(self._topics, listener=_Listener(self, on_assigned, on_revoked))

    @property
    def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise BrokerUnavailable(address=self._config.brokers, detail="the consumer is not started")
        return self._consumer

    def _named(self, partition: TopicPartition) -> Partition:
        named = self._partitions.get(partition)
        if named is None:
            named = self._partitions[partition] = Partition(partition.topic, partition.partition)
        return named

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what was fetched."""
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch(max_records, timeout_s))
        # During a rebalance `getmany` waits past its time limit, and cancelling it confuses the count of fetches that
        # `max_poll_interval_ms` rests on: so it is left waiting, and the next poll asks for its outcome.
        await asyncio.wait((self._fetching,), timeout=timeout_s + POLL_GRACE_S)
        if not self._fetching.done():
            return {}
        fetched, self._fetching = self._fetching, None
        try:
            epoch, found = fetched.result()
        except KafkaError as error:
            raise BrokerUnavailable(address=self._config.brokers, detail=type(error).__name__) from None
        if epoch != self._epoch:
            return {}  # of an assignment that is gone: whoever holds the partitions now reads from what was committed
        batch = {}
        for topic_partition, records in found.items():
            partition = self._named(topic_partition)
            batch[partition] = ours(partition, records)
            self._next[partition] = records[-1].offset + 1
        return batch

    async def _fetch(self, max_records: int, timeout_s: float) -> tuple[int, Any]:
        """Return what was fetched with the epoch it was taken in; `getmany` takes nothing during a rebalance.

        It takes from one partition as long as that has fetched records, some ten thousand; behind a full poll those
        that it did not serve are asked first, or the conversations of one partition would wait for the backlog of
        another. A poll that was not full left nobody waiting: what came together is then taken together.
        """
        consumer = self._started
        waiting = consumer.assignment() - self._served if self._served else frozenset()
        found = await consumer.getmany(*waiting, timeout_ms=0, max_records=max_records) if waiting else {}
        if not found:
            found = await consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        self._served = frozenset(found) if sum(map(len, found.values())) >= max_records else frozenset()
        return self._epoch, found

    async def commit(self, offsets: Offsets, *, timeout_s: float) -> None:
        """Commit explicit offsets: what is still held first, since one lost partition makes aiokafka refuse all."""
        lost = offsets.keys() - self.assignment()
        wanted = {
            theirs(place): OffsetAndMetadata(offset, "") for place, offset in offsets.items() if place not in lost
        }
        try:
            async with asyncio.timeout(timeout_s):
                await self._started.commit(wanted)
        except (CommitFailedError, IllegalStateError) as error:
            raise CommitRefused(detail=type(error).__name__) from None
        except TimeoutError:
            detail = f"no answer to a commit within {timeout_s:g} s"
            raise BrokerUnavailable(address=self._config.brokers, detail=detail) from None
        except KafkaError as error:
            raise BrokerUnavailable(address=self._config.brokers, detail=type(error).__name__) from None
        if lost:
            raise CommitRefused(detail=f"lost in a rebalance: {', '.join(str(place.number) for place in sorted(lost))}")

    async def committed(self, partition: Partition) -> int | None:
        """Return the committed next offset."""
        return await reach(self._config, self._started.committed(theirs(partition)))

    def pause(self, partitions: frozenset[Partition]) -> None:
        """Stop fetching these."""
        self._started.pause(*map(theirs, partitions & self.assignment()))

    def resume(self, partitions: frozenset[Partition]) -> None:
        """Fetch these again."""
        self._started.resume(*map(theirs, partitions & self.assignment()))

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions held."""
        return frozenset(map(self._named, self._started.assignment()))

    def joined(self) -> bool:
        """Return whether it belongs to the group."""
        return self._joined

    def lag(self) -> Mapping[Partition, int]:
        """Return the distance to the high watermark the last fetch told of."""
        found = {}
        for held in self._started.assignment():
            partition, end = self._named(held), self._started.highwater(held)
            if end is not None and partition in self._next:
                found[partition] = max(0, end - self._next[partition])
        return found

    async def stop(self) -> None:
        """Leave the group, or drop it when no broker listens."""
        self._joined = False
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        if not await ended(consumer.stop()):
            if consumer._coordinator is not None:
                await ended(consumer._coordinator._stop_heartbeat_task())
                await ended(consumer._coordinator._stop_commit_offsets_refresh_task())
            if consumer._fetcher is not None:
                await ended(consumer._fetcher.close())
            await ended(consumer._client.close())
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))
            self._fetching = None


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes rebalances on, as whole sets."""

    def __init__(self, consumer: KafkaConsumer, on_assigned: OnAssigned, on_revoked: OnRevoked) -> None:
        self._consumer = consumer
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        self._consumer._epoch += 1
        await self._on_revoked(frozenset(map(self._consumer._named, revoked)))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._consumer._joined = True
        self._consumer._next.clear()
        await self._on_assigned(frozenset(map(self._consumer._named, assigned)))


async def _known(consumer: AIOKafkaConsumer) -> set[str]:
    """Return the topics there are; a broker that was just born or just thawed says for a moment that it knows none."""
    while True:
        with suppress(KafkaError):
            found: set[str] = await consumer.topics()
            return found
        await asyncio.sleep(RETRY_S)
