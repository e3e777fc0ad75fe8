"""How do the interfaces of a broker look in aiokafka, and which of its traps are stepped around here?

Offsets are committed explicitly and with a time limit (a commit can hang while a coordinator moves); the rebalance
timeout is set, because its default is the short session timeout; records leave in explicit batches to a chosen
partition (`create_batch` + `send_batch`, linger 0), which is four times as fast as one future a record; a refused
commit is named as such, so that nobody retries it; every end of a client has a time limit, because it may wait for a
broker that is away. docs/why.md has the experiments.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, ProducerClosed, for_code
from aiokafka.structs import OffsetAndMetadata

from spamguard.errors import BrokerUnavailable, CommitRefused, ConfigError, PublishFailed, TopicUnfit
from spamguard.interfaces import OnAssigned, OnRevoked
from spamguard.types import Offsets, Outgoing, Partition, Record

#: Below the broker's default message.max.bytes of 1,048,588.
MAX_BATCH_BYTES: Final = 1_000_000
#: How long each step of a client's end may take; with a frozen broker it would take half a minute.
STOP_TIMEOUT_S: Final = 4.0
#: How much longer than its own time limit a poll may take before it is taken to be waiting for a rebalance.
POLL_GRACE_S: Final = 0.1
#: Between two questions whose answer is only not there yet.
RETRY_S: Final = 0.05
#: How long a followed topic may be silent before the broker is asked whether it has more.
PROBE_EVERY_S: Final = 5.0
#: The error code of a topic that is there already.
TOPIC_EXISTS: Final = 36

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

    def reader(self, topic: str) -> "KafkaReader":
        """Return a reader without a group that is not yet started."""
        return KafkaReader(self._config, topic)

    def producer(self) -> "KafkaProducer":
        """Return a producer that is not yet started."""
        return KafkaProducer(self._config)

    def admin(self) -> "KafkaAdmin":
        """Return an admin."""
        return KafkaAdmin(self._config)

    async def follow(self, topic: str) -> AsyncGenerator[Sequence[Record]]:
        """Yield everything, and then what comes.

        A silent broker looks like a silent topic, so after some seconds of silence it is asked for the topic's end.
        """
        admin = self.admin()
        try:
            count = (await admin.partitions([topic])).get(topic, 0)
        finally:
            await admin.close()
        if not count:
            raise TopicUnfit(detail=f"{topic} does not exist")
        places = [TopicPartition(topic, number) for number in range(count)]
        options = self._config.client_options()
        reader = AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest")
        try:
            await _reach(self._config, reader.start())
            reader.assign(places)
            ends = await _reach(self._config, _follow_to_end(reader, places))
            yield ends.records
            while True:
                found = await _reach(self._config, reader.getmany(timeout_ms=int(PROBE_EVERY_S * 1000)), PROBE_EVERY_S)
                records = [_ours(record) for records in found.values() for record in records]
                if records:
                    yield records
                    continue
                positions = {place: await _reach(self._config, reader.position(place)) for place in places}
                if any(not ends.offsets[place] <= positions[place] for place in places):
                    raise BrokerUnavailable(
                        address=self._config.brokers, detail=f"{topic} has records it does not give"
                    )
                ends = _End([], await _reach(self._config, reader.end_offsets(places)))
                if any(ends.offsets[place] < positions[place] for place in places):
                    raise BrokerUnavailable(address=self._config.brokers, detail=f"{topic} was made anew")
        finally:
            await _ended(reader.stop())


class _End(NamedTuple):
    """What a followed topic held, and where it ended."""

    records: list[Record]
    offsets: Mapping[TopicPartition, int]


async def _follow_to_end(reader: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> _End:
    """Return everything a topic holds now, read from its beginning."""
    await reader.seek_to_beginning(*places)
    ends: Mapping[TopicPartition, int] = await reader.end_offsets(places)
    found: list[Record] = []
    while any([await reader.position(place) < ends[place] for place in places]):
        fetched = await reader.getmany(timeout_ms=200)
        found += [_ours(record) for records in fetched.values() for record in records]
    return _End(found, ends)


def _ours(record: Any) -> Record:
    return Record(
        partition=Partition(record.topic, record.partition),
        offset=record.offset,
        key=record.key,
        value=record.value,
        timestamp_ms=record.timestamp,
    )


async def _reach(config: KafkaConfig, asking: Awaitable[_T], longer_s: float = 0.0) -> _T:
    """Await a broker's answer, which may take so much longer than usual, and name what is wrong when none comes."""
    try:
        async with asyncio.timeout(config.request_timeout_s + longer_s):
            return await asking
    except TimeoutError:
        detail = f"no answer within {config.request_timeout_s:g} s"
        raise BrokerUnavailable(address=config.brokers, detail=detail) from None
    except (KafkaError, OSError, ValueError) as error:
        raise BrokerUnavailable(address=config.brokers, detail=type(error).__name__) from None


