"""Does `dead-letters` understand what it is asked, and refuse what nobody could mean?"""

from datetime import UTC, datetime

import pytest

from spamguard.backends.memory import MemoryBroker
from spamguard.cli import dead_letters
from spamguard.config import load
from spamguard.core.codec import encode
from spamguard.service import streams
from spamguard.types import DeadLetter, DeadReason, Outgoing, Partition
from tests.unit.cli.conftest import Spamguard


@pytest.fixture(autouse=True)
def broker(monkeypatch: pytest.MonkeyPatch) -> MemoryBroker:
    """A broker with one dead letter whose record is kept and still unreadable, and one that can be read now."""
    broker = streams.memory_broker(load(environ={}), partitions=2)
    broker.append(Partition("sms.inbound", 1), [Outgoing(key=b"k", value=b"x"), Outgoing(key=b"k", value=READABLE)])
    for offset, size in ((0, 1), (1, len(READABLE))):
        letter = DeadLetter(
            reason=DeadReason.NOT_JSON, topic="sms.inbound", partition=1, offset=offset, size_bytes=size, seen_at_ms=1
        )
        broker.append(Partition("sms.dead-letter", 0), [Outgoing(key=b"k", value=encode(letter))])
    monkeypatch.setattr(streams, "kafka", lambda settings: broker)
    return broker


READABLE = b'{"message_id": "m"}'


def test_a_list_shows_them(spamguard: Spamguard) -> None:
    ended = spamguard("dead-letters", "list")
    assert (ended.code, ended.err) == (0, "")
    assert ended.lines[1].split() == ["1970-01-01T00:00:00Z", "not_json", "sms.inbound", "1", "0", "1"]
    assert ended.lines[-1].split() == ["2", "dead", "letters"]


def test_a_replay_that_leaves_something_out_says_what_and_ends_with_one(
    spamguard: Spamguard, broker: MemoryBroker
) -> None:
    ended = spamguard("dead-letters", "replay", "--all", "--yes")
    assert ended.code == 1
    assert ended.lines[0] == "left out  sms.inbound-1@0  still unreadable (not_json)"
    assert [record.value for record in broker.logs["sms.inbound"][1]] == [b"x", READABLE, READABLE]


def test_one_record_can_be_meant_and_nothing_happens_without_yes(spamguard: Spamguard, broker: MemoryBroker) -> None:
    ended = spamguard("dead-letters", "replay", "--topic", "sms.inbound", "--partition", "1", "--offset", "1")
    assert ended.code == 0
    assert ended.lines[-1] == "A dry run: nothing was published. With --yes 1 records go into sms.inbound."
    assert spamguard("dead-letters", "replay", "--offset", "1", "--stdout-count").out == "1\n"
    assert len(broker.records("sms.inbound")) == 2


def test_a_record_that_no_dead_letter_names_is_not_replayed(spamguard: Spamguard) -> None:
    ended = spamguard("dead-letters", "replay", "--offset", "77", "--yes")
    assert ended.code == 1
    assert "no dead letter in sms.dead-letter is meant" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay",), "--all"),
        (("replay", "--all", "--stdout-count", "--yes"), "only counts"),
        (("list", "--since", "yesterday"), "30m, 2h, 7d"),
    ],
)
def test_what_nobody_can_mean_is_a_sentence(arguments: tuple[str, ...], said: str, spamguard: Spamguard) -> None:
    ended = spamguard("dead-letters", *arguments)
    assert ended.code == 2
    assert said in ended.err


def test_a_moment_is_a_span_or_a_time() -> None:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    assert dead_letters.moment("90m", now) == dead_letters.moment("2026-11-24T18:30:00+08:00")
    assert dead_letters.moment(None) is None
