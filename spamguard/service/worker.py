"""How is the running service put together?"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from spamguard.backends.clock import SystemClock
from spamguard.backends.prometheus import MetricsServer, PrometheusMetrics
from spamguard.config import Settings
from spamguard.core.decide import Request
from spamguard.engine.ageing import Ageing
from spamguard.engine.filter import LiveFilter
from spamguard.engine.shadow import Shadow
from spamguard.interfaces import Admin, Broker, Clock
from spamguard.service import listing, optouts
from spamguard.service.hot_models import HotModels
from spamguard.service.judging import live_filter
from spamguard.service.optouts import running
from spamguard.service.orders import control_file
from spamguard.service.policies import LivePolicy
from spamguard.service.streams import OutcomeProducer, fit_topics, kafka
from spamguard.stream.control import ControlFollower
from spamguard.stream.deciding import DecidingHandler
from spamguard.stream.flood import DeadLetterFlood
from spamguard.stream.health import Health
from spamguard.stream.lists import ListFollower
from spamguard.stream.loop import StreamLoop
from spamguard.stream.lot import Lot
from spamguard.stream.sampling import ShadowSamples
from spamguard.types import Decision

log = structlog.get_logger()


class Worker:
    """One process's worth of the service: joins the group, decides, publishes, answers probes."""

    def __init__(
        self,
        settings: Settings,
        *,
        broker: Broker | None = None,
        metrics: PrometheusMetrics | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.metrics = metrics or PrometheusMetrics()
        self.health = Health(self.clock)
        self.flood = DeadLetterFlood(settings.dead_letter_flood, clock=self.clock, degraded=self.health.degraded)
        self.metrics_port: int | None = None
        self.shadow: Shadow | None = None
        self._broker = broker or kafka(settings)
        self._loop: StreamLoop | None = None
        self._stopped = False

    def stop(self) -> None:
        """Ask the worker to finish the batch in hand, commit, leave the group and return from `run`."""
        self._stopped = True
        self.health.stopping = True
        if self._loop is not None:
            self._loop.stop()

    async def run(self, *, on_serving: Callable[[], Awaitable[None] | None] | None = None) -> None:
        """Serve until stopped. Raises what makes a start impossible; the metrics answer from the first moment."""
        policy = LivePolicy(self.settings, metrics=self.metrics)
        lists = listing.first_lists(self.settings, self.clock)
        models = HotModels(self.settings, metrics=self.metrics, clock=self.clock)
        server = MetricsServer(
            self.metrics,
            host=self.settings.metrics_host,
            port=self.settings.metrics_port,
            alive=self._not_alive,
            ready=self.health.waiting_for,
            degraded=self._degraded,
        )
        self.metrics_port = server.port
        engine = live_filter(
            self.settings, models.holder, policy=policy.first, lists=lists, metrics=self.metrics, clock=self.clock
        )
        try:
            models.describe()
            policy.describe()
            self._tell()
            await self._serve(engine, models, policy, on_serving)
        finally:
            models.close()
            engine.close()
            server.close()

    async def _serve(
        self,
        engine: LiveFilter,
        models: HotModels,
        policy: LivePolicy,
        on_serving: Callable[[], Awaitable[None] | None] | None,
    ) -> None:
        control = ControlFollower(
            engine,
            follow=lambda: self._broker.follow(self.settings.control_topic),
            look=control_file(self.settings).look,
            metrics=self.metrics,
            clock=self.clock,
        )
        lists = ListFollower(
            engine,
            reader=lambda: self._broker.reader(self.settings.lists_topic),
            topic=self.settings.lists_topic,
            metrics=self.metrics,
            clock=self.clock,
            degraded=self.health.degraded,
        )
        admin, producer = self._broker.admin(), OutcomeProducer(self._broker, self.settings)
        opt_outs = optouts.opt_outs(
            self.settings, engine, self._broker, metrics=self.metrics, clock=self.clock, degraded=self.health.degraded
        )
        samples: ShadowSamples | None = None
        shadow: Shadow | None = None
        following: list[asyncio.Task[None]] = []
        try:
            topics = await fit_topics(self.settings, admin)
            await producer.start()
            samples = await self._shadow_samples(admin)
            shadow = self.shadow = Shadow(
                engine,
                metrics=self.metrics,
                sample=self.settings.shadow_sample,
                on_sample=samples.publish if samples else None,
            )
            ageing = Ageing(models.expectation, metrics=self.metrics, clock=self.clock)

            def decided(requests: Sequence[Request], decisions: Sequence[Decision]) -> None:
                shadow.offer(requests, decisions)
                ageing.offer(requests, decisions)
                if opt_outs is not None:
                    opt_outs.heard(requests, decisions)

            handler = DecidingHandler(
                engine,
                producer,
                topics=topics,
                metrics=self.metrics,
                clock=self.clock,
                on_decided=decided,
                flood=self.flood,
                lot=Lot(self.settings.review_sample, self.settings.review_sample_person_to_person),
            )
            consumer = self._broker.consumer(
                [self.settings.inbound_topic], group=self.settings.group, member=self.settings.member
            )
            self._loop = StreamLoop(
                consumer,
                handler,
                health=self.health,
                metrics=self.metrics,
                clock=self.clock,
                max_records=self.settings.max_records,
            )
            if self._stopped:
                return
            log.info("serving", metrics_port=self.metrics_port, topic=self.settings.inbound_topic)
            if on_serving is not None and (waiting := on_serving()) is not None:
                await waiting
            following.append(asyncio.create_task(policy.follow(engine)))
            file = listing.follow_file(self.settings, engine, self.clock, superseded=lambda: lists.heard)
            following.append(asyncio.create_task(file))
            async with control.following(), lists.following(), running(opt_outs):
                await models.look(engine.controls.model)  # a model that is ordered decides from the first batch on
                followed = models.follow(
                    shadow if self.settings.shadow else None, ordered=lambda: engine.controls.model
                )
                following.append(asyncio.create_task(followed))
                await self._loop.run()
        finally:
            for task in following:
                task.cancel()
            if following:
                await asyncio.wait(following)
            if shadow is not None:
                await shadow.close()
            await asyncio.gather(producer.stop(), *([samples.close()] if samples else []))  # slow while Kafka is away
            await admin.close()
            log.info("stopped")

    async def _shadow_samples(self, admin: Admin) -> ShadowSamples | None:
        """Return where sampled disagreements go, None when nobody made the topic or wants them."""
        topic = self.settings.shadow_topic
        if not (self.settings.shadow and self.settings.shadow_sample):
            return None
        partitions = (await admin.partitions([topic])).get(topic)
        return ShadowSamples(self._broker.producer(), topic=topic, partitions=partitions) if partitions else None

    def _tell(self) -> None:
        """Let the gauges tell of the worker's state; its model is warm."""
        self.health.model_warm = True
        metrics = self.metrics
        metrics.gauge_from("spamguard_ready", lambda: float(not self.health.waiting_for()))
        metrics.gauge_from("spamguard_seconds_since_poll", lambda: self.health.seconds_since_poll)
        metrics.gauge_from("spamguard_batch_in_hand_seconds", lambda: self.health.seconds_of_batch)
        metrics.gauge_from("spamguard_dead_letter_flood", lambda: float(self.flood.look()))

    def _not_alive(self) -> Sequence[str]:
        stuck_s = max(self.health.seconds_of_batch, self.health.seconds_since_poll)
        return () if self.health.alive() else (f"no poll came back for {stuck_s:.0f} s",)

    def _degraded(self) -> Sequence[str]:
        """Return why the worker does less than it should, though it is ready."""
        self.flood.look()
        return [f"{name}: {sentence}" for name, sentence in list(self.health.degraded.items())]
