"""How does a case end on a list, so that no one person can open or close the way for many?

An entry has an owner, a reason and an end. One that stands for many senders waits for a second person. What holds goes
to the lists topic through the outbox, in the transaction that decides it. One that allows is compared with account and
sender together: everything else can be forged. What an entry is compared with is somebody's number as a rule, so it is
encrypted here as other numbers are, though workers get it whole: the topic and this database have other readers.
"""

from contextlib import suppress
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, insert, select, update

from spamguard.core.entries import Fault, Key, key_of
from spamguard.errors import Conflict, NotThere, ReviewInvalid
from spamguard.interfaces import Clock
from spamguard.review.access import demand
from spamguard.review.audit import Audit
from spamguard.review.database import Database
from spamguard.review.intake import storable
from spamguard.review.outbox import put_entry
from spamguard.review.shown import entry_value, sealed_value
from spamguard.review.tables import entries
from spamguard.review.values import EntryStatus, ListEntry, ListKind, Person
from spamguard.review.vault import Vault
from spamguard.types import ListEntry as Published
from spamguard.types import ListKind as Compared
from spamguard.types import Treatment

#: What a list entry may be compared with; one that allows needs ACCOUNT/SENDER, the rest can be forged.
MATCHES: Final = {
    ListKind.ALLOW: (Compared.LINK,),
    ListKind.BLOCK: (Compared.SENDER, Compared.LINK, Compared.HOST, Compared.CONTACT, Compared.SIGNATURE),
}
MAX_VALUE_CHARS: Final = 500
MAX_OWNER_CHARS: Final = 60
MAX_REASON_CHARS: Final = 2000
MOST_ENTRY_DAYS: Final = 366
MOST_SHOWN: Final = 1000


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