async def _ended(closing: Awaitable[None]) -> bool:
    """Await the end of a client, which raises and hangs in several ways; return whether it ended by itself."""
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await closing
    except (KafkaError, OSError, TimeoutError):
        return False
    except asyncio.CancelledError:
        # aiokafka lets the end of a task of its own escape while a broker is down; a wish to cancel us is obeyed.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return False
    return True


class KafkaConsumer:
    """A member of a consumer group."""

    def __init__(self, config: KafkaConfig, topics: Sequence[str], group: str, member: str | None) -> None:
        self._config = config
        self._topics = list(topics)
        self._joined = False
        self._consumer: AIOKafkaConsumer | None = None
        self._fetching: asyncio.Task[Any] | None = None
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
        """Connect and begin to join the group.

        The group is joined in the background: a member that subscribes before it starts waits for all others to hand
        their batches in, which may take the whole rebalance timeout.
        """
        self._consumer = AIOKafkaConsumer(**self._options)
        try:
            await _reach(self._config, self._consumer.start())
            missing = set(self._topics) - await _reach(self._config, self._consumer.topics())
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
            fetching = self._started.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
            self._fetching = asyncio.create_task(fetching)
        # During a rebalance `getmany` waits past its time limit, and cancelling it confuses the count of fetches that
        # `max_poll_interval_ms` rests on: so it is left waiting, and the next poll asks for its outcome.
        await asyncio.wait((self._fetching,), timeout=timeout_s + POLL_GRACE_S)
        if not self._fetching.done():
            return {}
        fetched, self._fetching = self._fetching, None
        try:
            found = fetched.result()
        except KafkaError as error:
            raise BrokerUnavailable(address=self._config.brokers, detail=type(error).__name__) from None
        batch = {}
        for topic_partition, records in found.items():
            partition = self._named(topic_partition)
            batch[partition] = _records(partition, records)
            self._next[partition] = records[-1].offset + 1
        return batch

    async def commit(self, offsets: Offsets, *, timeout_s: float) -> None:
        """Commit explicit offsets: what is still held first, since one lost partition makes aiokafka refuse all."""
        lost = offsets.keys() - self.assignment()
        wanted = {
            _theirs(place): OffsetAndMetadata(offset, "") for place, offset in offsets.items() if place not in lost
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
        return await _reach(self._config, self._started.committed(_theirs(partition)))

    def pause(self, partitions: frozenset[Partition]) -> None:
        """Stop fetching these."""
        self._started.pause(*map(_theirs, partitions & self.assignment()))

    def resume(self, partitions: frozenset[Partition]) -> None:
        """Fetch these again."""
        self._started.resume(*map(_theirs, partitions & self.assignment()))

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
        if not await _ended(consumer.stop()):
            if consumer._coordinator is not None:
                await _ended(consumer._coordinator._stop_heartbeat_task())
                await _ended(consumer._coordinator._stop_commit_offsets_refresh_task())
            if consumer._fetcher is not None:
                await _ended(consumer._fetcher.close())
            await _ended(consumer._client.close())
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait((self._fetching,))
            self._fetching = None


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
            await _reach(self._config, consumer.start())
            starts = await _reach(self._config, consumer.beginning_offsets(list(self._partitions)))
            ends = await _reach(self._config, consumer.end_offsets(list(self._partitions)))
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
        found = await _reach(self._config, consumer.offsets_for_times(dict.fromkeys(places, timestamp_ms)))
        ends = await _reach(self._config, consumer.end_offsets(places))
        return {
            self._partitions[place]: ends[place] if found.get(place) is None else found[place].offset
            for place in places
        }

    def seek(self, offsets: Offsets) -> None:
        """Read from these offsets on."""
        self._started.assign(list(map(_theirs, offsets)))
        for partition, offset in offsets.items():
            self._started.seek(_theirs(partition), offset)

    async def poll(self, *, max_records: int, timeout_s: float) -> Mapping[Partition, Sequence[Record]]:
        """Return what was fetched."""
        if not self._started.assignment():  # there `getmany` would wait for a subscription, past its time limit
            await asyncio.sleep(timeout_s)
            return {}
        try:
            found = await self._started.getmany(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        except KafkaError as error:
            raise BrokerUnavailable(address=self._config.brokers, detail=type(error).__name__) from None
        return {self._partitions[place]: _records(self._partitions[place], records) for place, records in found.items()}

    async def stop(self) -> None:
        """Close."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await _ended(consumer.stop())


def _records(partition: Partition, records: Sequence[Any]) -> list[Record]:
    """Return aiokafka's records as ours."""
    return [
        Record(
            partition=partition,
            offset=record.offset,
            key=record.key,
            value=record.value,
            timestamp_ms=record.timestamp,
        )
        for record in records
    ]


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
        self._consumer._next.clear()
        await self._on_assigned(frozenset(map(self._consumer._named, assigned)))


class KafkaProducer:
    """An idempotent producer of explicit batches.

    aiokafka counts the sequence number of a batch that a broker refuses, so every later one of that partition would be
    out of order; after a refusal the next publish therefore goes through a new producer.
    """

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._producer: AIOKafkaProducer | None = None
        self._spoilt: AIOKafkaProducer | None = None
        self._renewing = asyncio.Lock()

    async def start(self) -> None:
        """Connect."""
        producer = AIOKafkaProducer(
            **self._config.client_options(),
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=MAX_BATCH_BYTES,
        )
        try:
            await _reach(self._config, producer.start())
        except BaseException:
            await _end(producer)
            raise
        self._producer = producer

    async def publish(self, partition: Partition, batch: Sequence[Outgoing]) -> None:
        """Publish in order, in as few batches as fit, and wait for all acknowledgements.

        There is no time limit: an idempotent batch never expires, so while a broker is away it stays pending and is
        delivered afterwards, whether or not anybody waits. A resend would be a second record.
        """
        producer = await self._sound(partition.topic)
        sent: list[Awaitable[Any]] = []
        failure: BaseException | None = None
        try:
            building = producer.create_batch()
            for outgoing in batch:
                # The first record of a batch always fits here; if it is too large, the broker says so.
                if building.append(key=outgoing.key, value=outgoing.value, timestamp=None) is None:
                    sent.append(await producer.send_batch(building, partition.topic, partition=partition.number))
                    building = producer.create_batch()
                    building.append(key=outgoing.key, value=outgoing.value, timestamp=None)
            if building.record_count():
                sent.append(await producer.send_batch(building, partition.topic, partition=partition.number))
        except AssertionError:
            failure = PublishFailed(topic=partition.topic, detail=f"there is no partition {partition.number}")
        except (KafkaError, ValueError) as error:
            failure = error
        # Shielded: a caller that is cancelled must not cancel the client's own futures, which its sender still fulfils.
        outcomes = await asyncio.gather(*map(asyncio.shield, sent), return_exceptions=True)
        failure = next((outcome for outcome in outcomes if isinstance(outcome, BaseException)), failure)
        if isinstance(failure, PublishFailed):
            raise failure
        if failure is not None:
            self._spoilt = producer
            raise PublishFailed(topic=partition.topic, detail=type(failure).__name__) from None

    async def _sound(self, topic: str) -> AIOKafkaProducer:
        """Return a producer of which no batch was refused."""
        async with self._renewing:
            if self._producer is None or self._spoilt is self._producer:
                spoilt = self._producer
                try:
                    await self.start()
                except BrokerUnavailable as error:
                    raise PublishFailed(topic=topic, detail=str(error.fields["detail"])) from None
                if spoilt is not None:
                    await _end(spoilt)
            return self._producer

    async def stop(self) -> None:
        """Flush and close."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _end(producer)


async def _end(producer: AIOKafkaProducer) -> None:
    """Stop a producer; what is still pending when the time is over fails, and whoever waits for it is told."""
    if not await _ended(producer.stop()):
        await _ended(producer._sender.close())
        waiting = [batch for batches in producer._message_accumulator._batches.values() for batch in batches]
        producer._message_accumulator.fail_all(ProducerClosed())
        for batch in waiting:
            batch._drain_waiter.exception()  # seen: nobody else waits for it
        await _ended(producer.client.close())


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
            except BaseException:
                await _ended(client.close())
                raise
            self._connected = client
        return self._connected

    async def partitions(self, topics: Sequence[str]) -> Mapping[str, int]:
        """Return how many partitions each existing topic has."""
        client = await self._client()
        described = await _reach(self._config, client.describe_topics(list(topics)))
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
        answer = await _reach(self._config, client.create_topics(wanted))
        refused = [
            f"{topic} was not created ({for_code(code).__name__}{f': {said[0]}' if said and said[0] else ''})"
            for topic, code, *said in answer.topic_errors
            if code not in (0, TOPIC_EXISTS)
        ]
        if refused:
            raise TopicUnfit(detail="; ".join(refused))
        await _reach(self._config, self._led(list(topics)))

    async def _led(self, topics: list[str]) -> None:
        """Return when every partition has its leader: brokers say that a topic is created before they all know it."""
        client = await self._client()
        while True:
            described = await client.describe_topics(topics)
            if not any(found["error_code"] or any(p["error_code"] for p in found["partitions"]) for found in described):
                return
            await asyncio.sleep(RETRY_S)

    async def group_lag(self, group: str, topic: str) -> Mapping[Partition, int]:
        """Return how far a group's committed offsets are behind the end."""
        places = await self._places(topic)
        if not places:
            return {}
        offsets = await _reach(self._config, self._committed(group))
        committed = {place: meta.offset for place, meta in offsets.items()}
        async with self._reader() as reader:
            ends = await _reach(self._config, reader.end_offsets(places))
            starts = await _reach(self._config, reader.beginning_offsets(places))
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
            ends = await _reach(self._config, reader.end_offsets(places))
            starts = await _reach(self._config, reader.beginning_offsets(places))
            missing = {place for place in places if ends[place] > starts[place]}
            if not missing:
                return None
            reader.assign(missing)
            for place in missing:
                reader.seek(place, ends[place] - 1)
            return await _reach(self._config, _newest(reader, missing))

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
            await _reach(self._config, reader.start())
            yield reader
        finally:
            await _ended(reader.stop())

    async def close(self) -> None:
        """Close."""
        client, self._connected = self._connected, None
        if client is not None:
            await _ended(client.close())


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


def _theirs(partition: Partition) -> TopicPartition:
    return TopicPartition(partition.topic, partition.number)
