"""Is the text of a payload found whatever its protocol and encoding, and is binary never taken for text?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.sms import _GSM7, _GSM7_EXTENSION, decode_payload, mend, text_of
from spamguard.types import Message
from tests.cast import BANK_CODE, MUM


def carried(payload: bytes, **fields: object) -> str | None:
    """Return the text of a message that carries a payload."""
    return text_of(Message(message_id="m", payload_hex=payload.hex(), **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"\x00\x02\x10\x7f", "@$Δà"),
        (b"Hello, 30% off!\x0dNow", "Hello, 30% off!\rNow"),
        (
            b"\x1b\x3cInfo\x1b\x3e \x1b\x65 5 a\x1b\x14b \x1b\x28\x1b\x29 \x1b\x2f \x1b\x3d \x1b\x40",
            "[Info] € 5 a^b {} \\ ~ |",
        ),
        (b"a\x1b\x41b", "a b"),
        (b"a\x1b", "a"),
        (b"a\xffb", "a\ufffdb"),
        (b"", ""),
    ],
)
def test_the_gsm_alphabet_and_its_extension_are_read(payload: bytes, text: str) -> None:
    assert carried(payload, encoding="GSM-7") == text
    assert carried(payload, protocol="smpp", data_coding=0) == text


@given(st.text(alphabet=[char for char in _GSM7 if char != "\x1b"] + list(_GSM7_EXTENSION.values())))
def test_every_text_of_the_gsm_alphabet_survives(text: str) -> None:
    escapes = {char: bytes((0x1B, octet)) for octet, char in _GSM7_EXTENSION.items()}
    payload = b"".join(escapes.get(char) or bytes((_GSM7.index(char),)) for char in text)
    assert decode_payload(payload, "gsm7") == text


def test_the_gsm_alphabet_has_a_place_for_each_septet() -> None:
    assert len(_GSM7) == len(set(_GSM7)) == 128


@pytest.mark.parametrize(
    ("codec", "fields"),
    [
        ("utf-16-be", {"encoding": "ucs2"}),
        ("utf-16-be", {"encoding": "UCS-2"}),
        ("utf-16-be", {"protocol": "smpp", "data_coding": 8}),
        ("utf-16-be", {"protocol": "SMPP", "data_coding": 8}),
        ("utf-16-be", {"protocol": "cmpp", "data_coding": 8}),
        ("utf-16-be", {}),
        ("gb18030", {"encoding": "gbk"}),
        ("gb18030", {"protocol": "cmpp", "data_coding": 15}),
        ("gb18030", {"protocol": "sgip", "data_coding": 15}),
        ("gb18030", {"protocol": "smgp", "data_coding": 15}),
        ("utf-8", {"encoding": "UTF-8"}),
    ],
)
@pytest.mark.parametrize("text", [MUM, BANK_CODE, "𠮷 👍"])
def test_a_chinese_payload_is_read_by_its_name_or_by_its_protocols_number(
    codec: str, fields: dict[str, object], text: str
) -> None:
    assert carried(text.encode(codec), **fields) == text


def test_the_same_number_means_what_its_protocol_says() -> None:
    payload = b"a_b"
    assert carried(payload, protocol="SMPP", data_coding=0) == "a§b".replace("§", _GSM7[0x5F])
    assert carried(payload, protocol="cmpp", data_coding=0) == "a_b"
    assert carried("né".encode("latin-1"), protocol="smpp", data_coding=3) == "né"


def test_broken_pieces_of_a_payload_become_replacement_characters() -> None:
    assert carried(b"\xd8\x3d\x4f\x60", encoding="ucs2") == "\ufffd你"
    assert carried("你好".encode("utf-16-be")[:-1], encoding="ucs2") == "你\ufffd"
    assert carried(b"ok\xff", encoding="gbk") == "ok\ufffd"


@given(st.binary(max_size=40), st.sampled_from(["gsm7", "ucs2", "gbk", "latin1", "utf8", "ascii"]))
def test_any_payload_of_a_text_encoding_gives_a_text_that_can_be_encoded(payload: bytes, encoding: str) -> None:
    text = decode_payload(payload, encoding)
    assert text is not None
    text.encode()


@pytest.mark.parametrize(
    "message",
    [
        Message(message_id="m", payload_hex="00ff", data_coding=4),
        Message(message_id="m", payload_hex="00ff", encoding="binary"),
        Message(message_id="m", payload_hex="00f"),
        Message(message_id="m", payload_hex="zz"),
        Message(message_id="m", text="id:1 stat:DELIVRD", kind="receipt"),
        Message(message_id="m", text="hi", kind="binary"),
    ],
)
def test_binaries_receipts_and_unreadable_payloads_carry_no_text(message: Message) -> None:
    assert text_of(message) is None


def test_a_text_that_was_decoded_already_goes_before_the_payload_and_nothing_at_all_is_empty() -> None:
    assert text_of(Message(message_id="m", text="hi", payload_hex="zz")) == "hi"
    assert text_of(Message(message_id="m")) == ""


@given(st.text() | st.text(alphabet="a\ud83d\ude00\udc00"))
def test_a_mended_text_can_be_encoded_and_a_sound_one_is_left_alone(text: str) -> None:
    mended = mend(text)
    mended.encode()
    assert mend(mended) == mended
    if not any("\ud800" <= char <= "\udfff" for char in text):
        assert mended == text
