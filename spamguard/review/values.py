"""What does the review application show and take: items, verdicts, cases, people, figures?

Frozen and keyword-only, times in epoch milliseconds. A text or a number is only in what says so; whoever asks for such
a value says who they are, and the audit log keeps that they saw it.
"""

from enum import StrEnum
from typing import Any, Final

import msgspec

from spamguard.types import Action, Category, Clue, Reason


class Role(StrEnum):
    """What somebody is here for; each may all that the one before may."""

    AGENT = "agent"  #: front line: opens cases, follows them, answers subscribers
    REVIEWER = "reviewer"  #: reads the queue, gives verdicts, releases
    LEAD = "lead"  #: settles disagreements, approves list entries, assigns, exports
    ADMIN = "admin"  #: accounts, audit log, a subscriber's data


class Label(StrEnum):
    """What a verdict says a message is, by the label policy."""

    SPAM = "spam"
    HAM = "ham"


class Status(StrEnum):
    """Where an item stands."""

    OPEN = "open"  #: nobody has said anything yet
    SECOND = "second"  #: read once, and waiting for a second reader who is not told the first verdict
    DISPUTED = "disputed"  #: two readers differ; a lead settles it
    DONE = "done"


class Why(StrEnum):
    """Why an item stands where it does in the queue: what is to be learnt from it."""

    REPORTED = "reported"  #: a case is about it
    AGAIN = "again"  #: called ham before, and now blocked again
    SHADOW = "shadow"  #: champion and challenger differ
    CUTOFF = "cutoff"  #: the score lies near a cutoff
    KIND = "kind"  #: several near-identical messages of a kind not seen before
    RANDOM = "random"  #: drawn by lot: only these make honest figures
    BLOCKED = "blocked"  #: none of these


class CaseStatus(StrEnum):
    """Where a case stands; a subscriber hears the same word."""

    RECEIVED = "received"
    IN_REVIEW = "in_review"
    RESOLVED = "resolved"


class CaseKind(StrEnum):
    """What a subscriber complains of or asks."""

    MISSING = "missing"  #: a message they waited for did not come
    UNWANTED = "unwanted"  #: spam that came through
    QUESTION = "question"


class Outcome(StrEnum):
    """How a case ended."""

    RELEASE = "release"  #: the message was released
    LIST_ENTRY = "list_entry"  #: an entry was put on a list
    LABEL = "label"  #: a verdict was given, for retraining
    EXPLANATION = "explanation"  #: the decision was right, or nothing could be found; the answer says why


class ListKind(StrEnum):
    """Which list an entry is for."""

    ALLOW = "allow"
    BLOCK = "block"


class EntryStatus(StrEnum):
    """Where a list entry stands."""

    WAITING = "waiting"  #: for a second person: the sender writes to many
    ACTIVE = "active"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"  #: it was active, and workers no longer have it


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody with an account."""

    id: int
    name: str
    role: Role
    active: bool = True
    must_change: bool = False  #: the password was set by somebody else and holds for one login
    language: str = ""  #: zh or en; empty follows the browser
    created_ms: int = 0
    last_login_ms: int | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A login that holds; `token` goes into the cookie and is nowhere stored."""

    token: str
    csrf: str  #: every form and request that changes something carries it
    person: Person
    expires_ms: int


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Near-identical messages that are read once; carries a text."""

    id: str  #: unguessable
    status: Status
    why: Why
    priority: float
    version: int  #: rises with every change; a verdict names the one it was given on
    count: int  #: messages
    blocked: int  #: those of them that were blocked
    released: int
    reported: bool
    text: str
    sender: str  #: masked
    tenant: str
    direction: str
    action: Action
    would_be: Action
    reason: Reason
    guard: str | None
    score: float | None
    ham_cutoff: float
    spam_cutoff: float
    category: Category | None
    model: str
    policy: str
    clues: tuple[Clue, ...]
    first_ms: int
    last_ms: int
    verdict: "Verdict | None" = None  #: the one that holds; hidden from a second reader
    mine: bool = False  #: the asking person has given a verdict on it


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """One of an item's messages."""

    decision_id: str
    message_id: str
    sender: str  #: masked
    recipient: str  #: masked
    action: Action
    reason: Reason
    score: float | None
    model: str
    received_ms: int
    decided_ms: int
    released_ms: int | None  #: when its release was ordered
    published_ms: int | None  #: when the broker had it


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a reviewer says."""

    id: int
    item: str
    label: Label
    category: str | None
    note: str
    who: str
    at_ms: int
    reading: str  #: first, second, settled
    undone_ms: int | None = None


class Detail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of an item."""

    item: Item
    copies: tuple[Copy, ...]  #: newest first, at most fifty
    verdicts: tuple[Verdict, ...]  #: of this item, undone ones too; empty for a second reader
    same_sender: tuple[Item, ...]  #: other items with a message of this sender, newest first, at most ten
    cases: tuple[str, ...]  #: receipts


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """What of the queue is asked for; None leaves a thing open."""

    status: Status | None = Status.OPEN
    why: Why | None = None
    category: str | None = None
    tenant: str | None = None
    model: str | None = None
    action: Action | None = None
    reason: str | None = None
    query: str = ""  #: words of the text; two Chinese characters are enough
    sender: str = ""  #: a whole number, found by its keyed hash
    since_ms: int | None = None
    until_ms: int | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Some of a list; `next` is the cursor behind the last one, None at the end."""

    items: tuple[Item, ...]
    next: str | None
    total: int  #: how many there are, counted up to `COUNTED` at most


#: Further than this nobody counts a queue; a page says "10,000+".
COUNTED: Final = 10_000


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What an undo did; what the broker had already cannot be called back."""

    verdict: Verdict
    recalled: int  #: releases that had not been published and will not be
    gone: int  #: releases that had been published


