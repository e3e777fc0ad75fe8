"""How do records leave in order, acknowledged, and never twice by this side's doing?

They leave in explicit batches to a chosen partition (`create_batch` + `send_batch`, linger 0), which is four times as
fast as one future a record; docs/why.md has the experiments.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from spamguard.backends.kafka.connection import KafkaConfig, ended, reach
from spamguard.errors import BrokerUnavailable, PublishFailed
from spamguard.types import Outgoing, Partition

#: Below the broker's default message.max.bytes of 1,048,588.
MAX_BATCH_BYTES: Final = 1_000_000


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
            await reach(self._config, producer.start())
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
    if not await ended(producer.stop()):
        await ended(producer._sender.close())
        waiting = [batch for batches in producer._message_accumulator._batches.values() for batch in batches]
        producer._message_accumulator.fail_all(ProducerClosed())
        for batch in waiting:
            batch._drain_waiter.exception()  # seen: nobody else waits for it
        await ended(producer.client.close())
