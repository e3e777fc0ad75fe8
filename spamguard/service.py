"""How is the whole put together? The one place where settings, backends and layers meet.

Everything else receives what it needs. `Worker` is the running service; `offline_filter` is the same engine without a
broker, for commands that judge what they are given.
"""

import asyncio
import ctypes
import gc
import math
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

import structlog

from spamguard import __version__
from spamguard.backends import artifacts, registry, samples
from spamguard.backends.clock import SystemClock
from spamguard.backends.control_file import ControlFile
from spamguard.backends.following import FollowedModel
from spamguard.backends.kafka.broker import KafkaBroker
from spamguard.backends.kafka.connection import KafkaConfig
from spamguard.backends.memory import MemoryBroker
from spamguard.backends.prometheus import MetricsServer, PrometheusMetrics
from spamguard.config import Settings
from spamguard.core.codec import encode
from spamguard.core.decide import Judge
from spamguard.core.manifest import FILE_NAME, Manifest
from spamguard.core.policy import PRESETS, Policy
from spamguard.engine.breaker import Breaker, Breakers, Limits
from spamguard.engine.control import Controls
from spamguard.engine.filter import LiveFilter
from spamguard.engine.holder import ModelHolder, ready_judge
from spamguard.engine.shadow import Shadow
from spamguard.engine.watching import ModelWatch, ReadyModel, load_ready
from spamguard.errors import AliasNotMoved, BrokerUnavailable, SpamguardError, TopicUnfit
from spamguard.interfaces import Admin, Broker, Clock
from spamguard.stream.control import ControlFollower
from spamguard.stream.deciding import DecidingHandler, Topics
from spamguard.stream.flood import DeadLetterFlood
from spamguard.stream.health import Health
from spamguard.stream.loop import StreamLoop
from spamguard.stream.sampling import ShadowSamples
from spamguard.types import Order, Outgoing, Partition

log = structlog.get_logger()

#: The interpreter hands the lock over after this long. Its default of 5 ms lets a scoring slice delay every heartbeat
#: and fetch by that much; docs/why.md has the latencies measured under both.
SWITCH_INTERVAL_S: Final = 0.0005


def models_folder(settings: Settings) -> Path:
    """Return the folder of models: the configured one, or the shipped ones."""
    return settings.models or registry.shipped_models()


#: What is checked of a model last: that it fits this release, its arrays fit together, and the self-tests hold.
LOADS: Final = "arrays and self-tests"


class KnownModel(NamedTuple):
    """A model in the folder of models."""

    name: str  #: name/version
    folder: Path
    aliases: tuple[str, ...]


def known_models(settings: Settings) -> list[KnownModel]:
    """Return the models in the folder of models, whatever state they are in. Raises ModelRejected for bad aliases."""
    root = models_folder(settings)
    aliases = registry.read_aliases(root)
    found = [(f"{folder.parent.name}/{folder.name}", folder) for folder in registry.model_folders(root)]
    return [
        KnownModel(name, folder, tuple(sorted(alias for alias, target in aliases.items() if target == name)))
        for name, folder in found
    ]


def model_folder(settings: Settings) -> Path:
    """Return the folder of the configured model. Raises ModelNotFound."""
    return registry.resolve(settings.model, models_folder(settings))


def read_manifest(folder: Path) -> Manifest:
    """Return what a model says of itself, nothing of it checked. Raises ModelNotFound or ModelRejected."""
    return artifacts.read_manifest(folder)


def verify_model(folder: Path) -> Iterator[tuple[str, SpamguardError | None]]:
    """Yield everything that is checked of a model, with what is wrong with it: manifest, files, and how it loads."""
    try:
        manifest = artifacts.read_manifest(folder)
    except SpamguardError as error:
        yield FILE_NAME, error
        return
    yield FILE_NAME, None
    sound = True
    for name, digest in manifest.files.items():
        try:
            artifacts.read_file(folder, name, digest)
            yield name, None
        except SpamguardError as error:
            sound = False
            yield name, error
    if sound:
        try:
            ready_judge(*artifacts.read(folder))
            yield LOADS, None
        except SpamguardError as error:
            yield LOADS, error


