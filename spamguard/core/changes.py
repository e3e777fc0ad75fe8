"""What would change if another model or policy decided, and what of it matters most?

Two decisions on the same message are compared by what enforcement would do. A good message that is newly blocked is
the worst that can happen, so it comes first. Texts are shown with every number covered.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from spamguard.types import Action, Decision

#: Three figures or more, also with blanks or dashes between them: codes, cards, phones, amounts.
_NUMBER: Final = re.compile(r"\d(?:[ \-]?\d){2,}")


class Turn(StrEnum):
    """How a message changes sides; in the order of consequence."""

    GOOD_BLOCKED = "good newly blocked"
    BLOCKED = "newly blocked"  #: nobody knows whether it is good
    SPAM_PASSED = "spam newly passed"
    PASSED = "newly passed"
    SPAM_BLOCKED = "spam newly blocked"
    GOOD_PASSED = "good newly passed"
    REVIEW = "review or reason differs"  #: the action stays


ORDER: Final = {turn: place for place, turn in enumerate(Turn)}


class Change(NamedTuple):
    """A message on which two decisions differ."""

    turn: Turn
    place: int  #: of the message among those compared
    before: Decision
    after: Decision


def turn_of(blocked_before: bool, blocked_after: bool, label: str | None) -> Turn | None:
    """Return how a message changes sides, by its label (spam, ham, or None for unknown); None when it does not.

    >>> turn_of(False, True, "ham"), turn_of(True, True, "ham")
    (<Turn.GOOD_BLOCKED: 'good newly blocked'>, None)
    """
    if blocked_before == blocked_after:
        return None
    if label is None:
        return Turn.BLOCKED if blocked_after else Turn.PASSED
    if label == "ham":
        return Turn.GOOD_BLOCKED if blocked_after else Turn.GOOD_PASSED
    return Turn.SPAM_BLOCKED if blocked_after else Turn.SPAM_PASSED


def changes(
    before: Sequence[Decision], after: Sequence[Decision], labels: Sequence[str | None] | None = None
) -> list[Change]:
    """Return what differs between two lists of decisions on the same messages, most consequential first.

    Among turns of one kind the surest mistake comes first: the one whose score moved furthest.
    """
    found = []
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        label = None if labels is None else labels[place]
        turn = turn_of(old.would_be is Action.BLOCK, new.would_be is Action.BLOCK, label)
        if turn is None and (old.reason, old.review, old.category) != (new.reason, new.review, new.category):
            turn = Turn.REVIEW
        if turn is not None:
            found.append(Change(turn, place, old, new))
    return sorted(found, key=lambda change: (ORDER[change.turn], -moved(change), change.place))


def moved(change: Change) -> float:
    """Return how far the score moved."""
    return abs((change.after.score or 0.0) - (change.before.score or 0.0))


def counted(found: Iterable[Change]) -> dict[Turn, int]:
    """Return how many changes there are of each kind, in the order of consequence."""
    numbers = Counter(change.turn for change in found)
    return {turn: numbers[turn] for turn in Turn if numbers[turn]}


def masked(text: str) -> str:
    """Return a text with every figure of every number of three or more figures covered.

    >>> masked("code 482913, call 139 0000 1234, 5 minutes")
    'code ******, call *** **** ****, 5 minutes'
    """
    return _NUMBER.sub(lambda found: re.sub(r"\d", "*", found.group()), text)
