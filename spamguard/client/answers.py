"""What does a caller get, and what does it get when nobody answers?"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from spamguard.types import Action, Decision, Message, Reason

#: A message, as a value of spamguard's or as a mapping with the fields of the contract.
Asked = Message | Mapping[str, Any]


class Answer(Decision, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A decision as a caller reads it: `reason` and `category` may be words that this release does not know yet."""

    reason: str  # type: ignore[assignment]  # the contract lets the list grow, so a reader takes any word
    category: str | None = None  # type: ignore[assignment]  # the same

    @property
    def unanswered(self) -> bool:
        """Return whether the fail policy decided, here or at the gateway, because there was no decision in time."""
        return self.reason == Reason.UNANSWERED


_ONE = msgspec.json.Decoder(Answer)
_SEVERAL = msgspec.json.Decoder(list[Answer])
_ENCODER = msgspec.json.Encoder()


def body_of(messages: list[Asked]) -> bytes:
    """Return the body of a request: one message alone, several as a list."""
    asked = messages[0] if len(messages) == 1 else messages
    try:
        return _ENCODER.encode(asked)
    except UnicodeEncodeError:  # lone surrogates: the gateway reads them, and must, or they would be a way past it
        return json.dumps(msgspec.to_builtins(asked)).encode()


def answers_in(content: bytes, number: int) -> list[Answer]:
    """Return the answers to so many messages. Raises ValueError when these are none."""
    found = [_ONE.decode(content)] if number == 1 else _SEVERAL.decode(content)
    if len(found) != number:
        raise ValueError("another number of decisions than of messages")
    return found


def unanswered(message: Asked, now_s: float) -> Answer:
    """Return what a message gets that nobody decided on: it passes, marked.

    >>> unanswered({"message_id": "m1"}, 0.0).action
    <Action.ALLOW: 'allow'>
    """
    identity = message.message_id if isinstance(message, Message) else message.get("message_id", "")
    return Answer(
        decision_id="",
        message_id=str(identity),
        action=Action.ALLOW,
        would_be=Action.ALLOW,
        reason=str(Reason.UNANSWERED),
        ham_cutoff=0.0,
        spam_cutoff=1.0,
        model="none",
        policy="none",
        code_version="none",
        degraded=True,
        decided_at=datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds"),
    )
