"""How do bytes become messages and decisions become bytes, whatever the bytes are?

The fast way decodes and validates in one step. Whatever fails there is read again leniently: a record with a readable
message id always becomes a message, with its broken fields named in `defects`; only a record without one is dead.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from spamguard.core.sms import mend, payload_fault
from spamguard.types import SCHEMA_VERSION, Concat, DeadReason, DefectiveMessage, Message, Partition

_DECODER: Final = msgspec.json.Decoder(Message)
_LIST_DECODER: Final = msgspec.json.Decoder(list[msgspec.Raw])
_ENCODER: Final = msgspec.json.Encoder()
_TEXT_FIELDS: Final = frozenset(
    ("sender", "recipient", "text", "payload_hex", "encoding", "protocol", "kind", "direction", "operator", "tenant",
     "account", "udh_hex", "consent", "trace_id")
)  # fmt: skip
#: A longer id is none: it would have to be repeated in the decision, which must fit into a record.
MAX_ID_CHARS: Final = 1000
_KINDS: Final = frozenset(("text", "binary", "receipt"))
_DIRECTIONS: Final = frozenset(("MO", "MT", "AO", "transit"))
_CONSENTS: Final = frozenset(("opt_in", "opt_out", "unknown"))
#: No field of a message lies deeper than this; deeper values are dropped where they would exhaust the JSON reader.
_DEEPEST: Final = 2
#: Fewer broken bytes than three Han characters have in GBK are taken for damage.
_GBK_BYTES: Final = 6
_BROKEN: Final = re.compile("[\udc80-\udcff]")
_STRING_OR_BRACKET: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
#: Python refuses to read longer integers by default (sys.int_info); no honest number comes near.
_MOST_DIGITS: Final = 1000


def decode_message(value: bytes | None) -> Message | DeadReason:
    """Return the message in a record's value, a `DefectiveMessage` when fields are broken, or why there is none.

    >>> decode_message(b'{"message_id": "m1", "text": "hi", "direction": 7}').defects
    ('direction',)
    """
    if not value:
        return DeadReason.EMPTY
    try:
        message = _DECODER.decode(value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _decode_leniently(value)
    if (
        0 < len(message.message_id) <= MAX_ID_CHARS
        and message.schema_version == SCHEMA_VERSION
        and message.kind in _KINDS
        and message.direction in _DIRECTIONS
        and message.consent in _CONSENTS
        and (message.text is not None or (payload_fault(message) is None and not _is_blank(message)))
        and (message.received_at is None or received_ms(message) is not None)
    ):
        return message
    return _decode_leniently(value)


def decode_messages(value: bytes) -> list[Message | DeadReason] | DeadReason:
    """Return the messages of a JSON list, or why one could not be read in its place, or why there is no list.

    >>> decode_messages(b'[{"message_id": "m1"}, {"text": "no id"}, 7]')[1:]
    [<DeadReason.NO_MESSAGE_ID: 'no_message_id'>, <DeadReason.NOT_AN_OBJECT: 'not_an_object'>]
    """
    try:
        return [decode_message(bytes(one)) for one in _LIST_DECODER.decode(value)]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    found, encoding_fault = _read_leniently(value, deepest=_DEEPEST + 1)
    if isinstance(found, DeadReason):
        return found
    if not isinstance(found, list):
        return DeadReason.NOT_AN_OBJECT
    faults = ("encoding",) if encoding_fault else ()
    return [message_from(one, faults=faults) if isinstance(one, dict) else DeadReason.NOT_AN_OBJECT for one in found]


def _read_leniently(value: bytes, *, deepest: int) -> tuple[Any, bool]:
    """Return what a JSON text says, or NOT_JSON, and whether it was in another encoding."""
    text, encoding_fault = _decoded(value)
    try:
        return _loads(text), encoding_fault
    except RecursionError:
        with suppress(ValueError):
            return _loads(_shallow(text, deepest)), encoding_fault
    except ValueError:
        pass
    return DeadReason.NOT_JSON, encoding_fault


def _decode_leniently(value: bytes) -> Message | DeadReason:
    found, encoding_fault = _read_leniently(value, deepest=_DEEPEST)
    if isinstance(found, DeadReason):
        return found
    if not isinstance(found, dict):
        return DeadReason.NOT_AN_OBJECT
    return message_from(found, faults=("encoding",) if encoding_fault else ())


def _decoded(value: bytes) -> tuple[str, bool]:
    """Return the text of a record that should be UTF-8, and whether it was GBK instead.

    Broken bytes become lone surrogates, which `mend` names. A producer that writes GBK breaks nearly every character;
    such a record is read as what it is, since a filter that cannot read it would let everything pass.
    """
    text = value.decode("utf-8-sig", "surrogateescape")
    broken = len(_BROKEN.findall(text))
    if broken >= _GBK_BYTES and broken * 2 > sum(not char.isascii() for char in text):
        try:
            return value.decode("gb18030"), True
        except UnicodeDecodeError:
            pass
    return text, False


def _loads(text: str) -> Any:
    """Return what a JSON text says, raw control characters and numbers of any length included."""
    return json.loads(text, strict=False, parse_int=_integer)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MOST_DIGITS else math.inf


def _shallow(text: str, deepest: int) -> str:
    """Return a JSON text with null for whatever lies deeper than so many levels."""
    pieces: list[str] = []
    depth = behind = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        if match.group() in "[{":
            depth += 1
            if depth == deepest + 1:
                pieces += (text[behind : match.start()], "null")
        elif match.group() in "]}":
            if depth == deepest + 1:
                behind = match.end()
            depth -= 1
    return "".join(pieces) + text[behind:]


def _is_blank(message: Message) -> bool:
    """Return whether a text message carries neither a text nor a payload: its producer names the field otherwise."""
    return message.kind == "text" and message.text is None and message.payload_hex is None


def message_from(found: Mapping[str, Any], *, faults: tuple[str, ...] = ()) -> Message | DeadReason:
    """Return the message in a JSON object that need not follow the contract; `faults` are defects already known."""
    identity = found.get("message_id")
    defects = list(faults)
    if isinstance(identity, int) and not isinstance(identity, bool):
        defects.append("message_id")
        identity = str(identity)
    if not isinstance(identity, str) or not 0 < len(identity) <= MAX_ID_CHARS:
        return DeadReason.NO_MESSAGE_ID
    if mend(identity) != identity:
        defects.append("message_id")
    fields: dict[str, Any] = {}
    for name in _TEXT_FIELDS & found.keys():
        given = found[name]
        if given is None:
            continue
        if not isinstance(given, str):
            defects.append(name)
            continue
        fields[name] = mend(given)
        if fields[name] != given:
            defects.append(name)
    for name, allowed in (("kind", _KINDS), ("direction", _DIRECTIONS), ("consent", _CONSENTS)):
        if name in fields and fields[name] not in allowed:
            del fields[name]
            defects.append(name)
    if (coding := found.get("data_coding")) is not None:
        if isinstance(coding, int) and not isinstance(coding, bool):
            fields["data_coding"] = coding
        else:
            defects.append("data_coding")
    if (received := found.get("received_at")) is not None:
        if isinstance(received, str):
            fields["received_at"] = mend(received)
        elif isinstance(received, int) and not isinstance(received, bool) and abs(received) < 1 << 62:
            fields["received_at"] = received
        else:
            defects.append("received_at")
    if (concat := found.get("concat")) is not None:
        try:
            fields["concat"] = msgspec.convert(concat, Concat)
        except msgspec.ValidationError:
            defects.append("concat")
    if found.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        defects.append("schema_version")
    message = Message(message_id=mend(identity), **fields)
    if fault := payload_fault(message):
        defects.append(fault)
    if _is_blank(message):
        defects.append("text")
    if message.received_at is not None and received_ms(message) is None:
        defects.append("received_at")
    if not defects:
        return message
    return DefectiveMessage(message_id=mend(identity), defects=tuple(sorted(set(defects))), **fields)


def encode(value: msgspec.Struct) -> bytes:
    """Return a value of the contract as one line of JSON."""
    return _ENCODER.encode(value)


def decision_id(partition: Partition, offset: int) -> str:
    """Return the id of the decision on a record: the same for every repeat.

    >>> decision_id(Partition("sms.inbound", 3), 42) == decision_id(Partition("sms.inbound", 3), 42)
    True
    """
    place = f"{partition.topic}\0{partition.number}\0{offset}".encode()
    return hashlib.blake2b(place, digest_size=16).hexdigest()


def http_decision_id(tenant: str, message_id: str) -> str:
    """Return the id of the decision on a message asked for over HTTP: the same however often it is asked.

    >>> http_decision_id("acme", "m1") == http_decision_id("acme", "m1") != http_decision_id("other", "m1")
    True
    """
    asked = f"http\0{len(tenant)}\0{tenant}\0{message_id}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(asked, digest_size=16).hexdigest()


def received_ms(message: Message) -> int | None:
    """Return when a message was received, in epoch milliseconds, or None when it does not say so readably.

    A time without an offset is taken as UTC.

    >>> received_ms(Message(message_id="m", received_at="2026-11-24T10:00:00+08:00"))
    1795485600000
    """
    stated = message.received_at
    if stated is None or isinstance(stated, int):
        return stated
    try:
        moment = datetime.fromisoformat(stated)
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
