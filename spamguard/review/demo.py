"""What does a review desk look like that has been worked at for weeks?

Invented messages (the samples that ship, with other figures in them) are judged by the shipped model, read by invented
reviewers, complained of by nobody who exists. Everything goes through the same doors as in earnest, at moments of the
past weeks; a seed makes it the same every time.
"""

import json
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from spamguard.core.decide import Conditions, Judge, Request, decide
from spamguard.core.policy import STANDARD
from spamguard.errors import Conflict, NotThere, ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review.desk import Desk
from spamguard.review.entries import NewEntry
from spamguard.review.values import (
    CaseKind,
    CaseStatus,
    Filters,
    Item,
    Label,
    ListKind,
    Outcome,
    Person,
    Role,
    Status,
)
from spamguard.types import Action, Decision, Message, Reason, ReviewCopy, ShadowOpinion, ShadowReport

DEMO_PASSWORD: Final = "a quiet river runs by"  # noqa: S105 - the demo's, and shown to whoever starts it
PEOPLE: Final = {
    "xiaoyu": Role.AGENT,
    "chen": Role.REVIEWER,
    "wang": Role.REVIEWER,
    "maria": Role.REVIEWER,
    "lead": Role.LEAD,
    "admin": Role.ADMIN,
}
DAYS: Final = 35
DAY_S: Final = 86_400.0
#: Share of allowed application traffic that is drawn by lot.
ALLOWED_CHANCE: Final = 0.1
#: How often a reviewer of the demo is mistaken.
MISTAKE: Final = 0.04
_FIGURE: Final = re.compile(r"(?<!\d)\d{4,}(?!\d)")
_TENANTS: Final = ("qingxi-bank", "haitang-shop", "yunshan-travel", "open-gateway")
_ANSWERS: Final = {
    Outcome.RELEASE: (
        "您的短信被误拦，现已重新下发，给您带来不便深表歉意。",
        "Your message was held by mistake. It has been sent again; we are sorry.",
    ),
    Outcome.LABEL: (
        "感谢反馈，该类短信已记为垃圾短信，系统将据此改进。",
        "Thank you. Messages of this kind are now marked as spam and the filter will learn from them.",
    ),
    Outcome.EXPLANATION: (
        "经核查，该短信含仿冒链接，拦截无误，请勿点击。",
        "We checked: the message held a link to a forged page. Please do not follow such links.",
    ),
    Outcome.LIST_ENTRY: ("已为该账号登记白名单，半年内有效。", "The account is on the allow list for six months."),
}


class Then:
    """A clock at a moment of the past."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def now(self) -> float:
        """Return that moment."""
        return self.now_s

    def monotonic(self) -> float:
        """Return that moment."""
        return self.now_s


class Traffic:
    """Invented messages with the decisions of a model."""

    def __init__(self, labelled: Path, judge: Judge, *, seed: int = 20261124) -> None:
        rows = [json.loads(line) for line in labelled.read_text(encoding="utf-8").splitlines()]
        self.truth = {row["text"]: row for row in rows}
        self.texts = list(self.truth)
        self.dice = random.Random(seed)  # noqa: S311 - invented messages
        self.said: dict[str, dict[str, Any]] = {}  #: what a text that was sent truly is
        self._judge = judge
        self._count = 0

    def message(self, text: str, at_s: float) -> Message:
        """Return a message with other figures in its text."""
        self._count += 1
        row = self.truth[text]
        dice = self.dice
        said = _FIGURE.sub(lambda found: "".join(str(dice.randrange(10)) for _ in found.group()), text)
        self.said[said] = row
        spam = row["label"] == "spam"
        sender = (
            f"+86139{dice.randrange(10**4):04}00{dice.randrange(100):02}"
            if row["category"] in ("personal", "fragment") or (spam and dice.random() < 0.5)
            else f"10690000{dice.randrange(10**4):04}"
        )
        return Message(
            message_id=f"demo-{self._count:05}",
            sender=sender,
            recipient=f"+861390000{dice.randrange(10**4):04}",
            text=said,
            direction="MO" if sender.startswith("+") else "AO",
            received_at=int(at_s * 1000),
            tenant=_TENANTS[zlib.crc32(text.encode()) % len(_TENANTS)],
            account=f"acc-{dice.randrange(40):02}",
        )

    def copies(self, messages: Sequence[Message]) -> list[ReviewCopy]:
        """Return the review copies of messages: what was blocked or unsure, and the lot's share of the rest."""
        conditions = Conditions(policy=STANDARD, allow_all=False, code_version="demo", now_s=0.0, stopwatch=lambda: 0.0)
        requests = [Request(message, f"{self.dice.getrandbits(128):032x}", 0) for message in messages]
        found = []
        for request, decided in zip(requests, decide(requests, self._judge, conditions), strict=True):
            moment = datetime.fromtimestamp(int(request.message.received_at or 0) / 1000, UTC)
            decision = msgspec.structs.replace(
                decided, decided_at=moment.isoformat(timespec="milliseconds"), timings=None
            )
            source = f"sms.inbound-0@{self._count}"
            if decision.review:
                found.append(ReviewCopy(decision=decision, message=request.message, source=source))
            elif request.message.direction == "AO" and self.dice.random() < ALLOWED_CHANCE:
                found.append(
                    ReviewCopy(decision=decision, message=request.message, source=source, chance=ALLOWED_CHANCE)
                )
        return found


