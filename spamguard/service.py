"""How is the whole put together? The one place where settings, backends and layers meet.

Everything else receives what it needs. `Worker` is the running service; `offline_filter` is the same engine without a
broker, for commands that judge what they are given.
"""

import asyncio
import gc
import math
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from spamguard import __version__
from spamguard.backends import artifacts, registry, samples
from spamguard.backends.clock import SystemClock
from spamguard.backends.kafka import KafkaBroker, KafkaConfig
from spamguard.backends.memory import MemoryBroker
from spamguard.backends.prometheus import MetricsServer, PrometheusMetrics
from spamguard.config import Settings
from spamguard.core.decide import Judge
from spamguard.core.manifest import FILE_NAME, Manifest
from spamguard.core.policy import PRESETS, Policy
from spamguard.engine.filter import LiveFilter
from spamguard.engine.holder import ModelHolder, ready_judge
from spamguard.errors import SpamguardError, TopicUnfit
from spamguard.interfaces import Admin, Broker, Clock
from spamguard.stream.deciding import DecidingHandler, Topics
from spamguard.stream.flood import DeadLetterFlood
from spamguard.stream.health import Health
from spamguard.stream.loop import StreamLoop
from spamguard.types import Mode

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


def policy_of(settings: Settings) -> Policy:
    """Return the policy the settings describe."""
    return Policy(
        name=settings.preset,
        blocked=PRESETS[settings.preset],
        mode=settings.mode,
        late_after_s=settings.late_after_s,
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
    return MemoryBroker(dict.fromkeys(needed_topics(settings), partitions))


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
        judge, manifest = load_judge(self.settings)
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
            ModelHolder(judge),
            clock=self.clock,
            code_version=__version__,
            policy=policy_of(self.settings),
            on_failure=self._scoring_failed,
        )
        try:
            self._describe(manifest)
            await self._serve(engine, on_serving)
        finally:
            engine.close()
            server.close()

    async def _serve(self, engine: LiveFilter, on_serving: Callable[[], Awaitable[None] | None] | None) -> None:
        admin, producer = self._broker.admin(), self._broker.producer()
        try:
            topics = await fit_topics(self.settings, admin)
            await producer.start()
            handler = DecidingHandler(
                engine, producer, topics=topics, metrics=self.metrics, clock=self.clock, flood=self.flood
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
            await self._loop.run()
        finally:
            await producer.stop()
            await admin.close()
            log.info("stopped")

    def _describe(self, manifest: Manifest) -> None:
        """Warm the model up and let the gauges tell of it."""
        self.health.model_warm = True
        created = datetime.fromisoformat(manifest.created)
        metrics = self.metrics
        metrics.gauge("spamguard_model_info", 1, model=manifest.full_name, code_version=__version__)
        metrics.gauge("spamguard_enforcing", float(self.settings.mode is Mode.ENFORCE))
        metrics.gauge_from("spamguard_ready", lambda: float(not self.health.waiting_for()))
        metrics.gauge_from("spamguard_seconds_since_poll", lambda: self.health.seconds_since_poll)
        metrics.gauge_from("spamguard_dead_letter_flood", lambda: float(self.flood.look()))
        metrics.gauge_from(
            "spamguard_model_age_seconds",
            lambda: (datetime.fromtimestamp(self.clock.now(), UTC) - created).total_seconds(),
        )
        log.info("model_warm", model=manifest.full_name, features=manifest.features, created=manifest.created)

    def _not_alive(self) -> Sequence[str]:
        stuck_s = max(self.health.seconds_of_batch, self.health.seconds_since_poll)
        return () if self.health.alive() else (f"no poll came back for {stuck_s:.0f} s",)

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
