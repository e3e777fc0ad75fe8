"""Does the load generator see what a service does wrong, and nothing where all is well?

The real worker, on the broker in memory and on real Kafka.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from spamguard.backends.memory import MemoryBroker, MemoryProducer
from spamguard.config import Settings, load
from spamguard.load.run import Generator, KeyBy, Plan, Report
from spamguard.load.traffic import MIX, Traffic
from spamguard.service.judging import sample_messages
from spamguard.service.streams import memory_broker
from spamguard.service.worker import Worker
from spamguard.types import Outgoing, Partition
from tests.integration.serving import Names, Serving, create, kafka_broker

PARTITIONS: Final = 3


@pytest.fixture
def settings(tiny_model: Path) -> Settings:
    return load({"model": str(tiny_model), "metrics_port": 0}, environ={})


@pytest.fixture
def broker(settings: Settings) -> MemoryBroker:
    return memory_broker(settings, partitions=PARTITIONS)


@asynccontextmanager
async def serving(settings: Settings, broker: MemoryBroker) -> AsyncIterator[Worker]:
    worker = Worker(settings, broker=broker)
    ready = asyncio.Event()
    running = asyncio.create_task(worker.run(on_serving=ready.set))
    await ready.wait()
    try:
        yield worker
    finally:
        worker.stop()
        await running


def generator(
    broker: MemoryBroker,
    *,
    messages: int = 300,
    rate: float = 0.0,
    wait_s: float = 20.0,
    key_by: KeyBy = "sender+recipient",
) -> Generator:
    traffic = Traffic(
        seed=7, run="test", samples=sample_messages().read_bytes().splitlines(), mix={**MIX, "malformed": 9}
    )
    plan = Plan("sms.inbound", "sms.decisions", rate, messages, None, wait_s, key_by)
    return Generator(broker, traffic, plan)


def faults(report: Report) -> dict[str, int]:
    names = [
        "lost",
        "refused",
        "repeated",
        "conflicting",
        "unexpected",
        "wrong_key",
        "wrong_partition",
        "late",
        "degraded",
    ]
    return {name: number for name in names if (number := getattr(report, name))}


@pytest.mark.parametrize("key_by", ["sender+recipient", "sender", "recipient", "none"])
async def test_a_service_that_does_its_work_is_reported_without_a_fault(
    settings: Settings, broker: MemoryBroker, key_by: KeyBy
) -> None:
    async with serving(settings, broker):
        report = await generator(broker, key_by=key_by).run()
    assert faults(report) == {}
    assert (report.sent, report.decided + report.undecidable) == (300, 300)
    assert report.undecidable > 0 and report.blocked > 0
    latency = report.latency_ms
    assert latency is not None and 0 < latency.p50 <= latency.p95 <= latency.p99 <= latency.max
    keys = {record.key for record in broker.records("sms.inbound")}
    assert (keys == {None}) == (key_by == "none")


async def test_messages_that_a_stopped_worker_left_are_lost(settings: Settings, broker: MemoryBroker) -> None:
    async with serving(settings, broker) as worker:
        sending = asyncio.create_task(generator(broker, messages=400, rate=400.0, wait_s=1.0).run())
        while len(broker.records("sms.decisions")) < 50:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
        worker.stop()
        report = await sending
    assert not report.whole
    assert report.lost == report.sent - report.undecidable - report.decided > 0
    assert report.decided == len(broker.records("sms.decisions"))


async def test_a_pace_is_kept(settings: Settings, broker: MemoryBroker) -> None:
    async with serving(settings, broker):
        report = await generator(broker, messages=100, rate=100.0).run()
    assert report.send_seconds == pytest.approx(1.0, abs=0.3)


async def test_repeated_conflicting_and_misplaced_decisions_are_told_apart(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MemoryProducer.publish
    first: list[Outgoing] = []

    async def spoilt(self: MemoryProducer, partition: Partition, batch: Sequence[Outgoing]) -> None:
        if partition.topic != "sms.decisions" or first:
            await real(self, partition, batch)
            return
        first.append(batch[0])
        decision = json.loads(batch[0].value or b"")
        other = json.dumps(decision | {"decision_id": "f" * 32}).encode()
        await real(self, partition, [batch[0], batch[0], Outgoing(key=b"k", value=other)])
        await real(self, partition, [Outgoing(key=b"not its own", value=batch[1].value), *batch[3:]])
        await real(self, Partition(partition.topic, (partition.number + 1) % PARTITIONS), [batch[2]])
        await real(self, partition, [Outgoing(key=None, value=b"noise"), Outgoing(key=None, value=None)])

    monkeypatch.setattr(MemoryProducer, "publish", spoilt)
    async with serving(settings, broker):
        report = await generator(broker).run()
    assert faults(report) == {"repeated": 1, "conflicting": 1, "wrong_partition": 1, "wrong_key": 1}
    assert report.whole


async def test_what_the_broker_refuses_is_not_lost_but_said(settings: Settings, broker: MemoryBroker) -> None:
    broker.refuse("sms.inbound", 1)
    async with serving(settings, broker):
        report = await generator(broker).run()
    assert report.refused > 0 and report.lost == 0 and not report.whole
    assert report.sent + report.refused == 300


async def test_the_command_reports_on_a_real_service_and_ends_with_one_when_nobody_decides(
    kafka: str, topic: str, tiny_model: Path, tmp_path: Path
) -> None:
    names = Names.of(topic)
    await create(kafka_broker(kafka), names, partitions=4)
    environment = {"SPAMGUARD_MODEL": str(tiny_model), "SPAMGUARD_BROKERS": kafka, **names.environment()}

    async def loadgen(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "spamguard", "loadgen", "--json", *arguments]
        ran = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, env={**_clean(), **environment}, capture_output=True, check=False
        )
        return ran.returncode, json.loads(ran.stdout)

    with Serving(tmp_path, environment) as service:
        service.await_ready()
        code, report = await loadgen("--count", "3000", "--rate", "0")
        assert (code, report["sent"], report["lost"], report["repeated"]) == (0, 3000, 0, 0)
        assert report["wrong_key"] == report["wrong_partition"] == report["unexpected"] == report["degraded"] == 0
        assert report["decided"] == service.total("spamguard_decisions_total")
        assert report["undecidable"] == service.total("spamguard_dead_letters_total")
        assert service.terminate() == 0
    code, report = await loadgen("--count", "20", "--rate", "100", "--wait", "1", "--no-malformed")
    assert (code, report["lost"]) == (1, 20)


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SPAMGUARD_")}
