"""Does a worker obey what operators switch, and does nothing that happens to the control channel stop it?

The real worker on the broker in memory. tests/integration/test_kafka_control.py has the two seconds on real Kafka.
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from spamguard.backends.clock import ManualClock
from spamguard.backends.memory import MemoryBroker, MemoryProducer
from spamguard.config import Settings, load
from spamguard.service import orders, streams
from spamguard.stream import control
from spamguard.types import Mode, Order, Outgoing, Partition
from tests.cast import LOTTERY, MUM
from tests.integration.test_memory_service import decisions, message, metric, serving, until

CONTROL: Final = Partition("sms.control", 0)


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> Settings:
    given = {"model": str(tiny_model), "metrics_port": 0, "max_records": 50, "control_file": tmp_path / "allow-all"}
    return load(given, environ={})


@pytest.fixture
def broker(settings: Settings) -> MemoryBroker:
    return streams.memory_broker(settings, partitions=1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(control, "RETRY_S", 0.02)


class Traffic:
    """Sends messages and returns the decisions on them."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.sent = 0

    async def judged(self, *texts: str, **fields: str) -> list[dict[str, Any]]:
        first = self.sent
        self.sent += len(texts)
        batch = [message(f"m{first + number}", text, **fields) for number, text in enumerate(texts)]
        self.broker.append(Partition("sms.inbound", 0), batch)
        await until(lambda: len(decisions(self.broker)) >= self.sent)
        return decisions(self.broker)[first:]

    async def spam(self, **fields: str) -> tuple[str, str]:
        [decision] = await self.judged(LOTTERY, **fields)
        assert decision["would_be"] == "block"
        return decision["action"], decision["reason"]


async def order(settings: Settings, broker: MemoryBroker, key: str, on: bool, mode: Mode | None = None) -> None:
    given = Order(on=on, mode=mode, reason="a bad model", who="night@desk", since="2026-11-24T03:00:00+00:00")
    await orders.give_order(settings, key, given, broker=broker)


async def test_the_kill_switch_goes_on_and_off_over_the_topic_and_the_log_says_who_and_why(
    settings: Settings, broker: MemoryBroker
) -> None:
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker) as worker:
            assert await traffic.spam() == ("block", "spam_score")
            assert metric(worker, "spamguard_enforcing") == metric(worker, "spamguard_control_read") == 1
            await order(settings, broker, "allow_all", on=True)
            await until(lambda: metric(worker, "spamguard_allow_all") == 1)
            assert metric(worker, "spamguard_enforcing") == 0
            assert await traffic.spam() == ("allow", "allow_all")
            await order(settings, broker, "allow_all", on=False)
            await until(lambda: metric(worker, "spamguard_allow_all") == 0)
            assert await traffic.spam() == ("block", "spam_score")
    told = [event for event in logs if event["event"].startswith("allow_all")]
    assert [event["event"] for event in told] == ["allow_all_on", "allow_all_off"]
    assert all((e["who"], e["reason"], e["through"]) == ("night@desk", "a bad model", "topic") for e in told)


async def test_who_starts_late_obeys_from_the_first_message_and_a_restart_keeps_modes(
    settings: Settings, broker: MemoryBroker
) -> None:
    await order(settings, broker, "allow_all", on=True)
    await order(settings, broker, "mode/acme", on=True, mode=Mode.OBSERVE)
    broker.append(Partition("sms.inbound", 0), [message(f"early{n}", LOTTERY) for n in range(200)])
    async with serving(settings, broker):
        await until(lambda: len(decisions(broker)) == 200)
    assert {decision["reason"] for decision in decisions(broker)} == {"allow_all"}
    await order(settings, broker, "allow_all", on=False)
    traffic = Traffic(broker)
    traffic.sent = 200
    async with serving(settings, broker):
        assert await traffic.spam() == ("block", "spam_score")
        assert await traffic.spam(tenant="acme") == ("allow", "observed")


