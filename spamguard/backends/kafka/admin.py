"""What do the brokers know of topics and groups?"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code
from aiokafka.structs import OffsetAndMetadata

from spamguard.backends.kafka.connection import RETRY_S, KafkaConfig, ended, reach
from spamguard.errors import BrokerUnavailable, TopicUnfit
from spamguard.types import Partition

#: The error codes of a topic that is there already, and of one that is not there.
TOPIC_EXISTS: Final = 36
UNKNOWN_TOPIC: Final = 3


class KafkaAdmin:
    """Asks the brokers about topics and groups."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._connected: AIOKafkaAdminClient | None = None

    async def _client(self) -> AIOKafkaAdminClient:
        if self._connected is None:
            client = AIOKafkaAdminClient(**self._config.client_options())
            try:
                await reach(self._config, client.start())
            except BaseException:
                await ended(client.close())
                raise
            self._connected = client
        return self._connected

    async def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """Return how many partitions each existing topic has."""
        client = await self._client()
        described = await reach(self._config, client.describe_topics(list(topics)))
        return {found["topic"]: len(found["partitions"]) for found in described if not found["error_code"]}

    async def create(self, topics: Mapping[str, int], *, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Create topics with the cluster's default replication. Raises TopicUnfit when the brokers refuse one."""
        if not topics:
            return
        client = await self._client()
        wanted = [
            NewTopic(topic, partitions, -1, replica_assignments={}, topic_configs=dict(configs.get(topic, {})))
            for topic, partitions in topics.items()
        ]
        answer = await reach(self._config, client.create_topics(wanted))
        refused = [
            f"{topic} was not created ({for_code(code).__name__}{f': {said[0]}' if said and said[0] else ''})"
            for topic, code, *said in answer.topic_errors
            if code not in (0, TOPIC_EXISTS)
        ]
        if refused:
            raise TopicUnfit(detail="; ".join(refused))
        await reach(self._config, self._led(list(topics)))

    async def _led(self, topics: list[str]) -> None:
        """Return when every partition has its leader: brokers say that a topic is created before they all know it."""
        client = await self._client()
        while True:
            described = await client.describe_topics(topics)
            if not any(found["error_code"] or any(p["error_code"] for p in found["partitions"]) for found in described):
                return
            await asyncio.sleep(RETRY_S)

    async def cleanup_policies(self, topics: Sequence[str]) -> Mapping[str, str]:
        """Return the cleanup policy of each existing topic."""
        client = await self._client()
        asked = [ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": ""}) for topic in topics]
        answers = await reach(self._config, client.describe_configs(asked)) if asked else []
        found = {}
        for answer in answers:
            for code, _, _, topic, entries in answer.resources:
                if code == UNKNOWN_TOPIC:
                    continue
                if code:
                    raise BrokerUnavailable(address=self._config.brokers, detail=for_code(code).__name__)
                found[topic] = str(entries[0][1])
        return found

    async def group_lag(self, group: str, topic: str) -> Mapping[Partition, int]:
        """Return how far a group's committed offsets are behind the end."""
        places = await self._places(topic)
        if not places:
            return {}
        offsets = await reach(self._config, self._committed(group))
        committed = {place: meta.offset for place, meta in offsets.items()}
        async with self._reader() as reader:
            ends = await reach(self._config, reader.end_offsets(places))
            starts = await reach(self._config, reader.beginning_offsets(places))
        return {
            Partition(topic, place.partition): ends[place] - max(committed.get(place, -1), starts[place])
            for place in places
        }

    async def newest_timestamp_ms(self, topic: str) -> int | None:
        """Return the newest record's timestamp."""
        places = await self._places(topic)
        if not places:
            return None
        async with self._reader() as reader:
            ends = await reach(self._config, reader.end_offsets(places))
            starts = await reach(self._config, reader.beginning_offsets(places))
            missing = {place for place in places if ends[place] > starts[place]}
            if not missing:
                return None
            reader.assign(missing)
            for place in missing:
                reader.seek(place, ends[place] - 1)
            return await reach(self._config, _newest(reader, missing))

    async def _places(self, topic: str) -> list[TopicPartition]:
        count = (await self.partitions([topic])).get(topic, 0)
        return [TopicPartition(topic, number) for number in range(count)]

    async def _committed(self, group: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """Return a group's offsets; a broker that was just born makes its table of groups at the first question."""
        client = await self._client()
        while True:
            try:
                found: Mapping[TopicPartition, OffsetAndMetadata] = await client.list_consumer_group_offsets(group)
            except KafkaError as error:
                if not error.retriable:
                    raise
                await asyncio.sleep(RETRY_S)
            else:
                return found

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        reader = AIOKafkaConsumer(**self._config.client_options(), enable_auto_commit=False)
        try:
            await reach(self._config, reader.start())
            yield reader
        finally:
            await ended(reader.stop())

    async def close(self) -> None:
        """Close."""
        client, self._connected = self._connected, None
        if client is not None:
            await ended(client.close())


async def _newest(reader: AIOKafkaConsumer, missing: set[TopicPartition]) -> int | None:
    """Return the newest timestamp among the last records of partitions, as far as they come within moments."""
    newest: int | None = None
    waiting = set(missing)
    while waiting:
        found = await reader.getmany(*waiting, timeout_ms=1000)
        if not found:
            break  # the last offset of a partition may hold no record: compaction, or a transaction's marker
        newest = max(newest or 0, *(records[-1].timestamp for records in found.values()))
        waiting -= found.keys()
    return newest
