"""The plain service, frozen as a rival: one record at a time, the plain way, one acknowledgement each."""

import asyncio
import json
import sys
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from plain_way import plain_way


async def main(brokers: str, inbound: str, decisions: str, model: str, group: str) -> None:
    score = plain_way(Path(model))
    score("热身 warm up")
    consumer = AIOKafkaConsumer(
        inbound, bootstrap_servers=brokers, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=True)
    await producer.start()
    await consumer.start()
    done = 0
    while True:
        record = await consumer.getone()
        message = json.loads(record.value)
        spam = score(message.get("text") or "")
        decision = {"message_id": message["message_id"], "action": "block" if spam > 0.5 else "allow", "score": spam}
        await producer.send_and_wait(
            decisions, json.dumps(decision).encode(), key=record.key, partition=record.partition
        )
        done += 1
        if done % 100 == 0:
            await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
