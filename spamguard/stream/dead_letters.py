"""Which records got no decision, what would become of them now, and how do they get a second chance?

A dead letter holds coordinates, not the record: the record stays in its own topic as long as that keeps it. So a replay
reads it again, decodes it first (a release that reads more may now find its message id), and publishes it once more as
it was, key and partition kept. It is then a new record with a decision of its own.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from spamguard.core.codec import decode_message
from spamguard.errors import DataError, TopicUnfit
from spamguard.interfaces import Admin, Producer, Reader
from spamguard.types import DeadLetter, DeadReason, Offsets, Outgoing, Partition, Record

#: So long without a record, short of a topic's end, is taken for a broker that is away.
SILENCE_S: Final = 5.0
CHUNK: Final = 500

_DECODER: Final = msgspec.json.Decoder(DeadLetter)


class Fate(StrEnum):
    """What a second look at a dead letter's record shows."""

    READABLE = "readable"  #: it would get a decision now
    STILL_DEAD = "still_dead"  #: no message id can be read, today either
    GONE = "gone"  #: its topic no longer keeps it
    ANOTHER = "another"  #: another record stands there: the topic was made anew


class Found(NamedTuple):
    """A dead letter with what became of its record."""

    letter: DeadLetter
    fate: Fate
    record: Record | None = None
    reason: DeadReason | None = None  #: why it is still dead


class Letters:
    """The dead letters of a topic, read from a moment on; counts what it meets that is none."""

    def __init__(self, reader: Reader, *, since_ms: int | None = None) -> None:
        self._reader = reader
        self._since_ms = since_ms
        self.foreign = 0  #: records in the topic that are no dead letters

    async def __aiter__(self) -> AsyncIterator[DeadLetter]:
        """Yield each as it stands, up to the end the topic has now. Raises DataError when the broker falls silent."""
        bounds = await self._reader.start()
        first = {partition: start for partition, (start, _) in bounds.items()}
        if self._since_ms is not None:
            first = dict(await self._reader.offsets_at(self._since_ms))
        async for record in between(self._reader, first, {partition: end for partition, (_, end) in bounds.items()}):
            try:
                yield _DECODER.decode(record.value or b"")
            except msgspec.MsgspecError:
                self.foreign += 1


async def between(reader: Reader, first: Offsets, ends: Offsets) -> AsyncIterator[Record]:
    """Yield a topic's records from some offsets up to others. Raises DataError when the broker falls silent."""
    left = {partition: offset for partition, offset in first.items() if offset < ends[partition]}
    if not left:
        return
    reader.seek(left)
    while left:
        batch = await reader.poll(max_records=CHUNK * 4, timeout_s=SILENCE_S)
        if not batch:
            short = sum(ends[partition] - offset for partition, offset in left.items())
            topic = next(iter(left)).topic
            raise DataError(
                detail=f"{topic} gave no record for {SILENCE_S:g} s, {short} short of its end; see that Kafka is well "
                "(`spamguard check`) and try again"
            )
        for partition, records in batch.items():
            for record in records:
                if record.offset < ends[partition]:
                    yield record
            if partition in left:
                left[partition] = records[-1].offset + 1
                if left[partition] >= ends[partition]:
                    del left[partition]


def distinct(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """Return one letter a record, in the records' order: a batch that was repeated wrote its letters twice."""
    by_place = {(letter.topic, letter.partition, letter.offset): letter for letter in letters}
    return [by_place[place] for place in sorted(by_place)]


async def look_up(reader: Reader, letters: Sequence[DeadLetter]) -> AsyncIterator[Found]:
    """Yield what became of the records of one topic's letters, given in their order.

    Raises TopicUnfit when there is no such topic, BrokerUnavailable, and DataError when the broker falls silent.
    """
    bounds = await reader.start()
    by_partition: dict[Partition, list[DeadLetter]] = {}
    for letter in letters:
        by_partition.setdefault(Partition(letter.topic, letter.partition), []).append(letter)
    for partition, mine in by_partition.items():
        start, end = bounds.get(partition, (0, 0))
        place = 0
        while place < len(mine):
            letter = mine[place]
            if not start <= letter.offset < end:
                yield Found(letter, Fate.GONE)
                place += 1
                continue
            reader.seek({partition: letter.offset})
            batch = await reader.poll(max_records=CHUNK, timeout_s=SILENCE_S)
            records = {record.offset: record for record in batch.get(partition, ())}
            if not records:
                raise DataError(
                    detail=f"{partition.topic} gave no record for {SILENCE_S:g} s at offset {letter.offset} of "
                    f"partition {partition.number}; see that Kafka is well (`spamguard check`) and try again"
                )
            last = max(records)
            while place < len(mine) and (mine[place].offset <= last):
                yield _judged(mine[place], records.get(mine[place].offset))
                place += 1


def _judged(letter: DeadLetter, record: Record | None) -> Found:
    if record is None:
        return Found(letter, Fate.GONE)
    if len(record.value or b"") != letter.size_bytes:
        return Found(letter, Fate.ANOTHER)
    message = decode_message(record.value)
    if isinstance(message, DeadReason):
        return Found(letter, Fate.STILL_DEAD, record, message)
    return Found(letter, Fate.READABLE, record)


async def fit_target(admin: Admin, topic: str, letters: Iterable[DeadLetter]) -> None:
    """Check that a topic can take the records with their partitions. Raises TopicUnfit or BrokerUnavailable."""
    partitions = (await admin.partitions([topic])).get(topic)
    if partitions is None:
        raise TopicUnfit(detail=f"{topic} does not exist")
    highest = max((letter.partition for letter in letters), default=0)
    if highest >= partitions:
        raise TopicUnfit(
            detail=f"{topic} has {partitions} partitions and a record comes from partition {highest}; "
            "a replay keeps the partition"
        )


async def replay(
    producer: Producer, topic: str, found: AsyncIterator[Found], *, wanted: Callable[[Found], bool]
) -> AsyncIterator[Found]:
    """Publish the wanted ones' records again, key and partition kept, and yield every one once that is acknowledged.

    Raises PublishFailed: what was yielded before it is published.
    """
    waiting: list[Found] = []

    async def publish() -> None:
        outgoing: dict[Partition, list[Outgoing]] = {}
        for one in waiting:
            if one.record is not None and wanted(one):
                place = Partition(topic, one.record.partition.number)
                outgoing.setdefault(place, []).append(Outgoing(key=one.record.key, value=one.record.value))
        for partition, batch in outgoing.items():
            await producer.publish(partition, batch)

    async for one in found:
        waiting.append(one)
        if len(waiting) >= CHUNK:
            await publish()
            for published in waiting:
                yield published
            waiting.clear()
    await publish()
    for published in waiting:
        yield published


def by_topic(letters: Sequence[DeadLetter]) -> Mapping[str, list[DeadLetter]]:
    """Return the letters by the topic they point to."""
    found: dict[str, list[DeadLetter]] = {}
    for letter in letters:
        found.setdefault(letter.topic, []).append(letter)
    return found