class Entries:
    """The list entries of a database."""

    def __init__(self, database: Database, vault: Vault, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._vault = vault
        self._audit = audit
        self._clock = clock

    def propose(self, connection: Connection, who: Person, case: Row[Any], entry: NewEntry) -> None:
        """Put an entry on a list, or before a second person, in the transaction that ends its case.

        Raises ReviewInvalid for one that workers would not take, and Conflict for one that is there.
        """
        demand(who, "entry.propose")
        now = self._now()
        _check_form(entry, now)
        tenant = case.tenant if entry.only_tenant or entry.kind is ListKind.ALLOW else ""
        self._check_value(connection, entry, tenant)
        # An account hands in for many, and a beginning stands for many senders, whatever the form says.
        bulk = entry.bulk or entry.what == Compared.LINK or entry.value.rstrip().endswith("*")
        result = connection.execute(
            insert(entries).values(
                case_seq=case.seq,
                receipt=case.receipt,
                kind=ListKind(entry.kind),
                what=entry.what,
                owner=storable(entry.owner.strip()),
                reason=storable(entry.reason.strip()),
                expires_ms=entry.expires_ms,
                bulk=bulk,
                status=EntryStatus.WAITING if bulk else EntryStatus.ACTIVE,
                proposed_by=who.name,
                at_ms=now,
                tenant=tenant,
                **sealed_value(case.receipt, entry.what, storable(entry.value.strip()), self._vault),
            )
        )
        [entry_id] = result.inserted_primary_key or (0,)
        if not bulk:
            put_entry(connection, entry_id, now_ms=now)
        self._audit.write(connection, who, "entry.propose", case.receipt, kind=str(entry.kind), bulk=bulk)

    def _check_value(self, connection: Connection, entry: NewEntry, tenant: str) -> None:
        try:
            wanted = _key(entry.what, entry.value, entry.kind, tenant)
        except Fault as fault:
            raise ReviewInvalid(detail=str(fault), key=f"entry.value.{entry.what}") from None
        held = (EntryStatus.WAITING, EntryStatus.ACTIVE)
        query = select(entries).where(entries.c.what == entry.what, entries.c.status.in_(held))
        for other in connection.execute(query.where(entries.c.expires_ms > self._now())):
            with suppress(Fault):
                if _key(other.what, entry_value(other, self._vault), other.kind, other.tenant) == wanted:
                    raise Conflict(
                        detail="there is an entry for the same already; withdraw it first", key="entry.there"
                    )

    def all(self, who: Person, *, status: EntryStatus | None = None) -> list[ListEntry]:
        """Return list entries, newest first."""
        demand(who, "case.read")
        query = select(entries).order_by(entries.c.id.desc()).limit(MOST_SHOWN)
        with self._database.read() as connection:
            rows = connection.execute(query if status is None else query.where(entries.c.status == status))
            return list(map(self._entry, rows))

    def of_case(self, connection: Connection, case_seq: int) -> tuple[ListEntry, ...]:
        """Return what a case put on a list."""
        rows = connection.execute(select(entries).where(entries.c.case_seq == case_seq).order_by(entries.c.id))
        return tuple(map(self._entry, rows))

    def approve(self, who: Person, entry_id: int) -> ListEntry:
        """Agree to an entry that another person proposed. Raises Conflict."""
        return self._decide(who, entry_id, EntryStatus.ACTIVE)

    def refuse(self, who: Person, entry_id: int) -> ListEntry:
        """Refuse an entry that another person proposed. Raises Conflict."""
        return self._decide(who, entry_id, EntryStatus.REFUSED)

    def withdraw(self, who: Person, entry_id: int) -> ListEntry:
        """Take an active entry away from the workers. Raises Conflict."""
        demand(who, "entry.withdraw")
        with self._database.write() as connection:
            row = _row(connection, entry_id)
            if row.status != EntryStatus.ACTIVE:
                raise Conflict(detail="the entry is not active", key="entry.inactive")
            values = {"status": EntryStatus.WITHDRAWN, "published_ms": None}
            connection.execute(update(entries).where(entries.c.id == entry_id).values(**values))
            put_entry(connection, entry_id, now_ms=self._now(), withdrawn_by=who.name)
            self._audit.write(connection, who, "entry.withdraw", row.receipt, entry=entry_id)
            return self._entry(_row(connection, entry_id))

    def _decide(self, who: Person, entry_id: int, status: EntryStatus) -> ListEntry:
        demand(who, "entry.approve")
        with self._database.write() as connection:
            row = _row(connection, entry_id)
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
            return self._entry(_row(connection, entry_id))

    def seal_old(self, connection: Connection) -> None:
        """Encrypt what entries from before step 0003 are compared with."""
        old = select(entries.c.id, entries.c.receipt, entries.c.what, entries.c.value)
        for row in connection.execute(old.where(entries.c.sealed.is_(None), entries.c.value != "")).all():
            sealed = sealed_value(row.receipt, row.what, row.value, self._vault)
            connection.execute(update(entries).where(entries.c.id == row.id).values(**sealed))

    def named(self, connection: Connection, number: str) -> list[ListEntry]:
        """Return the entries that are compared with a number."""
        self.seal_old(connection)
        mine = entries.c.number_hash.in_(self._vault.lookups(number))
        return [self._entry(row) for row in connection.execute(select(entries).where(mine).order_by(entries.c.id))]

    def forget(self, connection: Connection, number: str) -> tuple[int, int]:
        """Empty the entries that name a number and no longer do anything; return how many, and how many still do.

        One that has ended leaves the lists topic too.
        """
        now, emptied, held = self._now(), 0, 0
        for entry in self.named(connection, number):
            active = entry.status is EntryStatus.ACTIVE
            if entry.status is EntryStatus.WAITING or (active and entry.expires_ms > now):
                held += 1
                continue
            values: dict[str, Any] = {"value": "", "sealed": None, "number_hash": ""}
            if active:
                values |= {"status": EntryStatus.WITHDRAWN, "published_ms": None}
                put_entry(connection, entry.id, now_ms=now, withdrawn_by="erased")
            connection.execute(update(entries).where(entries.c.id == entry.id).values(**values))
            emptied += 1
        return emptied, held

    def _entry(self, row: Row[Any]) -> ListEntry:
        return ListEntry(
            id=row.id,
            kind=ListKind(row.kind),
            what=row.what,
            value=entry_value(row, self._vault),
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

    def _now(self) -> int:
        return int(self._clock.now() * 1000)


def _check_form(entry: NewEntry, now_ms: int) -> None:
    if entry.what not in MATCHES[ListKind(entry.kind)]:
        allowed = ", ".join(MATCHES[ListKind(entry.kind)])
        raise ReviewInvalid(detail=f"such an entry matches one of: {allowed}", key="entry.kind")
    if not (entry.value.strip() and entry.owner.strip() and entry.reason.strip()):
        raise ReviewInvalid(detail="an entry needs a value, an owner and a reason", key="entry.empty")
    too_long = (
        len(entry.value) > MAX_VALUE_CHARS or len(entry.owner) > MAX_OWNER_CHARS or len(entry.reason) > MAX_REASON_CHARS
    )
    if too_long:
        raise ReviewInvalid(detail="a field of the entry is too long", key="entry.long")
    if not now_ms < entry.expires_ms <= now_ms + MOST_ENTRY_DAYS * 86_400_000:
        raise ReviewInvalid(
            detail=f"an entry ends, within {MOST_ENTRY_DAYS} days from now", key="entry.end", most=MOST_ENTRY_DAYS
        )


def _key(what: str, value: str, kind: str, tenant: str) -> Key:
    """Return what workers compare an entry by. Raises Fault for one that they would not take."""
    return key_of(Published(kind=Compared(what), value=value, action=Treatment(kind), tenant=tenant))


def _row(connection: Connection, entry_id: int) -> Row[Any]:
    row = connection.execute(select(entries).where(entries.c.id == entry_id).with_for_update()).first()
    if row is None:
        raise NotThere(what="list entry")
    return row
