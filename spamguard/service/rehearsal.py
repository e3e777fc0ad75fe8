"""Which recorded decisions would another policy, or other lists, change?

A recording is a file of JSON lines: messages, review copies, or decisions, in any mixture; `label` or `is_spam` beside
them says what somebody found them to be. What has a text is judged under both sides with the same model, so that
nothing but the policy makes a difference; a decision without its message is ruled again from its score and category.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec

from spamguard.core.codec import message_from
from spamguard.core.decide import Request
from spamguard.core.policy import Policy, rule
from spamguard.engine.filter import LiveFilter
from spamguard.types import Action, Category, DeadReason, Decision, Message, Reason

BATCH: Final = 512
#: What was never judged by its score stays as it was recorded.
_FIXED: Final = frozenset(
    (Reason.NOT_TEXT, Reason.NO_EVIDENCE, Reason.SCORING_FAILED, Reason.LIST_ALLOW, Reason.LIST_BLOCK,
     Reason.LIST_REVIEW, Reason.OPTED_OUT)
)  # fmt: skip


class Change(StrEnum):
    """What would become of a message; the worst comes first."""

    BLOCKED = "newly blocked"
    PASSED = "newly passed"
    REVIEWED = "newly reviewed"
    UNREVIEWED = "no longer reviewed"
    REASON = "another reason"


class Outcome(NamedTuple):
    """What one side says of a message."""

    action: Action
    would_be: Action
    reason: Reason
    review: bool
    score: float | None
    entry: str | None


class Difference(NamedTuple):
    """A message of which the two sides say different things."""

    line: int
    change: Change
    label: str | None  #: ham or spam, where somebody said so
    before: Outcome
    after: Outcome
    message_id: str
    tenant: str
    text: str | None


class Line(NamedTuple):
    """A line of a recording."""

    number: int
    message: Message | None
    decision: Decision | None
    label: str | None


class Rehearsal(NamedTuple):
    """What a recording showed."""

    lines: int
    unreadable: int
    without_text: int  #: decisions without their message
    labelled: int
    differences: Sequence[Difference]


def read_line(number: int, line: bytes) -> Line | None:
    """Return what a line of a recording holds, None when it is none of the three."""
    try:
        found = msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    label = _label(found)
    alone = "action" in found and "text" not in found
    recorded = found if alone else found.get("decision")
    decision = None
    if recorded is not None:
        try:
            decision = msgspec.convert(recorded, Decision)
        except msgspec.ValidationError:
            if "message" not in found:
                return None
    given = None if alone else found.get("message", found)
    if isinstance(given, dict) and "text" in given:  # a labelled corpus has no ids of messages
        given = {"message_id": str(given.get("id") or f"line {number}"), **given}
    message = message_from(given) if isinstance(given, dict) else None
    if isinstance(message, DeadReason):
        message = None
    return None if message is None and decision is None else Line(number, message, decision, label)


def _label(found: dict[str, Any]) -> str | None:
    said = found.get("label", found.get("is_spam"))
    if said in (True, 1, "1", "spam"):
        return "spam"
    return "ham" if said in (False, 0, "0", "ham") else None


def rehearse(lines: Iterable[bytes], before: LiveFilter, after: LiveFilter) -> Rehearsal:
    """Return what would change; the differences come worst first: good messages that would be blocked."""
    total = unreadable = without_text = labelled = 0
    differences: list[Difference] = []
    for batch in _batches(lines):
        read = [read_line(number, line) for number, line in batch]
        total += len(batch)
        unreadable += read.count(None)
        known = [line for line in read if line is not None]
        labelled += sum(line.label is not None for line in known)
        without_text += sum(line.message is None for line in known)
        for line, *sides in zip(known, _outcomes(known, before), _outcomes(known, after), strict=True):
            if change := _change(*sides):
                differences.append(_difference(line, change, *sides))
    differences.sort(key=_worst_first)
    return Rehearsal(total, unreadable, without_text, labelled, differences)


def _batches(lines: Iterable[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    batch: list[tuple[int, bytes]] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            batch.append((number, line))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _outcomes(lines: Sequence[Line], engine: LiveFilter) -> list[Outcome]:
    requests = [Request(line.message, "", 0) for line in lines if line.message is not None]
    judged = iter(engine.judge_now(requests) if requests else [])
    return [
        _recorded(line.decision, engine.policy)
        if line.message is None and line.decision is not None
        else _outcome(next(judged))
        for line in lines
    ]


def _outcome(decision: Decision) -> Outcome:
    return Outcome(
        decision.action, decision.would_be, decision.reason, decision.review, decision.score, decision.list_entry
    )


def _recorded(decision: Decision, policy: Policy) -> Outcome:
    """Return what a policy makes of a recorded score; whose message it was is not known."""
    score = decision.score
    if score is None or decision.reason in _FIXED:
        return _outcome(decision)
    message = Message(message_id=decision.message_id)
    cutoffs = policy.terms_of(message).cutoffs
    ham, spam = decision.ham_cutoff, decision.spam_cutoff
    if cutoffs is not None:
        ham, spam = cutoffs.over(ham, spam)
    if score < ham:
        return Outcome(Action.ALLOW, Action.ALLOW, Reason.HAM_SCORE, False, score, None)
    category: Category | None = decision.category
    ruling = rule(policy, message, spam=score >= spam, guard=decision.guard, category=category, allow_all=False)
    return Outcome(ruling.action, ruling.would_be, ruling.reason, ruling.review, score, None)


def _change(before: Outcome, after: Outcome) -> Change | None:
    if before.action is not after.action:
        return Change.BLOCKED if after.action is Action.BLOCK else Change.PASSED
    if before.review is not after.review:
        return Change.REVIEWED if after.review else Change.UNREVIEWED
    return None if before.reason is after.reason else Change.REASON


def _difference(line: Line, change: Change, before: Outcome, after: Outcome) -> Difference:
    message, decision = line.message, line.decision
    identity = message.message_id if message is not None else decision.message_id if decision is not None else ""
    tenant = "" if message is None else message.tenant
    return Difference(
        line.number, change, line.label, before, after, identity, tenant, None if message is None else message.text
    )


_LABELS: Final = {"ham": 0, None: 1, "spam": 2}
_CHANGES: Final = {change: number for number, change in enumerate(Change)}


def _worst_first(found: Difference) -> tuple[int, int, float, int]:
    # Of what passes, spam is the worse.
    label = _LABELS[found.label] if found.change is not Change.PASSED else -_LABELS[found.label]
    score = found.after.score
    return _CHANGES[found.change], label, math.inf if score is None else score, found.line