def load_judge(settings: Settings) -> tuple[Judge, Manifest]:
    """Return the configured model, every digest and self-test checked. Raises ModelNotFound or ModelRejected."""
    manifest, arrays = artifacts.read(model_folder(settings))
    return ready_judge(manifest, arrays), manifest


def promote_model(settings: Settings, reference: str, *, alias: str, who: str, reason: str) -> registry.Move | None:
    """Let an alias stand for a model that passed every check; None when it already does.

    Raises ModelNotFound or ModelRejected for a model that is not fit, AliasNotMoved.
    """
    root = models_folder(settings)
    folder = registry.resolve(reference, root).absolute()
    name = f"{folder.parent.name}/{folder.name}"
    if not registry.names(root, name, folder):
        raise AliasNotMoved(alias=alias, detail=f"{folder} is no model of {root}, and an alias names nothing else")
    return _move(root, alias, name, kind="promote", who=who, reason=reason)


def roll_back(settings: Settings, *, alias: str, who: str, reason: str) -> registry.Move:
    """Let an alias stand for what it stood for before. Raises as `promote_model` does."""
    root = models_folder(settings)
    current = registry.read_aliases(root).get(alias)
    target = registry.previous(alias, current, registry.read_history(root))
    if target is None:
        raise AliasNotMoved(
            alias=alias, detail="its history knows nothing it stood for before; promote a model by name"
        )
    move = _move(root, alias, target, kind="rollback", who=who, reason=reason)
    if move is None:
        raise AliasNotMoved(alias=alias, detail=f"somebody else moved it to {target} meanwhile")
    return move


def _move(
    root: Path, alias: str, name: str, *, kind: Literal["promote", "rollback"], who: str, reason: str
) -> registry.Move | None:
    ready_judge(*artifacts.read(root / name))
    if registry.read_aliases(root).get(alias) == name:
        return None
    at = datetime.fromtimestamp(SystemClock().now(), UTC).isoformat(timespec="seconds")
    return registry.move_alias(root, alias, name, at=at, who=who, reason=reason, kind=kind)


def login_name() -> str:
    """Return who is at the command line."""
    return registry.login_name()


def alias_history(settings: Settings) -> tuple[list[registry.Move], Mapping[str, str]]:
    """Return every move of an alias, oldest first, and what each stands for now. Raises ModelRejected."""
    root = models_folder(settings)
    return registry.read_history(root), registry.read_aliases(root)


def policy_of(settings: Settings) -> Policy:
    """Return the policy the settings describe."""
    return Policy(
        name=settings.preset,
        blocked=PRESETS[settings.preset],
        mode=settings.mode,
        late_after_s=settings.late_after_s,
    )


def limits_of(settings: Settings) -> Limits:
    """Return when breakers open and close."""
    return Limits(
        ratio=settings.breaker_ratio,
        floor=settings.breaker_floor,
        ceiling=settings.breaker_ceiling,
        min_messages=settings.breaker_min_messages,
        cool_down_s=settings.breaker_cool_down_s,
    )


def kafka(settings: Settings) -> KafkaBroker:
    """Return the configured Kafka."""
    return KafkaBroker(
        KafkaConfig(
            brokers=settings.brokers,
            request_timeout_s=settings.request_timeout_s,
            session_timeout_s=settings.session_timeout_s,
            rebalance_timeout_s=settings.rebalance_timeout_s,
            security_protocol=settings.security_protocol,
            sasl_mechanism=settings.sasl_mechanism,
            sasl_username=settings.sasl_username,
            sasl_password=settings.sasl_password,
            ssl_cafile=None if settings.ssl_cafile is None else str(settings.ssl_cafile),
        )
    )


def offline_filter(settings: Settings, *, clock: Clock | None = None) -> LiveFilter:
    """Return the engine alone, for commands that judge what they are given; nobody waits, so nothing is late."""
    judge, _ = load_judge(settings)
    policy = policy_of(settings.model_copy(update={"late_after_s": math.inf}))
    return LiveFilter(ModelHolder(judge), clock=clock or SystemClock(), code_version=__version__, policy=policy)