async def test_modes_hold_for_their_tenant_and_direction_and_can_be_taken_back(
    settings: Settings, broker: MemoryBroker
) -> None:
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker):
            assert await traffic.spam(tenant="acme") == ("block", "spam_score")
            await order(settings, broker, "mode/acme/MT", on=True, mode=Mode.OBSERVE)
            await until(lambda: any(event["event"] == "switched" for event in logs))
            assert await traffic.spam(tenant="acme") == ("allow", "observed")
            assert await traffic.spam(tenant="acme", direction="MO") == ("block", "spam_score")
            assert await traffic.spam(tenant="other") == ("block", "spam_score")
            await order(settings, broker, "mode/acme/MT", on=False)
            await until(lambda: sum(event["event"] == "switched" for event in logs) == 2)
            assert await traffic.spam(tenant="acme") == ("block", "spam_score")
    first = next(event for event in logs if event["event"] == "switched")
    assert (first["switch"], first["mode"], first["who"]) == ("mode/acme/MT", "observe", "night@desk")


async def test_the_file_switches_too_whatever_kafka_says(settings: Settings, broker: MemoryBroker) -> None:
    traffic, file = Traffic(broker), orders.control_file(settings)
    async with serving(settings, broker) as worker:
        assert await traffic.spam() == ("block", "spam_score")
        file.write("Kafka is broken")
        await until(lambda: metric(worker, "spamguard_allow_all") == 1)
        await order(settings, broker, "allow_all", on=False)
        assert await traffic.spam() == ("allow", "allow_all")
        file.remove()
        await until(lambda: metric(worker, "spamguard_allow_all") == 0)
        assert await traffic.spam() == ("block", "spam_score")


async def test_without_a_control_topic_the_worker_judges_and_obeys_once_there_is_one(
    settings: Settings, broker: MemoryBroker
) -> None:
    del broker.logs["sms.control"]
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker) as worker:
            assert await traffic.spam() == ("block", "spam_score")
            assert metric(worker, "spamguard_control_read") == 0
            broker.add_topic("sms.control", 1)
            await order(settings, broker, "allow_all", on=True)
            await until(lambda: metric(worker, "spamguard_allow_all") == 1)
            assert metric(worker, "spamguard_control_read") == 1
            assert await traffic.spam() == ("allow", "allow_all")
    unread = [event for event in logs if event["event"] == "control_unreadable"]
    assert len(unread) == 1
    assert "sms.control does not exist" in unread[0]["detail"]


async def test_an_outage_of_the_control_topic_keeps_the_last_orders(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = Traffic(broker)
    follow = MemoryBroker.follow
    broken = asyncio.Event()

    async def fragile(self: MemoryBroker, topic: str) -> Any:
        if broken.is_set():
            raise RuntimeError("a client library's own surprise")
        batches = follow(self, topic)
        async for batch in batches:
            yield batch
            if broken.is_set():
                raise RuntimeError("a client library's own surprise")

    monkeypatch.setattr(MemoryBroker, "follow", fragile)
    await order(settings, broker, "allow_all", on=True)
    async with serving(settings, broker) as worker:
        assert await traffic.spam() == ("allow", "allow_all")
        broken.set()
        await order(settings, broker, "something/else", on=True)
        await until(lambda: metric(worker, "spamguard_control_read") == 0)
        assert await traffic.spam() == ("allow", "allow_all")
        await order(settings, broker, "allow_all", on=False)
        broken.clear()
        await until(lambda: metric(worker, "spamguard_control_read") == 1)
        assert await traffic.spam() == ("block", "spam_score")


async def test_an_order_that_nobody_understands_stops_neither_the_worker_nor_the_next_order(
    settings: Settings, broker: MemoryBroker
) -> None:
    broker.append(CONTROL, [Outgoing(key=b"allow_all", value=b"yes please"), Outgoing(key=None, value=None)])
    broker.append(CONTROL, [Outgoing(key=b"\xff\xfe", value=b"{}"), Outgoing(key=b"mode/acme", value=b'{"on": 1}')])
    await order(settings, broker, "mode", on=True, mode=Mode.OBSERVE)
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker):
            assert await traffic.spam() == ("allow", "observed")
    assert [event["key"] for event in logs if event["event"] == "control_not_understood"] == ["allow_all", "mode/acme"]


