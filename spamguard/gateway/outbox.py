"""How do records reach Kafka from here without ever holding a caller up for longer than it waits?

They queue in memory, bounded in bytes, and leave in rounds: all that waits, one batch a partition. Whoever needs the
acknowledgement awaits it, and may stop waiting. While a round hangs because the brokers are away, what comes is refused
at once after two seconds, so that callers learn it without using up their deadline, and memory stays as it is.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from spamguard.errors import PublishFailed
from spamguard.interfaces import Clock, Producer
from spamguard.types import Outgoing, Partition

log = structlog.get_logger()

#: What may wait for the brokers: several seconds of full load.
MOST_BYTES: Final = 32 << 20
#: A round that takes longer is taken for brokers that are away.
HANGS_S: Final = 2.0
#: How long a stop waits for what is queued.
GRACE_S: Final = 5.0
#: Records a round: a list of five hundred messages, twice.
MOST_A_ROUND: Final = 1000


class _Item(NamedTuple):
    place: Partition
    outgoing: Outgoing
    size: int
    acknowledged: asyncio.Future[bool]


class Outbox:
    """One queue of records on their way to the brokers."""

    def __init__(
        self,
        producer: Producer,
        *,
        clock: Clock,
        on_lost: Callable[[str, int], None] = lambda topic, number: None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._producer = producer
        self._clock = clock
        self._on_lost = on_lost
        self._most_bytes = most_bytes
        self._queue: list[_Item] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._round_since_s: float | None = None
        self._hanging = False

    def put(self, place: Partition, outgoing: Outgoing) -> asyncio.Future[bool]:
        """Queue a record and return whether it will be acknowledged; a refused one is settled at once as False."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        size = len(outgoing.key or b"") + len(outgoing.value or b"")
        if self.hangs() or self._bytes + size > self._most_bytes:
            self._on_lost(place.topic, 1)
            future.set_result(False)
            return future
        self._queue.append(_Item(place, outgoing, size, future))
        self._bytes += size
        self._arrived.set()
        return future

    def hangs(self) -> bool:
        """Return whether the brokers have not acknowledged for too long."""
        hanging = self._round_since_s is not None and self._clock.monotonic() - self._round_since_s > HANGS_S
        if hanging != self._hanging:
            self._hanging = hanging
            if hanging:
                log.error("outbox_hangs", waiting_bytes=self._bytes)
            else:
                log.warning("outbox_goes_on")
        return hanging

    async def run(self) -> None:
        """Publish what is queued until cancelled."""
        while True:
            await self._arrived.wait()
            items, self._queue = self._queue[:MOST_A_ROUND], self._queue[MOST_A_ROUND:]
            if not self._queue:
                self._arrived.clear()
            self._round_since_s = self._clock.monotonic()
            try:
                await self._publish(items)
            finally:
                self._round_since_s = None
                self._settle([item for item in items if not item.acknowledged.done()], False)
            self.hangs()

    async def _publish(self, items: list[_Item]) -> None:
        places: dict[Partition, list[_Item]] = {}
        for item in items:
            places.setdefault(item.place, []).append(item)
        await asyncio.gather(*(self._publish_to(place, mine) for place, mine in places.items()))

    async def _publish_to(self, place: Partition, items: list[_Item]) -> None:
        try:
            await self._producer.publish(place, [item.outgoing for item in items])
        except PublishFailed as error:
            self._on_lost(place.topic, len(items))
            log.error("outbox_refused", topic=place.topic, records=len(items), detail=str(error.fields["detail"]))
            self._settle(items, False)
        else:
            self._settle(items, True)

    def _settle(self, items: list[_Item], acknowledged: bool) -> None:
        """Tell those who wait, and give the room back."""
        for item in items:
            self._bytes -= item.size
            if not item.acknowledged.done():  # whoever waited may have been cancelled
                item.acknowledged.set_result(acknowledged)

    async def drained(self) -> None:
        """Return when all is acknowledged, or when there was time enough."""
        waiting = [item.acknowledged for item in self._queue]
        deadline_s = self._clock.monotonic() + GRACE_S
        while (self._queue or self._round_since_s is not None) and self._clock.monotonic() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # it happens once, at the end, and has two conditions
        if lost := sum(not one.done() for one in waiting):
            log.error("outbox_left", records=lost)
