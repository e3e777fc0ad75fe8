"""Is a wish to be left alone understood, kept without its numbers, and no reason to lose a code?"""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.normalize import normalize
from spamguard.core.optouts import NOTICE, MuteKey, Mutes, is_answer, mute_of, read_keys
from spamguard.types import Message

OLD, NEW = MuteKey("k1", b"0123456789abcdef"), MuteKey("k2", b"fedcba9876543210")
SUBSCRIBER, SENDER = "13900001234", "106900770001"


def answers(text: str, direction: str = "MO") -> bool:
    return is_answer(Message(message_id="m", text=text, direction=direction), normalize(text))


@pytest.mark.parametrize(
    "text", ["R", "t", "TD", "Ｔ Ｄ", "N", "退订", "退 訂", "STOP", "stop.", " T ", "【退订】", "T\u200bD"]
)
def test_an_answer_is_understood_however_it_is_written(text: str) -> None:
    assert answers(text)
    assert not answers(text, "MT")


@pytest.mark.parametrize(
    "text", ["", "好", "TDD", "退订短信怎么退", "stop calling me, mum", "R U there", "T恤", "n" * 20]
)
def test_a_message_that_says_more_is_no_answer(text: str) -> None:
    assert not answers(text)


@pytest.mark.parametrize(
    "text", ["周年庆全场5折 退订回T", "拒收请回复R", "Big sale! Reply STOP to opt out", "回TD退订"]
)
def test_commercial_messages_say_how_to_be_rid_of_them(text: str) -> None:
    assert NOTICE.search(normalize(text))


def test_a_mute_holds_for_its_pair_in_every_writing_and_under_old_keys_too() -> None:
    mute = mute_of(OLD, SUBSCRIBER, sender=SENDER)
    assert mute.startswith("k1.") and SUBSCRIBER not in mute
    assert mute == mute_of(OLD, "+86 139-0000-1234", sender=SENDER) != mute_of(NEW, SUBSCRIBER, sender=SENDER)
    mutes = Mutes([NEW, OLD]).changed([(mute.encode(), True)])
    message = Message(message_id="m", sender=SENDER, recipient=f"+86{SUBSCRIBER}")
    assert mutes.mutes(message, [])
    assert not Mutes([NEW]).changed([(mute.encode(), True)]).mutes(message, [])
    assert not mutes.mutes(Message(message_id="m", sender="106900770002", recipient=SUBSCRIBER), [])
    assert not mutes.mutes(Message(message_id="m", sender=SUBSCRIBER, recipient=SENDER, direction="MO"), [])
    assert not mutes.changed([(mute.encode(), False)]).mutes(message, [])
    signed = Mutes([NEW]).changed([(mute_of(NEW, SUBSCRIBER, signature="【云杉百货】").encode(), True)])
    assert signed.mutes(Message(message_id="m", sender="1", recipient=SUBSCRIBER), ["云杉百货"])


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30), st.integers(0, 30))
def test_mutes_are_what_a_set_would_be(changes: list[tuple[int, bool]], settle_at: int) -> None:
    truth: set[int] = set()
    mutes = Mutes([OLD])
    for place, (who, muted) in enumerate(changes):
        (truth.add if muted else truth.discard)(who)
        mutes = mutes.changed([(mute_of(OLD, f"1390000000{who}", sender=SENDER).encode(), muted)])
        mutes = mutes.settled() if place == settle_at else mutes
    held = {
        who
        for who in range(10)
        if mutes.mutes(Message(message_id="m", sender=SENDER, recipient=f"1390000000{who}"), [])
    }
    assert held == truth
    assert len(mutes) == len(truth)


def test_a_million_mutes_take_eight_bytes_each() -> None:
    held = np.sort(np.random.default_rng(7).integers(0, 1 << 63, 1_000_000, dtype=np.uint64))
    mutes = Mutes([OLD], held.data)
    assert held.nbytes == 8_000_000
    mute = mute_of(OLD, SUBSCRIBER, sender=SENDER)
    message = Message(message_id="m", sender=SENDER, recipient=SUBSCRIBER)
    assert not mutes.mutes(message, [])
    assert mutes.changed([(mute.encode(), True)]).settled().mutes(message, [])


@pytest.mark.parametrize(
    "text", ["", "# only words", "k1", "k1:short", "k1:%%%", f"k 1:{base64.b64encode(b'x' * 16).decode()}"]
)
def test_a_bad_file_of_secrets_is_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        read_keys(text)
    assert "short" not in str(caught.value)


def test_the_first_secret_is_the_one_that_new_mutes_get() -> None:
    lines = [f"{key.version}:{base64.b64encode(key.secret).decode()}" for key in (NEW, OLD)]
    assert read_keys("# ours\n" + "\n".join(lines)) == (NEW, OLD)
    with pytest.raises(ValueError, match="two of one version"):
        read_keys("\n".join([lines[0], lines[0]]))
