"""What should be done with a message, given its score and what the operator wants?

A policy is a value: it never looks anything up. The score alone says spam, ham or unsure; the policy says what that
means for this tenant, this direction, this subscriber's consent and this category of spam.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from spamguard.types import Action, Category, Message, Mode, Reason

#: Fewer distinct known features of two symbols or more than this say nothing: with no evidence a classifier repeats
#: its training base rate. "电话68751690" has four, "代开发票13900001234" has eleven.
EVIDENCE_FLOOR: Final = 6

ALL_SPAM: Final = frozenset(Category)
#: What harms people; marketing is left to their own choice.
HARMFUL: Final = frozenset((Category.FRAUD, Category.ILLEGAL, Category.GAMBLING, Category.LOAN))
PRESETS: Final = {"standard": ALL_SPAM, "fraud-only": HARMFUL}


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator decided, as one value."""

    name: str = "standard"
    blocked: frozenset[Category] = ALL_SPAM  #: categories of spam that are blocked
    mode: Mode = Mode.ENFORCE  #: where `modes` says nothing
    modes: Mapping[str, Mode] = {}  #: by "tenant", "tenant/direction" or "/direction"; the narrowest wins
    late_after_s: float = 60.0  #: decisions later than this after the message was received are marked

    def mode_of(self, message: Message) -> Mode:
        """Return the mode for a message's tenant and direction."""
        if not self.modes:
            return self.mode
        for key in (f"{message.tenant}/{message.direction}", message.tenant, f"/{message.direction}"):
            if key in self.modes:
                return self.modes[key]
        return self.mode


STANDARD: Final = Policy()


class Ruling(msgspec.Struct, frozen=True, gc=False):
    """What a policy says of one message."""

    action: Action
    would_be: Action
    reason: Reason
    review: bool
    breaker: bool = False  #: observed because the tenant's breaker is open


def rule(
    policy: Policy,
    message: Message,
    *,
    spam: bool,
    guard: str | None,
    category: Category | None,
    allow_all: bool,
    tripped: bool = False,
) -> Ruling:
    """Return the ruling on a message whose score is not below the ham cutoff; `spam` says it reached the spam cutoff.

    `tripped` says that the breaker of the message's tenant is open.

    >>> rule(STANDARD, Message(message_id="m"), spam=True, guard=None, category=None, allow_all=False).action
    <Action.BLOCK: 'block'>
    """
    if guard is not None:
        return Ruling(Action.ALLOW, Action.ALLOW, Reason.GUARD, spam)
    if not spam:
        return Ruling(Action.ALLOW, Action.ALLOW, Reason.UNSURE, True)
    if category is Category.MARKETING and message.consent == "opt_in":
        return Ruling(Action.ALLOW, Action.ALLOW, Reason.CONSENTED, False)
    if category is not None and category not in policy.blocked:
        return Ruling(Action.ALLOW, Action.ALLOW, Reason.CATEGORY_ALLOWED, False)
    if allow_all:
        return Ruling(Action.ALLOW, Action.BLOCK, Reason.ALLOW_ALL, True)
    if policy.mode_of(message) is Mode.OBSERVE:
        return Ruling(Action.ALLOW, Action.BLOCK, Reason.OBSERVED, True)
    if tripped:
        return Ruling(Action.ALLOW, Action.BLOCK, Reason.OBSERVED, True, breaker=True)
    return Ruling(Action.BLOCK, Action.BLOCK, Reason.SPAM_SCORE, True)
