"""What becomes of records on their way to Kafka when it refuses, hangs, or cannot keep up?"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence, Set
from contextlib import asynccontextmanager

from spamguard.backends.clock import SystemClock
from spamguard.backends.each import publish_beside
from spamguard.errors import PublishFailed
from spamguard.gateway import outbox
from spamguard.gateway.outbox import Outbox
from spamguard.types import Outgoing, Partition

PLACE = Partition("sms.review", 0)
ELSEWHERE = Partition("sms.decisions", 1)


class Taking:
    """A producer that takes records, when it is let."""

    def __init__(self) -> None:
        self.taken: list[tuple[Partition, bytes | None]] = []
        self.let = asyncio.Event()
        self.let.set()
        self.refuses: Partition | None = None

    async def start(self) -> None:
        """Nothing to connect."""

    async def stop(self) -> None:
        """Nothing to close."""

    async def publish(self, partition: Partition, batch: Sequence[Outgoing]) -> None:
        await self.let.wait()
        if partition == self.refuses:
            raise PublishFailed(topic=partition.topic, detail="refused on purpose")
        self.taken += [(partition, outgoing.value) for outgoing in batch]

    async def publish_each(self, batches: Mapping[Partition, Sequence[Outgoing]]) -> Set[Partition]:
        return await publish_beside(self.publish, batches)


@asynccontextmanager
async def sending(producer: Taking, lost: list[str], most_bytes: int = 1 << 20) -> AsyncIterator[Outbox]:
    box = Outbox(
        producer,
        clock=SystemClock(),
        on_lost=lambda topic, number: lost.extend([topic] * number),
        most_bytes=most_bytes,
    )
    task = asyncio.create_task(box.run())
    yield box
    task.cancel()
    await asyncio.wait([task])


def record(number: int, size: int = 8) -> Outgoing:
    return Outgoing(key=None, value=str(number).encode().rjust(size))


async def test_records_leave_in_order_and_are_acknowledged() -> None:
    producer, lost = Taking(), list[str]()
    async with sending(producer, lost) as box:
        assert all(await asyncio.gather(*(box.put(PLACE, record(number)) for number in range(2500))))
    assert [int(value or b"") for _, value in producer.taken] == list(range(2500))
    assert not lost


async def test_a_refusal_on_one_partition_leaves_the_others_alone() -> None:
    producer, lost = Taking(), list[str]()
    producer.refuses = PLACE
    async with sending(producer, lost) as box:
        refused, taken = box.put(PLACE, record(1)), box.put(ELSEWHERE, record(2))
        assert (await refused, await taken) == (False, True)
    assert lost == ["sms.review"]


async def test_what_does_not_fit_is_refused_at_once_and_room_comes_back() -> None:
    producer, lost = Taking(), list[str]()
    producer.let.clear()
    async with sending(producer, lost, most_bytes=100) as box:
        waiting = [box.put(PLACE, record(number, size=50)) for number in range(3)]
        assert [future.done() for future in waiting] == [False, False, True]
        assert not waiting[2].result() and lost == ["sms.review"]
        producer.let.set()
        assert await waiting[0] and await waiting[1]
        assert await box.put(PLACE, record(4, size=50))


async def test_while_a_round_hangs_nobody_waits_for_the_next() -> None:
    producer, lost = Taking(), list[str]()
    clock = SystemClock()
    producer.let.clear()
    async with sending(producer, lost) as box:
        first = box.put(PLACE, record(1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert box._round_since_s is not None
        box._round_since_s = clock.monotonic() - outbox.HANGS_S - 1  # as if it had been so long
        assert not await box.put(PLACE, record(2))
        assert not first.done()
        producer.let.set()
        assert await first
        await box.drained()
        assert await box.put(PLACE, record(3))
    assert [int(value or b"") for _, value in producer.taken] == [1, 3]


async def test_the_end_waits_for_what_is_queued() -> None:
    producer, lost = Taking(), list[str]()
    async with sending(producer, lost) as box:
        last = box.put(PLACE, record(1))
        await box.drained()
        assert last.done() and last.result()
