"""How is the running HTTP gateway put together? The worker's engine, models, switches and metrics behind HTTP."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing

import structlog

from spamguard import __version__
from spamguard.backends.clock import SystemClock
from spamguard.backends.key_file import KeyFile
from spamguard.backends.listening import listen
from spamguard.backends.prometheus import MetricsServer, PrometheusMetrics
from spamguard.config import Settings
from spamguard.core.decide import Request
from spamguard.engine.ageing import Ageing
from spamguard.engine.filter import LiveFilter
from spamguard.engine.shadow import Shadow
from spamguard.errors import ConfigError, TopicUnfit
from spamguard.gateway.access import Access
from spamguard.gateway.answering import Answering, Published
from spamguard.gateway.app import Gateway, Limits
from spamguard.gateway.outbox import Outbox
from spamguard.gateway.server import Server
from spamguard.interfaces import Broker, Clock
from spamguard.service import listing, optouts
from spamguard.service.hot_models import HotModels
from spamguard.service.judging import live_filter
from spamguard.service.orders import control_file
from spamguard.service.policies import LivePolicy
from spamguard.service.streams import kafka
from spamguard.stream.control import ControlFollower
from spamguard.stream.lists import ListFollower
from spamguard.types import Decision, Record

log = structlog.get_logger()

#: How often the file of keys is looked at.
KEYS_EVERY_S = 1.0


class GatewayProcess:
    """One process of `spamguard gateway`."""

    def __init__(self, settings: Settings, *, broker: Broker | None = None, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.metrics = PrometheusMetrics()
        self.access = Access(self.clock)
        self.engine: LiveFilter | None = None
        self.outbox: Outbox | None = None
        self.port: int | None = None
        self.metrics_port: int | None = None
        self._broker = broker if broker is not None or not settings.gateway_kafka else kafka(settings)
        self._keys = KeyFile(settings.gateway_keys)
        self._server: Server | None = None
        self._serving = False
        self._stopped = False
        self._keys_fault = ""
        self._followed: dict[str, str] = {}

    def stop(self) -> None:
        """Ask it to take no more requests, answer those in hand, publish what is queued, and return from `run`."""
        self._stopped = True
        if self._server is not None:
            self._server.should_exit = True

    async def run(self, *, on_serving: Callable[[], Awaitable[None] | None] | None = None) -> None:
        """Serve until stopped. Raises what makes a start impossible."""
        settings = self.settings
        self._read_keys(starting=True)
        listening = listen(
            settings.gateway_host, settings.gateway_port, whose="the gateway", options="--host or --port"
        )
        self.port = listening.getsockname()[1]
        async with AsyncExitStack() as stack:
            stack.callback(listening.close)
            policy = LivePolicy(settings, metrics=self.metrics)
            first_lists = listing.first_lists(settings, self.clock)
            models = HotModels(settings, metrics=self.metrics, clock=self.clock)
            stack.callback(models.close)
            metrics_server = MetricsServer(
                self.metrics,
                host=settings.metrics_host,
                port=settings.metrics_port,
                alive=tuple,
                ready=self._waiting_for,
                degraded=self._degraded,
            )
            stack.callback(metrics_server.close)
            self.metrics_port = metrics_server.port
            engine = self.engine = live_filter(
                settings, models.holder, policy=policy.first, lists=first_lists, metrics=self.metrics, clock=self.clock
            )
            stack.callback(engine.close)
            models.describe()
            policy.describe()
            published = await self._published(stack)
            shadow = Shadow(engine, metrics=self.metrics)
            stack.push_async_callback(shadow.close)
            ageing = Ageing(models.expectation, metrics=self.metrics, clock=self.clock)
            opt_outs = None
            if self._broker is not None:
                opt_outs = optouts.opt_outs(
                    settings, engine, self._broker, metrics=self.metrics, clock=self.clock, degraded=self._followed
                )
            await stack.enter_async_context(optouts.running(opt_outs))

            def decided(requests: Sequence[Request], decisions: Sequence[Decision]) -> None:
                shadow.offer(requests, decisions)
                ageing.offer(requests, decisions)
                if opt_outs is not None:
                    opt_outs.heard(requests, decisions)

            answering = Answering(
                engine,
                metrics=self.metrics,
                clock=self.clock,
                published=published,
                fails_open=settings.gateway_fail == "open",
                keeps_blocked=settings.gateway_keeps_blocked,
                most_waiting=settings.gateway_max_waiting,
                on_decided=decided,
            )
            gateway = self._http(answering)
            self.metrics.gauge_from("spamguard_gateway_waiting", lambda: float(answering.waiting))
            self.metrics.gauge_from("spamguard_ready", lambda: float(not self._waiting_for()))
            control = ControlFollower(
                engine, follow=self._follow, look=control_file(settings).look, metrics=self.metrics, clock=self.clock
            )
            await stack.enter_async_context(control.following())
            await models.look(engine.controls.model)  # a model that is ordered decides from the first answer on
            followed = models.follow(shadow if settings.shadow else None, ordered=lambda: engine.controls.model)
            heard = await self._follow_lists(stack, engine)
            file = listing.follow_file(settings, engine, self.clock, superseded=heard)
            server = self._server = Server(gateway.app, max_connections=settings.gateway_max_connections)
            jobs = (
                answering.run(),
                followed,
                policy.follow(engine),
                file,
                self._follow_keys(),
            )
            for job in jobs:
                self._while_serving(stack, asyncio.create_task(job), server)
            if self._stopped:
                return
            self._serving = True
            log.info("gateway_serving", host=settings.gateway_host, port=self.port, metrics_port=self.metrics_port,
                     kafka=published is not None, keys=self.access.open_keys)  # fmt: skip
            if not self.access.open_keys:
                log.warning("no_keys", next_step="spamguard gateway keys add")
            if on_serving is not None and (waiting := on_serving()) is not None:
                await waiting
            await server.serve(sockets=[listening])
            self._serving = False
        log.info("gateway_stopped")

    def _http(self, answering: Answering) -> Gateway:
        settings = self.settings
        return Gateway(
            answering,
            self.access,
            limits=Limits(
                max_body_bytes=settings.gateway_max_body_bytes,
                max_messages=settings.gateway_max_messages,
                deadline_s=settings.gateway_deadline_ms / 1000,
            ),
            metrics=self.metrics,
            clock=self.clock,
            version=__version__,
            fails_open=settings.gateway_fail == "open",
            alive=tuple,
            ready=self._waiting_for,
            degraded=self._degraded,
        )

    def _while_serving(self, stack: AsyncExitStack, task: asyncio.Task[None], server: Server) -> None:
        """Run a job beside the server; when it breaks, so does the process, which is better than half of one."""

        def ended(done: asyncio.Task[None]) -> None:
            if not done.cancelled() and done.exception() is not None:
                log.error("gateway_job_failed", error=type(done.exception()).__name__)
                server.should_exit = True

        async def end() -> None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

        task.add_done_callback(ended)
        stack.push_async_callback(end)

    async def _published(self, stack: AsyncExitStack) -> Published | None:
        """Return where decisions and review copies go, None without Kafka. Raises TopicUnfit or BrokerUnavailable."""
        if self._broker is None:
            return None
        settings, admin = self.settings, self._broker.admin()
        topics = [settings.decisions_topic, settings.review_topic]
        try:
            partitions = await admin.partitions(topics)
        finally:
            await admin.close()
        if missing := [topic for topic in topics if topic not in partitions]:
            raise TopicUnfit(detail=f"{' and '.join(missing)} does not exist" if len(missing) == 1 else
                             f"{' and '.join(missing)} do not exist")  # fmt: skip
        producer = self._broker.producer()
        await producer.start()
        stack.push_async_callback(producer.stop)
        outbox = self.outbox = Outbox(producer, clock=self.clock, on_lost=self._lost)
        sending = asyncio.create_task(outbox.run())

        async def end() -> None:
            await outbox.drained()
            sending.cancel()
            await asyncio.wait([sending])

        stack.push_async_callback(end)
        return Published(
            outbox,
            settings.decisions_topic,
            settings.review_topic,
            partitions[settings.decisions_topic],
            partitions[settings.review_topic],
        )

    async def _follow(self) -> AsyncGenerator[Sequence[Record]]:
        """Follow the control topic; without Kafka there is none, and the control file alone switches."""
        if self._broker is None:
            yield []
            await asyncio.Event().wait()
        else:
            async with aclosing(self._broker.follow(self.settings.control_topic)) as batches:
                async for batch in batches:
                    yield batch

    async def _follow_lists(self, stack: AsyncExitStack, engine: LiveFilter) -> Callable[[], bool]:
        """Follow the lists topic, where there is Kafka; return what says whether it was read, and so counts."""
        broker, topic = self._broker, self.settings.lists_topic
        if broker is None:
            return lambda: False
        lists = ListFollower(
            engine,
            reader=lambda: broker.reader(topic),
            topic=topic,
            metrics=self.metrics,
            clock=self.clock,
            degraded=self._followed,
        )
        await stack.enter_async_context(lists.following())
        return lambda: lists.heard

    async def _follow_keys(self) -> None:
        while True:
            await asyncio.sleep(KEYS_EVERY_S)
            self._read_keys()

    def _read_keys(self, *, starting: bool = False) -> None:
        """Take the file's keys; while it cannot be read, the last good ones stay. Raises ConfigError at a start."""
        if not self._keys.changed():
            return
        before = self.access.open_keys
        try:
            self.access.let_in(self._keys.read())
        except ConfigError as error:
            if starting:
                raise
            self._keys_fault = "the file of keys cannot be read; the last good keys stay"
            log.error("keys_unreadable", why=str(error))
            return
        self._keys_fault = ""
        if not starting:
            log.info("keys_read", keys=self.access.open_keys, before=before)

    def _waiting_for(self) -> list[str]:
        if self._stopped:
            return ["the gateway is stopping"]
        return [] if self._serving else ["the gateway is starting"]

    def _degraded(self) -> list[str]:
        found = [*self._followed.values(), *([self._keys_fault] if self._keys_fault else [])]
        if not self.access.open_keys:
            found.append("there is no key, so nobody can ask: spamguard gateway keys add")
        if self.outbox is not None and self.outbox.hangs():
            found.append("the brokers do not acknowledge; blocks pass as allow, degraded")
        if self._broker is None and not self.settings.gateway_keeps_blocked:
            found.append("without Kafka no block could be undone; blocks pass as allow, degraded")
        return found

    def _lost(self, topic: str, number: int) -> None:
        self.metrics.count("spamguard_gateway_unpublished_total", number, topic=topic)
