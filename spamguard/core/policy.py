"""What should be done with a message, given its score and what the operator wants?

A policy is a value: it never looks anything up. The score alone says spam, ham or unsure; the policy says what that
means for this tenant, this direction, this subscriber's consent and this category of spam. A policy file is read by
`core.policy_file`.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from spamguard.types import Action, Category, Message, Mode, Reason, Treatment

#: Fewer distinct known features of two symbols or more than this say nothing: with no evidence a classifier repeats
#: its training base rate. "电话68751690" has four, "代开发票13900001234" has eleven.
EVIDENCE_FLOOR: Final = 6

ALL_SPAM: Final = frozenset(Category)
#: What harms people; marketing is left to their own choice.
HARMFUL: Final = frozenset((Category.FRAUD, Category.ILLEGAL, Category.GAMBLING, Category.LOAN))
#: What a subscriber may opt in to, where the policy says nothing else of consent.
CONSENTABLE: Final = frozenset((Category.MARKETING,))
#: Where between the model's two cutoffs `strict` blocks from, in log-odds.
STRICT_SHARE: Final = 0.5
DIRECTIONS: Final = ("MO", "MT", "AO", "transit")
CONSENTS: Final = ("opt_in", "opt_out", "unknown")


class Cutoffs(msgspec.Struct, frozen=True, kw_only=True):
    """Where ham ends and spam begins: in figures, or as the model says, or stricter than that."""

    ham: float | None = None
    spam: float | None = None
    strict: bool = False

    def over(self, ham: float, spam: float) -> tuple[float, float]:
        """Return both cutoffs, given the model's own.

        >>> Cutoffs(spam=0.9).over(0.3, 0.7), Cutoffs(spam=0.2).over(0.3, 0.7)
        ((0.3, 0.9), (0.2, 0.2))
        >>> Cutoffs(strict=True).over(0.2, 0.8)
        (0.2, 0.5)
        """
        upper = self.spam
        if upper is None and self.strict:
            low, high = _logit(ham), _logit(spam)
            upper = round(1 / (1 + math.exp(-(low + STRICT_SHARE * (high - low)))), 6)
        upper = spam if upper is None else upper
        return min(ham if self.ham is None else self.ham, upper), upper


def _logit(share: float) -> float:
    share = min(max(share, 1e-9), 1 - 1e-9)
    return math.log(share / (1 - share))


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy says of the messages of one tenant, direction and consent."""

    blocked: frozenset[Category] = ALL_SPAM  #: categories of spam that are blocked
    reviewed: frozenset[Category] = frozenset()  #: of the others, those that are offered for review
    consented: frozenset[Category] = frozenset()  #: of the others, those that pass because of the consent
    cutoffs: Cutoffs | None = None  #: None: the model's

    def treatment(self, category: Category | None) -> Treatment:
        """Return what is done with spam of a category; what belongs to none is blocked."""
        if category is None or category in self.blocked:
            return Treatment.BLOCK
        return Treatment.REVIEW if category in self.reviewed else Treatment.ALLOW


STRICT: Final = Cutoffs(strict=True)
#: standard blocks all spam; fraud-only what harms people; strict all spam, and from a lower score.
PRESETS: Final = {
    "standard": Terms(),
    "fraud-only": Terms(blocked=HARMFUL),
    "strict": Terms(cutoffs=STRICT),
}


def with_consent(terms: Terms, consent: str) -> Terms:
    """Return terms for a consent as every policy has them that says nothing of it: opted-in marketing passes."""
    if consent != "opt_in":
        return terms
    return msgspec.structs.replace(
        terms, blocked=terms.blocked - CONSENTABLE, consented=CONSENTABLE, reviewed=terms.reviewed - CONSENTABLE
    )


#: Whose terms: tenant (None: everybody else's), direction, consent.
Place = tuple[str | None, str, str]


def everywhere(terms: Terms) -> dict[Place, Terms]:
    """Return terms that hold for every tenant and direction."""
    return {
        (None, direction, consent): with_consent(terms, consent) for direction in DIRECTIONS for consent in CONSENTS
    }


