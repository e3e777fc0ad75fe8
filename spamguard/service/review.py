"""How is the review application put together: database and keys, models, the stream, and the pages?"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from spamguard import config
from spamguard.backends import artifacts, registry
from spamguard.backends.clock import SystemClock
from spamguard.backends.listening import listen
from spamguard.backends.memory import MemoryBroker
from spamguard.backends.prometheus import MetricsServer, PrometheusMetrics
from spamguard.backends.samples import sample_messages
from spamguard.config import Settings
from spamguard.core.decide import Judge
from spamguard.engine.holder import ready_judge
from spamguard.errors import ConfigError, ModelNotFound, ModelRejected, TopicUnfit
from spamguard.interfaces import Broker, Clock
from spamguard.review import demo
from spamguard.review.database import Database, Unavailable, file_of
from spamguard.review.desk import Desk
from spamguard.review.intake import IntakeHandler
from spamguard.review.outbox import Relay
from spamguard.review.people import CHEAP
from spamguard.review.values import Rules
from spamguard.review.vault import read_keys
from spamguard.service import streams
from spamguard.service.catalogue import load_judge, models_folder, trusted_keys
from spamguard.service.policies import policy_of
from spamguard.stream.health import Health
from spamguard.stream.loop import StreamLoop

log = structlog.get_logger()

#: How often old texts are looked for, and the gauges of the backlog are renewed.
SWEEP_S: Final = 3600.0
DAY_S: Final = 86_400.0
GAUGES_S: Final = 15.0
#: The demo's pace: a few messages so often.
DRIP_S: Final = 6.0
KEPT_JUDGES: Final = 3


class Judges:
    """Models by name, loaded when they are asked for; the last few are kept."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: dict[str, Judge] = {}

    def find(self, name: str) -> Judge | None:
        """Return a model by name/version, or None when it is no longer there or not fit."""
        if name not in self._kept:
            root = models_folder(self._settings)
            folders = {f"{folder.parent.name}/{folder.name}": folder for folder in registry.model_folders(root)}
            if name not in folders:
                return None
            try:
                self._keep(name, ready_judge(*artifacts.read(folders[name], trusted_keys(self._settings))))
            except (ModelNotFound, ModelRejected):
                return None
        return self._kept[name]

    def current(self) -> Judge:
        """Return the model that decides now. Raises ModelNotFound or ModelRejected."""
        folder = registry.resolve(self._settings.model, models_folder(self._settings)).absolute()
        name = f"{folder.parent.name}/{folder.name}"
        if name not in self._kept:
            self._keep(name, load_judge(self._settings)[0])
        return self._kept[name]

    def _keep(self, name: str, judge: Judge) -> None:
        self._kept[name] = judge
        while len(self._kept) > KEPT_JUDGES:
            del self._kept[next(iter(self._kept))]


def rules_of(settings: Settings) -> Rules:
    """Return what the settings say about reviewing."""
    return Rules(
        second_share=settings.review_second_share,
        lot_share=settings.review_lot_share,
        case_due_h=settings.review_case_due_h,
        session_h=settings.review_session_h,
        keep_days=settings.review_keep_days,
    )


def database_file(settings: Settings) -> Path | None:
    """Return the file that the database is, or None when it is no file of its own."""
    return file_of(settings.review_database)


def key_file(settings: Settings) -> Path:
    """Return the file of the encryption keys: the configured one, or beside SQLite's file. Raises ConfigError."""
    if settings.review_key_file is not None:
        return settings.review_key_file
    file = database_file(settings)
    if file is None:
        raise ConfigError(detail="review_key_file must be set when the database is no file of its own")
    return file.with_suffix(".key")


def open_desk(settings: Settings, *, clock: Clock | None = None, in_earnest: bool = True) -> Desk:
    """Return the desk over the configured database. Raises DatabaseUnfit or ConfigError.

    Out of earnest, in the demo, nothing waits for the disk, and passwords are cheap to hash.
    """
    judges = Judges(settings)
    vault = read_keys(key_file(settings), create=settings.review_key_file is None)
    return Desk(
        Database(settings.review_database, durable=in_earnest),
        vault,
        clock=clock or SystemClock(),
        find_judge=judges.find,
        current_judge=judges.current,
        rules=rules_of(settings),
        policy=policy_of(settings),
        hasher=None if in_earnest else CHEAP,
    )


