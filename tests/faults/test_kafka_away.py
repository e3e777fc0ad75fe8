"""Does a client of Kafka end in time when the broker does not answer, and is nothing lost when it comes back?

These tests break the broker, so they start one of their own.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from spamguard.backends.kafka import connection
from spamguard.backends.kafka.broker import KafkaBroker
from spamguard.backends.kafka.connection import KafkaConfig
from spamguard.backends.kafka.consumer import KafkaConsumer
from spamguard.backends.kafka.producer import KafkaProducer
from spamguard.errors import BrokerUnavailable, PublishFailed
from spamguard.types import Outgoing, Partition
from tests.integration.serving import Names, Serving, awake, create, publish, read, spread, varied

#: A stop has at most four steps.
STOP_S: Final = 4 * connection.STOP_TIMEOUT_S


@asynccontextmanager
async def clients(node: Any, topic: str) -> AsyncIterator[tuple[KafkaConsumer, KafkaProducer]]:
    """Start a member that has joined, and a producer that has published one record."""
    broker = KafkaBroker(KafkaConfig(brokers=node.bootstrap, request_timeout_s=5.0, session_timeout_s=6.0))
    admin, consumer, producer = broker.admin(), broker.consumer([topic], group=topic), broker.producer()
    try:
        await admin.create({topic: 1}, configs={})
        await producer.start()
        await producer.publish(Partition(topic, 0), batch("first"))
        await consumer.start(on_assigned=nothing, on_revoked=nothing)
        assert await values(consumer, 1) == ["first"]
        yield consumer, producer
    finally:
        await consumer.stop()
        await producer.stop()
        await admin.close()


async def nothing(_: frozenset[Partition]) -> None:
    """Do nothing about a rebalance."""


def batch(*texts: str) -> list[Outgoing]:
    return [Outgoing(key=None, value=text.encode()) for text in texts]


async def values(consumer: KafkaConsumer, count: int, *, patience_s: float = 30.0) -> list[str]:
    found: list[str] = []
    deadline = time.monotonic() + patience_s
    while len(found) < count and time.monotonic() < deadline:
        records: Sequence[Any] = [
            record for part in (await consumer.poll(max_records=100, timeout_s=0.2)).values() for record in part
        ]
        found += [record.value.decode() for record in records]
    return found


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_clients_end_in_time_while_the_broker_is_away(node: Any, topic: str, fault: str) -> None:
    async with clients(node, topic) as (consumer, producer):
        await asyncio.to_thread(getattr(node, fault))
        pending = asyncio.create_task(producer.publish(Partition(topic, 0), batch("pending")))
        await asyncio.sleep(2.0)
        assert await consumer.poll(max_records=10, timeout_s=0.2) == {}
        with pytest.raises(BrokerUnavailable):
            await consumer.commit({Partition(topic, 0): 1}, timeout_s=0.5)
        for client in (consumer, producer):
            started = time.monotonic()
            await client.stop()
            assert time.monotonic() - started < STOP_S
        with pytest.raises(PublishFailed):  # whoever waits for a batch is told that nobody will deliver it
            async with asyncio.timeout(5):
                await pending


async def test_what_was_being_published_while_the_broker_was_away_arrives_once_when_it_is_back(
    node: Any, topic: str
) -> None:
    async with clients(node, topic) as (consumer, producer):
        await asyncio.to_thread(node.kill)
        pending = asyncio.create_task(producer.publish(Partition(topic, 0), batch("a", "b")))
        await asyncio.sleep(2.0)
        assert not pending.done()
        await asyncio.to_thread(node.start)
        await pending
        await producer.publish(Partition(topic, 0), batch("c"))
        assert await values(consumer, 3) == ["a", "b", "c"]
        await consumer.commit({Partition(topic, 0): 4}, timeout_s=10.0)
        assert await consumer.committed(Partition(topic, 0)) == 4
        assert await values(consumer, 1, patience_s=1.0) == []


async def test_the_service_outlives_its_broker_logs_little_meanwhile_and_ends_without_it(
    node: Any, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    broker, names = KafkaBroker(KafkaConfig(brokers=node.bootstrap)), Names.of(topic)
    await create(broker, names, partitions=2)
    environment = {"SPAMGUARD_MODEL": str(tiny_model), "SPAMGUARD_BROKERS": node.bootstrap, **names.environment()}
    with Serving(tmp_path, environment) as serving:
        serving.await_ready()
        await publish(broker, names.inbound, spread(varied(100), 2))
        assert len(await read(broker, names.decisions, 100)) == 100
        before = len(serving.log.splitlines())
        await asyncio.to_thread(node.kill)
        await asyncio.sleep(5.0)
        assert len(serving.log.splitlines()) - before < 20
        assert serving.get("/healthz")[0] == 200
        await asyncio.to_thread(node.start)
        await awake(broker, names)
        await publish(broker, names.inbound, spread(varied(100, seed=1), 2))
        assert len(await read(broker, names.decisions, 200)) == 200
        await asyncio.to_thread(node.kill)
        assert serving.terminate() == 0
        assert serving.sentences() == []


async def test_nobody_at_the_address_is_said_at_once_by_every_client() -> None:
    broker = KafkaBroker(KafkaConfig(brokers="127.0.0.1:1"))
    consumer, producer, admin = broker.consumer(["t"], group="g"), broker.producer(), broker.admin()
    started = time.monotonic()
    for asked in (
        consumer.start(on_assigned=nothing, on_revoked=nothing),
        producer.start(),
        admin.partitions(["t"]),
        admin.group_lag("g", "t"),
        admin.newest_timestamp_ms("t"),
    ):
        with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 "):
            await asked
    assert time.monotonic() - started < 2.0


async def test_a_silent_server_is_given_up_after_the_request_timeout() -> None:
    finished = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        finished.set()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    broker = KafkaBroker(KafkaConfig(brokers=f"127.0.0.1:{port}", request_timeout_s=1.0))
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        await broker.producer().start()
    assert time.monotonic() - started < 1.0 + STOP_S
    await finished.wait()
    server.close()
