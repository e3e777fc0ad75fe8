"""What does each value on the wire look like, as JSON Schema (2020-12)?

msgspec makes the schema from the type; this adds what a type alone does not say: descriptions, bounds, the words a
string may hold, and which lists of words may grow within version 1. A new value is one line in `VALUES`.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from spamguard.contract.words import field_words, member_words, summary
from spamguard.types import (
    SCHEMA_VERSION,
    Category,
    DeadLetter,
    DeadReason,
    Decision,
    Label,
    ListChange,
    ListKind,
    Message,
    OptOut,
    Order,
    Problem,
    Reason,
    Release,
    ReviewCopy,
    ShadowReport,
)

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


class Value(NamedTuple):
    """A value of the contract: its name in file names, its type, and the topic that carries it."""

    name: str
    of: type[msgspec.Struct]
    topic: str | None  #: its default name; None for what only HTTP carries


VALUES: Final = (
    Value("message", Message, "sms.inbound"),
    Value("decision", Decision, "sms.decisions"),
    Value("review-copy", ReviewCopy, "sms.review"),
    Value("dead-letter", DeadLetter, "sms.dead-letter"),
    Value("shadow-report", ShadowReport, "sms.shadow"),
    Value("order", Order, "sms.control"),
    Value("list-change", ListChange, "sms.lists"),
    Value("opt-out", OptOut, "sms.optout"),
    Value("release", Release, "sms.released"),
    Value("label", Label, "sms.labels"),
    Value("problem", Problem, None),
)
BY_NAME: Final = {value.name: value for value in VALUES}

#: Lists of words that grow within a version: a reader must expect one it does not know. All others never grow.
GROWING: Final[tuple[type[StrEnum], ...]] = (Reason, Category, DeadReason, ListKind)

_MOMENT: Final = {"format": "date-time"}
_PROBABILITY: Final = {"minimum": 0, "maximum": 1}
_COUNT: Final = {"minimum": 0}
#: What a type does not say of its fields.
BOUNDS: Final[Mapping[tuple[str, str], Mapping[str, Any]]] = {
    ("Message", "message_id"): {"minLength": 1, "maxLength": 1000},
    ("Message", "kind"): {"enum": ["text", "binary", "receipt"]},
    ("Message", "direction"): {"enum": ["MO", "MT", "AO", "transit"]},
    ("Message", "consent"): {"enum": ["opt_in", "opt_out", "unknown"]},
    ("Message", "payload_hex"): {"pattern": "^([0-9A-Fa-f]{2})*$"},
    ("Message", "udh_hex"): {"pattern": "^([0-9A-Fa-f]{2})*$"},
    ("Message", "received_at"): {"examples": ["2026-11-24T10:00:00+08:00", 1795485600000]},
    ("Message", "schema_version"): {"const": SCHEMA_VERSION},
    ("Decision", "score"): _PROBABILITY,
    ("Decision", "ham_cutoff"): _PROBABILITY,
    ("Decision", "spam_cutoff"): _PROBABILITY,
    ("Decision", "clues"): {"maxItems": 5},
    ("Decision", "suggested_smpp_status"): _COUNT,
    ("Decision", "decided_at"): _MOMENT,
    ("Clue", "start"): _COUNT,
    ("Clue", "end"): _COUNT,
    ("Timings", "queue_ms"): _COUNT,
    ("Timings", "score_ms"): _COUNT,
    ("ShadowReport", "decided_at"): _MOMENT,
    ("ShadowReport", "outcome"): {"enum": ["would_block", "would_allow"]},
    ("Release", "released_at"): _MOMENT,
    ("Label", "label"): {"enum": ["spam", "ham"]},
    ("Label", "labelled_at"): _MOMENT,
    ("Label", "trust"): {"enum": ["one", "two", "settled"]},
    ("Label", "score"): _PROBABILITY,
    ("Release", "reason"): {"enum": ["verdict", "case"]},
    ("ReviewCopy", "chance"): _PROBABILITY,
    ("Problem", "status"): {"minimum": 400, "maximum": 599},
}


def schema_of(value: Value) -> dict[str, Any]:
    """Return the schema of one value, complete in itself."""
    return {
        "$schema": DIALECT,
        "$id": f"urn:spamguard:v{SCHEMA_VERSION}:{value.name}",
        **described(msgspec.json.schema(value.of), [value.of]),
    }


def summary_of(value: Value) -> str:
    """Return what a value is, in a sentence."""
    return summary(value.of)


def components(values: Sequence[Value] = VALUES) -> dict[str, Any]:
    """Return the schemas of values and of what they are made of, by the names of their types."""
    types = [value.of for value in values]
    _, found = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return {name: _worded(name, schema, named(types)) for name, schema in sorted(found.items())}


def described(schema: dict[str, Any], types: list[type[msgspec.Struct]]) -> dict[str, Any]:
    """Return a schema of msgspec's with every definition described."""
    known = named(types)
    return {**schema, "$defs": {name: _worded(name, found, known) for name, found in schema.get("$defs", {}).items()}}


def named(types: list[type[msgspec.Struct]]) -> dict[str, type[Any]]:
    """Return every type that these are made of, by its name."""
    found: dict[str, type[Any]] = {}
    waiting: list[Any] = list(types)
    while waiting:
        of = waiting.pop()
        waiting += getattr(of, "__args__", ())
        if isinstance(of, type) and issubclass(of, msgspec.Struct | StrEnum) and of.__name__ not in found:
            found[of.__name__] = of
            if issubclass(of, msgspec.Struct):
                waiting += [field.type for field in msgspec.structs.fields(of)]
    return found


def _worded(name: str, schema: Mapping[str, Any], known: Mapping[str, type[Any]]) -> dict[str, Any]:
    of = known[name]
    if issubclass(of, StrEnum):
        return _worded_enumeration(of)
    words = field_words(of)
    properties = {
        field: _bounded(name, field, {"description": words[field]} if field in words else {}, shape)
        for field, shape in schema["properties"].items()
    }
    return {**schema, "description": summary(of), "properties": properties}


def _bounded(name: str, field: str, said: Mapping[str, Any], shape: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field's schema with its words and bounds; a bound belongs to the kind of value that can be there."""
    bounds = BOUNDS.get((name, field), {})
    if "anyOf" in shape and bounds and "examples" not in bounds:
        first, *others = shape["anyOf"]
        return {**said, **shape, "anyOf": [{**first, **bounds}, *others]}
    return {**said, **shape, **bounds}


def _worded_enumeration(of: type[StrEnum]) -> dict[str, Any]:
    """Return an enumeration's schema: a list that may grow is told and not enforced."""
    words = member_words(of)
    told = "; ".join(f"{member}: {meaning}" if meaning else member for member, meaning in words.items())
    shape: dict[str, Any] = {"title": of.__name__, "description": f"{summary(of)} {told}.", "type": "string"}
    shape["x-extensible-enum" if of in GROWING else "enum"] = list(words)
    return shape
