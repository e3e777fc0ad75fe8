"""What did the service do with every record while something was broken?

A rig runs real workers on a real Kafka, feeds them, stops all blocking in the middle for a while, and in the end counts
from the topics alone: what came in, what was decided, what was lost, repeated or wrong against the offline oracle, and
how long nothing was decided.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from aiokafka.admin import AIOKafkaAdminClient

from spamguard.config import load
from spamguard.core.codec import decision_id, decode_message
from spamguard.core.decide import Request
from spamguard.errors import BrokerUnavailable, TopicUnfit
from spamguard.interfaces import Reader
from spamguard.service.judging import offline_filter
from spamguard.types import DeadReason, Outgoing, Partition, Record
from tests.integration.serving import Names, Serving, create, kafka_broker, lag, spread, varied
from tests.integration.test_kafka_control import spamguard

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
PARTITIONS: Final = 4
#: An order is obeyed within this time of its acknowledgement.
OBEY_S: Final = 2.0
#: So long may a machine that does other things take for anything that is waited for.
PATIENCE_S: Final = 90.0
TICK_S: Final = 0.05

Through = Literal["topic", "file"]
#: What of a decision must be what the oracle says.
ORACLE: Final = ("action", "would_be", "reason", "score", "category", "ham_cutoff", "spam_cutoff", "model")


class Row(NamedTuple):
    """What became of everything under one fault."""

    fault: str
    came: int  #: inbound records
    decided: int  #: of these with a decision, or a dead letter where no id can be read
    lost: int
    repeated: int
    wrong: int
    gap_s: float  #: the longest time in which a partition had no decision while messages came
    switch: str  #: how all blocking was stopped during the fault, and how long after the command every worker obeyed


class Drill(NamedTuple):
    """One use of the kill switch, in epoch seconds."""

    through: Through
    ordered_s: float  #: just before the command
    obeyed_s: float  #: every worker had it
    took_s: float  #: after the command's end
    off_s: float  #: just before the command that ended it
    ended_s: float  #: every worker had that


class Rig:
    """Workers, topics and traffic of one row."""

    def __init__(self, brokers: str, unique: str, folder: Path, *, model: Path | str, **more: str) -> None:
        self.broker = kafka_broker(brokers)
        self.names = Names.of(unique)
        self.folder = folder
        self.workers: list[Serving] = []
        self.environment = {
            **self.names.environment(),
            "SPAMGUARD_BROKERS": brokers,
            "SPAMGUARD_MODEL": str(model),
            "SPAMGUARD_CONTROL_FILE": str(folder / "allow-all"),
            "SPAMGUARD_BREAKER": "false",  # a part of the traffic is nothing but spam
            "SPAMGUARD_SESSION_TIMEOUT_S": "6",
            "SPAMGUARD_REBALANCE_TIMEOUT_S": "20",
            **more,
        }
        self._drills: list[Drill] = []
        self._fed: list[tuple[float, float]] = []
        self._ends: Reader | None = None
        self._asking = asyncio.Lock()

    async def create(self, *, topic_configs: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """Create the topics; those with settings of their own first."""
        for topic, settings in (topic_configs or {}).items():
            admin = self.broker.admin()
            await admin.create({topic: PARTITIONS}, configs={topic: settings})
            await admin.close()
        await create(self.broker, self.names, partitions=PARTITIONS)

    async def delete(self, topic: str) -> None:
        """Delete a topic, as nobody should."""
        client = AIOKafkaAdminClient(bootstrap_servers=self.environment["SPAMGUARD_BROKERS"])
        await client.start()
        await client.delete_topics([topic])
        await client.close()

    async def start(self, *, part: str | None = None, under: Sequence[str] = (), **more: str | None) -> Serving:
        """Start another worker and return when it takes part in the group."""
        folder = self.folder / f"worker-{len(self.workers)}"
        folder.mkdir()
        program = ("-m", "spamguard") if part is None else (str(LAUNCHER), part)
        worker = Serving(folder, self._with(more), "serve", program=program, under=under)
        self.workers.append(worker)
        await self.until(lambda: _told(worker, "partitions_assigned"), worker)
        return worker

    async def __aenter__(self) -> "Rig":
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.__exit__()
        if self._ends is not None:
            await self._ends.stop()

    async def until(self, holds: Callable[[], bool], worker: Serving | None = None) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            ended = worker is not None and worker.process.poll() is not None
            assert not ended and time.monotonic() < deadline, worker.log if worker is not None else "it never held"
            await asyncio.sleep(TICK_S)

    async def published(self) -> int:
        """Return how many decisions the topic holds, waiting for a broker that is away."""
        async with self._asking:
            while True:
                with suppress(BrokerUnavailable):
                    if self._ends is None:
                        reader = self.broker.reader(self.names.decisions)
                        await reader.start()
                        self._ends = reader
                    return sum((await self._ends.offsets_at(1 << 42)).values())
                await asyncio.sleep(TICK_S)

    async def progress(self, more: int = 200) -> None:
        """Return when so many more decisions are there."""
        wanted = await self.published() + more
        async with asyncio.timeout(PATIENCE_S):
            while await self.published() < wanted:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(TICK_S)

    @asynccontextmanager
    async def feeding(
        self, per_second: float = 300, *, ahead: int | None = None, messages: Sequence[Outgoing] = ()
    ) -> AsyncIterator[None]:
        """Send messages while the block runs: at a pace, or always so many ahead of what is decided."""
        feed = cycle(messages or varied(3000))
        feeding = asyncio.create_task(self._feed(feed, per_second, ahead))
        began_s = time.time()
        try:
            yield
        finally:
            ended_s = time.time()
            feeding.cancel()
            with suppress(asyncio.CancelledError):
                await feeding
            self._fed.append((began_s, ended_s))

    async def _feed(self, feed: Iterator[Outgoing], per_second: float, ahead: int | None) -> None:
        producer = self.broker.producer()
        await producer.start()
        sent, began_s = 0, time.monotonic()
        try:
            while True:
                due = int((time.monotonic() - began_s) * per_second)
                if ahead is not None:
                    due = await self.published() + ahead
                part = [next(feed) for _ in range(min(1000, due - sent))]
                sent += len(part)
                places = spread(part, PARTITIONS)
                # shielded: a batch that is on its way when the feeding ends may not be left half-acknowledged
                await asyncio.shield(
                    asyncio.gather(
                        *(
                            producer.publish(Partition(self.names.inbound, n), batch)
                            for n, batch in places.items()
                            if batch
                        )
                    )
                )
                await asyncio.sleep(TICK_S)
        finally:
            await producer.stop()

    @asynccontextmanager
    async def blocking_stopped(self, through: Through) -> AsyncIterator[None]:
        """Stop all blocking with one command, see that every worker that runs obeys in time, and let it end after."""
        by_file = ("--file",) if through == "file" else ()
        ordered_s = time.time()
        await self.command("allow-all", "on", *by_file, "--reason", "a drill")
        acknowledged_s = time.time()
        obeyed_s = await self._obeyed("allow_all_on", ordered_s)
        took_s = max(0.0, obeyed_s - acknowledged_s)
        assert took_s <= OBEY_S, f"the kill switch took {took_s:.1f} s"
        yield
        off_s = time.time()
        await self.command("allow-all", "off", *by_file)
        ended_s = await self._obeyed("allow_all_off", off_s)
        self._drills.append(Drill(through, ordered_s, obeyed_s, took_s, off_s, ended_s))

    def _with(self, more: Mapping[str, str | None]) -> dict[str, str]:
        """Return the environment with some variables changed, and those that are None left out."""
        changed: dict[str, str | None] = {**self.environment, **more}
        return {name: value for name, value in changed.items() if value is not None}

    async def command(self, *arguments: str, **more: str | None) -> str:
        """Run a command as an operator would and return what it said."""
        ran = await spamguard(self._with(more), self.folder, *arguments)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    async def _obeyed(self, event: str, since_s: float) -> float:
        """Return when the last of the workers that run said that it obeys."""
        found: dict[int, float] = {}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            alive = [(n, worker) for n, worker in enumerate(self.workers) if worker.process.poll() is None]
            for number, worker in alive:
                for line in worker.events():
                    at_s = datetime.fromisoformat(line["timestamp"]).timestamp()
                    if line["event"] == event and at_s >= since_s - 0.001:
                        found.setdefault(number, at_s)
            if alive and all(number in found for number, _ in alive):
                return max(found.values())
            assert time.monotonic() < deadline, f"nobody said {event}"
            await asyncio.sleep(TICK_S)

    async def finish(
        self, fault: str, *, models: Sequence[Path] = (), may_degrade: Callable[[Record, Any], bool] | None = None
    ) -> Row:
        """Wait until everything is committed, end the workers in good order and count."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with suppress(BrokerUnavailable):  # one that was just started answers some questions only later
                left = await lag(self.broker, self.names)
                if left == 0:
                    break
            assert time.monotonic() < deadline, f"{left} records are left"
            await asyncio.sleep(4 * TICK_S)
        for worker in self.workers:
            if worker.process.poll() is None:
                assert await asyncio.to_thread(worker.terminate) == 0, worker.log
        return await self._count(fault, models or (Path(self.environment["SPAMGUARD_MODEL"]),), may_degrade)

    async def _count(
        self, fault: str, models: Sequence[Path], may_degrade: Callable[[Record, Any], bool] | None
    ) -> Row:
        names = self.names
        came = {decision_id(one.partition, one.offset): one for one in await self.whole(names.inbound)}
        decisions = [(json.loads(one.value or b""), one) for one in await self.whole(names.decisions)]
        letters = [json.loads(one.value or b"") for one in await self.whole(names.dead_letter)]
        copied = {json.loads(one.value or b"")["decision"]["decision_id"] for one in await self.whole(names.review)}
        expected = oracle(list(came.values()), models)
        dead = {identity for identity, answer in expected.items() if isinstance(answer, DeadReason)}
        wrong = 0
        for decision, record in decisions:
            source = came.get(decision["decision_id"])
            answers = expected.get(decision["decision_id"])
            if source is None or answers is None or isinstance(answers, DeadReason):
                wrong += 1
                continue
            answer = answers[decision["model"]]
            place_kept = (record.partition.number, record.key) == (source.partition.number, source.key)
            uncopied = decision["action"] == "block" and decision["decision_id"] not in copied
            right = self._is_right(decision, record, answer, may_degrade is not None and may_degrade(source, answer))
            wrong += not (place_kept and right) or uncopied
        buried = Counter(decision_id(Partition(one["topic"], one["partition"]), one["offset"]) for one in letters)
        wrong += len(buried.keys() - dead)
        answered = Counter(decision["decision_id"] for decision, _ in decisions)
        done = (answered.keys() & (expected.keys() - dead)) | (buried.keys() & dead)
        repeated = answered.total() - len(answered) + buried.total() - len(buried)
        by_partition: dict[int, list[float]] = {}
        for _, record in decisions:
            by_partition.setdefault(record.partition.number, []).append(record.timestamp_ms / 1000)
        gap_s = max(map(self._gap, by_partition.values()), default=0.0)
        drills = [self._proven(drill, decisions) for drill in self._drills]
        return Row(fault, len(came), len(done), len(came) - len(done), repeated, wrong, gap_s, "; ".join(drills))

    def _is_right(self, decision: dict[str, Any], record: Record, answer: dict[str, Any], may_degrade: bool) -> bool:
        if decision.get("degraded"):
            return may_degrade and decision["action"] == "allow"
        if decision["reason"] == "allow_all":
            at_s = record.timestamp_ms / 1000
            in_time = any(drill.ordered_s - 0.01 <= at_s <= drill.ended_s + OBEY_S for drill in self._drills)
            same = all(decision.get(name) == answer[name] for name in ("would_be", "score", "model"))
            return in_time and same and decision["action"] == "allow"
        return {name: decision.get(name) for name in ORACLE} == answer

    def _proven(self, drill: Drill, decisions: Sequence[tuple[dict[str, Any], Record]]) -> str:
        """Return how the switch worked, after seeing that nothing was blocked under it and that something would be."""
        under = [d for d, one in decisions if drill.obeyed_s + 0.01 <= one.timestamp_ms / 1000 < drill.off_s]
        assert not [decision for decision in under if decision["action"] == "block"], "blocked under allow-all"
        assert [decision for decision in under if decision.get("would_be") == "block"], "the drill proved nothing"
        return f"{drill.through}, {drill.took_s:.1f} s"

    def _gap(self, published_s: Sequence[float]) -> float:
        """Return the longest time between two decisions of a partition while messages came."""
        times = sorted(published_s)
        gaps = [
            min(later, ended_s) - max(earlier, began_s)
            for earlier, later in pairwise(times)
            for began_s, ended_s in self._fed
            if later > began_s and earlier < ended_s
        ]
        return round(max(gaps, default=0.0), 1)

    async def whole(self, topic: str) -> list[Record]:
        """Return everything a topic holds; nothing when somebody deleted it."""
        reader = self.broker.reader(topic)
        found: list[Record] = []
        try:
            bounds = await reader.start()
            left = {partition: end for partition, (start, end) in bounds.items() if start < end}
            if left:
                reader.seek({partition: bounds[partition][0] for partition in left})
            deadline = time.monotonic() + PATIENCE_S
            while left:
                assert time.monotonic() < deadline, f"{topic} cannot be read to its end"
                for partition, records in (await reader.poll(max_records=5000, timeout_s=0.5)).items():
                    found += records
                    if partition in left and records[-1].offset + 1 >= left[partition]:
                        del left[partition]
        except TopicUnfit:
            pass
        finally:
            await reader.stop()
        return found


