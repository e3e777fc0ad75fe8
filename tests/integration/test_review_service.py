"""Does the review application take copies from the stream, and do releases and labels come out at its other end?"""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from spamguard import config
from spamguard.backends.memory import MemoryBroker
from spamguard.config import Settings
from spamguard.core.codec import encode
from spamguard.errors import TopicUnfit
from spamguard.interfaces import Broker
from spamguard.review.desk import Desk
from spamguard.review.values import Filters, Person, Role
from spamguard.service.review import ReviewService, open_desk
from spamguard.types import Label, Outgoing, Partition, Release
from tests.cast import BANK_CODE, LOTTERY, MUM
from tests.integration.serving import kafka_broker
from tests.reviewing import copy_of


def settings_of(tmp_path: Path, **changed: Any) -> Settings:
    """Return settings with a database in a folder."""
    given = {
        "review_database": f"sqlite:///{tmp_path}/review.db",
        "review_second_share": 0.0,
    }  # no label waits for a second reader
    return config.load(given | changed, environ={})


async def until_stored(desk: Desk, who: Person, number: int) -> None:
    """Return when that many messages are stored."""
    while sum(item.count for item in desk.store.queue(who, Filters(status=None)).items) < number:  # noqa: ASYNC110 - a database tells nobody
        await asyncio.sleep(0.02)


async def through(settings: Settings, broker: Broker) -> Person:
    """Send copies through the application and release what was good."""
    desk = open_desk(settings)
    rui, _ = desk.people.add("rui", Role.REVIEWER)
    service = ReviewService(settings, desk, broker=broker)
    producer = broker.producer()
    await producer.start()
    copies = [copy_of(BANK_CODE), copy_of(LOTTERY), copy_of(MUM)]
    batch = [Outgoing(key=b"k", value=encode(copy)) for copy in copies]
    running = asyncio.create_task(service.run(pages=False))
    try:
        await producer.publish(Partition(settings.review_topic, 0), [*batch, Outgoing(key=None, value=b"{")])
        await until_stored(desk, rui, 3)
        [item] = desk.store.queue(rui, Filters(query="验证码")).items
        desk.store.release(rui, item.id)
        while desk.outbox.waiting():  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.02)
        await producer.publish(Partition(settings.review_topic, 0), batch)  # a repeat
        await producer.publish(Partition(settings.review_topic, 0), [Outgoing(key=None, value=encode(copy_of("尾声")))])
        await until_stored(desk, rui, 4)
        assert desk.store.queue(rui, Filters(status=None)).total == 4
    finally:
        service.stop()
        await running
        await producer.stop()
        desk.close()
    return rui


async def test_copies_come_in_and_releases_and_labels_go_out(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    broker = MemoryBroker({settings.review_topic: 2, settings.released_topic: 2, settings.labels_topic: 1})
    await through(settings, broker)
    [released] = broker.records(settings.released_topic)
    assert msgspec.json.decode(released.value or b"", type=Release).message.text == BANK_CODE
    [labelled] = broker.records(settings.labels_topic)
    assert msgspec.json.decode(labelled.value or b"", type=Label).label == "ham"
    assert broker.group(settings.review_group).committed[Partition(settings.review_topic, 0)] == 8


async def test_the_same_holds_on_a_real_kafka(tmp_path: Path, kafka: str, topic: str) -> None:
    settings = settings_of(
        tmp_path,
        brokers=kafka,
        review_topic=f"{topic}.review",
        released_topic=f"{topic}.released",
        labels_topic=f"{topic}.labels",
        review_group=f"{topic}.group",
    )
    broker = kafka_broker(kafka)
    admin = broker.admin()
    try:
        await admin.create({settings.review_topic: 1, settings.released_topic: 1, settings.labels_topic: 1}, configs={})
        await through(settings, broker)
        assert sum((await admin.group_lag(settings.review_group, settings.review_topic)).values()) == 0
    finally:
        await admin.close()
    reader = broker.reader(settings.released_topic)
    ends = await reader.start()
    reader.seek({place: first for place, (first, _) in ends.items()})
    found = [record for records in (await reader.poll(max_records=10, timeout_s=5)).values() for record in records]
    await reader.stop()
    assert [msgspec.json.decode(record.value or b"", type=Release).message.text for record in found] == [BANK_CODE]


async def test_a_missing_topic_is_said_at_the_start(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    desk = open_desk(settings)
    service = ReviewService(settings, desk, broker=MemoryBroker({settings.review_topic: 1}))
    with pytest.raises(TopicUnfit, match=r"sms\.released does not exist; sms\.labels does not exist"):
        await service.run(pages=False)
    desk.close()


async def test_pages_alone_stay_alive_and_are_ready_while_the_database_answers(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, review_port=0, metrics_port=0)
    desk = open_desk(settings)
    service = ReviewService(settings, desk, broker=None)
    assert service.waiting_for() == ["the pages are not served yet"]
    up = asyncio.Event()
    running = asyncio.create_task(service.run(on_serving=up.set))
    await asyncio.wait_for(up.wait(), 30)
    service.health._last_poll_s -= 3600  # nothing polls here, which is no reason to be restarted
    shown = service.metrics.registry.get_sample_value
    assert (service.not_alive(), service.waiting_for(), shown("spamguard_ready")) == ([], [], 1)
    assert shown("spamguard_lists_read") is None and shown("spamguard_control_read") is None
    service.stop()
    await running
    assert service.waiting_for() == ["it is stopping"]
    desk.close()
