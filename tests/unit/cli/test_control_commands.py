"""Does an operator's command write what workers obey, say so, and show who ordered what?"""

from pathlib import Path

import pytest

from spamguard.backends.memory import MemoryBroker
from spamguard.engine.control import Controls
from spamguard.service import streams
from tests.unit.cli.conftest import Spamguard


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryBroker:
    broker = MemoryBroker({"sms.control": 1})
    monkeypatch.setattr(streams, "kafka", lambda settings: broker)
    monkeypatch.setenv("SPAMGUARD_CONTROL_FILE", str(tmp_path / "allow-all"))
    return broker


def ordered(broker: MemoryBroker) -> Controls:
    controls = Controls()
    for record in broker.records("sms.control"):
        controls = controls.told((record.key or b"").decode(), record.value)
    return controls


def test_the_kill_switch_goes_on_and_off_and_its_status_says_who_why_and_since_when(
    spamguard: Spamguard, broker: MemoryBroker
) -> None:
    never = spamguard("allow-all", "status")
    assert never.code == 0
    assert "never ordered" in never.out and "no such file" in never.out
    on = spamguard("allow-all", "on", "--reason", "good messages [red] are blocked", "--who", "Ana")
    assert (on.code, on.err) == (0, "")
    order = ordered(broker).orders["allow_all"]
    assert (order.on, order.who, order.reason) == (True, "Ana", "good messages [red] are blocked")
    status = spamguard("allow-all", "status")
    line = next(line for line in status.lines if line.startswith("topic sms.control"))
    assert all(word in line for word in ("ON", order.since, "Ana", "good messages [red] are blocked"))
    assert spamguard("allow-all", "off").code == 0
    assert not ordered(broker).allow_all
    assert "@" in ordered(broker).orders["allow_all"].who


def test_without_a_reason_nothing_is_switched(spamguard: Spamguard, broker: MemoryBroker) -> None:
    ended = spamguard("allow-all", "on")
    assert ended.code == 2
    assert "--reason" in ended.err
    assert broker.records("sms.control") == []


def test_the_file_needs_no_broker_and_off_says_when_it_still_holds(
    spamguard: Spamguard, broker: MemoryBroker, tmp_path: Path
) -> None:
    broker.logs.clear()
    assert spamguard("allow-all", "on", "--file", "--reason", "Kafka is away", "--who", "Ana").code == 0
    assert (tmp_path / "allow-all").read_text() == "Kafka is away (Ana)\n"
    status = spamguard("allow-all", "status")
    assert status.code == 5
    assert "not read" in status.out and "Kafka is away (Ana)" in status.out
    broker.add_topic("sms.control", 1)
    assert "allow-all off --file" in spamguard("allow-all", "off").out
    assert spamguard("allow-all", "off", "--file").code == 0
    assert not (tmp_path / "allow-all").exists()


@pytest.mark.parametrize("fault", ["topic", "publish"])
def test_when_kafka_is_the_problem_the_next_step_is_the_file(
    spamguard: Spamguard, broker: MemoryBroker, fault: str
) -> None:
    if fault == "topic":
        broker.logs.clear()
    else:
        broker.refuse("sms.control")
    ended = spamguard("allow-all", "on", "--reason", "why")
    assert ended.code == 5
    assert "spamguard allow-all on --file --reason" in ended.err


def test_modes_are_ordered_listed_and_taken_back(spamguard: Spamguard, broker: MemoryBroker) -> None:
    assert spamguard("mode", "observe", "--tenant", "acme", "--direction", "MT", "--reason", "new customer").code == 0
    assert spamguard("mode", "observe", "--direction", "MO", "--reason", "a trial").code == 0
    assert spamguard("mode", "enforce", "--reason", "the trial is over").code == 0
    assert ordered(broker).modes == {"acme/MT": "observe", "/MO": "observe", None: "enforce"}
    listed = spamguard("mode", "list")
    assert [line.split("  ")[0] for line in listed.lines] == [
        "where",
        "all",
        "MO",
        "tenant acme, MT",
        "everything else",
    ]
    assert "new customer" in listed.out
    assert spamguard("mode", "default", "--tenant", "acme", "--direction", "MT").code == 0
    assert "acme" not in spamguard("mode", "list").out
    assert spamguard("mode", "observe", "--direction", "up", "--reason", "x").code == 2


def test_a_breaker_is_closed_and_all_are_turned_off(spamguard: Spamguard, broker: MemoryBroker) -> None:
    assert spamguard("breaker", "close", "--tenant", "acme", "--reason", "a real campaign").code == 0
    assert spamguard("breaker", "off", "--reason", "a known wave").code == 0
    controls = ordered(broker)
    assert controls.orders["breaker/acme"].reason == "a real campaign"
    assert not controls.ordered("breaker", unless_said=True)
    assert spamguard("breaker", "on").code == 0
    assert ordered(broker).ordered("breaker")
