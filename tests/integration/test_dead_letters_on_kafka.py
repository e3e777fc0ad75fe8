"""Are dead letters shown without a text, and is a record given a second chance only when it has one?

The real command lines' work, on the broker in memory and on real Kafka; the letters are those of a real worker.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from spamguard.backends.memory import MemoryBroker
from spamguard.cli import dead_letters
from spamguard.cli.screen import Screen
from spamguard.config import Settings, load
from spamguard.core.codec import encode
from spamguard.errors import TopicUnfit
from spamguard.interfaces import Broker
from spamguard.service.worker import Worker
from spamguard.stream.dead_letters import Fate, Letters, distinct, look_up
from spamguard.types import DeadLetter, DeadReason, Outgoing, Partition, Record
from tests.cast import MUM
from tests.integration.serving import Names, create, kafka_broker, read

READABLE: Final = b'{"message_id": "m1", "text": "%s"}' % MUM.encode()
NOT_JSON: Final = b'{"message_id": "broken", "text": "+8613900001234 secret'
NO_ID: Final = b'{"text": "a secret without an id"}'
PATIENCE_S: Final = 30.0


@pytest.fixture(params=["memory", "kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    if request.param == "memory":
        return MemoryBroker()
    return kafka_broker(request.getfixturevalue("kafka"))


@pytest.fixture
def names(topic: str) -> Names:
    return Names.of(topic)


@pytest.fixture
def settings(names: Names, tiny_model: Path) -> Settings:
    given = {f"{field}_topic": name for field, name in names._asdict().items() if field != "group"}
    return load({**given, "group": names.group, "model": str(tiny_model), "metrics_port": 0}, environ={})


async def append(broker: Broker, topic: str, number: int, values: Sequence[bytes | None]) -> None:
    producer = broker.producer()
    await producer.start()
    await producer.publish(Partition(topic, number), [Outgoing(key=b"k", value=value) for value in values])
    await producer.stop()


async def judged(broker: Broker, settings: Settings, *, letters: int) -> None:
    """Let a real worker read what is there and write its dead letters."""
    worker = Worker(settings, broker=broker)
    running = asyncio.create_task(worker.run())
    try:
        assert len(await read(broker, settings.dead_letter_topic, letters, patience_s=PATIENCE_S)) == letters
    finally:
        worker.stop()
        await running


async def told(broker: Broker, settings: Settings, capsys: pytest.CaptureFixture[str], **more: Any) -> list[str]:
    capsys.readouterr()
    await dead_letters._list(Screen(), settings, broker, **({"since_ms": None, "limit": 50} | more))
    return capsys.readouterr().out.splitlines()


async def replayed(
    broker: Broker, settings: Settings, capsys: pytest.CaptureFixture[str], **more: Any
) -> tuple[tuple[int, int], str]:
    capsys.readouterr()
    given: dict[str, Any] = {"since_ms": None, "force": False, "yes": False, "count_only": False}
    given |= {"to": settings.inbound_topic, **more}
    counts = await dead_letters._replay(Screen(), settings, broker, lambda letter: True, **given)
    return counts, capsys.readouterr().out


async def inbound(broker: Broker, settings: Settings) -> list[Record]:
    return await read(broker, settings.inbound_topic, 0, patience_s=3.0)


async def test_a_list_tells_coordinates_and_reasons_and_never_a_text(
    broker: Broker, names: Names, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await create(broker, names, partitions=2)
    await append(broker, names.inbound, 0, [READABLE, NOT_JSON, NO_ID])
    await append(broker, names.inbound, 1, [None, READABLE, NO_ID])
    await judged(broker, settings, letters=4)
    lines = await told(broker, settings, capsys)
    assert lines[0].split() == ["seen", "reason", "topic", "partition", "offset", "bytes"]
    shown = {tuple(line.split()[1:]) for line in lines[1:5]}
    assert shown == {
        ("not_json", names.inbound, "0", "1", str(len(NOT_JSON))),
        ("no_message_id", names.inbound, "0", "2", str(len(NO_ID))),
        ("empty", names.inbound, "1", "0", "0"),
        ("no_message_id", names.inbound, "1", "2", str(len(NO_ID))),
    }
    assert {tuple(line.split()) for line in lines[6:9]} == {("2", "no_message_id"), ("1", "not_json"), ("1", "empty")}
    assert lines[9].split() == ["4", "dead", "letters"]
    assert "secret" not in "".join(lines) and "139" not in "".join(lines)
    limited = await told(broker, settings, capsys, limit=1)
    assert limited[-1].split(";")[1] == " the newest 1 are shown"
    assert await told(broker, settings, capsys, since_ms=1 << 42) == [f"no dead letters in {names.dead_letter}"]


async def test_a_replay_is_a_dry_run_first_and_publishes_what_can_be_read_now_as_it_was(
    broker: Broker, names: Names, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await create(broker, names, partitions=2)
    await append(broker, names.inbound, 1, [NOT_JSON, READABLE, READABLE])
    # An older release could not read the second record, and its batch was repeated, so its letter is there twice.
    await letters_in(broker, names, [letter(names, 0, NOT_JSON), *[letter(names, 1, READABLE)] * 2])
    before = len(await inbound(broker, settings))

    counts, said = await replayed(broker, settings, capsys)
    assert counts == (1, 2)
    assert "A dry run" in said and "still unreadable" in said and "secret" not in said
    assert (await replayed(broker, settings, capsys, count_only=True))[1] == "1\n"
    assert len(await inbound(broker, settings)) == before

    counts, said = await replayed(broker, settings, capsys, yes=True)
    assert (counts, said.splitlines()[-2]) == ((1, 2), f"1 records were published into {names.inbound}.")
    again = (await inbound(broker, settings))[-1]
    assert (again.partition.number, again.offset, again.key, again.value) == (1, before, b"k", READABLE)

    await replayed(broker, settings, capsys, yes=True, force=True)
    assert sorted(record.value or b"" for record in (await inbound(broker, settings))[before + 1 :]) == sorted(
        [NOT_JSON, READABLE]
    )


async def test_a_replay_into_a_topic_without_that_partition_publishes_nothing(
    broker: Broker, names: Names, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await create(broker, names, partitions=2, review=1)
    await append(broker, names.inbound, 1, [READABLE])
    await letters_in(broker, names, [letter(names, 0, READABLE)])
    with pytest.raises(TopicUnfit, match="keeps the partition"):
        await replayed(broker, settings, capsys, yes=True, to=names.review)


async def test_what_the_topic_no_longer_keeps_or_holds_instead_is_said(topic: str) -> None:
    names, broker = Names.of(topic), MemoryBroker()
    await create(broker, names, partitions=2)
    await append(broker, names.inbound, 1, [NOT_JSON, READABLE, NO_ID, READABLE])
    broker.deleted[Partition(names.inbound, 1)] = 1
    letters = [letter(names, 0, NOT_JSON), letter(names, 1, READABLE), letter(names, 2, NOT_JSON)]
    letters += [letter(names, 3, READABLE), letter(names, 9, READABLE)]
    found = [one async for one in look_up(broker.reader(names.inbound), letters)]
    assert [one.fate for one in found] == [Fate.GONE, Fate.READABLE, Fate.ANOTHER, Fate.READABLE, Fate.GONE]


async def test_what_is_no_dead_letter_is_counted_and_passed_over(topic: str) -> None:
    names, broker = Names.of(topic), MemoryBroker()
    await create(broker, names, partitions=1)
    await append(broker, names.dead_letter, 0, [b"not ours", None, encode(letter(names, 0, NO_ID))])
    letters = Letters(broker.reader(names.dead_letter))
    assert len(distinct([one async for one in letters])) == 1
    assert letters.foreign == 2


def letter(names: Names, offset: int, value: bytes) -> DeadLetter:
    return DeadLetter(
        reason=DeadReason.NOT_JSON,
        topic=names.inbound,
        partition=1,
        offset=offset,
        size_bytes=len(value),
        seen_at_ms=1,
    )


async def letters_in(broker: Broker, names: Names, letters: Sequence[DeadLetter]) -> None:
    await append(broker, names.dead_letter, 0, [encode(one) for one in letters])
