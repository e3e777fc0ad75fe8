"""The bare answers: each message is allowed unread, in batches. What Kafka, its clients and the pace take alone."""

import asyncio
import json
import os
import re

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

_ID = re.compile(rb'"message_id":\s*"([^"]+)"')
#: An answer is as long as a decision.
_REST = json.dumps({"decision_id": "0" * 32, "action": "allow", "padding": "x" * 320})[1:]


async def main() -> None:
    brokers, decisions = os.environ["SPAMGUARD_BROKERS"], os.environ["SPAMGUARD_DECISIONS_TOPIC"]
    consumer = AIOKafkaConsumer(
        os.environ["SPAMGUARD_INBOUND_TOPIC"], bootstrap_servers=brokers, group_id=os.environ["SPAMGUARD_GROUP"],
        enable_auto_commit=False, auto_offset_reset="earliest",
    )  # fmt: skip
    producer = AIOKafkaProducer(bootstrap_servers=brokers, acks="all", enable_idempotence=True, linger_ms=0)
    await producer.start()
    await consumer.start()
    print(json.dumps({"event": "serving", "metrics_port": 0}), flush=True)
    print(json.dumps({"event": "partitions_assigned"}), flush=True)
    while True:
        waiting = []
        for place, records in (await consumer.getmany(timeout_ms=500, max_records=1000)).items():
            batch = producer.create_batch()
            for record in records:
                found = _ID.search(record.value)
                value = b'{"message_id": "%b", %b' % (found[1] if found else b"", _REST.encode())
                batch.append(key=record.key, value=value, timestamp=None)
            waiting.append(await producer.send_batch(batch, decisions, partition=place.partition))
        if waiting:
            await asyncio.gather(*waiting)
            await consumer.commit()


if __name__ == "__main__":
    uvloop.run(main())