def demo_settings(settings: Settings, folder: Path) -> Settings:
    """Return settings with a database of its own in a folder."""
    changed = {
        "review_database": f"sqlite:///{folder}/demo.db",
        "review_key_file": None,
        "review_second_share": 0.2,
        "review_lot_share": 0.1,
    }
    return settings.model_copy(update=changed)


def demo_desk(folder: Path, settings: Settings | None = None) -> Desk:
    """Return a desk that was worked at for weeks, in a folder; its people are `demo.PEOPLE`."""
    mine = demo_settings(settings or config.load({}, environ={}), folder)
    clock = SystemClock()
    traffic = demo_traffic(mine)
    demo.seed(lambda then: open_desk(mine, clock=then, in_earnest=False), traffic, now_s=clock.now())
    return open_desk(mine, in_earnest=False)


def demo_traffic(settings: Settings) -> demo.Traffic:
    """Return the demo's messages."""
    return demo.Traffic(sample_messages().with_name("labelled.jsonl"), load_judge(settings)[0])


class ReviewService:
    """The application in one process: pages, consumer, outbox, retention. Create it with a broker, or without one."""

    def __init__(
        self,
        settings: Settings,
        desk: Desk,
        *,
        broker: Broker | None,
        metrics: PrometheusMetrics | None = None,
        traffic: demo.Traffic | None = None,
    ) -> None:
        self.settings = settings
        self.desk = desk
        self.metrics = metrics or PrometheusMetrics()
        self.health = Health(SystemClock())
        self._broker = broker
        self._traffic = traffic
        self._loop: StreamLoop | None = None
        self._stopping = asyncio.Event()
        self._server: Any = None
        self.port = 0

    def stop(self) -> None:
        """Finish what is in hand and end `run`."""
        self._stopping.set()
        if self._loop is not None:
            self._loop.stop()
        if self._server is not None:
            self._server.should_exit = True

    async def run(self, *, pages: bool = True, on_serving: Callable[[], None] = lambda: None) -> None:
        """Serve until stopped. Raises TopicUnfit or BrokerUnavailable when the stream cannot be reached."""
        tasks = [asyncio.create_task(self._look_after())]
        try:
            if self._broker is not None:
                tasks += await self._stream(self._broker)
            if self._traffic is not None:
                tasks.append(asyncio.create_task(self._drip(self._traffic)))
            self.metrics.gauge_from("spamguard_ready", lambda: float(not self.waiting_for()))
            if pages:
                tasks.append(asyncio.create_task(self._pages(on_serving), name="pages"))
            stopping = asyncio.create_task(self._stopping.wait())
            done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            self.stop()
            for task in done - {stopping}:
                task.result()
        finally:
            for task in tasks:
                if task.get_name() not in ("consumer", "pages"):
                    task.cancel()
            await asyncio.wait(tasks)
            log.info("stopped")

    def not_alive(self) -> list[str]:
        """Return why it should be restarted; pages alone have no loop that could be stuck."""
        return [] if self._broker is None or self.health.alive() else ["no poll came back for long"]

    def waiting_for(self) -> list[str]:
        """Return what keeps the pages from being served. Kafka is not among it: people can read and decide without."""
        missing = [] if self.desk.database.answers() else ["the database does not answer"]
        if not self.port:
            missing.append("the pages are not served yet")
        return [*missing, *(["it is stopping"] if self._stopping.is_set() else [])]

    def degraded(self) -> list[str]:
        """Return what it does without."""
        if self._broker is None or self.health.joined:
            return []
        return ["the consumer group is not joined; review copies wait in their topic"]

    async def _stream(self, broker: Broker) -> list[asyncio.Task[None]]:
        settings = self.settings
        admin = broker.admin()
        wanted = (settings.review_topic, settings.released_topic, settings.labels_topic)
        try:
            partitions = await admin.partitions((*wanted, settings.shadow_topic, settings.lists_topic))
        finally:
            await admin.close()
        missing = [topic for topic in wanted if topic not in partitions]
        if missing:
            raise TopicUnfit(detail="; ".join(f"{topic} does not exist" for topic in missing))
        if settings.lists_topic not in partitions:
            log.warning("review_lists_unpublished", topic=settings.lists_topic, step="spamguard check --create-topics")
        shadow = settings.shadow_topic if settings.shadow_topic in partitions else None
        consumer = broker.consumer([settings.review_topic, *([shadow] if shadow else [])], group=settings.review_group)
        self._loop = StreamLoop(
            consumer,
            IntakeHandler(self.desk.intake, shadow_topic=shadow, metrics=self.metrics),
            health=self.health,
            metrics=self.metrics,
            clock=SystemClock(),
            max_records=settings.max_records,
        )
        producer = broker.producer()
        relay = Relay(
            self.desk.outbox,
            producer,
            released_topic=settings.released_topic,
            labels_topic=settings.labels_topic,
            lists_topic=settings.lists_topic,
            partitions=partitions,
            metrics=self.metrics,
        )

        async def publish() -> None:
            await producer.start()
            try:
                await relay.run()
            finally:
                await producer.stop()

        return [
            asyncio.create_task(self._loop.run(), name="consumer"),
            asyncio.create_task(publish(), name="outbox"),
        ]

    async def _pages(self, on_serving: Callable[[], None]) -> None:
        import uvicorn

        from spamguard.review.web.app import create_app

        class Server(uvicorn.Server):
            @contextmanager
            def capture_signals(self) -> Iterator[None]:  # the process has its own
                yield

        settings = self.settings
        app = create_app(self.desk, secure_cookies=settings.review_secure_cookies, demo=self._traffic is not None)
        options = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        server = self._server = Server(options)
        listening = listen(
            settings.review_host, settings.review_port, whose="the pages", options="--review-host or --review-port"
        )
        running = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not running.done():  # noqa: ASYNC110 - it offers no event
            await asyncio.sleep(0.02)
        if server.started:
            self.port = server.servers[0].sockets[0].getsockname()[1]
            log.info("review_serving", host=settings.review_host, port=self.port)
            on_serving()
        await running

    async def _look_after(self) -> None:
        """Delete what is old, renew the gauges, and log the audit log's head once a day."""
        clock = SystemClock()
        swept_s = headed_s = float("-inf")
        while True:
            now = clock.monotonic()
            try:
                if now - headed_s >= DAY_S:
                    await asyncio.to_thread(self.desk.audit.publish_head)
                    headed_s = now
                if now - swept_s >= SWEEP_S:
                    await asyncio.to_thread(self._sweep)
                    swept_s = now
                await asyncio.to_thread(self._count)
            except Unavailable as error:
                log.warning("review_database_away", error=type(error).__name__)
            await asyncio.sleep(GAUGES_S)

    def _sweep(self) -> None:
        swept = self.desk.retention.sweep()
        if swept.decisions or swept.cases:
            log.info("retention_swept", decisions=swept.decisions, items=swept.items, cases=swept.cases)

    def _count(self) -> None:
        self.metrics.gauge("spamguard_review_outbox", self.desk.outbox.waiting())
        self.metrics.gauge("spamguard_review_backlog", self.desk.store.backlog())
        self.metrics.gauge("spamguard_review_overdue", self.desk.cases.overdue())

    async def _drip(self, traffic: demo.Traffic) -> None:
        """Let messages come while somebody looks at the demo."""
        while True:
            await asyncio.sleep(DRIP_S)
            copies = await asyncio.to_thread(demo.later, traffic, SystemClock().now())
            await asyncio.to_thread(self.desk.intake.take, copies)


@contextmanager
def demo_service(settings: Settings) -> Iterator[ReviewService]:
    """Yield the application with a database that is gone afterwards, and a broker in memory."""
    folder = Path(tempfile.mkdtemp(prefix="spamguard-demo-"))
    try:
        mine = demo_settings(settings, folder)
        desk = demo_desk(folder, settings)
        topics = (mine.review_topic, mine.released_topic, mine.labels_topic, mine.lists_topic)
        broker = MemoryBroker(dict.fromkeys(topics, 1))
        try:
            yield ReviewService(mine, desk, broker=broker, traffic=demo_traffic(mine))
        finally:
            desk.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def service(settings: Settings, *, stream: bool = True, broker: Broker | None = None) -> ReviewService:
    """Return the application over the configured database and, where it is to read and publish, over Kafka."""
    return ReviewService(settings, open_desk(settings), broker=(broker or streams.kafka(settings)) if stream else None)


def metrics_server(one: ReviewService) -> MetricsServer:
    """Return the server of its metrics and health."""
    return MetricsServer(
        one.metrics,
        host=one.settings.metrics_host,
        port=one.settings.metrics_port,
        alive=one.not_alive,
        ready=one.waiting_for,
        degraded=one.degraded,
    )
