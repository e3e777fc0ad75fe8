"""How do subscribers' wishes get to the opt-out topic, and from there to every service?

Publishing is a side road: it holds nobody's message up. What is not acknowledged is tried again, in order, from a
bounded queue. Following begins in the background: ten million mutes take minutes to read, and until then some
advertising passes that should not, which is the lesser harm; `degraded` in /readyz says so meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from spamguard.core import optouts
from spamguard.core.codec import encode
from spamguard.core.decide import Request
from spamguard.core.optouts import MuteKey, Mutes
from spamguard.engine.filter import LiveFilter
from spamguard.errors import SpamguardError
from spamguard.interfaces import Clock, Metrics, Producer, Reader
from spamguard.stream.compacted import pieces
from spamguard.types import Decision, OptOut, Outgoing, Partition

log = structlog.get_logger()

RETRY_S: Final = 1.0
BATCH: Final = 200
#: So many wishes wait while the topic does not acknowledge; the oldest goes when there are more.
MAX_WAITING: Final = 10_000
DEGRADED: Final = "opt-outs"


class _Said(msgspec.Struct, frozen=True):
    """What a worker reads of a record's value: never a number."""

    opted_out: bool = True


_DECODER: Final = msgspec.json.Decoder(_Said)


class OptOuts:
    """Publishes the wishes a service hears, and keeps its live filter's mutes as the topic says."""

    def __init__(
        self,
        engine: LiveFilter,
        *,
        keys: Sequence[MuteKey],
        producer: Producer,
        reader: Callable[[], Reader],
        topic: str,
        most: int,
        metrics: Metrics,
        clock: Clock,
        degraded: MutableMapping[str, str],
    ) -> None:
        self._engine = engine
        self._keys = keys
        self._producer = producer
        self._reader = reader
        self._topic = topic
        self._most = most
        self._metrics = metrics
        self._clock = clock
        self._degraded = degraded
        self._waiting: deque[Outgoing] = deque()
        self._some = asyncio.Event()
        self._ailing: str | None = None
        engine.mutes = Mutes(keys)

    def heard(self, requests: Sequence[Request], decisions: Sequence[Decision]) -> None:
        """Take the wishes among a batch's messages; it returns at once."""
        for request, decision in zip(requests, decisions, strict=True):
            if decision.guard != optouts.GUARD or not request.message.sender or not request.message.recipient:
                continue
            message = request.message
            wish = OptOut(
                subscriber=message.sender,
                sender=message.recipient,
                tenant=message.tenant,
                message_id=message.message_id,
                at=datetime.fromtimestamp(self._clock.now(), UTC).isoformat(timespec="milliseconds"),
            )
            mute = optouts.mute_of(self._keys[0], wish.subscriber, sender=wish.sender)
            if len(self._waiting) >= MAX_WAITING:
                self._waiting.popleft()
                self._metrics.count("spamguard_opt_outs_total", outcome="lost")
            self._waiting.append(Outgoing(key=mute.encode(), value=encode(wish)))
            self._some.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish and follow while the block runs; what waits at its end gets one more try."""
        await self._producer.start()
        tasks = [asyncio.create_task(self._publish()), asyncio.create_task(self._follow())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            try:
                async with asyncio.timeout(RETRY_S):
                    while self._waiting:
                        await self._send()
            except (SpamguardError, TimeoutError):
                log.error("opt_outs_unpublished", wishes=len(self._waiting))
            await self._producer.stop()

    async def _send(self) -> None:
        batch = list(self._waiting)[:BATCH]
        await self._producer.publish(Partition(self._topic, 0), batch)
        for outgoing in batch:
            if self._waiting and self._waiting[0] is outgoing:
                self._waiting.popleft()
        self._metrics.count("spamguard_opt_outs_total", len(batch), outcome="published")

    async def _publish(self) -> None:
        held_up = False
        while True:
            await self._some.wait()
            try:
                while self._waiting:
                    await self._send()
                self._some.clear()
                held_up = False
            except SpamguardError as error:
                if not held_up:
                    log.error("opt_outs_waiting", wishes=len(self._waiting), error=type(error).__name__)
                held_up = True
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> None:
        while True:
            self._degraded.setdefault(DEGRADED, "the opt-outs are still being read")
            try:
                await self._read()
            except Exception as error:  # noqa: BLE001 - whatever breaks here, the filter goes on with its last mutes
                why = str(error) if isinstance(error, SpamguardError) else type(error).__name__
                if why != self._ailing:
                    log.warning("opt_outs_unreadable", detail=why)
                self._ailing = why
                self._degraded[DEGRADED] = f"new opt-outs do not reach this worker ({why.rstrip('.')})"
            await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        mutes = Mutes(self._keys)
        begun = False
        async with aclosing(pieces(self._reader(), clock=self._clock, topic=self._topic)) as found:
            async for piece in found:
                changes = []
                for record in piece.records:
                    try:
                        muted = record.value is not None and _DECODER.decode(record.value).opted_out
                    except (msgspec.MsgspecError, UnicodeError):
                        continue
                    changes.append((record.key or b"", muted))
                if changes:
                    mutes = await asyncio.to_thread(mutes.changed, changes)
                begun = begun or piece.whole
                if not begun:
                    continue
                self._ailing = None
                if len(mutes) > self._most:
                    self._degraded[DEGRADED] = f"there are more opt-outs than optout_max ({self._most:,}) has room for"
                    mutes = self._engine.mutes
                else:
                    self._degraded.pop(DEGRADED, None)
                    self._engine.mutes = mutes
                self._metrics.gauge("spamguard_mutes", float(len(mutes)))
