"""What text does a message carry, whatever its gateway's protocol and encoding?

Sources: 3GPP TS 23.038 (GSM 7-bit alphabet and its extension), SMPP 3.4 §5.2.19, CMPP 3.0 Msg_Fmt (15 is GB text;
SGIP and SMGP use the same numbers). Payloads are one septet an octet, as SMPP and CMPP deliver them.
"""

from typing import Final

from spamguard.types import Message

_GSM7: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_EXTENSION: Final = {
    0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€",
}  # fmt: skip
#: Encodings by their usual names, without hyphens and underscores.
_CODECS: Final = {
    "ucs2": "utf-16-be", "utf16be": "utf-16-be", "utf16": "utf-16", "gbk": "gb18030", "gb2312": "gb18030",
    "gb18030": "gb18030", "latin1": "latin-1", "iso88591": "latin-1", "utf8": "utf-8", "ascii": "ascii",
    "usascii": "ascii",
}  # fmt: skip
#: What a data_coding number means where its protocol gives it a meaning; 4 is binary everywhere.
_DATA_CODING: Final = {
    "smpp": {0: "gsm7", 1: "ascii", 3: "latin1", 8: "ucs2"},
    "cmpp": {0: "ascii", 8: "ucs2", 15: "gbk"},
}
_SURROGATES: Final = dict.fromkeys(range(55296, 57344), "�")


def mend(text: str) -> str:
    """Return the text with lone surrogates as U+FFFD, so that it can be encoded.

    >>> mend("a\\ud800b")
    'a\ufffdb'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").translate(_SURROGATES)
    return text


def decode_payload(payload: bytes, encoding: str) -> str | None:
    """Return the text of a payload, broken pieces as U+FFFD, or None for an encoding that carries no text.

    >>> decode_payload(bytes.fromhex("4f60597d"), "ucs2")
    '你好'
    """
    if encoding == "gsm7":
        return _decode_gsm7(payload)
    codec = _CODECS.get(encoding)
    return None if codec is None else mend(payload.decode(codec, "replace"))


def _decode_gsm7(payload: bytes) -> str:
    """Return the text of unpacked septets; an unknown escape shows as a space, as TS 23.038 asks."""
    chars = []
    escaped = False
    for octet in payload:
        if escaped:
            chars.append(_GSM7_EXTENSION.get(octet, " "))
            escaped = False
        elif octet == 0x1B:
            escaped = True
        else:
            chars.append(_GSM7[octet] if octet < 0x80 else "\ufffd")
    return "".join(chars)


def _encoding(message: Message) -> str:
    """Return the encoding of a message's payload, "binary" where its data_coding carries no text."""
    stated = (message.encoding or "").lower().replace("-", "").replace("_", "")
    if stated:
        return stated
    protocol = "smpp" if (message.protocol or "smpp").lower() == "smpp" else "cmpp"
    return _DATA_CODING[protocol].get(8 if message.data_coding is None else message.data_coding, "binary")


def payload_fault(message: Message) -> str | None:
    """Return the name of the field that keeps a text message's payload from being read, or None.

    >>> payload_fault(Message(message_id="m", payload_hex="4f6", encoding="ucs2"))
    'payload_hex'
    """
    if message.payload_hex is None or message.text is not None or message.kind != "text":
        return None
    try:
        bytes.fromhex(message.payload_hex)
    except ValueError:
        return "payload_hex"
    return None if _encoding(message) in {"gsm7", "binary", *_CODECS} else "encoding"


def text_of(message: Message) -> str | None:
    """Return the text to judge, or None when the message is no text: binary, a receipt, or an unreadable payload."""
    if message.kind in ("binary", "receipt"):
        return None
    if message.text is not None:
        return message.text
    if message.payload_hex is None:
        return ""
    if payload_fault(message):
        return None
    return decode_payload(bytes.fromhex(message.payload_hex), _encoding(message))