def _told(worker: Serving, event: str) -> bool:
    return any(line["event"] == event for line in worker.events())


def oracle(records: Sequence[Record], models: Sequence[Path]) -> dict[str, Any]:
    """Return, by decision id, why a record is dead, or by model what is decided on it offline."""
    found: dict[str, Any] = {}
    values = {record.value: decode_message(record.value) for record in records}  # most come more than once
    readable = [value for value, message in values.items() if not isinstance(message, DeadReason)]
    answers: dict[bytes | None, dict[str, Any]] = {value: {} for value in readable}
    for model in models:
        engine = offline_filter(load({"model": str(model)}, environ={}))
        try:
            requests = [Request(values[value], "0" * 32, 0) for value in readable]  # type: ignore[arg-type]
            for value, decision in zip(readable, engine.judge_now(requests), strict=True):
                fields = {name: getattr(decision, name) for name in ORACLE}
                fields = {name: str(field) if isinstance(field, str) else field for name, field in fields.items()}
                answers[value][decision.model] = fields
        finally:
            engine.close()
    for record in records:
        message = values[record.value]
        identity = decision_id(record.partition, record.offset)
        found[identity] = message if isinstance(message, DeadReason) else answers[record.value]
    return found


def table(rows: Sequence[Row]) -> str:
    """Return rows as Markdown."""
    lines = [
        "| fault | in | out | lost | repeated | wrong | longest gap | all blocking stopped during it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.fault} | {row.came:,} | {row.decided:,} | {row.lost} | {row.repeated:,} | {row.wrong} "
        f"| {row.gap_s:.1f} s | {row.switch} |"
        for row in rows
    ]
    return "\n".join(lines)


def renew(page: Path, marker: str, body: str) -> None:
    """Put text between a page's two markers."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {marker} -->", f"<!-- /{marker} -->"
    before, after = text.partition(begin)[0], text.partition(end)[2]
    assert begin in text and end in text, f"{page} lacks its markers"
    page.write_text(f"{before}{begin}\n{body}\n{end}{after}", encoding="utf-8")


def write_wanted() -> bool:
    """Return whether this run is to renew the documents."""
    return os.environ.get("FAULT_TABLE") == "write"
