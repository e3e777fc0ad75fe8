"""Does what was decided reach the stream at least once, whole, and under the same id?"""

import asyncio

import msgspec
import pytest

from spamguard.backends.memory import MemoryBroker
from spamguard.backends.metrics import MemoryMetrics
from spamguard.core.codec import encode
from spamguard.errors import PublishFailed
from spamguard.review.desk import Desk
from spamguard.review.entries import NewEntry
from spamguard.review.outbox import Relay, release_id
from spamguard.review.values import CaseKind, ListKind, Outcome, Person
from spamguard.review.values import Label as Said
from spamguard.types import Label, ListChange, Partition, Release
from tests.cast import BANK_CODE, LOTTERY, MUM
from tests.reviewing import copy_of

TOPICS = {"sms.released": 3, "sms.labels": 2}


def relay(desk: Desk, broker: MemoryBroker) -> Relay:
    """Return a relay into a broker in memory."""
    return Relay(
        desk.outbox,
        broker.producer(),
        released_topic="sms.released",
        labels_topic="sms.labels",
        lists_topic="sms.lists",
        partitions=TOPICS | {"sms.lists": 1},
        metrics=MemoryMetrics(),
    )


def test_a_release_carries_the_whole_message(desk: Desk, people: dict[str, Person]) -> None:
    copy = copy_of(BANK_CODE)
    desk.intake.take([copy])
    desk.store.release(people["rui"], desk.store.queue(people["rui"]).items[0].id)
    broker = MemoryBroker(TOPICS)
    assert asyncio.run(relay(desk, broker).turn()) == 2
    [record] = broker.records("sms.released")
    release = msgspec.json.decode(record.value or b"", type=Release)
    assert release.message == copy.message
    assert (release.release_id, release.decision_id) == (
        release_id(copy.decision.decision_id),
        copy.decision.decision_id,
    )
    assert (release.reason, release.released_by) == ("verdict", "rui")
    assert desk.outbox.waiting() == 0
    item = desk.store.queue(people["rui"], None).items
    assert item == ()


def test_a_label_carries_no_text_and_no_number(desk: Desk, people: dict[str, Person]) -> None:
    copies = [copy_of(LOTTERY), copy_of(LOTTERY)]
    desk.intake.take(copies)
    desk.store.verdict(people["rui"], desk.store.queue(people["rui"]).items[0].id, Said.SPAM, category="fraud")
    broker = MemoryBroker(TOPICS)
    asyncio.run(relay(desk, broker).turn())
    [record] = broker.records("sms.labels")
    label = msgspec.json.decode(record.value or b"", type=Label)
    assert (label.label, label.category, label.reader, label.trust, label.copies) == ("spam", "fraud", "rui", "one", 2)
    assert (label.message_id, label.withdrawn) == (copies[0].message.message_id, False)
    assert LOTTERY.encode() not in (record.value or b"") and b"+86" not in (record.value or b"")


def test_a_broker_that_refuses_gets_the_same_again(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(BANK_CODE), copy_of(MUM)])
    for item in desk.store.queue(people["rui"]).items:
        desk.store.release(people["rui"], item.id)
    broker = MemoryBroker(TOPICS)
    broker.refuse("sms.released")
    with pytest.raises(PublishFailed):
        asyncio.run(relay(desk, broker).turn())
    taken = desk.outbox.take()  # published by somebody who died before the acknowledgement was kept
    asyncio.run(relay(desk, broker).turn())
    published = {record.value for record in broker.records("sms.released")}
    assert published == {one.outgoing.value for one in taken if one.kind == "release"}
    assert desk.outbox.waiting() == 0


def test_a_release_stands_at_the_message_with_its_time(desk: Desk, people: dict[str, Person]) -> None:
    desk.intake.take([copy_of(BANK_CODE)])
    item = desk.store.release(people["rui"], desk.store.queue(people["rui"]).items[0].id)
    assert desk.store.item(people["rui"], item.id).copies[0].published_ms is None
    asyncio.run(relay(desk, MemoryBroker(TOPICS)).turn())
    assert desk.store.item(people["rui"], item.id).copies[0].published_ms == desk.now_ms()


def test_an_entry_that_changes_while_it_is_published_is_said_once_more(desk: Desk, people: dict[str, Person]) -> None:
    receipt = desk.cases.open(people["ann"], kind=CaseKind.QUESTION, text="x").receipt
    entry = NewEntry(
        kind=ListKind.BLOCK, what="host", value="evil.example", owner="ops", reason="phishing",
        expires_ms=desk.now_ms() + 86_400_000,
    )  # fmt: skip
    desk.cases.resolve(people["rui"], receipt, Outcome.LIST_ENTRY, "listed", entry=entry)
    slow = desk.outbox.take()  # one process has it in hand …
    desk.entries.withdraw(people["lee"], 1)
    broker = MemoryBroker(TOPICS | {"sms.lists": 1})
    asyncio.run(relay(desk, broker).turn())  # … another publishes the withdrawal, and the first one comes late
    broker.append(Partition("sms.lists", 0), [one.outgoing for one in slow])
    desk.outbox.done(slow)
    asyncio.run(relay(desk, broker).turn())
    changes = [msgspec.json.decode(record.value or b"", type=ListChange) for record in broker.records("sms.lists")]
    assert [change.entry is None for change in changes] == [True, True, False, True]
    assert desk.outbox.waiting() == 0
    assert desk.entries.all(people["lee"])[0].published_ms == desk.now_ms()


def test_values_of_the_contract_are_as_small_as_their_words() -> None:
    label = Label(
        label_id="l", decision_id="d", message_id="m", label="ham", reader="rui", trust="two", model="m/1",
        labelled_at="2026-11-24T00:00:00+00:00",
    )  # fmt: skip
    assert msgspec.json.decode(encode(label), type=Label) == label
    assert b"withdrawn" not in encode(label)