def seed(desk_at: Callable[[Clock], Desk], traffic: Traffic, *, now_s: float) -> None:
    """Let weeks pass at a desk: messages come, reviewers read, subscribers complain and are answered."""
    clock = Then(now_s - DAYS * DAY_S)
    desk = desk_at(clock)
    people = {}
    for name, role in PEOPLE.items():
        person, _ = desk.people.add(name, role)
        desk.people.set_password(name, DEMO_PASSWORD)
        people[name] = person
    plan = sorted(_plan(traffic, now_s - DAYS * DAY_S, now_s - 60))
    hours = int(DAYS * 4)
    for turn in range(hours):
        clock.now_s = now_s - DAYS * DAY_S + (turn + 1) * DAY_S * DAYS / hours
        due = []
        while plan and plan[0][0] < clock.now_s:
            due.append(plan.pop(0))
        copies = traffic.copies([traffic.message(text, at_s) for at_s, text in due])
        desk.intake.take(copies)
        _disagree(desk, traffic, copies)
        left = hours - turn
        if left > 6:
            _work(desk, people, traffic, clock, share=0.9 if left > 16 else 0.4)
        _complain(desk, people, traffic, copies, clock)
        _answer(desk, people, traffic, clock, lazy=left < 12)


def _plan(traffic: Traffic, since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
    """Yield when which text is sent: most once, some in campaigns of hours, and the newest within the last day."""
    dice = traffic.dice
    for number, text in enumerate(traffic.texts):
        begin = until_s - dice.random() ** 2 * DAY_S * 1.2 if number % 5 == 0 else dice.uniform(since_s, until_s)
        spam = traffic.truth[text]["label"] == "spam"
        copies = dice.randrange(3, 15) if not spam else int(dice.paretovariate(0.9)) if dice.random() < 0.4 else 1
        for _ in range(min(copies, 40)):
            yield min(until_s, begin + dice.expovariate(1 / 5400)), text


def _disagree(desk: Desk, traffic: Traffic, copies: Sequence[ReviewCopy]) -> None:
    """Let a challenger differ on some of what lies near a cutoff."""
    reports = []
    for copy in copies:
        decision = copy.decision
        if decision.score is not None and 0.5 < decision.score < 0.995 and traffic.dice.random() < 0.25:
            reports.append(_report(decision))
    if reports:
        desk.intake.shadow(reports)


def _report(decision: Decision) -> ShadowReport:
    mine = ShadowOpinion(
        model=decision.model,
        score=decision.score,
        ham_cutoff=decision.ham_cutoff,
        spam_cutoff=decision.spam_cutoff,
        would_be=decision.would_be,
        reason=decision.reason,
        category=decision.category,
    )
    other = Action.ALLOW if decision.would_be is Action.BLOCK else Action.BLOCK
    return ShadowReport(
        decision_id=decision.decision_id,
        message_id=decision.message_id,
        outcome="would_allow" if other is Action.ALLOW else "would_block",
        champion=mine,
        challenger=ShadowOpinion(
            model="next/1",
            score=0.5,
            ham_cutoff=0.3,
            spam_cutoff=0.9,
            would_be=other,
            reason=Reason.UNSURE,
            category=None,
        ),
        decided_at=decision.decided_at,
    )


def _work(desk: Desk, people: dict[str, Person], traffic: Traffic, clock: Then, *, share: float) -> None:
    """Let reviewers read most of what waits."""
    readers = [people[name] for name in ("chen", "wang", "maria")]
    for status in (Status.OPEN, Status.SECOND):
        page = desk.store.queue(readers[0], Filters(status=status), limit=60)
        for item in page.items:
            if traffic.dice.random() > share:
                continue
            clock.now_s += traffic.dice.uniform(2, 25)
            _read(desk, traffic.dice.choice(readers), item, traffic)
    for item in desk.store.queue(people["lead"], Filters(status=Status.DISPUTED), limit=20).items:
        if traffic.dice.random() < 0.7:
            label, category = _truly(item.text, traffic)
            desk.store.settle(people["lead"], item.id, label, category=category)


def _read(desk: Desk, reader: Person, item: Item, traffic: Traffic) -> None:
    label, category = _truly(item.text, traffic)
    if traffic.dice.random() < MISTAKE:
        label, category = (Label.HAM, None) if label is Label.SPAM else (Label.SPAM, None)
    try:
        if label is Label.HAM and item.blocked:
            desk.store.release(reader, item.id)
        else:
            desk.store.verdict(reader, item.id, label, category=category)
    except Conflict:
        pass  # the second reader must be another


def _truly(text: str, traffic: Traffic) -> tuple[Label, str | None]:
    row = traffic.said.get(text, {"label": "ham", "category": None})
    return Label(row["label"]), row["category"]


def _complain(
    desk: Desk, people: dict[str, Person], traffic: Traffic, copies: Sequence[ReviewCopy], clock: Then
) -> None:
    """Let subscribers complain of what was blocked or came through."""
    dice = traffic.dice
    agent = people["xiaoyu"]
    for copy in copies:
        truth = traffic.said.get(copy.message.text or "", {"label": "ham"})["label"]
        wrong = (copy.decision.action is Action.BLOCK) is not (truth == "spam")
        if dice.random() > (0.5 if wrong else 0.08):
            continue
        blocked = copy.decision.action is Action.BLOCK
        kind = CaseKind.MISSING if blocked else CaseKind.UNWANTED if truth == "spam" else CaseKind.QUESTION
        way = dice.randrange(3)
        desk.cases.open(
            agent,
            kind=kind,
            message_id=copy.message.message_id if way == 0 else None,
            number=copy.message.recipient if way == 1 else f"+861390000{dice.randrange(10**4):04}",
            at_ms=int(copy.message.received_at or 0) + dice.randrange(-600_000, 600_000) if way == 1 else None,
            text=copy.message.text if way == 2 else None,
            tenant=copy.message.tenant,
            channel=dice.choice(("phone", "phone", "desk", "api")),
            note=dice.choice(("", "客户在等验证码", "called twice", "")),
        )


def _answer(desk: Desk, people: dict[str, Person], traffic: Traffic, clock: Then, *, lazy: bool) -> None:
    """Let reviewers look after cases, most before they are due."""
    dice = traffic.dice
    lead, reader = people["lead"], people[dice.choice(("chen", "wang", "maria"))]
    for case in desk.cases.queue(lead, limit=100).cases:
        if case.status is CaseStatus.RECEIVED and dice.random() < 0.6:
            desk.cases.assign(lead, case.receipt, reader.name)
        if dice.random() > (0.12 if lazy else 0.45):
            continue
        entry = None
        outcome = Outcome.EXPLANATION
        if case.item is not None and case.kind is CaseKind.MISSING:
            outcome = Outcome.RELEASE
        elif case.item is not None and case.kind is CaseKind.UNWANTED:
            outcome = Outcome.LABEL
        if dice.random() < 0.06:
            outcome = Outcome.LIST_ENTRY
            entry = NewEntry(
                kind=ListKind.ALLOW,
                what="link",
                value=f"acc-{dice.randrange(40):02}/1069{dice.randrange(10_000):04}",
                owner="ops",
                reason="bank notices, contract 2026-118",
                expires_ms=int((clock.now_s + 180 * DAY_S) * 1000),
            )
        answer = _ANSWERS[outcome][0 if dice.random() < 0.7 else 1]
        try:
            desk.cases.resolve(
                reader,
                case.receipt,
                outcome,
                answer,
                label=Label.SPAM if outcome is Outcome.LABEL else None,
                entry=entry,
            )
        except (Conflict, NotThere, ReviewInvalid):
            outcome = Outcome.EXPLANATION
            desk.cases.resolve(reader, case.receipt, outcome, _ANSWERS[outcome][0])
        if dice.random() < 0.55:
            desk.cases.rate(people["xiaoyu"], case.receipt, dice.choices((1, 2, 3, 4, 5), (4, 6, 15, 40, 35))[0])
    for found in desk.entries.all(lead):
        if found.status == "waiting" and found.proposed_by != lead.name and dice.random() < 0.2:
            desk.entries.approve(lead, found.id)


def later(traffic: Traffic, now_s: float) -> list[ReviewCopy]:
    """Return what comes within a few seconds, while somebody looks."""
    texts = traffic.dice.choices(traffic.texts, k=4)
    return traffic.copies([traffic.message(text, now_s) for text in texts])
