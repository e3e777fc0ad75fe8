"""How does a worker hear of what operators switch, and what if it cannot?

It follows the control topic from its beginning, without a group, and looks at the control file twice a second. Each
change is another value in the live filter, and a line in the log with who and why. Control never stops the filter:
whatever cannot be read leaves the last orders as they are, is said in the log and a gauge, and is tried again for ever.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import structlog

from spamguard.engine.control import ALLOW_ALL, BREAKER, Controls
from spamguard.engine.filter import LiveFilter
from spamguard.errors import SpamguardError
from spamguard.interfaces import Clock, Metrics
from spamguard.types import Mode, Order, Record

log = structlog.get_logger()

LOOK_EVERY_S: Final = 0.5
RETRY_S: Final = 1.0
#: How long a start waits for the first orders; without them it would judge its first batch as nobody wanted.
FIRST_ORDERS_S: Final = 5.0


class ControlFollower:
    """Keeps the live filter's switches as the control topic and the control file say."""

    def __init__(
        self,
        engine: LiveFilter,
        *,
        follow: Callable[[], AsyncGenerator[Sequence[Record]]],
        look: Callable[[], str | None],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._follow = follow
        self._look = look
        self._metrics = metrics
        self._clock = clock
        self._topic_tried = asyncio.Event()
        self._file_tried = asyncio.Event()
        self._ailing: dict[str, str] = {}  #: what cannot be read, and why

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow while the block runs; it begins with the orders that were there, or when they cannot be had."""
        self._report()
        tasks = [asyncio.create_task(self._follow_topic()), asyncio.create_task(self._watch_file())]
        try:
            try:
                async with asyncio.timeout(FIRST_ORDERS_S):
                    await self._topic_tried.wait()
                    await self._file_tried.wait()
            except TimeoutError:
                self._fails("topic", "no answer yet")
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _follow_topic(self) -> None:
        while True:
            try:
                async with aclosing(self._follow()) as batches:
                    controls: Controls | None = Controls()
                    async for batch in batches:
                        # The first batch is all there is: what it does not say any more holds no longer.
                        self._apply(batch, controls)
                        controls = None
                        self._works("topic")
                        self._topic_tried.set()
            except SpamguardError as error:
                self._fails("topic", str(error))
            except Exception as error:  # noqa: BLE001 - whatever breaks here, the filter goes on with its last orders
                self._fails("topic", type(error).__name__)
            self._topic_tried.set()
            await asyncio.sleep(RETRY_S)

    async def _watch_file(self) -> None:
        while True:
            try:
                said = await asyncio.to_thread(self._look)  # off the loop: a lost file server answers nobody
            except Exception as error:  # noqa: BLE001 - whatever breaks here, the filter goes on with its last orders
                self._fails("file", type(error).__name__)
            else:
                self._works("file")
                controls = self._engine.controls
                self._switch(Controls(orders=controls.orders, file=said))
            self._file_tried.set()
            self._report()  # the policy's own mode may be another one by now
            if self._engine.breakers is not None:
                self._engine.breakers.pass_time(self._clock.monotonic())
            await asyncio.sleep(LOOK_EVERY_S)

    def _apply(self, batch: Sequence[Record], fresh: Controls | None) -> None:
        """Take records as orders; with a fresh value, in place of all that was ordered before."""
        controls = self._engine.controls if fresh is None else fresh
        for record in batch:
            key = (record.key or b"").decode("utf-8", "replace")
            try:
                controls = controls.told(key, record.value)
            except ValueError as error:
                log.warning("control_not_understood", key=key, offset=record.offset, error=type(error).__name__)
                continue
            switch, slash, tenant = key.partition("/")
            if fresh is None and switch == BREAKER and slash and self._engine.breakers is not None:
                self._engine.breakers.close(tenant, self._clock.monotonic())
        self._switch(Controls(orders=controls.orders, file=self._engine.controls.file))

    def _switch(self, controls: Controls) -> None:
        before, self._engine.controls = self._engine.controls, controls
        if before == controls:
            return
        self._tell(before, controls)
        if self._engine.breakers is not None:
            breakers = self._engine.breakers
            enabled = controls.ordered(BREAKER, unless_said=breakers.enabled_by_default)
            breakers.enable(enabled, self._clock.monotonic())
        self._report()

    def _tell(self, before: Controls, after: Controls) -> None:
        """Log each change with who and why."""
        if before.file is None and after.file is not None:
            log.warning("allow_all_on", through="file", reason=after.file)
        elif before.file is not None and after.file is None:
            log.warning("allow_all_off", through="file")
        for key in sorted(before.orders.keys() | after.orders.keys()):
            was, now = before.orders.get(key), after.orders.get(key)
            if was == now:
                continue
            now = now or Order(on=False)
            said = {"who": now.who, "reason": now.reason, "since": now.since}
            if key == ALLOW_ALL and now.on:
                log.warning("allow_all_on", through="topic", **said)
            elif key == ALLOW_ALL:
                log.warning("allow_all_off", through="topic", **said)
            else:
                mode = now.mode and str(now.mode)
                log.warning("switched", switch=key, on=now.on, mode=mode, model=now.model, **said)

    def _report(self) -> None:
        controls = self._engine.controls
        enforcing = controls.over(self._engine.policy).mode is Mode.ENFORCE and not controls.allow_all
        self._metrics.gauge("spamguard_allow_all", float(controls.allow_all))
        self._metrics.gauge("spamguard_enforcing", float(enforcing))

    def _works(self, what: str) -> None:
        if self._ailing.pop(what, None) is not None:
            log.warning("control_read_again", what=what)
        if what == "topic":
            self._metrics.gauge("spamguard_control_read", 1.0)

    def _fails(self, what: str, detail: str) -> None:
        if self._ailing.get(what) != detail:
            log.warning("control_unreadable", what=what, detail=detail)
        self._ailing[what] = detail
        if what == "topic":
            self._metrics.gauge("spamguard_control_read", 0.0)
