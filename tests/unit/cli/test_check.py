"""Does the preflight find what would keep the service from running, and say what to do next?"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from spamguard import config
from spamguard.backends.memory import MemoryBroker
from spamguard.cli.check import (
    FAULT,
    FINE,
    LONG_LAG_RECORDS,
    OLD_MODEL_DAYS,
    SKIPPED,
    WARNING,
    Finding,
    broker_findings,
    model_finding,
)
from spamguard.errors import BrokerUnavailable
from spamguard.service import orders, streams
from spamguard.types import Order, Outgoing, Partition
from tests.unit.cli.conftest import Spamguard

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
TOPICS = {"sms.inbound": 3, "sms.decisions": 3, "sms.review": 1, "sms.dead-letter": 1, "sms.control": 1, "sms.lists": 1}


async def found(broker: MemoryBroker, **options: Any) -> dict[str, Finding]:
    asking = broker_findings(config.load(), broker.admin(), NOW, broker=broker, **options)
    findings = [finding async for finding in asking]
    return {finding.what: finding for finding in findings}


async def test_all_in_place_is_all_fine() -> None:
    broker = MemoryBroker()
    await streams.create_topics(config.load(), broker.admin(), TOPICS)
    findings = await found(broker)
    assert [finding.mark for finding in findings.values()] == [FINE] * 7
    assert findings["kept"].sentence == "compacted, so that the last record of every key stays: sms.control, sms.lists"
    assert findings["control"].sentence == "allow-all is off, 0 modes ordered"
    assert "sms.inbound 3, sms.decisions 3" in findings["topics"].sentence
    assert findings["clock"].sentence == "no record to compare with yet"


async def test_a_control_topic_that_forgets_is_named_with_the_command_that_mends_it() -> None:
    broker = MemoryBroker(TOPICS)
    broker.policies["sms.control"] = "compact,delete"
    kept = (await found(broker))["kept"]
    assert (kept.mark, kept.exit_code) == (WARNING, 0)
    assert "sms.control has cleanup.policy=compact,delete" in kept.sentence
    assert "cleanup.policy=compact --entity-name sms.control" in kept.sentence


async def test_missing_topics_are_named_with_the_command_that_creates_them() -> None:
    findings = await found(MemoryBroker({"sms.inbound": 3}))
    assert (findings["topics"].mark, findings["topics"].exit_code) == (FAULT, 5)
    for name in ("sms.decisions", "sms.review", "sms.dead-letter", "spamguard check --create-topics"):
        assert name in findings["topics"].sentence
    assert {"clock", "lag"} < findings.keys()


async def test_without_a_lists_topic_nothing_is_wrong_and_an_empty_one_beside_a_file_is_said() -> None:
    without = (await found(MemoryBroker({name: n for name, n in TOPICS.items() if name != "sms.lists"})))["lists"]
    assert (without.mark, "no lists are used" in without.sentence) == (FINE, True)
    settings = config.load({"lists": "lists.csv"})
    asking = broker_findings(settings, MemoryBroker(TOPICS).admin(), NOW, broker=MemoryBroker(TOPICS))
    [finding] = [finding async for finding in asking if finding.what == "lists"]
    assert finding.mark == WARNING and "spamguard lists import lists.csv --yes" in finding.sentence


async def test_without_the_control_topic_the_service_runs_and_the_kill_switch_is_said_to_reach_nobody() -> None:
    control = (await found(MemoryBroker({name: n for name, n in TOPICS.items() if name != "sms.control"})))["control"]
    assert (control.mark, control.exit_code) == (WARNING, 0)
    assert "spamguard allow-all on" in control.sentence
    assert "spamguard check --create-topics" in control.sentence
    broker = MemoryBroker(TOPICS)
    broker.refuse("follow")
    assert (await found(broker))["control"].mark == WARNING


async def test_a_kill_switch_that_is_on_is_worth_a_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker = MemoryBroker(TOPICS)
    await orders.give_order(config.load(), "allow_all", Order(on=True, reason="a bad model"), broker=broker)
    assert "allow-all is ON" in (await found(broker))["control"].sentence
    monkeypatch.setenv("SPAMGUARD_CONTROL_FILE", str(tmp_path / "allow-all"))
    (tmp_path / "allow-all").touch()
    assert "exists; nothing is blocked" in (await found(broker))["control"].sentence


async def test_without_an_inbound_topic_nothing_is_asked_of_it() -> None:
    findings = await found(MemoryBroker({}))
    assert findings["clock"].mark == SKIPPED
    assert "lag" not in findings


@pytest.mark.parametrize(
    ("there", "options", "partitions"),
    [({}, {}, 6), ({}, {"number": 12}, 12), ({"sms.inbound": 3}, {}, 3), ({"sms.inbound": 3}, {"number": 4}, 4)],
)
async def test_missing_topics_are_created_with_as_many_partitions_as_the_inbound_one(
    there: dict[str, int], options: dict[str, int], partitions: int
) -> None:
    broker = MemoryBroker(there)
    findings = await found(broker, create_topics=True, **options)
    assert findings["topics"].mark == FINE
    assert {name: len(broker.logs[name]) for name in TOPICS if name not in there} == {
        name: 1 if name in ("sms.control", "sms.lists") else partitions for name in TOPICS if name not in there
    }
    again = await found(broker, create_topics=True)
    assert again["created"].sentence == "nothing: every topic was there"


async def test_too_few_partitions_are_a_fault_with_the_command_that_adds_some() -> None:
    findings = await found(MemoryBroker({**TOPICS, "sms.decisions": 2}))
    assert findings["topics"].exit_code == 5
    assert "kafka-topics.sh --alter --topic sms.decisions --partitions 3" in findings["topics"].sentence


@pytest.mark.parametrize(("ahead_s", "mark"), [(-7200, FINE), (0, FINE), (4, FINE), (6, WARNING), (3600, WARNING)])
async def test_a_record_from_the_future_is_a_clock_that_nobody_keeps(ahead_s: int, mark: str) -> None:
    broker = MemoryBroker(TOPICS)
    stamp = int((NOW.timestamp() + ahead_s) * 1000)
    broker.append(Partition("sms.inbound", 1), [Outgoing(key=None, value=b"{}")], stamp)
    clock = (await found(broker))["clock"]
    assert (clock.mark, clock.exit_code) == (mark, 0)
    assert ("NTP" in clock.sentence) == (mark == WARNING)


async def test_a_long_lag_asks_for_workers() -> None:
    broker = MemoryBroker(TOPICS)
    stamp = int(NOW.timestamp() * 1000)
    few = [Outgoing(key=None, value=b"{}")] * 10
    broker.append(Partition("sms.inbound", 0), few, stamp)
    assert (await found(broker))["lag"] == Finding(FINE, "lag", "group spamguard is 10 records behind in sms.inbound")
    broker.append(Partition("sms.inbound", 0), few * (LONG_LAG_RECORDS // 10), stamp)
    lag = (await found(broker))["lag"]
    assert (lag.mark, lag.exit_code) == (WARNING, 0)
    assert "spamguard serve" in lag.sentence


async def test_when_no_broker_answers_the_rest_is_said_not_to_be_checked() -> None:
    class Silent:
        async def partitions(self, topics: object) -> dict[str, int]:
            raise BrokerUnavailable(address="kafka:9092", detail="no answer")

    admin: Any = Silent()
    findings = [finding async for finding in broker_findings(config.load(), admin, NOW)]
    assert [(finding.mark, finding.exit_code) for finding in findings] == [(FAULT, 5), (SKIPPED, 0)]
    assert "kafka:9092" in findings[0].sentence


@pytest.mark.parametrize(("days", "mark"), [(0, FINE), (OLD_MODEL_DAYS, FINE), (OLD_MODEL_DAYS + 1, WARNING)])
def test_an_old_model_is_a_warning_with_the_command_that_renews_it(days: int, mark: str, tiny_model: Path) -> None:
    manifest = msgspec.json.decode((tiny_model / "manifest.json").read_bytes())
    now = datetime.fromisoformat(manifest["created"]) + timedelta(days=days)
    finding = model_finding(config.load(), now)
    assert (finding.mark, finding.exit_code) == (mark, 0)
    assert ("spamguard train" in finding.sentence) == (mark == WARNING)
    assert "4 self-tests hold" in finding.sentence


def test_without_a_broker_to_ask_settings_and_model_are_checked(spamguard: Spamguard) -> None:
    ended = spamguard("check", "--no-broker")
    assert ended.code == 0
    assert [line.split()[:2] for line in ended.lines] == [
        ["✓", "settings"],
        ["✓", "model"],
        ["✓", "policy"],
        ["–", "broker"],
    ]
    assert "1 from environment" in ended.lines[0]


def test_every_check_runs_and_the_worst_gives_the_code(spamguard: Spamguard) -> None:
    ended = spamguard("check", "--brokers", "127.0.0.1:1", "--model", "nobody")
    assert ended.code == 5
    assert [line[0] for line in ended.lines] == ["✓", "✗", "✓", "✗", "–"]
    assert "127.0.0.1:1" in ended.out
    assert ended.err == ""
    assert spamguard("check", "--no-broker", "--model", "nobody").code == 4


def test_settings_that_do_not_hold_are_the_first_thing_said(
    spamguard: Spamguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPAMGUARD_GRUOP", "night")
    ended = spamguard("check")
    assert ended.code == 3
    assert ended.lines[0].startswith("✗ settings")
    assert "did you mean group?" in ended.lines[0]


def test_topics_cannot_be_created_without_asking_the_broker(spamguard: Spamguard) -> None:
    assert spamguard("check", "--no-broker", "--create-topics").code == 2