class Bulk(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a verdict on many items."""

    done: tuple[str, ...]
    conflicts: tuple[str, ...]  #: somebody else was first, or it changed meanwhile


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A line that somebody added to a case."""

    who: str
    at_ms: int
    text: str


class ListEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry for the lists, out of a case: always with an owner, a reason and an end."""

    id: int
    kind: ListKind
    what: str  #: what it is compared with: link, sender, signature, host, contact; an allow entry always a link
    value: str
    owner: str
    reason: str
    expires_ms: int
    bulk: bool  #: the sender writes to many: two people must agree
    status: EntryStatus
    proposed_by: str
    approved_by: str | None
    receipt: str
    tenant: str = ""  #: whose messages it is for; empty is everybody's
    published_ms: int | None = None  #: when its newest state was acknowledged by the broker; workers follow in 2 s


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A complaint or a question; never a label. Carries what the subscriber pasted."""

    receipt: str  #: 16 figures in fours: unguessable, and can be spoken
    kind: CaseKind
    status: CaseStatus
    overdue: bool
    opened_ms: int
    due_ms: int
    resolved_ms: int | None
    opened_by: str
    channel: str  #: desk, phone, api, …
    assignee: str | None
    tenant: str
    number: str  #: the subscriber's, masked
    message_id: str | None
    text: str  #: what was pasted or found, empty for whoever may not see it
    item: str | None  #: the item it is about
    outcome: Outcome | None
    answer: str  #: what the subscriber is told
    satisfaction: int | None  #: 1 to 5


class CaseDetail(msgspec.Struct, frozen=True, kw_only=True):
    """A case with all that belongs to it."""

    case: Case
    notes: tuple[Note, ...]
    entries: tuple[ListEntry, ...]
    candidates: tuple[Item, ...]  #: items it may be about, while none is linked


class CasePage(msgspec.Struct, frozen=True, kw_only=True):
    """Some cases, those due first at the head."""

    cases: tuple[Case, ...]
    next: str | None
    total: int
    overdue: int


class CaseState(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt number tells whoever holds it; no text, no number, no name."""

    receipt: str
    kind: CaseKind
    status: CaseStatus
    opened_ms: int
    due_ms: int
    resolved_ms: int | None
    outcome: Outcome | None
    answer: str
    satisfaction: int | None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A stored decision judged again, by its own model and by the one of today."""

    decision_id: str
    model: str
    stored: float | None
    again: float | None  #: by the same model; None when that model is no longer there
    same: bool | None  #: None when that model is no longer there
    current_model: str
    current: float | None
    current_would_be: Action
    current_reason: Reason
    difference: float | None  #: current − stored


class AuditRow(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that somebody did or saw; ids, never a text or a number."""

    seq: int
    at_ms: int
    who: str
    action: str
    target: str
    detail: dict[str, Any]
    hash: str


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What became of checking the audit log."""

    rows: int
    head: str  #: hash of the last row
    broken_at: int | None  #: the first row that is not what it was, or that is missing
    why: str = ""


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """An estimated share with its 95 % interval; None while nothing was read."""

    estimate: float | None
    low: float | None
    high: float | None
    read: int  #: messages read that it rests on


class FigureRow(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one model, category, tenant or week."""

    key: str
    blocked: int  #: messages blocked
    allowed_seen: int  #: messages allowed that came for review, the random sample included
    verdicts: int
    overturned: int  #: verdicts that said ham of a block
    blocked_ham: Rate  #: share of blocks that were good messages, from those drawn by lot
    allowed_spam: Rate  #: share of allowed messages that were spam, from the sample


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of a span of time."""

    since_ms: int
    until_ms: int
    all: FigureRow
    groups: tuple[FigureRow, ...]
    by: str  #: model, category, tenant, week
    false_positive_rate: Rate  #: blocked ham of all ham, where allowed traffic is sampled
    false_negative_rate: Rate  #: allowed spam of all spam, where allowed traffic is sampled
    overturn: Rate
    verdict_p50_s: float | None  #: from a message's arrival to its verdict
    verdict_p90_s: float | None
    resolution_p50_s: float | None  #: from a case's opening to its answer
    resolution_p90_s: float | None
    backlog: int  #: open items, now
    second: int  #: items waiting for a second reader or a lead, now
    cases_opened: int
    cases_resolved: int
    cases_open: int  #: now
    cases_overdue: int  #: now
    satisfaction: float | None
    satisfaction_count: int
    kappa: float | None  #: Cohen's, over items read twice
    kappa_count: int
    agreed: int
    weeks: tuple["WeekRow", ...]  #: the same span by week, for charts


class WeekRow(msgspec.Struct, frozen=True, kw_only=True):
    """A week's counts."""

    week: str  #: 2026-W47
    blocked: int
    verdicts: int
    overturned: int
    cases_opened: int
    cases_resolved: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A month's handling, for a page that is printed."""

    month: str  #: 2026-11
    figures: Figures
    by_category: tuple[FigureRow, ...]
    by_tenant: tuple[FigureRow, ...]
    outcomes: dict[str, int]  #: cases resolved, by outcome
    handled_in_time: Rate  #: resolved before they were due
    releases: int
    entries: int


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the house has decided about reviewing."""

    second_share: float = 0.1  #: share of items that a second person reads
    lot_share: float = 0.02  #: share of blocked messages drawn by lot, so that figures are honest
    case_due_h: float = 24.0
    session_h: float = 8.0  #: a login ends after this, and after an hour of silence
    keep_days: int = 30
