"""Who did what, and who saw what? A log in which no line can be changed, taken out or put in unnoticed.

Each row holds a hash of itself and of the row before, so the hash of the last one (the head) vouches for all; the head
is logged once a day, outside the database. Rows hold ids and counts, never a text or a number of a person.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import Connection, func, insert, select, text

from spamguard.interfaces import Clock
from spamguard.review.access import demand
from spamguard.review.database import Database
from spamguard.review.tables import audit
from spamguard.review.values import AuditRow, Person, Verified

log = structlog.get_logger()

#: What the first row is chained to.
BEGINNING: Final = "0" * 64
#: PostgreSQL's advisory lock under which rows are written one after the other.
_WRITING: Final = 0x41554449
_CHUNK: Final = 5000


class Audit:
    """The log of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def write(
        self,
        connection: Connection,
        who: Person | str,
        action: str,
        target: str = "",
        **detail: int | str | bool | None,
    ) -> None:
        """Add a row, in the transaction of what it tells of."""
        if not self._database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITING})
        last = connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
        seq, previous = (1, BEGINNING) if last is None else (last.seq + 1, last.hash)
        values: dict[str, Any] = {
            "seq": seq,
            "at_ms": int(self._clock.now() * 1000),
            "who": who if isinstance(who, str) else who.name,
            "action": action,
            "target": target,
            "detail": json.dumps(detail, sort_keys=True, ensure_ascii=True),
            "previous": previous,
        }
        connection.execute(insert(audit).values(**values, hash=row_hash(**values)))

    def saw(self, who: Person | str, action: str, target: str = "", **detail: int | str | bool | None) -> None:
        """Add a row about a view, in a transaction of its own."""
        with self._database.write() as connection:
            self.write(connection, who, action, target, **detail)

    def rows(self, who: Person, *, before: int | None = None, limit: int = 100) -> list[AuditRow]:
        """Return rows, newest first."""
        demand(who, "audit.read")
        query = select(audit).order_by(audit.c.seq.desc()).limit(min(limit, 1000))
        if before is not None:
            query = query.where(audit.c.seq < before)
        with self._database.read() as connection:
            return [
                AuditRow(
                    seq=row.seq,
                    at_ms=row.at_ms,
                    who=row.who,
                    action=row.action,
                    target=row.target,
                    detail=json.loads(row.detail),
                    hash=row.hash,
                )
                for row in connection.execute(query)
            ]

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last row."""
        with self._database.read() as connection:
            last = connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
        return (0, BEGINNING) if last is None else (last.seq, last.hash)

    def publish_head(self) -> None:
        """Log the head; whoever keeps the log can show later that nothing before it was changed."""
        seq, head = self.head()
        day = datetime.fromtimestamp(self._clock.now(), UTC).date().isoformat()
        log.info("audit_head", day=day, rows=seq, head=head)

    def verify(self, *, head: str | None = None) -> Verified:
        """Return whether every row is what it was; with a head that was logged, also whether it is still there."""
        previous, seq, seen = BEGINNING, 0, head is None or head == BEGINNING
        for row in self._all():
            values = {name: row[name] for name in ("seq", "at_ms", "who", "action", "target", "detail", "previous")}
            if row["seq"] != seq + 1:
                return Verified(rows=seq, head=previous, broken_at=seq + 1, why="the row is missing")
            if row["previous"] != previous or row["hash"] != row_hash(**values):
                return Verified(rows=seq, head=previous, broken_at=row["seq"], why="the row is not what was written")
            previous, seq = row["hash"], row["seq"]
            seen = seen or previous == head
        if not seen:
            return Verified(rows=seq, head=previous, broken_at=seq + 1, why="the head that was logged is not in it")
        return Verified(rows=seq, head=previous, broken_at=None)

    def _all(self) -> Iterator[dict[str, Any]]:
        last = 0
        while True:
            query = select(audit).where(audit.c.seq > last).order_by(audit.c.seq).limit(_CHUNK)
            with self._database.read() as connection:
                rows = [dict(row._mapping) for row in connection.execute(query)]
            yield from rows
            if len(rows) < _CHUNK:
                return
            last = rows[-1]["seq"]

    def count(self) -> int:
        """Return how many rows there are."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.count()).select_from(audit)).scalar_one())


def row_hash(**values: Any) -> str:
    """Return the hash of a row's values, the hash of the row before among them."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