async def test_a_block_that_waits_for_its_review_copy_passes_when_the_kill_switch_comes_meanwhile(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()
    real = MemoryProducer.publish

    async def slowly(self: MemoryProducer, partition: Partition, batch: Any) -> None:
        if partition.topic == "sms.review":
            waiting.set()
            await go_on.wait()
        await real(self, partition, batch)

    monkeypatch.setattr(MemoryProducer, "publish", slowly)
    async with serving(settings, broker) as worker:
        broker.append(Partition("sms.inbound", 0), [message("m", LOTTERY)])
        await waiting.wait()
        orders.control_file(settings).write("now")
        await until(lambda: metric(worker, "spamguard_allow_all") == 1)
        go_on.set()
        await until(lambda: len(decisions(broker)) == 1)
    [decision] = decisions(broker)
    assert (decision["action"], decision["would_be"], decision["reason"]) == ("allow", "block", "allow_all")
    assert decision.get("suggested_smpp_status", 0) == 0


async def test_a_breaker_opens_for_its_tenant_closes_after_its_cool_down_and_by_command(
    settings: Settings, broker: MemoryBroker
) -> None:
    settings = settings.model_copy(update={"breaker_min_messages": 50})
    clock, traffic = ManualClock(1_800_000_000.0), Traffic(broker)
    calm, wave = [MUM] * 48 + [LOTTERY] * 2, [LOTTERY] * 60
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker, clock=clock) as worker:

            def opened() -> float:
                return metric(worker, "spamguard_breaker_open")

            for _ in range(14):  # seven minutes of four per cent
                await traffic.judged(*calm, tenant="acme")
                clock.advance(30.0)
            assert opened() == 0
            await traffic.judged(*wave, tenant="acme")
            await until(lambda: opened() == 1)
            [spam] = await traffic.judged(LOTTERY, tenant="acme")
            assert (spam["action"], spam["reason"], spam["breaker"]) == ("allow", "observed", True)
            assert await traffic.spam(tenant="calm") == ("block", "spam_score")
            await until(lambda: metric(worker, "spamguard_breaker_passed_total") > 0)

            clock.advance(601.0)
            await until(lambda: opened() == 0)
            assert await traffic.spam(tenant="acme") == ("block", "spam_score")

            await traffic.judged(*wave, tenant="acme")
            await until(lambda: opened() == 1)
            await order(settings, broker, "breaker/acme", on=False)
            await until(lambda: opened() == 0)
            await traffic.judged(*wave, tenant="acme")
            assert await traffic.spam(tenant="acme") == ("block", "spam_score")

            await traffic.judged(*wave, tenant="new")
            await until(lambda: opened() == 1)
            await order(settings, broker, "breaker", on=False)
            await until(lambda: opened() == 0)
            assert await traffic.spam(tenant="new") == ("block", "spam_score")
    turns = [(event["event"], event["tenant"]) for event in logs if event["event"].startswith("breaker_")]
    assert turns == [(f"breaker_{turn}", tenant) for tenant in ("acme", "acme", "new") for turn in ("opened", "closed")]


async def test_with_the_breaker_switched_off_nothing_opens(settings: Settings, broker: MemoryBroker) -> None:
    settings = settings.model_copy(update={"breaker_min_messages": 10, "breaker": False})
    traffic = Traffic(broker)
    async with serving(settings, broker) as worker:
        await traffic.judged(*[LOTTERY] * 100, tenant="acme")
        assert await traffic.spam(tenant="acme") == ("block", "spam_score")
        assert metric(worker, "spamguard_breaker_open") == 0
