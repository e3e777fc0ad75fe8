"""Do a change of the lists and one of the policy reach two workers on a real Kafka in under two seconds, under load?

Measured from the change's own record (or the moment the file was swapped) to the last decision that did not obey, and
every message that was sent meanwhile must have its decision.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final

from spamguard.backends.kafka.broker import KafkaBroker
from spamguard.types import Outgoing, Partition
from tests.cast import MUM
from tests.integration.serving import Names, Serving, create, kafka_broker, read
from tests.integration.test_kafka_control import Decided, decided, spamguard
from tests.integration.test_kafka_control import settings as worker_settings

PARTITIONS: Final = 4
OBEY_S: Final = 2.0
KEEP_S: Final = 2.5
SENDER: Final = "106900770001"


@asynccontextmanager
async def traffic(broker: KafkaBroker, topic: str, sent: list[str]) -> AsyncIterator[None]:
    """Send good messages of one sender to every partition, some hundred a second, while the block runs."""

    done = asyncio.Event()

    async def send() -> None:
        producer = broker.producer()
        await producer.start()
        try:
            number = 0
            while not done.is_set():
                number += 1
                for place in range(PARTITIONS):
                    batch = []
                    for part in range(2):
                        identity = f"s-{number}-{place}-{part}"
                        body = {"message_id": identity, "text": MUM, "sender": f"+86 {SENDER}"}
                        value = json.dumps(body, ensure_ascii=False).encode()
                        batch.append(Outgoing(key=identity.encode(), value=value))
                    await producer.publish(Partition(topic, place), batch)
                    sent.extend((outgoing.key or b"").decode() for outgoing in batch)
                await asyncio.sleep(0.02)
        finally:
            await producer.stop()

    sending = asyncio.create_task(send())
    try:
        yield
    finally:
        done.set()
        await sending


def disobedience_s(records: list[Decided], since_s: float, until_s: float, reason: str) -> float:
    """Return how long after a change the last decision came that did not know of it."""
    late = [one.decided_s - since_s for one in records if since_s <= one.decided_s < until_s]
    assert late
    wrong = [
        one.decided_s - since_s
        for one in records
        if since_s <= one.decided_s < until_s and one.fields["reason"] != reason
    ]
    return max(wrong, default=0.0)


def swap(path: Path, text: str) -> float:
    """Put a file in the place of another, in one step, and return when."""
    beside = path.with_suffix(".next")
    beside.write_text(text, encoding="utf-8")
    moment = time.time()
    beside.replace(path)
    return moment


async def changes(broker: KafkaBroker, topic: str) -> list[float]:
    async with aclosing(broker.follow(topic)) as batches:
        return [record.timestamp_ms / 1000 for record in await anext(batches)]


async def test_a_list_and_a_policy_change_reach_two_workers_in_two_seconds_and_no_message_is_lost(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    broker, names = kafka_broker(kafka), Names.of(topic)
    await create(broker, names, partitions=PARTITIONS)
    policy = tmp_path / "policy.toml"
    swap(policy, 'name = "first"\n')
    environment = worker_settings(names, tiny_model, kafka, SPAMGUARD_POLICY=str(policy))
    sent: list[str] = []
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with Serving(folders[0], environment) as one, Serving(folders[1], environment) as two:
        one.await_ready()
        two.await_ready()
        async with traffic(broker, names.inbound, sent):
            await asyncio.sleep(KEEP_S)
            command = ("lists", "add", "sender", SENDER, "--reason", "a wave", "--who", "night")
            added = await spamguard(environment, tmp_path, *command)
            assert added.returncode == 0, added.stderr
            await asyncio.sleep(OBEY_S + KEEP_S)
            observed_s = swap(policy, 'name = "second"\nmode = "observe"\n')
            await asyncio.sleep(OBEY_S + KEEP_S)
            broken_s = swap(policy, 'name = "third"\nmode = "obsrve"\n')
            await asyncio.sleep(OBEY_S)
            enforced_s = swap(policy, 'name = "fourth"\n')
            await asyncio.sleep(OBEY_S + KEEP_S)
            identity = added.stdout.split()[0]
            removed = await spamguard(environment, tmp_path, "lists", "remove", identity, "--reason", "over")
            assert removed.returncode == 0, removed.stderr
            await asyncio.sleep(OBEY_S + KEEP_S)
        for worker in (one, two):
            assert worker.total("spamguard_assigned_partitions") == 2
            events = worker.events()
            assert next(event["who"] for event in events if event["event"] == "list_changed") == "night"
            assert len([event for event in events if event["event"] == "policy_rejected"]) == 1
            assert SENDER not in worker.log
            assert worker.terminate() == 0
    records = decided(await read(broker, names.decisions, len(sent)))
    assert {one.fields["message_id"] for one in records} == set(sent)
    assert len(records) == len(sent)
    added_s, removed_s = await changes(broker, names.lists)
    ends = max(one.decided_s for one in records) + 1
    for what, since_s, until_s, reason in (
        ("entry added", added_s, observed_s, "list_block"),
        ("policy observes", observed_s, broken_s, "observed"),
        ("policy with a fault", broken_s, enforced_s, "observed"),
        ("policy enforces", enforced_s, removed_s, "list_block"),
        ("entry removed", removed_s, ends, "ham_score"),
    ):
        took_s = disobedience_s(records, since_s, until_s, reason)
        print(f"{what}: last decision that did not know {took_s:.3f} s after the change")
        assert took_s <= OBEY_S
    names_seen = {one.fields["policy"].partition("@")[0] for one in records}
    assert names_seen == {"first", "second", "fourth"}
    assert {one.fields.get("list_entry") for one in records if one.fields["reason"] == "list_block"} == {identity}
