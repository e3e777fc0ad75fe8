"""Does whatever has a readable message id become a message, and does nothing make the codec raise?"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.codec import decision_id, decode_message, encode, message_from, received_ms
from spamguard.core.sms import text_of
from spamguard.types import Concat, DeadReason, DefectiveMessage, Message, Partition
from tests.cast import BANK_CODE

FIELDS = tuple(field for field in Message.__struct_fields__)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ANY_MESSAGE = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), JSON, max_size=8)


def decoded(value: bytes) -> Message:
    """Return the message in a value, and hold that everything behind the codec can work with it."""
    message = decode_message(value)
    assert isinstance(message, Message)
    text_of(message)
    received_ms(message)
    assert msgspec.json.decode(encode(message))["message_id"] == message.message_id
    return message


def test_a_whole_message_survives_the_round_trip() -> None:
    message = Message(
        message_id="m-1",
        sender="10690000123",
        recipient="+8613900001234",
        text=BANK_CODE,
        payload_hex="4f60",
        encoding="ucs2",
        protocol="cmpp",
        data_coding=8,
        direction="AO",
        received_at="2026-11-24T10:00:00+08:00",
        operator="one",
        tenant="qingxi",
        account="a",
        udh_hex="050003aa0201",
        concat=Concat(ref=170, total=2, seq=1),
        consent="opt_in",
        trace_id="t",
    )
    assert decode_message(encode(message)) == message
    assert type(decode_message(encode(message))) is Message


def test_the_smallest_message_takes_the_defaults() -> None:
    assert decode_message(b'{"message_id":"m","text":"hi"}') == Message(message_id="m", text="hi")


@pytest.mark.parametrize(
    ("more", "field"),
    [(f'"{name}":{value}', name) for name in FIELDS if name != "message_id" for value in ("[7]", "1.5", "true")
     if (name, value) != ("schema_version", "true")]
    + [
        ('"schema_version":2', "schema_version"),
        ('"schema_version":"1"', "schema_version"),
        ('"kind":"mms"', "kind"),
        ('"direction":"mt"', "direction"),
        ('"consent":"maybe"', "consent"),
        ('"text":"a\\ud800b"', "text"),
        ('"received_at":1e400', "received_at"),
        ('"concat":{"ref":1}', "concat"),
        ('"data_coding":' + "9" * 5000, "data_coding"),
        ('"text":' + "[" * 50_000 + "]" * 50_000, "text"),
        ('"concat":{"ref":' + '{"a":' * 5000 + "1" + "}" * 5000 + "}", "concat"),
    ],
)  # fmt: skip
def test_a_broken_field_is_dropped_and_named_and_the_rest_is_kept(more: str, field: str) -> None:
    other = "operator" if field != "operator" else "tenant"
    text = '"text":"hi"'
    for value in (
        f'{{{text},"message_id":"m",{more},"{other}":"one"}}',
        f'{{{text},"{other}":"one",{more},"message_id":"m"}}',
    ):
        message = decoded(value.encode())
        assert isinstance(message, DefectiveMessage)
        assert message.message_id == "m"
        assert message.defects == (field,)
        assert getattr(message, other) == "one"


def test_broken_surrogates_and_broken_utf8_become_replacement_characters_and_are_named() -> None:
    for text in (b"\\ud83d", b"\xff", b"\xed\xa0\xbd"):
        message = decoded(b'{"message_id":"m","text":"ok ' + text + b' ok"}')
        assert isinstance(message, DefectiveMessage)
        assert message.defects == ("text",)
        assert (message.text or "").startswith("ok \ufffd") and (message.text or "").endswith(" ok")
    broken_id = decoded(b'{"message_id":"m\xff","text":"hi"}')
    assert isinstance(broken_id, DefectiveMessage)
    assert (broken_id.message_id, broken_id.defects) == ("m\ufffd", ("message_id",))


@pytest.mark.parametrize(
    "more",
    [
        '"x":NaN', '"x":[-Infinity]', '"x":' + "9" * 5000, '"x":1e999', '"x":' + "[" * 50_000 + "]" * 50_000,
        '"x":"\\ud800"', '"\\udfff":1', '"x":"]]}}{[","y":' + "[" * 5000 + '"\\"]"' + "]" * 5000,
    ],
)  # fmt: skip
def test_what_is_wrong_with_unknown_fields_is_nobodys_business(more: str) -> None:
    message = decoded(f'{{{more},"message_id":"m","text":"hi"}}'.encode())
    assert (message.message_id, message.text) == ("m", "hi")


def test_a_byte_order_mark_and_raw_control_characters_do_not_hide_a_message() -> None:
    assert decoded(b'\xef\xbb\xbf{"message_id":"m"}').message_id == "m"
    assert decoded(b'{"message_id":"m","text":"one\ntwo\x01"}').text == "one\ntwo\x01"


def test_a_number_as_message_id_is_read_as_its_digits_and_named() -> None:
    message = decoded(b'{"message_id":12345678901234567890123,"text":"hi"}')
    assert isinstance(message, DefectiveMessage)
    assert (message.message_id, message.defects) == ("12345678901234567890123", ("message_id",))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, DeadReason.EMPTY),
        (b"", DeadReason.EMPTY),
        (b"\xff\xfe", DeadReason.NOT_JSON),
        (b'{"message_id":"m"', DeadReason.NOT_JSON),
        (b"[" * 100_000, DeadReason.NOT_JSON),
        (b'{"message_id":"m","x":' + b"[" * 100_000, DeadReason.NOT_JSON),
        (b"[]", DeadReason.NOT_AN_OBJECT),
        (b"[" * 100_000 + b"]" * 100_000, DeadReason.NOT_AN_OBJECT),
        (b'"m"', DeadReason.NOT_AN_OBJECT),
        (b"null", DeadReason.NOT_AN_OBJECT),
        (b"NaN", DeadReason.NOT_AN_OBJECT),
        (b"{}", DeadReason.NO_MESSAGE_ID),
        (b'{"message_id":""}', DeadReason.NO_MESSAGE_ID),
        (b'{"message_id":null}', DeadReason.NO_MESSAGE_ID),
        (b'{"message_id":true}', DeadReason.NO_MESSAGE_ID),
        (b'{"message_id":["m"]}', DeadReason.NO_MESSAGE_ID),
        (b'{"Message_Id":"m"}', DeadReason.NO_MESSAGE_ID),
    ],
)
def test_only_a_record_without_a_readable_message_id_is_dead(value: bytes | None, reason: DeadReason) -> None:
    assert decode_message(value) is reason


@given(st.binary(max_size=200))
def test_no_bytes_make_the_codec_raise(value: bytes) -> None:
    assert isinstance(decode_message(value), Message | DeadReason)


@given(JSON)
def test_no_json_makes_the_codec_raise(value: Any) -> None:
    assert isinstance(decode_message(json.dumps(value).encode()), Message | DeadReason)


@given(ANY_MESSAGE, st.text(min_size=1, max_size=8))
def test_any_object_with_a_message_id_becomes_a_message_that_can_be_judged_and_copied(
    found: dict[str, Any], identity: str
) -> None:
    found["message_id"] = identity
    message = decoded(json.dumps(found).encode())
    assert message.message_id == identity.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


@given(ANY_MESSAGE)
def test_a_parsed_object_and_its_bytes_are_read_alike(found: dict[str, Any]) -> None:
    by_object = message_from(json.loads(json.dumps(found)))
    by_bytes = decode_message(json.dumps(found).encode())
    if isinstance(by_object, Message) and isinstance(by_bytes, Message):
        assert encode(by_object) == encode(by_bytes)
    else:
        assert by_object == by_bytes


def test_the_decision_id_of_a_record_never_changes() -> None:
    assert decision_id(Partition("sms.inbound", 3), 42) == "8aece797ee988272cadb71191cdcd1d5"


def test_neighbouring_records_have_different_decision_ids() -> None:
    places = [("sms.inbound", 1, 23), ("sms.inbound", 12, 3), ("sms.inbound1", 2, 3), ("sms.inbound", 1, 24)]
    assert len({decision_id(Partition(topic, number), offset) for topic, number, offset in places}) == len(places)


def test_what_is_encoded_is_one_line() -> None:
    assert b"\n" not in encode(Message(message_id="m", text="one\ntwo\u2028"))


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"payload_hex": "4f6", "encoding": "ucs2"}, "payload_hex"),
        ({"payload_hex": "4f60", "encoding": "klingon"}, "encoding"),
        ({"payload_hex": "4f60", "encoding": "UTF-16_BE"}, None),
        ({"payload_hex": "4f60", "data_coding": 4}, None),
        ({"payload_hex": "zz", "kind": "binary"}, None),
    ],
)
def test_a_payload_nobody_can_read_is_named_and_not_a_way_past_unseen(
    fields: dict[str, Any], fault: str | None
) -> None:
    message = decode_message(json.dumps({"message_id": "m", **fields}).encode())
    assert isinstance(message, Message)
    assert getattr(message, "defects", ()) == ((fault,) if fault else ())


GBK_SPAM = '{"message_id": "g1", "text": "代开各类发票，加微信咨询"}'.encode("gbk")


def test_a_record_written_in_gbk_is_read_and_named_instead_of_passing_unread() -> None:
    message = decode_message(GBK_SPAM)
    assert isinstance(message, DefectiveMessage)
    assert (message.text, message.defects) == ("代开各类发票，加微信咨询", ("encoding",))


def test_one_broken_character_in_utf8_stays_utf8() -> None:
    message = decode_message('{"message_id": "u1", "text": "晚上一起吃饭吗'.encode() + b"\xff" + '？"}'.encode())
    assert isinstance(message, DefectiveMessage)
    assert (message.text, message.defects) == ("晚上一起吃饭吗\ufffd？", ("text",))


def test_a_text_under_another_name_is_a_defect_and_not_an_empty_message() -> None:
    message = decode_message(b'{"message_id": "m", "content": "hello"}')
    assert isinstance(message, DefectiveMessage) and message.defects == ("text",)
    assert type(decode_message(b'{"message_id": "m", "text": ""}')) is Message


@pytest.mark.parametrize(
    ("stated", "fault"), [("yesterday", True), ("2026/11/24 10:00", True), ("2026-11-24T10:00:00Z", False)]
)
def test_a_time_nobody_can_read_is_a_defect(stated: str, fault: bool) -> None:
    message = decode_message(json.dumps({"message_id": "m", "text": "hi", "received_at": stated}).encode())
    assert isinstance(message, DefectiveMessage) == fault
