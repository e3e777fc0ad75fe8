"""What beside its score speaks for or against a message: an entry of a list, or its subscriber's wish?"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from spamguard.core.lists import Lists
from spamguard.core.optouts import NOTICE, Mutes, is_answer
from spamguard.core.things import signatures
from spamguard.types import Message, Treatment


class Mark(NamedTuple):
    """What was found for a message."""

    treatment: Treatment | None = None  #: what the entry of a list wants
    entry: str | None = None  #: its id
    answer: bool = False  #: it is a subscriber's wish to be left alone, which is never spam
    muted: bool = False  #: it is commercial, and its recipient wants no more of it


UNMARKED: Final = Mark()


def marks_of(
    messages: Sequence[Message],
    originals: Sequence[str],
    normalised: Sequence[str],
    *,
    lists: Lists,
    mutes: Mutes,
    now_s: float,
) -> dict[int, Mark]:
    """Return the marks of those messages that have any, by place."""
    hits = lists.match(messages, originals, normalised, now_s=now_s)
    marks = {place: Mark(hit.treatment, hit.entry) for place, hit in hits.items()}
    for place, message in enumerate(messages):
        if message.direction == "MO":
            if is_answer(message, normalised[place]):
                marks[place] = Mark(answer=True)
        elif mutes and NOTICE.search(normalised[place]) and mutes.mutes(message, signatures(normalised[place])):
            marks[place] = marks.get(place, UNMARKED)._replace(muted=True)
    return marks
