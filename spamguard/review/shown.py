"""How does a row become what a person sees?"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, select

from spamguard.core.entries import NUMBERS
from spamguard.review.tables import decisions, items, releases, verdicts
from spamguard.review.values import Copy, Item, Person, Status, Verdict, Why
from spamguard.review.vault import Vault, masked
from spamguard.types import Action, Category, Clue, Decision, Message, Reason

MOST_COPIES: Final = 50
_CLUES: Final = msgspec.json.Decoder(tuple[Clue, ...])
_MESSAGE: Final = msgspec.json.Decoder(Message)
_DECISION: Final = msgspec.json.Decoder(Decision)


def item_of(row: Mapping[str, Any], verdict: Verdict | None = None, *, mine: bool = False) -> Item:
    """Return an item."""
    return Item(
        id=row["id"],
        status=Status(row["status"]),
        why=Why(row["why"]),
        priority=row["priority"],
        version=row["version"],
        count=row["copies"],
        blocked=row["blocked"],
        released=row["released"],
        reported=bool(row["reported"]),
        text=row["text"],
        sender=row["sender_shown"],
        tenant=row["tenant"],
        direction=row["direction"],
        action=Action(row["action"]),
        would_be=Action(row["would_be"]),
        reason=Reason(row["reason"]),
        guard=row["guard"],
        score=row["score"],
        ham_cutoff=row["ham_cutoff"],
        spam_cutoff=row["spam_cutoff"],
        category=Category(row["category"]) if row["category"] else None,
        model=row["model"],
        policy=row["policy"],
        clues=_CLUES.decode(row["clues"]),
        first_ms=row["first_ms"],
        last_ms=row["last_ms"],
        verdict=verdict,
        mine=mine,
    )


def items_of(connection: Connection, who: Person, rows: list[Row[Any]]) -> tuple[Item, ...]:
    """Return items with the verdicts that hold, except where the person is to read for the second time."""
    given: dict[int, list[Row[Any]]] = {}
    if rows:
        query = select(verdicts).where(
            verdicts.c.item_seq.in_([row.seq for row in rows]), verdicts.c.undone_ms.is_(None)
        )
        for found in connection.execute(query.order_by(verdicts.c.id)):
            given.setdefault(found.item_seq, []).append(found)
    shown = []
    for row in rows:
        held = given.get(row.seq, [])
        mine = any(verdict.person_id == who.id for verdict in held)
        last = verdict_of(held[-1]) if held and (mine or row.status != Status.SECOND) else None
        shown.append(item_of(dict(row._mapping), last, mine=mine))
    return tuple(shown)


def verdict_of(row: Row[Any]) -> Verdict:
    """Return a verdict."""
    return Verdict(
        id=row.id,
        item=row.item_id,
        label=row.label,
        category=row.category,
        note=row.note,
        who=row.who,
        at_ms=row.at_ms,
        reading=row.reading,
        undone_ms=row.undone_ms,
    )


def copies_of(connection: Connection, vault: Vault, seq: int) -> tuple[Copy, ...]:
    """Return an item's newest messages, numbers masked."""
    query = (
        select(decisions, releases.c.at_ms.label("released_ms"), releases.c.published_ms)
        .outerjoin(releases, releases.c.decision_id == decisions.c.decision_id)
        .where(decisions.c.item_seq == seq)
        .order_by(decisions.c.decided_ms.desc())
        .limit(MOST_COPIES)
    )
    found = []
    for row in connection.execute(query):
        sender, recipient = numbers_of(row, vault)
        found.append(
            Copy(
                decision_id=row.decision_id,
                message_id=row.message_id,
                sender=masked(sender),
                recipient=masked(recipient),
                action=Action(row.action),
                reason=Reason(row.reason),
                score=row.score,
                model=row.model,
                received_ms=row.received_ms,
                decided_ms=row.decided_ms,
                released_ms=row.released_ms,
                published_ms=row.published_ms,
            )
        )
    return tuple(found)


def numbers_of(row: Row[Any], vault: Vault) -> tuple[str, str]:
    """Return sender and recipient of a stored decision, whole."""
    if row.numbers is None:
        return "", ""
    found = msgspec.json.decode(vault.open(row.numbers, row.decision_id))
    return found["sender"], found["recipient"]


def message_of(row: Row[Any], vault: Vault) -> Message:
    """Return the whole message of a stored decision."""
    message = _MESSAGE.decode(row.message)
    if row.numbers is None:
        return message
    return msgspec.structs.replace(message, **msgspec.json.decode(vault.open(row.numbers, row.decision_id)))


def entry_value(row: Row[Any], vault: Vault) -> str:
    """Return what a list entry is compared with, whole; one from before entries were sealed lies as it is."""
    return vault.open(row.sealed, f"entry {row.receipt}") if row.sealed is not None else str(row.value)


def sealed_value(receipt: str, what: str, value: str, vault: Vault) -> dict[str, Any]:
    """Return the columns in which a list entry keeps what it is compared with."""
    number = value.rpartition("/")[2] if what in NUMBERS and not value.endswith("*") else ""
    return {"value": "", "sealed": vault.seal(value, f"entry {receipt}"), "number_hash": vault.lookup(number)}


def decision_of(row: Row[Any]) -> Decision:
    """Return a stored decision as it was published."""
    return _DECISION.decode(row.decision)


def item_row(connection: Connection, item_id: str, *, lock: bool = False) -> Row[Any] | None:
    """Return an item's row, held until the transaction ends where `lock` says so."""
    query = select(items).where(items.c.id == item_id[:24])
    return connection.execute(query.with_for_update() if lock else query).first()
