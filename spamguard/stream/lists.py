"""How does a service hear of changes of the lists, and what does it do while it cannot?

It reads the lists topic from its beginning, without a group: whoever starts late reads it whole before it judges. Each
change is another value in the live filter, taken over between two batches. The topic is the one truth: once it is read,
nothing else counts. While it cannot be read, the last entries stay, at a start those of the file that the settings
name; the log, a gauge and `degraded` in /readyz say so, and it is tried again for ever.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import msgspec
import structlog

from spamguard.core.entries import Fault
from spamguard.core.lists import ListBuilder, Lists
from spamguard.engine.filter import LiveFilter
from spamguard.errors import SpamguardError, TopicUnfit
from spamguard.interfaces import Clock, Metrics, Reader
from spamguard.stream.compacted import pieces
from spamguard.types import ListChange, ListEntry, Record

log = structlog.get_logger()

RETRY_S: Final = 1.0
#: How long a start waits for the first entries: a million take about half a minute (docs/operations.md).
FIRST_LISTS_S: Final = 120.0
#: More changes than these at once are worked in beside the event loop.
MANY: Final = 50
#: So many changes are logged one by one; more are logged as a number.
TOLD: Final = 20
SHOW_EVERY_S: Final = 60.0
DEGRADED: Final = "lists"

_DECODER: Final = msgspec.json.Decoder(ListChange)

Change = tuple[str, ListEntry | None]


class ListFollower:
    """Keeps a live filter's lists as the lists topic says; any service can run one beside its own loop."""

    def __init__(
        self,
        engine: LiveFilter,
        *,
        reader: Callable[[], Reader],
        topic: str,
        metrics: Metrics,
        clock: Clock,
        degraded: MutableMapping[str, str],
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._topic = topic
        self._metrics = metrics
        self._clock = clock
        self._degraded = degraded
        self._tried = asyncio.Event()
        self._ailing: str | None = None
        self._shown_s = 0.0
        #: Whether the topic was read since the start: from then on it alone counts.
        self.heard = False

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow while the block runs; it begins with the entries that were there, or when they cannot be had."""
        self._show(self._engine.lists)
        task = asyncio.create_task(self._follow())
        try:
            try:
                async with asyncio.timeout(FIRST_LISTS_S):
                    await self._tried.wait()
            except TimeoutError:
                self._fails("no answer yet")
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _follow(self) -> None:
        while True:
            try:
                await self._read()
            except TopicUnfit as error:
                # Where nobody made the topic, nobody uses it; where it was read, somebody took it away.
                self._fails(str(error), degraded=self.heard)
            except SpamguardError as error:
                self._fails(str(error))
            except Exception as error:  # noqa: BLE001 - whatever breaks here, the filter goes on with its last lists
                self._fails(type(error).__name__)
            self._tried.set()
            await asyncio.sleep(RETRY_S)

    async def _read(self) -> None:
        builder: ListBuilder | None = ListBuilder()
        async with aclosing(pieces(self._reader(), clock=self._clock, topic=self._topic)) as found:
            async for piece in found:
                changes = self._understood(piece.records)
                if builder is None:
                    if changes:
                        await self._change(changes)
                    elif self._clock.monotonic() - self._shown_s > SHOW_EVERY_S:
                        self._show(self._engine.lists)  # entries expire by themselves
                    continue
                self._collect(builder, changes)
                if piece.whole:
                    self._take(await asyncio.to_thread(builder.build))
                    builder = None
                    self.heard = True
                    self._works()
                    self._tried.set()
                else:
                    await asyncio.sleep(0)  # a long reading lets the rest of the service live

    def _understood(self, records: Sequence[Record]) -> list[tuple[Change, ListChange | None]]:
        found: list[tuple[Change, ListChange | None]] = []
        for record in records:
            identity = (record.key or b"").decode("utf-8", "replace")
            try:
                change = None if record.value is None else _DECODER.decode(record.value)
            except (msgspec.MsgspecError, UnicodeError) as error:
                log.warning("list_change_not_understood", offset=record.offset, error=type(error).__name__)
                continue
            found.append(((identity, change.entry if change else None), change))
        return found

    def _collect(self, builder: ListBuilder, changes: Sequence[tuple[Change, ListChange | None]]) -> None:
        for (identity, entry), _ in changes:
            try:
                if entry is None:
                    builder.remove(identity)
                else:
                    builder.add(identity, entry)
            except Fault as fault:
                builder.remove(identity)
                log.warning("list_change_refused", entry=identity[:40], why=str(fault))

    async def _change(self, changes: Sequence[tuple[Change, ListChange | None]]) -> None:
        asked = [change for change, _ in changes]
        lists, faults = (
            await asyncio.to_thread(self._engine.lists.changed, asked)
            if len(asked) > MANY
            else self._engine.lists.changed(asked)
        )
        for place, fault in faults.items():
            log.warning("list_change_refused", entry=asked[place][0][:40], why=str(fault))
        self._take(lists)
        for (identity, entry), change in changes[:TOLD]:
            said = {} if change is None else {"who": change.who, "why": change.why}
            what = "taken away" if entry is None else f"{entry.action} {entry.kind}"
            log.info("list_changed", entry=identity[:40], change=what, **said)
        if len(changes) > TOLD:
            log.info("lists_changed", changes=len(changes))

    def _take(self, lists: Lists) -> None:
        self._engine.lists = lists
        self._show(lists)

    def _show(self, lists: Lists) -> None:
        self._shown_s = self._clock.monotonic()
        expired = lists.expired(self._clock.now())
        self._metrics.gauge("spamguard_list_entries", float(len(lists) - expired), state="live")
        self._metrics.gauge("spamguard_list_entries", float(expired), state="expired")

    def _works(self) -> None:
        if self._ailing is not None:
            self._ailing = None
            log.warning("lists_read_again")
        self._degraded.pop(DEGRADED, None)
        self._metrics.gauge("spamguard_lists_read", 1.0)

    def _fails(self, detail: str, *, degraded: bool = True) -> None:
        if self._ailing != detail:
            log.warning("lists_unreadable", detail=detail)
        self._ailing = detail
        if degraded:
            self._degraded[DEGRADED] = f"changes of the lists do not reach this worker ({detail.rstrip('.')})"
        self._metrics.gauge("spamguard_lists_read", 0.0)
