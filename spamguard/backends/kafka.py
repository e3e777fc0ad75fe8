"""How do the interfaces of a broker look in aiokafka, and which of its traps are stepped around here?

Offsets are committed explicitly and with a time limit (a commit can hang while a coordinator moves); the rebalance
timeout is set, because its default is the short session timeout; records leave in explicit batches to a chosen
partition (`create_batch` + `send_batch`, linger 0), which is four times as fast as one future a record; a refused
commit is named as such, so that nobody retries it.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, TopicAlreadyExistsError
from aiokafka.structs import OffsetAndMetadata

from spamguard.errors import BrokerUnavailable, CommitRefused, ConfigError, PublishFailed
from spamguard.interfaces import OnAssigned, OnRevoked
from spamguard.types import Offsets, Outgoing, Partition, Record

#: Below the broker's default message.max.bytes of 1,048,588.
MAX_BATCH_BYTES: Final = 1_000_000

_T = TypeVar("_T")


class KafkaConfig(NamedTuple):
    """How to reach the brokers and how long to wait for them."""

    brokers: str
    request_timeout_s: float = 10.0
    session_timeout_s: float = 15.0
    rebalance_timeout_s: float = 60.0
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_cafile: str | None = None

    def client_options(self) -> dict[str, Any]:
        """Return what every aiokafka client is built with."""
        options: dict[str, Any] = {
            "bootstrap_servers": [address.strip() for address in self.brokers.split(",")],
            "request_timeout_ms": int(self.request_timeout_s * 1000),
            "security_protocol": self.security_protocol,
            "client_id": "spamguard",
        }
        if self.security_protocol.endswith("SSL"):
            try:
                options["ssl_context"] = ssl.create_default_context(cafile=self.ssl_cafile)
            except OSError as error:
                raise ConfigError(detail=f"ssl_cafile {self.ssl_cafile}: {error.strerror}") from None
        if self.security_protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        return options


class KafkaBroker:
    """Apache Kafka, or whatever speaks its protocol."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config

    def consumer(self, topics: Sequence[str], *, group: str, member: str | None = None) -> "KafkaConsumer":
        """Return a consumer that is not yet started."""
        return KafkaConsumer(self._config, topics, group, member)

    def producer(self) -> "KafkaProducer":
        """Return a producer that is not yet started."""
        return KafkaProducer(self._config)

    def admin(self) -> "KafkaAdmin":
        """Return an admin."""
        return KafkaAdmin(self._config)


async def _reach(config: KafkaConfig, starting: Awaitable[_T]) -> _T:
    """Await a client's start and name what is wrong when nobody answers."""
    try:
        async with asyncio.timeout(config.request_timeout_s):
            return await starting
    except TimeoutError:
        detail = f"no answer within {config.request_timeout_s:g} s"
        raise BrokerUnavailable(address=config.brokers, detail=detail) from None
    except (KafkaError, OSError, ValueError) as error:
        raise BrokerUnavailable(address=config.brokers, detail=type(error).__name__) from None


class KafkaConsumer:
    """A member of a consumer group."""

    def __init__(self, config: KafkaConfig, topics: Sequence[str], group: str, member: str | None) -> None:
        self._config = config
        self._topics = list(topics)
        self._joined = False
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
        self._next: dict[Partition, int] = {}  #: offset behind the last delivered record

    async def start(self, *, on_assigned: OnAssigned, on_revoked: OnRevoked) -> None:
        """Connect and join the group."""
        self._consumer = AIOKafkaConsumer(**self._options)
        self._consumer.subscribe(self._topics, listener=_Listener(self, on_assigned, on_revoked))
        try:
            await _reach(self._config, self._consumer.start())
        except BrokerUnavailable:
            await self.stop()
            raise

    def _named(self, partition: TopicPartition) -> Partition:
        named = self._partitions.get(partition)
        if named is None:
            named = self._partitions[partition] = Partition(partition.topic, partition.partition)
        return named

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what was fetched."""
        try:
            found = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except KafkaError as error:
            raise BrokerUnavailable(address=self._config.brokers, detail=type(error).__name__) from None
        batch = {}
        for topic_partition, records in found.items():
            partition = self._named(topic_partition)
            batch[partition] = [
                Record(
                    partition=partition,
                    offset=record.offset,
                    key=record.key,
                    value=record.value,
                    timestamp_ms=record.timestamp,
                )
                for record in records
            ]
            self._next[partition] = records[-1].offset + 1
        return batch

    async def commit(self, offsets: Offsets, *, timeout_s: float) -> None:
        """Commit explicit offsets."""
        wanted = {_theirs(partition): OffsetAndMetadata(offset, "") for partition, offset in offsets.items()}
        try:
            async with asyncio.timeout(timeout_s):
                await self._consumer.commit(wanted)
        except (CommitFailedError, IllegalStateError) as error:
            raise CommitRefused(detail=type(error).__name__) from None
        except TimeoutError:
            detail = f"no answer to a commit within {timeout_s:g} s"
            raise BrokerUnavailable(address=self._config.brokers, detail=detail) from None
        except KafkaError as error:
            raise BrokerUnavailable(address=self._config.brokers, detail=type(error).__name__) from None

    async def committed(self, partition: Partition) -> int | None:
        """Return the committed next offset."""
        offset: int | None = await self._consumer.committed(_theirs(partition))
        return offset

    def pause(self, partitions: frozenset[Partition]) -> None:
        """Stop fetching these."""
        self._consumer.pause(*map(_theirs, partitions))

    def resume(self, partitions: frozenset[Partition]) -> None:
        """Fetch these again."""
        self._consumer.resume(*map(_theirs, partitions))

    def assignment(self) -> frozenset[Partition]:
        """Return the partitions held."""
        return frozenset(map(self._named, self._consumer.assignment()))

    def joined(self) -> bool:
        """Return whether it belongs to the group."""
        return self._joined

    def lag(self) -> Mapping[Partition, int]:
        """Return the distance to the high watermark the last fetch told of."""
        found = {}
        for held in self._consumer.assignment():
            partition, end = self._named(held), self._consumer.highwater(held)
            if end is not None and partition in self._next:
                found[partition] = max(0, end - self._next[partition])
        return found

    async def stop(self) -> None:
        """Leave the group."""
        self._joined = False
        with suppress(KafkaError, OSError):
            await self._consumer.stop()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes rebalances on, as whole sets."""

    def __init__(self, consumer: KafkaConsumer, on_assigned: OnAssigned, on_revoked: OnRevoked) -> None:
        self._consumer = consumer
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        await self._on_revoked(frozenset(map(self._consumer._named, revoked)))

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._consumer._joined = True
        await self._on_assigned(frozenset(map(self._consumer._named, assigned)))


