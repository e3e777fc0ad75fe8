"""How does a complaint get its answer, and how does whoever complained find it again?

A receipt number at once; the case is linked to the stored decision when it can be found, and the item is then read
early. A complaint says nothing of what a message is: only a verdict does. Two people must agree on a list entry for a
sender that writes to many, and the lists topic carries it to the workers.
"""

import secrets
from contextlib import suppress
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from spamguard.core.entries import Fault, Key, key_of
from spamguard.core.sms import mend
from spamguard.errors import Conflict, NotThere, ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review import search, texts
from spamguard.review.access import demand, may
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.intake import storable
from spamguard.review.outbox import put_entry
from spamguard.review.shown import item_row, items_of
from spamguard.review.store import CATEGORIES, Store
from spamguard.review.tables import bands, case_notes, cases, decisions, entries, items, people
from spamguard.review.values import (
    COUNTED,
    Case,
    CaseDetail,
    CaseKind,
    CasePage,
    CaseState,
    CaseStatus,
    EntryStatus,
    Item,
    Label,
    ListEntry,
    ListKind,
    Note,
    Outcome,
    Person,
    Rules,
    Status,
)
from spamguard.review.vault import Vault, masked
from spamguard.types import ListEntry as Published
from spamguard.types import ListKind as Compared
from spamguard.types import Treatment

RECEIPT_FIGURES: Final = 16
MAX_TEXT_CHARS: Final = 4000
MAX_ANSWER_CHARS: Final = 2000
MOST_CANDIDATES: Final = 5
#: How far from the stated time a message is looked for.
ABOUT_MS: Final = 6 * 3_600_000
#: What a list entry may be compared with; one that allows needs ACCOUNT/SENDER, the rest can be forged.
MATCHES: Final = {
    ListKind.ALLOW: (Compared.LINK,),
    ListKind.BLOCK: (Compared.SENDER, Compared.LINK, Compared.HOST, Compared.CONTACT, Compared.SIGNATURE),
}
MOST_ENTRY_DAYS: Final = 366


class NewEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A list entry that a case ends with."""

    kind: ListKind
    what: str  #: one of MATCHES
    value: str
    owner: str
    reason: str
    expires_ms: int
    bulk: bool = False  #: the sender writes to many: another person must agree
    only_tenant: bool = False  #: it is for messages of the case's tenant alone, as one that allows always is


def new_receipt() -> str:
    """Return a receipt number: fifteen random figures and one that finds a slip of the tongue (Luhn)."""
    figures = str(secrets.randbelow(9) + 1) + "".join(str(secrets.randbelow(10)) for _ in range(RECEIPT_FIGURES - 2))
    return figures + str(-_luhn(figures + "0") % 10)


def read_receipt(said: str) -> str | None:
    """Return the receipt number in what somebody typed, or None when it cannot be one.

    >>> read_receipt("4111 1111-1111 1111"), read_receipt("4111 1111 1111 1112")
    ('4111111111111111', None)
    """
    figures = "".join(char for char in said if char.isascii() and char.isdigit())
    return figures if len(figures) == RECEIPT_FIGURES and _luhn(figures) % 10 == 0 else None


def spoken_receipt(receipt: str) -> str:
    """Return a receipt number in groups of four.

    >>> spoken_receipt("4111111111111111")
    '4111 1111 1111 1111'
    """
    return " ".join(receipt[place : place + 4] for place in range(0, len(receipt), 4))


def _luhn(figures: str) -> int:
    doubled = (2 * int(figure) if place % 2 else int(figure) for place, figure in enumerate(reversed(figures)))
    return sum(value - 9 if value > 9 else value for value in doubled)


class Cases:
    """The cases of a database."""

    def __init__(
        self, database: Database, vault: Vault, audit: Audit, store: Store, rules: Rules, clock: Clock
    ) -> None:
        self._database = database
        self._vault = vault
        self._audit = audit
        self._store = store
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
            found = self._find(connection, message_id, number, at_ms, text)
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

    def _find(
        self, connection: Connection, message_id: str, number: str, at_ms: int | None, text: str
    ) -> tuple[str | None, Row[Any]] | None:
        """Return the decision and item that a case is about, where exactly one answers."""
        if message_id:
            query = select(decisions).where(decisions.c.message_id == message_id)
            found = connection.execute(query.order_by(decisions.c.decided_ms.desc())).first()
            return self._with_item(connection, found) if found is not None else None
        if number and at_ms is not None:
            near = select(decisions).where(
                decisions.c.recipient_hash.in_(self._vault.lookups(number)),
                decisions.c.received_ms.between(at_ms - ABOUT_MS, at_ms + ABOUT_MS),
            )
            rows = list(connection.execute(near.limit(50)))
            if text:
                rows = [row for row in rows if self._said(connection, row, text)]
            if len({row.item_seq for row in rows}) == 1:
                return self._with_item(connection, min(rows, key=lambda row: abs(row.received_ms - at_ms)))
            return None
        alike = self._alike(connection, text)
        return (None, alike[0]) if alike else None

    def _with_item(self, connection: Connection, row: Row[Any]) -> tuple[str, Row[Any]]:
        return row.decision_id, connection.execute(select(items).where(items.c.seq == row.item_seq)).one()

    def _said(self, connection: Connection, row: Row[Any], text: str) -> bool:
        said = connection.execute(select(items.c.text).where(items.c.seq == row.item_seq)).scalar_one()
        return texts.alike(said, text) >= texts.ALIKE

    def _alike(self, connection: Connection, text: str) -> list[Row[Any]]:
        """Return items whose text is near-identical to a pasted one, of any tenant, the most similar first."""
        tenants = list(connection.execute(select(items.c.tenant).distinct().limit(200)).scalars()) if text else []
        wanted = [band for tenant in tenants for band in texts.bands_of(tenant, text)]
        skeletons = [texts.skeleton(tenant, text) for tenant in tenants]
        seqs = set(connection.execute(select(items.c.seq).where(items.c.skeleton.in_(skeletons))).scalars())
        for first in range(0, len(wanted), 500):
            query = select(bands.c.item_seq).where(bands.c.band.in_(wanted[first : first + 500]))
            seqs |= set(connection.execute(query).scalars())
        rows = connection.execute(select(items).where(items.c.seq.in_(sorted(seqs)[-200:])))
        scored = [(texts.alike(row.text, text), row.seq, row) for row in rows]
        return [row for share, _, row in sorted(scored, key=lambda one: one[:2], reverse=True) if share >= texts.ALIKE]

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
        proposed = connection.execute(select(entries).where(entries.c.case_seq == row.seq).order_by(entries.c.id))
        return CaseDetail(
            case=self._shown(connection, row, who),
            notes=tuple(Note(who=note.who, at_ms=note.at_ms, text=note.text) for note in notes),
            entries=tuple(map(_entry, proposed)),
            candidates=self._candidates(connection, row, who),
        )

    def _candidates(self, connection: Connection, row: Row[Any], who: Person) -> tuple[Item, ...]:
        """Return items an unlinked case may be about: of the number around the time, or with words of the text."""
        if row.item_seq is not None or row.status == CaseStatus.RESOLVED or not may(who, "item.read"):
            return ()
        seqs: list[int] = []
        if row.number is not None and row.happened_ms is not None:
            number = self._vault.open(row.number, row.receipt)
            near = (
                select(decisions.c.item_seq)
                .where(decisions.c.recipient_hash.in_(self._vault.lookups(number)))
                .order_by(func.abs(decisions.c.received_ms - row.happened_ms))
            )
            seqs += connection.execute(near.limit(20)).scalars()
        if row.text:
            seqs += [found.seq for found in self._alike(connection, row.text)[:MOST_CANDIDATES]]
            made = search.words(connection, row.text[:40])
            if made is not None:
                query = select(items.c.seq).where(made).order_by(items.c.seq.desc()).limit(MOST_CANDIDATES)
                seqs += connection.execute(query).scalars()
        wanted = list(dict.fromkeys(seqs))[:MOST_CANDIDATES]
        rows = {found.seq: found for found in connection.execute(select(items).where(items.c.seq.in_(wanted)))}
        return items_of(connection, who, [rows[seq] for seq in wanted if seq in rows])

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
            self._propose(connection, who, row, entry)

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

    # -- list entries ----------------------------------------------------------------------------------------------

    def _propose(self, connection: Connection, who: Person, row: Row[Any], entry: NewEntry) -> None:
        demand(who, "entry.propose")
        now = self._now()
        if entry.what not in MATCHES[ListKind(entry.kind)]:
            allowed = ", ".join(MATCHES[ListKind(entry.kind)])
            raise ReviewInvalid(detail=f"such an entry matches one of: {allowed}", key="entry.kind")
        if not (entry.value.strip() and entry.owner.strip() and entry.reason.strip()):
            raise ReviewInvalid(detail="an entry needs a value, an owner and a reason", key="entry.empty")
        if len(entry.value) > 500 or len(entry.owner) > 60 or len(entry.reason) > MAX_ANSWER_CHARS:
            raise ReviewInvalid(detail="a field of the entry is too long", key="entry.long")
        if not now < entry.expires_ms <= now + MOST_ENTRY_DAYS * 86_400_000:
            raise ReviewInvalid(
                detail=f"an entry ends, within {MOST_ENTRY_DAYS} days from now", key="entry.end", most=MOST_ENTRY_DAYS
            )
        tenant = row.tenant if entry.only_tenant or entry.kind is ListKind.ALLOW else ""
        self._check_value(connection, entry, tenant)
        # An account hands in for many, and a beginning stands for many senders, whatever the form says.
        bulk = entry.bulk or entry.what == Compared.LINK or entry.value.rstrip().endswith("*")
        result = connection.execute(
            insert(entries).values(
                case_seq=row.seq,
                receipt=row.receipt,
                kind=ListKind(entry.kind),
                what=entry.what,
                value=storable(entry.value.strip()),
                owner=storable(entry.owner.strip()),
                reason=storable(entry.reason.strip()),
                expires_ms=entry.expires_ms,
                bulk=bulk,
                status=EntryStatus.WAITING if bulk else EntryStatus.ACTIVE,
                proposed_by=who.name,
                at_ms=now,
                tenant=tenant,
            )
        )
        [entry_id] = result.inserted_primary_key or (0,)
        if not bulk:
            put_entry(connection, entry_id, now_ms=now)
        self._audit.write(connection, who, "entry.propose", row.receipt, kind=str(entry.kind), bulk=bulk)

    def _check_value(self, connection: Connection, entry: NewEntry, tenant: str) -> None:
        """Return when workers will take an entry. Raises ReviewInvalid, and Conflict for one that is there."""

        def key(what: str, value: str, kind: str, whose: str) -> Key:
            action = Treatment(kind)
            return key_of(Published(kind=Compared(what), value=value, action=action, tenant=whose))

        try:
            wanted = key(entry.what, entry.value, entry.kind, tenant)
        except Fault as fault:
            raise ReviewInvalid(detail=str(fault), key=f"entry.value.{entry.what}") from None
        held = (EntryStatus.WAITING, EntryStatus.ACTIVE)
        query = select(entries).where(entries.c.what == entry.what, entries.c.status.in_(held))
        for other in connection.execute(query.where(entries.c.expires_ms > self._now())):
            with suppress(Fault):
                if key(other.what, other.value, other.kind, other.tenant) == wanted:
                    raise Conflict(
                        detail="there is an entry for the same already; withdraw it first", key="entry.there"
                    )

    def entries(self, who: Person, *, status: EntryStatus | None = None) -> list[ListEntry]:
        """Return list entries, newest first."""
        demand(who, "case.read")
        query = select(entries).order_by(entries.c.id.desc()).limit(1000)
        with self._database.read() as connection:
            rows = connection.execute(query if status is None else query.where(entries.c.status == status))
            return list(map(_entry, rows))

    def approve(self, who: Person, entry_id: int) -> ListEntry:
        """Agree to an entry that another person proposed. Raises Conflict."""
        return self._decide_entry(who, entry_id, EntryStatus.ACTIVE)

    def refuse(self, who: Person, entry_id: int) -> ListEntry:
        """Refuse an entry that another person proposed. Raises Conflict."""
        return self._decide_entry(who, entry_id, EntryStatus.REFUSED)

    def withdraw(self, who: Person, entry_id: int) -> ListEntry:
        """Take an active entry away from the workers. Raises Conflict."""
        demand(who, "entry.withdraw")
        with self._database.write() as connection:
            row = self._entry_row(connection, entry_id)
            if row.status != EntryStatus.ACTIVE:
                raise Conflict(detail="the entry is not active", key="entry.inactive")
            values = {"status": EntryStatus.WITHDRAWN, "published_ms": None}
            connection.execute(update(entries).where(entries.c.id == entry_id).values(**values))
            put_entry(connection, entry_id, now_ms=self._now(), withdrawn_by=who.name)
            self._audit.write(connection, who, "entry.withdraw", row.receipt, entry=entry_id)
            return _entry(self._entry_row(connection, entry_id))

    def _entry_row(self, connection: Connection, entry_id: int) -> Row[Any]:
        row = connection.execute(select(entries).where(entries.c.id == entry_id).with_for_update()).first()
        if row is None:
            raise NotThere(what="list entry")
        return row

    def _decide_entry(self, who: Person, entry_id: int, status: EntryStatus) -> ListEntry:
        demand(who, "entry.approve")
        with self._database.write() as connection:
            row = self._entry_row(connection, entry_id)
            if row.status != EntryStatus.WAITING:
                raise Conflict(detail="the entry is decided already", key="entry.decided")
            if row.proposed_by == who.name:
                raise Conflict(detail="the second person must be somebody else than who proposed it", key="entry.own")
            connection.execute(
                update(entries).where(entries.c.id == entry_id).values(status=status, approved_by=who.name)
            )
            if status is EntryStatus.ACTIVE:
                put_entry(connection, entry_id, now_ms=self._now())
            self._audit.write(connection, who, f"entry.{status}", row.receipt, entry=entry_id)
            return _entry(self._entry_row(connection, entry_id))

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


def _entry(row: Row[Any]) -> ListEntry:
    return ListEntry(
        id=row.id,
        kind=ListKind(row.kind),
        what=row.what,
        value=row.value,
        owner=row.owner,
        reason=row.reason,
        expires_ms=row.expires_ms,
        bulk=bool(row.bulk),
        status=EntryStatus(row.status),
        proposed_by=row.proposed_by,
        approved_by=row.approved_by,
        receipt=row.receipt,
        tenant=row.tenant,
        published_ms=row.published_ms,
    )