def needed_topics(settings: Settings) -> tuple[str, ...]:
    """Return the topics the service reads and writes, the inbound one first."""
    return settings.inbound_topic, settings.decisions_topic, settings.review_topic, settings.dead_letter_topic


async def create_topics(settings: Settings, admin: Admin, topics: Mapping[str, int]) -> None:
    """Create topics; the control topic has one partition and keeps the last order of every switch."""
    control = settings.control_topic
    configs = {control: {"cleanup.policy": "compact"}} if control in topics else {}
    await admin.create({topic: 1 if topic == control else number for topic, number in topics.items()}, configs=configs)


def control_file(settings: Settings) -> ControlFile:
    """Return the control file on this machine; the workers on others look at their own."""
    return ControlFile(settings.control_file)


async def read_controls(settings: Settings, *, broker: Broker | None = None) -> Controls:
    """Return what the control topic says now. Raises TopicUnfit or BrokerUnavailable."""
    controls = Controls()
    async with aclosing((broker or kafka(settings)).follow(settings.control_topic)) as batches:
        async for batch in batches:
            for record in batch:
                with suppress(ValueError):
                    controls = controls.told((record.key or b"").decode("utf-8", "replace"), record.value)
            break
    return controls


async def give_order(settings: Settings, key: str, order: Order, *, broker: Broker | None = None) -> None:
    """Write an order to the control topic and return when it is acknowledged.

    Raises TopicUnfit, BrokerUnavailable or PublishFailed.
    """
    broker = broker or kafka(settings)
    admin, producer = broker.admin(), broker.producer()
    try:
        if settings.control_topic not in await admin.partitions([settings.control_topic]):
            raise TopicUnfit(detail=f"{settings.control_topic} does not exist")
        await producer.start()
        async with asyncio.timeout(settings.request_timeout_s):
            order_record = Outgoing(key=key.encode(), value=encode(order))
            await producer.publish(Partition(settings.control_topic, 0), [order_record])
    except TimeoutError:
        detail = f"no acknowledgement within {settings.request_timeout_s:g} s; the order may still arrive"
        raise BrokerUnavailable(address=settings.brokers, detail=detail) from None
    finally:
        await producer.stop()
        await admin.close()


def topic_faults(settings: Settings, partitions: Mapping[str, int]) -> list[str]:
    """Return what is wrong with the topics, given how many partitions those that exist have."""
    faults = [f"{topic} does not exist" for topic in needed_topics(settings) if topic not in partitions]
    inbound, decisions = partitions.get(settings.inbound_topic), partitions.get(settings.decisions_topic)
    if inbound is not None and decisions is not None and decisions < inbound:
        faults.append(
            f"{settings.decisions_topic} has {decisions} partitions and {settings.inbound_topic} has {inbound}; "
            "a decision keeps its record's partition, so it needs at least as many"
        )
    return faults


async def fit_topics(settings: Settings, admin: Admin) -> Topics:
    """Return where outcomes go. Raises TopicUnfit or BrokerUnavailable."""
    partitions = await admin.partitions(needed_topics(settings))
    faults = topic_faults(settings, partitions)
    if faults:
        raise TopicUnfit(detail="; ".join(faults))
    return Topics(
        decisions=settings.decisions_topic,
        review=settings.review_topic,
        dead_letter=settings.dead_letter_topic,
        review_partitions=partitions[settings.review_topic],
        dead_letter_partitions=partitions[settings.dead_letter_topic],
    )


def sample_messages() -> Path:
    """Return the file of invented messages that comes with spamguard. Raises DataError."""
    return samples.sample_messages()


def memory_broker(settings: Settings, *, partitions: int) -> MemoryBroker:
    """Return a broker in this process's memory that holds the configured topics."""
    return MemoryBroker({**dict.fromkeys(needed_topics(settings), partitions), settings.control_topic: 1})


