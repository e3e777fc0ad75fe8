"""What beside its score speaks for or against a message: an entry of a list, or its subscriber's wish?"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from spamguard.core.lists import Lists
from spamguard.types import Message, Treatment


class Mark(NamedTuple):
    """What was found for a message."""

    treatment: Treatment | None = None  #: what the entry of a list wants
    entry: str | None = None  #: its id


UNMARKED: Final = Mark()


def marks_of(
    messages: Sequence[Message], originals: Sequence[str], normalised: Sequence[str], *, lists: Lists, now_s: float
) -> dict[int, Mark]:
    """Return the marks of those messages that have any, by place."""
    hits = lists.match(messages, originals, normalised, now_s=now_s)
    return {place: Mark(hit.treatment, hit.entry) for place, hit in hits.items()}
