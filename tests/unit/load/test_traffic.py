"""Is invented traffic the same for the same seed, of the kinds that were asked for, and about nobody?"""

import re
from collections import Counter
from collections.abc import Mapping

import pytest

from spamguard.core.codec import decode_message
from spamguard.core.sms import text_of
from spamguard.errors import DataError
from spamguard.load.traffic import MIX, Load, Traffic, parse_mix, without_malformed
from spamguard.service.judging import sample_messages
from spamguard.types import DeadReason, DefectiveMessage

NOW_MS = 1_795_485_600_000


def traffic(*, seed: int = 1, mix: Mapping[str, float] = MIX) -> Traffic:
    return Traffic(seed=seed, run="test", samples=sample_messages().read_bytes().splitlines(), mix=mix)


@pytest.fixture(scope="module")
def loads() -> list[Load]:
    return traffic().take(20_000, now_ms=NOW_MS)


def test_the_same_seed_makes_the_same_bytes_however_they_are_taken(loads: list[Load]) -> None:
    again = traffic()
    assert [load for size in (1, 999, 7, 18_993) for load in again.take(size, now_ms=NOW_MS)] == loads
    assert traffic(seed=2).take(100, now_ms=NOW_MS) != loads[:100]


def test_kinds_come_in_the_shares_that_were_asked_for(loads: list[Load]) -> None:
    counts = Counter(load.kind for load in loads)
    for kind, share in MIX.items():
        assert counts[kind] / len(loads) == pytest.approx(share / 100, abs=0.02)
    assert {load.kind for load in traffic(mix={"codes": 1, "binary": 1}).take(100, now_ms=NOW_MS)} == {
        "codes",
        "binary",
    }


def test_what_a_gateway_should_send_is_whole_and_has_the_key_of_its_sender_and_recipient(loads: list[Load]) -> None:
    for load in loads:
        message = decode_message(load.value)
        assert isinstance(message, DeadReason) != load.decidable
        if load.kind != "malformed":
            assert not isinstance(message, DeadReason | DefectiveMessage)
            assert load.key == f"{message.sender}|{message.recipient}".encode()
            assert message.message_id == f"test-{load.number:09}"
            assert (message.received_at, message.tenant) == (NOW_MS, "loadgen")


def test_malformed_records_are_some_dead_and_some_to_be_decided_and_can_be_left_out(loads: list[Load]) -> None:
    malformed = [load for load in loads if load.kind == "malformed"]
    assert {load.decidable for load in malformed} == {True, False}
    tame = traffic(mix=without_malformed(MIX)).take(5_000, now_ms=NOW_MS)
    assert all(load.decidable for load in tame)


def test_payloads_in_hex_can_be_read(loads: list[Load]) -> None:
    texts = []
    for load in loads:
        message = decode_message(load.value)
        if load.kind == "payload_hex" and not isinstance(message, DeadReason):
            texts.append(text_of(message) or "")
    assert all(text and "�" not in text for text in texts)


def test_a_campaigns_copies_differ_by_little(loads: list[Load]) -> None:
    by_sender: dict[str, set[str]] = {}
    for load in loads:
        message = decode_message(load.value)
        if load.kind == "campaigns" and not isinstance(message, DeadReason):
            by_sender.setdefault(message.sender, set()).add(message.text or "")
    assert len(by_sender) == 12
    for texts in by_sender.values():
        assert len(texts) > 20
        assert max(map(len, texts)) - min(map(len, texts)) <= 8


def test_numbers_belong_to_nobody(loads: list[Load]) -> None:
    for load in loads:
        if load.kind not in ("samples", "binary", "payload_hex"):
            for number in re.findall(rb"\+\d{11,}", load.value):
                assert number.startswith(b"+861390000")


@pytest.mark.parametrize("given", ["chat", "chat=x", "chatter=1", "chat=-1", "chat=nan"])
def test_a_mix_that_cannot_be_is_a_sentence(given: str) -> None:
    with pytest.raises(DataError, match="is not like chat=80"):
        parse_mix(given)


def test_a_mix_without_any_share_is_a_sentence() -> None:
    with pytest.raises(DataError, match="no kind"):
        traffic(mix={"chat": 0})
