"""Which topics are there, who writes and who reads them, and what do their records hold? As AsyncAPI 3."""

from typing import Any, Final, NamedTuple

import msgspec

from spamguard.contract.examples import EXAMPLES
from spamguard.contract.schemas import VALUES, Value, components, summary_of
from spamguard.types import SCHEMA_VERSION


class Channel(NamedTuple):
    """How a topic is used, seen from spamguard."""

    receives: bool  #: spamguard reads it
    sends: bool  #: spamguard writes it
    key: str  #: what the record's key is
    words: str
    compacted: bool = False


CHANNELS: Final = {
    "message": Channel(
        True,
        False,
        "sender + recipient, or a keyed hash of both, so that the parts of one SMS share a partition; nothing reads it",
        "Messages to judge, written by gateways; one record is one whole SMS.",
    ),
    "decision": Channel(
        False,
        True,
        "the message's key; for messages that came over HTTP, the decision_id",
        "One decision a message, in the message's partition, at least once: keep the first of a decision_id.",
    ),
    "review-copy": Channel(
        False,
        True,
        "as the decision's",
        "Message and decision of everything offered for review; acknowledged before a block is published.",
    ),
    "dead-letter": Channel(
        False, True, "the record's key", "Coordinates of records without a readable message id; never their text."
    ),
    "shadow-report": Channel(
        False, True, "the decision_id", "Sampled messages on which a challenger would act differently."
    ),
    "order": Channel(
        True,
        True,
        "the switch: allow_all, mode, mode/TENANT, mode/TENANT/DIRECTION, mode//DIRECTION, breaker, breaker/TENANT",
        "What operators switched; one partition, the last order of a switch holds. Keys of other switches are ignored.",
        True,
    ),
    "list-change": Channel(
        True,
        True,
        "the entry's id, as `spamguard lists` makes one; it says nothing of the value",
        "Entries of the lists, the last one of an id holds; a record without a value takes the entry away too.",
        True,
    ),
    "opt-out": Channel(
        True,
        True,
        "the mute: version.hash, a keyed hash of subscriber and sender or signature; workers read nothing else",
        "Subscribers who answered that they want no more from a sender; gateways act on it.",
        True,
    ),
    "release": Channel(
        False, True, "the decision_id", "Blocked messages that a reviewer let go; gateways deliver them."
    ),
    "label": Channel(False, True, "the decision_id", "What readers say messages are; training reads it."),
}


def asyncapi(version: str) -> dict[str, Any]:
    """Return the AsyncAPI document; `version` is the release it comes with."""
    carried = [value for value in VALUES if value.topic is not None]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "spamguard on Kafka",
            "version": f"{SCHEMA_VERSION}.0.0",
            "description": (
                "Messages in, decisions out, and what goes round them. Names of topics are settings; these are the "
                "defaults. The versioning rule is in docs/contract/README.md."
            ),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "x-release": version,
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": {"host": "127.0.0.1:9092", "protocol": "kafka", "description": "The setting `brokers`."}},
        "channels": {value.name: _channel(value) for value in carried},
        "operations": {
            f"{verb}-{value.name}": {
                "action": verb,
                "channel": {"$ref": f"#/channels/{value.name}"},
                "messages": [{"$ref": f"#/channels/{value.name}/messages/{value.of.__name__}"}],
            }
            for value in carried
            for verb, done in (("receive", CHANNELS[value.name].receives), ("send", CHANNELS[value.name].sends))
            if done
        },
        "components": {
            "messages": {value.of.__name__: _message(value) for value in carried},
            "schemas": components(carried),
        },
    }


def _channel(value: Value) -> dict[str, Any]:
    channel = CHANNELS[value.name]
    kafka: dict[str, Any] = {"topic": value.topic, "bindingVersion": "0.5.0"}
    if channel.compacted:
        kafka |= {"partitions": 1, "topicConfiguration": {"cleanup.policy": ["compact"]}}
    return {
        "address": value.topic,
        "description": channel.words,
        "messages": {value.of.__name__: {"$ref": f"#/components/messages/{value.of.__name__}"}},
        "bindings": {"kafka": kafka},
    }


def _message(value: Value) -> dict[str, Any]:
    return {
        "name": value.of.__name__,
        "summary": summary_of(value),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{value.of.__name__}"},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": CHANNELS[value.name].key},
                "bindingVersion": "0.5.0",
            }
        },
        "examples": [
            {"name": name, "payload": msgspec.to_builtins(example)} for name, example in EXAMPLES[value.name].items()
        ],
    }