def give_memory_back() -> None:
    """Return to the system what a replaced model leaves free; glibc keeps it else, and every swap would cost more."""
    with suppress(OSError, AttributeError):  # other C libraries have no such call, and no such habit
        ctypes.CDLL(None).malloc_trim(0)


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
        self._manifest: Manifest | None = None
        self._loading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="models")
        self._reloaded_lately = False
        self._broker = broker or kafka(settings)
        self._loop: StreamLoop | None = None
        self._stopped = False
        self._open_breakers = 0

    def stop(self) -> None:
        """Ask the worker to finish the batch in hand, commit, leave the group and return from `run`."""
        self._stopped = True
        self.health.stopping = True
        if self._loop is not None:
            self._loop.stop()

    async def run(self, *, on_serving: Callable[[], Awaitable[None] | None] | None = None) -> None:
        """Serve until stopped. Raises what makes a start impossible; the metrics answer from the first moment."""
        source = FollowedModel(self.settings.model, models_folder(self.settings))
        ready = load_ready(source)
        server = MetricsServer(
            self.metrics,
            host=self.settings.metrics_host,
            port=self.settings.metrics_port,
            alive=self._not_alive,
            ready=self.health.waiting_for,
            degraded=self._degraded,
        )
        self.metrics_port = server.port
        engine = LiveFilter(
            ModelHolder(ready.judge),
            clock=self.clock,
            code_version=__version__,
            policy=policy_of(self.settings),
            breakers=Breakers(limits_of(self.settings), enabled=self.settings.breaker, on_turn=self._breaker_turned),
            on_failure=self._scoring_failed,
        )
        try:
            self._describe(ready.manifest)
            watch = self._champion_watch(engine, source, in_use=ready.digest)
            del ready  # or the first model would stay in memory for ever
            await self._serve(engine, watch, on_serving)
        finally:
            self._loading.shutdown(wait=False, cancel_futures=True)
            engine.close()
            server.close()

    async def _serve(
        self, engine: LiveFilter, watch: ModelWatch, on_serving: Callable[[], Awaitable[None] | None] | None
    ) -> None:
        control = ControlFollower(
            engine,
            follow=lambda: self._broker.follow(self.settings.control_topic),
            look=control_file(self.settings).look,
            metrics=self.metrics,
            clock=self.clock,
        )
        admin, producer = self._broker.admin(), self._broker.producer()
        samples: ShadowSamples | None = None
        shadow: Shadow | None = None
        following: asyncio.Task[None] | None = None
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
            watches = [watch, *([self._challenger_watch(shadow)] if self.settings.shadow else [])]
            handler = DecidingHandler(
                engine,
                producer,
                topics=topics,
                metrics=self.metrics,
                clock=self.clock,
                on_decided=shadow.offer,
                flood=self.flood,
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
            following = asyncio.create_task(self._follow(watches))
            async with control.following():
                await self._loop.run()
        finally:
            if following is not None:
                following.cancel()
                await asyncio.wait([following])
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

    async def _follow(self, watches: Sequence[ModelWatch]) -> None:
        """Look after the models, one after the other, so that no two are loaded at once."""
        loop = asyncio.get_running_loop()
        while True:
            for watch in watches:
                await watch.look()
            await asyncio.sleep(self.settings.model_poll_s)
            if self._reloaded_lately:
                self._reloaded_lately = False
                await loop.run_in_executor(self._loading, give_memory_back)

    def _champion_watch(self, engine: LiveFilter, source: FollowedModel, *, in_use: str) -> ModelWatch:
        def swap(ready: ReadyModel, took_s: float) -> None:
            before = engine.holder.judge.name
            engine.holder.swap(ready.judge)
            self._show(ready.manifest, before=before)
            self._reloaded("champion", took_s)
            log.info("model_swapped", model=ready.judge.name, before=before, took_s=round(took_s, 3))

        return ModelWatch(
            source,
            clock=self.clock,
            on_ready=swap,
            on_refused=lambda why: self._refused("champion", why),
            on_well=lambda: self.metrics.gauge("spamguard_model_rejected", 0, role="champion"),
            in_use=in_use,
            executor=self._loading,
        )

    def _challenger_watch(self, shadow: Shadow) -> ModelWatch:
        def adopt(ready: ReadyModel | None) -> None:
            if shadow.challenger is not None:
                self.metrics.forget("spamguard_shadow_info", model=shadow.challenger.name)
            shadow.challenger = None if ready is None else ready.judge
            if ready is not None:
                self.metrics.gauge("spamguard_shadow_info", 1, model=ready.judge.name)
            log.info("shadow_changed", model=None if ready is None else ready.judge.name)

        def swap(ready: ReadyModel, took_s: float) -> None:
            adopt(ready)
            self._reloaded("challenger", took_s)

        self.metrics.gauge("spamguard_model_rejected", 0, role="challenger")
        return ModelWatch(
            FollowedModel(registry.CHALLENGER, models_folder(self.settings), optional=True),
            clock=self.clock,
            on_ready=swap,
            on_refused=lambda why: self._refused("challenger", why),
            on_well=lambda: self.metrics.gauge("spamguard_model_rejected", 0, role="challenger"),
            on_gone=lambda: adopt(None),
            executor=self._loading,
        )

    def _reloaded(self, role: str, took_s: float) -> None:
        self._reloaded_lately = True
        self.metrics.count("spamguard_model_reloads_total", role=role, outcome="swapped")
        self.metrics.observe("spamguard_model_swap_seconds", [took_s])

    def _refused(self, role: str, why: str) -> None:
        self.metrics.count("spamguard_model_reloads_total", role=role, outcome="rejected")
        self.metrics.gauge("spamguard_model_rejected", 1, role=role)
        log.error("model_rejected", role=role, why=why)

    def _show(self, manifest: Manifest, *, before: str | None = None) -> None:
        """Let the metrics name the deciding model and no other."""
        self._manifest = manifest
        if before is not None:
            self.metrics.forget("spamguard_model_info", model=before, code_version=__version__)
        self.metrics.gauge("spamguard_model_info", 1, model=manifest.full_name, code_version=__version__)

    def _model_age_s(self) -> float:
        created = datetime.fromisoformat(self._manifest.created) if self._manifest else datetime.now(UTC)
        return (datetime.fromtimestamp(self.clock.now(), UTC) - created).total_seconds()

    def _describe(self, manifest: Manifest) -> None:
        """Warm the model up and let the gauges tell of it."""
        self.health.model_warm = True
        metrics = self.metrics
        self._show(manifest)
        metrics.gauge("spamguard_model_rejected", 0, role="champion")
        metrics.gauge_from("spamguard_ready", lambda: float(not self.health.waiting_for()))
        metrics.gauge_from("spamguard_seconds_since_poll", lambda: self.health.seconds_since_poll)
        metrics.gauge_from("spamguard_model_age_seconds", self._model_age_s)
        metrics.gauge_from("spamguard_dead_letter_flood", lambda: float(self.flood.look()))
        log.info("model_warm", model=manifest.full_name, features=manifest.features, created=manifest.created)

    def _not_alive(self) -> Sequence[str]:
        stuck_s = max(self.health.seconds_of_batch, self.health.seconds_since_poll)
        return () if self.health.alive() else (f"no poll came back for {stuck_s:.0f} s",)

    def _breaker_turned(self, tenant: str, breaker: Breaker) -> None:
        """Say that a tenant's breaker opened or closed."""
        rates = {"tenant": tenant, "rate": round(breaker.rate, 4), "baseline": round(breaker.baseline, 4)}
        if breaker.opened_s is None:
            self._open_breakers -= 1
            log.warning("breaker_closed", **rates)
        else:
            self._open_breakers += 1
            log.error("breaker_opened", **rates)
        self.metrics.gauge("spamguard_breaker_open", self._open_breakers)

    def _degraded(self) -> Sequence[str]:
        """Return why the worker does less than it should, though it is ready."""
        self.flood.look()
        return [f"{name}: {sentence}" for name, sentence in list(self.health.degraded.items())]

    def _scoring_failed(self, message_id: str, error: str) -> None:
        self.metrics.count("spamguard_scoring_failures_total", error=error)
        log.error("scoring_failed", message_id=message_id, error=error)


def run_until_stopped(worker: Worker) -> None:
    """Run a worker as this process's main job: uvloop, signals, and a collector that leaves the model alone."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        await worker.run(on_serving=_settle)

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main())


def _settle() -> None:
    """Keep what was loaded so far out of every later garbage collection."""
    gc.collect()
    gc.freeze()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the faster event loop, where there is one."""
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None
