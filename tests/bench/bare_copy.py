"""The bare copy: what aiokafka moves from topic to topic in batches without looking at it; the limit on one core."""

import asyncio
import sys

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def main(brokers: str, inbound: str, decisions: str, group: str) -> None:
    consumer = AIOKafkaConsumer(
        inbound, bootstrap_servers=brokers, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 << 20,
    )  # fmt: skip
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, acks="all", enable_idempotence=True, linger_ms=0, max_batch_size=1_000_000
    )
    await producer.start()
    await consumer.start()
    while True:
        waiting = []
        for place, records in (await consumer.getmany(timeout_ms=500, max_records=1000)).items():
            batch = producer.create_batch()
            for record in records:
                batch.append(key=record.key, value=record.value, timestamp=None)
            waiting.append(await producer.send_batch(batch, decisions, partition=place.partition))
        if waiting:
            await asyncio.gather(*waiting)
            await consumer.commit()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
