"""Do lists reach a running worker, is the topic the one truth, and does nothing on it stop the worker?

The real worker on the broker in memory. tests/integration/test_kafka_lists.py has the two seconds on real Kafka.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import structlog

from spamguard.backends.memory import MemoryBroker
from spamguard.config import Settings, load
from spamguard.errors import ListRejected
from spamguard.service import listing, streams
from spamguard.service.worker import Worker
from spamguard.stream import compacted
from spamguard.stream import lists as following
from spamguard.types import ListChange, ListEntry, ListKind, Outgoing, Partition, Treatment
from tests.cast import BANK_CODE, MUM, PHISHING
from tests.integration.test_memory_control import Traffic
from tests.integration.test_memory_service import metric, serving, until

LISTS = Partition("sms.lists", 0)
HEAD = "kind,value,action,tenant\n"


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> Settings:
    given = {"model": str(tiny_model), "metrics_port": 0, "control_file": tmp_path / "allow-all", "breaker": False}
    return load(given, environ={})


@pytest.fixture
def broker(settings: Settings) -> MemoryBroker:
    return streams.memory_broker(settings, partitions=1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "RETRY_S", 0.02)
    monkeypatch.setattr(compacted, "POLL_S", 0.02)
    monkeypatch.setattr(listing, "LOOK_EVERY_S", 0.02)


def entry(kind: ListKind, value: str, action: Treatment = Treatment.BLOCK, **more: str) -> ListEntry:
    return ListEntry(kind=kind, value=value, action=action, **more)


async def change(settings: Settings, broker: MemoryBroker, identity: str, said: ListEntry | None) -> None:
    written = ListChange(entry=said, who="night@desk", why="a wave", at="2026-11-24T03:00:00+00:00")
    await listing.write_topic(settings, [(identity, written)], broker=broker)


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


async def ruled(traffic: Traffic, text: str, **fields: str) -> tuple[str, str, str | None]:
    [decision] = await traffic.judged(text, **fields)
    return decision["action"], decision["reason"], decision.get("list_entry")


async def test_entries_come_change_and_go_while_the_worker_runs(settings: Settings, broker: MemoryBroker) -> None:
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker) as worker:
            assert await ruled(traffic, MUM, sender="+8613900001234") == ("allow", "ham_score", None)
            await change(settings, broker, "L1", entry(ListKind.SENDER, "139-0000-1234"))
            await until(lambda: metric(worker, "spamguard_list_entries", state="live") == 1)
            assert await ruled(traffic, MUM, sender="+8613900001234") == ("block", "list_block", "L1")
            await change(settings, broker, "L1", entry(ListKind.SENDER, "13900001234", Treatment.REVIEW))
            await until(lambda: any(event.get("change") == "review sender" for event in logs))
            assert await ruled(traffic, MUM, sender="13900001234") == ("allow", "list_review", "L1")
            await change(settings, broker, "L1", None)
            await until(lambda: metric(worker, "spamguard_list_entries", state="live") == 0)
            assert await ruled(traffic, MUM, sender="13900001234") == ("allow", "ham_score", None)
    told = [event for event in logs if event["event"] == "list_changed"]
    assert [event["change"] for event in told] == ["block sender", "review sender", "taken away"]
    assert all(event["who"] == "night@desk" and event["why"] == "a wave" for event in told)
    assert "13900001234" not in str(logs)
    copies = [record.value or b"" for record in broker.records("sms.review")]
    assert any(b'"list_block"' in copy for copy in copies)


async def test_who_starts_late_knows_every_entry_before_the_first_message(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compacted, "MAX_RECORDS", 100)
    many = [(f"N{number}", ListChange(entry=entry(ListKind.SENDER, f"1069{number:05}"))) for number in range(1000)]
    await listing.write_topic(settings, many, broker=broker)
    await change(settings, broker, "N7", None)
    await change(settings, broker, "N8", entry(ListKind.HOST, "evil.example"))
    traffic = Traffic(broker)
    broker.append(Partition("sms.inbound", 0), [])
    async with serving(settings, broker) as worker:
        assert await ruled(traffic, MUM, sender="106900999") == ("block", "list_block", "N999")
        assert await ruled(traffic, MUM, sender="106900007") == ("allow", "ham_score", None)
        assert await ruled(traffic, MUM, sender="106900008") == ("allow", "ham_score", None)
        assert (await ruled(traffic, f"{MUM} www.evil.example"))[2] == "N8"
        assert metric(worker, "spamguard_list_entries", state="live") == 999


async def test_a_forged_sender_or_signature_opens_no_door(settings: Settings, broker: MemoryBroker) -> None:
    for number, (kind, value) in enumerate(
        [(ListKind.SENDER, "10690001"), (ListKind.SIGNATURE, "青溪银行"), (ListKind.PATTERN, "冻结"),
         (ListKind.HOST, "qingxisafe.example"), (ListKind.LINK, "acme")]
    ):  # fmt: skip
        # as somebody would write them who may write the topic and did not ask the command
        await change(settings, broker, f"F{number}", entry(kind, value, Treatment.ALLOW))
    await change(settings, broker, "OK", entry(ListKind.LINK, "acme/10690001", Treatment.ALLOW, tenant="t1"))
    traffic = Traffic(broker)
    spam = PHISHING  # with a signature that it does not own
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker):
            assert (await ruled(traffic, spam, sender="10690001"))[1] == "spam_score"
            assert (await ruled(traffic, spam, sender="10690001", tenant="t1"))[1] == "spam_score"
            assert (await ruled(traffic, spam, sender="10690001", tenant="t2", account="acme"))[1] == "spam_score"
            assert (await ruled(traffic, spam, sender="10690001", account="acme"))[1] == "spam_score"
            assert (await ruled(traffic, spam, sender="10690002", tenant="t1", account="acme"))[1] == "spam_score"
            assert (await ruled(traffic, spam, sender="10690001", tenant="t1", account="acme")) == (
                "allow",
                "list_allow",
                "OK",
            )
    refused = [event["entry"] for event in logs if event["event"] == "list_change_refused"]
    assert refused == ["F0", "F1", "F2", "F3", "F4"]


async def test_records_that_nobody_understands_change_nothing(settings: Settings, broker: MemoryBroker) -> None:
    hostile: list[tuple[bytes | None, bytes | None]] = [
        (b"L1", b"no json"), (None, None), (b"\xff", b"{}"), (b"L2", b'{"entry": {"kind": "sender"}}'),
        (b"L3", b'{"entry": {"kind": "spell", "value": "x", "action": "block"}}'), (b"x" * 500, b"[]"),
        (b"P1", b'{"entry": {"kind": "pattern", "value": "(((((((((((a{1000}){1000}", "action": "block"}}'),
    ]  # fmt: skip
    broker.append(LISTS, [Outgoing(key=key, value=value) for key, value in hostile])
    traffic = Traffic(broker)
    async with serving(settings, broker) as worker:
        assert await ruled(traffic, MUM) == ("allow", "ham_score", None)
        broker.append(LISTS, [Outgoing(key=key, value=value) for key, value in hostile])
        await change(settings, broker, "L9", entry(ListKind.CONTACT, "fp00061"))
        await until(lambda: metric(worker, "spamguard_list_entries", state="live") == 1)
        assert (await ruled(traffic, f"{MUM} 加 f p 0 0 0 6 1"))[1:] == ("list_block", "L9")


async def test_without_a_topic_the_file_counts_and_is_followed_until_the_topic_is_there(
    settings: Settings, broker: MemoryBroker, tmp_path: Path
) -> None:
    del broker.logs["sms.lists"]
    file = tmp_path / "lists.csv"
    write(file, f"{HEAD}sender,10690001,block,\n")
    settings = settings.model_copy(update={"lists": file})
    traffic = Traffic(broker)
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker) as worker:
            assert await ruled(traffic, MUM, sender="10690001") == ("block", "list_block", "lists.csv:2")
            write(file, f"{HEAD}sender,10690002,block,\n")
            await until(lambda: any(event["event"] == "lists_swapped" for event in logs))
            assert (await ruled(traffic, MUM, sender="10690001"))[0] == "allow"
            write(file, f"{HEAD}sender,10690003,allow,\n")
            await until(lambda: any(event["event"] == "lists_rejected" for event in logs))
            assert (await ruled(traffic, MUM, sender="10690002"))[0] == "block"
            broker.add_topic("sms.lists", 1)
            await until(lambda: metric(worker, "spamguard_lists_read") == 1)
            assert (await ruled(traffic, MUM, sender="10690002"))[0] == "allow"
    [why] = [event["why"] for event in logs if event["event"] == "lists_rejected"]
    assert "lists.csv:2" in why and "can be forged" in why


async def test_an_outage_of_the_topic_keeps_the_last_entries_and_is_said(
    settings: Settings, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = asyncio.Event()
    real = compacted.pieces

    async def fragile(*given: Any, **named: Any) -> Any:
        if broken.is_set():
            raise RuntimeError("a client library's own surprise")
        async for piece in real(*given, **named):
            if broken.is_set():
                raise RuntimeError("a client library's own surprise")
            yield piece

    monkeypatch.setattr(following, "pieces", fragile)
    await change(settings, broker, "L1", entry(ListKind.SENDER, "10690001"))
    traffic = Traffic(broker)
    async with serving(settings, broker) as worker:
        assert (await ruled(traffic, MUM, sender="10690001"))[0] == "block"
        broken.set()
        await until(lambda: metric(worker, "spamguard_lists_read") == 0)
        assert "lists" in worker.health.degraded
        await change(settings, broker, "L1", None)
        assert (await ruled(traffic, MUM, sender="10690001"))[0] == "block"
        broken.clear()
        await until(lambda: metric(worker, "spamguard_lists_read") == 1)
        assert "lists" not in worker.health.degraded
        assert (await ruled(traffic, MUM, sender="10690001"))[0] == "allow"


async def test_a_start_needs_a_sound_file(settings: Settings, broker: MemoryBroker, tmp_path: Path) -> None:
    file = tmp_path / "lists.csv"
    write(file, f"{HEAD}signature,青溪银行,allow,\n")
    with pytest.raises(ListRejected, match=r"lists\.csv:2"):
        await Worker(settings.model_copy(update={"lists": file}), broker=broker).run()


async def test_a_listed_code_is_the_operators_word_and_review_changes_no_action(
    settings: Settings, broker: MemoryBroker
) -> None:
    await change(settings, broker, "R1", entry(ListKind.SIGNATURE, "青溪银行", Treatment.REVIEW))
    await change(settings, broker, "B1", entry(ListKind.SENDER, "10690009"))
    traffic = Traffic(broker)
    async with serving(settings, broker):
        assert await ruled(traffic, BANK_CODE) == ("allow", "list_review", "R1")
        assert await ruled(traffic, BANK_CODE, sender="10690009") == ("block", "list_block", "B1")
        [spam] = await traffic.judged(PHISHING)
        assert (spam["action"], spam["reason"]) == ("block", "spam_score")
