"""What is deleted when, and how does a subscriber see or take back what is kept of them?

Texts and numbers go when they are older than the retention; verdicts stay, and counts for the figures, without anything
of anybody. An item whose messages are all gone goes with its words. What a subscriber asks for is found by the keyed
hash of their number.
"""

from collections import Counter
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from spamguard.core.sms import text_of
from spamguard.interfaces import Clock
from spamguard.review import search
from spamguard.review.access import demand
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.entries import Entries
from spamguard.review.intake import storable
from spamguard.review.mentions import cover, mentions
from spamguard.review.shown import message_of
from spamguard.review.tables import (
    bands,
    case_notes,
    cases,
    decisions,
    items,
    outbox,
    past_counts,
    past_drawn,
    releases,
)
from spamguard.review.values import Person, Rules, Status
from spamguard.review.vault import Vault

CHUNK: Final = 500
DAY_MS: Final = 86_400_000


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What was deleted."""

    decisions: int = 0
    items: int = 0
    cases: int = 0
    notes: int = 0  #: texts somebody typed, in which a number was covered
    entries: int = 0  #: list entries that were emptied
    held: int = 0  #: list entries that name the number and still act: a person withdraws them


class Retention:
    """Deletes what is old, and what a subscriber takes back."""

    def __init__(
        self, database: Database, vault: Vault, audit: Audit, entries: Entries, rules: Rules, clock: Clock
    ) -> None:
        self._database = database
        self._vault = vault
        self._audit = audit
        self._entries = entries
        self._rules = rules
        self._clock = clock

    def sweep(self) -> Swept:
        """Delete what is older than the retention, in small transactions, and return how much it was."""
        before = int(self._clock.now() * 1000) - self._rules.keep_days * DAY_MS
        total = Swept()
        while True:
            with self._database.write() as connection:
                query = select(decisions.c.decision_id).where(decisions.c.decided_ms < before).limit(CHUNK)
                ids = list(connection.execute(query).scalars())
                gone = self._drop(connection, ids)
                total = Swept(decisions=total.decisions + len(ids), items=total.items + gone)
            if len(ids) < CHUNK:
                break
        with self._database.write() as connection:
            self._entries.seal_old(connection)
            old = (
                cases.c.resolved_ms < before,
                (cases.c.text != "") | cases.c.number.is_not(None) | (cases.c.message_id.is_not(None)),
            )
            emptied = list(connection.execute(select(cases.c.seq).where(*old)).scalars())
            self._empty_cases(connection, emptied)
            total = Swept(decisions=total.decisions, items=total.items, cases=len(emptied))
            if total != Swept():
                self._audit.write(
                    connection,
                    "retention",
                    "sweep",
                    "",
                    decisions=total.decisions,
                    items=total.items,
                    cases=total.cases,
                )
        return total

    def export(self, number: str, *, by: Person | None = None) -> dict[str, Any]:
        """Return everything that is kept about a number; None stands for the command line."""
        if by is not None:
            demand(by, "subject.manage")
        hashes = self._vault.lookups(number)
        with self._database.write() as connection:
            mine = (decisions.c.sender_hash.in_(hashes)) | (decisions.c.recipient_hash.in_(hashes))
            rows = list(connection.execute(select(decisions).where(mine).order_by(decisions.c.decided_ms)))
            opened = list(connection.execute(select(cases).where(cases.c.number_hash.in_(hashes))))
            listed = self._entries.named(connection, number)
            notes = [mention.text for mention in mentions(connection, number)]
            self._audit.write(
                connection,
                by or "command line",
                "subject.export",
                self._vault.secret_hash(number),
                messages=len(rows),
                cases=len(opened),
                notes=len(notes),
                entries=len(listed),
            )
            return {
                "messages": [
                    {
                        "message": msgspec.to_builtins(message_of(row, self._vault)),
                        "decision": msgspec.json.decode(row.decision),
                    }
                    for row in rows
                ],
                "cases": [
                    {
                        "receipt": case.receipt,
                        "kind": case.kind,
                        "status": case.status,
                        "opened_ms": case.opened_ms,
                        "text": case.text,
                        "outcome": case.outcome,
                        "answer": case.answer,
                        "satisfaction": case.satisfaction,
                    }
                    for case in opened
                ],
                "list_entries": [
                    {
                        "list": entry.kind,
                        "what": entry.what,
                        "value": entry.value,
                        "status": entry.status,
                        "reason": entry.reason,
                        "expires_ms": entry.expires_ms,
                    }
                    for entry in listed
                ],
                "notes": notes,
            }

    def erase(self, number: str, *, by: Person | None = None) -> Swept:
        """Delete all that is kept about a number, cover it where somebody typed it, and return how much it was."""
        if by is not None:
            demand(by, "subject.manage")
        hashes = self._vault.lookups(number)
        with self._database.write() as connection:
            mine = (decisions.c.sender_hash.in_(hashes)) | (decisions.c.recipient_hash.in_(hashes))
            ids = list(connection.execute(select(decisions.c.decision_id).where(mine)).scalars())
            gone = sum(self._drop(connection, ids[first : first + CHUNK]) for first in range(0, len(ids), CHUNK))
            opened = list(connection.execute(select(cases.c.seq).where(cases.c.number_hash.in_(hashes))).scalars())
            self._empty_cases(connection, opened)
            emptied, held = self._entries.forget(connection, number)
            found = Swept(
                decisions=len(ids),
                items=gone,
                cases=len(opened),
                notes=cover(connection, number),
                entries=emptied,
                held=held,
            )
            self._audit.write(
                connection,
                by or "command line",
                "subject.erase",
                self._vault.secret_hash(number),
                messages=found.decisions,
                items=found.items,
                cases=found.cases,
                notes=found.notes,
                entries=found.entries,
            )
        return found

    def _drop(self, connection: Connection, ids: list[str]) -> int:
        """Delete decisions, and items that have none left; return how many items."""
        if not ids:
            return 0
        touched = list(
            connection.execute(
                select(decisions.c.item_seq).where(decisions.c.decision_id.in_(ids)).distinct()
            ).scalars()
        )
        _keep_figures(connection, ids)
        refs = select(releases.c.release_id).where(releases.c.decision_id.in_(ids))
        waiting = list(connection.execute(refs).scalars())
        connection.execute(delete(outbox).where(outbox.c.ref.in_(waiting)))
        connection.execute(delete(releases).where(releases.c.decision_id.in_(ids)))
        connection.execute(delete(decisions).where(decisions.c.decision_id.in_(ids)))
        left = {
            row.item_seq: row
            for row in connection.execute(
                select(
                    decisions.c.item_seq,
                    func.count().label("copies"),
                    func.min(decisions.c.decision_id).label("one"),
                )
                .where(decisions.c.item_seq.in_(touched))
                .group_by(decisions.c.item_seq)
            )
        }
        empty = [seq for seq in touched if seq not in left]
        search.forget(connection, empty)
        connection.execute(delete(bands).where(bands.c.item_seq.in_(empty)))
        connection.execute(delete(items).where(items.c.seq.in_(empty)))
        connection.execute(update(cases).where(cases.c.item_seq.in_(empty)).values(item_seq=None, decision_id=None))
        for seq, row in left.items():
            self._reword(connection, seq, row.one, row.copies)
        return len(empty)

    def _reword(self, connection: Connection, seq: int, decision_id: str, copies: int) -> None:
        """Let an item speak with the text of a message that is still there."""
        row = connection.execute(select(decisions).where(decisions.c.decision_id == decision_id)).one()
        said = storable(text_of(message_of(row, self._vault)) or "")
        clues = msgspec.json.encode(msgspec.json.decode(row.decision).get("clues", [])).decode()
        connection.execute(update(items).where(items.c.seq == seq).values(copies=copies, text=said, clues=clues))
        search.forget(connection, [seq])
        search.add(connection, [(seq, said)])

    def _empty_cases(self, connection: Connection, seqs: list[int]) -> None:
        """Take from cases what names a person; what was decided stays."""
        for first in range(0, len(seqs), CHUNK):
            some = seqs[first : first + CHUNK]
            connection.execute(
                update(cases)
                .where(cases.c.seq.in_(some))
                .values(
                    number=None, number_hash="", number_shown="", text="", message_id=None, decision_id=None, tenant=""
                )
            )
            connection.execute(delete(case_notes).where(case_notes.c.case_seq.in_(some)))


def _keep_figures(connection: Connection, ids: list[str]) -> None:
    """Keep of decisions that are about to go what the figures count: how many, and the labels of those drawn by lot."""
    query = (
        select(decisions, items.c.label, items.c.status)
        .join(items, items.c.seq == decisions.c.item_seq)
        .where(decisions.c.decision_id.in_(ids))
    )
    counts: Counter[tuple[int, str, str, str, str]] = Counter()
    drawn = []
    for row in connection.execute(query):
        kind = {"tenant": row.tenant, "model": row.model, "category": row.category or "", "action": row.action}
        counts[(row.decided_ms // DAY_MS * DAY_MS, *kind.values())] += 1
        if row.chance is not None and row.label is not None and row.status == Status.DONE:
            drawn.append(kind | {"decided_ms": row.decided_ms, "chance": row.chance, "label": row.label})
    if drawn:
        connection.execute(insert(past_drawn), drawn)
    for (day_ms, tenant, model, category, action), number in counts.items():
        mine = (
            (past_counts.c.day_ms == day_ms)
            & (past_counts.c.tenant == tenant)
            & (past_counts.c.model == model)
            & (past_counts.c.category == category)
            & (past_counts.c.action == action)
        )
        raised = update(past_counts).where(mine).values(number=past_counts.c.number + number)
        if not connection.execute(raised).rowcount:
            connection.execute(
                insert(past_counts).values(
                    day_ms=day_ms, tenant=tenant, model=model, category=category, action=action, number=number
                )
            )