_STANDARD_TERMS: Final[Mapping[Place, Terms]] = MappingProxyType(everywhere(PRESETS["standard"]))


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator decided, as one value."""

    name: str = "standard"
    terms: Mapping[Place, Terms] = _STANDARD_TERMS
    mode: Mode = Mode.ENFORCE  #: where `modes` says nothing
    modes: Mapping[str, Mode] = {}  #: by "tenant", "tenant/direction" or "/direction"; the narrowest wins
    late_after_s: float = 60.0  #: decisions later than this after the message was received are marked
    own_cutoffs: bool = False  #: whether any message has cutoffs other than the model's; it follows from the terms

    def __post_init__(self) -> None:
        own = any(terms.cutoffs is not None for terms in self.terms.values())
        msgspec.structs.force_setattr(self, "own_cutoffs", own)

    def mode_of(self, message: Message) -> Mode:
        """Return the mode for a message's tenant and direction."""
        if not self.modes:
            return self.mode
        for key in (f"{message.tenant}/{message.direction}", message.tenant, f"/{message.direction}"):
            if key in self.modes:
                return self.modes[key]
        return self.mode

    def terms_of(self, message: Message) -> Terms:
        """Return the terms for a message's tenant, direction and consent."""
        found = self.terms.get((message.tenant, message.direction, message.consent))
        return found or self.terms.get((None, message.direction, message.consent)) or self.terms[None, "MT", "unknown"]


STANDARD: Final = Policy()


def preset(name: str) -> Policy:
    """Return the policy that a preset is.

    >>> preset("fraud-only").terms_of(Message(message_id="m")).treatment(Category.MARKETING)
    <Treatment.ALLOW: 'allow'>
    """
    return Policy(name=name, terms=everywhere(PRESETS[name]))


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
    listed: Treatment | None = None,
    muted: bool = False,
) -> Ruling:
    """Return the ruling on a message that is suspected: by its score, an entry of a list, or its subscriber's wish.

    `spam` says that the score reached the spam cutoff, `tripped` that the breaker of the message's tenant is open,
    `listed` what the lists say, `muted` that it is marketing to somebody who opted out. The order is: an entry that
    allows, one that blocks, guards, the subscriber's wish, the score with its category and consent; then whether
    blocks bind at all.

    >>> rule(STANDARD, Message(message_id="m"), spam=True, guard=None, category=None, allow_all=False).action
    <Action.BLOCK: 'block'>
    """
    watched = listed is Treatment.REVIEW
    if listed is Treatment.ALLOW:
        return Ruling(Action.ALLOW, Action.ALLOW, Reason.LIST_ALLOW, False)
    if listed is Treatment.BLOCK:
        why = Reason.LIST_BLOCK
    elif guard is not None:
        return Ruling(Action.ALLOW, Action.ALLOW, Reason.GUARD, spam or watched)
    elif muted:
        why = Reason.OPTED_OUT
    elif not spam:
        return Ruling(Action.ALLOW, Action.ALLOW, Reason.UNSURE, True)
    else:
        why = Reason.SPAM_SCORE
        terms = policy.terms_of(message)
        treatment = terms.treatment(category)
        if treatment is not Treatment.BLOCK:
            passed = Reason.CONSENTED if category in terms.consented else Reason.CATEGORY_ALLOWED
            return Ruling(Action.ALLOW, Action.ALLOW, passed, watched or treatment is Treatment.REVIEW)
    if allow_all:
        return Ruling(Action.ALLOW, Action.BLOCK, Reason.ALLOW_ALL, True)
    if policy.mode_of(message) is Mode.OBSERVE:
        return Ruling(Action.ALLOW, Action.BLOCK, Reason.OBSERVED, True)
    if tripped:
        return Ruling(Action.ALLOW, Action.BLOCK, Reason.OBSERVED, True, breaker=True)
    return Ruling(Action.BLOCK, Action.BLOCK, why, True)
