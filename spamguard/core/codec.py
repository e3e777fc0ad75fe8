"""How do bytes become messages and decisions become bytes, whatever the bytes are?

The fast way decodes and validates in one step. Whatever fails there is read again leniently: a record with a readable
message id always becomes a message, with its broken fields named in `defects`; only a record without one is dead.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from spamguard.core.sms import mend
from spamguard.types import SCHEMA_VERSION, Concat, DeadReason, DefectiveMessage, Message, Partition

_DECODER: Final = msgspec.json.Decoder(Message)
_ENCODER: Final = msgspec.json.Encoder()
_TEXT_FIELDS: Final = frozenset(
    ("sender", "recipient", "text", "payload_hex", "encoding", "protocol", "kind", "direction", "operator", "tenant",
     "account", "udh_hex", "consent", "trace_id")
)  # fmt: skip
_KINDS: Final = frozenset(("text", "binary", "receipt"))
_DIRECTIONS: Final = frozenset(("MO", "MT", "AO", "transit"))
_CONSENTS: Final = frozenset(("opt_in", "opt_out", "unknown"))


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
        message.message_id
        and message.schema_version == SCHEMA_VERSION
        and message.kind in _KINDS
        and message.direction in _DIRECTIONS
        and message.consent in _CONSENTS
    ):
        return message
    return _decode_leniently(value)


def _decode_leniently(value: bytes) -> Message | DeadReason:
    try:
        found = json.loads(value.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return DeadReason.NOT_JSON
    if not isinstance(found, dict):
        return DeadReason.NOT_AN_OBJECT
    return message_from(found)


def message_from(found: Mapping[str, Any]) -> Message | DeadReason:
    """Return the message in a JSON object that need not follow the contract."""
    identity = found.get("message_id")
    defects = []
    if isinstance(identity, int) and not isinstance(identity, bool):
        defects.append("message_id")
        identity = str(identity)
    if not isinstance(identity, str) or not identity:
        return DeadReason.NO_MESSAGE_ID
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
        if isinstance(received, str) or (isinstance(received, int) and abs(received) < 1 << 62):
            fields["received_at"] = mend(received) if isinstance(received, str) else received
        else:
            defects.append("received_at")
    if (concat := found.get("concat")) is not None:
        try:
            fields["concat"] = msgspec.convert(concat, Concat)
        except msgspec.ValidationError:
            defects.append("concat")
    if found.get("schema_version", SCHEMA_VERSION) != SCHEMA_VERSION:
        defects.append("schema_version")
    if not defects:
        return Message(message_id=mend(identity), **fields)
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
