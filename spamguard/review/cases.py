"""How does a complaint get its answer, and how does whoever complained find it again?

A receipt number at once; the case is linked to the stored decision when it can be found, and the item is then read
early. A complaint says nothing of what a message is: only a verdict does.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from spamguard.core.sms import mend
from spamguard.errors import Conflict, NotThere, ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review.access import demand, may
from spamguard.review.audit import Audit
from spamguard.review.complained import Complained
from spamguard.review.database import Database
from spamguard.review.entries import Entries, NewEntry
from spamguard.review.intake import storable
from spamguard.review.receipts import new_receipt, read_receipt
from spamguard.review.shown import item_row, items_of
from spamguard.review.store import CATEGORIES, Store
from spamguard.review.tables import case_notes, cases, items, people
from spamguard.review.values import (
    COUNTED,
    Case,
    CaseDetail,
    CaseKind,
    CasePage,
    CaseState,
    CaseStatus,
    Label,
    Note,
    Outcome,
    Person,
    Rules,
    Status,
)
from spamguard.review.vault import Vault, masked

MAX_TEXT_CHARS: Final = 4000
MAX_ANSWER_CHARS: Final = 2000


class Cases:
    """The cases of a database."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        audit: Audit,
        store: Store,
        entries: Entries,
        rules: Rules,
        clock: Clock,
    ) -> None:
        self._database = database
        self._vault = vault
        self._audit = audit
        self._store = store
        self._entries = entries
        self._complained = Complained(vault)
        self._rules = rules
        self._clock = clock

    # -- the subscriber's side -------------------------------------------------------------------------------------

    def open(
        self,
        who: Person,
        *,
        kind: CaseKind,
        message_id: str | None = None,
        number: str | None = None,
        at_ms: int | None = None,
        text: str | None = None,
        tenant: str = "",
        channel: str = "desk",
        note: str = "",
    ) -> Case:
        """Open a case by message id, by number and time, or by pasted text; it has its receipt at once.

        Raises ReviewInvalid when nothing says what it is about.
        """
        demand(who, "case.open")
        message_id, number, text = (storable((value or "").strip()) for value in (message_id, number, text))
        if not (message_id or text or (number and at_ms is not None)):
            raise ReviewInvalid(
                detail="say the message's id, or the number and the time, or paste the text", key="case.nothing"
            )
        if len(text) > MAX_TEXT_CHARS or len(message_id) > 1000 or len(number) > 40 or len(note) > MAX_ANSWER_CHARS:
            raise ReviewInvalid(detail="a field is too long", key="long")
        now = self._now()
        receipt = new_receipt()
        with self._database.write() as connection:
            found = self._complained.find(connection, message_id=message_id, number=number, at_ms=at_ms, text=text)
            values: dict[str, Any] = {
                "receipt": receipt,
                "kind": CaseKind(kind),
                "status": CaseStatus.RECEIVED,
                "opened_ms": now,
                "due_ms": now + int(self._rules.case_due_h * 3_600_000),
                "opened_by": who.name,
                "channel": channel[:20],
                "tenant": storable(tenant)[:200] or (found[1].tenant if found else ""),
                "number_hash": self._vault.lookup(number),
                "number_shown": masked(number),
                "number": self._vault.seal(number, receipt) if number else None,
                "happened_ms": at_ms,
                "message_id": message_id or None,
                "decision_id": found[0] if found else None,
                "item_seq": found[1].seq if found else None,
                "text": mend(text),
                "answer": "",
            }
            result = connection.execute(insert(cases).values(values))
            [seq] = result.inserted_primary_key or (0,)
            if note.strip():
                self._note(connection, seq, who, note)
            if found:
                self._store.report(connection, found[1].seq)
            self._audit.write(connection, who, "case.open", receipt, kind=str(kind), linked=found is not None)
            return self._shown(connection, self._row(connection, receipt), who)

    def state(self, receipt: str) -> CaseState | None:
        """Return what a receipt number tells whoever holds it; None for one that is none."""
        found = read_receipt(receipt)
        with self._database.read() as connection:
            row = connection.execute(select(cases).where(cases.c.receipt == (found or ""))).first()
        if row is None:
            return None
        return CaseState(
            receipt=row.receipt,
            kind=CaseKind(row.kind),
            status=CaseStatus(row.status),
            opened_ms=row.opened_ms,
            due_ms=row.due_ms,
            resolved_ms=row.resolved_ms,
            outcome=Outcome(row.outcome) if row.outcome else None,
            answer=row.answer,
            satisfaction=row.satisfaction,
        )

    def rate(self, who: Person, receipt: str, satisfaction: int) -> None:
        """Keep how satisfied a subscriber is, 1 to 5. Raises Conflict before the case is resolved."""
        demand(who, "case.rate")
        self._rate(who, receipt, satisfaction)

    def rate_by_receipt(self, receipt: str, satisfaction: int) -> None:
        """Keep how satisfied whoever holds the receipt is. Raises Conflict before the case is resolved."""
        self._rate("receipt", receipt, satisfaction)

    def _rate(self, who: Person | str, receipt: str, satisfaction: int) -> None:
        if satisfaction not in range(1, 6):
            raise ReviewInvalid(detail="satisfaction is 1 to 5", key="satisfaction")
        with self._database.write() as connection:
            row = self._row(connection, receipt, lock=True)
            if row.status != CaseStatus.RESOLVED:
                raise Conflict(detail="the case is not resolved yet", key="case.unresolved")
            connection.execute(update(cases).where(cases.c.seq == row.seq).values(satisfaction=satisfaction))
            self._audit.write(connection, who, "case.rate", row.receipt, satisfaction=satisfaction)

    # -- the desk's side -------------------------------------------------------------------------------------------

    def queue(
        self,
        who: Person,
        *,
        status: CaseStatus | None = None,
        mine: bool = False,
        overdue: bool = False,
        about: str = "",
        after: str | None = None,
        limit: int = 50,
    ) -> CasePage:
        """Return cases, those due first at the head; without a status the resolved ones are left out.

        `about` is a subscriber's whole number, found by its keyed hash, or a message id: then the resolved count too.
        """
        demand(who, "case.read")
        now = self._now()
        limit = max(1, min(limit, 200))
        about = storable(about.strip())[:1000]
        late = (cases.c.status != CaseStatus.RESOLVED) & (cases.c.due_ms < now)
        conditions: list[ColumnElement[bool]] = []
        if status is not None:
            conditions.append(cases.c.status == status)
        elif not about:
            conditions.append(cases.c.status.in_((CaseStatus.RECEIVED, CaseStatus.IN_REVIEW)))
        if mine:
            conditions.append((cases.c.assignee == who.name) | (cases.c.opened_by == who.name))
        if overdue:
            conditions.append(late)
        if about:
            hashed = cases.c.number_hash.in_(self._vault.lookups(about))
            conditions.append(hashed | (cases.c.message_id == about))
        behind: list[ColumnElement[bool]] = []
        if after is not None:
            try:
                due, seq = map(int, after.split(":"))
            except ValueError:
                raise ReviewInvalid(detail="the page's cursor is none of ours", key="cursor") from None
            behind = [(cases.c.due_ms > due) | ((cases.c.due_ms == due) & (cases.c.seq > seq))]
        with self._database.read() as connection:
            query = select(cases).where(*conditions, *behind).order_by(cases.c.due_ms, cases.c.seq).limit(limit + 1)
            rows = list(connection.execute(query))
            more, rows = len(rows) > limit, rows[:limit]
            inner = select(cases.c.seq).where(*conditions).limit(COUNTED).subquery()
            total = connection.execute(select(func.count()).select_from(inner)).scalar_one()
            missed = connection.execute(select(func.count()).select_from(cases).where(late)).scalar_one()
            shown = tuple(self._shown(connection, row, who) for row in rows)
        if any(case.text for case in shown):
            self._audit.saw(who, "case.list", "", cases=" ".join(row.receipt for row in rows))
        cursor = f"{rows[-1].due_ms}:{rows[-1].seq}" if more else None
        return CasePage(cases=shown, next=cursor, total=total, overdue=missed)

    def overdue(self) -> int:
        """Return how many cases should have been resolved by now."""
        query = select(func.count()).select_from(cases)
        with self._database.read() as connection:
            late = query.where(cases.c.status != CaseStatus.RESOLVED, cases.c.due_ms < self._now())
            return int(connection.execute(late).scalar_one())

    def case(self, who: Person, receipt: str) -> CaseDetail:
        """Return a case with its notes and entries. Raises NotThere."""
        demand(who, "case.read")
        with self._database.read() as connection:
            row = self._row(connection, receipt)
            found = self._detail(connection, row, who)
        self._audit.saw(who, "case.view", found.case.receipt)
        return found

    def _detail(self, connection: Connection, row: Row[Any], who: Person) -> CaseDetail:
        notes = connection.execute(select(case_notes).where(case_notes.c.case_seq == row.seq).order_by(case_notes.c.id))
        # An unlinked case shows what it may be about to whoever may read messages.
        unlinked = row.item_seq is None and row.status != CaseStatus.RESOLVED and may(who, "item.read")
        likely = self._complained.candidates(connection, row) if unlinked else []
        return CaseDetail(
            case=self._shown(connection, row, who),
            notes=tuple(Note(who=note.who, at_ms=note.at_ms, text=note.text) for note in notes),
            entries=self._entries.of_case(connection, row.seq),
            candidates=items_of(connection, who, likely),
        )

    def note(self, who: Person, receipt: str, text: str) -> None:
        """Add a line to a case. Raises ReviewInvalid or NotThere."""
        demand(who, "case.note")
        if not text.strip() or len(text) > MAX_ANSWER_CHARS:
            raise ReviewInvalid(
                detail=f"a note has 1 to {MAX_ANSWER_CHARS} characters", key="case.note", most=MAX_ANSWER_CHARS
            )
        with self._database.write() as connection:
            row = self._row(connection, receipt)
            self._note(connection, row.seq, who, text)
            self._audit.write(connection, who, "case.note", row.receipt)

    def _note(self, connection: Connection, seq: int, who: Person, text: str) -> None:
        values = {"case_seq": seq, "who": who.name, "at_ms": self._now(), "text": storable(text.strip())}
        connection.execute(insert(case_notes).values(**values))

    def assign(self, who: Person, receipt: str, name: str | None) -> Case:
        """Let somebody look after a case, or nobody. Raises NotThere or Conflict."""
        demand(who, "case.assign")
        with self._database.write() as connection:
            row = self._open_row(connection, receipt)
            if name is not None:
                known = select(people.c.id).where(people.c.name == name, people.c.active.is_(True))
                if connection.execute(known).first() is None:
                    raise NotThere(what="account")
            status = CaseStatus.RECEIVED if name is None and row.item_seq is None else CaseStatus.IN_REVIEW
            connection.execute(update(cases).where(cases.c.seq == row.seq).values(assignee=name, status=status))
            self._audit.write(connection, who, "case.assign", row.receipt, to=name)
            return self._shown(connection, self._row(connection, receipt), who)

    def link(self, who: Person, receipt: str, item_id: str) -> Case:
        """Say which item a case is about. Raises NotThere or Conflict."""
        demand(who, "case.link")
        with self._database.write() as connection:
            row = self._open_row(connection, receipt)
            item = item_row(connection, item_id)
            if item is None:
                raise NotThere(what="item")
            connection.execute(
                update(cases).where(cases.c.seq == row.seq).values(item_seq=item.seq, status=CaseStatus.IN_REVIEW)
            )
            self._store.report(connection, item.seq)
            self._audit.write(connection, who, "case.link", row.receipt, item=item.id)
            return self._shown(connection, self._row(connection, receipt), who)

    def resolve(
        self,
        who: Person,
        receipt: str,
        outcome: Outcome,
        answer: str,
        *,
        label: Label | None = None,
        category: str | None = None,
        entry: NewEntry | None = None,
    ) -> Case:
        """End a case with an outcome and the answer that the subscriber hears. Raises Conflict or ReviewInvalid."""
        demand(who, "case.resolve")
        if not answer.strip() or len(answer) > MAX_ANSWER_CHARS:
            raise ReviewInvalid(
                detail=f"the subscriber needs an answer, of at most {MAX_ANSWER_CHARS} characters",
                key="case.answer",
                most=MAX_ANSWER_CHARS,
            )
        with self._database.write() as connection:
            row = self._open_row(connection, receipt)
            self._carry_out(connection, who, row, Outcome(outcome), label, category, entry)
            connection.execute(
                update(cases)
                .where(cases.c.seq == row.seq)
                .values(
                    status=CaseStatus.RESOLVED,
                    outcome=Outcome(outcome),
                    answer=storable(answer.strip()),
                    resolved_ms=self._now(),
                )
            )
            self._audit.write(connection, who, "case.resolve", row.receipt, outcome=str(outcome))
            return self._shown(connection, self._row(connection, receipt), who)

    def _carry_out(
        self,
        connection: Connection,
        who: Person,
        row: Row[Any],
        outcome: Outcome,
        label: Label | None,
        category: str | None,
        entry: NewEntry | None,
    ) -> None:
        item = None
        if row.item_seq is not None:
            item = connection.execute(select(items).where(items.c.seq == row.item_seq).with_for_update()).first()
        if outcome in (Outcome.RELEASE, Outcome.LABEL) and item is None:
            raise ReviewInvalid(detail="the case is linked to no message; link it first", key="case.unlinked")
        if outcome is Outcome.RELEASE and item is not None:
            self._release(connection, who, item)
        elif outcome is Outcome.LABEL:
            if label not in CATEGORIES or (category is not None and category not in CATEGORIES[Label(label)]):
                raise ReviewInvalid(
                    detail="say which label it gets: spam or ham, with a category of its own", key="case.label"
                )
            if item is not None and (item.status != Status.DONE or item.label != label):
                self._store.give(connection, who, item, Label(label), category=category, note="")
        elif outcome is Outcome.LIST_ENTRY:
            if entry is None:
                raise ReviewInvalid(
                    detail="say what goes on which list, with owner, reason and expiry", key="case.entry"
                )
            self._entries.propose(connection, who, row, entry)

    def _release(self, connection: Connection, who: Person, item: Row[Any]) -> None:
        demand(who, "item.release")
        self._store.let_go(connection, who, item, reason="case")
        after = connection.execute(select(items).where(items.c.seq == item.seq)).one()
        if after.status == Status.DISPUTED:
            raise Conflict(
                detail="another reader called the message spam; a lead settles it first", key="case.disputed"
            )
        if not after.released:
            raise Conflict(
                detail="there is no blocked message to release; answer with an explanation", key="case.nothing_blocked"
            )

    # -- rows ------------------------------------------------------------------------------------------------------

    def _row(self, connection: Connection, receipt: str, *, lock: bool = False) -> Row[Any]:
        query = select(cases).where(cases.c.receipt == (read_receipt(receipt) or ""))
        row = connection.execute(query.with_for_update() if lock else query).first()
        if row is None:
            raise NotThere(what="case")
        return row

    def _open_row(self, connection: Connection, receipt: str) -> Row[Any]:
        row = self._row(connection, receipt, lock=True)
        if row.status == CaseStatus.RESOLVED:
            raise Conflict(detail="the case is resolved already", key="case.resolved")
        return row

    def _shown(self, connection: Connection, row: Row[Any], who: Person) -> Case:
        found = select(items.c.id, items.c.text).where(items.c.seq == row.item_seq)
        item = connection.execute(found).first() if row.item_seq is not None else None
        return Case(
            receipt=row.receipt,
            kind=CaseKind(row.kind),
            status=CaseStatus(row.status),
            overdue=row.status != CaseStatus.RESOLVED and row.due_ms < self._now(),
            opened_ms=row.opened_ms,
            due_ms=row.due_ms,
            resolved_ms=row.resolved_ms,
            opened_by=row.opened_by,
            channel=row.channel,
            assignee=row.assignee,
            tenant=row.tenant,
            number=row.number_shown,
            message_id=row.message_id,
            text=row.text or (item.text if item is not None and may(who, "item.read") else ""),
            item=item.id if item is not None else None,
            outcome=Outcome(row.outcome) if row.outcome else None,
            answer=row.answer,
            satisfaction=row.satisfaction,
        )

    def _now(self) -> int:
        return int(self._clock.now() * 1000)
