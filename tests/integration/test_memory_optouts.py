"""Does a subscriber's answer reach the topic, mute its sender everywhere, and never cost a code?

The real worker on the broker in memory.
"""

from pathlib import Path

import pytest
import structlog

from spamguard.backends.memory import MemoryBroker
from spamguard.config import Settings, load
from spamguard.errors import ConfigError
from spamguard.service import streams
from spamguard.service.worker import Worker
from spamguard.stream import compacted, optouts
from tests.cast import BANK_CODE, MUM, SALE
from tests.integration.test_memory_control import Traffic
from tests.integration.test_memory_service import metric, serving, until

SUBSCRIBER, SHOP = "13900001234", "106900770001"
KEY = "k1:MDEyMzQ1Njc4OWFiY2RlZg==\n"


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> Settings:
    keys = tmp_path / "optout.keys"
    keys.write_text(KEY, encoding="utf-8")
    given = {"model": str(tiny_model), "metrics_port": 0, "control_file": tmp_path / "allow-all", "breaker": False}
    return load({**given, "optout_key_file": str(keys), "preset": "fraud-only"}, environ={})


@pytest.fixture
def broker(settings: Settings) -> MemoryBroker:
    return streams.memory_broker(settings, partitions=1)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optouts, "RETRY_S", 0.02)
    monkeypatch.setattr(compacted, "POLL_S", 0.02)


async def ruled(traffic: Traffic, text: str, **fields: str) -> tuple[str, str]:
    [decision] = await traffic.judged(text, **fields)
    return decision["action"], decision["reason"]


async def test_an_answer_passes_is_published_and_mutes_its_sender_for_its_subscriber_alone(
    settings: Settings, broker: MemoryBroker
) -> None:
    traffic = Traffic(broker)
    ad = {"sender": SHOP, "recipient": f"+86{SUBSCRIBER}"}
    with structlog.testing.capture_logs() as logs:
        async with serving(settings, broker) as worker:
            await until(lambda: optouts.DEGRADED not in worker.health.degraded)
            assert (await ruled(traffic, SALE, **ad))[0] == "allow"
            [answer] = await traffic.judged("ＴＤ", sender=SUBSCRIBER, recipient=SHOP, direction="MO")
            assert (answer["action"], answer["reason"], answer["guard"]) == ("allow", "guard", "opt_out")
            await until(lambda: metric(worker, "spamguard_mutes") == 1)
            assert await ruled(traffic, SALE, **ad) == ("block", "opted_out")
            assert await ruled(traffic, SALE, **(ad | {"consent": "opt_in"})) == ("block", "opted_out")
            assert (await ruled(traffic, SALE, sender=SHOP, recipient="13900001235"))[0] == "allow"
            assert (await ruled(traffic, SALE, sender="106900770002", recipient=SUBSCRIBER))[0] == "allow"
            assert (await ruled(traffic, BANK_CODE, **ad))[0] == "allow"
            assert (await ruled(traffic, MUM, **ad))[0] == "allow"
    [record] = broker.records("sms.optout")
    assert (record.key or b"").startswith(b"k1.") and SUBSCRIBER.encode() not in (record.key or b"")
    assert SUBSCRIBER.encode() in (record.value or b"")
    assert SUBSCRIBER not in str(logs)
    async with serving(settings, broker) as late:
        await until(lambda: metric(late, "spamguard_mutes") == 1)
        assert await ruled(traffic, SALE, **ad) == ("block", "opted_out")


async def test_a_topic_that_takes_nothing_holds_no_message_up_and_gets_the_wish_later(
    settings: Settings, broker: MemoryBroker
) -> None:
    broker.refuse("sms.optout", times=3)
    traffic = Traffic(broker)
    async with serving(settings, broker) as worker:
        [answer] = await traffic.judged("退订", sender=SUBSCRIBER, recipient=SHOP, direction="MO")
        assert answer["guard"] == "opt_out"
        await until(lambda: metric(worker, "spamguard_opt_outs_total", outcome="published") == 1)
    assert len(broker.records("sms.optout")) == 1


async def test_without_a_secret_an_answer_still_passes_and_with_a_bad_one_nothing_starts(
    settings: Settings, broker: MemoryBroker, tmp_path: Path
) -> None:
    traffic = Traffic(broker)
    async with serving(settings.model_copy(update={"optout_key_file": None}), broker):
        [answer] = await traffic.judged("退订", sender=SUBSCRIBER, recipient=SHOP, direction="MO")
        assert answer["guard"] == "opt_out"
    assert broker.records("sms.optout") == []
    with pytest.raises(ConfigError, match="optout_key_file"):
        await Worker(settings.model_copy(update={"optout_key_file": tmp_path}), broker=broker).run()
