"""What do reviewers see, and what becomes of what they say?

The queue, an item with its history, verdicts and their undoing, release. Every method that shows a text or changes
something says who asked, checks that they may, and writes the audit row in the same transaction.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, exists, func, insert, or_, select, update

from spamguard.errors import Conflict, NotThere, ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review import outbox, search
from spamguard.review.access import demand, may
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.intake import drawn, requeue
from spamguard.review.shown import copies_of, item_row, items_of, numbers_of, verdict_of
from spamguard.review.tables import cases, decisions, items, verdicts
from spamguard.review.tables import releases as releases_table
from spamguard.review.values import (
    COUNTED,
    Bulk,
    Detail,
    Filters,
    Item,
    Label,
    Page,
    Person,
    Rules,
    Status,
    Undone,
    Verdict,
    Why,
)
from spamguard.review.vault import Vault
from spamguard.types import Action

MOST_AT_ONCE: Final = 200
MOST_ALIKE: Final = 10
MAX_NOTE_CHARS: Final = 2000
#: Categories of the label policy, by label.
CATEGORIES: Final = {
    Label.SPAM: ("marketing", "loan", "gambling", "adult", "fraud", "illegal", "harassment"),
    Label.HAM: ("personal", "otp", "transaction", "service", "public", "fragment"),
}


class Store:
    """The reviewers' desk over a database."""

    def __init__(self, database: Database, vault: Vault, audit: Audit, rules: Rules, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._audit = audit
        self._rules = rules
        self._clock = clock

    # -- looking ---------------------------------------------------------------------------------------------------

    def queue(self, who: Person, filters: Filters | None = None, *, after: str | None = None, limit: int = 50) -> Page:
        """Return items, those that teach most first; what is searched for comes newest first."""
        demand(who, "queue.read")
        filters = filters or Filters()
        limit = max(1, min(limit, MOST_AT_ONCE))
        teaching = filters.status is not None and not filters.query.strip() and not filters.sender.strip()
        with self._database.read() as connection:
            conditions = self._conditions(connection, who, filters)
            if conditions is None:
                return Page(items=(), next=None, total=0)
            query: Select[Any] = select(items).where(*conditions, *_behind(after, teaching=teaching))
            # Of a span of time the few rows are sorted; walking the whole queue in its order would find them late.
            place = items.c.priority + 0 if filters.since_ms or filters.until_ms else items.c.priority
            order = (place.desc(), items.c.seq.desc()) if teaching else (items.c.seq.desc(),)
            rows = list(connection.execute(query.order_by(*order).limit(limit + 1)))
            more = len(rows) > limit
            rows = rows[:limit]
            inner = select(items.c.seq).where(*conditions).limit(COUNTED).subquery()
            total = connection.execute(select(func.count()).select_from(inner)).scalar_one()
            shown = items_of(connection, who, rows)
        if rows:  # written down before anybody sees a text; in its own transaction, so that looking blocks no verdict
            self._audit.saw(who, "queue.view", "", items=" ".join(row.id for row in rows))
        last = rows[-1] if rows and more else None
        cursor = None if last is None else f"{last.priority!r}:{last.seq}" if teaching else str(last.seq)
        return Page(items=shown, next=cursor, total=total)

    def _conditions(self, connection: Connection, who: Person, filters: Filters) -> list[ColumnElement[bool]] | None:
        """Return what items must be; None when nothing can be it."""
        found: list[ColumnElement[bool]] = []
        for column, value in (
            (items.c.status, filters.status),
            (items.c.why, filters.why),
            (items.c.category, filters.category),
            (items.c.tenant, filters.tenant),
            (items.c.model, filters.model),
            (items.c.action, filters.action),
            (items.c.reason, filters.reason),
        ):
            if value is not None:
                found.append(column == str(value))
        if filters.since_ms is not None or filters.until_ms is not None:
            found.append(items.c.seq.in_(_newest(filters)))
        if filters.status is Status.SECOND:
            mine = select(verdicts.c.id).where(
                verdicts.c.item_seq == items.c.seq, verdicts.c.person_id == who.id, verdicts.c.undone_ms.is_(None)
            )
            found.append(~exists(mine))
        if filters.query.strip():
            made = search.words(connection, filters.query)
            if made is None:
                return None
            found.append(made)
        if filters.sender.strip():
            of_sender = select(decisions.c.item_seq).where(
                decisions.c.sender_hash.in_(self._vault.lookups(filters.sender.strip()))
            )
            found.append(items.c.seq.in_(of_sender))
        return found

    def why_counts(self, who: Person) -> dict[Why, int]:
        """Return how many open items there are for each reason, counted up to `COUNTED`."""
        demand(who, "queue.read")
        with self._database.read() as connection:
            return {
                why: connection.execute(
                    select(func.count()).select_from(
                        select(items.c.seq)
                        .where(items.c.status == Status.OPEN, items.c.why == why)
                        .limit(COUNTED)
                        .subquery()
                    )
                ).scalar_one()
                for why in Why
            }

    def backlog(self) -> int:
        """Return how many items nobody has read."""
        query = select(func.count()).select_from(items).where(items.c.status == Status.OPEN)
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def tenants(self) -> list[str]:
        """Return the tenants there are messages of."""
        return self._distinct("tenant")

    def models(self) -> list[str]:
        """Return the models that decided."""
        return self._distinct("model")

    def categories(self) -> list[str]:
        """Return the categories that the machine gave."""
        return self._distinct("category")

    def _distinct(self, name: str) -> list[str]:
        """Return a column's values by jumping from one to the next in the index, whatever the number of rows."""
        column = items.c[name]
        found: list[str] = []
        with self._database.read() as connection:
            for status in Status:
                last: str | None = None
                while len(found) < 1000:
                    query = select(func.min(column)).where(items.c.status == status, column.is_not(None))
                    value = connection.execute(query if last is None else query.where(column > last)).scalar()
                    if value is None:
                        break
                    found.append(value)
                    last = value
        return sorted(set(found))

    def item(self, who: Person, item_id: str) -> Detail:
        """Return all that is known of an item. Raises NotThere."""
        demand(who, "item.read")
        with self._database.read() as connection:
            row = self._row(connection, item_id)
            [shown] = items_of(connection, who, [row])
            blind = row.status == Status.SECOND and not shown.mine
            given = select(verdicts).where(verdicts.c.item_seq == row.seq).order_by(verdicts.c.id.desc())
            said = () if blind else tuple(verdict_of(found) for found in connection.execute(given))
            receipts = connection.execute(select(cases.c.receipt).where(cases.c.item_seq == row.seq)).scalars()
            detail = Detail(
                item=shown,
                copies=copies_of(connection, self._vault, row.seq),
                verdicts=said,
                same_sender=self._same_sender(connection, who, row.seq),
                cases=tuple(receipts),
            )
        self._audit.saw(who, "item.view", row.id)
        return detail

    def _same_sender(self, connection: Connection, who: Person, seq: int) -> tuple[Item, ...]:
        newest = (
            select(decisions.c.sender_hash)
            .where(decisions.c.item_seq == seq)
            .order_by(decisions.c.decided_ms.desc())
            .limit(MOST_ALIKE)
        )
        senders = {found for found in connection.execute(newest).scalars() if found}
        if not senders:
            return ()
        recent = (
            select(decisions.c.item_seq, decisions.c.decided_ms)
            .where(decisions.c.sender_hash.in_(senders), decisions.c.item_seq != seq)
            .order_by(decisions.c.decided_ms.desc())
            .limit(MOST_AT_ONCE)
        )
        seqs = list(dict.fromkeys(connection.execute(recent).scalars()))[:MOST_ALIKE]
        rows = {row.seq: row for row in connection.execute(select(items).where(items.c.seq.in_(seqs)))}
        return items_of(connection, who, [rows[found] for found in seqs if found in rows])

    def number(self, who: Person, item_id: str, decision_id: str) -> tuple[str, str]:
        """Return sender and recipient of one message, whole; its own row in the audit log. Raises NotThere."""
        demand(who, "item.read")
        with self._database.write() as connection:
            item = self._row(connection, item_id)
            query = select(decisions).where(decisions.c.decision_id == decision_id, decisions.c.item_seq == item.seq)
            row = connection.execute(query).first()
            if row is None:
                raise NotThere(what="message")
            self._audit.write(connection, who, "number.view", item.id, decision_id=decision_id)
            return numbers_of(row, self._vault)

    # -- saying ----------------------------------------------------------------------------------------------------

    def verdict(
        self,
        who: Person,
        item_id: str,
        label: Label,
        *,
        category: str | None = None,
        note: str = "",
        version: int | None = None,
    ) -> Verdict:
        """Give a verdict: the first one, or the second one where a second reader is asked. Raises Conflict."""
        demand(who, "item.verdict")
        _check(label, category, note)
        with self._database.write() as connection:
            row = self._row(connection, item_id, lock=True)
            if version is not None and row.version != version:
                raise Conflict(detail="the item changed while it was on the screen", key="item.changed")
            return self.give(connection, who, row, label, category=category, note=note)

    def settle(
        self, who: Person, item_id: str, label: Label, *, category: str | None = None, note: str = ""
    ) -> Verdict:
        """Decide between two readers who differ. Raises Conflict."""
        demand(who, "item.settle")
        _check(label, category, note)
        with self._database.write() as connection:
            row = self._row(connection, item_id, lock=True)
            if row.status != Status.DISPUTED:
                raise Conflict(detail="no two readers differ about this item", key="item.agreed")
            return self.give(connection, who, row, label, category=category, note=note)

    def bulk(self, who: Person, item_ids: Sequence[str], label: Label, *, category: str | None = None) -> Bulk:
        """Give one verdict on many items; those that another was faster with are named. Raises ReviewInvalid."""
        demand(who, "item.verdict")
        _check(label, category, "")
        if len(item_ids) > MOST_AT_ONCE:
            raise ReviewInvalid(
                detail=f"at most {MOST_AT_ONCE} items can be marked at once", key="item.many", most=MOST_AT_ONCE
            )
        done, conflicts = [], []
        with self._database.write() as connection:
            for item_id in dict.fromkeys(item_ids):
                row = item_row(connection, item_id, lock=True)
                try:
                    if row is None or row.status == Status.DISPUTED:
                        raise Conflict(detail="it is not open", key="item.closed")
                    self.give(connection, who, row, label, category=category, note="")
                    done.append(item_id)
                except Conflict:
                    conflicts.append(item_id)
        return Bulk(done=tuple(done), conflicts=tuple(conflicts))

    def give(
        self, connection: Connection, who: Person, row: Row[Any], label: Label, *, category: str | None, note: str
    ) -> Verdict:
        """Give a verdict in a transaction that is under way. Raises Conflict and changes nothing then."""
        now = self._now()
        held = self._holding(connection, row.seq)
        asked_again = row.status == Status.OPEN and row.label == Label.HAM
        if row.status == Status.DONE:
            by = held[-1].who if held else "somebody"
            raise Conflict(detail=f"{by} has decided it already", key="item.decided", by=by)
        if row.status == Status.SECOND and any(one.person_id == who.id for one in held):
            raise Conflict(detail="the second reader must be somebody else than the first", key="item.second")
        if row.status == Status.DISPUTED and not may(who, "item.settle"):
            raise Conflict(detail="two readers differ, and a lead settles it", key="item.disputed")
        reading = {Status.OPEN: "first", Status.SECOND: "second"}.get(Status(row.status), "settled")
        after = dict(row._mapping) | {"version": row.version + 1}
        if reading == "first":
            second = drawn(row.id, self._rules.second_share) and not asked_again
            after |= {
                "status": Status.SECOND if second else Status.DONE,
                "label": None if second else label,
                "label_category": None if second else category,
                "decided_ms": now,
            }
        elif reading == "second" and [one.label for one in held[-1:]] != [label]:
            after |= {"status": Status.DISPUTED}
        else:
            after |= {"status": Status.DONE, "label": label, "label_category": category}
        result = connection.execute(
            insert(verdicts).values(
                item_seq=row.seq,
                item_id=row.id,
                person_id=who.id,
                who=who.name,
                label=label,
                category=category,
                note=note.strip(),
                reading=reading,
                at_ms=now,
                waited_ms=max(0, now - row.first_ms),
                was_blocked=row.action == Action.BLOCK,
                model=row.model,
                machine_category=row.category,
                tenant=row.tenant,
            )
        )
        [verdict_id] = result.inserted_primary_key or (0,)
        requeue(connection, after)
        if after["status"] == Status.DONE:
            trust = {"first": "one", "second": "two"}.get(reading, "settled")
            outbox.put_label(connection, after, verdict_id, who=who.name, trust=trust, now_ms=now)
        self._audit.write(connection, who, "item.verdict", row.id, verdict=verdict_id, label=label, reading=reading)
        return verdict_of(connection.execute(select(verdicts).where(verdicts.c.id == verdict_id)).one())

    def release(self, who: Person, item_id: str, *, note: str = "") -> Item:
        """Release every blocked message of an item, which calls it ham. Raises Conflict.

        Where the first reader called it spam nothing is released: the item is then disputed, and a lead settles it.
        """
        demand(who, "item.release")
        with self._database.write() as connection:
            row = self._row(connection, item_id, lock=True)
            self.let_go(connection, who, row, reason="verdict", note=note)
            [shown] = items_of(connection, who, [self._row(connection, item_id)])
            return shown

    def let_go(self, connection: Connection, who: Person, row: Row[Any], *, reason: str, note: str = "") -> int:
        """Order the release of an item's blocked messages, and return of how many. Raises Conflict."""
        held = self._holding(connection, row.seq)
        verdict_id: int | None = next((one.id for one in reversed(held) if one.label == Label.HAM), None)
        if row.status == Status.DONE and row.label != Label.HAM:
            raise Conflict(detail="it was called spam; take that back first", key="item.spam")
        unread = row.status != Status.DONE and not any(one.person_id == who.id for one in held)
        if unread and (row.status != Status.DISPUTED or may(who, "item.settle")):
            verdict_id = self.give(connection, who, row, Label.HAM, category=None, note=note).id
            if connection.execute(select(items.c.status).where(items.c.seq == row.seq)).scalar() == Status.DISPUTED:
                return 0
        elif row.status == Status.DISPUTED:
            raise Conflict(detail="two readers differ, and a lead settles it", key="item.disputed")
        now = self._now()
        blocked = (
            select(decisions.c.decision_id)
            .outerjoin(releases_table, releases_table.c.decision_id == decisions.c.decision_id)
            .where(
                decisions.c.item_seq == row.seq,
                decisions.c.action == Action.BLOCK,
                decisions.c.numbers.is_not(None),
                releases_table.c.release_id.is_(None),
            )
        )
        ids = list(connection.execute(blocked).scalars())
        outbox.put_releases(connection, ids, row.seq, verdict_id, who=who.name, reason=reason, now_ms=now)
        connection.execute(
            update(items)
            .where(items.c.seq == row.seq)
            .values(released=items.c.released + len(ids), version=items.c.version + 1)
        )
        self._audit.write(connection, who, "item.release", row.id, messages=len(ids), reason=reason)
        return len(ids)

    def undo(self, who: Person, item_id: str | None = None) -> Undone:
        """Take back the person's last verdict, or theirs on an item. Raises Conflict or NotThere."""
        demand(who, "item.undo")
        with self._database.write() as connection:
            query = select(verdicts).where(verdicts.c.person_id == who.id, verdicts.c.undone_ms.is_(None))
            if item_id is not None:
                query = query.where(verdicts.c.item_id == item_id[:24])
            found = connection.execute(query.order_by(verdicts.c.id.desc()).limit(1)).first()
            if found is None:
                raise NotThere(what="verdict of yours")
            row = self._row(connection, found.item_id, lock=True)
            held = self._holding(connection, row.seq)
            if held[-1].id != found.id:
                raise Conflict(detail=f"{held[-1].who} has read it since", key="item.read_since", by=held[-1].who)
            now = self._now()
            connection.execute(update(verdicts).where(verdicts.c.id == found.id).values(undone_ms=now))
            before = {"first": Status.OPEN, "second": Status.SECOND}.get(found.reading, Status.DISPUTED)
            earlier = held[-2] if len(held) > 1 and before is Status.OPEN else None  # blocked again after a ham
            recalled, gone = outbox.recall_releases(connection, found.id)
            requeue(
                connection,
                dict(row._mapping)
                | {
                    "status": before,
                    "version": row.version + 1,
                    "label": earlier.label if earlier else None,
                    "label_category": earlier.category if earlier else None,
                    "decided_ms": row.decided_ms if len(held) > 1 else None,
                    "released": row.released - recalled,
                },
            )
            if row.status == Status.DONE:  # else it never was a label
                outbox.withdraw_label(connection, found.id, now_ms=now)
            self._audit.write(connection, who, "item.undo", row.id, verdict=found.id, recalled=recalled, gone=gone)
            undone = connection.execute(select(verdicts).where(verdicts.c.id == found.id)).one()
            return Undone(verdict=verdict_of(undone), recalled=recalled, gone=gone)

    def report(self, connection: Connection, seq: int) -> None:
        """Let an item be read early because a case is about it; that says nothing of what it is."""
        row = connection.execute(select(items).where(items.c.seq == seq)).first()
        if row is not None and not row.reported:
            requeue(connection, dict(row._mapping) | {"reported": True})

    def _holding(self, connection: Connection, seq: int) -> list[Row[Any]]:
        query = select(verdicts).where(verdicts.c.item_seq == seq, verdicts.c.undone_ms.is_(None))
        return list(connection.execute(query.order_by(verdicts.c.id)))

    def _row(self, connection: Connection, item_id: str, *, lock: bool = False) -> Row[Any]:
        row = item_row(connection, item_id, lock=lock)
        if row is None:
            raise NotThere(what="item")
        return row

    def _now(self) -> int:
        return int(self._clock.now() * 1000)


def _newest(filters: Filters) -> Select[Any]:
    """Return the newest items of a span of time: as many as can be sorted while somebody waits."""
    span = [] if filters.status is None else [items.c.status == str(filters.status)]
    if filters.since_ms is not None:
        span.append(items.c.last_ms >= filters.since_ms)
    if filters.until_ms is not None:
        span.append(items.c.last_ms < filters.until_ms)
    return select(items.c.seq).where(*span).order_by(items.c.last_ms.desc()).limit(COUNTED)


def _behind(after: str | None, *, teaching: bool) -> list[ColumnElement[bool]]:
    """Return the condition for what comes behind a cursor. Raises ReviewInvalid."""
    if after is None:
        return []
    try:
        if not teaching:
            return [items.c.seq < int(after)]
        priority, seq = after.split(":")
        place = float(priority)
        return [items.c.priority <= place, or_(items.c.priority < place, and_(items.c.seq < int(seq)))]
    except ValueError:
        raise ReviewInvalid(detail="the page's cursor is none of ours", key="cursor") from None


def _check(label: Label, category: str | None, note: str) -> None:
    if label not in CATEGORIES:
        raise ReviewInvalid(detail="a verdict is spam or ham", key="verdict")
    if category is not None and category not in CATEGORIES[Label(label)]:
        raise ReviewInvalid(detail=f"the label policy has no category of that name for {label}", key="category")
    if len(note) > MAX_NOTE_CHARS:
        raise ReviewInvalid(
            detail=f"a note has at most {MAX_NOTE_CHARS} characters", key="item.note", most=MAX_NOTE_CHARS
        )
