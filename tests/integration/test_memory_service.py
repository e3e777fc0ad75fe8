"""What becomes of messages when a broker refuses or hangs, or when the worker stops half-way?

The real worker on the broker in memory, which fails on demand.
"""

import asyncio
import json
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from spamguard.backends.memory import MemoryBroker, MemoryProducer
from spamguard.config import Settings, load
from spamguard.interfaces import Clock
from spamguard.service.streams import memory_broker
from spamguard.service.worker import Worker
from spamguard.stream import loop
from spamguard.types import Outgoing, Partition
from tests.cast import GOOD, LOTTERY, MUM, SPAM
from tests.integration.serving import varied

PARTITIONS: Final = 3
PATIENCE_S: Final = 20.0


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    return load({"model": str(tiny_model), "metrics_port": 0, "max_records": 50}, environ={})


@pytest.fixture
def broker(settings: Settings) -> MemoryBroker:
    return memory_broker(settings, partitions=PARTITIONS)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody wait for seconds where a test makes things fail on purpose."""
    monkeypatch.setattr(loop, "BACKOFF_S", (0.01, 0.02))
    monkeypatch.setattr(loop, "STOP_GRACE_S", 1.0)


def message(identity: str, text: str, **more: str) -> Outgoing:
    return Outgoing(key=identity.encode(), value=json.dumps({"message_id": identity, "text": text, **more}).encode())


def publish(broker: MemoryBroker, messages: Sequence[Outgoing], topic: str = "sms.inbound") -> None:
    for number, outgoing in enumerate(messages):
        broker.append(Partition(topic, number % PARTITIONS), [outgoing])


def published(broker: MemoryBroker, topic: str) -> list[dict[str, Any]]:
    return [json.loads(record.value or b"") for record in broker.records(topic)]


def decisions(broker: MemoryBroker) -> list[dict[str, Any]]:
    return published(broker, "sms.decisions")


def decided(broker: MemoryBroker) -> set[str]:
    return {decision["message_id"] for decision in decisions(broker)}


def lag(broker: MemoryBroker) -> int:
    committed = broker.group("spamguard").committed
    return sum(
        len(log) - committed.get(Partition("sms.inbound", number), 0)
        for number, log in enumerate(broker.logs["sms.inbound"])
    )


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(settings: Settings, broker: MemoryBroker, *, clock: Clock | None = None) -> AsyncIterator[Worker]:
    """Run a worker until the block ends; then it is stopped, as SIGTERM does it."""
    worker = Worker(settings, broker=broker, clock=clock)
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.stop()
        async with asyncio.timeout(PATIENCE_S):
            await running


def metric(worker: Worker, name: str, **labels: str) -> float:
    return sum(
        sample.value
        for family in worker.metrics.registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def same(decision: dict[str, Any]) -> dict[str, Any]:
    """Return what a repeat of a decision must repeat."""
    return {name: decision.get(name) for name in ("decision_id", "message_id", "action", "reason", "score", "model")}


async def test_every_message_gets_one_decision_and_everything_is_committed(
    settings: Settings, broker: MemoryBroker
) -> None:
    publish(broker, varied(300))
    async with serving(settings, broker) as worker:
        await until(lambda: len(decided(broker)) == 300)
        await until(lambda: lag(broker) == 0)
        assert worker.health.waiting_for() == []
        assert metric(worker, "spamguard_decisions_total") == 300
    assert len(decisions(broker)) == 300
    assert worker.health.waiting_for()


async def test_a_block_is_published_only_behind_its_review_copy(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    acknowledged: list[tuple[str, str]] = []
    real = MemoryProducer.publish

    async def slowly(self: MemoryProducer, partition: Partition, batch: Sequence[Outgoing]) -> None:
        await asyncio.sleep(0.02 if partition.topic == "sms.review" else 0)
        await real(self, partition, batch)
        for outgoing in batch:
            value = json.loads(outgoing.value or b"")
            acknowledged.append((partition.topic, value.get("decision", value)["decision_id"]))

    monkeypatch.setattr(MemoryProducer, "publish", slowly)
    publish(broker, [message(f"m{number}", text) for number, text in enumerate((*SPAM, *GOOD))])
    async with serving(settings, broker):
        await until(lambda: len(decided(broker)) == len(SPAM + GOOD))
    blocks = [decision["decision_id"] for decision in decisions(broker) if decision["action"] == "block"]
    assert blocks
    for block in blocks:
        assert acknowledged.index(("sms.review", block)) < acknowledged.index(("sms.decisions", block))


async def test_while_a_copy_is_awaited_everything_before_its_block_is_published_and_nothing_behind_it(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = asyncio.Event()
    real = MemoryProducer.publish

    async def once_stored(self: MemoryProducer, partition: Partition, batch: Sequence[Outgoing]) -> None:
        if partition.topic == "sms.review":
            await stored.wait()
        await real(self, partition, batch)

    monkeypatch.setattr(MemoryProducer, "publish", once_stored)
    lined_up = [message("before", MUM), message("block", LOTTERY), message("behind", MUM), message("last", LOTTERY)]
    broker.append(Partition("sms.inbound", 0), lined_up)
    broker.append(Partition("sms.inbound", 1), [message("elsewhere", MUM)])
    async with serving(settings, broker) as worker:
        await until(lambda: decided(broker) >= {"before", "elsewhere"})
        await asyncio.sleep(0.05)
        assert decided(broker) == {"before", "elsewhere"}
        assert lag(broker) == 5
        stored.set()
        await until(lambda: lag(broker) == 0)
        assert metric(worker, "spamguard_consume_to_publish_seconds_count") == 5
    order = [json.loads(record.value or b"")["message_id"] for record in broker.logs["sms.decisions"][0]]
    assert order == ["before", "block", "behind", "last"]


async def test_commits_are_paced_while_the_stream_flows_and_a_stop_waits_for_none(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "COMMIT_EVERY_S", 60.0)
    async with serving(settings, broker):
        publish(broker, [message("first", MUM)])
        await until(lambda: lag(broker) == 0)
        publish(broker, [message("second", MUM)])
        await until(lambda: decided(broker) == {"first", "second"})
        await asyncio.sleep(0.05)
        assert lag(broker) == 1
    assert lag(broker) == 0


async def test_a_share_of_the_allowed_application_messages_is_copied_for_review_with_its_chance(
    settings: Settings, broker: MemoryBroker
) -> None:
    publish(
        broker,
        [
            message(f"{direction}-{n}", text, direction=direction)
            for direction in ("AO", "MO")
            for n, text in enumerate(GOOD)
        ],
    )
    async with serving(settings.model_copy(update={"review_sample": 1.0}), broker):
        await until(lambda: len(decided(broker)) == 2 * len(GOOD))
    allowed = {one["message_id"] for one in decisions(broker) if one["reason"] == "ham_score"}
    drawn = {copy["message"]["message_id"] for copy in published(broker, "sms.review") if copy.get("chance") == 1.0}
    assert drawn >= {identity for identity in allowed if identity.startswith("AO")} != set()
    assert not any(identity.startswith("MO") for identity in drawn)


async def test_without_its_review_copy_a_block_becomes_an_allow_that_is_marked_and_counted(
    settings: Settings, broker: MemoryBroker
) -> None:
    broker.refuse("sms.review", PARTITIONS)
    publish(broker, [message(f"m{number}", LOTTERY) for number in range(PARTITIONS)])
    async with serving(settings, broker) as worker:
        await until(lambda: len(decided(broker)) == PARTITIONS)
        await until(lambda: metric(worker, "spamguard_degraded_total") == PARTITIONS)
        assert metric(worker, "spamguard_decisions_total", action="allow", reason="review_unavailable") == PARTITIONS
        for decision in decisions(broker):
            assert (decision["action"], decision["would_be"]) == ("allow", "block")
            assert decision["reason"] == "review_unavailable"
            assert decision["degraded"]
            assert decision.get("suggested_smpp_status", 0) == 0
        publish(broker, [message("later", LOTTERY)])
        await until(lambda: "later" in decided(broker))
    assert next(d for d in decisions(broker) if d["message_id"] == "later")["action"] == "block"


async def test_a_copy_too_large_for_the_review_topic_costs_no_other_block_its_copy(
    settings: Settings, broker: MemoryBroker
) -> None:
    huge = message("huge", LOTTERY, account="x" * 950_000)
    broker.append(Partition("sms.inbound", 0), [message("before", LOTTERY), huge, message("after", LOTTERY)])
    async with serving(settings, broker):
        await until(lambda: len(decided(broker)) == 3)
    found = {decision["message_id"]: (decision["action"], decision["reason"]) for decision in decisions(broker)}
    assert found == {
        "before": ("block", "spam_score"),
        "huge": ("allow", "review_unavailable"),
        "after": ("block", "spam_score"),
    }
    assert [copy["message"]["message_id"] for copy in published(broker, "sms.review")] == ["before", "after"]


async def test_an_endless_message_id_is_a_dead_letter_and_stops_nobody(
    settings: Settings, broker: MemoryBroker
) -> None:
    endless = message("i" * 1_040_000, MUM)
    broker.append(Partition("sms.inbound", 0), [Outgoing(key=b"k", value=endless.value), message("after", MUM)])
    async with serving(settings, broker):
        await until(lambda: decided(broker) == {"after"})
        await until(lambda: lag(broker) == 0)
    (letter,) = published(broker, "sms.dead-letter")
    assert (letter["reason"], letter["offset"]) == ("no_message_id", 0)


async def test_a_flood_of_dead_letters_is_said_in_probe_gauge_and_log_and_the_worker_stays_ready(
    settings: Settings, broker: MemoryBroker
) -> None:
    limited = settings.model_copy(update={"dead_letter_flood": 20})
    publish(broker, [Outgoing(key=None, value=b"not json")] * 20 + [message("m", MUM)])
    with capture_logs() as logged:
        async with serving(limited, broker) as worker:
            await until(lambda: lag(broker) == 0)
            assert (await asyncio.to_thread(readyz, worker))["degraded"] == []
            assert metric(worker, "spamguard_dead_letter_flood") == 0
            publish(broker, [Outgoing(key=None, value=b"not json")] * 40)
            await until(lambda: lag(broker) == 0)
            told = await asyncio.to_thread(readyz, worker)
            assert told["ok"]
            assert told["degraded"] == ["dead_letter_flood: 60 dead letters within a minute; the limit is 20"]
            assert metric(worker, "spamguard_dead_letter_flood") == 1
            assert metric(worker, "spamguard_dead_letters_total") == 60
    events = Counter(line["event"] for line in logged)
    assert events["dead_letter_flood"] == 1
    assert events["dead_letter"] < 60  # a line each would bury the alarm


def readyz(worker: Worker) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.metrics_port}/readyz", timeout=5) as answer:
        assert answer.status == 200
        told: dict[str, Any] = json.load(answer)
        return told


async def test_a_refused_publication_is_repeated_until_it_is_acknowledged_and_repeats_are_the_same(
    settings: Settings, broker: MemoryBroker
) -> None:
    broker.refuse("sms.decisions", 2)  # two of the three partitions; the third one's decisions are published twice
    texts = [*GOOD * 4, *SPAM]  # each partition has eight good messages first
    publish(broker, [message(f"m{number}", text) for number, text in enumerate(texts)])
    async with serving(settings, broker) as worker:
        await until(lambda: len(decided(broker)) == 30)
        await until(lambda: lag(broker) == 0)
        assert metric(worker, "spamguard_broker_errors_total", operation="publish") == 1
        assert metric(worker, "spamguard_decisions_total") == 30
    repeats = [count for count in Counter(d["decision_id"] for d in decisions(broker)).values() if count > 1]
    assert repeats == [2] * 8
    first = {decision["decision_id"]: same(decision) for decision in decisions(broker)}
    assert all(same(decision) == first[decision["decision_id"]] for decision in decisions(broker))


async def test_a_refused_dead_letter_holds_its_batch_back_too(settings: Settings, broker: MemoryBroker) -> None:
    broker.refuse("sms.dead-letter", 2)
    broker.append(Partition("sms.inbound", 0), [Outgoing(key=None, value=b"not json"), message("m", MUM)])
    async with serving(settings, broker):
        await until(lambda: lag(broker) == 0)
    assert [letter["reason"] for letter in published(broker, "sms.dead-letter")] == ["not_json"]
    assert decided(broker) == {"m"}


async def test_after_a_refused_commit_the_worker_goes_on_and_the_next_one_repeats_the_same_decisions(
    settings: Settings, broker: MemoryBroker
) -> None:
    broker.refuse("commit", 1)
    publish(broker, varied(30))
    async with serving(settings, broker) as worker:
        await until(lambda: len(decided(broker)) == 30)
        await until(lambda: metric(worker, "spamguard_broker_errors_total", operation="commit") == 1)
        assert lag(broker) == 30  # never retried
        broker.append(Partition("sms.inbound", 0), [message("later", MUM)])
        await until(lambda: "later" in decided(broker))
        await until(lambda: lag(broker) == 20)  # the commit behind it covers its partition
    async with serving(settings, broker):
        await until(lambda: lag(broker) == 0)
    counts = Counter(decision["decision_id"] for decision in decisions(broker))
    assert (len(counts), sum(counts.values())) == (31, 51)
    first = {decision["decision_id"]: same(decision) for decision in decisions(broker)}
    assert all(same(decision) == first[decision["decision_id"]] for decision in decisions(broker))


async def test_a_poll_that_fails_is_tried_again(settings: Settings, broker: MemoryBroker) -> None:
    broker.refuse("poll", 3)
    publish(broker, varied(10))
    async with serving(settings, broker) as worker:
        await until(lambda: len(decided(broker)) == 10)
        assert metric(worker, "spamguard_broker_errors_total", operation="poll") == 3


async def test_what_a_stopped_worker_left_the_next_one_judges_and_nothing_is_lost(
    settings: Settings, broker: MemoryBroker
) -> None:
    publish(broker, varied(600))
    async with serving(settings, broker):
        await until(lambda: len(decided(broker)) >= 100)
    stopped_at = len(decided(broker))
    assert stopped_at < 600
    assert lag(broker) == 600 - stopped_at  # what was published was committed: nothing is judged twice
    async with serving(settings, broker):
        await until(lambda: lag(broker) == 0)
    assert len(decided(broker)) == len(decisions(broker)) == 600


async def test_a_worker_whose_broker_never_answers_still_stops_and_commits_nothing(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = asyncio.Event()

    async def hang(self: MemoryProducer, partition: Partition, batch: Sequence[Outgoing]) -> None:
        hangs.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(MemoryProducer, "publish", hang)
        publish(broker, varied(10))
        async with serving(settings, broker):
            await hangs.wait()
    assert lag(broker) == 10
    async with serving(settings, broker):
        await until(lambda: len(decided(broker)) == 10)


async def test_a_producer_that_hangs_pauses_the_partitions_keeps_the_worker_polling_and_bounds_what_is_fetched(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "PAUSE_AFTER_S", 0.05)
    real, hanging, goes_on = MemoryProducer.publish, asyncio.Event(), asyncio.Event()

    async def hang(self: MemoryProducer, partition: Partition, batch: Sequence[Outgoing]) -> None:
        hanging.set()
        await goes_on.wait()
        await real(self, partition, batch)

    def fetched() -> int:
        (member,) = broker.group("spamguard").members
        return sum(member._positions.values())

    monkeypatch.setattr(MemoryProducer, "publish", hang)
    with capture_logs() as logged:
        async with serving(settings, broker) as worker:
            await until(lambda: metric(worker, "spamguard_assigned_partitions") == PARTITIONS)
            publish(broker, varied(600))
            await hanging.wait()
            await until(lambda: "partitions_paused" in [line["event"] for line in logged])
            held = fetched()
            assert held <= 2 * settings.max_records  # a batch in hand, and one that was fetched ahead
            await until(lambda: worker.health.seconds_of_batch > 1.0)
            assert metric(worker, "spamguard_batch_in_hand_seconds") > 1.0
            assert metric(worker, "spamguard_seconds_since_poll") < 1.0
            assert fetched() == held
            assert lag(broker) == 600
            goes_on.set()
            await until(lambda: lag(broker) == 0)
    assert "partitions_resumed" in [line["event"] for line in logged]
    assert len(decided(broker)) == len(decisions(broker)) == 600


async def test_what_was_fetched_ahead_is_dropped_when_partitions_move_and_is_handled_once_by_their_next_owner(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, hanging, goes_on = MemoryProducer.publish, asyncio.Event(), asyncio.Event()

    async def hang(self: MemoryProducer, partition: Partition, batch: Sequence[Outgoing]) -> None:
        hanging.set()
        await goes_on.wait()
        await real(self, partition, batch)

    monkeypatch.setattr(MemoryProducer, "publish", hang)
    publish(broker, varied(600))
    async with serving(settings, broker):
        await hanging.wait()
        await until(lambda: sum(broker.group("spamguard").members[0]._positions.values()) > settings.max_records)
        async with serving(settings, broker) as second:
            await asyncio.sleep(0.1)  # the second one waits for the first one's batch
            goes_on.set()
            await until(lambda: metric(second, "spamguard_assigned_partitions") > 0)
            await until(lambda: lag(broker) == 0)
    assert len(decided(broker)) == len(decisions(broker)) == 600


async def test_workers_that_share_a_group_share_the_work(settings: Settings, broker: MemoryBroker) -> None:
    publish(broker, varied(300))
    async with serving(settings, broker):
        await until(lambda: len(decided(broker)) >= 50)
        async with serving(settings, broker) as second:
            await until(lambda: metric(second, "spamguard_assigned_partitions") > 0)
            publish(broker, varied(300, seed=1))
            await until(lambda: lag(broker) == 0)
            assert metric(second, "spamguard_decisions_total") > 0
    assert len({decision["decision_id"] for decision in decisions(broker)}) == 600
