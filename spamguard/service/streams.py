"""Which broker holds the stream, and are its topics fit?"""

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import Final

from spamguard.backends.kafka.broker import KafkaBroker
from spamguard.backends.kafka.connection import KafkaConfig
from spamguard.backends.memory import MemoryBroker
from spamguard.config import Settings
from spamguard.errors import TopicUnfit
from spamguard.interfaces import Admin, Broker
from spamguard.stream.deciding import Topics
from spamguard.types import Outgoing, Partition

#: How long brokers that answer may leave a review copy unacknowledged before its block is turned to allow.
REVIEW_PATIENCE_S: Final = 5.0


class OutcomeProducer:
    """Publishes decisions and dead letters without a time limit, and review copies with patience only.

    Without its decisions the stream has nothing to do but wait; without their copies, blocks turn to allow and it goes
    on. Two producers, so that a review topic that refuses a batch costs the decisions no connection.
    """

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._rest = broker.producer()
        self._copies = broker.producer(patience_s=REVIEW_PATIENCE_S)
        self._review_topic = settings.review_topic

    async def start(self) -> None:
        """Connect both."""
        await self._rest.start()
        await self._copies.start()

    async def publish(self, partition: Partition, batch: Sequence[Outgoing]) -> None:
        """Publish a batch."""
        producer = self._copies if partition.topic == self._review_topic else self._rest
        await producer.publish(partition, batch)

    async def publish_each(self, batches: Mapping[Partition, Sequence[Outgoing]]) -> Set[Partition]:
        """Publish decisions and dead letters together, or review copies."""
        copies = all(partition.topic == self._review_topic for partition in batches)
        return await (self._copies if copies else self._rest).publish_each(batches)

    async def stop(self) -> None:
        """Flush and close both."""
        await asyncio.gather(self._rest.stop(), self._copies.stop())


def kafka(settings: Settings) -> KafkaBroker:
    """Return the configured Kafka."""
    return KafkaBroker(
        KafkaConfig(
            brokers=settings.brokers,
            request_timeout_s=settings.request_timeout_s,
            session_timeout_s=settings.session_timeout_s,
            rebalance_timeout_s=settings.rebalance_timeout_s,
            security_protocol=settings.security_protocol,
            sasl_mechanism=settings.sasl_mechanism,
            sasl_username=settings.sasl_username,
            sasl_password=settings.sasl_password,
            ssl_cafile=None if settings.ssl_cafile is None else str(settings.ssl_cafile),
        )
    )


def memory_broker(settings: Settings, *, partitions: int) -> MemoryBroker:
    """Return a broker in this process's memory that holds the configured topics."""
    broker = MemoryBroker(
        {**dict.fromkeys(needed_topics(settings), partitions), **dict.fromkeys(compacted_topics(settings), 1)}
    )
    broker.policies |= dict.fromkeys(compacted_topics(settings), "compact")
    return broker


def needed_topics(settings: Settings) -> tuple[str, ...]:
    """Return the topics the service reads and writes, the inbound one first."""
    return settings.inbound_topic, settings.decisions_topic, settings.review_topic, settings.dead_letter_topic


def reviewers_topics(settings: Settings) -> tuple[str, ...]:
    """Return the topics that the review application writes; the workers need none of them."""
    return settings.released_topic, settings.labels_topic


def compacted_topics(settings: Settings) -> tuple[str, ...]:
    """Return the topics that must keep the last record of every key; the service runs without them."""
    return settings.control_topic, settings.lists_topic, settings.optout_topic


async def create_topics(settings: Settings, admin: Admin, topics: Mapping[str, int]) -> None:
    """Create topics; the compacted ones have one partition and keep the last record of every key."""
    compacted = compacted_topics(settings)
    await admin.create(
        {topic: 1 if topic in compacted else number for topic, number in topics.items()},
        configs={topic: {"cleanup.policy": "compact"} for topic in topics if topic in compacted},
    )


def topic_faults(settings: Settings, partitions: Mapping[str, int]) -> list[str]:
    """Return what is wrong with the topics, given how many partitions those that exist have."""
    faults = [f"{topic} does not exist" for topic in needed_topics(settings) if topic not in partitions]
    inbound, decisions = partitions.get(settings.inbound_topic), partitions.get(settings.decisions_topic)
    if inbound is not None and decisions is not None and decisions < inbound:
        faults.append(
            f"{settings.decisions_topic} has {decisions} partitions and {settings.inbound_topic} has {inbound}; "
            "a decision keeps its record's partition, so it needs at least as many"
        )
    return faults


async def fit_topics(settings: Settings, admin: Admin) -> Topics:
    """Return where outcomes go. Raises TopicUnfit or BrokerUnavailable."""
    partitions = await admin.partitions(needed_topics(settings))
    faults = topic_faults(settings, partitions)
    if faults:
        raise TopicUnfit(detail="; ".join(faults))
    return Topics(
        decisions=settings.decisions_topic,
        review=settings.review_topic,
        dead_letter=settings.dead_letter_topic,
        review_partitions=partitions[settings.review_topic],
        dead_letter_partitions=partitions[settings.dead_letter_topic],
    )
