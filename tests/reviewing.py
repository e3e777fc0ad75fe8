"""How do tests make a review desk, and review copies of messages that were never judged?"""

from itertools import count
from typing import Any, Final

from spamguard.backends.clock import ManualClock
from spamguard.core.decide import Judge
from spamguard.review.database import Database
from spamguard.review.desk import Desk
from spamguard.review.people import CHEAP
from spamguard.review.values import Case, CaseKind, Person, Role, Rules
from spamguard.review.vault import Vault
from spamguard.types import Action, Category, Decision, Message, Reason, ReviewCopy

#: 2026-11-24T00:00:00Z
MORNING_S: Final = 1_795_478_400.0
SENDER: Final = "+8613900005555"
SUBSCRIBER: Final = "+8613900001234"
#: Nobody reads twice, and nothing is drawn by lot, where a test does not ask for it.
PLAIN: Final = Rules(second_share=0.0, lot_share=0.0)
EVERYTHING_TWICE: Final = Rules(second_share=1.0, lot_share=0.0)
_NUMBERS: Final = count(1)


def open_desk(url: str, *, rules: Rules = PLAIN, judge: Judge | None = None, clock: ManualClock | None = None) -> Desk:
    """Return a desk over a database, on a clock that stands still."""

    def current() -> Judge:
        assert judge is not None
        return judge

    return Desk(
        Database(url, durable=False),
        Vault({1: b"k" * 32}),
        clock=clock or ManualClock(MORNING_S),
        find_judge=lambda name: judge if judge is not None and judge.name == name else None,
        current_judge=current,
        rules=rules,
        hasher=CHEAP,
    )


def copy_of(
    text: str,
    *,
    action: Action = Action.BLOCK,
    score: float = 0.999,
    at_s: float = MORNING_S - 600,
    tenant: str = "acme",
    sender: str = SENDER,
    recipient: str = SUBSCRIBER,
    decision_id: str = "",
    message_id: str = "",
    category: Category | None = Category.FRAUD,
    model: str = "small/1.0",
    chance: float | None = None,
) -> ReviewCopy:
    """Return a review copy as a worker publishes one."""
    from datetime import UTC, datetime

    number = next(_NUMBERS)
    moment = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")
    return ReviewCopy(
        decision=Decision(
            decision_id=decision_id or f"{number:032x}",
            message_id=message_id or f"m-{number}",
            action=action,
            would_be=action,
            reason=Reason.SPAM_SCORE if action is Action.BLOCK else Reason.UNSURE,
            score=score,
            ham_cutoff=0.3,
            spam_cutoff=0.7,
            review=True,
            category=category,
            model=model,
            policy="standard",
            code_version="0.1.0",
            decided_at=moment,
        ),
        message=Message(
            message_id=message_id or f"m-{number}",
            sender=sender,
            recipient=recipient,
            text=text,
            direction="AO",
            received_at=moment,
            tenant=tenant,
            account="acc-7",
        ),
        source=f"sms.inbound-0@{number}",
        chance=chance,
    )


def staff(desk: Desk) -> dict[str, Person]:
    """Return one person of each role, and a second reviewer."""
    roles = {
        "ann": Role.AGENT,
        "rui": Role.REVIEWER,
        "ren": Role.REVIEWER,
        "lee": Role.LEAD,
        "ada": Role.ADMIN,
    }
    return {name: desk.people.add(name, role)[0] for name, role in roles.items()}


def missing(desk: Desk, who: Person, **about: Any) -> Case:
    """Return a case about a message that did not come."""
    return desk.cases.open(who, kind=CaseKind.MISSING, **about)
