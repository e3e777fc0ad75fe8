"""How is a topic read without a group: from an offset or a moment, or followed from its beginning?"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Final, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from spamguard.backends.kafka.admin import KafkaAdmin
from spamguard.backends.kafka.connection import KafkaConfig, ended, ours, reach, theirs
from spamguard.errors import BrokerUnavailable, TopicUnfit
from spamguard.types import Offsets, Partition, Record

#: How long a followed topic may be silent before the broker is asked whether it has more.
PROBE_EVERY_S: Final = 5.0


class KafkaReader:
    """Reads a topic without a group."""

    def __init__(self, config: KafkaConfig, topic: str) -> None:
        self._config = config
        self._topic = topic
        self._consumer: AIOKafkaConsumer | None = None
        self._partitions: dict[TopicPartition, Partition] = {}

    async def start(self) -> Mapping[Partition, tuple[int, int]]:
        """Connect and ask where the topic begins and ends."""
        admin = KafkaAdmin(self._config)  # a consumer that is assigned to nothing yet knows no topic's partitions
        try:
            count = (await admin.partitions([self._topic])).get(self._topic)
        finally:
            await admin.close()
        if count is None:
            raise TopicUnfit(detail=f"{self._topic} does not exist")
        self._partitions = {TopicPartition(self._topic, n): Partition(self._topic, n) for n in range(count)}
        self._consumer = consumer = AIOKafkaConsumer(
            **self._config.client_options(),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 << 20,
        )
        try:
            await reach(self._config, consumer.start())
            starts = await reach(self._config, consumer.beginning_offsets(list(self._partitions)))
            ends = await reach(self._config, consumer.end_offsets(list(self._partitions)))
        except BaseException:
            await self.stop()
            raise
        return {partition: (starts[theirs], ends[theirs]) for theirs, partition in self._partitions.items()}

    @property
    def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise BrokerUnavailable(address=self._config.brokers, detail="the reader is not started")
        return self._consumer

    async def offsets_at(self, timestamp_ms: int) -> Offsets:
        """Return the first offsets of a moment."""
        consumer, places = self._started, list(self._partitions)
        found = await reach(self._config, consumer.offsets_for_times(dict.fromkeys(places, timestamp_ms)))
        ends = await reach(self._config, consumer.end_offsets(places))
        return {
            self._partitions[place]: ends[place] if found.get(place) is None else found[place].offset
            for place in places
        }

    def seek(self, offsets: Offsets) -> None:
        """Read from these offsets on."""
        self._started.assign(list(map(theirs, offsets)))
        for partition, offset in offsets.items():
            self._started.seek(theirs(partition), offset)

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what was fetched."""
        if not self._started.assignment():  # there `getmany` would wait for a subscription, past its time limit
            await asyncio.sleep(timeout_s)
            return {}
        try:
            found = await self._started.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except KafkaError as error:
            raise BrokerUnavailable(address=self._config.brokers, detail=type(error).__name__) from None
        return {self._partitions[place]: ours(self._partitions[place], records) for place, records in found.items()}

    async def stop(self) -> None:
        """Close."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await ended(consumer.stop())


class _End(NamedTuple):
    """What a followed topic held, and where it ended."""

    records: list[Record]
    offsets: Mapping[TopicPartition, int]


async def _to_end(reader: AIOKafkaConsumer, partitions: Mapping[TopicPartition, Partition]) -> _End:
    """Return everything a topic holds now, read from its beginning."""
    places = list(partitions)
    await reader.seek_to_beginning(*places)
    ends: Mapping[TopicPartition, int] = await reader.end_offsets(places)
    found: list[Record] = []
    while any([await reader.position(place) < ends[place] for place in places]):
        fetched = await reader.getmany(timeout_ms=200)
        found += [record for place, records in fetched.items() for record in ours(partitions[place], records)]
    return _End(found, ends)


async def follow(config: KafkaConfig, topic: str) -> AsyncGenerator[Sequence[Record]]:
    """Yield everything a topic holds, and then what comes.

    A silent broker looks like a silent topic, so after some seconds of silence it is asked for the topic's end.
    """
    admin = KafkaAdmin(config)
    try:
        count = (await admin.partitions([topic])).get(topic, 0)
    finally:
        await admin.close()
    if not count:
        raise TopicUnfit(detail=f"{topic} does not exist")
    partitions = {TopicPartition(topic, number): Partition(topic, number) for number in range(count)}
    places = list(partitions)
    options = config.client_options()
    reader = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
    try:
        await reach(config, reader.start())
        reader.assign(places)
        ends = await reach(config, _to_end(reader, partitions))
        yield ends.records
        while True:
            found = await reach(config, reader.getmany(timeout_ms=int(PROBE_EVERY_S * 1000)), PROBE_EVERY_S)
            records = [record for place, records in found.items() for record in ours(partitions[place], records)]
            if records:
                yield records
                continue
            positions = {place: await reach(config, reader.position(place)) for place in places}
            if any(not ends.offsets[place] <= positions[place] for place in places):
                raise BrokerUnavailable(address=config.brokers, detail=f"{topic} has records it does not give")
            ends = _End([], await reach(config, reader.end_offsets(places)))
            if any(ends.offsets[place] < positions[place] for place in places):
                raise BrokerUnavailable(address=config.brokers, detail=f"{topic} was made anew")
    finally:
        await ended(reader.stop())