class KafkaProducer:
    """An idempotent producer of explicit batches."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config

    async def start(self) -> None:
        """Connect."""
        self._producer = AIOKafkaProducer(
            **self._config.client_options(),
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=MAX_BATCH_BYTES,
        )
        try:
            await _reach(self._config, self._producer.start())
        except BrokerUnavailable:
            await self.stop()
            raise

    async def publish(self, partition: Partition, batch: Sequence[Outgoing]) -> None:
        """Publish in order, in as few batches as fit, and wait for all acknowledgements."""
        try:
            sent = []
            building = self._producer.create_batch()
            for outgoing in batch:
                if building.append(key=outgoing.key, value=outgoing.value, timestamp=None) is None:
                    sent.append(await self._producer.send_batch(building, partition.topic, partition=partition.number))
                    building = self._producer.create_batch()
                    if building.append(key=outgoing.key, value=outgoing.value, timestamp=None) is None:
                        raise PublishFailed(topic=partition.topic, detail="one record is larger than a batch may be")
            if building.record_count():
                sent.append(await self._producer.send_batch(building, partition.topic, partition=partition.number))
            for acknowledgement in sent:
                await acknowledgement
        except (KafkaError, ValueError, AssertionError) as error:
            raise PublishFailed(topic=partition.topic, detail=type(error).__name__) from None

    async def stop(self) -> None:
        """Flush and close."""
        with suppress(KafkaError, OSError):
            await self._producer.stop()


class KafkaAdmin:
    """Asks the brokers about topics and groups."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._connected: AIOKafkaAdminClient | None = None

    async def _client(self) -> AIOKafkaAdminClient:
        if self._connected is None:
            client = AIOKafkaAdminClient(**self._config.client_options())
            try:
                await _reach(self._config, client.start())
            except BrokerUnavailable:
                await client.close()
                raise
            self._connected = client
        return self._connected

    async def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """Return how many partitions each existing topic has."""
        client = await self._client()
        described = await _reach(self._config, client.describe_topics(list(topics)))
        return {found["topic"]: len(found["partitions"]) for found in described if not found["error_code"]}

    async def create(self, topics: Mapping[str, int], *, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Create topics with the cluster's default replication."""
        client = await self._client()
        for topic, partitions in topics.items():
            wanted = NewTopic(topic, partitions, -1, topic_configs=dict(configs.get(topic, {})))
            try:
                answer = await client.create_topics([wanted])
            except TopicAlreadyExistsError:
                continue
            except KafkaError as error:
                raise BrokerUnavailable(address=self._config.brokers, detail=type(error).__name__) from None
            for _, code, *rest in answer.topic_errors:
                if code not in (0, TopicAlreadyExistsError.errno):
                    detail = f"creating {topic} was refused, error {code} {rest[0] if rest else ''}".rstrip()
                    raise BrokerUnavailable(address=self._config.brokers, detail=detail)

    async def group_lag(self, group: str, topic: str) -> Mapping[Partition, int]:
        """Return how far a group's committed offsets are behind the end."""
        client = await self._client()
        offsets = await _reach(self._config, client.list_consumer_group_offsets(group))
        committed = {partition: meta.offset for partition, meta in offsets.items()}
        async with self._reader() as reader:
            count = (await self.partitions([topic])).get(topic, 0)
            places = [TopicPartition(topic, number) for number in range(count)]
            ends = await _reach(self._config, reader.end_offsets(places))
            starts = await _reach(self._config, reader.beginning_offsets(places))
        return {
            Partition(topic, place.partition): ends[place] - max(committed.get(place, -1), starts[place])
            for place in places
        }

    async def newest_timestamp_ms(self, topic: str) -> int | None:
        """Return the newest record's timestamp."""
        async with self._reader() as reader:
            count = (await self.partitions([topic])).get(topic, 0)
            places = [TopicPartition(topic, number) for number in range(count)]
            ends = await _reach(self._config, reader.end_offsets(places))
            filled = [place for place in places if ends[place]]
            if not filled:
                return None
            reader.assign(filled)
            for place in filled:
                reader.seek(place, ends[place] - 1)
            found = await reader.getmany(timeout_ms=int(self._config.request_timeout_s * 200))
            return max((records[-1].timestamp for records in found.values()), default=None)

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[AIOKafkaConsumer]:
        reader = AIOKafkaConsumer(**self._config.client_options(), enable_auto_commit=False)
        try:
            await _reach(self._config, reader.start())
            yield reader
        finally:
            await reader.stop()

    async def close(self) -> None:
        """Close."""
        if self._connected is not None:
            await self._connected.close()


def _theirs(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)
