"""How do records leave in order, acknowledged, and never twice by this side's doing?

They leave in explicit batches to a chosen partition (`create_batch` + `send_batch`, linger 0), which is four times as
fast as one future a record; docs/why.md has the experiments.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence, Set
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed

from spamguard.backends.each import publish_beside
from spamguard.backends.kafka.connection import KafkaConfig, ended, reach
from spamguard.errors import BrokerUnavailable, PublishFailed
from spamguard.types import Outgoing, Partition

#: Below the broker's default message.max.bytes of 1,048,588.
MAX_BATCH_BYTES: Final = 1_000_000
#: How often the brokers are asked whether they answer at all, while a batch is not acknowledged.
PROBE_EVERY_S: Final = 0.5
#: The patience with what follows a batch that was given up, until one is acknowledged again: a topic that refuses
#: every copy must not cost every batch the whole patience.
ONCE_GIVEN_UP_S: Final = 0.5


class KafkaProducer:
    """An idempotent producer of explicit batches.

    aiokafka counts the sequence number of a batch that a broker refuses, so every later one of that partition would be
    out of order; after a refusal the next publish therefore goes through a new producer.
    """

    def __init__(self, config: KafkaConfig, *, patience_s: float | None = None) -> None:
        self._config = config
        self._patience_s = patience_s
        self._gave_up = False
        self._ending: set[asyncio.Task[None]] = set()
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

        There is no time limit unless there is a patience: an idempotent batch never expires, so while a broker is away
        it stays pending and is delivered afterwards, whether or not anybody waits. A resend would be a second record.
        """
        producer = await self._sound(partition.topic)
        delivered = self._delivered(producer, {partition: batch})
        if self._patience_s is None:
            failures = await delivered
        else:
            delivering = asyncio.ensure_future(delivered)
            if not await self._patiently(delivering, producer, self._patience_s):
                delivering.cancel()
                self._spoilt = producer
                detail = (
                    f"not acknowledged for {self._patience_s:g} s, though the brokers answer; "
                    "is it there, with replicas?"
                )
                raise PublishFailed(topic=partition.topic, detail=detail)
            failures = await delivering
        if partition in failures:
            raise failures[partition]

    async def publish_each(self, batches: Mapping[Partition, Sequence[Outgoing]]) -> Set[Partition]:
        """Publish to several partitions in one request a broker; patience is had with each partition by itself."""
        if self._patience_s is None:
            try:
                producer = await self._sound(", ".join(sorted({place.topic for place in batches})))
            except PublishFailed:
                return batches.keys()
            return (await self._delivered(producer, batches)).keys()
        return await publish_beside(self.publish, batches)

    async def _delivered(
        self, producer: AIOKafkaProducer, batches: Mapping[Partition, Sequence[Outgoing]]
    ) -> dict[Partition, PublishFailed]:
        """Send batches, wait for their acknowledgements, and return what is wrong where something is."""
        failures: dict[Partition, PublishFailed] = {}
        sent: list[Awaitable[Any]] = []
        places: list[Partition] = []
        for place, batch in batches.items():
            try:
                async for future in _handed(producer, place, batch):
                    sent.append(future)
                    places.append(place)
            except AssertionError:
                failures[place] = PublishFailed(topic=place.topic, detail=f"there is no partition {place.number}")
            except (KafkaError, ValueError) as error:
                failures[place] = self._spoilt_by(error, producer, place)
        # Shielded: a caller that is cancelled must not cancel the client's own futures, which its sender still fulfils.
        outcomes = await asyncio.gather(*map(asyncio.shield, sent), return_exceptions=True)
        for place, outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                failures[place] = self._spoilt_by(outcome, producer, place)
        return failures

    def _spoilt_by(self, failure: BaseException, producer: AIOKafkaProducer, place: Partition) -> PublishFailed:
        """Note that a producer's batch was refused, and say so."""
        self._spoilt = producer
        return PublishFailed(topic=place.topic, detail=type(failure).__name__)

    async def _patiently(
        self, delivering: "asyncio.Future[Any]", producer: AIOKafkaProducer, patience_s: float
    ) -> bool:
        """Wait for a delivery, and return False when the brokers answer for so long and still do not acknowledge.

        A broker that is away is waited for as without patience: then nothing else can be published either.
        """
        patience_s = min(patience_s, ONCE_GIVEN_UP_S) if self._gave_up else patience_s
        answering_since_s: float | None = None
        while not (await asyncio.wait((delivering,), timeout=min(PROBE_EVERY_S, patience_s)))[0]:
            asked_s = time.monotonic()
            try:
                async with asyncio.timeout(PROBE_EVERY_S):
                    await producer.client.fetch_all_metadata()
            except (KafkaError, OSError, TimeoutError):
                answering_since_s = None
                continue
            answering_since_s = asked_s if answering_since_s is None else answering_since_s
            if time.monotonic() - answering_since_s >= patience_s - PROBE_EVERY_S and not delivering.done():
                self._gave_up = True
                return False
        self._gave_up = False
        return True

    async def _sound(self, topic: str) -> AIOKafkaProducer:
        """Return a producer of which no batch was refused."""
        async with self._renewing:
            if self._producer is None or self._spoilt is self._producer:
                spoilt = self._producer
                try:
                    await self.start()
                except BrokerUnavailable as error:
                    raise PublishFailed(topic=topic, detail=str(error.fields["detail"])) from None
                if spoilt is not None:  # aside: what it has not delivered it goes on trying to for a while
                    ending = asyncio.create_task(_end(spoilt))
                    self._ending.add(ending)
                    ending.add_done_callback(self._ending.discard)
            return self._producer

    async def stop(self) -> None:
        """Flush and close."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _end(producer)
        if self._ending:
            await asyncio.wait(self._ending)


async def _handed(
    producer: AIOKafkaProducer, place: Partition, batch: Sequence[Outgoing]
) -> AsyncIterator[Awaitable[Any]]:
    """Hand a batch to the client and yield what is to be awaited: one for each of its own batches."""
    building = producer.create_batch()
    for outgoing in batch:
        # The first record of a batch always fits here; if it is too large, the broker says so.
        if building.append(key=outgoing.key, value=outgoing.value, timestamp=None) is None:
            yield await producer.send_batch(building, place.topic, partition=place.number)
            building = producer.create_batch()
            building.append(key=outgoing.key, value=outgoing.value, timestamp=None)
    if building.record_count():
        yield await producer.send_batch(building, place.topic, partition=place.number)


async def _end(producer: AIOKafkaProducer) -> None:
    """Stop a producer; what is still pending when the time is over fails, and whoever waits for it is told."""
    if not await ended(producer.stop()):
        await ended(producer._sender.close())
        waiting = [batch for batches in producer._message_accumulator._batches.values() for batch in batches]
        producer._message_accumulator.fail_all(ProducerClosed())
        for batch in waiting:
            batch._drain_waiter.exception()  # seen: nobody else waits for it
        await ended(producer.client.close())
